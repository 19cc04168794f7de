//! One verification from target to report.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use url::Url;

use super::facts::Seen;
use super::fetch::{FetchError, Fetcher, Purpose, Requests, is_http};
use super::finding::{Findings, Place};
use super::keys::{KeySource, Keys};
use super::ladder::{self, Rendition};
use super::model::{Master, Media, Method, Playlist, Segment};
use super::record::{self, Record};
use super::report::{RenditionReport, Report, SegmentReport};
use super::rule::{
    Profile, key as key_rule, master as master_rule, playlist as playlist_rule, record as record_rule, target as rule,
};
use super::segment::{self, Buffers, Job};
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
    fn takes(self, index: usize) -> bool {
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
struct Loaded {
    resource: String,
    url: Url,
    media: Media,
    independent: bool,
    /// Whether it takes part in the comparison of renditions: no subtitles, no I-frames.
    compared: bool,
}

/// The playlists of a target.
#[derive(Default)]
struct Found {
    master: Option<(String, Url, Master)>,
    media: Vec<Loaded>,
    /// Playlists' bytes by URL, for the record's checksums and the search for keys.
    texts: BTreeMap<String, Vec<u8>>,
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
        Some(relative) if base.origin() == url.origin() || base.scheme() == "file" => relative,
        _ if url == base => url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default().to_owned(),
        _ if is_http(url) => url.to_string(),
        _ => url.path().to_owned(),
    }
}

struct Count {
    bytes: u64,
    segments: usize,
}

struct Run<'a> {
    target: &'a Target,
    fetcher: &'a Fetcher<'a>,
    findings: Findings,
    found: Found,
}

impl<'a> Run<'a> {
    fn name(&self, url: &Url) -> String {
        below(&self.target.base, url)
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
            self.found.media.push(Loaded { resource, url, media, independent: false, compared: false });
            return Ok(());
        }
        for start in self.target.starts.clone() {
            let name = self.name(&start);
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
                Some(Playlist::Media(media)) => self.add(name, url, *media, false, true),
                Some(Playlist::Master(master)) => self.load_master(name, url, *master)?,
                None if !lines::is_playlist(&bytes) && self.target.starts.len() == 1 && !bytes.starts_with(b"#") => {
                    return Err(VerifyError::Target(format!("{}: this is no playlist", self.target.name)));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, resource: String, url: Url, media: Media, master_independent: bool, compared: bool) {
        if master_independent && media.independent {
            self.findings.add(&playlist_rule::INDEPENDENT_TWICE, Place::of(&resource), "");
        }
        let independent = media.independent || master_independent;
        let compared = compared && !media.iframes;
        self.found.media.push(Loaded { resource, url, media, independent, compared });
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
        let url = opened.url;
        self.found.texts.insert(url.to_string(), bytes.clone());
        match parse::parse(&bytes, &url, &name, &master.variables, &mut self.findings) {
            Some(Playlist::Master(_)) => self.findings.add(&rule::NESTED, place, name),
            Some(Playlist::Media(media)) => {
                if media.iframes != (kind == Kind::IFrames) {
                    self.findings.add(&master_rule::IFRAME_TARGET, place, &name);
                }
                self.add(name, url, *media, master.independent, kind == Kind::Variant);
            }
            None => {}
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
                let Some((key, url)) = wanted.and_then(|key| Some((key, key.url.as_ref()?))) else {
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
                let first = used.entry((key.uri.clone(), segment.iv())).or_insert_with(|| here.clone());
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

    /// Reads and checks the segments, several at a time.
    fn segments(
        &mut self,
        keys: &[Vec<Option<Arc<ContentKey>>>],
        files: &BTreeMap<String, record::File>,
        below: &(dyn Fn(&Url) -> String + Sync),
        sample: Option<Sample>,
        jobs: NonZeroUsize,
        watch: &dyn Watch,
    ) -> Result<(Vec<Vec<Option<Seen>>>, Count), VerifyError> {
        let media = &self.found.media;
        let mut queue = Vec::new();
        for (p, loaded) in media.iter().enumerate().filter(|(_, loaded)| !loaded.media.iframes) {
            let places = loaded.media.segments.iter().enumerate();
            queue.extend(
                places
                    .filter(|(n, segment)| !segment.gap && sample.is_none_or(|sample| sample.takes(*n)))
                    .map(|(n, _)| (p, n)),
            );
        }
        if queue.len() > limits::VERIFY_SEGMENTS {
            queue.truncate(limits::VERIFY_SEGMENTS);
            let seen = format!("more than {} segments", limits::VERIFY_SEGMENTS);
            self.findings.add(&rule::TOO_MANY, Place::of(&self.target.name), seen);
        }
        let job_of = |&(p, n): &(usize, usize)| {
            let loaded = media.get(p)?;
            let segment = loaded.media.segments.get(n)?;
            let key = keys.get(p).and_then(|row| row.get(n)).and_then(Option::as_ref).map(Arc::as_ref);
            let digest = segment.url.as_ref().and_then(|url| files.get(&below(url))).and_then(record::File::kind);
            let digest = digest.filter(|_| segment.range.is_none());
            let (playlist, from, resource) = (&loaded.media, &loaded.url, loaded.resource.as_str());
            Some(Job { playlist, from, resource, segment, key, digest, independent: loaded.independent })
        };
        watch.total(total(media, &queue));
        let (next, bytes, stop) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
        type Outcome = Option<(Seen, Findings)>;
        let done: Mutex<Vec<Outcome>> = Mutex::new((0..queue.len()).map(|_| None).collect());
        let profile = self.findings.profile();
        let fetcher = self.fetcher;
        thread::scope(|scope| {
            for _ in 0..jobs.get().min(queue.len()) {
                scope.spawn(|| {
                    let mut buffers = Buffers::default();
                    while !stop.load(Ordering::Relaxed) {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        let Some(job) = queue.get(n).and_then(job_of) else { break };
                        let mut findings = Findings::new(profile);
                        let mut count = |read: u64| {
                            bytes.fetch_add(read, Ordering::Relaxed);
                            watch.read(read);
                        };
                        match segment::check(&job, fetcher, &mut buffers, &mut findings, &mut count) {
                            Ok(seen) => {
                                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                                if let Some(place) = done.get_mut(n) {
                                    *place = Some((seen, findings));
                                }
                                drop(done);
                                watch.segment();
                            }
                            Err(_) => stop.store(true, Ordering::Relaxed),
                        }
                    }
                });
            }
        });
        if stop.load(Ordering::Relaxed) {
            return Err(VerifyError::Interrupted);
        }
        let mut seen: Vec<Vec<Option<Seen>>> =
            media.iter().map(|loaded| loaded.media.segments.iter().map(|_| None).collect()).collect();
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let count = Count { bytes: bytes.into_inner(), segments: queue.len() };
        for ((p, n), outcome) in queue.into_iter().zip(done) {
            let Some((one, findings)) = outcome else { continue };
            self.findings.extend(findings);
            if let Some(place) = seen.get_mut(p).and_then(|row| row.get_mut(n)) {
                *place = Some(one);
            }
        }
        Ok((seen, count))
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
                    url: loaded.url.as_str(),
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

    fn check_record(
        &mut self,
        record: &Record,
        key: Option<&ContentKey>,
        files: &BTreeMap<String, record::File>,
        seen: &[Vec<Option<Seen>>],
        below: &(dyn Fn(&Url) -> String + Sync),
        sampled: bool,
    ) {
        record.check_seal(key, &mut self.findings);
        let media: BTreeMap<String, &Media> =
            self.found.media.iter().map(|loaded| (below(&loaded.url), &loaded.media)).collect();
        let master = self.found.master.as_ref().map(|(_, _, master)| master);
        record.check_playlists(master, &media, &mut self.findings);
        let mut read: BTreeMap<String, (u64, Option<String>)> = BTreeMap::new();
        for (loaded, row) in self.found.media.iter().zip(seen) {
            for (segment, seen) in loaded.media.segments.iter().zip(row) {
                if let (Some(url), Some(seen)) = (&segment.url, seen.as_ref().filter(|seen| seen.digest.is_some())) {
                    read.insert(below(url), (seen.stored, seen.digest.clone()));
                }
            }
        }
        for (url, bytes) in &self.found.texts {
            let Ok(url) = Url::parse(url) else { continue };
            let path = below(&url);
            if let Some(kind) = files.get(&path).and_then(record::File::kind) {
                read.insert(path, (bytes.len() as u64, Some(record::digest(kind, bytes))));
            }
        }
        for (path, file) in files {
            if let Some((bytes, digest)) = read.get(path) {
                Record::check_file(path, file, *bytes, digest.as_deref(), &mut self.findings);
                continue;
            }
            // Files that no playlist names any more, and those that were not sampled.
            let Ok(url) = self.target.base.join(path) else { continue };
            if sampled {
                continue;
            }
            match self.fetcher.open(&self.target.base, &url, None, Purpose::Media) {
                Ok(opened) => {
                    if let Some(length) = opened.length {
                        Record::check_file(path, file, length, None, &mut self.findings);
                    }
                }
                Err(error) => self.findings.add(&record_rule::FILE_MISSING, Place::of(path), error),
            }
        }
        if let Some(root) = self.fetcher.root() {
            for path in record::walk(root) {
                if !files.contains_key(&path) && path != record::FILE {
                    self.findings.add(&record_rule::SURPLUS, Place::of(path), "");
                }
            }
        }
    }

    /// Looks for the keys in everything that is published beside the segments.
    fn leaks(&mut self, keys: &Keys<'_>, record_key: Option<&ContentKey>, below: &(dyn Fn(&Url) -> String + Sync)) {
        let keys: Vec<&ContentKey> = keys.all().map(Arc::as_ref).chain(record_key).collect();
        if keys.is_empty() {
            return;
        }
        let declared: Vec<String> = self
            .found
            .media
            .iter()
            .flat_map(|loaded| &loaded.media.keys)
            .filter_map(|key| Some(below(key.url.as_ref()?)))
            .collect();
        let segments: std::collections::BTreeSet<String> = self
            .found
            .media
            .iter()
            .flat_map(|loaded| &loaded.media.segments)
            .filter_map(|segment| Some(below(segment.url.as_ref()?)))
            .collect();
        let mut texts: BTreeMap<String, Vec<u8>> = self
            .found
            .texts
            .iter()
            .filter_map(|(url, bytes)| Some((below(&Url::parse(url).ok()?), bytes.clone())))
            .collect();
        if let Some(root) = self.fetcher.root() {
            for path in record::walk(root) {
                if segments.contains(&path) || texts.contains_key(&path) {
                    continue;
                }
                let file = root.join(&path);
                let small = std::fs::symlink_metadata(&file)
                    .is_ok_and(|meta| meta.is_file() && meta.len() <= limits::VERIFY_LEAK_BYTES);
                if let Some(bytes) = small.then(|| std::fs::read(&file).ok()).flatten() {
                    self.leak(&keys, &declared, &path, &bytes);
                }
            }
        }
        for (path, bytes) in std::mem::take(&mut texts) {
            self.leak(&keys, &declared, &path, &bytes);
        }
    }

    fn leak(&mut self, keys: &[&ContentKey], declared: &[String], path: &str, bytes: &[u8]) {
        // A key file that the playlist names is told as published.
        if declared.iter().any(|known| known == path) {
            return;
        }
        for key in keys {
            if let Some((at, form)) = super::keys::find(key, bytes) {
                // The place tells which file; never what stands in it.
                self.findings.add(&key_rule::LEAKED, Place::of(path).byte(at as u64), form);
                return;
            }
        }
    }

    fn renditions(&self, seen: &[Vec<Option<Seen>>], measured: &[Vec<Measured>]) -> Vec<RenditionReport> {
        let zero = measured.iter().flatten().find_map(|times| times.start);
        let master = self.found.master.as_ref().map(|(_, _, master)| master);
        let one = |((loaded, seen), measured): ((&Loaded, &Vec<Option<Seen>>), &Vec<Measured>)| {
            let variant = master
                .and_then(|master| master.variants.iter().find(|variant| variant.url.as_ref() == Some(&loaded.url)));
            let rendition = Rendition {
                resource: &loaded.resource,
                url: loaded.url.as_str(),
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

/// Bytes of all files of the queue, when all are local.
fn total(media: &[Loaded], queue: &[(usize, usize)]) -> Option<u64> {
    queue.iter().try_fold(0_u64, |sum, (p, n)| {
        let segment = media.get(*p)?.media.segments.get(*n)?;
        let path = segment.url.as_ref().filter(|url| url.scheme() == "file")?.to_file_path().ok()?;
        let length = segment.range.map(|range| range.1);
        Some(sum.saturating_add(length.unwrap_or_else(|| std::fs::metadata(path).map_or(0, |meta| meta.len()))))
    })
}
