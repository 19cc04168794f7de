//! HLS playlists as text: validated values, writers of media and multivariant playlists, the numbers they carry (durations,
//! target duration, bit rates, version), and a line reader that loses nothing.
//!
//! The writers take only values that were checked when they were made ([`value`]), so no name or URI can add a tag or an
//! attribute. The reader keeps unknown tags, order and line ends, so that what it renders is what it read.

pub mod attribute;
pub mod bandwidth;
pub mod duration;
pub mod master;
pub mod media;
pub mod read;
pub mod rewrite;
pub mod value;
pub mod version;

#[cfg(test)]
mod oracle;
