//! Media playlists.

use super::rules;

rules! {
    EXTINF_MISSING "extinf-missing" E/E "R4.3.2.1 DUR-001"
        "A segment has no EXTINF; players drop it or refuse the playlist."
        "Put EXTINF before every segment.";
    EXTINF_SYNTAX "extinf-syntax" E/E "R4.3.2.1 DUR-005"
        "EXTINF is not a decimal number followed by a comma."
        "Write #EXTINF:SECONDS, with the comma.";
    EXTINF_ZERO "extinf-zero" W/W "R4.3.2.1"
        "A segment is said to last no time; players may loop on it or skip it."
        "Give the segment its duration, or leave it out.";
    EXTINF_LOST "extinf-lost" E/E "R4.3.2.1"
        "No segment follows this EXTINF."
        "Put the segment's URI after it, or take it out.";
    TARGET_MISSING "target-missing" E/E "R4.3.3.1 DUR-006"
        "There is no EXT-X-TARGETDURATION; players refuse the playlist or guess their buffer."
        "Add EXT-X-TARGETDURATION before the first segment.";
    TARGET_SYNTAX "target-syntax" E/E "R4.3.3.1 DUR-006"
        "EXT-X-TARGETDURATION is not a whole number of at least 1."
        "Write it as a decimal integer.";
    TARGET_EXCEEDED "target-exceeded" E/E "R4.3.3.1 A7.7 DUR-006 DUR-007"
        "A segment is longer than EXT-X-TARGETDURATION by either reading: players that time their requests by it stall."
        "Raise EXT-X-TARGETDURATION to the longest segment, rounded.";
    TARGET_ROUNDED "target-rounded" W/W "B8 VER-06b"
        "A segment is longer than EXT-X-TARGETDURATION, which is the longest only when rounded; before version 6 it meant the maximum."
        "Round EXT-X-TARGETDURATION up, or use version 6.";
    SEQUENCE_LATE "sequence-late" E/E "R4.3.3.2 SEQ-001"
        "EXT-X-MEDIA-SEQUENCE stands after the first segment."
        "Put it before the first segment.";
    SEQUENCE_LARGE "sequence-large" W/W "SEQ-003 AMB-03"
        "Media sequence numbers of 2^31 and more make players derive different IVs."
        "Start from a smaller number, or write an IV with every key.";
    DISCONTINUITY_SEQUENCE_LATE "discontinuity-sequence-late" E/E "R4.3.3.3 DSC-005"
        "EXT-X-DISCONTINUITY-SEQUENCE stands after a segment or a discontinuity."
        "Put it before the first segment and the first EXT-X-DISCONTINUITY.";
    ENDLIST_MISSING "endlist-missing" E/E "R6.2.1 SEQ-009"
        "A VOD playlist has no EXT-X-ENDLIST: players take it for live and start near its end."
        "Add EXT-X-ENDLIST.";
    LIVE "playlist-live" N/N "R6.2.2"
        "The playlist has no EXT-X-ENDLIST: it is live, and was looked at as it was at this moment."
        "Nothing, if it is meant to be live.";
    TYPE_MISSING "type-missing" -/E "A8.6 TYP-002"
        "A playlist that is complete does not say that its type is VOD."
        "Add EXT-X-PLAYLIST-TYPE:VOD.";
    TYPE_SYNTAX "type-syntax" E/E "R4.3.3.5"
        "EXT-X-PLAYLIST-TYPE is neither EVENT nor VOD."
        "Write EVENT or VOD.";
    BYTERANGE_SYNTAX "byterange-syntax" E/E "R4.3.2.2 BYR-001"
        "EXT-X-BYTERANGE is not LENGTH or LENGTH@OFFSET."
        "Write LENGTH@OFFSET.";
    BYTERANGE_OFFSET "byterange-offset" E/E "R4.3.2.2 BYR-001"
        "EXT-X-BYTERANGE has no offset, and the segment before is not a range of the same resource."
        "Write LENGTH@OFFSET.";
    MAP_SYNTAX "map-syntax" E/E "R4.3.2.5 MAP-001"
        "EXT-X-MAP has no URI, or a BYTERANGE that is none."
        "Write EXT-X-MAP:URI=\"...\".";
    MAP_IV "map-iv" E/E "R4.3.2.5 MAP-002"
        "EXT-X-MAP is encrypted under an EXT-X-KEY without IV; players cannot decrypt it."
        "Write the IV in EXT-X-KEY.";
    DATE_SYNTAX "date-syntax" E/E "R4.3.2.6 PDT-001"
        "EXT-X-PROGRAM-DATE-TIME is not a date and time of ISO 8601."
        "Write YYYY-MM-DDThh:mm:ss.SSSZ.";
    DATE_ZONE "date-zone" W/W "R4.3.2.6 PDT-001"
        "EXT-X-PROGRAM-DATE-TIME has no time zone; players disagree on which is meant."
        "Write Z or +hh:mm.";
    DATE_JUMP "date-jump" W/W "R6.2.1 PDT-004"
        "EXT-X-PROGRAM-DATE-TIME does not continue from the one before it by the durations between them."
        "Derive the times from one clock, or mark the break with EXT-X-DISCONTINUITY.";
    DATERANGE_SYNTAX "daterange-syntax" E/E "R4.3.2.7 DTR-001"
        "EXT-X-DATERANGE lacks ID or START-DATE, or contradicts itself."
        "Give it ID and START-DATE, and an end that is not before the start.";
    DATERANGE_DATE "daterange-date" E/E "R4.3.2.7 DTR-001"
        "There are date ranges and no EXT-X-PROGRAM-DATE-TIME: they map to no point in the media."
        "Add EXT-X-PROGRAM-DATE-TIME.";
    BITRATE_SYNTAX "bitrate-syntax" E/E "B4.4.4.8 BRT-001"
        "EXT-X-BITRATE is not a whole number."
        "Write kilobits per second as a decimal integer.";
    BITRATE_WRONG "bitrate-wrong" E/E "B4.4.4.8 BRT-001"
        "EXT-X-BITRATE is not within 10 percent of the segment's bit rate."
        "Write the segment's size in kilobits by its duration.";
    GAP "segment-gap" N/N "B4.4.4.7 GAP-001"
        "The segment is marked EXT-X-GAP: it is not there, and was not asked for."
        "Nothing, if the media is really lost.";
    LOW_LATENCY "low-latency" N/N "B4.4.4.9 LL-001"
        "The playlist has tags of low-latency HLS; they were not looked at."
        "Check the partial segments with another tool.";
    IFRAMES "iframes" N/N "R4.3.3.6 IFR-001"
        "This is an I-frame playlist: its playlist was checked, its byte ranges were not played."
        "Nothing.";
}
