//! Any playlist: its lines, tags and attribute lists.

use super::rules;

rules! {
    HEADER "playlist-header" E/E "R4.3.1.1 HLS-001"
        "The first line is not exactly #EXTM3U; players refuse the file."
        "Begin the playlist with a line #EXTM3U and nothing before it.";
    BOM "playlist-bom" E/E "R4.1 HLS-002"
        "A byte order mark stands before #EXTM3U; players that compare the first line refuse the file."
        "Write UTF-8 without a byte order mark.";
    ENCODING "playlist-encoding" E/E "R4.1 HLS-002"
        "The playlist is not UTF-8."
        "Write the playlist in UTF-8.";
    CONTROL "playlist-control" E/E "R4.1 HLS-002"
        "A control character, or a carriage return without line feed, stands in a line."
        "Leave control characters out; end lines with LF or CR LF.";
    SPACE "playlist-space" E/E "R4.1 R4.2 HLS-003"
        "White space stands where none is allowed; attribute names or URIs are read with it."
        "Take the white space out.";
    NAME "playlist-name" E/E "R4 HLS-004"
        "Neither the path ends in .m3u8 or .m3u nor the Content-Type says that this is a playlist."
        "Name the file *.m3u8, or serve it as application/vnd.apple.mpegurl.";
    SIZE "playlist-size" E/E "reliability 11"
        "The playlist is larger than any that is read; the rest of it was not looked at."
        "Split the programme, or drop segments that are out of the window.";
    MIXED "playlist-mixed" E/E "R4.3.2-4.3.4 B4.1 HLS-005"
        "Tags of a media and of a multivariant playlist stand in one file; players must refuse it."
        "Keep segments in media playlists and variants in the multivariant playlist.";
    EMPTY "playlist-empty" E/E "R4.3.3 HLS-005"
        "There is neither a segment nor a variant in the playlist."
        "Publish the playlist when it has something to play.";
    VERSION_SYNTAX "version-syntax" E/E "R4.3.1.2 HLS-009"
        "EXT-X-VERSION is not a number above zero."
        "Write EXT-X-VERSION with a decimal integer.";
    VERSION_TWICE "version-twice" E/E "R4.3.1.2 HLS-010"
        "There is more than one EXT-X-VERSION."
        "Keep one EXT-X-VERSION.";
    VERSION_LOW "version-low" E/E "R7 B8 VER-02 to VER-13"
        "The playlist uses what its EXT-X-VERSION does not have; old players fail on it instead of refusing it."
        "Raise EXT-X-VERSION to the number named.";
    VERSION_HIGH "version-high" N/N "R6.2.1 HLS-011"
        "EXT-X-VERSION is higher than anything in the playlist needs; older players refuse it for nothing."
        "Lower EXT-X-VERSION to the number named.";
    TAG_TWICE "tag-twice" E/E "R4.3.3 R4.3.5 HLS-013"
        "A tag that may stand once stands twice; players take one or the other."
        "Keep one of them.";
    TAG_UNKNOWN "tag-unknown" N/N "R6.3.1"
        "No version of the standard has this tag; players pass over it."
        "Check the spelling.";
    TAG_REMOVED "tag-removed" W/W "R7 B8 VER-Y"
        "This tag or attribute was taken out of the standard at this EXT-X-VERSION."
        "Take it out.";
    TAG_VALUE "tag-value" E/E "R4.2 HLS-009"
        "The tag's value is not of the kind that the tag has."
        "Write the value as the standard gives it.";
    ATTRIBUTE_NAME "attribute-name" E/E "R4.2 HLS-006"
        "An attribute's name is not made of A-Z, 0-9 and -, or has no = after it; players may drop the whole list."
        "Write NAME=VALUE pairs with commas between them.";
    ATTRIBUTE_TWICE "attribute-twice" E/E "R4.2 HLS-006"
        "An attribute stands twice in one list; players take one or the other."
        "Keep one of them.";
    ATTRIBUTE_QUOTES "attribute-quotes" E/E "R4.2 HLS-007"
        "A quoted string does not end, or something other than a comma follows it."
        "Close the quotes; percent-encode a quote inside a URI.";
    ATTRIBUTE_KIND "attribute-kind" E/E "R4.2 HLS-007 HLS-009"
        "An attribute's value is not of its type: quoted where it must not be or the reverse, or not a number."
        "Write the value in the type that the standard gives.";
    ATTRIBUTE_ENUM "attribute-enum" E/E "R4.3 B4.4"
        "The attribute has a value that the standard does not name."
        "Use one of the values that the standard names.";
    HEX_CASE "hex-case" W/E "R4.2 HLS-008 AMB-05"
        "A hexadecimal number has lower-case digits; the standard has A-F only, though all known players take both."
        "Write the digits in upper case.";
    URI_SYNTAX "uri-syntax" E/E "R4.1 RFC 3986 2"
        "The URI has characters that no URI has, or cannot be resolved."
        "Percent-encode the characters.";
    INDEPENDENT_TWICE "independent-twice" W/W "R4.3.5 IND-002"
        "EXT-X-INDEPENDENT-SEGMENTS stands in the multivariant playlist and again in a media playlist."
        "Keep it in the multivariant playlist.";
    START_SYNTAX "start-syntax" E/E "R4.3.5.2 STA-001"
        "EXT-X-START has no TIME-OFFSET that is a number, or PRECISE is neither YES nor NO."
        "Write EXT-X-START:TIME-OFFSET=SECONDS.";
    START_BEYOND "start-beyond" W/W "R4.3.5.2 STA-001"
        "EXT-X-START lies outside the playlist, or too near to its live end; players clamp it."
        "Choose an offset inside the playlist.";
    DEFINE "define-syntax" E/E "B4.4.2.3 DEF-001"
        "EXT-X-DEFINE has not exactly one of NAME with VALUE, IMPORT and QUERYPARAM, or defines a name again."
        "Give each variable one definition.";
    VARIABLE "variable-undefined" E/E "B4.3 DEF-001"
        "A variable is used that no EXT-X-DEFINE before it defines; players fail."
        "Define the variable before its first use.";
}
