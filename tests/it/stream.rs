//! A small reader of clear segments, written for the tests alone: packets, the program's tables, continuity.

use std::collections::BTreeMap;

use super::common::Check;

/// A packet of a segment.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a>(pub &'a [u8]);

impl<'a> Packet<'a> {
    /// Its PID.
    pub fn pid(self) -> u16 {
        (u16::from(self.0[1] & 0x1F) << 8) | u16::from(self.0[2])
    }

    /// Whether a PES packet or section starts in it.
    pub fn starts(self) -> bool {
        self.0[1] & 0x40 != 0
    }

    /// Whether it has payload.
    pub fn has_payload(self) -> bool {
        self.0[3] & 0x10 != 0
    }

    /// Its continuity counter.
    pub fn counter(self) -> u8 {
        self.0[3] & 0x0F
    }

    /// Whether it carries a PCR.
    pub fn has_pcr(self) -> bool {
        self.0[3] & 0x20 != 0 && self.0[4] > 0 && self.0[5] & 0x10 != 0
    }

    fn payload(self) -> &'a [u8] {
        match self.0[3] & 0x30 {
            0x10 => &self.0[4..],
            0x30 => self.0.get(5 + usize::from(self.0[4])..).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// A segment's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// PID of its PMT.
    pub pmt_pid: u16,
    /// PID of its PCR.
    pub pcr_pid: u16,
    /// Its streams: (stream type, PID).
    pub streams: Vec<(u8, u16)>,
}

impl Program {
    /// The PID of its video.
    pub fn video(&self) -> Option<u16> {
        self.streams.iter().find(|(kind, _)| matches!(kind, 0x1B | 0x24)).map(|(_, pid)| *pid)
    }
}

/// The packets of a clear segment.
pub fn packets(clear: &[u8]) -> Check<Vec<Packet<'_>>> {
    check!(!clear.is_empty() && clear.len().is_multiple_of(188), "{} bytes are not whole packets", clear.len());
    let all: Vec<Packet<'_>> = clear.chunks_exact(188).map(Packet).collect();
    let bad = all.iter().position(|packet| packet.0[0] != 0x47);
    check!(bad.is_none(), "packet {bad:?} has no sync byte");
    Ok(all)
}

/// The program of a segment, which has to begin with PAT and PMT.
pub fn program(packets: &[Packet<'_>]) -> Check<Program> {
    let pat = section(packets, 0)?;
    check!(pat.first() == Some(&0x00), "the segment does not begin with a PAT");
    let entries = pat.get(8..pat.len() - 4).unwrap_or_default();
    check!(entries.len() == 4, "the PAT has {} bytes of programs, not one program", entries.len());
    let pmt_pid = (u16::from(entries[2] & 0x1F) << 8) | u16::from(entries[3]);
    let after = packets.iter().position(|packet| packet.pid() != 0).unwrap_or_default();
    check!(packets[after].pid() == pmt_pid, "the PMT does not follow the PAT");
    let pmt = section(&packets[after..], pmt_pid)?;
    check!(pmt.first() == Some(&0x02) && pmt.len() >= 16, "not a PMT");
    check!(pmt[3..5] == entries[0..2], "the PMT is of another program than the PAT");
    let twelve = |at: usize| (usize::from(pmt[at] & 0x0F) << 8) | usize::from(pmt[at + 1]);
    let thirteen = |at: usize| (u16::from(pmt[at] & 0x1F) << 8) | u16::from(pmt[at + 1]);
    let (mut at, mut streams) = (12 + twelve(10), Vec::new());
    while at + 5 <= pmt.len() - 4 {
        streams.push((pmt[at], thirteen(at + 1)));
        at += 5 + twelve(at + 3);
    }
    Ok(Program { pmt_pid, pcr_pid: thirteen(8), streams })
}

/// The section that begins in the first of these packets.
fn section(packets: &[Packet<'_>], pid: u16) -> Check<Vec<u8>> {
    let mut bytes = Vec::new();
    for packet in packets.iter().filter(|packet| packet.pid() == pid) {
        check!(packet.starts() == bytes.is_empty(), "PID {pid:#x}: a section is cut short");
        let payload = packet.payload();
        let skip = if packet.starts() { 1 + usize::from(payload[0]) } else { 0 };
        bytes.extend_from_slice(&payload[skip..]);
        let length = 3 + ((usize::from(bytes[1] & 0x0F) << 8) | usize::from(bytes[2]));
        if bytes.len() >= length {
            bytes.truncate(length);
            check!(length >= 12 && crc(&bytes) == 0, "PID {pid:#x}: the section's checksum is wrong");
            return Ok(bytes);
        }
    }
    Err(format!("PID {pid:#x}: no whole section"))
}

fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 24), |crc, _| (crc << 1) ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 })
    })
}

/// Checks that the counter of each PID goes up by one with each payload, over all segments.
#[derive(Debug, Default)]
pub struct Continuity(BTreeMap<u16, u8>);

impl Continuity {
    /// The next packet.
    pub fn packet(&mut self, packet: Packet<'_>) -> Check {
        if !packet.has_payload() {
            return Ok(());
        }
        let last = self.0.insert(packet.pid(), packet.counter());
        let wanted = last.map_or(packet.counter(), |counter| (counter + 1) & 0x0F);
        check!(packet.counter() == wanted, "PID {:#x}: counter {} after {last:?}", packet.pid(), packet.counter());
        Ok(())
    }
}
