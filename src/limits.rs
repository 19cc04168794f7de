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
// --- es ---

/// Longest sequence parameter set that is read, in bytes. Real ones have 20 to 100; HEVC's with all its tables about 2 KiB.
pub const SPS_BYTES: usize = 4096;

/// Largest width or height of a picture, in luma samples. The widest that H.264 and HEVC levels allow is 16,888.
pub const PICTURE_SIDE: u32 = 32_768;

/// Largest frame rate that is believed, per second (HEVC A.4.2 allows 300). Streams of variable frame rate state the
/// rate of their clock instead.
pub const FRAME_RATE: u32 = 300;
