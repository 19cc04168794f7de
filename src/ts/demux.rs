//! Follows the PAT and the PMTs through a stream and says what changes (spec TS-007, TS-008, TS-010).

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::PROGRAMS;
use crate::ts::error::{SectionFault, TableError};
use crate::ts::packet::{Packet, Pid};
use crate::ts::pat::Pat;
use crate::ts::pmt::Pmt;
use crate::ts::section::SectionAssembler;

/// What the program tables say, when it is news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PsiEvent {
    /// The whole PAT, from all its sections, when it is the first or has changed.
    Pat {
        /// Where the packet stands that completed it.
        offset: u64,
        /// program_number and the PID of its PMT, at most `limits::PROGRAMS`.
        programs: Vec<(u16, Pid)>,
    },
    /// A program's PMT, when it is the first or its content has changed; a new version_number alone is no change.
    Pmt {
        /// Where the packet stands that completed it.
        offset: u64,
        /// The program map.
        pmt: Pmt,
    },
    /// A section is lost or makes no sense.
    Fault {
        /// Where the packet stands in which it shows.
        offset: u64,
        /// The PID of the table.
        pid: Pid,
        /// What is wrong.
        fault: SectionFault,
    },
}

/// Reads PAT and PMTs out of the packets. Packets with transport_error_indicator and scrambled ones are passed over.
/// Memory: the sections of one PAT, and for each of at most `limits::PROGRAMS` programs a section and a PMT.
#[derive(Debug, Clone, Default)]
pub struct PsiTracker {
    pat_sections: SectionAssembler,
    pat: PatTable,
    maps: Maps,
    /// One bit for each PID that carries PMTs.
    map_pids: Option<Box<[u64; Pid::COUNT / 64]>>,
}

impl PsiTracker {
    /// Before the first packet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether `pid` carries the PAT or, by the present PAT, a PMT.
    #[must_use]
    #[inline]
    pub fn is_psi(&self, pid: Pid) -> bool {
        pid == Pid::PAT
            || self.map_pids.as_ref().is_some_and(|bits| bits[pid.index() / 64] >> (pid.index() % 64) & 1 != 0)
    }

    /// Takes the next packet, which stands at `offset` of the input, and calls `each` for what is news.
    #[inline]
    pub fn packet(&mut self, offset: u64, packet: Packet<'_>, each: &mut impl FnMut(PsiEvent)) {
        if self.is_psi(packet.pid()) && !packet.transport_error() && !packet.scrambled() {
            self.psi_packet(offset, packet, each);
        }
    }

    fn psi_packet(&mut self, offset: u64, packet: Packet<'_>, each: &mut impl FnMut(PsiEvent)) {
        let pid = packet.pid();
        if pid != Pid::PAT {
            self.maps.packet(offset, packet, each);
            return;
        }
        let Self { pat_sections, pat, .. } = self;
        let mut changed = false;
        pat_sections.push(packet, &mut |section| match section
            .and_then(|section| table(Pat::parse(section)))
            .map(|table| table.map(|new| pat.accept(new)))
        {
            Ok(news) => changed |= news == Some(News::Changed),
            Err(fault) => each(PsiEvent::Fault { offset, pid, fault }),
        });
        if !changed {
            return;
        }
        if self.pat.overfull {
            each(PsiEvent::Fault { offset, pid, fault: SectionFault::TooManyPrograms });
        }
        self.maps.follow(&self.pat.programs);
        let mut bits = Box::new([0; Pid::COUNT / 64]);
        for pid in self.maps.assemblers.keys() {
            bits[pid.index() / 64] |= 1 << (pid.index() % 64);
        }
        self.map_pids = Some(bits);
        each(PsiEvent::Pat { offset, programs: self.pat.programs.clone() });
    }
}

/// Sorts the outcome of reading a table: another table, or one not yet in force, is nothing to report.
fn table<T>(parsed: Result<T, TableError>) -> Result<Option<T>, SectionFault> {
    match parsed {
        Ok(table) => Ok(Some(table)),
        Err(TableError::OtherTable | TableError::NotCurrent) => Ok(None),
        Err(TableError::Malformed) => Err(SectionFault::Malformed),
    }
}

#[derive(PartialEq, Eq)]
enum News {
    Changed,
    Same,
}

/// The PAT, put together from its sections.
#[derive(Debug, Clone, Default)]
struct PatTable {
    /// What the sections at hand agree on: transport_stream_id and version_number.
    identity: Option<(u16, u8)>,
    /// By section_number; as many as last_section_number says.
    sections: Vec<Option<Vec<(u16, Pid)>>>,
    /// The last whole table, at most `limits::PROGRAMS` long.
    programs: Vec<(u16, Pid)>,
    complete: bool,
    overfull: bool,
}

impl PatTable {
    fn accept(&mut self, pat: Pat) -> News {
        let identity = Some((pat.transport_stream_id, pat.version));
        let count = usize::from(pat.last_section) + 1;
        if self.identity != identity || self.sections.len() != count {
            self.identity = identity;
            self.sections.clear();
            self.sections.resize(count, None);
        }
        let Some(place) = self.sections.get_mut(usize::from(pat.section)) else { return News::Same };
        if place.as_ref() == Some(&pat.programs) {
            return News::Same;
        }
        *place = Some(pat.programs);
        if self.sections.iter().any(Option::is_none) {
            return News::Same;
        }
        let listed = self.sections.iter().flatten().flatten().copied();
        let mut programs: Vec<_> = listed.take(PROGRAMS + 1).collect();
        let overfull = programs.len() > PROGRAMS;
        programs.truncate(PROGRAMS);
        if self.complete && self.programs == programs {
            return News::Same;
        }
        self.programs = programs;
        self.overfull = overfull;
        self.complete = true;
        News::Changed
    }
}

/// The PMTs of the programs in the PAT. Ordered maps keep the work of one packet small, whatever a hostile PAT says.
#[derive(Debug, Clone, Default)]
struct Maps {
    programs: BTreeSet<(u16, Pid)>,
    /// One per PID; several programs may share it.
    assemblers: BTreeMap<Pid, SectionAssembler>,
    /// By program_number.
    known: BTreeMap<u16, Pmt>,
}

impl Maps {
    /// Follows the programs of a new PAT. What is known of a program that only moves to another PID stays known.
    fn follow(&mut self, programs: &[(u16, Pid)]) {
        self.programs = programs.iter().copied().filter(|(_, pid)| carries_maps(*pid)).collect();
        let numbers: BTreeSet<u16> = programs.iter().map(|(program, _)| *program).collect();
        self.known.retain(|program, _| numbers.contains(program));
        let mut before = std::mem::take(&mut self.assemblers);
        for (_, pid) in &self.programs {
            self.assemblers.entry(*pid).or_insert_with(|| before.remove(pid).unwrap_or_default());
        }
    }

    fn packet(&mut self, offset: u64, packet: Packet<'_>, each: &mut impl FnMut(PsiEvent)) {
        let pid = packet.pid();
        let Self { programs, assemblers, known } = self;
        let Some(assembler) = assemblers.get_mut(&pid) else { return };
        assembler.push(packet, &mut |section| {
            let pmt = match section.and_then(|section| table(Pmt::parse(section))) {
                Ok(Some(pmt)) if programs.contains(&(pmt.program, pid)) => pmt,
                Ok(_) => return,
                Err(fault) => return each(PsiEvent::Fault { offset, pid, fault }),
            };
            if known.get(&pmt.program).is_none_or(|known| !known.same_content(&pmt)) {
                known.insert(pmt.program, pmt.clone());
                each(PsiEvent::Pmt { offset, pmt });
            }
        });
    }
}

/// 0x0000 to 0x000F are the standard's own tables, and null packets carry nothing (ISO/IEC 13818-1 table 2-3).
fn carries_maps(pid: Pid) -> bool {
    pid.value() >= 0x10 && pid != Pid::NULL
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ts::build::TsBuilder;
    use crate::ts::packet::PACKET_LEN;
    use crate::ts::pmt::{PmtStream, StreamType};

    const A: Pid = Pid::masked(0x1000);
    const B: Pid = Pid::masked(0x1001);

    fn pmt(program: u16, version: u8, pids: &[u16]) -> Pmt {
        let stream = |&pid| PmtStream { stream_type: StreamType::H264, pid: Pid::masked(pid), info: vec![] };
        let streams: Vec<_> = pids.iter().map(stream).collect();
        Pmt { program, version, pcr_pid: Pid::masked(0x100), program_info: vec![], streams }
    }

    fn track(bytes: &[u8]) -> Vec<PsiEvent> {
        let (mut tracker, mut events) = (PsiTracker::new(), Vec::new());
        for (n, bytes) in bytes.as_chunks::<PACKET_LEN>().0.iter().enumerate() {
            let packet = Packet::new(bytes).unwrap();
            tracker.packet((n * PACKET_LEN) as u64, packet, &mut |event| events.push(event));
        }
        events
    }

    /// The events in short: P = PAT with so many programs, M = PMT of a program with so many streams, F = fault.
    fn short(events: &[PsiEvent]) -> Vec<String> {
        let short = |event: &PsiEvent| match event {
            PsiEvent::Pat { offset, programs } => format!("{} P{}", offset / 188, programs.len()),
            PsiEvent::Pmt { offset, pmt } => format!("{} M{}/{}", offset / 188, pmt.program, pmt.streams.len()),
            PsiEvent::Fault { offset, pid, fault } => format!("{} F{pid} {fault:?}", offset / 188),
        };
        events.iter().map(short).collect()
    }

    #[test]
    fn repetition_and_new_versions_are_no_news() {
        let mut ts = TsBuilder::new();
        ts.pat(&[(1, A)]).pmt(A, &pmt(1, 0, &[0x100])).pat(&[(1, A)]).pmt(A, &pmt(1, 0, &[0x100]));
        ts.pmt(A, &pmt(1, 1, &[0x100])).pmt(A, &pmt(1, 2, &[0x100, 0x101]));
        assert_eq!(short(&track(ts.as_bytes())), ["0 P1", "1 M1/1", "5 M1/2"]);
    }

    #[test]
    fn programs_share_move_and_vanish() {
        let mut ts = TsBuilder::new();
        ts.pat(&[(1, A), (2, A)]).pmt(A, &pmt(1, 0, &[0x100])).pmt(A, &pmt(2, 0, &[0x200, 0x201]));
        ts.pat(&[(1, B)]).pmt(A, &pmt(1, 0, &[])).pmt(B, &pmt(1, 0, &[0x100])).pmt(B, &pmt(2, 0, &[]));
        ts.pat(&[(1, B), (2, A)]).pmt(A, &pmt(2, 0, &[0x200]));
        // The move of program 1 with the same content is no news; on its old PID nobody listens any more.
        assert_eq!(short(&track(ts.as_bytes())), ["0 P2", "1 M1/1", "2 M2/2", "3 P1", "7 P2", "8 M2/1"]);
    }

    #[test]
    fn a_pat_of_two_sections_is_told_once_it_is_whole() {
        let part = |version, section, programs: &[(u16, Pid)]| {
            let programs = programs.to_vec();
            Pat { transport_stream_id: 1, version, section, last_section: 1, programs }.section()
        };
        let mut ts = TsBuilder::new();
        ts.section(Pid::PAT, &part(0, 1, &[(2, B)])).section(Pid::PAT, &part(0, 1, &[(2, B)]));
        ts.section(Pid::PAT, &part(0, 0, &[(1, A)])).section(Pid::PAT, &part(0, 1, &[(2, B)]));
        ts.section(Pid::PAT, &part(1, 0, &[(1, A)])).section(Pid::PAT, &part(1, 1, &[(2, B)]));
        ts.section(Pid::PAT, &part(2, 0, &[(1, A)])).section(Pid::PAT, &part(2, 1, &[(3, B)]));
        let events = track(ts.as_bytes());
        assert_eq!(short(&events), ["2 P2", "7 P2"]);
        assert_eq!(events[0], PsiEvent::Pat { offset: 2 * 188, programs: vec![(1, A), (2, B)] });
    }

    #[test]
    fn damage_is_reported_and_survived() {
        let mut ts = TsBuilder::new();
        ts.pat(&[(1, A)]).pmt(A, &pmt(1, 0, &[0x100]));
        let mut bytes = ts.into_bytes();
        let good = bytes.clone();
        bytes[188 + 20] ^= 0xFF;
        assert_eq!(short(&track(&bytes)), ["0 P1", "1 F0x1000 Crc"]);
        for (place, bit) in [(1, 0x80), (3, 0x80)] {
            let mut bytes = good.clone();
            bytes[188 + place] |= bit;
            assert_eq!(short(&track(&bytes)), ["0 P1"], "transport error or scrambled");
        }
    }

    #[test]
    fn a_pat_points_neither_to_itself_nor_to_null_packets() {
        let mut ts = TsBuilder::new();
        ts.pat(&[(1, Pid::PAT), (2, Pid::NULL), (3, Pid::CAT)]).null().pat(&[(1, Pid::PAT)]);
        assert_eq!(short(&track(ts.as_bytes())), ["0 P3", "2 P1"]);
    }

    #[test]
    fn more_programs_than_are_followed() {
        let mut ts = TsBuilder::new();
        for section in 0..2u16 {
            let programs = (1..=200).map(|n| (section * 200 + n, Pid::masked(0x100 + section * 200 + n))).collect();
            let pat = Pat { transport_stream_id: 1, version: 0, section: section as u8, last_section: 1, programs };
            ts.section(Pid::PAT, &pat.section());
        }
        assert_eq!(short(&track(ts.as_bytes())), ["9 F0x0000 TooManyPrograms", "9 P256"]);
    }

    proptest! {
        #[test]
        fn no_stream_panics(packets in proptest::collection::vec(
            (0u16..4, 0u8..=255, proptest::collection::vec(any::<u8>(), 184)), 0..50)) {
            let mut tracker = PsiTracker::new();
            for (n, (pid, control, payload)) in packets.into_iter().enumerate() {
                let mut bytes = [0; PACKET_LEN];
                bytes[..4].copy_from_slice(&[0x47, 0x40, pid as u8 * 0x10, control]);
                bytes[4..].copy_from_slice(&payload);
                tracker.packet(n as u64, Packet::new(&bytes).unwrap(), &mut |_| {});
            }
        }

        #[test]
        fn damaged_tables_do_not_panic(flips in proptest::collection::vec((0usize..188 * 4, 0u8..8), 0..20)) {
            let mut ts = TsBuilder::new();
            ts.pat(&[(1, A), (2, B)]).pmt(A, &pmt(1, 0, &[0x100; 60])).pmt(B, &pmt(2, 0, &[0x100]));
            let mut bytes = ts.into_bytes();
            for (place, bit) in flips {
                let len = bytes.len();
                if place % 188 != 0 { bytes[place % len] ^= 1 << bit; }
            }
            for packet in bytes.as_chunks_mut::<PACKET_LEN>().0 { packet[0] = 0x47; }
            track(&bytes);
        }
    }
}
