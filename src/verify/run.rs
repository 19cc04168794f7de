//! One verification from target to report.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use url::Url;

use super::facts::Seen;
use super::fetch::{FetchError, Fetcher, Purpose, Requests, is_http};
use super::finding::{Findings, Place};
use super::keys::{KeySource, Keys};
use super::ladder::{self, Rendition};
use super::model::{Map, Master, Media, Method, Playlist, Segment};
use super::record::{self, Record};
use super::report::{RenditionReport, Report, SegmentReport};
use super::rule::{Profile, key as key_rule, master as master_rule, playlist as playlist_rule, target as rule};
use super::target::Target;
use super::timeline::{self, Measured};
use super::{VerifyError, lines, parse};
use crate::crypto::key::ContentKey;
use crate::limits;

/// Which segments are looked at: the `part`th of every `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// From 1.
    pub part: NonZeroUsize,
    /// At least `part`.
    pub of: NonZeroUsize,
}

impl Sample {
    pub(super) fn takes(self, index: usize) -> bool {
        index % self.of == self.part.get() - 1
    }
}

/// How it is verified.
pub struct Options<'a> {
    /// Whose rules.
    pub profile: Profile,
    /// Which segments; none for all.
    pub sample: Option<Sample>,
    /// Credentials and bounds of requests.
    pub requests: Requests,
    /// The keys at hand.
    pub keys: KeySource<'a>,
    /// Segments that are read at the same time.
    pub jobs: NonZeroUsize,
    /// Set to stop.
    pub cancel: &'a AtomicBool,
}

/// Is told how a verification goes on; calls come from several threads.
pub trait Watch: Sync {
    /// So many bytes there will be, when that is known.
    fn total(&self, bytes: Option<u64>);
    /// So many more bytes have been looked at.
    fn read(&self, bytes: u64);
    /// One more segment is done.
    fn segment(&self);
}

/// A media playlist that was read.
pub(super) struct Loaded {
    pub(super) resource: String,
    /// As it was named; `url` is where it was found after redirects.
    pub(super) named: Url,
    pub(super) url: Url,
    pub(super) media: Media,
    pub(super) independent: bool,
    /// Whether it takes part in the comparison of renditions: no subtitles, no I-frames.
    pub(super) compared: bool,
    pub(super) subtitles: bool,
}

/// The playlists of a target.
#[derive(Default)]
pub(super) struct Found {
    pub(super) master: Option<(String, Url, Master)>,
    pub(super) media: Vec<Loaded>,
    /// Playlists' bytes by URL, for the record's checksums and the search for keys.
    pub(super) texts: BTreeMap<String, Vec<u8>>,
}

/// Verifies.
///
/// # Errors
/// When the target is not there or cannot be asked; what is wrong inside it are findings.
pub fn verify(target: &str, options: Options<'_>, watch: &dyn Watch) -> Result<Report, VerifyError> {
    let started = Instant::now();
    let target = Target::find(target)?;
    let fetcher = Fetcher::new(&target.base, target.root.clone(), options.requests.clone(), options.cancel);
    let mut run =
        Run { target: &target, fetcher: &fetcher, findings: Findings::new(options.profile), found: Found::default() };
    run.load()?;
    let record = run.record();
    let mut keys = Keys::new(options.keys);
    let keyed = run.keys(&mut keys);
    let files = record.as_ref().map(Record::files).unwrap_or_default();
    let base = target.base.clone();
    let below = move |url: &Url| below(&base, url);
    let (seen, count) = run.segments(&keyed, &files, &below, options.sample, options.jobs, watch)?;
    let measured: Vec<Vec<Measured>> =
        run.found.media.iter().zip(&seen).map(|(loaded, seen)| timeline::measure(&loaded.media, seen)).collect();
    run.compare(&seen, &measured);
    let record_key = record.as_ref().and_then(Record::key_id).and_then(|id| keys.by_id(&id));
    if let Some(record) = &record {
        run.check_record(record, record_key.as_deref(), &files, &seen, &below, options.sample.is_some());
    }
    run.leaks(&keys, record_key.as_deref(), &below);
    if fetcher.stopped() {
        return Err(VerifyError::Interrupted);
    }
    let all = seen.iter().map(Vec::len).sum();
    if options.sample.is_some() && count.segments < all {
        run.findings.add(&rule::SAMPLED, Place::of(&target.name), format!("{} of {all} segments", count.segments));
    }
    let renditions = run.renditions(&seen, &measured);
    let understood = seen.iter().flatten().flatten().filter(|seen| seen.read).count();
    Ok(Report {
        target: target.name.clone(),
        profile: options.profile,
        findings: run.findings,
        renditions,
        bytes: count.bytes,
        segments: (count.segments, all),
        understood,
        elapsed: started.elapsed(),
    })
}

/// A URL as a path below the target's folder; whole when it is elsewhere.
fn below(base: &Url, url: &Url) -> String {
    let relative = base.make_relative(url).filter(|relative| !relative.starts_with("..") && !relative.is_empty());
    match relative {
        Some(relative) if base.origin() == url.origin() || matches!(base.scheme(), "file" | "s3") => relative,
        _ if url == base => url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default().to_owned(),
        _ if is_http(url) => url.to_string(),
        _ => url.path().to_owned(),
    }
}

/// How much was read.
pub(super) struct Count {
    pub(super) bytes: u64,
    pub(super) segments: usize,
}

/// One verification.
pub(super) struct Run<'a> {
    pub(super) target: &'a Target,
    pub(super) fetcher: &'a Fetcher<'a>,
    pub(super) findings: Findings,
    pub(super) found: Found,
}

impl<'a> Run<'a> {
    fn name(&self, url: &Url) -> String {
        below(&self.target.base, url)
    }

    /// Whether there is room for one more playlist; told when there is none.
    fn has_room(&mut self, place: &Place) -> bool {
        let bytes: usize = self.found.texts.values().map(Vec::len).sum();
        let segments: usize = self.found.media.iter().map(|loaded| loaded.media.segments.len()).sum();
        let room = bytes < limits::VERIFY_PLAYLIST_BYTES && segments < limits::VERIFY_SEGMENTS;
        if !room {
            self.findings.add(&rule::TOO_MANY, place.clone(), "the playlists before this one are all that is held");
        }
        room
    }

    /// Reads the playlists.
    fn load(&mut self) -> Result<(), VerifyError> {
        if self.target.lone_segment {
            let url = self.target.base.clone();
            let resource = self.name(&url);
            let mut media = Media { ended: true, ..Media::default() };
            media.segments.push(Segment {
                number: 0,
                line: 0,
                uri: resource.clone(),
                url: Some(url.clone()),
                duration: 0.0,
                start: 0.0,
                key: None,
                map: None,
                range: None,
                discontinuity: false,
                gap: false,
                bitrate: None,
                date: None,
            });
            self.found.media.push(Loaded {
                resource,
                named: url.clone(),
                url,
                media,
                independent: false,
                compared: false,
                subtitles: false,
            });
            return Ok(());
        }
        for start in self.target.starts.clone() {
            let name = self.name(&start);
            if !self.has_room(&Place::of(&name)) {
                break;
            }
            let (bytes, opened) = self
                .fetcher
                .read(&start, &start, limits::PLAYLIST_BYTES as u64 + 1, Purpose::Media)
                .map_err(|error| match error {
                    FetchError::Stopped => VerifyError::Interrupted,
                    FetchError::Slow | FetchError::GivenUp => {
                        VerifyError::Unavailable(format!("{}: {error}", self.target.name))
                    }
                    error => VerifyError::Target(format!("{}: {error}", self.target.name)),
                })?;
            self.name_is_right(&start, opened.content_type.as_deref(), &name);
            // Relative URIs are resolved against where the playlist came from (RFC 3986 5.1.3).
            let url = opened.url;
            self.found.texts.insert(url.to_string(), bytes.clone());
            match parse::parse(&bytes, &url, &name, &BTreeMap::new(), &mut self.findings) {
                Some(Playlist::Media(media)) => {
                    self.maps(&name, &url, &media)?;
                    self.add(name, start.clone(), url, *media, false, Kind::Variant);
                }
                Some(Playlist::Master(master)) => self.load_master(name, url, *master)?,
                None if !lines::is_playlist(&bytes) && self.target.starts.len() == 1 && !bytes.starts_with(b"#") => {
                    return Err(VerifyError::Target(format!("{}: this is no playlist", self.target.name)));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, resource: String, named: Url, url: Url, media: Media, master_independent: bool, kind: Kind) {
        if master_independent && media.independent {
            self.findings.add(&playlist_rule::INDEPENDENT_TWICE, Place::of(&resource), "");
        }
        let independent = media.independent || master_independent;
        let compared = kind == Kind::Variant && !media.iframes;
        let subtitles = kind == Kind::Subtitles;
        self.found.media.push(Loaded { resource, named, url, media, independent, compared, subtitles });
    }

    fn load_master(&mut self, resource: String, url: Url, master: Master) -> Result<(), VerifyError> {
        let variants = master.variants.iter().map(|variant| (variant.line, variant.url.clone(), Kind::Variant));
        let renditions = master.renditions.iter().filter(|r| r.url.is_some()).map(|rendition| {
            let kind = if rendition.kind == "SUBTITLES" { Kind::Subtitles } else { Kind::Variant };
            (rendition.line, rendition.url.clone(), kind)
        });
        let iframes = master.iframes.iter().map(|iframe| (iframe.line, iframe.url.clone(), Kind::IFrames));
        let named: Vec<_> = variants.chain(renditions).chain(iframes).collect();
        let mut visited = vec![url.to_string()];
        for (line, named, kind) in named {
            let Some(named) = named else { continue };
            let place = Place::of(&resource).line(line);
            if named == url {
                self.findings.add(&rule::NESTED, place, "it names itself");
                continue;
            }
            if visited.iter().any(|known| known == named.as_str()) {
                continue;
            }
            visited.push(named.to_string());
            self.load_media(&url, &named, kind, &master, place)?;
        }
        self.session_keys(&resource, &master);
        self.found.master = Some((resource, url, master));
        Ok(())
    }

    fn load_media(
        &mut self,
        from: &Url,
        url: &Url,
        kind: Kind,
        master: &Master,
        place: Place,
    ) -> Result<(), VerifyError> {
        if !self.has_room(&place) {
            return Ok(());
        }
        let name = self.name(url);
        let (bytes, opened) = match self.fetcher.read(from, url, limits::PLAYLIST_BYTES as u64 + 1, Purpose::Media) {
            Ok(read) => read,
            Err(FetchError::Stopped) => return Err(VerifyError::Interrupted),
            Err(error) => {
                let rule = match error {
                    FetchError::Unsafe(_) => &rule::UNSAFE,
                    FetchError::Slow | FetchError::GivenUp => &rule::TOO_SLOW,
                    FetchError::TooLarge(_) => &playlist_rule::SIZE,
                    _ => &rule::PLAYLIST,
                };
                self.findings.add(rule, place, format!("{name}: {error}"));
                return Ok(());
            }
        };
        self.name_is_right(url, opened.content_type.as_deref(), &name);
        let (named, url) = (url.clone(), opened.url);
        self.found.texts.insert(url.to_string(), bytes.clone());
        match parse::parse(&bytes, &url, &name, &master.variables, &mut self.findings) {
            Some(Playlist::Master(_)) => self.findings.add(&rule::NESTED, place, name),
            Some(Playlist::Media(media)) => {
                if media.iframes != (kind == Kind::IFrames) {
                    self.findings.add(&master_rule::IFRAME_TARGET, place, &name);
                }
                self.maps(&name, &url, &media)?;
                self.add(name, named, url, *media, master.independent, kind);
            }
            None => {}
        }
        Ok(())
    }

    /// Asks for the initialisation sections that EXT-X-MAP names.
    fn maps(&mut self, resource: &str, from: &Url, media: &Media) -> Result<(), VerifyError> {
        let mut asked: Vec<&Map> = Vec::new();
        for map in media.segments.iter().filter_map(|segment| segment.map.as_deref()) {
            if asked.contains(&map) || asked.len() >= limits::VERIFY_KEYS {
                continue;
            }
            asked.push(map);
            match self.fetcher.open(from, &map.url, map.range, Purpose::Media) {
                Ok(_) => {}
                Err(FetchError::Stopped) => return Err(VerifyError::Interrupted),
                Err(error) => self.findings.add(&rule::MAP, Place::of(resource).line(map.line), error),
            }
        }
        Ok(())
    }

    fn name_is_right(&mut self, url: &Url, content_type: Option<&str>, name: &str) {
        let path = url.path().to_ascii_lowercase();
        let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let typed = matches!(
            kind.as_str(),
            "application/vnd.apple.mpegurl" | "audio/mpegurl" | "application/x-mpegurl" | "audio/x-mpegurl"
        );
        if !typed && !path.ends_with(".m3u8") && !path.ends_with(".m3u") {
            self.findings.add(
                &playlist_rule::NAME,
                Place::of(name),
                if kind.is_empty() { "no Content-Type" } else { &kind },
            );
        }
    }

    /// EXT-X-SESSION-KEY against EXT-X-KEY.
    fn session_keys(&mut self, resource: &str, master: &Master) {
        for session in &master.session_keys {
            let place = || Place::of(resource).line(session.line);
            let keys =
                self.found.media.iter().flat_map(|loaded| &loaded.media.keys).filter(|key| key.url == session.url);
            let (mut used, mut differs) = (false, false);
            for key in keys {
                let method = match &key.method {
                    Method::Aes128 => "AES-128",
                    Method::Other(method) => method,
                };
                used = true;
                differs |= method != session.method || key.format != session.format;
            }
            if differs {
                self.findings.add(&master_rule::SESSION_KEY_DIFFERS, place(), &session.method);
            } else if !used && !self.found.media.is_empty() {
                self.findings.add(&master_rule::SESSION_KEY_UNUSED, place(), "");
            }
        }
    }

    /// Reads `keyrung.json` beside the start, when there is one.
    fn record(&mut self) -> Option<Record> {
        let url = self.target.base.join(record::FILE).ok()?;
        let local = url.scheme() == "file";
        match self.fetcher.read(&self.target.base, &url, limits::PLAYLIST_BYTES as u64, Purpose::Media) {
            Ok((bytes, _)) if local || bytes.trim_ascii_start().starts_with(b"{") => {
                self.found.texts.insert(url.to_string(), bytes.clone());
                Record::parse(&bytes, &mut self.findings)
            }
            _ => None,
        }
    }

    /// The key of each segment, and what can be said of keys and IVs without reading segments.
    fn keys(&mut self, keys: &mut Keys<'_>) -> Vec<Vec<Option<Arc<ContentKey>>>> {
        let mut out = Vec::new();
        let mut used: BTreeMap<(String, [u8; 16]), (String, u64, String)> = BTreeMap::new();
        for loaded in &self.found.media {
            let mut row = Vec::new();
            for segment in &loaded.media.segments {
                let place =
                    || Place::of(&loaded.resource).line(segment.key.as_ref().map_or(segment.line, |key| key.line));
                let wanted =
                    segment.key.as_ref().filter(|key| key.method == Method::Aes128 && key.format == "identity");
                let Some(url) = wanted.and_then(|key| key.url.as_ref()) else {
                    row.push(None);
                    continue;
                };
                row.push(keys.get(self.fetcher, &loaded.url, url, &place(), &mut self.findings));
                if loaded.media.iframes {
                    continue;
                }
                let identity =
                    segment.url.as_ref().map(ToString::to_string).unwrap_or_default() + &format!("{:?}", segment.range);
                let here = (loaded.resource.clone(), segment.number, identity);
                let first = used.entry((url.to_string(), segment.iv())).or_insert_with(|| here.clone());
                // The same file in two playlists is one message.
                if first.2 != here.2 {
                    let seen = format!("the IV of segment {} of {}", first.1, first.0);
                    self.findings.add(&key_rule::IV_REUSED, place().segment(segment.number), seen);
                }
            }
            out.push(row);
        }
        out
    }

    /// Segments after one another, and renditions against each other.
    fn compare(&mut self, seen: &[Vec<Option<Seen>>], measured: &[Vec<Measured>]) {
        let Self { found, findings, target, .. } = self;
        if target.lone_segment {
            return;
        }
        let mut all = Vec::new();
        for ((loaded, seen), measured) in found.media.iter().zip(seen).zip(measured) {
            timeline::check(&loaded.resource, &loaded.media, seen, measured, findings);
            if loaded.compared {
                all.push(Rendition {
                    resource: &loaded.resource,
                    url: loaded.named.as_str(),
                    playlist: &loaded.media,
                    seen,
                    measured,
                });
            }
        }
        if found.master.is_some() {
            ladder::together(&all, findings);
        }
        if let Some((resource, _, master)) = &found.master {
            ladder::declared(resource, master, &all, findings);
        }
    }

    fn renditions(&self, seen: &[Vec<Option<Seen>>], measured: &[Vec<Measured>]) -> Vec<RenditionReport> {
        let zero = measured.iter().flatten().find_map(|times| times.start);
        let master = self.found.master.as_ref().map(|(_, _, master)| master);
        let one = |((loaded, seen), measured): ((&Loaded, &Vec<Option<Seen>>), &Vec<Measured>)| {
            let variant = master
                .and_then(|master| master.variants.iter().find(|variant| variant.url.as_ref() == Some(&loaded.named)));
            let rendition = Rendition {
                resource: &loaded.resource,
                url: loaded.named.as_str(),
                playlist: &loaded.media,
                seen,
                measured,
            };
            let rates = rendition.rates();
            let segments =
                loaded.media.segments.iter().zip(seen).zip(measured).map(|((segment, seen), times)| SegmentReport {
                    number: segment.number,
                    start: segment.start,
                    duration: segment.duration,
                    measured: times.duration,
                    clock: times.start.zip(zero).map(|(start, zero)| (start - zero) as f64 / 90_000.0),
                    bytes: seen.as_ref().map_or(0, |seen| seen.stored),
                    discontinuity: segment.discontinuity,
                    keys: times.keys.clone(),
                    audio_lead: times.audio_lead,
                });
            RenditionReport {
                playlist: loaded.resource.clone(),
                bandwidth: variant.and_then(|variant| variant.bandwidth),
                average_bandwidth: variant.and_then(|variant| variant.average),
                codecs: variant.and_then(|variant| variant.codecs.clone()),
                resolution: variant
                    .and_then(|variant| variant.resolution)
                    .map(|(width, height)| format!("{width}x{height}")),
                measured_peak: rates.map(|rates| rates.0.ceil() as u64),
                measured_average: rates.map(|rates| rates.1.ceil() as u64),
                duration: loaded.media.duration(),
                target_duration: loaded.media.target,
                segments: segments.collect(),
            }
        };
        self.found.media.iter().zip(seen).zip(measured).map(one).collect()
    }
}

/// What names a playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Variant,
    Subtitles,
    IFrames,
}
