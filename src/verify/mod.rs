//! Proves an HLS package right, our own or another's: reads playlists, keys and every segment as a player would, decrypts
//! and demultiplexes them, and reports what contradicts the standard, the playlists or the streams.
//!
//! Shares nothing with the writer but the rooms below both (`ts`, `es`, `crypto`, `playlist`): a verifier that shares
//! the writer's code shares its bugs.
//!
//! [`target`] finds the start, [`fetch`] gets resources within bounds, [`parse`] reads playlists, [`segment`] reads
//! segments, [`timeline`] and [`ladder`] compare them, [`record`] knows `keyrung.json`, [`rule`] is the catalogue,
//! [`run`] puts it all together, [`html`] draws it.

pub mod address;
pub mod attribute;
pub mod demux;
pub mod facts;
pub mod fetch;
pub mod finding;
pub mod html;
pub mod http;
pub mod keys;
pub mod ladder;
pub mod lines;
pub mod model;
#[cfg(feature = "aws")]
mod object;
pub mod parse;
mod parse_master;
mod parse_media;
mod publication;
mod reading;
pub mod record;
pub mod report;
pub mod rule;
pub mod run;
pub mod segment;
mod tags;
pub mod target;
pub mod timeline;

pub use finding::{Finding, Findings, Place, Severity};
pub use report::Report;
pub use rule::{Profile, Rule};
pub use run::{Options, Sample, Watch, verify};

/// Why nothing was verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no such target, or nothing in it.
    #[error("{0}")]
    Target(String),
    /// The target's server does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// The run was stopped.
    #[error("interrupted")]
    Interrupted,
}
