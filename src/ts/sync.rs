//! Packets out of bytes: finds the stride (188, 192 or 204), keeps it, and finds it again after damage (spec TS-001,
//! TS-002). What comes out does not depend on how the input is split into pushes.

use std::ops::Range;

use crate::limits::SYNC_SEARCH;
use crate::ts::error::SyncError;
use crate::ts::packet::{PACKET_LEN, SYNC_BYTE};

/// Sync bytes in a row that make a lock; fewer do only where the input ends.
const LOCK_SYNCS: usize = 5;
/// Bytes after a place that may decide about it.
const WINDOW: usize = LOCK_SYNCS * Stride::Fec204.len();

/// The distance from one packet to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stride {
    /// Bare packets.
    Ts188,
    /// Four bytes of arrival time before each packet (M2TS, DVHS).
    M2ts192,
    /// Sixteen bytes of Reed-Solomon code after each packet.
    Fec204,
}

impl Stride {
    const ALL: [Self; 3] = [Self::Ts188, Self::M2ts192, Self::Fec204];

    /// The distance in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a distance is never empty")]
    pub const fn len(self) -> usize {
        match self {
            Self::Ts188 => 188,
            Self::M2ts192 => 192,
            Self::Fec204 => 204,
        }
    }

    /// Bytes that belong to a packet and stand before its sync byte.
    const fn prefix(self) -> u64 {
        match self {
            Self::M2ts192 => 4,
            Self::Ts188 | Self::Fec204 => 0,
        }
    }
}

/// Why bytes of the input are in no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LostWhy {
    /// They stand before the first packet.
    LeadingGarbage,
    /// A sync byte was wrong, and this is what was passed over.
    BadSync,
    /// The input ends in the middle of a packet.
    TruncatedTail,
}

/// Takes what the [`Framer`] finds, in the order of the input.
pub trait PacketSink {
    /// A packet; its sync byte stands at `offset` of the input.
    fn packet(&mut self, offset: u64, bytes: &[u8; PACKET_LEN]);

    /// Bytes that are in no packet. Adjacent ones come as one range, named after the first of them; bytes that the
    /// stride puts between packets are not lost.
    fn lost(&mut self, range: Range<u64>, why: LostWhy);
}

/// Whether more input may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfInput {
    /// More may follow.
    NotYet,
    /// The buffer holds the input's last bytes.
    Reached,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// No packet yet.
    Searching,
    /// `next` is where a sync byte is due.
    Locked(Stride),
    /// The sync was lost at `since`.
    Resyncing { stride: Stride, since: u64 },
}

/// Cuts the input into packets. It keeps no bytes, only its place: the caller presents again what was not consumed.
#[derive(Debug, Clone)]
pub struct Framer {
    state: State,
    start: Option<u64>,
    /// The place that is judged next.
    next: u64,
    /// Lost bytes that the next ones may adjoin.
    lost: Option<(Range<u64>, LostWhy)>,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl Framer {
    /// The most bytes that a push leaves unconsumed, plus one: a buffer of this size always makes progress.
    pub const LOOKAHEAD: usize = WINDOW;

    /// Before the first byte.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Searching, start: None, next: 0, lost: None }
    }

    /// The distance between packets, once it is known.
    #[must_use]
    pub const fn stride(&self) -> Option<Stride> {
        match self.state {
            State::Searching => None,
            State::Locked(stride) | State::Resyncing { stride, .. } => Some(stride),
        }
    }

    /// Takes `buf`, whose first byte is byte `base` of the input, and tells `sink` what is in it. Returns how many bytes
    /// are done with: the next push must begin right after them. With [`EndOfInput::Reached`] that is all of them.
    ///
    /// # Errors
    /// The input is not a transport stream: within `limits::SYNC_SEARCH` bytes there are no packets. A run of five sync
    /// bytes counts; at the input's very start, fewer do when the input ends with them.
    pub fn push(
        &mut self,
        buf: &[u8],
        base: u64,
        end: EndOfInput,
        sink: &mut impl PacketSink,
    ) -> Result<usize, SyncError> {
        let start = *self.start.get_or_insert(base);
        self.next = self.next.max(base);
        loop {
            // The next sync byte of a 192- or 204-byte stride may be due after the buffer's end.
            let at = usize::try_from(self.next - base).unwrap_or(usize::MAX).min(buf.len());
            let progress = match self.state {
                State::Locked(stride) => self.run(&buf[at..], stride, end, sink),
                State::Searching => self.search(&buf[at..], start, end)?,
                State::Resyncing { stride, since } => self.resync(&buf[at..], stride, since, end),
            };
            if let Progress::NeedsMore = progress {
                break;
            }
        }
        if end == EndOfInput::Reached {
            self.flush(sink);
            return Ok(buf.len());
        }
        Ok(usize::try_from(self.next - base).unwrap_or(usize::MAX).min(buf.len()))
    }
}

enum Progress {
    /// The state has moved on and the next bytes can be judged.
    Again,
    /// What is left cannot be judged before there is more, or nothing is left.
    NeedsMore,
}

/// In these, `rest` is the buffer from `self.next` on.
impl Framer {
    fn run(&mut self, rest: &[u8], stride: Stride, end: EndOfInput, sink: &mut impl PacketSink) -> Progress {
        let step = stride.len();
        if packet_at(rest).is_some() {
            self.flush(sink);
        }
        let (mut rest, mut offset) = (rest, self.next);
        while let Some(bytes) = packet_at(rest) {
            sink.packet(offset, bytes);
            offset += step as u64;
            rest = rest.get(step..).unwrap_or_default();
        }
        self.next = offset;
        if rest.is_empty() {
            return Progress::NeedsMore;
        }
        if rest.len() < PACKET_LEN {
            if end == EndOfInput::Reached {
                self.next += rest.len() as u64;
                self.lose(offset..self.next, LostWhy::TruncatedTail);
            }
            return Progress::NeedsMore;
        }
        if rest.len() < WINDOW && end == EndOfInput::NotYet {
            return Progress::NeedsMore;
        }
        if still_in_phase(rest, step) {
            self.lose(offset..offset + PACKET_LEN as u64, LostWhy::BadSync);
            self.next += step as u64;
        } else {
            self.state = State::Resyncing { stride, since: offset };
            self.next += 1;
        }
        Progress::Again
    }

    fn search(&mut self, rest: &[u8], start: u64, end: EndOfInput) -> Result<Progress, SyncError> {
        let mut at = 0;
        while let Some(place) = next_sync(rest, at) {
            let offset = self.next + place as u64;
            if offset - start >= SYNC_SEARCH {
                break;
            }
            let window = rest.get(place..).unwrap_or_default();
            if window.len() < WINDOW && end == EndOfInput::NotYet {
                self.next = offset;
                return Ok(Progress::NeedsMore);
            }
            for stride in Stride::ALL {
                // A run that only ends with the input is too weak a sign anywhere but at the input's start.
                let short = if offset - start == stride.prefix() { Short::Counts } else { Short::Fails };
                if let Some(skip) = lock(window, stride, short) {
                    self.lock_at(stride, start, offset + skip, LostWhy::LeadingGarbage);
                    return Ok(Progress::Again);
                }
            }
            at = place + 1;
        }
        let searched = self.next + rest.len() as u64;
        let limit = start.saturating_add(SYNC_SEARCH);
        if searched >= limit || end == EndOfInput::Reached {
            return Err(SyncError::NotTransportStream { offset: searched.min(limit) });
        }
        self.next = searched;
        Ok(Progress::NeedsMore)
    }

    fn resync(&mut self, rest: &[u8], present: Stride, since: u64, end: EndOfInput) -> Progress {
        let mut at = 0;
        while let Some(place) = next_sync(rest, at) {
            let offset = self.next + place as u64;
            let window = rest.get(place..).unwrap_or_default();
            if window.len() < WINDOW && end == EndOfInput::NotYet {
                self.next = offset;
                return Progress::NeedsMore;
            }
            let others = Stride::ALL.into_iter().filter(|stride| *stride != present);
            for stride in [present].into_iter().chain(others) {
                let short = if stride == present { Short::Counts } else { Short::Fails };
                if let Some(skip) = lock(window, stride, short) {
                    self.lock_at(stride, since, offset + skip, LostWhy::BadSync);
                    return Progress::Again;
                }
            }
            at = place + 1;
        }
        self.next += rest.len() as u64;
        if end == EndOfInput::Reached && since < self.next {
            self.lose(since..self.next, LostWhy::BadSync);
            self.state = State::Resyncing { stride: present, since: self.next };
        }
        Progress::NeedsMore
    }

    /// Locks on the sync byte at `offset`; what stands between `since` and its packet is lost.
    fn lock_at(&mut self, stride: Stride, since: u64, offset: u64, why: LostWhy) {
        self.state = State::Locked(stride);
        self.next = offset;
        let end = offset.saturating_sub(stride.prefix());
        if since < end {
            self.lose(since..end, why);
        }
    }

    /// Notes lost bytes. Whatever is already noted adjoins them: a packet in between would have flushed it.
    fn lose(&mut self, range: Range<u64>, why: LostWhy) {
        match &mut self.lost {
            Some((noted, _)) => noted.end = range.end,
            None => self.lost = Some((range, why)),
        }
    }

    fn flush(&mut self, sink: &mut impl PacketSink) {
        if let Some((range, why)) = self.lost.take() {
            sink.lost(range, why);
        }
    }
}

#[inline]
fn packet_at(rest: &[u8]) -> Option<&[u8; PACKET_LEN]> {
    rest.first_chunk().filter(|bytes: &&[u8; PACKET_LEN]| bytes[0] == SYNC_BYTE)
}

fn next_sync(rest: &[u8], from: usize) -> Option<usize> {
    memchr::memchr(SYNC_BYTE, rest.get(from..)?).map(|place| from + place)
}

/// Whether a run of sync bytes that ends with the input makes a lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Short {
    Counts,
    Fails,
}

/// Whether `window` begins with a packet of a run at `stride`, and how many bytes on the sync byte really is: in a
/// 192-byte stride the arrival times can hold 0x47 at one place for half a second.
fn lock(window: &[u8], stride: Stride, short: Short) -> Option<u64> {
    if !is_run(window, stride, short) {
        return None;
    }
    let further = (1..=stride.prefix()).rev();
    let skips = |skip: &u64| window.get(*skip as usize..).is_some_and(|later| is_run(later, stride, short));
    Some(further.into_iter().find(skips).unwrap_or(0))
}

fn is_run(window: &[u8], stride: Stride, short: Short) -> bool {
    let mut places = window.iter().step_by(stride.len()).take(LOCK_SYNCS);
    let due = places.len();
    if !places.all(|&byte| byte == SYNC_BYTE) {
        return false;
    }
    let ends_whole = window.len() == PACKET_LEN || window.len() == stride.len();
    due == LOCK_SYNCS || (short == Short::Counts && window.len() >= PACKET_LEN && (due >= 2 || ends_whole))
}

/// Whether only the packet at the start of `window` has lost its sync byte: of the next four places, as far as the
/// input has them, all hold a sync byte, or all but one of three or more.
fn still_in_phase(window: &[u8], step: usize) -> bool {
    let next = window.iter().step_by(step).take(LOCK_SYNCS).skip(1);
    let due = next.len();
    let good = next.filter(|&&byte| byte == SYNC_BYTE).count();
    good == due || (due >= 3 && good + 1 == due)
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
