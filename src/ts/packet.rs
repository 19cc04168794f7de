//! One transport packet: a checked view on its 188 bytes (ISO/IEC 13818-1 2.4.3.2, spec TS-003). These accessors are
//! the scanner's hot loop, so they are inlined and read constant places.

use std::fmt;

use crate::ts::adaptation::AdaptationField;

/// Bytes in a transport packet.
pub const PACKET_LEN: usize = 188;

/// The first byte of every transport packet.
pub const SYNC_BYTE: u8 = 0x47;

/// A 13-bit packet identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(u16);

impl Pid {
    /// The program association table.
    pub const PAT: Self = Self(0x0000);
    /// The conditional access table.
    pub const CAT: Self = Self(0x0001);
    /// The DVB service description table.
    pub const SDT: Self = Self(0x0011);
    /// Null packets.
    pub const NULL: Self = Self(0x1FFF);
    /// How many PIDs there are.
    pub const COUNT: usize = 8192;

    /// The PID `value`, or `None` when it needs more than 13 bits.
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        if value <= Self::NULL.0 { Some(Self(value)) } else { None }
    }

    /// The low 13 bits of `value`.
    #[must_use]
    #[inline]
    pub const fn masked(value: u16) -> Self {
        Self(value & 0x1FFF)
    }

    /// The PID as a number, below [`Self::COUNT`].
    #[must_use]
    #[inline]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// The PID as an index, below [`Self::COUNT`].
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// A transport packet whose sync byte is right.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    bytes: &'a [u8; PACKET_LEN],
}

impl<'a> Packet<'a> {
    /// The view on `bytes`, or `None` without the sync byte.
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8; PACKET_LEN]) -> Option<Self> {
        (bytes[0] == SYNC_BYTE).then_some(Self { bytes })
    }

    /// The whole packet.
    #[must_use]
    #[inline]
    pub fn bytes(self) -> &'a [u8; PACKET_LEN] {
        self.bytes
    }

    /// transport_error_indicator: the receiver knows that bits are wrong.
    #[must_use]
    #[inline]
    pub fn transport_error(self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    /// payload_unit_start_indicator: a PES packet begins here, or a section does.
    #[must_use]
    #[inline]
    pub fn payload_unit_start(self) -> bool {
        self.bytes[1] & 0x40 != 0
    }

    /// The packet identifier.
    #[must_use]
    #[inline]
    pub fn pid(self) -> Pid {
        Pid::masked(u16::from_be_bytes([self.bytes[1], self.bytes[2]]))
    }

    /// transport_scrambling_control is not 00.
    #[must_use]
    #[inline]
    pub fn scrambled(self) -> bool {
        self.bytes[3] & 0xC0 != 0
    }

    /// The 4-bit continuity_counter.
    #[must_use]
    #[inline]
    pub fn continuity_counter(self) -> u8 {
        self.bytes[3] & 0x0F
    }

    /// adaptation_field_control announces a payload (01 or 11).
    #[must_use]
    #[inline]
    pub fn has_payload(self) -> bool {
        self.bytes[3] & 0x10 != 0
    }

    /// adaptation_field_control announces an adaptation field (10 or 11).
    #[must_use]
    #[inline]
    pub fn has_adaptation(self) -> bool {
        self.bytes[3] & 0x20 != 0
    }

    /// The adaptation field, or `None` when there is none or its length runs out of the packet.
    #[must_use]
    #[inline]
    pub fn adaptation(self) -> Option<AdaptationField<'a>> {
        if !self.has_adaptation() {
            return None;
        }
        self.bytes.get(5..5 + usize::from(self.bytes[4])).map(AdaptationField::new)
    }

    /// The payload; empty when there is none or the adaptation field's length runs out of the packet.
    #[must_use]
    #[inline]
    pub fn payload(self) -> &'a [u8] {
        if !self.has_payload() {
            return &[];
        }
        let start = if self.has_adaptation() { 5 + usize::from(self.bytes[4]) } else { 4 };
        self.bytes.get(start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(header: [u8; 5]) -> [u8; PACKET_LEN] {
        let mut bytes = [0xAA; PACKET_LEN];
        bytes[..5].copy_from_slice(&header);
        bytes
    }

    #[test]
    fn fields_of_the_header() {
        let bytes = packet([0x47, 0x5F, 0xFE, 0x9C, 0x00]);
        let view = Packet::new(&bytes).unwrap();
        assert_eq!(view.pid(), Pid::new(0x1FFE).unwrap());
        assert!(view.payload_unit_start() && !view.transport_error() && view.scrambled());
        assert!(view.has_payload() && !view.has_adaptation());
        assert_eq!(view.continuity_counter(), 12);
        assert_eq!(view.payload().len(), 184);
        assert!(Packet::new(&packet([0x46, 0, 0, 0x10, 0])).is_none());
        assert!(Packet::new(&packet([0x47, 0x80, 0, 0x10, 0])).unwrap().transport_error());
    }

    #[test]
    fn adaptation_length_decides_the_payload() {
        for (control, length, payload, adaptation) in [
            (0x10, 0xFF, 184, None),
            (0x30, 0, 183, Some(())),
            (0x30, 182, 1, Some(())),
            (0x30, 183, 0, Some(())),
            (0x30, 184, 0, None),
            (0x30, 255, 0, None),
            (0x20, 183, 0, Some(())),
            (0x00, 7, 0, None),
        ] {
            let bytes = packet([0x47, 0, 0, control, length]);
            let view = Packet::new(&bytes).unwrap();
            assert_eq!(view.payload().len(), payload, "control {control:#x} length {length}");
            assert_eq!(view.adaptation().map(drop), adaptation, "control {control:#x} length {length}");
        }
    }

    #[test]
    fn pids_print_and_bound() {
        assert_eq!(Pid::masked(0x0100).to_string(), "0x0100");
        assert_eq!(Pid::NULL.to_string(), "0x1fff");
        assert_eq!(Pid::new(0x2000), None);
        assert_eq!(Pid::masked(0xFFFF), Pid::NULL);
    }

    proptest! {
        #[test]
        fn no_packet_panics(mut bytes: [u8; 32], fill: u8) {
            bytes[0] = SYNC_BYTE;
            let mut whole = [fill; PACKET_LEN];
            whole[..32].copy_from_slice(&bytes);
            let view = Packet::new(&whole).unwrap();
            prop_assert!(view.payload().len() <= 184);
            prop_assert!(view.pid().index() < Pid::COUNT);
            if let Some(field) = view.adaptation() {
                let _ = (field.pcr(), field.opcr(), field.discontinuity(), field.random_access());
            }
        }
    }
}
