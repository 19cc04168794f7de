//! Which tags there are, where they stand, and the lowest version that has them.

/// The playlists that a tag may stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Any.
    Any,
    /// Media playlists, once for the whole.
    Media,
    /// Media playlists, for segments.
    Segment,
    /// Multivariant playlists.
    Master,
}

/// How often a tag may stand in one playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Often {
    /// Once.
    Once,
    /// As often as one likes.
    Many,
}

/// A tag of the standard.
#[derive(Debug, Clone, Copy)]
pub struct Tag {
    /// Where it may stand.
    pub scope: Scope,
    /// How often.
    pub often: Often,
    /// The lowest EXT-X-VERSION that has it, or 1.
    pub version: u64,
    /// Whether its value is an attribute list.
    pub list: bool,
}

/// What the standard knows of a tag; none when it does not know it.
#[must_use]
pub fn tag(name: &str) -> Option<Tag> {
    use Often::{Many, Once};
    use Scope::{Any, Master, Media, Segment};
    let (scope, often, version, list) = match name {
        "EXTM3U" => (Any, Once, 1, false),
        "EXT-X-VERSION" => (Any, Many, 1, false),
        "EXT-X-INDEPENDENT-SEGMENTS" => (Any, Once, 1, false),
        "EXT-X-START" => (Any, Once, 1, true),
        "EXT-X-DEFINE" => (Any, Many, 8, true),
        "EXT-X-TARGETDURATION" | "EXT-X-MEDIA-SEQUENCE" | "EXT-X-DISCONTINUITY-SEQUENCE" => (Media, Once, 1, false),
        "EXT-X-ENDLIST" | "EXT-X-PLAYLIST-TYPE" | "EXT-X-ALLOW-CACHE" => (Media, Once, 1, false),
        "EXT-X-I-FRAMES-ONLY" => (Media, Once, 4, false),
        "EXT-X-PART-INF" | "EXT-X-SERVER-CONTROL" => (Media, Once, 1, true),
        "EXT-X-SKIP" => (Media, Once, 9, true),
        "EXTINF" | "EXT-X-DISCONTINUITY" | "EXT-X-PROGRAM-DATE-TIME" | "EXT-X-GAP" | "EXT-X-BITRATE" => {
            (Segment, Many, 1, false)
        }
        "EXT-X-BYTERANGE" => (Segment, Many, 4, false),
        "EXT-X-KEY" | "EXT-X-DATERANGE" | "EXT-X-PART" | "EXT-X-PRELOAD-HINT" => (Segment, Many, 1, true),
        "EXT-X-RENDITION-REPORT" => (Segment, Many, 1, true),
        "EXT-X-MAP" => (Segment, Many, 5, true),
        "EXT-X-MEDIA" | "EXT-X-STREAM-INF" | "EXT-X-I-FRAME-STREAM-INF" => (Master, Many, 1, true),
        "EXT-X-SESSION-DATA" | "EXT-X-SESSION-KEY" => (Master, Many, 1, true),
        "EXT-X-CONTENT-STEERING" => (Master, Many, 1, true),
        _ => return None,
    };
    Some(Tag { scope, often, version, list })
}
