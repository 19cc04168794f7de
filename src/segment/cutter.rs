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

use super::boundary::{Boundary, From, Pes, Stream};
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

/// A cut by time that the main stream has not reached.
#[derive(Debug, Clone, Copy)]
struct TimeCut {
    at: EpochTime,
    access: Access,
    discontinuity: bool,
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
    time_cuts: VecDeque<TimeCut>,
    /// Whether it is cut by time, as a follower.
    follows: bool,
    next_index: u64,
    epoch: u32,
    presentation: Presentation,
    /// Units and PES packets so far.
    reported: u64,
    /// The main stream's units from the last cut on.
    units: VecDeque<Pes>,
    /// The first unit of each epoch: (epoch, its order).
    epochs: VecDeque<(u32, u64)>,
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
            time_cuts: VecDeque::new(),
            follows: false,
            next_index: 0,
            epoch: 0,
            presentation: Presentation::default(),
            reported: 0,
            units: VecDeque::new(),
            epochs: VecDeque::new(),
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
            self.streams.push(Stream { pid, keep, listed: false, fresh: true, floor: 0, pending: VecDeque::new() });
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
        let pes = Pes { order: self.reported, offset: unit.offset, at: Some(unit.at), position: Some(position) };
        self.reported += 1;
        if self.epochs.back().is_none_or(|last| last.0 != unit.at.epoch) {
            self.epochs.push_back((unit.at.epoch, pes.order));
        }
        for boundary in &mut self.boundaries {
            boundary.late = boundary.late.or(pes.late_for(boundary.position));
        }
        self.units.push_back(pes);
        let main = self.scanned_main;
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.pid == main) {
            stream.pending.push_back(pes);
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
            self.side_end = Some(at);
            self.first_side.get_or_insert(at);
        }
        let order = self.reported;
        self.reported += 1;
        let unchanging = self.changes.is_empty();
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.pid == pid)
            && offset >= stream.floor
            && !(stream.keep == Keep::Clock && unchanging)
        {
            stream.pending.push_back(Pes { order, offset, at, position: None });
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
        match at {
            CutAt::Unit(unit) => {
                let known = self.units.iter().find(|pes| pes.offset == unit.offset).copied();
                let position = self.presentation.position(unit.at.time);
                let unknown =
                    Pes { order: self.reported, offset: unit.offset, at: Some(unit.at), position: Some(position) };
                self.begin(&known.unwrap_or(unknown), TimeCut { at: unit.at, access, discontinuity });
            }
            CutAt::Time { at } => {
                self.follows = true;
                self.time_cuts.push_back(TimeCut { at, access, discontinuity });
            }
        }
        self.resolve();
    }

    /// Whether the next boundary is the first.
    fn is_first(&self) -> bool {
        self.next_index == 0 && self.boundaries.is_empty()
    }

    /// Where the segment that `at` begins takes its first PES packets from.
    fn from(&self, at: EpochTime) -> From {
        if self.is_first() {
            From::Beginning
        } else if at.epoch > self.epoch {
            From::Epoch(at.epoch)
        } else {
            From::Time(at)
        }
    }

    /// Begins a new segment at `unit` of the main stream.
    fn begin(&mut self, unit: &Pes, cut: TimeCut) {
        let first = self.is_first();
        let from = self.from(cut.at);
        self.apply_changes(unit.offset);
        self.epoch = cut.at.epoch;
        // A clock that comes alone begins with the first stream that is clocked by it.
        let before = self.streams.iter().filter(|stream| first && stream.listed).flat_map(|stream| &stream.pending);
        let clock = before.filter(|pes| pes.order < unit.order).map(|pes| pes.offset).chain([unit.offset]).min();
        let mut starts = Vec::with_capacity(self.streams.len());
        for stream in &self.streams {
            let waited_for = self.boundaries.iter().any(|boundary| boundary.has(stream.pid));
            if stream.fresh && !stream.listed && !waited_for {
                continue; // announced behind this cut, or gone
            }
            let start = if stream.pid == self.main || !stream.listed {
                Some(unit.offset)
            } else if stream.keep == Keep::Clock {
                clock
            } else {
                None
            };
            starts.push((stream.pid, start));
        }
        let counters = self.counters;
        self.counters = self.preamble.advance(counters);
        while self.units.front().is_some_and(|pes| pes.order < unit.order) {
            self.units.pop_front();
        }
        let position = unit.position.unwrap_or(Instant90::from_ticks(0));
        self.boundaries.push_back(Boundary {
            preamble: Arc::clone(&self.preamble),
            counters,
            offset: unit.offset,
            epoch: cut.at.epoch,
            from,
            discontinuity: cut.discontinuity,
            access: cut.access,
            position,
            audio_at: None,
            late: self.units.iter().find_map(|pes| pes.late_for(position)),
            starts,
        });
    }

    fn resolve(&mut self) {
        while let Some(cut) = self.time_cuts.front().copied() {
            let from = self.from(cut.at);
            let reached = self.units.iter().find(|unit| match (from, unit.at) {
                (From::Beginning, _) => true,
                (From::Epoch(epoch), Some(at)) => at.epoch >= epoch,
                (From::Time(from), Some(at)) => at >= from,
                (_, None) => false,
            });
            let Some(unit) = reached.copied() else {
                break;
            };
            self.time_cuts.pop_front();
            self.begin(&unit, cut);
        }
        for stream in &mut self.streams {
            for boundary in &mut self.boundaries {
                let carried = boundary.preamble.selection().stream(stream.pid).is_some();
                let Some((_, start)) = boundary.starts.iter_mut().find(|start| start.0 == stream.pid) else {
                    continue;
                };
                let from = if stream.fresh { From::Beginning } else { boundary.from };
                let offset = match *start {
                    Some(offset) => offset,
                    None => match stream.first_from(from, boundary.offset, boundary.late, &self.epochs) {
                        Some((offset, at)) => {
                            *start = Some(offset.max(stream.floor));
                            let audio = boundary.preamble.selection().role(Role::Audio);
                            if audio.is_some_and(|audio| audio.pid == stream.pid) {
                                boundary.audio_at = at;
                            }
                            offset
                        }
                        None => break,
                    },
                };
                stream.floor = stream.floor.max(offset);
                stream.fresh = !carried && stream.keep == Keep::Packets;
                while stream.pending.front().is_some_and(|pes| pes.offset < offset) {
                    stream.pending.pop_front();
                }
            }
        }
    }

    /// How much is held while it is open where it will be cut.
    #[must_use]
    pub fn held(&self) -> usize {
        let pending = self.streams.iter().map(|stream| stream.pending.len()).sum::<usize>();
        let cuts = self.units.len() + self.boundaries.len() + self.time_cuts.len();
        pending + cuts + self.lost.len() + self.patches.len()
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
    /// is known. Of damage and patches it has those from offset `from` on.
    #[must_use]
    pub fn open_segment(&self, from: u64) -> Option<Segment> {
        let first = self.boundaries.front().filter(|boundary| boundary.resolved())?;
        let mut segment = self.describe(first, self.boundaries.get(1));
        self.add_damage(&mut segment, from..u64::MAX);
        Some(segment)
    }

    /// The offset below which it is known of every packet whether it belongs to the open segment. `undecided` is the
    /// first unit that may still become a cut. Everything below `reported` has been reported.
    pub fn settled(&mut self, undecided: Option<&Unit>, reported: u64) -> u64 {
        let earliest = [undecided.map(|unit| unit.at), self.now.map(|now| now.0.horizon())].into_iter().flatten().min();
        self.settle(earliest, undecided, reported)
    }

    /// The same for a rendition that is cut by time: no cut that comes is before `earliest`, if that is known.
    pub fn settled_before(&mut self, earliest: Option<EpochTime>, reported: u64) -> u64 {
        let cut = self.time_cuts.front().map(|cut| cut.at);
        self.settle(earliest.map(|earliest| cut.map_or(earliest, |cut| cut.min(earliest))), None, reported)
    }

    fn settle(&mut self, earliest: Option<EpochTime>, undecided: Option<&Unit>, reported: u64) -> u64 {
        let next = self.boundaries.get(1);
        let mut settled = reported;
        if next.is_none()
            && let Some(unit) = undecided
        {
            settled = settled.min(unit.offset);
        }
        let known = |pid: Pid| next.is_some_and(|boundary| boundary.start(pid).is_some());
        let surely = |pes: &Pes| match (pes.at, earliest) {
            (Some(at), Some(earliest)) => at < earliest,
            (None, _) => true,
            _ => false,
        };
        if self.follows && next.is_none() {
            // No cut may go back behind what is settled, even if the leader's clock does.
            while self.units.front().is_some_and(surely) {
                self.units.pop_front();
            }
        }
        for stream in &mut self.streams {
            if known(stream.pid) || (stream.fresh && !stream.listed) {
                continue;
            }
            // A main stream that is cut by unit is settled by the undecided unit alone.
            let by_unit = stream.pid == self.main && next.is_none() && !self.follows;
            if next.is_none() && !stream.fresh {
                let passed = by_unit && undecided.is_none_or(|unit| unit.offset > self.now_offset);
                let passed = |pes: &Pes| passed && pes.offset < self.now_offset;
                while stream.pending.front().is_some_and(|pes| surely(pes) || passed(pes)) {
                    stream.pending.pop_front();
                }
            }
            if let Some(pes) = stream.pending.front()
                && !by_unit
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
        // Where the main stream ended before a cut, no segment begins.
        self.time_cuts.clear();
        for boundary in &mut self.boundaries {
            for (_, start) in &mut boundary.starts {
                start.get_or_insert(u64::MAX);
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
        let mut range = segment.range();
        // A writer may have begun at a window that has turned out to be empty.
        range.start = segment.windows.iter().map(|window| window.start).fold(range.start, u64::min);
        self.add_damage(&mut segment, range.clone());
        self.next_index += 1;
        let from = self.needed_from(0).unwrap_or(range.start);
        while self.epochs.get(1).is_some_and(|next| next.0 <= first.epoch) {
            self.epochs.pop_front();
        }
        while self.lost.front().is_some_and(|lost| lost.end <= from) {
            self.lost.pop_front();
        }
        while self.patches.front().is_some_and(|patch| patch.0 < from) {
            self.patches.pop_front();
        }
        Some(segment)
    }

    /// Adds what a segment must know of the bytes in `range`: where there are no packets, and which the shift changes.
    fn add_damage(&self, segment: &mut Segment, range: Range<u64>) {
        let first = self.lost.partition_point(|lost| lost.end <= range.start);
        segment.lost = self.lost.range(first..).take_while(|lost| lost.start < range.end).cloned().collect();
        let first = self.patches.partition_point(|patch| patch.0 < range.start);
        segment.patches = self.patches.range(first..).take_while(|patch| patch.0 < range.end).copied().collect();
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
        let end = next.map(|next| next.position).or(self.presentation.end());
        let duration = end.map_or(Span::ZERO, |end| end.since(first.position)).max(Span::ZERO);
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
            lost: Vec::new(),
            patches: Vec::new(),
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

#[cfg(test)]
mod tests;
