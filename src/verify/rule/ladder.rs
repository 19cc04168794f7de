//! Renditions against each other, and what the multivariant playlist says of them.

use super::rules;

rules! {
    TARGET_DIFFERS "target-differs" E/E "R6.2.4 A8.2 DUR-011"
        "Playlists of one presentation have different target durations."
        "Use the largest in all of them.";
    TYPE_DIFFERS "type-differs" E/E "R6.2.4 TYP-003"
        "Playlists of one presentation have different types."
        "Give all the same EXT-X-PLAYLIST-TYPE.";
    START_DIFFERS "start-differs" E/E "R6.2.4 TYP-004"
        "The playlists do not begin at the same time of the media: a switch jumps."
        "Begin all renditions at the same time stamp.";
    LENGTH_DIFFERS "length-differs" E/E "R6.2.4 A8.7 TYP-004 MVP-014"
        "The playlists do not cover the same time: a switch near the end fails."
        "Let all renditions end within a target duration of each other.";
    MISALIGNED "misaligned" W/W "A8.22 MVP-016"
        "Segments of the renditions do not begin at the same times: some players never reach the end after a switch."
        "Cut all renditions at the same key frames.";
    SEQUENCE_DIFFERS "sequence-differs" W/W "R6.2.4 DSC-004"
        "The same time has different media sequence numbers in the renditions."
        "Number all renditions alike.";
    DISCONTINUITY_DIFFERS "discontinuity-differs" E/E "R6.2.4 A8.15 DSC-004"
        "Discontinuities of the renditions do not match: a switch lands on the wrong timeline."
        "Put EXT-X-DISCONTINUITY at the same points of all renditions.";
    DATE_SOME "date-some" E/E "R6.2.4 PDT-002"
        "Some playlists have EXT-X-PROGRAM-DATE-TIME and others have not."
        "Put it into all or none.";
    BANDWIDTH_LOW "bandwidth-low" E/E "R4.3.4.2 A1.27 MVP-002 MVP-005"
        "The measured peak is more than 10 percent above BANDWIDTH: players choose the variant and stall."
        "Write the peak segment bit rate of the stored files.";
    BANDWIDTH_HIGH "bandwidth-high" E/E "R4.3.4.2 A1.27 MVP-002 MVP-005"
        "The measured peak is more than 10 percent below BANDWIDTH: players avoid a variant that they could play."
        "Write the peak segment bit rate of the stored files.";
    AVERAGE_WRONG "average-wrong" E/E "R4.3.4.2 A1.26 MVP-004 MVP-005"
        "AVERAGE-BANDWIDTH is not within 10 percent of the measured average."
        "Write the stored bytes by the duration.";
    PEAK_RATIO "peak-ratio" -/W "A1.28 MVP-005"
        "The peak is more than twice the average."
        "Encode with a lower maximum rate.";
    CODECS_WRONG "codecs-wrong" E/E "R6.2.4 A9.1 MVP-006 TS-040"
        "CODECS does not name a format that the streams have: players choose a variant that they cannot play, or miss sound."
        "List every format, as the streams' own headers give it.";
    CODECS_SURPLUS "codecs-surplus" E/E "R4.3.4.2 MVP-006"
        "CODECS names a format that is not in the streams: players leave out a variant that they could play, or wait for a stream."
        "List what is there.";
    CODECS_PROFILE "codecs-inexact" W/W "R4.3.4.2 TS-040 TS-043"
        "CODECS names the format with another profile or level than the stream's header."
        "Take the bytes of the SPS, or the object type of the audio.";
    RESOLUTION "resolution-wrong" E/E "R4.3.4.2 MVP-007 TS-044"
        "RESOLUTION is not the size of the pictures."
        "Write the size of the pictures.";
    FRAME_RATE "frame-rate-wrong" E/E "R4.3.4.2 MVP-007 TS-045"
        "FRAME-RATE is not the rate of the pictures."
        "Write the rate, with three decimals.";
    VIDEO_RANGE "video-range" E/E "B4.4.6.2 MVP-008"
        "VIDEO-RANGE is not what the video states: screens switch to the wrong mode."
        "Write SDR, HLG or PQ, as the transfer characteristics are.";
    CAPTIONS_ABSENT "captions-absent" W/W "R4.3.4.2 A4.4 MVP-013"
        "Closed captions are announced and none are in the video."
        "Take the announcement out.";
    CAPTIONS_UNDECLARED "captions-undeclared" W/E "A4.3 A8.10 MVP-013"
        "The video has closed captions and CLOSED-CAPTIONS=NONE says that it has none."
        "Announce them with EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS.";
    ALONE "variants-one" -/W "A9.5 MVP-017"
        "There is one variant of video only: no choice for bad networks."
        "Add variants of other bit rates.";
}
