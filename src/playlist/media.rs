//! Writes media playlists: a VOD list of segments under a target duration that holds.

use std::fmt::{self, Write};

pub use crate::playlist::duration::{SegmentDuration, round_durations, target_duration};

use crate::playlist::duration::rounded_seconds;
use crate::playlist::value::{KeyUri, Uri};
use crate::playlist::version::{Feature, Version};

/// The highest media sequence number that every player turns into the same IV (SEQ-003, AMB-03).
const MAX_SEQUENCE_IV: u64 = (1 << 31) - 1;

/// What a segment is encrypted with: METHOD=AES-128 with the identity key format (KEY-003, KEY-009).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentKey {
    /// Where the player gets the 16 bytes of the key.
    pub uri: KeyUri,
    /// The initialisation vector; `None` means the media sequence number (KEY-007).
    pub iv: Option<[u8; 16]>,
}

impl fmt::Display for SegmentKey {
    /// The attribute list of EXT-X-KEY. The IV is `0x` and 32 upper-case digits: shorter forms break players (KEY-006).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "METHOD=AES-128,URI=\"{}\"", self.uri)?;
        self.iv.map_or(Ok(()), |iv| write!(f, ",IV=0x{}", hex::encode_upper(iv)))
    }
}

/// One segment of a media playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaSegment {
    /// Where the segment is, relative to the playlist (HLS-012).
    pub uri: Uri,
    /// Its duration, from [`round_durations`].
    pub duration: SegmentDuration,
    /// Its key; `None` when it is clear.
    pub key: Option<SegmentKey>,
    /// Whether EXT-X-DISCONTINUITY stands before it (DSC-001).
    pub discontinuity: bool,
}

/// Why a media playlist would be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// A segment is longer than the target duration allows (DUR-006, VER-06b).
    #[error("segment {index} lasts {duration} s, more than the target duration of {target_duration} s allows")]
    TooLong {
        /// The segment's place in the list, from 0.
        index: usize,
        /// Its duration.
        duration: SegmentDuration,
        /// The target duration in seconds.
        target_duration: u64,
    },
    /// The target duration is zero (DUR-006).
    #[error("the target duration is zero")]
    ZeroTarget,
    /// A media sequence number as IV above 2^31-1, of which players make different IVs (SEQ-003, AMB-03).
    #[error("segment {index} has its sequence number {sequence} as IV, above 2147483647")]
    SequenceIv {
        /// The segment's place in the list, from 0.
        index: usize,
        /// Its media sequence number.
        sequence: u64,
    },
}

/// A media playlist of type VOD, complete with EXT-X-ENDLIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPlaylist {
    /// EXT-X-TARGETDURATION in seconds, from [`target_duration`] over all renditions (DUR-011).
    pub target_duration: u64,
    /// The media sequence number of the first segment (SEQ-001).
    pub media_sequence: u64,
    /// Whether EXT-X-INDEPENDENT-SEGMENTS is written here; best only in the multivariant playlist (IND-001, IND-002).
    pub independent_segments: bool,
    /// The segments in order.
    pub segments: Vec<MediaSegment>,
}

impl MediaPlaylist {
    /// The version that [`MediaPlaylist::render`] writes.
    #[must_use]
    pub fn version(&self) -> Version {
        let iv = self.segments.iter().any(|segment| segment.key.as_ref().is_some_and(|key| key.iv.is_some()));
        Version::required([Feature::FloatDuration].into_iter().chain(iv.then_some(Feature::KeyIv)))
    }

    /// Checks what the types cannot: durations against the target, and sequence numbers that serve as IVs.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(&self) -> Result<(), MediaError> {
        if self.target_duration == 0 {
            return Err(MediaError::ZeroTarget);
        }
        let version = self.version();
        for (index, segment) in self.segments.iter().enumerate() {
            let duration = segment.duration;
            if rounded_seconds(duration, version) > self.target_duration {
                return Err(MediaError::TooLong { index, duration, target_duration: self.target_duration });
            }
            let sequence = self.media_sequence.saturating_add(index as u64);
            if sequence > MAX_SEQUENCE_IV && segment.key.as_ref().is_some_and(|key| key.iv.is_none()) {
                return Err(MediaError::SequenceIv { index, sequence });
            }
        }
        Ok(())
    }

    /// The playlist's text, with LF line ends (AMB-40).
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(256 + self.segments.len() * 192);
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "#EXTM3U")?;
        writeln!(out, "#EXT-X-VERSION:{}", self.version())?;
        writeln!(out, "#EXT-X-TARGETDURATION:{}", self.target_duration)?;
        writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{}", self.media_sequence)?;
        writeln!(out, "#EXT-X-PLAYLIST-TYPE:VOD")?;
        if self.independent_segments {
            writeln!(out, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        }
        let mut in_force: Option<&SegmentKey> = None;
        for segment in &self.segments {
            if segment.discontinuity {
                writeln!(out, "#EXT-X-DISCONTINUITY")?;
            }
            match &segment.key {
                // An explicit IV belongs to one segment (KEY-012), so its tag is never left to the scope of an earlier one.
                Some(key) if key.iv.is_some() || in_force != Some(key) => writeln!(out, "#EXT-X-KEY:{key}")?,
                // A clear segment after an encrypted one, with no other attribute (KEY-011, KEY-002).
                None if in_force.is_some() => writeln!(out, "#EXT-X-KEY:METHOD=NONE")?,
                _ => {}
            }
            in_force = segment.key.as_ref();
            // The comma stays although there is no title (DUR-005).
            writeln!(out, "#EXTINF:{},\n{}", segment.duration, segment.uri)?;
        }
        writeln!(out, "#EXT-X-ENDLIST")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(number: u8, key: Option<SegmentKey>) -> MediaSegment {
        MediaSegment {
            uri: Uri::new(format!("{number:05}.ts")).unwrap(),
            duration: SegmentDuration::from_micros(6_006_000),
            key,
            discontinuity: false,
        }
    }

    fn key(uri: &str, iv: Option<[u8; 16]>) -> Option<SegmentKey> {
        Some(SegmentKey { uri: KeyUri::new(uri).unwrap(), iv })
    }

    fn playlist(segments: Vec<MediaSegment>) -> MediaPlaylist {
        MediaPlaylist { target_duration: 7, media_sequence: 0, independent_segments: false, segments }
    }

    #[test]
    fn an_encrypted_playlist_reads_as_expected() {
        let mut second = segment(1, key("/v1/keys/k", Some([0xab; 16])));
        second.discontinuity = true;
        second.duration = SegmentDuration::from_micros(1);
        let mut playlist = playlist(vec![segment(0, key("/v1/keys/k", Some(*b"\0\x01\x02\x03456789abcdef"))), second]);
        playlist.independent_segments = true;
        assert_eq!(
            playlist.render(),
            "#EXTM3U\n\
             #EXT-X-VERSION:3\n\
             #EXT-X-TARGETDURATION:7\n\
             #EXT-X-MEDIA-SEQUENCE:0\n\
             #EXT-X-PLAYLIST-TYPE:VOD\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-KEY:METHOD=AES-128,URI=\"/v1/keys/k\",IV=0x00010203343536373839616263646566\n\
             #EXTINF:6.006000,\n\
             00000.ts\n\
             #EXT-X-DISCONTINUITY\n\
             #EXT-X-KEY:METHOD=AES-128,URI=\"/v1/keys/k\",IV=0xABABABABABABABABABABABABABABABAB\n\
             #EXTINF:0.000001,\n\
             00001.ts\n\
             #EXT-X-ENDLIST\n"
        );
        assert_eq!(playlist.check(), Ok(()));
    }

    fn key_lines(segments: Vec<MediaSegment>) -> Vec<String> {
        let text = playlist(segments).render();
        let keep = |line: &&str| line.starts_with("#EXT-X-KEY:") || line.ends_with(".ts");
        text.lines().filter(keep).map(|line| line.replace("#EXT-X-KEY:METHOD=", "")).collect()
    }

    #[test]
    fn a_key_without_iv_is_written_when_it_changes() {
        let segments = vec![
            segment(0, key("a", None)),
            segment(1, key("a", None)),
            segment(2, key("b", None)),
            segment(3, key("b", Some([0; 16]))),
            segment(4, key("b", None)),
        ];
        let zero = "AES-128,URI=\"b\",IV=0x00000000000000000000000000000000";
        assert_eq!(
            key_lines(segments),
            [
                "AES-128,URI=\"a\"",
                "00000.ts",
                "00001.ts",
                "AES-128,URI=\"b\"",
                "00002.ts",
                zero,
                "00003.ts",
                "AES-128,URI=\"b\"",
                "00004.ts"
            ]
        );
    }

    #[test]
    fn an_explicit_iv_is_written_for_each_segment_even_if_it_repeats() {
        let lines = key_lines(vec![segment(0, key("a", Some([1; 16]))), segment(1, key("a", Some([1; 16])))]);
        assert_eq!(lines.iter().filter(|line| line.starts_with("AES-128")).count(), 2);
    }

    #[test]
    fn clear_segments_after_encrypted_ones_are_under_method_none() {
        let segments = vec![
            segment(0, None),
            segment(1, key("a", None)),
            segment(2, None),
            segment(3, None),
            segment(4, key("a", None)),
        ];
        assert_eq!(
            key_lines(segments),
            [
                "00000.ts",
                "AES-128,URI=\"a\"",
                "00001.ts",
                "NONE",
                "00002.ts",
                "00003.ts",
                "AES-128,URI=\"a\"",
                "00004.ts"
            ]
        );
    }

    #[test]
    fn a_playlist_without_segments_is_still_a_playlist() {
        let text = playlist(vec![]).render();
        assert!(text.starts_with("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:7\n"));
        assert!(text.ends_with("#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-ENDLIST\n"));
    }

    #[test]
    fn check_finds_long_segments_and_high_sequence_ivs() {
        let mut list = playlist(vec![segment(0, None), segment(1, key("a", None))]);
        list.target_duration = 6;
        let duration = SegmentDuration::from_micros(6_006_000);
        assert_eq!(list.check(), Err(MediaError::TooLong { index: 0, duration, target_duration: 6 }));
        list.target_duration = 0;
        assert_eq!(list.check(), Err(MediaError::ZeroTarget));
        list.target_duration = 7;
        list.media_sequence = MAX_SEQUENCE_IV - 1;
        assert_eq!(list.check(), Ok(()));
        list.media_sequence = MAX_SEQUENCE_IV;
        assert_eq!(list.check(), Err(MediaError::SequenceIv { index: 1, sequence: 1 << 31 }));
    }

    proptest! {
        #[test]
        fn a_playlist_holds_under_its_own_target(micros in prop::collection::vec(0_u64..20_000_000, 1..20)) {
            let mut list = playlist(micros.iter().map(|&m| {
                MediaSegment { duration: SegmentDuration::from_micros(m), ..segment(0, None) }
            }).collect());
            list.target_duration = target_duration(list.segments.iter().map(|s| s.duration), list.version());
            prop_assert_eq!(list.check(), Ok(()));
        }

    }
}
