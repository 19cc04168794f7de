//! Sections out of packets and into packets (ISO/IEC 13818-1 2.4.4, spec TS-007): over several packets, several to a
//! packet, with pointer_field, stuffing, continuity and CRC-32.

use crate::limits::{PRIVATE_SECTION, PSI_SECTION};
use crate::ts::continuity::{Continuity, Step};
use crate::ts::crc::crc32_mpeg2;
use crate::ts::error::SectionFault;
use crate::ts::packet::{PACKET_LEN, Packet, Pid, SYNC_BYTE};

/// table_id, flags and section_length.
const PREFIX_LEN: usize = 3;
/// Where stuffing stands in the place of a table_id.
const STUFFING: u8 = 0xFF;

/// Collects the sections of one PID. Memory is bounded by `limits::PRIVATE_SECTION`.
#[derive(Debug, Clone, Default)]
pub struct SectionAssembler {
    continuity: Continuity,
    /// A section that goes on in the next packet; empty when there is none.
    partial: Vec<u8>,
}

impl SectionAssembler {
    /// Before the first packet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the PID's next packet and calls `each` for every section that ends in it, from table_id to CRC_32, and for
    /// every one that is lost in it. The CRC is checked where section_syntax_indicator says that there is one. A repeated
    /// packet is passed over.
    pub fn push(&mut self, packet: Packet<'_>, each: &mut impl FnMut(Result<&[u8], SectionFault>)) {
        match self.continuity.step(packet) {
            Step::Continues => {}
            Step::Duplicate => return,
            Step::Signalled | Step::Gap { .. } => self.abandon(each),
        }
        let payload = packet.payload();
        if !packet.payload_unit_start() {
            if !self.partial.is_empty() {
                self.extend(payload, each);
            }
            return;
        }
        let Some((&pointer, rest)) = payload.split_first() else { return };
        let Some((head, mut tail)) = rest.split_at_checked(usize::from(pointer)) else {
            self.abandon(each);
            return;
        };
        if !self.partial.is_empty() {
            self.extend(head, each);
        }
        self.abandon(each);
        while tail.first().is_some_and(|&table| table != STUFFING) {
            match section_len(tail) {
                Err(fault) => {
                    each(Err(fault));
                    return;
                }
                Ok(Some(len)) if len <= tail.len() => {
                    let (section, next) = tail.split_at(len);
                    each(checked(section));
                    tail = next;
                }
                Ok(_) => {
                    self.partial.extend_from_slice(tail);
                    return;
                }
            }
        }
    }

    /// Continues the partial section. What follows its end in `bytes` is stuffing: a section that begins in a packet
    /// needs a pointer_field.
    fn extend(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Result<&[u8], SectionFault>)) {
        loop {
            // First as far as the length field, then as far as the length says.
            let target = match section_len(&self.partial) {
                Err(fault) => {
                    self.partial.clear();
                    each(Err(fault));
                    return;
                }
                Ok(len) => len.unwrap_or(PREFIX_LEN),
            };
            let missing = target.saturating_sub(self.partial.len());
            if missing == 0 {
                each(checked(&self.partial));
                self.partial.clear();
                return;
            }
            let Some((now, later)) = bytes.split_at_checked(missing) else {
                self.partial.extend_from_slice(bytes);
                return;
            };
            self.partial.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Gives up the partial section, if there is one.
    fn abandon(&mut self, each: &mut impl FnMut(Result<&[u8], SectionFault>)) {
        if !self.partial.is_empty() {
            self.partial.clear();
            each(Err(SectionFault::Truncated));
        }
    }
}

/// The length of the section that begins with `bytes`, header included; `Ok(None)` before the length field is there.
fn section_len(bytes: &[u8]) -> Result<Option<usize>, SectionFault> {
    let Some(&[table, high, low]) = bytes.first_chunk::<PREFIX_LEN>() else { return Ok(None) };
    let len = PREFIX_LEN + usize::from(u16::from_be_bytes([high & 0x0F, low]));
    let limit = if table <= 0x03 { PSI_SECTION } else { PRIVATE_SECTION };
    if len > limit { Err(SectionFault::TooLong) } else { Ok(Some(len)) }
}

fn checked(section: &[u8]) -> Result<&[u8], SectionFault> {
    let has_crc = section.get(1).is_some_and(|flags| flags & 0x80 != 0);
    if has_crc && crc32_mpeg2(section) != 0 { Err(SectionFault::Crc) } else { Ok(section) }
}

/// The fields of a PAT or PMT section (ISO/IEC 13818-1 2.4.4.3, 2.4.4.8).
pub(crate) struct LongSection<'a> {
    pub table: u8,
    pub extension: u16,
    pub version: u8,
    pub current: bool,
    pub number: u8,
    pub last_number: u8,
    pub body: &'a [u8],
}

impl<'a> LongSection<'a> {
    /// `None` when there is no section syntax, or the length does not fit the bytes or is more than a PAT or PMT may have.
    pub(crate) fn parse(section: &'a [u8]) -> Option<Self> {
        let (&[table, high, low, ext_high, ext_low, version, number, last_number], rest) =
            section.split_first_chunk::<8>()?;
        let announced = PREFIX_LEN + usize::from(u16::from_be_bytes([high & 0x0F, low]));
        if high & 0x80 == 0 || announced != section.len() || announced > PSI_SECTION {
            return None;
        }
        let (body, _crc) = rest.split_last_chunk::<4>()?;
        Some(Self {
            table,
            extension: u16::from_be_bytes([ext_high, ext_low]),
            version: version >> 1 & 0x1F,
            current: version & 1 != 0,
            number,
            last_number,
            body,
        })
    }

    /// The bytes of the section with its CRC_32. `body` must leave section_length within its 12 bits.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let len = (self.body.len() + 5 + 4) as u16;
        let mut out = Vec::with_capacity(PREFIX_LEN + usize::from(len));
        out.push(self.table);
        out.extend_from_slice(&(0xB000 | len & 0x0FFF).to_be_bytes());
        out.extend_from_slice(&self.extension.to_be_bytes());
        out.extend_from_slice(&[
            0xC0 | self.version << 1 & 0x3E | u8::from(self.current),
            self.number,
            self.last_number,
        ]);
        out.extend_from_slice(self.body);
        out.extend_from_slice(&crc32_mpeg2(&out).to_be_bytes());
        out
    }
}

/// Appends `section` to `out` as whole packets of `pid`: pointer_field 0 in the first, stuffing 0xFF after the end. The
/// first packet has the counter `first_counter`, modulo 16. Returns how many packets were written.
pub fn packetize(section: &[u8], pid: Pid, first_counter: u8, out: &mut Vec<u8>) -> usize {
    let [high, low] = pid.value().to_be_bytes();
    let mut rest = section;
    let mut packets = 0;
    while packets == 0 || !rest.is_empty() {
        let counter = first_counter.wrapping_add(packets as u8) & 0x0F;
        let start = out.len();
        let unit_start = if packets == 0 { 0x40 } else { 0 };
        out.extend_from_slice(&[SYNC_BYTE, high | unit_start, low, 0x10 | counter]);
        if packets == 0 {
            out.push(0);
        }
        let room = start + PACKET_LEN - out.len();
        let (now, later) = rest.split_at(room.min(rest.len()));
        out.extend_from_slice(now);
        out.resize(start + PACKET_LEN, STUFFING);
        rest = later;
        packets += 1;
    }
    packets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PID: Pid = Pid::masked(0x30);

    fn section(table: u8, body: &[u8]) -> Vec<u8> {
        let whole = LongSection { table, extension: 7, version: 3, current: true, number: 0, last_number: 0, body };
        whole.to_bytes()
    }

    /// A packet with a pointer_field if `pointer` is one, holding `payload`, the rest filled with 0xFF.
    fn packet(counter: u8, pointer: Option<u8>, payload: &[u8]) -> [u8; PACKET_LEN] {
        let mut bytes = vec![SYNC_BYTE, if pointer.is_some() { 0x40 } else { 0 }, 0x30, 0x10 | counter & 15];
        bytes.extend(pointer);
        bytes.extend_from_slice(payload);
        assert!(bytes.len() <= PACKET_LEN);
        bytes.resize(PACKET_LEN, 0xFF);
        bytes.try_into().unwrap()
    }

    fn assemble(packets: &[[u8; PACKET_LEN]]) -> Vec<Result<Vec<u8>, SectionFault>> {
        let mut assembler = SectionAssembler::new();
        let mut out = Vec::new();
        for bytes in packets {
            assembler.push(Packet::new(bytes).unwrap(), &mut |section| out.push(section.map(<[u8]>::to_vec)));
        }
        out
    }

    fn packets_of(bytes: &[u8]) -> Vec<[u8; PACKET_LEN]> {
        bytes.as_chunks().0.to_vec()
    }

    #[test]
    fn several_sections_in_a_packet_and_one_over_two() {
        let (a, b, c) = (section(0x42, &[1; 20]), section(0x42, &[2; 30]), section(0x42, &[3; 200]));
        let first = [&a[..], &b, &c[..100]].concat();
        let rest = &c[100..];
        let d = section(0x42, &[4; 4]);
        let second = [rest, &d].concat();
        let got = assemble(&[packet(0, Some(0), &first), packet(1, Some(rest.len() as u8), &second)]);
        // 183 - 32 - 42 = 109 bytes of c fit, so the 0xFF after its first 100 would be taken for it: fill exactly.
        assert_ne!(got.last(), Some(&Ok(c.clone())));
        let room = 183 - a.len() - b.len();
        let first = [&a[..], &b, &c[..room]].concat();
        let second = [&c[room..], &d].concat();
        let got = assemble(&[packet(0, Some(0), &first), packet(1, Some((c.len() - room) as u8), &second)]);
        assert_eq!(got, [Ok(a), Ok(b), Ok(c), Ok(d)]);
    }

    #[test]
    fn a_length_field_over_two_packets() {
        for cut in 1..=3 {
            let filler = section(0x42, &vec![9; 183 - cut - 12]);
            let next = section(0x42, &[5; 10]);
            let first = [&filler[..], &next[..cut]].concat();
            let got = assemble(&[packet(0, Some(0), &first), packet(1, None, &next[cut..])]);
            assert_eq!(got, [Ok(filler), Ok(next)], "cut after {cut} bytes");
        }
    }

    #[test]
    fn a_gap_drops_the_partial_section() {
        let long = section(0x42, &[6; 500]);
        let mut bytes = Vec::new();
        assert_eq!(packetize(&long, PID, 14, &mut bytes), 3);
        let packets = packets_of(&bytes);
        assert_eq!(assemble(&packets), [Ok(long.clone())]);
        assert_eq!(assemble(&[packets[0], packets[2]]), [Err(SectionFault::Truncated)]);
        assert_eq!(assemble(&[packets[0], packets[0], packets[1], packets[2]]), [Ok(long.clone())], "a duplicate");
        assert_eq!(assemble(&packets[1..]), [], "joined in the middle");
        let mut again = Vec::new();
        packetize(&long, PID, 1, &mut again);
        let restarted = [&packets[..2], &packets_of(&again)[..]].concat();
        assert_eq!(assemble(&restarted), [Err(SectionFault::Truncated), Ok(long)]);
    }

    #[test]
    fn faults() {
        let mut bad = section(0x02, &[1; 10]);
        bad[9] ^= 1;
        assert_eq!(assemble(&[packet(0, Some(0), &bad)]), [Err(SectionFault::Crc)]);
        let good = section(0x02, &[1; 10]);
        let after_bad = [&bad[..], &good].concat();
        assert_eq!(assemble(&[packet(0, Some(0), &after_bad)]), [Err(SectionFault::Crc), Ok(good.clone())]);
        // 1,021 is the most that a PMT may announce, 4,093 the most of a private table.
        assert_eq!(assemble(&[packet(0, Some(0), &[0x02, 0xB3, 0xFE])]), [Err(SectionFault::TooLong)]);
        assert_eq!(assemble(&[packet(0, Some(0), &[0x02, 0xB3, 0xFD])]), []);
        assert_eq!(assemble(&[packet(0, Some(0), &[0x80, 0xBF, 0xFE])]), [Err(SectionFault::TooLong)]);
        assert_eq!(assemble(&[packet(0, Some(183), &good)]), [], "the pointer is the last byte that it may be");
        assert_eq!(assemble(&[packet(0, Some(184), &good)]), [], "the pointer runs out of the packet");
        let no_crc = [0xFC, 0x30, 0x02, 1, 2];
        assert_eq!(assemble(&[packet(0, Some(0), &no_crc)]), [Ok(no_crc.to_vec())], "no section syntax, no CRC");
    }

    proptest! {
        #[test]
        fn packetized_sections_come_back(
            sections in proptest::collection::vec(
                (0x40u8..0xFF, proptest::collection::vec(any::<u8>(), 0..PRIVATE_SECTION - 12)), 1..4),
            mut counter in 0u8..16,
        ) {
            let (mut bytes, mut sent) = (Vec::new(), Vec::new());
            for (table, body) in sections {
                let whole = section(table, &body);
                counter = counter.wrapping_add(packetize(&whole, PID, counter, &mut bytes) as u8);
                sent.push(Ok(whole));
            }
            prop_assert_eq!(assemble(&packets_of(&bytes)), sent);
        }

        #[test]
        fn no_packets_panic_or_pile_up(packets in proptest::collection::vec((0u8..4, any::<Option<u8>>(),
            proptest::collection::vec(any::<u8>(), 0..183), 0u8..0x40), 0..40)) {
            let mut assembler = SectionAssembler::new();
            for (counter, pointer, payload, control) in packets {
                let mut bytes = packet(counter, pointer.map(|p| p % 8), &payload);
                bytes[3] |= control & 0x20;
                assembler.push(Packet::new(&bytes).unwrap(), &mut |_| {});
                prop_assert!(assembler.partial.len() < PRIVATE_SECTION);
            }
        }
    }
}
