//! One segment, decrypted.

use super::rules;

rules! {
    EMPTY "segment-empty" E/E "R3"
        "The segment has no bytes."
        "Write the segment before the playlist names it.";
    RANGE "segment-range" E/E "R4.3.2.2 BYR-001"
        "The byte range goes beyond the end of its resource."
        "Write the range that the segment has.";
    NOT_TS "segment-not-ts" E/E "R3.2"
        "The segment is neither a transport stream nor another format that HLS has."
        "Write MPEG-TS with the sync byte 0x47 every 188 bytes.";
    FORMAT "segment-format" N/N "R3.3"
        "The segment is fragmented MP4: its container was not looked into."
        "Check it with a tool for fragmented MP4.";
    SYNC "packet-sync" E/E "ISO/IEC 13818-1 2.4.3.2 TS-003"
        "A packet does not begin with the sync byte: bytes are missing or damaged."
        "Write the segment again from a whole source.";
    PARTIAL "packet-partial" E/E "R6.2.1 SEG-004"
        "The segment does not end with a whole packet."
        "Cut segments between packets.";
    PAT_MISSING "pat-missing" E/E "R3.2 SEG-002"
        "There is no program association table in the segment: players that begin here find nothing."
        "Begin every segment with PAT and PMT.";
    PMT_MISSING "pmt-missing" E/E "R3.2 SEG-002"
        "There is no program map table in the segment: players that begin here find no streams."
        "Begin every segment with PAT and PMT.";
    PAT_FIRST "pat-first" W/W "R3.2 SEG-002"
        "The first two packets are not PAT and PMT; players may drop what comes before them."
        "Begin every segment with PAT and PMT.";
    PSI_DAMAGED "psi-damaged" E/E "ISO/IEC 13818-1 2.4.4 TS-007"
        "A table's CRC is wrong or it is cut short: players pass it over."
        "Write the segment again; look for a wrong IV.";
    PROGRAMS "programs-several" E/E "R3.2 SEG-001"
        "The segment has more than one program; what players do is undefined."
        "Keep one program in each segment.";
    CONTINUITY "continuity" E/E "ISO/IEC 13818-1 2.4.3.3 R3 DSC-002"
        "Continuity counters jump inside the segment: packets are missing."
        "Write the segment again from a whole source.";
    ERROR_FLAG "transport-error" E/E "ISO/IEC 13818-1 2.4.3.2"
        "Packets are flagged as damaged by whoever received them."
        "Take the programme from a better source.";
    SCRAMBLED "packet-scrambled" E/E "R3.2 TS-003"
        "Packets are scrambled by a conditional access system; HLS players cannot open them."
        "Descramble before packaging.";
    UNANNOUNCED "pid-unannounced" W/W "SEG-008 TS-009"
        "Packets come on a PID that the PMT does not list: bytes that nobody plays."
        "Drop them.";
    SILENT "stream-silent" W/W "R3.2 SEG-002"
        "The PMT lists a video or audio stream that has no packets in the segment: players may wait for it."
        "List what is there.";
    NO_STAMP "pes-no-pts" W/W "R3 TS-020"
        "A PES packet that begins a stream in the segment has no PTS."
        "Write a PTS with the first PES of each stream.";
    PES_SYNTAX "pes-syntax" E/E "ISO/IEC 13818-1 2.4.3.6 TS-020"
        "A payload unit of a stream does not begin with a PES header."
        "Write the segment again; the bytes are damaged.";
    PES_LENGTH "pes-length" W/W "ISO/IEC 13818-1 2.4.3.7 TS-020"
        "A PES packet has not the length that it states: bytes are missing."
        "Write the segment again from a whole source.";
    ORDER "dts-order" E/E "R3 TS-035"
        "Decoding time goes back inside the segment."
        "Mark the break with EXT-X-DISCONTINUITY, or mend the source.";
    PTS_BEFORE_DTS "pts-before-dts" E/E "ISO/IEC 13818-1 2.4.3.7 TS-020"
        "A picture is to be shown before it is decoded."
        "Mend the time stamps of the source.";
    PCR_MISSING "pcr-missing" W/W "ISO/IEC 13818-1 2.7.2 TS-005"
        "There is no clock reference on the program's PCR PID in the segment."
        "Keep packets with PCR.";
    NO_MEDIA "segment-no-media" E/E "R3.2"
        "The segment has no video and no audio that HLS can carry."
        "Leave the segment out, or mark it EXT-X-GAP.";
    KEY_FRAME "key-frame-start" W/E "R3 A7.4 SEG-003 IND-004"
        "The segment's first picture is no IDR picture: a player that begins here shows nothing or damage."
        "Cut at IDR pictures.";
    PARAMETER_SETS "parameter-sets" W/W "R3 SEG-003"
        "The first key frame has no parameter sets with it: a player that begins here cannot set up its decoder."
        "Repeat SPS and PPS before every key frame.";
    INDEPENDENT "independent-untrue" E/E "R4.3.5.1 IND-001 TS-034"
        "EXT-X-INDEPENDENT-SEGMENTS is not true of this segment: it needs pictures of the one before."
        "Cut at closed GOPs, or take the tag out.";
    CODEC "codec-unsupported" W/E "R3.2 A1.1 A1.5 TS-016 AMB-20"
        "The stream is of a format that HLS does not have in transport streams, or few players take."
        "Use H.264 with AAC, AC-3 or E-AC-3; HEVC goes into fragmented MP4.";
    LYING_TYPE "stream-type-wrong" W/W "ISO/IEC 13818-1 table 2-34 TS-011"
        "The PMT states another format than the stream has; players go by the PMT."
        "Write the stream type that the stream has.";
    INTERLACED "video-interlaced" -/W "A1.14 TS-047"
        "The video is interlaced, or may be."
        "Deinterlace.";
    SEVERAL_AUDIO "audio-several" N/E "A2.17 MVP-017"
        "The segment has several audio streams; players take the first, or refuse."
        "Put each into a rendition of its own.";
    PACKED_ID3 "packed-audio-stamp" E/E "R3.4 SEG-005"
        "A segment of packed audio does not begin with the ID3 tag that holds its time stamp."
        "Begin it with a PRIV frame com.apple.streaming.transportStreamTimestamp.";
    WEBVTT "webvtt-header" E/E "R3.5 SEG-006"
        "A subtitle segment does not begin with WEBVTT."
        "Begin every segment with the WebVTT header.";
    WEBVTT_MAP "webvtt-map" W/W "R3.5 SEG-006"
        "A subtitle segment has no X-TIMESTAMP-MAP: players take 0 for its clock."
        "Add X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:...";
}
