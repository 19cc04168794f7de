//! Multivariant playlists.

use super::rules;

rules! {
    URI_MISSING "variant-uri-missing" E/E "R4.3.4.2 MVP-001"
        "No URI follows EXT-X-STREAM-INF; players lose the variant or the next tag."
        "Put the media playlist's URI on the line after it.";
    URI_STRAY "variant-uri-stray" E/E "R4.3.4.2 MVP-001"
        "A URI stands in a multivariant playlist without EXT-X-STREAM-INF before it."
        "Put EXT-X-STREAM-INF before it.";
    BANDWIDTH_MISSING "bandwidth-missing" E/E "R4.3.4.2 MVP-001"
        "EXT-X-STREAM-INF has no BANDWIDTH; players cannot choose."
        "Add the peak segment bit rate.";
    AVERAGE_MISSING "average-missing" -/E "A9.14 MVP-004"
        "EXT-X-STREAM-INF has no AVERAGE-BANDWIDTH."
        "Add the average segment bit rate.";
    CODECS_MISSING "codecs-missing" W/E "R4.3.4.2 A9.1 MVP-006"
        "EXT-X-STREAM-INF has no CODECS: players must download a segment to know whether they can play it."
        "List every format of the variant in CODECS.";
    RESOLUTION_MISSING "resolution-missing" W/E "R4.3.4.2 A9.2 MVP-007"
        "A variant with video has no RESOLUTION."
        "Add RESOLUTION=WIDTHxHEIGHT.";
    RATE_MISSING "frame-rate-missing" -/E "R4.3.4.2 A9.15 MVP-007"
        "A variant with video has no FRAME-RATE."
        "Add FRAME-RATE with three decimals.";
    RATE_MISSING_HIGH "frame-rate-missing-high" W/E "R4.3.4.2 MVP-007"
        "A variant of more than 30 frames per second has no FRAME-RATE; weak players choose it."
        "Add FRAME-RATE with three decimals.";
    VARIANT_TWICE "variant-twice" W/W "R4.3.4.2"
        "Two variants with equal attributes name the same playlist."
        "Take one out.";
    MEDIA_INCOMPLETE "media-incomplete" E/E "R4.3.4.1 MVP-010"
        "EXT-X-MEDIA lacks TYPE, GROUP-ID or NAME, or a URI that its type needs."
        "Add the attribute.";
    MEDIA_NAME "media-name" E/E "R4.3.4.1 MVP-010"
        "Two renditions of a group have the same NAME; a person cannot tell them apart."
        "Give each its own NAME.";
    MEDIA_DEFAULT "media-default" E/E "R4.3.4.1 MVP-010"
        "A group has two renditions with DEFAULT=YES, or one with DEFAULT=YES and AUTOSELECT=NO."
        "Mark one rendition DEFAULT=YES, AUTOSELECT=YES.";
    MEDIA_CAPTIONS "media-captions" E/E "R4.3.4.1 MVP-010"
        "A closed-captions rendition has no INSTREAM-ID, or one that is none, or a URI."
        "Give it INSTREAM-ID (CC1 to CC4, SERVICE1 to SERVICE63) and no URI.";
    MEDIA_FORCED "media-forced" E/E "R4.3.4.1 MVP-010"
        "FORCED stands on a rendition that is no subtitle."
        "Take FORCED out.";
    MEDIA_LANGUAGE "media-language" -/E "A8.10 MVP-013"
        "A rendition has no LANGUAGE."
        "Add LANGUAGE (RFC 5646).";
    GROUP_MISSING "group-missing" E/E "R4.3.4.2 MVP-012"
        "A variant names a group that no EXT-X-MEDIA of that type has."
        "Add the group or take the attribute out.";
    GROUP_MEMBERS "group-members" E/E "R4.3.4.1.1 MVP-011"
        "Groups of one type do not have the same members; a switch of variants loses the rendition."
        "Give all groups of a type the same members.";
    CAPTIONS_NONE "captions-none" E/E "R4.3.4.2 MVP-012"
        "CLOSED-CAPTIONS=NONE stands on some variants and not on all."
        "Put it on all or none.";
    SESSION_KEY_METHOD "session-key-method" E/E "R4.3.4.5 KEY-018"
        "EXT-X-SESSION-KEY has METHOD=NONE or no METHOD."
        "Take the tag out, or give it the method of the keys.";
    SESSION_KEY_TWICE "session-key-twice" E/E "R4.3.4.5 KEY-018"
        "Two EXT-X-SESSION-KEY tags are equal."
        "Keep one.";
    SESSION_KEY_DIFFERS "session-key-differs" E/E "R4.3.4.5 KEY-018"
        "EXT-X-SESSION-KEY and an EXT-X-KEY with its URI differ in METHOD or KEYFORMAT."
        "Make them equal.";
    SESSION_KEY_UNUSED "session-key-unused" W/W "R4.3.4.5 KEY-018"
        "No segment uses the key that EXT-X-SESSION-KEY announces: players fetch it for nothing, or wait for the wrong one."
        "Announce the URI that EXT-X-KEY has.";
    SESSION_DATA "session-data" E/E "R4.3.4.4 MVP-018"
        "EXT-X-SESSION-DATA has no DATA-ID, not exactly one of VALUE and URI, or is there twice."
        "Give it DATA-ID and one of VALUE and URI.";
    IFRAME_SYNTAX "iframe-syntax" E/E "R4.3.4.3 IFR-011"
        "EXT-X-I-FRAME-STREAM-INF lacks BANDWIDTH or URI, or has an attribute that it must not have."
        "Give it BANDWIDTH and URI; take FRAME-RATE, AUDIO, SUBTITLES and CLOSED-CAPTIONS out.";
    IFRAME_TARGET "iframe-target" E/E "R4.3.4.3 IFR-011"
        "EXT-X-I-FRAME-STREAM-INF names a playlist without EXT-X-I-FRAMES-ONLY, or EXT-X-STREAM-INF one with it."
        "Name an I-frame playlist there, and only there.";
    IFRAME_MISSING "iframe-missing" -/W "A6.1 IFR-012"
        "There is no I-frame playlist: no thumbnails while seeking."
        "Make I-frame playlists.";
    STEERING "steering-syntax" E/E "B4.4.6.6 MVP-019"
        "EXT-X-CONTENT-STEERING has no SERVER-URI, or is there twice."
        "Give it SERVER-URI, once.";
    CELLULAR "variant-cellular" -/W "A9.20 MVP-020"
        "No variant has a peak of at most 192 kbit/s for bad networks."
        "Add a low variant.";
}
