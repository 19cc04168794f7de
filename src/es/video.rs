//! Video, whatever its codec: the head of an access unit, and the parameters of a sequence.

use super::annexb::{self, Nal, Start};
use super::sei::{self, Captions};
use super::{Codec, h264, hevc};
use crate::limits;

/// Whether a decoder can start at an access unit (spec TS-030, TS-031).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum RandomAccess {
    /// It cannot.
    #[default]
    None,
    /// IDR (H.264), IDR_W_RADL, IDR_N_LP or BLA (HEVC), with its parameter sets in the same access unit.
    Idr,
    /// The same without its parameter sets.
    IdrWithoutParameterSets,
    /// A recovery point SEI with an I slice and parameter sets (H.264), or CRA with parameter sets (HEVC): pictures
    /// that follow may refer to ones before.
    RecoveryPoint,
}

/// What the start of an access unit says, up to its first slice.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessUnitHead<'a> {
    /// Whether a decoder can start here.
    pub random_access: RandomAccess,
    /// The first sequence parameter set: the NAL unit with its header, emulation prevention bytes still in.
    pub sps: Option<&'a [u8]>,
    /// What the SEI before the first slice holds of captions.
    pub captions: Captions,
    /// Whether there is an access unit delimiter.
    pub has_aud: bool,
    /// Whether the payload begins with a picture. False when it begins inside one (other bytes before the first start
    /// code, or a slice that is not its picture's first) and when it has no slice.
    pub slice_is_first: bool,
    /// Offset in the payload of the first slice's NAL header.
    pub nal_offset_of_slice: Option<usize>,
}

/// What [`scan_head`] found.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum HeadScan<'a> {
    /// All there is to know: a longer payload gives the same.
    Complete(AccessUnitHead<'a>),
    /// No slice yet: present the payload again with more bytes.
    NeedMore,
}

/// Whether the payload may go on after the bytes given.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum PayloadEnd {
    /// More bytes may come.
    More,
    /// These are all.
    Whole,
}

/// How pictures are scanned.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scan {
    /// Frames only.
    Progressive,
    /// Fields are allowed or stated (Apple asks for progressive video, spec TS-047).
    MaybeInterlaced,
}

/// VIDEO-RANGE, from the transfer characteristics (spec MVP-008).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum VideoRange {
    /// Standard dynamic range; also where nothing is said.
    Sdr,
    /// Hybrid log-gamma (ARIB STD-B67).
    Hlg,
    /// Perceptual quantiser (SMPTE ST 2084).
    Pq,
}

impl VideoRange {
    /// The range of a `transfer_characteristics` value (ITU-T H.273 table 3).
    pub(super) const fn of_transfer(transfer_characteristics: u8) -> Self {
        match transfer_characteristics {
            16 => Self::Pq,
            18 => Self::Hlg,
            _ => Self::Sdr,
        }
    }
}

/// Pictures per second as a reduced fraction, above 0.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct FrameRate {
    /// Numerator.
    pub num: u32,
    /// Denominator.
    pub den: u32,
}

impl FrameRate {
    /// `num / den` reduced; None unless it is above 0 and at most [`limits::FRAME_RATE`].
    pub(super) fn new(num: u64, den: u64) -> Option<Self> {
        let (mut a, mut b) = (num, den);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let (num, den) = (num.checked_div(a)?, den.checked_div(a)?);
        if num == 0 || den == 0 || num > den.checked_mul(u64::from(limits::FRAME_RATE))? {
            return None;
        }
        Some(Self { num: u32::try_from(num).ok()?, den: u32::try_from(den).ok()? })
    }

    /// Pictures per second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }
}

/// The parameters that a sequence parameter set states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoInfo {
    /// H.264 or HEVC.
    pub codec: Codec,
    /// CODECS (RFC 6381): `avc1.64001f` (spec TS-040), `hvc1.1.6.L93.B0` (spec TS-041).
    pub codecs: String,
    /// Width in luma samples after cropping (spec TS-044).
    pub width: u32,
    /// Height in luma samples after cropping.
    pub height: u32,
    /// Width on a display with square pixels: `width` by the sample aspect ratio, rounded.
    pub display_width: u32,
    /// Frames per second (spec TS-045), where a believable rate is stated. HEVC streams of fields count fields.
    pub frame_rate: Option<FrameRate>,
    /// Whether the stream promises that rate for every picture (H.264 only: HEVC leaves it to its buffer model).
    pub fixed_frame_rate: bool,
    /// Dynamic range.
    pub range: VideoRange,
    /// Frames or fields.
    pub scan: Scan,
}

/// Reads a sequence parameter set: the NAL unit with its header, emulation prevention bytes still in. None when it is
/// broken, absurd, or not of `codec`.
#[must_use]
pub fn video_info(codec: Codec, sps_nal: &[u8]) -> Option<VideoInfo> {
    if sps_nal.len() > limits::SPS_BYTES {
        return None;
    }
    let info = match codec {
        Codec::H264 => h264::video_info(sps_nal),
        Codec::Hevc => hevc::video_info(sps_nal),
        _ => None,
    }?;
    let sides = 1..=limits::PICTURE_SIDE;
    (sides.contains(&info.width) && sides.contains(&info.height)).then_some(info)
}

/// `width` on square pixels, for a sample aspect ratio of `sar` (width, height).
pub(super) fn display_width(width: u32, sar: Option<(u16, u16)>) -> u32 {
    match sar {
        Some((sar_width, sar_height)) if sar_width != 0 && sar_height != 0 => {
            let (sar_width, sar_height) = (u64::from(sar_width), u64::from(sar_height));
            let wide = (u64::from(width) * sar_width + sar_height / 2) / sar_height;
            u32::try_from(wide).unwrap_or(u32::MAX).max(1)
        }
        _ => width,
    }
}

/// What a NAL unit is for, by its header.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum NalKind {
    Slice(SliceKind),
    Vps,
    Sps,
    Pps,
    /// SEI, and the length of the NAL header before its messages.
    Sei {
        header: usize,
    },
    Aud,
    Other,
}

/// What pictures a slice NAL unit type stands for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum SliceKind {
    /// A decoder can start here, and nothing after it refers to what is before.
    Idr,
    /// A decoder can start here, but pictures after it may refer to what is before.
    Cra,
    /// Any other picture.
    Other,
}

/// The first fields of a slice header.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct SliceHead {
    /// It is its picture's first slice.
    pub(super) first: bool,
    /// It is an I slice; known for H.264 only.
    pub(super) intra: bool,
}

/// Bytes at a slice's start that hold all of [`SliceHead`]: two numbers of at most 63 bits, and emulation prevention.
const SLICE_HEAD: usize = 32;

fn kind(codec: Codec, nal: &[u8]) -> Option<NalKind> {
    match codec {
        Codec::Hevc => hevc::kind(*nal.first_chunk()?),
        _ => nal.first().map(|&header| h264::kind(header)),
    }
}

/// The slice header at `offset`: Ok(None) when it is broken, Err when more bytes are needed.
fn slice_head(codec: Codec, payload: &[u8], offset: usize, end: PayloadEnd) -> Result<Option<SliceHead>, ()> {
    let limit = offset.saturating_add(SLICE_HEAD);
    let (nal, _) = annexb::nal_at(payload.get(..limit).unwrap_or(payload), offset);
    let head = match codec {
        Codec::Hevc => hevc::slice_head(nal.bytes),
        _ => h264::slice_head(nal.bytes),
    };
    match head {
        None if payload.len() < limit && !nal.complete && end == PayloadEnd::More => Err(()),
        head => Ok(head),
    }
}

/// Looks at the NAL units of `payload` (the content of a PES from its start) up to the beginning of the first slice.
/// A payload that does not begin with a start code begins inside a picture, and so does one whose first slice is not
/// its picture's first: no decoder can start there, whatever else is in it. Codecs other than H.264 and HEVC have
/// nothing to look at.
#[must_use]
pub fn scan_head(codec: Codec, payload: &[u8], end: PayloadEnd) -> HeadScan<'_> {
    let mut unit = Unit { codec, head: AccessUnitHead::default(), vps: false, pps: false, recovery_point: false };
    let mut next = match annexb::start(payload) {
        _ if !codec.is_video() => None,
        Start::Nal(offset) => Some(offset),
        Start::Inside => None,
        Start::Unknown if end == PayloadEnd::More => return HeadScan::NeedMore,
        Start::Unknown => None,
    };
    while let Some(offset) = next {
        let kind = match kind(codec, payload.get(offset..).unwrap_or_default()) {
            Some(kind) => kind,
            None if end == PayloadEnd::More => return HeadScan::NeedMore,
            None => break,
        };
        if let NalKind::Slice(slice) = kind {
            let Ok(head) = slice_head(codec, payload, offset, end) else { return HeadScan::NeedMore };
            unit.slice(slice, head, offset);
            break;
        }
        let (nal, following) = annexb::nal_at(payload, offset);
        if !nal.complete && end == PayloadEnd::More {
            return HeadScan::NeedMore;
        }
        unit.before_slice(kind, nal);
        next = following;
    }
    HeadScan::Complete(unit.head)
}

struct Unit<'a> {
    codec: Codec,
    head: AccessUnitHead<'a>,
    vps: bool,
    pps: bool,
    recovery_point: bool,
}

impl<'a> Unit<'a> {
    fn before_slice(&mut self, kind: NalKind, nal: Nal<'a>) {
        match kind {
            NalKind::Vps => self.vps = true,
            NalKind::Sps => self.head.sps = self.head.sps.or(Some(nal.bytes)),
            NalKind::Pps => self.pps = true,
            NalKind::Aud => self.head.has_aud = true,
            NalKind::Sei { header } => {
                let sei = sei::read(nal.bytes.get(header..).unwrap_or_default());
                self.recovery_point |= sei.recovery_point;
                self.head.captions = self.head.captions.max(sei.captions);
            }
            NalKind::Slice(_) | NalKind::Other => {}
        }
    }

    fn slice(&mut self, kind: SliceKind, head: Option<SliceHead>, offset: usize) {
        self.head.nal_offset_of_slice = Some(offset);
        let Some(SliceHead { first: true, intra }) = head else { return };
        self.head.slice_is_first = true;
        let parameter_sets = self.head.sps.is_some() && self.pps && (self.vps || self.codec == Codec::H264);
        self.head.random_access = match kind {
            SliceKind::Idr if parameter_sets => RandomAccess::Idr,
            SliceKind::Idr => RandomAccess::IdrWithoutParameterSets,
            SliceKind::Cra if parameter_sets => RandomAccess::RecoveryPoint,
            SliceKind::Other if parameter_sets && self.recovery_point && intra => RandomAccess::RecoveryPoint,
            SliceKind::Cra | SliceKind::Other => RandomAccess::None,
        };
    }
}

/// The number of pictures whose first slice begins in `payload`.
pub(super) fn count_pictures(codec: Codec, payload: &[u8]) -> usize {
    annexb::nals(payload)
        .filter(|nal| matches!(kind(codec, nal.bytes), Some(NalKind::Slice(_))))
        .filter(|nal| {
            let head = slice_head(codec, payload, nal.offset, PayloadEnd::Whole);
            matches!(head, Ok(Some(SliceHead { first: true, .. })))
        })
        .count()
}
