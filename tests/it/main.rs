//! The tests that run the command: each starts from bytes on disk, and asks ffmpeg, ffprobe, openssl, m3u8-rs and
//! mpeg2ts, not keyrung, whether the result is right. `scripts/test` installs what they need.

/// Leaves a check with a text when a condition does not hold.
macro_rules! check {
    ($condition:expr, $($text:tt)+) => {
        let holds: bool = $condition;
        if !holds {
            return Err(format!($($text)+));
        }
    };
}

mod architecture;
mod batch;
#[cfg(feature = "aws")]
mod batch_s3;
mod cipher;
mod claims;
mod common;
mod crash;
mod disk;
mod expectations;
mod file;
#[cfg(feature = "aws")]
mod file_kms;
mod frames;
mod gc;
mod hostile;
mod inputs;
mod key;
#[cfg(feature = "aws")]
mod kms;
#[cfg(feature = "aws")]
mod kms_faults;
mod ladders;
mod media;
#[cfg(feature = "aws")]
mod moto;
#[cfg(feature = "aws")]
mod moto_server;
mod package;
mod pages;
mod permissions;
mod playlists;
#[cfg(feature = "aws")]
mod proxy;
mod publish;
mod record;
mod refusals;
#[cfg(feature = "aws")]
mod s3;
#[cfg(feature = "aws")]
mod s3_more;
mod segments;
#[cfg(feature = "server")]
mod serve;
#[cfg(feature = "server")]
mod serve_cache;
#[cfg(feature = "server")]
mod serve_config;
#[cfg(all(feature = "aws", feature = "server"))]
mod serve_keys;
#[cfg(feature = "server")]
mod serve_run;
mod space;
mod stdin;
mod stream;
mod table;
#[cfg(feature = "temporal")]
mod temporal;
#[cfg(not(feature = "temporal"))]
mod temporal_absent;
#[cfg(feature = "temporal")]
mod temporal_kills;
#[cfg(feature = "temporal")]
mod temporal_server;
#[cfg(feature = "server")]
mod token;
mod verify_hostile;
mod verify_mutant;
mod verify_mutations;
mod verify_playlists;
mod verify_streams;
// Unit tests of the library use the rest of it.
#[allow(dead_code)]
#[cfg(feature = "aws")]
mod wire;
