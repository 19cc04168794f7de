//! A small writer of transport streams for tests: tables, PES over several packets with counters and stuffing, clocks,
//! null packets and raw bytes. It trusts its caller, so it is not for hostile input.

use crate::time::Stamp;
use crate::ts::adaptation::Pcr;
use crate::ts::packet::{PACKET_LEN, Pid, SYNC_BYTE};
use crate::ts::pat::Pat;
use crate::ts::pes::stamp_field;
use crate::ts::pmt::Pmt;
use crate::ts::section::packetize;

/// random_access_indicator of the first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomAccess {
    /// The indicator is set.
    Yes,
    /// The indicator is not set.
    No,
}

/// discontinuity_indicator of the first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discontinuity {
    /// The indicator is set.
    Yes,
    /// The indicator is not set.
    No,
}

/// A PES packet to be written.
#[derive(Debug, Clone, Copy)]
pub struct PesUnit<'a> {
    /// stream_id; 0xE0 to 0xEF are written with PES_packet_length 0, others with the length while it fits.
    pub stream_id: u8,
    /// The presentation time stamp.
    pub pts: Option<Stamp>,
    /// The decoding time stamp; only written beside a PTS.
    pub dts: Option<Stamp>,
    /// The clock in the first packet.
    pub pcr: Option<Pcr>,
    /// random_access_indicator in the first packet.
    pub random_access: RandomAccess,
    /// discontinuity_indicator in the first packet.
    pub discontinuity: Discontinuity,
    /// Stuffing bytes in the PES header, at most 240: with enough of them it goes on in the next packet.
    pub header_stuffing: u8,
    /// The elementary stream's bytes.
    pub payload: &'a [u8],
}

impl<'a> PesUnit<'a> {
    /// A video PES (stream_id 0xE0) of `payload` with a PTS and nothing else.
    #[must_use]
    pub fn new(pts: Stamp, payload: &'a [u8]) -> Self {
        Self {
            stream_id: 0xE0,
            pts: Some(pts),
            dts: None,
            pcr: None,
            random_access: RandomAccess::No,
            discontinuity: Discontinuity::No,
            header_stuffing: 0,
            payload,
        }
    }

    /// The PES packet's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut data = Vec::new();
        let mut flags = 0;
        match (self.pts, self.dts) {
            (Some(pts), Some(dts)) => {
                flags = 0xC0;
                data.extend_from_slice(&stamp_field(3, pts));
                data.extend_from_slice(&stamp_field(1, dts));
            }
            (Some(pts), None) => {
                flags = 0x80;
                data.extend_from_slice(&stamp_field(2, pts));
            }
            (None, _) => {}
        }
        data.resize(data.len() + usize::from(self.header_stuffing.min(240)), 0xFF);
        let after_length = 3 + data.len() + self.payload.len();
        let length = if self.stream_id & 0xF0 == 0xE0 { 0 } else { u16::try_from(after_length).unwrap_or(0) };
        let mut out = vec![0, 0, 1, self.stream_id];
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&[0x80, flags, data.len() as u8]);
        out.extend_from_slice(&data);
        out.extend_from_slice(self.payload);
        out
    }
}

/// Builds a stream of 188-byte packets.
#[derive(Debug, Clone)]
pub struct TsBuilder {
    bytes: Vec<u8>,
    /// The next continuity_counter of each PID.
    counters: Vec<u8>,
}

impl Default for TsBuilder {
    fn default() -> Self {
        Self { bytes: Vec::new(), counters: vec![0; Pid::COUNT] }
    }
}

impl TsBuilder {
    /// An empty stream; every counter begins at 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a PAT of one section, version 0, with `programs` (program_number and PMT PID).
    pub fn pat(&mut self, programs: &[(u16, Pid)]) -> &mut Self {
        let programs = programs.to_vec();
        let pat = Pat { transport_stream_id: 1, version: 0, section: 0, last_section: 0, programs };
        self.section(Pid::PAT, &pat.section())
    }

    /// Appends `pmt` on `pid`.
    pub fn pmt(&mut self, pid: Pid, pmt: &Pmt) -> &mut Self {
        self.section(pid, &pmt.section())
    }

    /// Appends any section on `pid`.
    pub fn section(&mut self, pid: Pid, section: &[u8]) -> &mut Self {
        let counter = self.counters[pid.index()];
        let packets = packetize(section, pid, counter, &mut self.bytes);
        self.counters[pid.index()] = counter.wrapping_add(packets as u8) & 0x0F;
        self
    }

    /// Appends a video PES (stream_id 0xE0) on `pid`.
    pub fn pes(
        &mut self,
        pid: Pid,
        pts: Option<Stamp>,
        dts: Option<Stamp>,
        payload: &[u8],
        random_access: RandomAccess,
    ) -> &mut Self {
        let unit = PesUnit { pts, dts, random_access, ..PesUnit::new(Stamp::wrapping(0), payload) };
        self.unit(pid, &unit)
    }

    /// Appends any PES on `pid`, in as many packets as it takes.
    pub fn unit(&mut self, pid: Pid, unit: &PesUnit<'_>) -> &mut Self {
        let mut flags = 0;
        flags |= if unit.discontinuity == Discontinuity::Yes { 0x80 } else { 0 };
        flags |= if unit.random_access == RandomAccess::Yes { 0x40 } else { 0 };
        flags |= if unit.pcr.is_some() { 0x10 } else { 0 };
        let mut field = if flags == 0 { Vec::new() } else { vec![flags] };
        field.extend(unit.pcr.into_iter().flat_map(Pcr::to_bytes));
        let pes = unit.to_bytes();
        let mut rest = &pes[..];
        let mut unit_start = 0x40;
        while !rest.is_empty() {
            rest = self.payload_packet(pid, unit_start, std::mem::take(&mut field), rest);
            unit_start = 0;
        }
        self
    }

    /// Appends one packet with as much of `payload` as fits beside the adaptation field `field` (from the flags on, or
    /// empty for none); returns the rest.
    fn payload_packet<'a>(&mut self, pid: Pid, unit_start: u8, mut field: Vec<u8>, payload: &'a [u8]) -> &'a [u8] {
        let has_field = !field.is_empty();
        let room = PACKET_LEN - 4 - if has_field { 1 + field.len() } else { 0 };
        let (now, rest) = payload.split_at(room.min(payload.len()));
        let stuffing = room - now.len();
        let counter = self.take_counter(pid);
        let control = if has_field || stuffing > 0 { 0x30 } else { 0x10 };
        self.header(pid, unit_start, control | counter);
        if has_field {
            field.resize(field.len() + stuffing, 0xFF);
        } else if stuffing > 1 {
            // The length byte and the flags are two of the stuffing bytes.
            field.push(0);
            field.resize(stuffing - 1, 0xFF);
        }
        if control == 0x30 {
            self.bytes.push(field.len() as u8);
            self.bytes.extend_from_slice(&field);
        }
        self.bytes.extend_from_slice(now);
        rest
    }

    /// Appends a packet on `pid` with a clock and no payload.
    pub fn pcr(&mut self, pid: Pid, pcr: Pcr) -> &mut Self {
        // The counter does not advance: it is the one of the packet before (spec TS-003).
        let counter = self.counters[pid.index()].wrapping_sub(1) & 0x0F;
        self.header(pid, 0, 0x20 | counter);
        let end = self.bytes.len() - 4 + PACKET_LEN;
        self.bytes.extend_from_slice(&[183, 0x10]);
        self.bytes.extend_from_slice(&pcr.to_bytes());
        self.bytes.resize(end, 0xFF);
        self
    }

    /// Appends a null packet.
    pub fn null(&mut self) -> &mut Self {
        self.header(Pid::NULL, 0, 0x10);
        let end = self.bytes.len() - 4 + PACKET_LEN;
        self.bytes.resize(end, 0xFF);
        self
    }

    /// Appends `bytes` as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Skips `packets` counters of `pid`, as if so many packets were lost.
    pub fn skip_counters(&mut self, pid: Pid, packets: u8) -> &mut Self {
        self.counters[pid.index()] = self.counters[pid.index()].wrapping_add(packets) & 0x0F;
        self
    }

    /// The stream so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The stream so far, copied.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// The stream.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn header(&mut self, pid: Pid, unit_start: u8, control: u8) {
        let [high, low] = pid.value().to_be_bytes();
        self.bytes.extend_from_slice(&[SYNC_BYTE, high | unit_start, low, control]);
    }

    fn take_counter(&mut self, pid: Pid) -> u8 {
        let counter = self.counters[pid.index()];
        self.counters[pid.index()] = (counter + 1) & 0x0F;
        counter
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ts::continuity::{Continuity, Step};
    use crate::ts::packet::Packet;
    use crate::ts::pes::{PesStart, parse_pes};

    const PID: Pid = Pid::masked(0x100);

    proptest! {
        #[test]
        fn what_is_built_reads_back(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 1..4),
            pts in 0..Stamp::MODULUS, with_dts: bool, with_pcr: bool, random: bool, header_stuffing in 0u8..=240,
        ) {
            let mut ts = TsBuilder::new();
            let pts = Stamp::wrapping(pts);
            let pcr = with_pcr.then_some(Pcr { base: pts, extension: 299 });
            let random_access = if random { RandomAccess::Yes } else { RandomAccess::No };
            let mut sent = Vec::new();
            for payload in &payloads {
                let dts = with_dts.then_some(pts);
                let unit = PesUnit { dts, pcr, random_access, header_stuffing, ..PesUnit::new(pts, payload) };
                ts.unit(PID, &unit).null();
                ts.pcr(PID, Pcr { base: pts, extension: 0 });
                sent.push(unit.to_bytes());
            }
            let mut got: Vec<Vec<u8>> = Vec::new();
            let mut counter = Continuity::new();
            let (packets, rest) = ts.as_bytes().as_chunks();
            prop_assert!(rest.is_empty());
            for bytes in packets {
                let packet = Packet::new(bytes).unwrap();
                if packet.pid() == Pid::NULL { continue; }
                prop_assert_eq!(counter.step(packet), Step::Continues);
                if packet.payload_unit_start() {
                    prop_assert_eq!(packet.adaptation().and_then(|field| field.pcr()), pcr);
                    prop_assert_eq!(packet.adaptation().is_some_and(|field| field.random_access()), random);
                    got.push(Vec::new());
                }
                got.last_mut().unwrap().extend_from_slice(packet.payload());
            }
            prop_assert_eq!(&got, &sent);
            for (pes, payload) in got.iter().zip(&payloads) {
                let PesStart::Header(header) = parse_pes(pes) else { panic!("no header") };
                prop_assert_eq!(header.pts, Some(pts));
                prop_assert_eq!(header.dts, with_dts.then_some(pts));
                prop_assert_eq!(&pes[header.payload_offset..], &payload[..]);
            }
        }
    }
}
