//! A segment, described and not copied: which packets of the input it takes, PID by PID.

use std::ops::Range;
use std::sync::Arc;

use crate::ladder::Access;
use crate::time::Span;
use crate::ts::Pid;

use super::preamble::{Counters, Preamble};

/// What is kept of a PID's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The packets.
    Packets,
    /// Only their PCR: the stream is left out, but the program's clock comes with it.
    Clock,
}

/// The packets of one PID that a segment takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The PID.
    pub pid: Pid,
    /// Byte offset of the first packet taken.
    pub start: u64,
    /// Byte offset of the first packet that is not taken any more; `u64::MAX` while that is open, and at the end.
    pub end: u64,
    /// What is kept of them.
    pub keep: Keep,
}

/// One segment of a rendition.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Its number, from 0.
    pub index: u64,
    /// What it begins with.
    pub preamble: Arc<Preamble>,
    /// The preamble's continuity counters.
    pub counters: Counters,
    /// What it takes of the input.
    pub windows: Vec<Window>,
    /// What is added to its timestamps.
    pub shift: Span,
    /// Ranges of the input, within its own, that hold no packets.
    pub lost: Vec<Range<u64>>,
    /// Bytes of PES headers in more than one packet, that the shift changes: (byte offset, new value), in order.
    pub patches: Vec<(u64, u8)>,
    /// Its presentation duration.
    pub duration: Span,
    /// How much later than the cut the audio beside the video begins, which is cut at whole PES packets; None at the
    /// beginning, at jumps, and without such audio.
    pub audio_lag: Option<Span>,
    /// Whether a discontinuity lies before it.
    pub discontinuity: bool,
    /// How well decoding can start at it.
    pub access: Access,
}

impl Segment {
    /// The range of the input in which its packets lie.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        let used = self.windows.iter().filter(|window| window.start < window.end);
        let start = used.clone().map(|window| window.start).min().unwrap_or(0);
        let end = used.map(|window| window.end).max().unwrap_or(0);
        start..end.max(start)
    }

    /// What it keeps of the packet of `pid` at `offset`.
    #[inline]
    #[must_use]
    pub fn keeps(&self, pid: Pid, offset: u64) -> Option<Keep> {
        self.windows
            .iter()
            .find(|window| window.pid == pid)
            .filter(|window| window.start <= offset && offset < window.end)
            .map(|window| window.keep)
    }
}
