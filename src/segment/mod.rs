//! Segments: where they begin and end in the input, PID by PID, and how their clear bytes are made.

pub mod assemble;
pub mod cutter;
pub mod preamble;
pub mod window;

pub use assemble::{Assembler, Taken};
pub use cutter::{CutAt, Cutter};
pub use preamble::{Counters, Preamble};
pub use window::{Keep, Segment, Window};
