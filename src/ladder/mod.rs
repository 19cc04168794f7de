//! The ladder: what inputs hold, which renditions they make, and the one grid on which all are cut.

pub mod clock;
pub mod error;
pub mod event;
pub mod fault;
pub mod grid;
mod head;
pub mod presentation;
pub mod scan;
pub mod select;
pub mod shift;
pub mod source;
#[cfg(test)]
pub(crate) mod testing;
mod track;

pub use clock::EpochTime;
pub use error::LadderError;
pub use event::{Access, CaptionTally, Event, Unit};
pub use fault::{FaultKind, Faults, Place, Tally};
pub use grid::{Cut, CutPolicy, Grid, Lead};
pub use presentation::Presentation;
pub use scan::Scanner;
pub use select::{AudioChoice, CarriedStream, Content, LeftOut, Role, Seen, Selection};
pub use source::{Probe, Probed, ProgramInfo, StreamInfo};
