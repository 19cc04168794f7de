//! Segments: where they begin and end in the input, PID by PID, and how their clear bytes are made.

pub mod assemble;
mod boundary;
pub mod cutter;
pub mod preamble;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod window;

pub use assemble::{Assembler, Taken};
pub use cutter::{CutAt, Cutter};
pub use preamble::{Counters, Preamble};
pub use window::{Keep, Segment, Window};
