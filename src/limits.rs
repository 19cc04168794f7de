//! Every limit on what input may ask for, its default and why.

// --- playlist ---

/// Bytes of a playlist that is read: 64 MiB holds a week of six-second segments, each with its own key tag and long URIs.
pub const PLAYLIST_BYTES: usize = 64 << 20;

/// Lines of a playlist that is read; three to four make a segment.
pub const PLAYLIST_LINES: usize = 1_000_000;

/// Bytes of one line of a playlist that is read, without its end. Room for a tag with several of the longest values.
pub const PLAYLIST_LINE_BYTES: usize = 64 << 10;

/// Attributes of one tag; the standard's longest list has under thirty.
pub const PLAYLIST_ATTRIBUTES: usize = 256;

/// Bytes of one value that is written (a URI, a name): what common servers and players take as a URI.
pub const PLAYLIST_VALUE_BYTES: usize = 8 << 10;
