//! Cuts one rendition: turns the times of the cuts into the packets, PID by PID, at which segments begin and end.
//!
//! The main stream is cut at the unit itself. Every other PID is cut by time: at its first PES packet whose PTS is at
//! or after the cut. No PES packet is split, and every packet belongs to exactly one segment.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::ladder::{Access, EpochTime, Presentation, Role, Selection, Unit};
use crate::limits;
use crate::time::{Instant90, Span};
use crate::ts::Pid;

use super::preamble::{Counters, Preamble};
use super::window::{Keep, Segment, Window};

/// Where a rendition is cut.
#[derive(Debug, Clone, Copy)]
pub enum CutAt {
    /// At this unit of its main stream.
    Unit(Unit),
    /// At its first units at or after this time, as a rendition without video follows the grid of the others.
    Time {
        /// The time of the cut, on this rendition's clock.
        at: EpochTime,
    },
}

#[derive(Debug, Clone, Copy)]
struct Pes {
    offset: u64,
    at: Option<EpochTime>,
    /// For the main stream: when it is presented.
    position: Option<Instant90>,
}

#[derive(Debug)]
struct Stream {
    pid: Pid,
    keep: Keep,
    /// Whether the PMT still lists it.
    listed: bool,
    /// Whether it has been in no segment yet: then its first one takes everything of it.
    fresh: bool,
    pending: VecDeque<Pes>,
}

#[derive(Debug)]
struct Boundary {
    preamble: Arc<Preamble>,
    counters: Counters,
    /// Offset by which streams are cut that cannot be cut by time.
    offset: u64,
    from: From,
    discontinuity: bool,
    access: Access,
    /// When it is presented; for a follower, once its main stream is resolved.
    position: Option<Instant90>,
    /// Where the audio beside the main stream begins.
    audio_at: Option<EpochTime>,
    /// Where the main stream's clock stood when the cut was made, for giving up on streams that lag.
    made_at: Option<Instant90>,
    starts: Vec<(Pid, Option<u64>)>,
}

/// The first moment that belongs to the new segment.
#[derive(Debug, Clone, Copy)]
enum From {
    /// The beginning of the input.
    Beginning,
    /// All of a new epoch.
    Epoch(u32),
    /// A time within an epoch.
    Time(EpochTime),
}

/// Cuts one rendition.
#[derive(Debug)]
pub struct Cutter {
    shift: Span,
    main: Pid,
    /// The PID on which units come now; `main` follows at the next cut.
    scanned_main: Pid,
    /// Changes of the streams that no cut has reached yet: (byte offset, what holds from then on).
    changes: VecDeque<(u64, Selection)>,
    streams: Vec<Stream>,
    preamble: Arc<Preamble>,
    counters: Counters,
    boundaries: VecDeque<Boundary>,
    next_index: u64,
    epoch: u32,
    presentation: Presentation,
    now: Option<(EpochTime, Instant90)>,
    now_offset: u64,
    side_end: Option<EpochTime>,
    first_side: Option<EpochTime>,
    first_main: Option<EpochTime>,
    lost: VecDeque<Range<u64>>,
    patches: VecDeque<(u64, u8)>,
    finished: bool,
}

impl Cutter {
    /// A cutter for what `selection` carries; `shift` is what the segments add to its timestamps.
    #[must_use]
    pub fn new(selection: &Selection, shift: Span) -> Self {
        let mut cutter = Self {
            shift,
            main: selection.main,
            scanned_main: selection.main,
            changes: VecDeque::new(),
            streams: Vec::new(),
            preamble: Arc::new(Preamble::new(selection, 0)),
            counters: Counters::default(),
            boundaries: VecDeque::new(),
            next_index: 0,
            epoch: 0,
            presentation: Presentation::default(),
            now: None,
            now_offset: 0,
            side_end: None,
            first_side: None,
            first_main: None,
            lost: VecDeque::new(),
            patches: VecDeque::new(),
            finished: false,
        };
        cutter.list(selection);
        cutter
    }

    fn list(&mut self, selection: &Selection) {
        for stream in &mut self.streams {
            stream.listed = false;
        }
        for (pid, keep) in carried(selection) {
            self.add(pid, keep);
            if let Some(stream) = self.streams.iter_mut().find(|stream| stream.pid == pid) {
                (stream.listed, stream.keep) = (true, keep);
            }
        }
    }

    fn add(&mut self, pid: Pid, keep: Keep) {
        if self.streams.iter().all(|stream| stream.pid != pid) {
            self.streams.push(Stream { pid, keep, listed: false, fresh: true, pending: VecDeque::new() });
        }
    }

    /// Takes a change, at `offset` of the input, of what is carried. It holds from the next cut behind it, which will
    /// be a discontinuity.
    pub fn streams(&mut self, offset: u64, selection: Selection) {
        for (pid, keep) in carried(&selection) {
            self.add(pid, keep);
        }
        self.scanned_main = selection.main;
        self.changes.push_back((offset, selection));
    }

    fn apply_changes(&mut self, offset: u64) {
        while self.changes.front().is_some_and(|change| change.0 <= offset)
            && let Some((_, selection)) = self.changes.pop_front()
        {
            let version = self.preamble.version().wrapping_add(1);
            self.main = selection.main;
            self.preamble = Arc::new(Preamble::new(&selection, version));
            self.list(&selection);
        }
    }

    /// Takes the next unit of the main stream.
    pub fn unit(&mut self, unit: &Unit) {
        let position = self.presentation.unit(unit);
        self.first_main.get_or_insert(unit.at);
        let decode = EpochTime { epoch: unit.at.epoch, time: unit.decode };
        self.now = Some((decode, self.presentation.position(unit.decode)));
        self.now_offset = unit.offset;
        let main = self.scanned_main;
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.pid == main) {
            stream.pending.push_back(Pes { offset: unit.offset, at: Some(unit.at), position: Some(position) });
        }
        self.resolve();
    }

    /// How far the main stream has come, with the jumps taken out.
    #[must_use]
    pub fn progress(&self) -> Option<Instant90> {
        self.now.map(|now| now.1)
    }

    /// Takes the next PES packet of another stream.
    pub fn pes(&mut self, pid: Pid, offset: u64, at: Option<EpochTime>) {
        if let Some(at) = at
            && self.preamble.selection().stream(pid).is_some_and(|stream| stream.role == Role::Audio)
        {
            self.side_end = Some(self.side_end.map_or(at, |end| end.max(at)));
            self.first_side.get_or_insert(at);
        }
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.pid == pid) {
            stream.pending.push_back(Pes { offset, at, position: None });
        }
        self.resolve();
    }

    /// Takes a range of the input that holds no packets.
    pub fn lost(&mut self, range: Range<u64>) {
        self.lost.push_back(range);
    }

    /// Takes a byte that the shift changes.
    pub fn patch(&mut self, offset: u64, value: u8) {
        let at = self.patches.partition_point(|patch| patch.0 <= offset);
        self.patches.insert(at, (offset, value));
    }

    /// Begins a new segment.
    pub fn cut(&mut self, at: CutAt, access: Access, discontinuity: bool) {
        let first = self.next_index == 0 && self.boundaries.is_empty();
        self.apply_changes(match at {
            CutAt::Unit(unit) => unit.offset,
            CutAt::Time { .. } => self.now_offset,
        });
        let (epoch, offset, from, position) = match at {
            CutAt::Unit(unit) => {
                let main = self.main;
                let known = self.streams.iter().find(|stream| stream.pid == main);
                let pes = known.and_then(|stream| stream.pending.iter().find(|pes| pes.offset == unit.offset));
                (unit.at.epoch, unit.offset, From::Time(unit.at), pes.and_then(|pes| pes.position))
            }
            CutAt::Time { at } => (at.epoch, self.now_offset, From::Time(at), None),
        };
        let from = if first {
            From::Beginning
        } else if epoch > self.epoch {
            From::Epoch(epoch)
        } else {
            from
        };
        self.epoch = epoch;
        let mut starts = Vec::with_capacity(self.streams.len());
        for stream in &self.streams {
            if stream.fresh && !stream.listed {
                continue; // announced behind this cut
            }
            let by_unit = matches!(at, CutAt::Unit(_)) && stream.pid == self.main;
            let start = if by_unit || !stream.listed {
                Some(offset)
            } else if stream.keep == Keep::Clock {
                Some(if first { 0 } else { offset })
            } else {
                None
            };
            starts.push((stream.pid, start));
        }
        let counters = self.counters;
        self.counters = self.preamble.advance(counters);
        self.boundaries.push_back(Boundary {
            preamble: Arc::clone(&self.preamble),
            counters,
            offset,
            from,
            discontinuity,
            access,
            position,
            audio_at: None,
            made_at: self.now.map(|now| now.1),
            starts,
        });
        self.resolve();
    }

    fn resolve(&mut self) {
        let main = self.main;
        let now = self.now;
        for stream in &mut self.streams {
            for boundary in &mut self.boundaries {
                let Some((_, start)) = boundary.starts.iter_mut().find(|start| start.0 == stream.pid) else {
                    continue;
                };
                if let Some(start) = *start {
                    while stream.pending.front().is_some_and(|pes| pes.offset < start) {
                        stream.pending.pop_front();
                    }
                    stream.fresh = false;
                    continue;
                }
                let from = if stream.fresh { From::Beginning } else { boundary.from };
                let late = match (now, boundary.made_at) {
                    (Some(now), Some(made_at)) => now.1.since(made_at) > limits::STREAM_SKEW,
                    _ => false,
                };
                let Some(found) = stream.first_from(from, now.map(|now| now.0), boundary.offset, late) else {
                    if late {
                        *start = Some(self.now_offset);
                        stream.fresh = false;
                        continue;
                    }
                    break;
                };
                *start = Some(found.offset);
                stream.fresh = false;
                if stream.pid == main {
                    boundary.position = found.position;
                } else if boundary.preamble.selection().role(Role::Audio).is_some_and(|audio| audio.pid == stream.pid) {
                    boundary.audio_at = found.at;
                }
            }
        }
    }

    /// How much is held while it is open where it will be cut.
    #[must_use]
    pub fn held(&self) -> usize {
        let pending = self.streams.iter().map(|stream| stream.pending.len()).sum::<usize>();
        pending + self.boundaries.len() + self.lost.len() + self.patches.len()
    }

    /// Takes the segments that are complete.
    pub fn take_complete(&mut self) -> Vec<Segment> {
        let mut out = Vec::new();
        while self.boundaries.len() > 1 && self.boundaries.iter().take(2).all(Boundary::resolved) {
            out.extend(self.pop());
        }
        if self.finished {
            while !self.boundaries.is_empty() {
                out.extend(self.pop());
            }
        }
        out
    }

    /// The first segment that is not complete yet, with open ends where they are not known; None before its start
    /// is known.
    #[must_use]
    pub fn open_segment(&self) -> Option<Segment> {
        let first = self.boundaries.front().filter(|boundary| boundary.resolved())?;
        Some(self.describe(first, self.boundaries.get(1)))
    }

    /// The offset below which it is known of every packet whether it belongs to the open segment. `undecided` is the
    /// first unit that may still become a cut.
    pub fn settled(&mut self, undecided: Option<&Unit>, reported: u64) -> u64 {
        let frontier = self.now.map(|now| now.0);
        let earliest = match (undecided.map(|unit| unit.at), frontier) {
            (Some(key), Some(now)) => Some(key.min(now)),
            (key, now) => key.or(now),
        };
        let next = self.boundaries.get(1);
        let mut settled = reported;
        if next.is_none()
            && let Some(unit) = undecided
        {
            settled = settled.min(unit.offset);
        }
        let known = |pid: Pid| next.is_some_and(|boundary| boundary.start(pid).is_some());
        let main = self.main;
        for stream in &mut self.streams {
            if known(stream.pid) {
                continue;
            }
            if next.is_none() {
                let surely = |pes: &Pes| match (pes.at, earliest) {
                    (Some(at), Some(earliest)) => at < earliest,
                    (None, _) => true,
                    _ => false,
                };
                // A main stream that is cut by unit is settled by the undecided unit alone.
                let by_unit = stream.pid == main && undecided.is_none_or(|unit| unit.offset > self.now_offset);
                while stream.pending.front().is_some_and(|pes| surely(pes) || (by_unit && pes.offset < self.now_offset))
                {
                    stream.pending.pop_front();
                }
            }
            if let Some(pes) = stream.pending.front()
                && !(stream.pid == main && next.is_none())
            {
                settled = settled.min(pes.offset);
            }
        }
        settled
    }

    /// The lowest offset that the segments behind the open one take, as far as that is known.
    #[must_use]
    pub fn needed_behind_open(&self) -> Option<u64> {
        self.needed_from(1)
    }

    /// The lowest offset that any segment not complete yet takes, as far as that is known.
    #[must_use]
    pub fn needed(&self) -> Option<u64> {
        self.needed_from(0)
    }

    fn needed_from(&self, skip: usize) -> Option<u64> {
        let boundaries = self.boundaries.iter().skip(skip);
        let starts = boundaries.flat_map(|boundary| boundary.starts.iter().filter_map(|start| start.1));
        let pending = self.streams.iter().filter_map(|stream| stream.pending.front().map(|pes| pes.offset));
        starts.chain(pending).min()
    }

    /// Says that nothing more will come.
    pub fn finish(&mut self) {
        self.resolve();
        for boundary in &mut self.boundaries {
            for (_, start) in &mut boundary.starts {
                start.get_or_insert(u64::MAX);
            }
            if boundary.position.is_none() {
                boundary.position = self.presentation.end();
            }
        }
        if let Some(side) = self.side_end
            && side.epoch == self.presentation.epoch()
        {
            let end = self.presentation.position(side.time);
            let known = self.presentation.end().unwrap_or(end);
            if end.since(known) > limits::SHIFT_NEAR {
                self.presentation.extend(end);
            }
        }
        self.finished = true;
    }

    /// How much earlier than the main stream the audio beside it starts; negative when it starts later.
    #[must_use]
    pub fn side_lead(&self) -> Option<Span> {
        let (side, main) = (self.first_side?, self.first_main?);
        (side.epoch == main.epoch).then(|| main.time.since(side.time))
    }

    fn pop(&mut self) -> Option<Segment> {
        let first = self.boundaries.pop_front()?;
        let mut segment = self.describe(&first, self.boundaries.front());
        let range = segment.range();
        segment.lost =
            self.lost.iter().filter(|lost| lost.start < range.end && lost.end > range.start).cloned().collect();
        segment.patches = self.patches.iter().filter(|patch| range.contains(&patch.0)).copied().collect();
        self.next_index += 1;
        let from = self.needed_from(0).unwrap_or(range.start);
        while self.lost.front().is_some_and(|lost| lost.end <= from) {
            self.lost.pop_front();
        }
        while self.patches.front().is_some_and(|patch| patch.0 < from) {
            self.patches.pop_front();
        }
        Some(segment)
    }

    fn describe(&self, first: &Boundary, next: Option<&Boundary>) -> Segment {
        let selection = first.preamble.selection();
        let mut windows = Vec::with_capacity(first.starts.len());
        for (pid, start) in &first.starts {
            let keep = if selection.stream(*pid).is_some() {
                Keep::Packets
            } else if selection.clock_only() && selection.pcr_pid == *pid {
                Keep::Clock
            } else {
                continue;
            };
            let end = next.and_then(|next| next.start(*pid)).unwrap_or(u64::MAX);
            windows.push(Window { pid: *pid, start: start.unwrap_or(u64::MAX), end, keep });
        }
        let end = match next {
            Some(next) => next.position,
            None => self.presentation.end(),
        };
        let duration = match (first.position, end) {
            (Some(start), Some(end)) => end.since(start),
            _ => Span::ZERO,
        };
        let audio_lag = match (first.from, first.audio_at) {
            (From::Time(cut), Some(audio)) if cut.epoch == audio.epoch => Some(audio.time.since(cut.time)),
            _ => None,
        };
        Segment {
            audio_lag,
            index: self.next_index,
            preamble: Arc::clone(&first.preamble),
            counters: first.counters,
            windows,
            shift: self.shift,
            lost: self.lost.iter().cloned().collect(),
            patches: self.patches.iter().copied().collect(),
            duration,
            discontinuity: first.discontinuity,
            access: first.access,
        }
    }
}

/// The PIDs of which a selection keeps something.
fn carried(selection: &Selection) -> impl Iterator<Item = (Pid, Keep)> {
    let clock = selection.clock_only().then_some((selection.pcr_pid, Keep::Clock));
    selection.streams.iter().map(|stream| (stream.pid, Keep::Packets)).chain(clock)
}

impl Stream {
    /// The first PES packet that belongs to what begins at `from`. Those before it are dropped.
    fn first_from(&mut self, from: From, now: Option<EpochTime>, offset: u64, late: bool) -> Option<Pes> {
        while let Some(pes) = self.pending.front() {
            let belongs = match (from, pes.at) {
                _ if late => pes.offset >= offset,
                (From::Beginning, _) => true,
                (_, None) => false,
                (From::Epoch(epoch), Some(at)) if at.epoch <= epoch => at.epoch == epoch,
                (From::Time(from), Some(at)) if at.epoch <= from.epoch => at >= from,
                // It jumped before the main stream did: that must be confirmed first.
                (_, Some(at)) => match now {
                    Some(now) if now.epoch >= at.epoch => true,
                    _ => return None,
                },
            };
            if belongs {
                return Some(*pes);
            }
            self.pending.pop_front();
        }
        None
    }
}

impl Boundary {
    fn resolved(&self) -> bool {
        self.starts.iter().all(|start| start.1.is_some())
    }

    fn start(&self, pid: Pid) -> Option<u64> {
        self.starts.iter().find(|start| start.0 == pid).and_then(|start| start.1)
    }
}
