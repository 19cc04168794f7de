//! Media playlists: their segments, and what RFC 8216 4.3.2 and 4.3.3 say against them.

use std::sync::Arc;

use super::attribute;
use super::finding::Place;
use super::lines::{Kind, Line};
use super::model::{Key, Map, Media, Method, Segment};
use super::parse::Reader;
use super::rule::{key as key_rule, media as rule, playlist as playlist_rule, target as target_rule};
use crate::limits;

/// What was said since the last segment.
#[derive(Default)]
struct Pending {
    extinf: Option<(usize, f64)>,
    range: Option<(usize, u64, Option<u64>)>,
    discontinuity: bool,
    gap: bool,
    date: Option<f64>,
}

/// The reading of one playlist.
struct State {
    media: Media,
    pending: Pending,
    keys: Vec<Arc<Key>>,
    map: Option<Arc<Map>>,
    bitrate: Option<u64>,
    start: f64,
    dates: bool,
    ranges: Option<usize>,
    full: bool,
}

pub(super) fn read(reader: &mut Reader<'_, '_>, lines: &[Line<'_>]) -> Media {
    let media = Media { version: reader.version(), ..Media::default() };
    let mut state = State {
        media,
        pending: Pending::default(),
        keys: Vec::new(),
        map: None,
        bitrate: None,
        start: 0.0,
        dates: false,
        ranges: None,
        full: false,
    };
    // Tags for the whole may stand anywhere, and decide how segments are read.
    for line in lines {
        if let Kind::Tag { name, value } = line.kind {
            state.whole(reader, line.number, name, value);
        }
    }
    let (mut low_latency, mut segments) = (None, 0_usize);
    let mut discontinuities = 0_usize;
    for line in lines {
        match line.kind {
            Kind::Tag { name, value } => {
                match name {
                    "EXT-X-MEDIA-SEQUENCE" if segments > 0 => {
                        reader.findings.add(
                            &rule::SEQUENCE_LATE,
                            reader.place(line.number),
                            format!("after {segments} segments"),
                        );
                    }
                    "EXT-X-DISCONTINUITY-SEQUENCE" if segments + discontinuities > 0 => {
                        let place = reader.place(line.number);
                        reader.findings.add(
                            &rule::DISCONTINUITY_SEQUENCE_LATE,
                            place,
                            format!("after {segments} segments"),
                        );
                    }
                    "EXT-X-DISCONTINUITY" => discontinuities += 1,
                    "EXT-X-PART" | "EXT-X-PART-INF" | "EXT-X-PRELOAD-HINT" | "EXT-X-SKIP" => {
                        low_latency.get_or_insert((line.number, name));
                    }
                    _ => {}
                }
                state.tag(reader, line.number, name, value);
            }
            Kind::Uri(uri) => {
                segments += 1;
                state.segment(reader, line.number, uri);
            }
        }
    }
    if let Some((line, name)) = low_latency {
        reader.findings.add(&rule::LOW_LATENCY, reader.place(line), name);
    }
    state.end(reader);
    state.media
}

impl State {
    fn whole(&mut self, reader: &mut Reader<'_, '_>, line: usize, name: &str, value: Option<&str>) {
        let place = reader.place(line);
        let text = value.unwrap_or_default();
        let number = attribute::integer(text);
        match name {
            "EXT-X-TARGETDURATION" => {
                self.media.target = number.filter(|number| *number > 0).or(self.media.target);
                self.media.target_line = line;
                if number.is_none_or(|number| number == 0) {
                    reader.findings.add(&rule::TARGET_SYNTAX, place, text);
                }
            }
            "EXT-X-MEDIA-SEQUENCE" | "EXT-X-DISCONTINUITY-SEQUENCE" => {
                let Some(number) = number else {
                    return reader.findings.add(&playlist_rule::TAG_VALUE, place, format!("{name}:{text}"));
                };
                let field = if name == "EXT-X-MEDIA-SEQUENCE" {
                    &mut self.media.sequence
                } else {
                    &mut self.media.discontinuity_sequence
                };
                *field = number;
            }
            "EXT-X-PLAYLIST-TYPE" => {
                if !matches!(text, "VOD" | "EVENT") {
                    reader.findings.add(&rule::TYPE_SYNTAX, place, text);
                }
                self.media.kind = Some(text.to_owned());
            }
            "EXT-X-ENDLIST" => self.media.ended = true,
            "EXT-X-INDEPENDENT-SEGMENTS" => self.media.independent = true,
            "EXT-X-I-FRAMES-ONLY" => self.media.iframes = true,
            _ => {}
        }
    }

    fn tag(&mut self, reader: &mut Reader<'_, '_>, line: usize, name: &str, value: Option<&str>) {
        let place = reader.place(line);
        let text = value.unwrap_or_default();
        match name {
            "EXTINF" => self.extinf(reader, line, text),
            "EXT-X-BYTERANGE" => match range(text) {
                Some((length, offset)) => self.pending.range = Some((line, length, offset)),
                None => reader.findings.add(&rule::BYTERANGE_SYNTAX, place, text),
            },
            "EXT-X-DISCONTINUITY" => self.pending.discontinuity = true,
            "EXT-X-GAP" => self.pending.gap = true,
            "EXT-X-BITRATE" => match attribute::integer(text) {
                Some(rate) => self.bitrate = Some(rate),
                None => reader.findings.add(&rule::BITRATE_SYNTAX, place, text),
            },
            "EXT-X-PROGRAM-DATE-TIME" => self.date(reader, line, text),
            "EXT-X-KEY" => match reader.key(line, value) {
                // NONE clears all (AMB-07).
                None => self.keys.clear(),
                Some(key) => {
                    let key = Arc::new(key);
                    self.keys.retain(|known| known.format != key.format);
                    if !self.keys.is_empty() && key.format != "identity" {
                        reader.findings.add(&key_rule::SEVERAL, place, format!("KEYFORMAT {}", key.format));
                    }
                    self.keys.push(Arc::clone(&key));
                    self.media.keys.push(key);
                }
            },
            "EXT-X-MAP" => self.map(reader, line, value),
            "EXT-X-DATERANGE" => self.daterange(reader, line, value),
            _ => {}
        }
    }

    fn extinf(&mut self, reader: &mut Reader<'_, '_>, line: usize, text: &str) {
        let place = reader.place(line);
        if let Some((lost, _)) = self.pending.extinf {
            reader.findings.add(&rule::EXTINF_LOST, reader.place(lost), format!("the next EXTINF is on line {line}"));
        }
        let (number, comma) = match text.split_once(',') {
            Some((number, _)) => (number, true),
            None => (text, false),
        };
        let duration = attribute::float(number).filter(|duration| *duration < 1e9);
        if duration.is_none() || !comma {
            reader.findings.add(&rule::EXTINF_SYNTAX, place.clone(), text);
        }
        if number.contains('.') {
            reader.needs(3, "an EXTINF with decimals");
        }
        if duration == Some(0.0) {
            reader.findings.add(&rule::EXTINF_ZERO, place, text);
        }
        self.pending.extinf = Some((line, duration.unwrap_or(0.0)));
    }

    fn date(&mut self, reader: &mut Reader<'_, '_>, line: usize, text: &str) {
        let place = reader.place(line);
        let seconds = |stamp: jiff::Timestamp| stamp.as_millisecond() as f64 / 1e3;
        self.dates = true;
        if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
            self.pending.date = Some(seconds(stamp));
        } else if let Some(stamp) =
            text.parse::<jiff::civil::DateTime>().ok().and_then(|date| jiff::tz::Offset::UTC.to_timestamp(date).ok())
        {
            reader.findings.add(&rule::DATE_ZONE, place, text);
            self.pending.date = Some(seconds(stamp));
        } else {
            reader.findings.add(&rule::DATE_SYNTAX, place, text);
        }
    }

    fn map(&mut self, reader: &mut Reader<'_, '_>, line: usize, value: Option<&str>) {
        let place = reader.place(line);
        if !self.media.iframes {
            reader.needs(6, "EXT-X-MAP");
        }
        let list = reader.attributes(line, "EXT-X-MAP", value);
        let written = list.get("BYTERANGE").map(range);
        let range = match written {
            None => Some(None),
            Some(Some((length, offset))) => Some(Some((offset.unwrap_or(0), length))),
            Some(None) => None,
        };
        let url = list.get("URI").filter(|uri| !uri.is_empty()).map(str::to_owned);
        let (Some(uri), Some(range)) = (url, range) else {
            return reader.findings.add(&rule::MAP_SYNTAX, place, value.unwrap_or_default());
        };
        let key = self.identity();
        // Only AES-128 asks for it (MAP-002); other methods may bring their IVs elsewhere.
        if let Some(key) = key.as_ref().filter(|key| key.method == Method::Aes128 && key.iv.is_none()) {
            reader.findings.add(&rule::MAP_IV, place, format!("EXT-X-KEY on line {} has no IV", key.line));
        }
        self.map = reader.resolve(line, &uri).map(|url| Arc::new(Map { line, url, range, key }));
    }

    fn daterange(&mut self, reader: &mut Reader<'_, '_>, line: usize, value: Option<&str>) {
        let place = reader.place(line);
        self.ranges.get_or_insert(line);
        let list = reader.attributes(line, "EXT-X-DATERANGE", value);
        let stamp = |name: &str| list.get(name).map(|text| text.parse::<jiff::Timestamp>());
        let (start, end) = (stamp("START-DATE"), stamp("END-DATE"));
        let odd_start = !matches!(start, Some(Ok(_))) && !list.has("SCTE35-IN");
        let wrong = if !list.has("ID") || odd_start {
            Some("ID or START-DATE is missing, or is no date")
        } else if matches!(end, Some(Err(_))) {
            Some("END-DATE is no date")
        } else if let (Some(Ok(start)), Some(Ok(end))) = (&start, &end) {
            let lasts = end.as_millisecond() as f64 / 1e3 - start.as_millisecond() as f64 / 1e3;
            let stated = list.float("DURATION");
            if lasts < 0.0 {
                Some("END-DATE is before START-DATE")
            } else if stated.is_some_and(|stated| (stated - lasts).abs() > 0.01) {
                Some("DURATION and END-DATE differ")
            } else {
                None
            }
        } else {
            None
        };
        let next = list.has("END-ON-NEXT") && (!list.has("CLASS") || list.has("DURATION") || list.has("END-DATE"));
        if let Some(wrong) = wrong.or(next.then_some("END-ON-NEXT needs CLASS, and excludes DURATION and END-DATE")) {
            reader.findings.add(&rule::DATERANGE_SYNTAX, place, wrong);
        }
    }

    /// The key that players without another key system use.
    fn identity(&self) -> Option<Arc<Key>> {
        self.keys.iter().rev().find(|key| key.format == "identity").or(self.keys.last()).cloned()
    }

    fn segment(&mut self, reader: &mut Reader<'_, '_>, line: usize, uri: &str) {
        let pending = std::mem::take(&mut self.pending);
        let place = reader.place(line);
        if self.media.segments.len() >= limits::VERIFY_SEGMENTS {
            if !std::mem::replace(&mut self.full, true) {
                reader.findings.add(
                    &target_rule::TOO_MANY,
                    place,
                    format!("more than {} segments", limits::VERIFY_SEGMENTS),
                );
            }
            return;
        }
        let number = self.media.sequence.saturating_add(self.media.segments.len() as u64);
        if pending.extinf.is_none() {
            reader.findings.add(&rule::EXTINF_MISSING, place.clone().segment(number), uri);
        }
        let duration = pending.extinf.map_or(0.0, |extinf| extinf.1);
        let uri = reader.uri(line, uri);
        let url = reader.resolve(line, &uri);
        let before = self.media.segments.last();
        let range = pending.range.map(|(line, length, offset)| {
            let follows = before.filter(|before| before.uri == uri).and_then(|before| before.range);
            if offset.is_none() && follows.is_none() {
                reader.findings.add(&rule::BYTERANGE_OFFSET, reader.place(line), format!("{length}"));
            }
            (offset.or(follows.map(|(offset, length)| offset.saturating_add(length))).unwrap_or(0), length)
        });
        if pending.gap {
            reader.findings.add(&rule::GAP, place.segment(number), &uri);
        }
        if let (Some(date), Some(before), false) = (pending.date, before, pending.discontinuity) {
            let told = before.date.map(|told| told + before.duration);
            if let Some(jump) = told.map(|told| date - told).filter(|jump| jump.abs() > 0.5) {
                reader.findings.add(&rule::DATE_JUMP, reader.place(line).segment(number), format!("{jump:+.3} s"));
            }
        }
        // Where there is no tag, the time goes on from the one before.
        let date =
            pending.date.or_else(|| before.filter(|_| !pending.discontinuity).and_then(|b| Some(b.date? + b.duration)));
        let segment = Segment {
            number,
            line,
            uri,
            url,
            duration,
            start: self.start,
            key: self.identity(),
            map: self.map.clone(),
            range,
            discontinuity: pending.discontinuity,
            gap: pending.gap,
            bitrate: self.bitrate,
            date,
        };
        self.start += duration;
        self.media.segments.push(segment);
    }

    fn end(&mut self, reader: &mut Reader<'_, '_>) {
        let place = Place::of(reader.resource);
        if let Some((line, _)) = self.pending.extinf {
            reader.findings.add(&rule::EXTINF_LOST, reader.place(line), "the playlist ends");
        }
        if self.media.segments.is_empty() {
            reader.findings.add(&playlist_rule::EMPTY, place.clone(), "no segments");
        }
        if let (Some(line), false) = (self.ranges, self.dates) {
            reader.findings.add(&rule::DATERANGE_DATE, reader.place(line), "");
        }
        let kind = self.media.kind.as_deref();
        match (self.media.ended, kind) {
            (false, Some("VOD")) => reader.findings.add(&rule::ENDLIST_MISSING, place.clone(), "PLAYLIST-TYPE is VOD"),
            (false, _) => reader.findings.add(&rule::LIVE, place.clone(), ""),
            (true, None) => reader.findings.add(&rule::TYPE_MISSING, place.clone(), ""),
            (true, Some(_)) => {}
        }
        let last = self.media.sequence.saturating_add(self.media.segments.len() as u64);
        if last >= 1 << 31 {
            reader.findings.add(&rule::SEQUENCE_LARGE, place.clone(), last);
        }
        if self.media.iframes {
            reader.findings.add(&rule::IFRAMES, place.clone(), "");
        }
        if let Some((line, offset)) = reader.start {
            let (lasts, target) = (self.media.duration(), self.media.target.unwrap_or(0) as f64);
            let from_end = if offset < 0.0 { -offset } else { lasts - offset };
            if offset.abs() > lasts || (!self.media.ended && from_end < 3.0 * target) {
                let seen = format!("TIME-OFFSET={offset}, the playlist lasts {lasts:.3} s");
                reader.findings.add(&playlist_rule::START_BEYOND, reader.place(line), seen);
            }
        }
        self.target(reader);
    }

    fn target(&self, reader: &mut Reader<'_, '_>) {
        let Some(target) = self.media.target else {
            if self.media.target_line == 0 {
                reader.findings.add(&rule::TARGET_MISSING, Place::of(reader.resource), "");
            }
            return;
        };
        // A segment of an I-frame playlist is one picture.
        for segment in self.media.segments.iter().filter(|_| !self.media.iframes) {
            let place = reader.place(segment.line).segment(segment.number).time(segment.start);
            let seen = format!("EXTINF {}, EXT-X-TARGETDURATION {target}", segment.duration);
            // A tie may go either way (AMB-01).
            if segment.duration > target as f64 + 0.5 {
                reader.findings.add(&rule::TARGET_EXCEEDED, place, seen);
            } else if segment.duration > target as f64 && reader.version() <= 5 {
                reader.findings.add(&rule::TARGET_ROUNDED, place, seen);
            }
        }
    }
}

/// LENGTH or LENGTH@OFFSET.
fn range(text: &str) -> Option<(u64, Option<u64>)> {
    match text.split_once('@') {
        Some((length, offset)) => Some((attribute::integer(length)?, Some(attribute::integer(offset)?))),
        None => Some((attribute::integer(text)?, None)),
    }
}
