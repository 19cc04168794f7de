//! What a PES payload is, by its content: a PMT's stream_type can lie, and private data has none (spec TS-011, TS-012).

use super::annexb::{self, Start};
use super::audio::{FORMATS, Format, Frame, Next};
use super::mpeg_audio::LAYER_1;
use super::{Codec, h264, hevc};

/// What [`sniff`] found.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sniffed {
    /// A format that HLS can carry.
    Known(Codec),
    /// AAC in LATM/LOAS (ISO/IEC 14496-3 1.7), which HLS cannot carry (spec TS-016).
    Latm,
    /// MPEG-1 or MPEG-2 video (spec TS-033).
    Mpeg2Video,
    /// VVC (ITU-T H.266).
    Vvc,
    /// DTS (ETSI TS 102 114).
    Dts,
}

impl Sniffed {
    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Known(codec) => codec.name(),
            Self::Latm => "AAC (LATM)",
            Self::Mpeg2Video => "MPEG-2 video",
            Self::Vvc => "VVC",
            Self::Dts => "DTS",
        }
    }
}

/// What `payload`, the content of a PES from its start, is. Video is known by its parameter sets or access unit
/// delimiters, so pictures without either give None; so does audio that begins in the middle of a frame, unless two
/// more frames follow the first whole one. Random bytes give None too, as nearly as that can be.
#[must_use]
pub fn sniff(payload: &[u8]) -> Option<Sniffed> {
    if let Start::Nal(offset) = annexb::start(payload) {
        return video(payload, offset);
    }
    match payload {
        // Version and revision are never 0xff (ID3v2.4.0 3.1).
        [b'I', b'D', b'3', version, revision, ..] if *version < 0xff && *revision < 0xff => {
            return Some(Sniffed::Known(Codec::Id3));
        }
        [0x7f, 0xfe, 0x80, 0x01, ..] => return Some(Sniffed::Dts),
        _ => {}
    }
    if loas(payload, 0).is_some_and(|next| loas(payload, next).is_some() || payload.len() == next) {
        return Some(Sniffed::Latm);
    }
    FORMATS.iter().find_map(|format| audio(*format, payload))
}

fn video(payload: &[u8], first: usize) -> Option<Sniffed> {
    match payload.get(first)? {
        0xb3 | 0xb8 => return Some(Sniffed::Mpeg2Video), // sequence_header_code, group_start_code
        0x00 => {
            // nuh_layer_id 0; types 14, 15, 16 and 20 are VPS, SPS, PPS and AUD (H.266 table 5).
            let vvc = first <= 4 && matches!(payload.get(first + 1)?, 0x71 | 0x79 | 0x81 | 0xa1);
            return vvc.then_some(Sniffed::Vvc);
        }
        _ => {}
    }
    annexb::nals(payload).find_map(|nal| {
        let delimiter = matches!(nal.bytes, [.., last] if last & 0x1f == 0x10); // pic_type, then the stop bit
        let (h264, hevc) = match nal.bytes {
            [0x09, _] if delimiter => (true, false),
            [0x46, 0x01, _] if delimiter => (false, true),
            // A video parameter set of the base layer; its third and fourth byte of content are reserved.
            [0x40, 0x01, _, _, 0xff, 0xff, ..] => (false, true),
            [0x27 | 0x47 | 0x67, ..] => (nal.complete && h264::video_info(nal.bytes).is_some(), false),
            [0x42, 0x01, ..] => (false, nal.complete && hevc::video_info(nal.bytes).is_some()),
            _ => (false, false),
        };
        match (h264, hevc) {
            (true, _) => Some(Sniffed::Known(Codec::H264)),
            (_, true) => Some(Sniffed::Known(Codec::Hevc)),
            _ => None,
        }
    })
}

/// The offset after the LOAS frame (AudioSyncStream, 1.7.2) at `offset`.
fn loas(payload: &[u8], offset: usize) -> Option<usize> {
    let &[sync, high, low] = payload.get(offset..)?.first_chunk()?;
    let len = usize::from(high & 0x1f) << 8 | usize::from(low);
    (sync == 0x56 && high & 0xe0 == 0xe0 && len > 0).then_some(offset + 3 + len)
}

fn audio(format: Format, payload: &[u8]) -> Option<Sniffed> {
    // Layer I is left to the PMT: its headers may be all ones and its frames are short, so that many a table of
    // numbers seems to hold some.
    let plausible = |frame: &Frame| frame.object != LAYER_1;
    let start = format.at(payload, 0).filter(plausible);
    let found = start.filter(|frame| format.next(payload, 0, frame) != Next::Differs).or_else(|| {
        // Two headers in a row are not enough among bytes that were never said to be audio.
        let mut from = 0;
        while let Some((offset, frame)) = format.confirmed(payload, from, plausible) {
            let second = offset.saturating_add(frame.len);
            let next = format.at(payload, second)?;
            if format.next(payload, second, &next) == Next::Agrees {
                return Some(frame);
            }
            from = offset + 1;
        }
        None
    })?;
    Some(Sniffed::Known(found.codec))
}
