//! Audio, whatever its codec: finding frames in a payload that may begin in the middle of one.

use super::{Codec, aac, ac3, mpeg_audio};

/// What an audio frame's header states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioInfo {
    /// The format.
    pub codec: Codec,
    /// CODECS (RFC 6381; spec TS-042): `mp4a.40.2`, `ac-3`, `ec-3`, `mp4a.40.34` ... HE-AAC in ADTS looks like LC at
    /// half the rate, and is reported so (spec TS-043).
    pub codecs: String,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels, LFE included; 0 where the header leaves it to the frame's content (AAC with a program config
    /// element). Dependent substreams of E-AC-3 are not counted.
    pub channels: u8,
    /// Samples of one channel in this frame.
    pub frame_samples: u32,
    /// Bytes of this frame, header included.
    pub frame_len: usize,
}

impl AudioInfo {
    /// Whether a decoder plays both without being set up anew: all but the frame's length is the same.
    #[must_use]
    pub fn same_configuration(&self, other: &Self) -> bool {
        let Self { codec, codecs, sample_rate, channels, frame_samples, frame_len: _ } = self;
        *codec == other.codec
            && *codecs == other.codecs
            && *sample_rate == other.sample_rate
            && *channels == other.channels
            && *frame_samples == other.frame_samples
    }
}

/// A frame header, checked by itself.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) codec: Codec,
    pub(super) object: Object,
    pub(super) sample_rate: u32,
    pub(super) channels: u8,
    pub(super) samples: u32,
    /// Bytes, header included; more than 0.
    pub(super) len: usize,
    /// Whether a decoder can start with it: false for a dependent substream of E-AC-3.
    pub(super) independent: bool,
}

/// The CODECS value, unformatted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Object {
    /// `mp4a.40.` and the audio object type (ISO/IEC 14496-3 table 1.1).
    Mpeg4(u8),
    Ac3,
    Eac3,
}

impl Frame {
    fn info(&self) -> AudioInfo {
        AudioInfo {
            codec: self.codec,
            codecs: match self.object {
                Object::Mpeg4(object_type) => format!("mp4a.40.{object_type}"),
                Object::Ac3 => "ac-3".to_owned(),
                Object::Eac3 => "ec-3".to_owned(),
            },
            sample_rate: self.sample_rate,
            channels: self.channels,
            frame_samples: self.samples,
            frame_len: self.len,
        }
    }

    /// Whether `next` may follow in the same stream.
    fn agrees(&self, next: &Self) -> bool {
        self.codec == next.codec && self.object == next.object && self.sample_rate == next.sample_rate
    }
}

/// A format's frame headers.
#[derive(Copy, Clone)]
pub(super) struct Format {
    /// Their first byte.
    pub(super) sync: u8,
    /// Their length.
    pub(super) header: usize,
    /// Reads the header that `bytes` begin with.
    pub(super) read: fn(bytes: &[u8]) -> Option<Frame>,
}

pub(super) const FORMATS: [Format; 3] = [aac::FORMAT, ac3::FORMAT, mpeg_audio::FORMAT];

/// Which of a format's frames are looked for.
pub(super) type Wanted = fn(&Frame) -> bool;

/// What the bytes after a frame say about it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another header that agrees.
    Agrees,
    /// They end before one could be there.
    Unseen,
    /// Something else.
    Differs,
}

impl Format {
    pub(super) fn at(self, payload: &[u8], offset: usize) -> Option<Frame> {
        (self.read)(payload.get(offset..)?)
    }

    /// What follows `frame`, which is at `offset`.
    pub(super) fn next(self, payload: &[u8], offset: usize, frame: &Frame) -> Next {
        let after = offset.saturating_add(frame.len);
        if payload.len() < after.saturating_add(self.header) {
            return Next::Unseen;
        }
        match self.at(payload, after) {
            Some(next) if frame.agrees(&next) => Next::Agrees,
            _ => Next::Differs,
        }
    }

    /// The first frame at or after `from` that another one follows.
    pub(super) fn confirmed(self, payload: &[u8], from: usize, wanted: Wanted) -> Option<(usize, Frame)> {
        let tail = payload.get(from..)?;
        memchr::memchr_iter(self.sync, tail).map(|at| from + at).find_map(|offset| {
            let frame = self.at(payload, offset).filter(wanted)?;
            (self.next(payload, offset, &frame) == Next::Agrees).then_some((offset, frame))
        })
    }

    /// The first frame: at the very start, unless what follows it speaks against it; else the first one confirmed.
    fn first(self, payload: &[u8], wanted: Wanted) -> Option<(usize, Frame)> {
        if let Some(frame) = self.at(payload, 0).filter(wanted)
            && self.next(payload, 0, &frame) != Next::Differs
        {
            return Some((0, frame));
        }
        self.confirmed(payload, 0, wanted)
    }
}

/// The headers of `codec`, and which of them are its own.
fn format(codec: Codec) -> Option<(Format, Wanted)> {
    match codec {
        Codec::Aac => Some((aac::FORMAT, |_| true)),
        Codec::Ac3 => Some((ac3::FORMAT, |frame| frame.codec == Codec::Ac3)),
        Codec::Eac3 => Some((ac3::FORMAT, |frame| frame.codec == Codec::Eac3 && frame.independent)),
        Codec::Mp3 => Some((mpeg_audio::FORMAT, |frame| frame.codec == Codec::Mp3)),
        Codec::Mp2 => Some((mpeg_audio::FORMAT, |frame| frame.codec == Codec::Mp2)),
        Codec::H264 | Codec::Hevc | Codec::Id3 => None,
    }
}

/// The parameters of the first frame of `codec` in `payload`. A header at the start counts unless another should follow
/// in `payload` and does not; one further on (the payload begins in the middle of a frame) counts when another follows.
/// None: give more bytes, or the payload of another PES.
#[must_use]
pub fn audio_info(codec: Codec, payload: &[u8]) -> Option<AudioInfo> {
    let (format, wanted) = format(codec)?;
    format.first(payload, wanted).map(|(_, frame)| frame.info())
}

/// The number of frames that begin in `payload`.
pub(super) fn count_frames(codec: Codec, payload: &[u8]) -> usize {
    let Some((format, wanted)) = format(codec) else { return 0 };
    let mut count = 0;
    let mut found = format.first(payload, wanted);
    while let Some((offset, frame)) = found {
        count += usize::from(wanted(&frame));
        let after = offset.saturating_add(frame.len);
        found = match format.at(payload, after) {
            Some(next) if frame.agrees(&next) => Some((after, next)),
            _ => format.confirmed(payload, after, wanted),
        };
    }
    count
}
