//! What was wrong with an input and survived: counted by kind, with the first places.

use std::collections::BTreeMap;

use crate::limits;
use crate::time::Instant90;
use crate::ts::Pid;

/// A kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// Bytes before the first packet.
    LeadingGarbage,
    /// Bytes between packets where packets should be.
    LostSync,
    /// Bytes at the end that make no whole packet.
    TruncatedTail,
    /// A continuity counter that skipped (spec TS-004).
    ContinuityGap,
    /// A packet sent twice, which the standard allows (spec TS-004).
    DuplicatePacket,
    /// A packet whose payload is scrambled; it is left out.
    ScrambledPacket,
    /// A packet that the demodulator marked as damaged.
    TransportError,
    /// A PAT or PMT section whose checksum or length is wrong.
    BadSection,
    /// A jump of the timestamps.
    TimestampJump,
    /// A discontinuity that the stream signals.
    SignalledDiscontinuity,
    /// The streams or their parameters changed.
    StreamChange,
    /// A key frame without parameter sets.
    MissingParameterSets,
    /// Pictures before the first key frame; they are left out.
    BeforeFirstKeyFrame,
    /// A PES packet without a start code where one should be.
    BadPes,
}

impl FaultKind {
    /// The kind's name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LeadingGarbage => "leading_garbage",
            Self::LostSync => "lost_sync",
            Self::TruncatedTail => "truncated_tail",
            Self::ContinuityGap => "continuity_gap",
            Self::DuplicatePacket => "duplicate_packet",
            Self::ScrambledPacket => "scrambled_packet",
            Self::TransportError => "transport_error",
            Self::BadSection => "bad_section",
            Self::TimestampJump => "timestamp_jump",
            Self::SignalledDiscontinuity => "signalled_discontinuity",
            Self::StreamChange => "stream_change",
            Self::MissingParameterSets => "missing_parameter_sets",
            Self::BeforeFirstKeyFrame => "before_first_key_frame",
            Self::BadPes => "bad_pes",
        }
    }

    /// Whether `--strict` refuses it: damage does, what the standard allows does not.
    #[must_use]
    pub fn is_damage(self) -> bool {
        !matches!(self, Self::DuplicatePacket | Self::SignalledDiscontinuity | Self::StreamChange | Self::TimestampJump)
    }
}

/// Where a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Byte offset of the packet in the input.
    pub offset: u64,
    /// Bytes it covers, where that is what counts.
    pub bytes: u64,
    /// The PID, where there is one.
    pub pid: Option<Pid>,
    /// The presentation time, where it is known.
    pub time: Option<Instant90>,
}

impl Place {
    /// The packet at `offset` of `pid`.
    #[must_use]
    pub fn packet(offset: u64, pid: Pid) -> Self {
        Self { offset, bytes: 0, pid: Some(pid), time: None }
    }
}

/// All faults of one kind.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// How many there are.
    pub count: u64,
    /// Bytes that they cover in all.
    pub bytes: u64,
    /// The first few.
    pub places: Vec<Place>,
}

/// The faults of one input.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    kinds: BTreeMap<FaultKind, Tally>,
}

impl Faults {
    /// Counts one fault.
    pub fn hit(&mut self, kind: FaultKind, place: Place) {
        let tally = self.kinds.entry(kind).or_default();
        tally.count += 1;
        tally.bytes = tally.bytes.saturating_add(place.bytes);
        if tally.places.len() < limits::FAULT_PLACES {
            tally.places.push(place);
        }
    }

    /// The kinds that occurred, with their tallies.
    pub fn iter(&self) -> impl Iterator<Item = (FaultKind, &Tally)> {
        self.kinds.iter().map(|(kind, tally)| (*kind, tally))
    }

    /// How often `kind` occurred.
    #[must_use]
    pub fn count(&self, kind: FaultKind) -> u64 {
        self.kinds.get(&kind).map_or(0, |tally| tally.count)
    }

    /// The first damage, for `--strict`.
    #[must_use]
    pub fn first_damage(&self) -> Option<(FaultKind, Place)> {
        self.iter()
            .filter(|(kind, _)| kind.is_damage())
            .filter_map(|(kind, tally)| tally.places.first().map(|place| (kind, *place)))
            .min_by_key(|(_, place)| place.offset)
    }
}
