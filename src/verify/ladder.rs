//! Renditions against each other, and against what the multivariant playlist says of them.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Seen, Ts};
use super::finding::{Findings, Place};
use super::model::{Master, Media, Variant};
use super::rule::ladder as rule;
use super::timeline::Measured;
use crate::es::VideoRange;
use crate::limits;

/// A media playlist and what its segments showed.
pub struct Rendition<'a> {
    /// What the report calls it.
    pub resource: &'a str,
    /// Its URL.
    pub url: &'a str,
    /// What it says.
    pub playlist: &'a Media,
    /// What its segments showed.
    pub seen: &'a [Option<Seen>],
    /// What they are on the clock.
    pub measured: &'a [Measured],
}

impl<'a> Rendition<'a> {
    fn ts(&self) -> impl Iterator<Item = &'a Ts> {
        self.seen.iter().filter_map(|seen| seen.as_ref()?.ts.as_ref())
    }

    /// Bytes and seconds of every segment, when all are known.
    fn sizes(&self) -> Option<Vec<(u64, f64)>> {
        let sizes = self.playlist.segments.iter().zip(self.seen).filter(|(segment, _)| !segment.gap);
        let sizes: Option<Vec<_>> = sizes
            .map(|(segment, seen)| Some((seen.as_ref().filter(|seen| seen.stored > 0)?.stored, segment.duration)))
            .collect();
        sizes.filter(|sizes| !sizes.is_empty() && sizes.len() <= self.seen.len())
    }

    /// Peak and average bit rate.
    #[must_use]
    pub fn rates(&self) -> Option<(f64, f64)> {
        let sizes = self.sizes()?;
        Some((peak(&sizes, self.playlist.target.unwrap_or(6) as f64), average(&sizes)))
    }
}

/// Bits per second of all together.
fn average(sizes: &[(u64, f64)]) -> f64 {
    let (bytes, seconds) = sizes.iter().fold((0.0, 0.0), |sum, size| (sum.0 + size.0 as f64, sum.1 + size.1));
    if seconds > 0.0 { bytes * 8.0 / seconds } else { 0.0 }
}

/// The peak segment bit rate (MVP-003): of runs that last half to one and a half target durations and half a second.
fn peak(sizes: &[(u64, f64)], target: f64) -> f64 {
    let (least, most) = (target * 0.5, target * 1.5 + 0.5);
    let mut peak: f64 = 0.0;
    for from in 0..sizes.len() {
        let (mut bytes, mut seconds) = (0.0, 0.0);
        for size in sizes.iter().skip(from).take(limits::VERIFY_RUN) {
            bytes += size.0 as f64;
            seconds += size.1;
            if seconds > most {
                break;
            }
            if seconds >= least {
                peak = peak.max(bytes * 8.0 / seconds);
            }
        }
    }
    // One segment longer than any such run, or a playlist shorter than one.
    if peak > 0.0 {
        peak
    } else {
        sizes.iter().map(|size| if size.1 > 0.0 { size.0 as f64 * 8.0 / size.1 } else { 0.0 }).fold(0.0, f64::max)
    }
}

/// Checks renditions of one presentation against each other. Subtitles and I-frame playlists are not among them.
pub fn together(all: &[Rendition<'_>], findings: &mut Findings) {
    let Some((first, others)) = all.split_first() else { return };
    let most = |a: Option<&Measured>, b: Option<&Measured>| a.map_or(0.0, |a| a.frame).max(b.map_or(0.0, |b| b.frame));
    for other in others {
        let place = Place::of(other.resource);
        let (a, b) = (first.playlist, other.playlist);
        if a.target != b.target {
            let place = place.clone().line(b.target_line.max(1));
            findings.add(
                &rule::TARGET_DIFFERS,
                place,
                format!("{:?}, {} has {:?}", b.target.unwrap_or(0), first.resource, a.target.unwrap_or(0)),
            );
        }
        if a.kind != b.kind {
            let text = |kind: &Option<String>| kind.clone().unwrap_or_else(|| "none".to_owned());
            findings.add(
                &rule::TYPE_DIFFERS,
                place.clone(),
                format!("{}, {} has {}", text(&b.kind), first.resource, text(&a.kind)),
            );
        }
        let dated = |media: &Media| media.segments.iter().any(|segment| segment.date.is_some());
        if dated(a) != dated(b) {
            findings.add(&rule::DATE_SOME, place.clone(), if dated(b) { "it has dates" } else { "it has none" });
        }
        if !a.ended || !b.ended {
            continue;
        }
        let tags = |media: &Media| {
            media.segments.iter().filter(|segment| segment.discontinuity).map(|s| s.start).collect::<Vec<_>>()
        };
        let (breaks_a, breaks_b) = (tags(a), tags(b));
        let apart = breaks_a.iter().zip(&breaks_b).any(|(a, b)| (a - b).abs() > 0.5);
        if breaks_a.len() != breaks_b.len() || apart || a.discontinuity_sequence != b.discontinuity_sequence {
            let seen = format!(
                "{} discontinuities from {}, {} has {} from {}",
                breaks_b.len(),
                b.discontinuity_sequence,
                first.resource,
                breaks_a.len(),
                a.discontinuity_sequence
            );
            findings.add(&rule::DISCONTINUITY_DIFFERS, place.clone(), seen);
        }
        let lasts = b.duration() - a.duration();
        if lasts.abs() > a.target.unwrap_or(6) as f64 {
            findings.add(
                &rule::LENGTH_DIFFERS,
                place.clone(),
                format!("{:.3} s, {} {:.3} s", b.duration(), first.resource, a.duration()),
            );
        }
        if a.sequence != b.sequence && a.segments.len() == b.segments.len() {
            findings.add(
                &rule::SEQUENCE_DIFFERS,
                place.clone(),
                format!("begins with {}, {} with {}", b.sequence, first.resource, a.sequence),
            );
        }
        aligned(first, other, &most, findings);
    }
}

fn aligned(
    first: &Rendition<'_>,
    other: &Rendition<'_>,
    most: &impl Fn(Option<&Measured>, Option<&Measured>) -> f64,
    findings: &mut Findings,
) {
    let place = |n: usize| {
        let segment = other.playlist.segments.get(n);
        let place = Place::of(other.resource);
        segment.map_or(place.clone(), |s| place.line(s.line).segment(s.number).time(s.start))
    };
    let (a, b) = (first.measured.first(), other.measured.first());
    if let (Some(start_a), Some(start_b)) = (a.and_then(|a| a.start), b.and_then(|b| b.start)) {
        let off = (start_b - start_a) as f64 / 90_000.0;
        if off.abs() > (2.0 * most(a, b)).max(0.2) {
            findings.add(&rule::START_DIFFERS, place(0), format!("{off:+.3} s from {}", first.resource));
            return;
        }
    }
    // Audio alone is cut between audio frames.
    let video = |rendition: &Rendition<'_>| rendition.ts().any(|ts| ts.video().is_some());
    let slack = if video(first) && video(other) { 1.01 } else { 3.0 };
    // Audio frames do not end where pictures do, so audio may have one segment more.
    let most_apart = usize::from(!(video(first) && video(other)));
    if first.playlist.segments.len().abs_diff(other.playlist.segments.len()) > most_apart {
        let seen = format!(
            "{} segments, {} has {}",
            other.playlist.segments.len(),
            first.resource,
            first.playlist.segments.len()
        );
        return findings.add(&rule::MISALIGNED, place(0), seen);
    }
    for (n, (a, b)) in first.measured.iter().zip(other.measured).enumerate() {
        let (Some(start_a), Some(start_b)) = (a.start, b.start) else { continue };
        let off = (start_b - start_a) as f64 / 90_000.0;
        if off.abs() > slack * most(Some(a), Some(b)) + 0.002 {
            findings.add(&rule::MISALIGNED, place(n), format!("{off:+.3} s from {}", first.resource));
        }
    }
}

/// Checks what the multivariant playlist says of each variant.
pub fn declared(resource: &str, master: &Master, all: &[Rendition<'_>], findings: &mut Findings) {
    let of = |url: Option<&url::Url>| url.and_then(|url| all.iter().find(|rendition| rendition.url == url.as_str()));
    let videos = master
        .variants
        .iter()
        .filter(|variant| of(variant.url.as_ref()).is_some_and(|r| r.ts().any(|ts| ts.video().is_some())));
    if videos.count() == 1 && master.variants.len() == 1 {
        findings.add(&rule::ALONE, Place::of(resource), "");
    }
    for variant in &master.variants {
        let Some(own) = of(variant.url.as_ref()) else { continue };
        let place = || Place::of(resource).line(variant.line);
        // Every group plays with the variant; its largest member decides.
        let grouped: Vec<Vec<&Rendition<'_>>> = variant
            .groups
            .iter()
            .filter(|(kind, _)| matches!(*kind, "AUDIO" | "VIDEO"))
            .map(|(kind, group)| {
                let members = master.renditions.iter().filter(|r| r.kind == *kind && r.group == *group);
                let members = members.filter_map(|r| of(r.url.as_ref())).filter(|r| r.url != own.url);
                members.map(|r| (r.url, r)).collect::<BTreeMap<_, _>>().into_values().collect()
            })
            .collect();
        rates(variant, own, &grouped, findings, &place);
        let streams: Vec<&Ts> = own.ts().chain(grouped.iter().flatten().flat_map(|r| r.ts())).collect();
        if !streams.is_empty() {
            codecs(variant, own, &grouped, findings, &place);
        }
        picture(variant, own, findings, &place);
        captions(master, variant, own, findings, &place);
    }
}

fn rates(
    variant: &Variant,
    own: &Rendition<'_>,
    grouped: &[Vec<&Rendition<'_>>],
    findings: &mut Findings,
    place: &impl Fn() -> Place,
) {
    let Some((mut peak, mut average)) = own.rates().filter(|_| own.playlist.ended) else { return };
    for group in grouped {
        let rates: Option<Vec<_>> = group.iter().map(|member| member.rates()).collect();
        let Some(rates) = rates else { return };
        peak += rates.iter().map(|rate| rate.0).fold(0.0, f64::max);
        average += rates.iter().map(|rate| rate.1).fold(0.0, f64::max);
    }
    if let Some(declared) = variant.bandwidth.map(|rate| rate as f64) {
        let seen = format!("BANDWIDTH={declared}, measured {peak:.0}");
        if peak > declared * 1.1 {
            findings.add(&rule::BANDWIDTH_LOW, place(), seen);
        } else if peak < declared * 0.9 {
            findings.add(&rule::BANDWIDTH_HIGH, place(), seen);
        }
    }
    if let Some(declared) = variant.average.map(|rate| rate as f64)
        && (declared - average).abs() > average * 0.1
    {
        findings.add(&rule::AVERAGE_WRONG, place(), format!("AVERAGE-BANDWIDTH={declared}, measured {average:.0}"));
    }
    if peak > average * 2.0 {
        findings.add(&rule::PEAK_RATIO, place(), format!("{peak:.0} and {average:.0}"));
    }
}

/// What a CODECS entry is of, whatever its profile.
fn family(codec: &str) -> &str {
    let name = codec.split('.').next().unwrap_or_default();
    match (name, codec) {
        ("avc1" | "avc3", _) => "H.264",
        ("hvc1" | "hev1" | "dvh1" | "dvhe", _) => "HEVC",
        (_, "mp4a.40.34" | "mp4a.69" | "mp4a.6B" | "mp4a.6b" | "mp4a.40.33") => "MPEG audio",
        ("mp4a", _) => "AAC",
        ("ac-3", _) => "AC-3",
        ("ec-3", _) => "E-AC-3",
        _ => "other",
    }
}

/// How well a declared entry names what is there.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    Exact,
    Inexact,
    Profile,
    None,
}

fn matches(declared: &str, found: &str) -> Match {
    if declared.eq_ignore_ascii_case(found) {
        return Match::Exact;
    }
    if family(declared) != family(found) {
        return Match::None;
    }
    match family(found) {
        // A frame header says LC for HE-AAC, too (TS-043).
        "AAC" if matches!(declared, "mp4a.40.2" | "mp4a.40.5" | "mp4a.40.29") && found == "mp4a.40.2" => Match::Exact,
        "MPEG audio" => Match::Exact,
        "H.264" => {
            let bytes = |codec: &str| codec.split('.').nth(1).map(str::to_ascii_lowercase).unwrap_or_default();
            let (a, b) = (bytes(declared), bytes(found));
            let same = a.len() == 6 && a.get(..2) == b.get(..2) && a.get(4..) == b.get(4..);
            if same && a == b {
                Match::Exact
            } else if same {
                Match::Inexact
            } else {
                Match::Profile
            }
        }
        "HEVC" => {
            let parts = |codec: &str| codec.split('.').skip(1).take(3).map(str::to_ascii_lowercase).collect::<Vec<_>>();
            let (a, b) = (parts(declared), parts(found));
            if a == b {
                Match::Exact
            } else if a.first() == b.first() && a.last() == b.last() {
                Match::Inexact
            } else {
                Match::Profile
            }
        }
        _ => Match::Profile,
    }
}

fn codecs(
    variant: &Variant,
    own: &Rendition<'_>,
    grouped: &[Vec<&Rendition<'_>>],
    findings: &mut Findings,
    place: &impl Fn() -> Place,
) {
    let Some(declared) = &variant.codecs else { return };
    let declared: Vec<&str> = declared.split(',').map(str::trim).collect();
    let mut found = BTreeSet::new();
    for ts in own.ts().chain(grouped.iter().flatten().flat_map(|rendition| rendition.ts())) {
        found.extend(ts.streams.iter().filter_map(|stream| Some(stream.video.as_ref()?.info.as_ref()?.codecs.clone())));
        // Players take the first of several audio streams.
        found.extend(ts.audio().and_then(|audio| Some(audio.info.as_ref()?.codecs.clone())));
    }
    for codec in &found {
        let best = declared.iter().map(|declared| matches(declared, codec)).min().unwrap_or(Match::None);
        let seen = format!("the streams have {codec}, CODECS is {:?}", declared.join(","));
        match best {
            Match::Exact => {}
            Match::Inexact => findings.add(&rule::CODECS_PROFILE, place(), seen),
            Match::Profile | Match::None => findings.add(&rule::CODECS_WRONG, place(), seen),
        }
    }
    // What was not decrypted or is not of transport streams is not known.
    let whole = std::iter::once(own)
        .chain(grouped.iter().flatten().copied())
        .all(|rendition| rendition.seen.iter().all(|seen| seen.as_ref().is_some_and(|seen| seen.ts.is_some())));
    for declared in declared.iter().filter(|declared| whole && family(declared) != "other") {
        if !found.iter().any(|found| family(found) == family(declared)) {
            findings.add(&rule::CODECS_SURPLUS, place(), declared);
        }
    }
}

fn picture(variant: &Variant, own: &Rendition<'_>, findings: &mut Findings, place: &impl Fn() -> Place) {
    let Some(video) = own.ts().find_map(|ts| ts.video().filter(|video| video.info.is_some())) else { return };
    let Some(info) = &video.info else { return };
    let size = (u64::from(info.width), u64::from(info.height));
    let shown = (u64::from(info.display_width), u64::from(info.height));
    match variant.resolution {
        Some(declared) if declared != size && declared != shown => {
            findings.add(
                &rule::RESOLUTION,
                place(),
                format!("{}x{}, the pictures have {}x{}", declared.0, declared.1, size.0, size.1),
            );
        }
        Some(_) => {}
        None => findings.add(&super::rule::master::RESOLUTION_MISSING, place(), format!("{}x{}", size.0, size.1)),
    }
    let mut steps: Vec<i64> = own.ts().filter_map(Ts::video).map(|video| video.step).filter(|step| *step > 0).collect();
    steps.sort_unstable();
    let measured = steps.get(steps.len() / 2).map(|step| 90_000.0 / *step as f64);
    let stated = info.frame_rate.map(|rate| rate.per_second());
    match variant.frame_rate {
        Some(declared) => {
            // A PES packet may hold two pictures, and a picture be two fields.
            let rates =
                [stated, stated.map(|r| r / 2.0), measured, measured.map(|r| r * 2.0), measured.map(|r| r / 2.0)];
            let near = rates.iter().flatten().any(|rate| (rate - declared).abs() <= rate * 0.01 + 0.002);
            if !near && (stated.is_some() || measured.is_some()) {
                findings.add(
                    &rule::FRAME_RATE,
                    place(),
                    format!("{declared}, the pictures have {:.3}", measured.or(stated).unwrap_or(0.0)),
                );
            }
        }
        None => {
            findings.add(&super::rule::master::RATE_MISSING, place(), "");
            if measured.is_some_and(|rate| rate > 30.5) {
                findings.add(
                    &super::rule::master::RATE_MISSING_HIGH,
                    place(),
                    format!("{:.3}", measured.unwrap_or(0.0)),
                );
            }
        }
    }
    let range = match info.range {
        VideoRange::Sdr => "SDR",
        VideoRange::Hlg => "HLG",
        VideoRange::Pq => "PQ",
    };
    let declared = variant.range.as_deref().unwrap_or("SDR");
    if declared != range {
        findings.add(&rule::VIDEO_RANGE, place(), format!("{declared}, the video states {range}"));
    }
}

fn captions(
    master: &Master,
    variant: &Variant,
    own: &Rendition<'_>,
    findings: &mut Findings,
    place: &impl Fn() -> Place,
) {
    let present = own.ts().any(|ts| ts.video().is_some_and(|video| video.captions));
    let whole = own.seen.iter().all(|seen| seen.as_ref().is_some_and(|seen| seen.ts.is_some()));
    let group = variant.groups.iter().find(|(kind, _)| *kind == "CLOSED-CAPTIONS");
    let announced = group
        .is_some_and(|(_, group)| master.renditions.iter().any(|r| r.kind == "CLOSED-CAPTIONS" && r.group == *group));
    if announced && !present && whole {
        findings.add(&rule::CAPTIONS_ABSENT, place(), "");
    }
    if present && variant.no_captions {
        findings.add(&rule::CAPTIONS_UNDECLARED, place(), "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playlist::bandwidth;
    use proptest::prelude::*;

    #[test]
    fn codecs_are_compared_by_what_players_take() {
        assert!(matches("avc1.64001F", "avc1.64001f") == Match::Exact);
        assert!(matches("avc1.64001f", "avc1.64101f") == Match::Inexact);
        assert!(matches("avc1.42001f", "avc1.64001f") == Match::Profile);
        assert!(matches("mp4a.40.5", "mp4a.40.2") == Match::Exact);
        assert!(matches("mp4a.40.2", "mp4a.40.34") == Match::None);
        assert!(matches("hvc1.1.6.L93.B0", "hvc1.1.6.L93.90") == Match::Exact);
        assert!(matches("hvc1.2.4.L93.B0", "hvc1.1.6.L93.90") == Match::Profile);
    }

    proptest! {
        /// Two readings of one definition, by two pieces of code.
        #[test]
        fn the_peak_is_the_writers(sizes in prop::collection::vec((1_u64..1_000_000, 2_000_000_u64..6_000_000), 2..20)) {
            let own: Vec<_> = sizes.iter().map(|(bytes, micros)| (*bytes, *micros as f64 / 1e6)).collect();
            let writers = bandwidth::peak(&sizes, 4) as f64;
            prop_assert!((peak(&own, 4.0) - writers).abs() <= 2.0 + writers * 1e-6);
        }
    }
}
