//! keyrung turns MPEG-TS renditions into an HLS ladder whose every segment is encrypted with AES-128-CBC under one
//! data key.

pub mod cli;
pub mod crypto;
pub mod es;
pub mod keys;
pub mod ladder;
pub mod limits;
pub mod package;
pub mod playlist;
pub mod segment;
#[cfg(feature = "server")]
pub mod server;
pub mod storage;
pub mod time;
pub mod ts;
