//! Makes a segment's clear bytes from its description and the input's: the preamble, then the packets it takes.

use crate::time::Span;
use crate::ts::adaptation::{pcr_only, shift_clocks};
use crate::ts::{PACKET_LEN, Packet, shift_pes_stamps};

use super::window::{Keep, Segment};

/// Takes the packets of one segment out of the input's bytes.
#[derive(Debug)]
pub struct Assembler {
    segment: Segment,
    next_patch: usize,
    next_lost: usize,
}

impl Assembler {
    /// An assembler of `segment`.
    #[must_use]
    pub fn new(segment: Segment) -> Self {
        Self { segment, next_patch: 0, next_lost: 0 }
    }

    /// The segment.
    #[must_use]
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Gives the segment back.
    #[must_use]
    pub fn into_segment(self) -> Segment {
        self.segment
    }

    /// Takes a newer description of the same segment, whose ends are better known.
    pub fn update(&mut self, segment: Segment) {
        (self.next_patch, self.next_lost) = (0, 0);
        self.segment = segment;
    }

    /// The packets with which the segment begins.
    #[must_use]
    pub fn preamble(&self) -> Vec<u8> {
        self.segment.preamble.packets(self.segment.counters)
    }

    /// The first byte offset at or after `offset` that is not in a range without packets. Offsets must not go back.
    pub fn skip_lost(&mut self, mut offset: u64) -> u64 {
        while let Some(lost) = self.segment.lost.get(self.next_lost) {
            if lost.start > offset {
                break;
            }
            offset = offset.max(lost.end);
            self.next_lost += 1;
        }
        offset
    }

    /// Where the next range without packets begins.
    #[must_use]
    pub fn next_lost(&self) -> Option<u64> {
        self.segment.lost.get(self.next_lost).map(|lost| lost.start)
    }

    /// Turns the packet at `offset` of the input into the one that the segment holds, in place; says whether it holds
    /// any. Packets must come in the order of the input.
    #[inline]
    pub fn take(&mut self, offset: u64, bytes: &mut [u8; PACKET_LEN]) -> Taken {
        let Some(packet) = Packet::new(bytes) else {
            return Taken::Dropped;
        };
        let Some(keep) = self.segment.keeps(packet.pid(), offset) else {
            return Taken::Dropped;
        };
        if packet.scrambled() {
            return Taken::Dropped;
        }
        if keep == Keep::Clock {
            let Some(clock) = pcr_only(bytes) else {
                return Taken::Dropped;
            };
            *bytes = clock;
        }
        if self.segment.shift != Span::ZERO {
            self.shift(offset, bytes);
        }
        Taken::Kept
    }

    fn shift(&mut self, offset: u64, bytes: &mut [u8; PACKET_LEN]) {
        let by = self.segment.shift;
        shift_clocks(bytes, by);
        if let Some(packet) = Packet::new(bytes)
            && packet.payload_unit_start()
        {
            let start = PACKET_LEN - packet.payload().len();
            if let Some(payload) = bytes.get_mut(start..) {
                shift_pes_stamps(payload, by);
            }
        }
        while let Some(&(at, value)) = self.segment.patches.get(self.next_patch) {
            if at >= offset + PACKET_LEN as u64 {
                break;
            }
            if at >= offset
                && let Some(byte) = bytes.get_mut((at - offset) as usize)
            {
                *byte = value;
            }
            self.next_patch += 1;
        }
    }
}

/// Whether a segment holds a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It does.
    Kept,
    /// It does not.
    Dropped,
}
