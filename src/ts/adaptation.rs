//! The adaptation field: its flags and clocks, the clocks shifted in place, and a packet that carries nothing but a
//! clock (ISO/IEC 13818-1 2.4.3.4 and 2.4.3.5, spec TS-005).

use crate::time::{Span, Stamp};
use crate::ts::packet::{PACKET_LEN, Packet, SYNC_BYTE};

const DISCONTINUITY: u8 = 0x80;
const RANDOM_ACCESS: u8 = 0x40;
const PCR_FLAG: u8 = 0x10;
const OPCR_FLAG: u8 = 0x08;
const CLOCK_LEN: usize = 6;
/// The place of the flags in a packet; the clocks follow.
const FLAGS_AT: usize = 5;

/// A program clock reference: a 33-bit base at 90 kHz and a 9-bit extension at 27 MHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pcr {
    /// The base, in ticks of 90 kHz.
    pub base: Stamp,
    /// The extension, in ticks of 27 MHz; 0 to 299 in a well-formed stream.
    pub extension: u16,
}

impl Pcr {
    fn parse(field: &[u8]) -> Option<Self> {
        let [a, b, c, d, e, f] = *field.first_chunk::<CLOCK_LEN>()?;
        Some(Self {
            base: Stamp::wrapping(u64::from(u32::from_be_bytes([a, b, c, d])) << 1 | u64::from(e >> 7)),
            extension: u16::from(e & 1) << 8 | u16::from(f),
        })
    }

    /// The six bytes of the field, reserved bits set.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 6] {
        let [a, b, c, d] = ((self.base.value() >> 1) as u32).to_be_bytes();
        let low = (self.base.value() & 1) as u8;
        [a, b, c, d, low << 7 | 0x7E | (self.extension >> 8 & 1) as u8, self.extension as u8]
    }

    /// The whole clock in ticks of 27 MHz.
    #[must_use]
    pub fn ticks_27mhz(self) -> u64 {
        self.base.value() * 300 + u64::from(self.extension)
    }
}

/// A view on an adaptation field, without its length byte.
#[derive(Debug, Clone, Copy)]
pub struct AdaptationField<'a> {
    body: &'a [u8],
}

impl<'a> AdaptationField<'a> {
    /// The view on `body`, the bytes after adaptation_field_length. A field of length 0 has no flags set.
    #[must_use]
    #[inline]
    pub fn new(body: &'a [u8]) -> Self {
        Self { body }
    }

    #[inline]
    fn flags(self) -> u8 {
        self.body.first().copied().unwrap_or(0)
    }

    /// discontinuity_indicator: a jump of the clock or of the continuity counter is meant.
    #[must_use]
    #[inline]
    pub fn discontinuity(self) -> bool {
        self.flags() & DISCONTINUITY != 0
    }

    /// random_access_indicator. Only a hint (spec TS-006).
    #[must_use]
    #[inline]
    pub fn random_access(self) -> bool {
        self.flags() & RANDOM_ACCESS != 0
    }

    /// The program clock reference, when there is one in full.
    #[must_use]
    #[inline]
    pub fn pcr(self) -> Option<Pcr> {
        let [pcr, _] = clock_places(self.flags());
        Pcr::parse(self.body.get(pcr?..)?)
    }

    /// The original program clock reference, when there is one in full.
    #[must_use]
    pub fn opcr(self) -> Option<Pcr> {
        let [_, opcr] = clock_places(self.flags());
        Pcr::parse(self.body.get(opcr?..)?)
    }
}

/// Where the flags put PCR and OPCR, counted from the flags.
#[inline]
fn clock_places(flags: u8) -> [Option<usize>; 2] {
    let pcr = (flags & PCR_FLAG != 0).then_some(1);
    let opcr = (flags & OPCR_FLAG != 0).then_some(if pcr.is_some() { 1 + CLOCK_LEN } else { 1 });
    [pcr, opcr]
}

/// Adds `by` to the bases of PCR and OPCR in place, modulo 2^33; the extensions stay. A packet without clocks, or with
/// an adaptation field that runs out of the packet, is left as it is.
pub fn shift_clocks(packet: &mut [u8; PACKET_LEN], by: Span) {
    let Some(field) = Packet::new(packet).and_then(Packet::adaptation) else { return };
    let (flags, len) = (field.flags(), field.body.len());
    for place in clock_places(flags).into_iter().flatten().filter(|place| place + CLOCK_LEN <= len) {
        let Some(clock) = packet.get_mut(FLAGS_AT + place..).and_then(<[u8]>::first_chunk_mut::<CLOCK_LEN>) else {
            return;
        };
        let Some(pcr) = Pcr::parse(clock) else { return };
        let shifted = Pcr { base: pcr.base.shifted(by), ..pcr }.to_bytes();
        let reserved = clock[4] & 0x7F;
        *clock = shifted;
        clock[4] = shifted[4] & 0x80 | reserved;
    }
}

/// The clock of `packet` alone: when it carries a PCR, an adaptation-only packet of the same PID with
/// discontinuity_indicator, PCR and OPCR, counter 0 and no payload; `None` when it carries none. This keeps the clock
/// of a PID that is left out.
#[must_use]
pub fn pcr_only(packet: &[u8; PACKET_LEN]) -> Option<[u8; PACKET_LEN]> {
    let view = Packet::new(packet)?;
    let field = view.adaptation()?;
    let pcr = field.pcr()?;
    let opcr = field.opcr();
    let mut out = [0xFF; PACKET_LEN];
    let [high, low] = view.pid().value().to_be_bytes();
    let flags = field.flags() & DISCONTINUITY | PCR_FLAG | if opcr.is_some() { OPCR_FLAG } else { 0 };
    out[..6].copy_from_slice(&[SYNC_BYTE, high, low, 0x20, (PACKET_LEN - FLAGS_AT) as u8, flags]);
    out[6..12].copy_from_slice(&pcr.to_bytes());
    if let Some(opcr) = opcr {
        out[12..18].copy_from_slice(&opcr.to_bytes());
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ts::packet::Pid;

    fn with_field(field: &[u8]) -> [u8; PACKET_LEN] {
        let mut bytes = [0x55; PACKET_LEN];
        bytes[..5].copy_from_slice(&[SYNC_BYTE, 0x41, 0x23, 0x3A, field.len() as u8]);
        bytes[5..5 + field.len()].copy_from_slice(field);
        bytes
    }

    fn field(bytes: &[u8; PACKET_LEN]) -> AdaptationField<'_> {
        Packet::new(bytes).unwrap().adaptation().unwrap()
    }

    #[test]
    fn a_known_pcr() {
        // From an ffmpeg file: 00 00 7b 0c 7e 00 is 63000 ticks, 0.7 s, extension 0.
        let bytes = with_field(&[0x50, 0x00, 0x00, 0x7B, 0x0C, 0x7E, 0x00]);
        let pcr = field(&bytes).pcr().unwrap();
        assert_eq!((pcr.base.value(), pcr.extension), (63_000, 0));
        assert_eq!(pcr.ticks_27mhz(), 18_900_000);
        assert!(field(&bytes).random_access() && !field(&bytes).discontinuity());
        assert_eq!(pcr.to_bytes(), [0x00, 0x00, 0x7B, 0x0C, 0x7E, 0x00]);
    }

    #[test]
    fn a_clock_cut_short_is_no_clock() {
        for len in 0..7 {
            assert_eq!(field(&with_field(&[0x10; 7][..len])).pcr(), None);
        }
        assert!(field(&with_field(&[0x10; 7])).pcr().is_some());
        assert_eq!(field(&with_field(&[0x18; 12])).opcr(), None);
        assert!(field(&with_field(&[0x18; 13])).opcr().is_some());
        assert!(field(&with_field(&[0x08; 7])).opcr().is_some(), "an OPCR may stand alone");
    }

    #[test]
    fn shifting_a_cut_clock_changes_nothing() {
        let before = with_field(&[0x10, 1, 2, 3]);
        let mut after = before;
        shift_clocks(&mut after, Span::from_ticks(90_000));
        assert_eq!(after, before);
    }

    #[test]
    fn pcr_only_keeps_clock_and_pid() {
        let mut body = vec![0xD8];
        let pcr = Pcr { base: Stamp::wrapping(0x1_2345_6789), extension: 299 };
        let opcr = Pcr { base: Stamp::wrapping(7), extension: 1 };
        body.extend(pcr.to_bytes());
        body.extend(opcr.to_bytes());
        let out = pcr_only(&with_field(&body)).unwrap();
        let view = Packet::new(&out).unwrap();
        assert_eq!(view.pid(), Pid::masked(0x123));
        assert!(!view.has_payload() && view.has_adaptation() && !view.payload_unit_start());
        assert_eq!(view.continuity_counter(), 0);
        assert_eq!((field(&out).pcr(), field(&out).opcr()), (Some(pcr), Some(opcr)));
        assert!(field(&out).discontinuity() && !field(&out).random_access());
        assert!(out[18..].iter().all(|&byte| byte == 0xFF));
        assert_eq!(pcr_only(&with_field(&[0xC0])), None);
    }

    proptest! {
        #[test]
        fn shifting_moves_bases_and_nothing_else(
            base in 0..Stamp::MODULUS, original in 0..Stamp::MODULUS, extension in 0u16..300, by in any::<i32>(),
            flags in prop_oneof![Just(0x18u8), Just(0x10), Just(0x08), Just(0x00)], reserved in 0u8..64,
        ) {
            let mut body = vec![flags];
            for base in [base, original] {
                let mut bytes = Pcr { base: Stamp::wrapping(base), extension }.to_bytes();
                bytes[4] = bytes[4] & 0x81 | reserved << 1;
                body.extend(bytes);
            }
            let before = with_field(&body);
            let mut after = before;
            let by = Span::from_ticks(i64::from(by));
            shift_clocks(&mut after, by);
            for clock in [AdaptationField::pcr, AdaptationField::opcr] {
                let moved = clock(field(&before)).map(|pcr| Pcr { base: pcr.base.shifted(by), ..pcr });
                prop_assert_eq!(clock(field(&after)), moved);
            }
            shift_clocks(&mut after, by.negated());
            prop_assert_eq!(after, before, "reserved bits and everything else come back");
        }

        #[test]
        fn no_field_panics(bytes in proptest::collection::vec(any::<u8>(), PACKET_LEN), by: i64) {
            let mut bytes: [u8; PACKET_LEN] = bytes.try_into().unwrap();
            bytes[0] = SYNC_BYTE;
            let _ = pcr_only(&bytes);
            shift_clocks(&mut bytes, Span::from_ticks(by));
        }
    }
}
