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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::testing::{AUDIO, Movie, Pes, Picture, VIDEO, picture, pmt, selections};
    use crate::segment::testing::run;
    use crate::ts::{EndOfInput, Pid, parse_pes};

    const CLOCK: Pid = Pid::masked(0x1F0);
    const SHIFT: i64 = 7200;

    /// Six seconds whose PES headers lie in two packets where `stuffing` is more than a packet holds.
    fn movie(stuffing: u8, start: i64) -> Vec<u8> {
        let mut movie = Movie::new(&pmt(1, 0, CLOCK, &[(0x1B, VIDEO), (0x0F, AUDIO)]));
        for number in 0..30i64 {
            let time = number * 18_000;
            let kind = if number % 10 == 0 { Picture::Idr } else { Picture::P };
            let mut pes = Pes::picture(start + time + 3600, kind);
            (pes.dts, pes.stuffing) = (Some(start + time), stuffing);
            movie.pes(time, VIDEO, pes).clock(time, CLOCK);
            let mut pes = Pes::audio(start + time);
            pes.stuffing = stuffing;
            movie.pes(time, AUDIO, pes).clock(time + 1, VIDEO);
        }
        movie.build()
    }

    /// (stream, PTS, DTS, content) of each PES packet, and each PCR, of the packets of a rendition's segments.
    type Held = (Vec<(Pid, Option<u64>, Option<u64>, Vec<u8>)>, Vec<(Pid, u64)>);

    fn held(bytes: &[u8], shift: i64) -> Held {
        let selection = selections(bytes).remove(0);
        let run = run(bytes, &[(selection, Span::from_ticks(shift))], 2.0, &[1000]);
        run.check(true).expect("every packet in one segment");
        let (mut pes, mut clocks, mut open) = (Vec::new(), Vec::new(), Vec::<(Pid, Vec<u8>)>::new());
        let mut close = |pid: Pid, bytes: &[u8]| {
            let crate::ts::PesStart::Header(header) = parse_pes(bytes) else { panic!("no header") };
            let content = bytes[header.payload_offset..].to_vec();
            pes.push((pid, header.pts.map(|pts| pts.value()), header.dts.map(|dts| dts.value()), content));
        };
        for (_, bytes) in (0..run.segments(0).len()).flat_map(|index| run.assemble(0, index)) {
            let packet = Packet::new(&bytes).expect("a packet");
            if let Some(pcr) = packet.adaptation().and_then(|field| field.pcr()) {
                clocks.push((packet.pid(), pcr.base.value()));
            }
            if packet.payload_unit_start() {
                if let Some(place) = open.iter().position(|one| one.0 == packet.pid()) {
                    let (pid, bytes) = open.remove(place);
                    close(pid, &bytes);
                }
                open.push((packet.pid(), packet.payload().to_vec()));
            } else if let Some(one) = open.iter_mut().find(|one| one.0 == packet.pid()) {
                one.1.extend_from_slice(packet.payload());
            }
        }
        open.iter().for_each(|(pid, bytes)| close(*pid, bytes));
        (pes, clocks)
    }

    #[test]
    fn a_shift_moves_every_stamp_and_nothing_else() {
        for (stuffing, start) in [(0, 126_000), (200, 126_000), (168, 126_000), (171, 0), (200, (1 << 33) - 200_000)] {
            let bytes = movie(stuffing, start);
            let (plain, moved) = (held(&bytes, 0), held(&bytes, SHIFT));
            let later = |stamp: u64| (stamp + SHIFT as u64) % (1 << 33);
            assert_eq!((plain.0.len(), plain.1.len()), (60, 60), "stuffing {stuffing}");
            for (plain, moved) in plain.0.iter().zip(&moved.0) {
                assert_eq!((plain.1.map(later), plain.2.map(later)), (moved.1, moved.2), "stuffing {stuffing}");
                assert_eq!((plain.0, &plain.3), (moved.0, &moved.3), "stuffing {stuffing}");
            }
            for (plain, moved) in plain.1.iter().zip(&moved.1) {
                assert_eq!((plain.0, later(plain.1)), *moved);
            }
            assert_eq!(plain.0[0].3, picture(Picture::Idr));
        }
    }

    #[test]
    fn headers_in_two_packets_are_patched() {
        let bytes = movie(200, 126_000);
        let selection = selections(&bytes).remove(0);
        let run = run(&bytes, &[(selection, Span::from_ticks(SHIFT))], 2.0, &[usize::MAX]);
        // The stamps stand in the first packet, but that alone shows no whole header.
        assert!(run.segments(0).iter().all(|segment| !segment.patches.is_empty()));
        for segment in run.segments(0) {
            assert!(segment.patches.windows(2).all(|pair| pair[0].0 < pair[1].0), "patches in order");
        }
    }

    fn assembler(keep: Keep, bytes: &[u8]) -> Assembler {
        let selection = selections(bytes).remove(0);
        let run = run(bytes, &[(selection, Span::ZERO)], 2.0, &[usize::MAX]);
        let mut segment = run.segments(0)[0].clone();
        for window in &mut segment.windows {
            (window.start, window.end, window.keep) = (0, 10_000, keep);
        }
        Assembler::new(segment)
    }

    #[test]
    fn what_is_not_kept_is_dropped() {
        let bytes = movie(0, 0);
        let packet_of = |pid: Pid| {
            let packets = bytes.as_chunks::<PACKET_LEN>().0;
            *packets.iter().find(|bytes| Packet::new(bytes).is_some_and(|packet| packet.pid() == pid)).expect("one")
        };
        let mut assembler = assembler(Keep::Packets, &bytes);
        let video = packet_of(VIDEO);
        assert_eq!(assembler.take(0, &mut video.clone()), Taken::Kept);
        assert_eq!(assembler.take(10_000, &mut video.clone()), Taken::Dropped, "behind the window");
        assert_eq!(assembler.take(0, &mut packet_of(Pid::PAT)), Taken::Dropped);
        let mut scrambled = video;
        scrambled[3] |= 0x80;
        assert_eq!(assembler.take(0, &mut scrambled), Taken::Dropped);
        let mut broken = video;
        broken[0] = 0x48;
        assert_eq!(assembler.take(0, &mut broken), Taken::Dropped);
    }

    #[test]
    fn of_a_clock_only_the_clock_is_kept() {
        let bytes = movie(0, 0);
        let mut assembler = assembler(Keep::Clock, &bytes);
        let (mut kept, mut dropped) = (0, 0);
        for (number, packet) in bytes.as_chunks::<PACKET_LEN>().0.iter().take(50).enumerate() {
            let mut bytes = *packet;
            match assembler.take((number * PACKET_LEN) as u64, &mut bytes) {
                Taken::Kept => {
                    kept += 1;
                    let view = Packet::new(&bytes).expect("a packet");
                    assert!(!view.has_payload() && view.adaptation().is_some_and(|field| field.pcr().is_some()));
                }
                Taken::Dropped => dropped += 1,
            }
        }
        assert!(kept > 5 && dropped > 5, "{kept} {dropped}");
    }

    #[test]
    fn ranges_without_packets_are_passed_over() {
        let bytes = movie(0, 0);
        let mut assembler = assembler(Keep::Packets, &bytes);
        let mut segment = assembler.segment().clone();
        segment.lost = vec![188..200, 200..300, 1000..1500];
        assembler.update(segment);
        assert_eq!(assembler.next_lost(), Some(188));
        assert_eq!([0, 188, 300, 999].map(|offset| assembler.skip_lost(offset)), [0, 300, 300, 999]);
        assert_eq!(assembler.next_lost(), Some(1000));
        assert_eq!(assembler.skip_lost(1200), 1500);
        assert_eq!(assembler.next_lost(), None);
    }

    #[test]
    fn a_segment_begins_with_its_tables() {
        let bytes = movie(0, 0);
        let assembler = assembler(Keep::Packets, &bytes);
        let preamble = assembler.preamble();
        assert_eq!(preamble.len(), assembler.segment().preamble.len());
        let mut framer = crate::ts::Framer::new();
        struct Pids(Vec<Pid>);
        impl crate::ts::PacketSink for Pids {
            fn packet(&mut self, _: u64, bytes: &[u8; PACKET_LEN]) {
                self.0.extend(Packet::new(bytes).map(Packet::pid));
            }
            fn lost(&mut self, _: std::ops::Range<u64>, _: crate::ts::LostWhy) {}
        }
        let mut pids = Pids(Vec::new());
        framer.push(&preamble, 0, EndOfInput::Reached, &mut pids).expect("packets");
        assert_eq!(pids.0, [Pid::PAT, Pid::masked(0x1000)]);
        assert_eq!(assembler.into_segment().index, 0);
    }
}
