//! What a scan reports of a track, in the order of the input.

use crate::es::{AudioInfo, VideoInfo};
use crate::time::{Instant90, Span};
use crate::ts::Pid;

use super::clock::EpochTime;
use super::select::Selection;

/// How well a decoder can start at a unit of the main stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// It cannot.
    None,
    /// At an IDR picture whose parameter sets came before: only after a start elsewhere.
    NeedsParameterSets,
    /// At an open GOP: the pictures that lead may not decode (spec TS-034).
    Open,
    /// Cleanly (spec IND-001).
    Clean,
}

/// A unit of the main stream: a PES packet with a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Byte offset of its first packet.
    pub offset: u64,
    /// Its presentation time.
    pub at: EpochTime,
    /// Its decoding time, in the same epoch.
    pub decode: Instant90,
    /// How long it lasts, as far as that can be told: the step from the unit before, or what the parameters say.
    pub duration: Span,
    /// How well a decoder can start here.
    pub access: Access,
    /// Whether the timeline or the parameters broke since the last unit at which a decoder could start.
    pub breaks: bool,
}

/// What the scan found, in the order of the input.
#[derive(Debug)]
pub enum Event {
    /// A unit of a track's main stream.
    Unit(Unit),
    /// A PES packet of another carried stream; without a time where it has no PTS.
    Pes {
        /// Its stream.
        pid: Pid,
        /// Byte offset of its first packet.
        offset: u64,
        /// Its presentation time.
        at: Option<EpochTime>,
    },
    /// The video's parameters, when first seen and when they change.
    Video(VideoInfo),
    /// The audio's parameters, when first seen and when they change.
    Audio(AudioInfo),
    /// The PMT changed what the track carries.
    Streams {
        /// Byte offset of the PMT's last packet.
        offset: u64,
        /// What it carries from then on.
        selection: Box<Selection>,
    },
}

/// How a track's captions were seen, for CLOSED-CAPTIONS (spec MVP-010).
#[derive(Debug, Clone, Copy, Default)]
pub struct CaptionTally {
    /// Units with caption data that is not padding.
    pub with_captions: u64,
    /// Units that were looked at.
    pub units: u64,
    /// Whether some access unit may not have been looked at, because a PES packet may hold several.
    pub unseen: bool,
}
