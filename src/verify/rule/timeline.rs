//! The segments of one playlist after one another.

use super::rules;

rules! {
    CONTINUITY "continuity-cut" E/E "R3 DSC-002"
        "Continuity counters do not go on from the segment before: packets are missing, or segments are out of order."
        "Let the counters run on, or mark the break with EXT-X-DISCONTINUITY.";
    GAP "timestamp-gap" E/E "R4.3.2.3 R6.2.1 DSC-001 DSC-002"
        "Time stamps jump between segments and no EXT-X-DISCONTINUITY says so: players stall or skip."
        "Put EXT-X-DISCONTINUITY before the segment, or add the missing one.";
    OVERLAP "timestamp-overlap" E/E "R4.3.2.3 DSC-001"
        "The segment begins before the one before it ends: the same pictures are there twice, or in the wrong order."
        "Put the segments in order; cut without overlap.";
    NEEDLESS "discontinuity-needless" W/W "R4.3.2.3"
        "EXT-X-DISCONTINUITY stands where the streams go on: players reset their decoders for nothing."
        "Take the tag out.";
    PARAMETERS "parameters-change" E/E "R4.3.2.3 B6.2.1 A8.14 DSC-001 DSC-003 AMB-12"
        "Codec, resolution, frame rate or sampling rate changes and no EXT-X-DISCONTINUITY says so."
        "Put EXT-X-DISCONTINUITY before the segment.";
    STREAMS "streams-change" E/E "R4.3.2.3 DSC-001 TS-010"
        "Number, types or PIDs of the streams change and no EXT-X-DISCONTINUITY says so."
        "Put EXT-X-DISCONTINUITY before the segment.";
    EXTINF "extinf-wrong" E/E "R4.3.2.1 DUR-002 DUR-004"
        "EXTINF is not the duration that the segment has; seeking and buffering go by it."
        "Write the distance from the segment's first picture to the next one's.";
    EXTINF_FRAME "extinf-inexact" W/W "R4.3.2.1 A8.1 DUR-002"
        "EXTINF differs from the segment's duration by more than a frame."
        "Write the distance with six decimals.";
    DRIFT "extinf-drift" E/E "A8.1 R4.3.2.1 DUR-003"
        "The sum of EXTINF has moved away from the time stamps: seeking lands beside the target."
        "Round cumulative times and write their differences.";
    AUDIO_GAP "audio-gap" W/W "DSC-002, peers 14"
        "Audio is missing at the cut: a click or a pause."
        "Give each segment the audio that begins in it, and lose none.";
    AUDIO_OVERLAP "audio-overlap" W/W "DSC-002, peers 14"
        "Audio is there twice at the cut: players drop or repeat it."
        "Give each audio frame to one segment.";
    AUDIO_LATE "audio-apart" W/W "R3 TS-023"
        "Audio begins far from where video does: a player that begins here waits or is silent."
        "Cut audio by the time of the video cut.";
    TARGET_REAL "target-untrue" E/E "R4.3.3.1 DUR-006"
        "A segment really lasts longer than EXT-X-TARGETDURATION, whatever EXTINF says."
        "Raise EXT-X-TARGETDURATION, and mend EXTINF.";
    RATE_HIGH "frame-rate-high" -/W "A1.19 TS-047"
        "The video has more than 60 frames per second."
        "Encode at 60 or fewer.";
}
