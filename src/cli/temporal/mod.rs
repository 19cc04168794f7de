//! `keyrung submit`, `worker` and `status`: a catalogue on many machines, shared out by a Temporal server.

#[cfg(not(feature = "temporal"))]
mod absent;
#[cfg(feature = "temporal")]
mod link;
#[cfg(feature = "temporal")]
mod placed;
#[cfg(feature = "temporal")]
pub mod status;
#[cfg(feature = "temporal")]
pub mod submit;
#[cfg(feature = "temporal")]
mod work;
#[cfg(feature = "temporal")]
pub mod worker;

#[cfg(not(feature = "temporal"))]
pub use absent::{status, submit, worker};
