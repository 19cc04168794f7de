//! Many ladders: the titles of a jobs file, packaged side by side on this machine, or shared out over many.
//!
//! A title is one run of `keyrung package` and says what that command line would say; what its fields mean is not known
//! in here. [`manifest`] reads jobs files and knows the place of every field, [`schedule`] packages titles within a
//! budget of threads and memory, [`shard`] picks those that are this machine's.

pub mod manifest;
pub mod schedule;
pub mod shard;
#[cfg(feature = "temporal")]
pub mod temporal;
mod toml_titles;

pub use manifest::{Draft, Field, Flaw, Position, Problem, Titles};
pub use schedule::{Class, Limits, Packager, Share, Tally, Title, Watcher};
pub use shard::Shard;
