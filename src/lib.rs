//! keyrung turns MPEG-TS renditions into an HLS ladder whose every segment is encrypted with AES-128-CBC under one
//! data key.
//!
//! The command is the product; `README.md` says how it is used. This library is what the command is made of, and its
//! interface may change with any release before 1.0.
//!
//! # The way of the data
//!
//! ```text
//!  inputs          ts + es             ladder              segment             crypto             storage
//!  files,     -->  packets, PSI,  -->  units of each  -->  what each PID  -->  many segments  --> staging folder,
//!  stdin           PES, key frames     rendition, one      gives to each       in lock-step,      one rename
//!                                      grid of cuts        segment             one CBC each
//!                                                                                  ^                 ^
//!                                                          data key, sealed: keys -+     playlists: playlist
//! ```
//!
//! [`package`] drives this: it scans all inputs side by side, hands descriptions of segments to worker threads, which read
//! the inputs again by range, and writes playlists and commit record when everything is stored. Media bytes are never
//! copied into a description, so memory does not grow with the film. [`manual::architecture`] tells it at length.
//!
//! # Modules
//!
//! | module | holds |
//! |---|---|
//! | [`time`], [`limits`] | 90 kHz clock types; every limit and its reason |
//! | [`ts`] | MPEG-TS: packets, sections, PAT, PMT, PES (ISO/IEC 13818-1) |
//! | [`es`] | elementary streams: key frames, codec strings, sizes and rates |
//! | [`crypto`] | data key, IVs, AES-128-CBC one by one and in lanes, checksums |
//! | [`playlist`] | HLS playlists: values that cannot inject, a writer, a reader with guards (RFC 8216) |
#![cfg_attr(feature = "aws", doc = "| [`aws`] | what all calls to AWS share: runtime, configuration, names |")]
#![cfg_attr(not(feature = "aws"), doc = "| `aws` | not built: it needs the feature `aws` |")]
//! | [`storage`] | durable writes, private files, folders that appear in one step |
//! | [`ladder`] | what inputs hold, what renditions carry, timelines, faults, the grid |
//! | [`segment`] | where a rendition is cut, PID by PID, and how a segment's bytes are made |
//! | [`keys`] | local keyring, AWS KMS, sealed keys, claims, the audit log |
//! | [`package`] | one job, from inputs to commit record |
//! | [`batch`] | many jobs: jobs files, shards, titles side by side |
//! | [`verify`] | reads a package as a player does and finds what is wrong with it |
#![cfg_attr(feature = "server", doc = "| [`server`] | packages, and keys for viewers who may have them, over HTTP |")]
#![cfg_attr(not(feature = "server"), doc = "| `server` | not built: it needs the feature `server` |")]
//! | [`cli`] | the command line |
//! | [`manual`] | architecture, stored formats, threat model, operations |
//!
//! # Invariants
//!
//! * `time limits ts es crypto playlist ladder segment` do no I/O, read no clock, print and log nothing, and are not
//!   `async`: bytes come in, values and events go out, so every rule can be tested on bytes in memory.
//! * Only `cli` prints, and only `cli` knows exit codes. Nobody imports `cli`.
//! * Input does not panic, loop or fill the memory: there is no `unsafe`, arithmetic is checked in release builds too,
//!   and everything that input sizes has a limit in [`limits`].
//! * A data key can be neither cloned nor printed nor serialized, and is wiped when dropped.
//! * A playlist names only what is stored: playlists are made from what the engines stored, and DEST appears whole.
//! * The same inputs and settings under the same claim make the same bytes, however many threads do it and however the
//!   input arrives.
//!
//! # Example
//!
//! What a transport stream holds:
//!
//! ```
//! use keyrung::ladder::{Content, Probe};
//! use keyrung::ts::EndOfInput;
//!
//! let bytes = std::fs::read("samples/ladder/360p.ts")?;
//! let mut probe = Probe::new();
//! probe.push(&bytes, EndOfInput::Reached)?;
//! let programs = probe.finish()?;
//!
//! let codecs: Vec<_> = programs[0].streams.iter().map(|stream| match &stream.content {
//!     Content::Carried(codec) => codec.name().to_owned(),
//!     Content::Other(name) => format!("{name}, left out"),
//! }).collect();
//! assert_eq!(codecs, ["H.264", "AAC (ADTS)"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "aws")]
pub mod aws;
pub mod batch;
pub mod cli;
pub mod crypto;
pub mod es;
pub mod keys;
pub mod ladder;
pub mod limits;
pub mod manual;
pub mod package;
pub mod playlist;
pub mod segment;
#[cfg(feature = "server")]
pub mod server;
pub mod storage;
pub mod time;
pub mod ts;
pub mod verify;
