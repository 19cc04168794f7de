//! What a finished run made: the figures of each rendition, and the playlists that tell them to players.

use std::collections::BTreeMap;

use crate::es::{self, VideoInfo};
use crate::ladder::{Access, CaptionTally, LeftOut, Selection};
use crate::playlist::bandwidth::{average, peak};
use crate::playlist::master::{CcGroup, CcMember, ClosedCaptions, MasterPlaylist, Variant};
use crate::playlist::media::{
    MediaPlaylist, MediaSegment, SegmentDuration, SegmentKey, round_durations, target_duration,
};
use crate::playlist::value::{CodecString, FrameRate, InstreamId, KeyUri, QuotedString, Resolution, Uri, VideoRange};
use crate::time::{Span, TICKS_PER_SECOND};

use super::conductor::{Align, Conductor};
use super::error::PackageError;
use super::sink::Stored;

/// A rendition as it was made.
#[derive(Debug, Clone)]
pub struct RenditionOutcome {
    /// Its name.
    pub name: String,
    /// Its media playlist, relative to DEST.
    pub playlist: String,
    /// Its segments in order, with the durations that the playlist has.
    pub segments: Vec<(Stored, SegmentDuration)>,
    /// BANDWIDTH and AVERAGE-BANDWIDTH, in bits per second of stored bytes (spec MVP-002 to MVP-004, AMB-19). They rest
    /// on the target duration of all renditions: [`playlists`] sets them.
    pub bandwidth: u64,
    /// See `bandwidth`.
    pub average_bandwidth: u64,
    /// CODECS, video first.
    pub codecs: Vec<String>,
    /// Display size.
    pub resolution: Option<Resolution>,
    /// The highest frame rate.
    pub frame_rate: Option<FrameRate>,
    /// Transfer characteristics.
    pub video_range: VideoRange,
    /// What it carries.
    pub selection: Selection,
    /// The input's name.
    pub source: String,
    /// What was added to its timestamps.
    pub shift: Span,
    /// How its captions were seen.
    pub captions: CaptionTally,
    /// How much earlier than the video its audio starts.
    pub audio_lead: Option<Span>,
    /// Whether all its segments decode on their own (spec IND-001).
    pub independent: bool,
}

impl RenditionOutcome {
    /// Presentation duration in microseconds.
    #[must_use]
    pub fn duration_us(&self) -> u64 {
        self.segments.iter().map(|(_, duration)| duration.micros()).sum()
    }

    /// Bytes stored.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|(stored, _)| stored.bytes).sum()
    }

    /// What it leaves out.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.selection.left_out
    }
}

/// Gathers what the engines stored into renditions.
///
/// # Errors
/// When a rendition has no segment.
pub fn gather(
    conductor: &mut Conductor,
    sources: &[String],
    stored: Vec<Stored>,
) -> Result<Vec<RenditionOutcome>, PackageError> {
    let mut by_rendition: BTreeMap<usize, Vec<Stored>> = BTreeMap::new();
    for one in stored {
        by_rendition.entry(one.rendition).or_default().push(one);
    }
    let count = conductor.renditions().len();
    let mut out = Vec::with_capacity(count);
    for number in 0..count {
        let mut segments = by_rendition.remove(&number).unwrap_or_default();
        segments.sort_by_key(|stored| stored.segment.index);
        let captions = conductor.captions(number);
        let codecs = conductor.distinct_codecs(number);
        let Some(rendition) = conductor.renditions().get_mut(number) else {
            continue;
        };
        let plan = rendition.plan.clone();
        if segments.is_empty() {
            return Err(crate::ladder::LadderError::NoKeyFrame { rendition: plan.name }.into());
        }
        let durations = printed(&segments);
        out.push(RenditionOutcome {
            playlist: format!("{}/index.m3u8", plan.name),
            bandwidth: 0,
            average_bandwidth: 0,
            codecs,
            resolution: rendition.videos.iter().max_by_key(|v| v.display_width * v.height).and_then(resolution),
            frame_rate: frame_rate(&rendition.videos, rendition.shortest),
            video_range: video_range(&rendition.videos),
            source: sources.get(plan.input).cloned().unwrap_or_default(),
            shift: plan.shift,
            captions,
            audio_lead: rendition.cutter().side_lead(),
            independent: segments.iter().all(|stored| stored.segment.access == Access::Clean),
            name: plan.name,
            selection: plan.selection,
            segments: segments.into_iter().zip(durations).collect(),
        });
    }
    Ok(out)
}

fn printed(segments: &[Stored]) -> Vec<SegmentDuration> {
    let mut end = 0i64;
    let ends: Vec<i64> = segments
        .iter()
        .map(|stored| {
            end = end.saturating_add(stored.segment.duration.ticks());
            end
        })
        .collect();
    round_durations(&ends)
}

fn resolution(video: &VideoInfo) -> Option<Resolution> {
    (video.display_width > 0 && video.height > 0)
        .then_some(Resolution { width: video.display_width, height: video.height })
}

/// The highest frame rate: what the parameters say where they fix it, else the shortest step (spec TS-045).
fn frame_rate(videos: &[VideoInfo], shortest: Option<Span>) -> Option<FrameRate> {
    let told = videos.iter().filter(|video| video.fixed_frame_rate).filter_map(|video| video.frame_rate);
    let told = told.max_by(|a, b| a.per_second().total_cmp(&b.per_second()));
    let measured = shortest.filter(|step| step.ticks() > 0);
    match (told, measured) {
        (Some(rate), _) => FrameRate::new(rate.num, rate.den).ok(),
        (None, Some(step)) => FrameRate::new(TICKS_PER_SECOND as u32, u32::try_from(step.ticks()).ok()?).ok(),
        (None, None) => None,
    }
}

fn video_range(videos: &[VideoInfo]) -> VideoRange {
    let ranges = videos.iter().map(|video| match video.range {
        es::VideoRange::Sdr => VideoRange::Sdr,
        es::VideoRange::Hlg => VideoRange::Hlg,
        es::VideoRange::Pq => VideoRange::Pq,
    });
    ranges
        .max_by_key(|range| match range {
            VideoRange::Sdr => 0,
            VideoRange::Hlg => 1,
            VideoRange::Pq => 2,
        })
        .unwrap_or_default()
}

/// The playlists of a package.
#[derive(Debug)]
pub struct Playlists {
    /// The multivariant playlist's text.
    pub master: String,
    /// Path and text of each media playlist.
    pub media: Vec<(String, String)>,
    /// EXT-X-TARGETDURATION of all of them, in seconds.
    pub target_duration: u64,
}

/// Writes the playlists, and the bandwidths into the renditions: both rest on the common target duration.
///
/// # Errors
/// When a value cannot stand in a playlist, which is a bug.
pub fn playlists(
    renditions: &mut [RenditionOutcome],
    key_uri: impl Fn(&str) -> Result<Option<KeyUri>, PackageError>,
) -> Result<Playlists, PackageError> {
    let bug = |error: String| PackageError::Internal(error);
    let mut lists = Vec::with_capacity(renditions.len());
    let mut session_keys: Vec<KeyUri> = Vec::new();
    for rendition in renditions.iter() {
        let uri = key_uri(&rendition.name)?;
        if let Some(uri) = &uri
            && !session_keys.contains(uri)
        {
            session_keys.push(uri.clone());
        }
        let segments = rendition.segments.iter().map(|(stored, duration)| {
            let name = stored.path.rsplit('/').next().unwrap_or_default();
            Ok(MediaSegment {
                uri: Uri::new(name).map_err(|error| bug(error.to_string()))?,
                duration: *duration,
                key: uri.clone().map(|uri| SegmentKey { uri, iv: stored.iv.map(|iv| iv.bytes()) }),
                discontinuity: stored.segment.discontinuity,
            })
        });
        lists.push(MediaPlaylist {
            target_duration: 1,
            media_sequence: 0,
            independent_segments: rendition.independent,
            segments: segments.collect::<Result<_, PackageError>>()?,
        });
    }
    let common = lists
        .iter()
        .map(|list| target_duration(list.segments.iter().map(|segment| segment.duration), list.version()))
        .max()
        .unwrap_or(1);
    let mut media = Vec::with_capacity(lists.len());
    for (list, rendition) in lists.iter_mut().zip(renditions.iter_mut()) {
        list.target_duration = common;
        list.check().map_err(|error| bug(error.to_string()))?;
        media.push((rendition.playlist.clone(), list.render()));
        let sizes: Vec<(u64, u64)> = rendition.segments.iter().map(|(s, d)| (s.bytes, d.micros())).collect();
        rendition.bandwidth = peak(&sizes, common);
        rendition.average_bandwidth = average(&sizes);
    }
    let captions = captions(renditions);
    let variants = renditions.iter().zip(&captions).map(|(rendition, captions)| {
        let codecs = rendition.codecs.iter().map(|codec| CodecString::new(codec.clone()));
        Ok(Variant {
            uri: Uri::new(rendition.playlist.clone()).map_err(|error| bug(error.to_string()))?,
            bandwidth: rendition.bandwidth,
            average_bandwidth: rendition.average_bandwidth,
            codecs: codecs.collect::<Result<_, _>>().map_err(|error| bug(error.to_string()))?,
            resolution: rendition.resolution,
            frame_rate: rendition.frame_rate,
            video_range: rendition.video_range,
            closed_captions: captions.clone(),
        })
    });
    let grouped = captions.iter().any(|captions| matches!(captions, ClosedCaptions::Group(_)));
    let master = MasterPlaylist {
        // It stands in the media playlists, each for itself; said twice it could only disagree (spec IND-002).
        independent_segments: false,
        variants: variants.collect::<Result<_, PackageError>>()?,
        session_keys,
        closed_caption_groups: if grouped { vec![caption_group()?] } else { Vec::new() },
    };
    let master = master.render().map_err(|error| bug(error.to_string()))?;
    Ok(Playlists { master, media, target_duration: common })
}

const CAPTIONS: &str = "cc";

fn caption_group() -> Result<CcGroup, PackageError> {
    let text = |text: &str| QuotedString::new(text).map_err(|error| PackageError::Internal(error.to_string()));
    let instream_id = InstreamId::cc(1).map_err(|error| PackageError::Internal(error.to_string()))?;
    let member = CcMember { instream_id, name: text("CC1")?, language: None };
    Ok(CcGroup { group: text(CAPTIONS)?, members: vec![member] })
}

/// What each variant says of captions: a group where some were seen; NONE only when every access unit of every
/// rendition was looked at and had none; else nothing (spec MVP-010, MVP-012).
fn captions(renditions: &[RenditionOutcome]) -> Vec<ClosedCaptions> {
    let surely_none = |rendition: &RenditionOutcome| {
        let video = rendition.selection.role(crate::ladder::Role::Video).is_some();
        let tally = rendition.captions;
        !video || (tally.units > 0 && tally.with_captions == 0 && !tally.unseen)
    };
    let any_video = renditions.iter().any(|rendition| rendition.captions.units > 0);
    if any_video && renditions.iter().all(surely_none) {
        return vec![ClosedCaptions::None; renditions.len()];
    }
    let group = |rendition: &RenditionOutcome| match QuotedString::new(CAPTIONS) {
        Ok(group) if rendition.captions.with_captions > 0 => ClosedCaptions::Group(group),
        _ => ClosedCaptions::Absent,
    };
    renditions.iter().map(group).collect()
}

/// The worst hole or overlap of audio that a switch between renditions meets: audio is cut at whole PES packets, and
/// encoders fill these differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioSwitch {
    /// How far apart the renditions' audio begins.
    pub apart: Span,
    /// The segment at which that is so.
    pub segment: u64,
}

/// Finds the worst switch of audio; None where no two renditions have audio beside video.
#[must_use]
pub fn audio_switch(renditions: &[RenditionOutcome]) -> Option<AudioSwitch> {
    let mut lags: BTreeMap<u64, Vec<Span>> = BTreeMap::new();
    for (stored, _) in renditions.iter().flat_map(|rendition| &rendition.segments) {
        if let Some(lag) = stored.segment.audio_lag {
            lags.entry(stored.segment.index).or_default().push(lag);
        }
    }
    let spread = |(segment, lags): (u64, Vec<Span>)| {
        let (least, most) = (lags.iter().min()?, lags.iter().max()?);
        (lags.len() > 1).then(|| AudioSwitch { apart: most.minus(*least), segment })
    };
    lags.into_iter().filter_map(spread).max_by_key(|switch| switch.apart)
}

/// What a person should know of a package that no player reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// A stable name.
    pub code: &'static str,
    /// The rendition it is about.
    pub rendition: Option<String>,
    /// What is the matter.
    pub message: String,
}

/// The warnings of a finished package. `longest` is the duration beyond which a segment is worth one.
#[must_use]
pub fn warnings(renditions: &[RenditionOutcome], align: Align, longest: Span) -> Vec<Warning> {
    let mut out = Vec::new();
    if align == Align::Off && renditions.len() > 1 {
        let message = "each rendition is cut on its own grid; players that switch between them may stall or repeat";
        out.push(Warning { code: "not-aligned", rendition: None, message: message.to_owned() });
    }
    for rendition in renditions {
        let mut warn = |code, message: &str| {
            out.push(Warning { code, rendition: Some(rendition.name.clone()), message: message.to_owned() });
        };
        let codecs = |codec| rendition.selection.streams.iter().any(|stream| stream.codec == codec);
        if codecs(es::Codec::Hevc) {
            warn(
                "hevc-in-ts",
                "HEVC in MPEG-TS is refused by Apple's players, which want it in fMP4, and by most browsers",
            );
        }
        if codecs(es::Codec::Eac3) {
            warn(
                "eac3-in-ts",
                "E-AC-3 in MPEG-TS is refused by hls.js, and browsers without Dolby decoders do not play it",
            );
        }
        if codecs(es::Codec::Ac3) {
            warn("ac3", "AC-3 is not decoded by Chromium and Firefox");
        }
        if codecs(es::Codec::Mp2) {
            warn("mp2", "MPEG audio layer II is not an HLS codec; many players refuse it");
        }
        if !rendition.independent {
            let message = "some segments do not begin with an IDR picture and its parameter sets (open GOPs), so \
                           EXT-X-INDEPENDENT-SEGMENTS is absent and players may fail when they seek or switch";
            warn("open-gop", message);
        }
        let long = rendition.segments.iter().map(|(_, duration)| duration.micros()).max().unwrap_or(0);
        if long as f64 / 1e6 > longest.seconds() {
            let message = format!(
                "the longest segment lasts {:.3} s, because key frames lie that far apart; encode with one at least every {:.0} s",
                long as f64 / 1e6,
                longest.seconds() / 1.5,
            );
            warn("long-segments", &message);
        }
        if let Some(lead) = rendition.audio_lead
            && lead.abs() > crate::limits::SHIFT_NEAR
        {
            let word = if lead > Span::ZERO { "before" } else { "after" };
            warn("audio-start", &format!("the audio starts {} {word} the video", lead.abs()));
        }
        let dropped = rendition.codecs.is_empty();
        if dropped {
            warn("no-codecs", "the codec parameters could not be read, so CODECS is absent");
        }
    }
    out
}
