//! A cut that is being resolved: where each PID of a rendition begins in the new segment.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::ladder::{Access, EpochTime};
use crate::limits;
use crate::time::Instant90;
use crate::ts::Pid;

use super::preamble::{Counters, Preamble};
use super::window::Keep;

#[derive(Debug, Clone, Copy)]
pub(super) struct Pes {
    /// Its number among all units and PES packets, in the order in which they were reported.
    pub(super) order: u64,
    pub(super) offset: u64,
    pub(super) at: Option<EpochTime>,
    /// For the main stream: when it is presented.
    pub(super) position: Option<Instant90>,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) pid: Pid,
    pub(super) keep: Keep,
    /// Whether the PMT still lists it.
    pub(super) listed: bool,
    /// Whether it has been in no segment since it was announced: then its first one takes everything of it.
    pub(super) fresh: bool,
    /// Where the last segment known to begin does so; what comes before belongs to an earlier one.
    pub(super) floor: u64,
    pub(super) pending: VecDeque<Pes>,
}

#[derive(Debug)]
pub(super) struct Boundary {
    pub(super) preamble: Arc<Preamble>,
    pub(super) counters: Counters,
    /// Offset of the main stream's unit, by which streams are cut that cannot be cut by time.
    pub(super) offset: u64,
    pub(super) epoch: u32,
    pub(super) from: From,
    pub(super) discontinuity: bool,
    pub(super) access: Access,
    /// When it is presented.
    pub(super) position: Instant90,
    /// Where the audio beside the main stream begins.
    pub(super) audio_at: Option<EpochTime>,
    /// From this unit of the main stream on, streams that lag are not waited for.
    pub(super) late: Option<Late>,
    pub(super) starts: Vec<(Pid, Option<u64>)>,
}

/// Where streams are given up on. It is counted from the cut, not from when the cut was decided, so that it does not
/// matter how much of the input comes at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Late {
    pub(super) order: u64,
    pub(super) offset: u64,
}

/// The first moment that belongs to the new segment.
#[derive(Debug, Clone, Copy)]
pub(super) enum From {
    /// The beginning of the input.
    Beginning,
    /// All of a new epoch.
    Epoch(u32),
    /// A time within an epoch.
    Time(EpochTime),
}

impl Pes {
    /// This unit of the main stream, when it is so far behind a cut at `position` that nothing is waited for.
    pub(super) fn late_for(&self, position: Instant90) -> Option<Late> {
        let late = self.position?.since(position) > limits::STREAM_SKEW;
        late.then_some(Late { order: self.order, offset: self.offset })
    }
}

impl Stream {
    /// Offset and time of the first PES packet that belongs to what begins at `from`. Those before it are dropped.
    pub(super) fn first_from(
        &mut self,
        from: From,
        offset: u64,
        late: Option<Late>,
        epochs: &VecDeque<(u32, u64)>,
    ) -> Option<(u64, Option<EpochTime>)> {
        let in_time = |order: u64| late.is_none_or(|late| order < late.order);
        while let Some(pes) = self.pending.front().filter(|pes| in_time(pes.order)) {
            let belongs = match (from, pes.at) {
                (From::Beginning, _) => true,
                (_, None) => false,
                (From::Epoch(epoch), Some(at)) if at.epoch <= epoch => at.epoch == epoch,
                (From::Time(from), Some(at)) if at.epoch <= from.epoch => at >= from,
                // It jumped before the main stream did: that must be confirmed first.
                (_, Some(at)) => match epochs.iter().find(|epoch| epoch.0 >= at.epoch) {
                    Some((_, order)) if in_time(*order) => true,
                    _ => break,
                },
            };
            if belongs {
                return Some((pes.offset, pes.at));
            }
            self.pending.pop_front();
        }
        // Not found in time: by its place in the input.
        let late = late?;
        let mut behind = self.pending.iter().filter(|pes| pes.order < late.order && pes.offset >= offset);
        Some(behind.next().map_or((late.offset, None), |pes| (pes.offset, pes.at)))
    }
}

impl Boundary {
    pub(super) fn resolved(&self) -> bool {
        self.starts.iter().all(|start| start.1.is_some())
    }

    pub(super) fn has(&self, pid: Pid) -> bool {
        self.starts.iter().any(|start| start.0 == pid)
    }

    pub(super) fn start(&self, pid: Pid) -> Option<u64> {
        self.starts.iter().find(|start| start.0 == pid).and_then(|start| start.1)
    }
}
