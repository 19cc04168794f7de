//! The continuity counter of one PID (ISO/IEC 13818-1 2.4.3.3, spec TS-004).

use crate::ts::packet::{Packet, Pid};

/// How a packet follows the one before it on its PID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// In order, the first of its PID, or exempt (null packets, adaptation_field_control 00).
    Continues,
    /// The permitted repetition of the packet before.
    Duplicate,
    /// The counter jumps, and discontinuity_indicator says that this is meant.
    Signalled,
    /// Packets are missing, or one is repeated more than once.
    Gap {
        /// The counter that was due.
        expected: u8,
        /// The counter that came.
        found: u8,
    },
}

/// The continuity counter's state for one PID.
#[derive(Debug, Clone, Default)]
pub struct Continuity {
    last: Option<u8>,
    repeated: bool,
}

impl Continuity {
    /// Before the first packet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next packet of the PID.
    #[inline]
    pub fn step(&mut self, packet: Packet<'_>) -> Step {
        if packet.pid() == Pid::NULL || !(packet.has_payload() || packet.has_adaptation()) {
            return Step::Continues;
        }
        let found = packet.continuity_counter();
        let Some(last) = self.last.replace(found) else { return Step::Continues };
        // A packet without payload repeats the counter of the one before.
        let expected = if packet.has_payload() { (last + 1) & 0x0F } else { last };
        let repeated_before = self.repeated;
        if found == expected {
            // Adaptation-only packets between a packet and its repetition do not make the repetition another packet.
            self.repeated = repeated_before && !packet.has_payload();
            return Step::Continues;
        }
        self.repeated = false;
        if packet.adaptation().is_some_and(|field| field.discontinuity()) {
            return Step::Signalled;
        }
        if found == last && !repeated_before {
            self.repeated = true;
            return Step::Duplicate;
        }
        Step::Gap { expected, found }
    }

    /// Takes the packet if it does no more than go on: payload alone, the counter that is due, no other flag. Else
    /// nothing changes, and [`Self::step`] tells how it follows.
    #[inline]
    pub fn step_plainly(&mut self, packet: Packet<'_>) -> bool {
        let [_, flags, _, control, ..] = packet.bytes();
        let plain = flags & 0xC0 == 0 && self.last.is_some_and(|last| *control == 0x10 | ((last + 1) & 0x0F));
        if plain {
            self.last = Some(control & 0x0F);
            self.repeated = false;
        }
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ts::packet::PACKET_LEN;

    fn steps(packets: &[[u8; 3]]) -> Vec<Step> {
        let mut counter = Continuity::new();
        packets
            .iter()
            .map(|&[control, count, flags]| {
                let mut bytes = [0; PACKET_LEN];
                bytes[..6].copy_from_slice(&[0x47, 1, 0, control | count, 1, flags]);
                counter.step(Packet::new(&bytes).unwrap())
            })
            .collect()
    }

    #[test]
    fn the_rules_of_the_counter() {
        use Step::{Continues, Duplicate, Gap, Signalled};
        assert_eq!(steps(&[[0x10, 14, 0], [0x10, 15, 0], [0x10, 0, 0]]), [Continues; 3]);
        assert_eq!(
            steps(&[[0x10, 3, 0], [0x10, 3, 0], [0x10, 3, 0], [0x10, 4, 0]]),
            [Continues, Duplicate, Gap { expected: 4, found: 3 }, Continues],
            "one repetition is legal, two are not"
        );
        assert_eq!(steps(&[[0x10, 3, 0], [0x20, 3, 0], [0x10, 4, 0]]), [Continues; 3], "no payload, no count");
        assert_eq!(
            steps(&[[0x10, 3, 0], [0x10, 6, 0], [0x10, 7, 0]]),
            [Continues, Gap { expected: 4, found: 6 }, Continues]
        );
        assert_eq!(steps(&[[0x10, 3, 0], [0x30, 9, 0x80], [0x10, 10, 0]]), [Continues, Signalled, Continues]);
        assert_eq!(steps(&[[0x10, 3, 0], [0x00, 9, 0], [0x10, 4, 0]]), [Continues; 3], "control 00 is discarded");
    }

    #[test]
    fn a_plain_step_is_a_step() {
        for (before, after) in (0..=255u8).flat_map(|before| (0..=255u8).map(move |after| (before, after))) {
            for (repeats, flags) in
                [1, 2].into_iter().flat_map(|repeats| [0x01, 0x41, 0x81].map(|flags| (repeats, flags)))
            {
                let packet = |flags: u8, control: u8| {
                    let mut bytes = [0; PACKET_LEN];
                    bytes[..4].copy_from_slice(&[0x47, flags, 0, control]);
                    bytes
                };
                let (first, second) = (packet(1, before), packet(flags, after));
                let (mut plain, mut full) = (Continuity::new(), Continuity::new());
                for _ in 0..repeats {
                    plain.step(Packet::new(&first).unwrap());
                    full.step(Packet::new(&first).unwrap());
                }
                let state = (plain.last, plain.repeated);
                let plainly = plain.step_plainly(Packet::new(&second).unwrap());
                let step = full.step(Packet::new(&second).unwrap());
                if plainly {
                    assert_eq!((step, flags, after & 0xF0), (Step::Continues, 1, 0x10));
                    assert_eq!((plain.last, plain.repeated), (full.last, full.repeated));
                } else {
                    assert_eq!((plain.last, plain.repeated), state);
                    let expected = state.0.is_some_and(|last| after == 0x10 | ((last + 1) & 0x0F));
                    assert!(!expected || flags != 1, "{before:02x} {after:02x}");
                }
            }
        }
    }

    #[test]
    fn null_packets_are_exempt() {
        let mut counter = Continuity::new();
        for count in [0, 7, 7, 7, 2] {
            let mut bytes = [0xFF; PACKET_LEN];
            bytes[..4].copy_from_slice(&[0x47, 0x1F, 0xFF, 0x10 | count]);
            assert_eq!(counter.step(Packet::new(&bytes).unwrap()), Step::Continues);
        }
    }
}
