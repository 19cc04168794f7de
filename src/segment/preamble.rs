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
