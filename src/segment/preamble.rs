//! The PAT and PMT that begin every segment (spec SEG-001, SEG-002): regenerated for the one program that is kept.

use crate::ladder::Selection;
use crate::ts::section::packetize;
use crate::ts::{PACKET_LEN, Pat, Pid, Pmt};

/// PID of the regenerated PMT where the input's own cannot be used.
const PMT_PID: u16 = 0x1000;

/// The packets with which a segment begins, for one choice of streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preamble {
    selection: Selection,
    version: u8,
    pat: Vec<u8>,
    pmt: Vec<u8>,
}

/// The continuity counters of the first PAT and PMT packet of a segment: they run on over segments (spec DSC-002).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Of the PAT.
    pub pat: u8,
    /// Of the PMT.
    pub pmt: u8,
}

impl Preamble {
    /// The preamble of a selection. `version` is that of the PMT; it grows with every change of the streams.
    #[must_use]
    pub fn new(selection: &Selection, version: u8) -> Self {
        let program = selection.program;
        let taken = |pid: u16| selection.pcr_pid.value() == pid || selection.stream(Pid::masked(pid)).is_some();
        let pmt_pid = Pid::masked((PMT_PID..PMT_PID + 0x100).find(|pid| !taken(*pid)).unwrap_or(PMT_PID));
        let pat =
            Pat { transport_stream_id: 1, version: 0, section: 0, last_section: 0, programs: vec![(program, pmt_pid)] };
        let pmt = Pmt {
            program,
            version: version & 0x1f,
            pcr_pid: selection.pcr_pid,
            program_info: selection.program_info.clone(),
            streams: selection.streams.iter().map(|stream| stream.entry.clone()).collect(),
        };
        let (mut pat_packets, mut pmt_packets) = (Vec::new(), Vec::new());
        packetize(&pat.section(), Pid::PAT, 0, &mut pat_packets);
        packetize(&pmt.section(), pmt_pid, 0, &mut pmt_packets);
        Self { selection: selection.clone(), version, pat: pat_packets, pmt: pmt_packets }
    }

    /// What it announces.
    #[must_use]
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The version of its PMT.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pat.len() + self.pmt.len()
    }

    /// Whether it holds nothing; it never does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pat.is_empty() && self.pmt.is_empty()
    }

    /// The packets, with their counters.
    #[must_use]
    pub fn packets(&self, counters: Counters) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        for (packets, first) in [(&self.pat, counters.pat), (&self.pmt, counters.pmt)] {
            for (number, packet) in packets.chunks_exact(PACKET_LEN).enumerate() {
                let at = out.len() + 3;
                out.extend_from_slice(packet);
                if let Some(byte) = out.get_mut(at) {
                    *byte = (*byte & 0xf0) | (first.wrapping_add(number as u8) & 0x0f);
                }
            }
        }
        out
    }

    /// The counters of the segment after one that began with `counters`.
    #[must_use]
    pub fn advance(&self, counters: Counters) -> Counters {
        let count = |packets: &[u8]| (packets.len() / PACKET_LEN) as u8;
        Counters {
            pat: counters.pat.wrapping_add(count(&self.pat)) & 0x0f,
            pmt: counters.pmt.wrapping_add(count(&self.pmt)) & 0x0f,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ladder::select::select;
    use crate::ladder::testing::pmt;
    use crate::ladder::{AudioChoice, Content, Seen};
    use crate::ts::{Continuity, Packet, PsiEvent, PsiTracker, Step};

    fn selection(program: u16, pcr: u16, pids: &[u16], info: usize) -> Selection {
        let streams: Vec<(u8, Pid)> = pids.iter().map(|pid| (0x15, Pid::masked(*pid))).collect();
        let mut pmt = pmt(program, 0, Pid::masked(pcr), &streams);
        for (number, stream) in pmt.streams.iter_mut().enumerate() {
            stream.info = vec![0x80, info as u8];
            stream.info.resize(2 + info, number as u8);
        }
        let codec = |number: usize| if number == 0 { crate::es::Codec::H264 } else { crate::es::Codec::Id3 };
        let first = pmt.streams[0].pid;
        select(
            &pmt,
            |entry| (Content::Carried(codec(usize::from(entry.pid != first))), Seen::Unknown),
            &AudioChoice::First,
        )
        .expect("something to play")
    }

    /// Reads the tables of the packets back.
    fn read(bytes: &[u8]) -> (Vec<(u16, Pid)>, Pmt) {
        let (mut tracker, mut pat, mut pmt) = (PsiTracker::new(), None, None);
        for bytes in bytes.as_chunks::<PACKET_LEN>().0 {
            tracker.packet(0, Packet::new(bytes).expect("a packet"), &mut |event| match event {
                PsiEvent::Pat { programs, .. } => pat = Some(programs),
                PsiEvent::Pmt { pmt: table, .. } => pmt = Some(table),
                PsiEvent::Fault { .. } => panic!("a fault"),
            });
        }
        (pat.expect("a PAT"), pmt.expect("a PMT"))
    }

    #[test]
    fn the_tables_read_back() {
        let selection = selection(7, 0x100, &[0x100, 0x101], 4);
        let preamble = Preamble::new(&selection, 33);
        assert_eq!((preamble.len(), preamble.is_empty(), preamble.version()), (376, false, 33));
        let (pat, pmt) = read(&preamble.packets(Counters::default()));
        assert_eq!(pat, [(7, Pid::masked(PMT_PID))]);
        assert_eq!((pmt.program, pmt.version, pmt.pcr_pid), (7, 1, Pid::masked(0x100)));
        assert_eq!(pmt.streams, selection.streams.iter().map(|one| one.entry.clone()).collect::<Vec<_>>());
        assert_eq!(pmt.streams[0].stream_type.0, 0x1B, "the true type, not the input's");
    }

    #[test]
    fn the_pmt_takes_a_free_pid() {
        let preamble = Preamble::new(&selection(1, 0x1002, &[0x1000, 0x1001], 0), 0);
        assert_eq!(read(&preamble.packets(Counters::default())).0, [(1, Pid::masked(0x1003))]);
    }

    proptest! {
        #[test]
        fn counters_run_on_over_segments(
            pids in proptest::collection::btree_set(0x20u16..0x1FFF, 1..9),
            info in 0usize..90,
            pcr in 0x20u16..0x1FFF,
            segments in 1usize..40,
        ) {
            let pids: Vec<u16> = pids.into_iter().collect();
            let selection = selection(1, pcr, &pids, info);
            let preamble = Preamble::new(&selection, 5);
            let (mut counters, mut pat, mut pmt) = (Counters::default(), Continuity::new(), Continuity::new());
            for _ in 0..segments {
                let bytes = preamble.packets(counters);
                prop_assert_eq!(bytes.len(), preamble.len());
                let (programs, table) = read(&bytes);
                prop_assert_eq!(&table.streams, &selection.streams.iter().map(|one| one.entry.clone()).collect::<Vec<_>>());
                prop_assert!(!pids.contains(&programs[0].1.value()) && programs[0].1.value() != pcr);
                for bytes in bytes.as_chunks::<PACKET_LEN>().0 {
                    let packet = Packet::new(bytes).expect("a packet");
                    let step = if packet.pid() == Pid::PAT { pat.step(packet) } else { pmt.step(packet) };
                    prop_assert_eq!(step, Step::Continues);
                }
                counters = preamble.advance(counters);
            }
        }
    }
}
