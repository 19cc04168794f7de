//! Elementary streams: what the start of a PES payload says. Pure functions on byte slices, without state.
//!
//! What a stream is ([`sniff()`]), whether a decoder can start at an access unit ([`scan_head`]), and the parameters that
//! a playlist states ([`video_info`], [`audio_info`]). No input, however broken, panics or takes more than linear time.

mod aac;
mod ac3;
pub mod annexb;
mod audio;
mod h264;
mod hevc;
mod mpeg_audio;
mod sei;
mod sniff;
mod video;

use std::fmt;

pub use audio::{AudioInfo, audio_info};
pub use sei::Captions;
pub use sniff::{Sniffed, sniff};
pub use video::{
    AccessUnitHead, FrameRate, HeadScan, PayloadEnd, RandomAccess, Scan, VideoInfo, VideoRange, scan_head, video_info,
};

/// A format that HLS can carry in MPEG-TS (RFC 8216 3.2).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// ITU-T H.264 | ISO/IEC 14496-10, as a byte stream (Annex B).
    H264,
    /// ITU-T H.265 | ISO/IEC 23008-2, as a byte stream (Annex B).
    Hevc,
    /// AAC in ADTS (ISO/IEC 14496-3 1.A.2).
    Aac,
    /// AC-3 (ETSI TS 102 366).
    Ac3,
    /// Enhanced AC-3 (ETSI TS 102 366 annex E).
    Eac3,
    /// MPEG audio layer III (ISO/IEC 11172-3, 13818-3).
    Mp3,
    /// MPEG audio layer I or II, which few HLS players take.
    Mp2,
    /// ID3 timed metadata (spec TS-014).
    Id3,
}

impl Codec {
    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Aac => "AAC (ADTS)",
            Self::Ac3 => "AC-3",
            Self::Eac3 => "E-AC-3",
            Self::Mp3 => "MP3",
            Self::Mp2 => "MP2",
            Self::Id3 => "ID3 metadata",
        }
    }

    /// True for pictures.
    #[must_use]
    pub const fn is_video(self) -> bool {
        matches!(self, Self::H264 | Self::Hevc)
    }

    /// True for sound.
    #[must_use]
    pub const fn is_audio(self) -> bool {
        matches!(self, Self::Aac | Self::Ac3 | Self::Eac3 | Self::Mp3 | Self::Mp2)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The number of access units that begin in `payload`, the whole content of a PES: pictures (each field of a field
/// pair is one, H.264 3.1), or audio frames.
#[must_use]
pub fn count_access_units(codec: Codec, payload: &[u8]) -> usize {
    match codec {
        Codec::H264 | Codec::Hevc => video::count_pictures(codec, payload),
        Codec::Id3 => usize::from(payload.starts_with(b"ID3")),
        _ => audio::count_frames(codec, payload),
    }
}

#[cfg(test)]
mod tests;
