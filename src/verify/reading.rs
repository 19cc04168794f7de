//! Reads the segments, several at a time.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use url::Url;

use super::VerifyError;
use super::facts::Seen;
use super::finding::{Findings, Place};
use super::record;
use super::rule::target as rule;
use super::run::{Count, Loaded, Run, Sample, Watch};
use super::segment::{self, Buffers, Job};
use crate::crypto::key::ContentKey;
use crate::limits;

/// What was seen of each segment of each media playlist; None where it was not looked at.
pub(super) type SeenSegments = Vec<Vec<Option<Seen>>>;

impl Run<'_> {
    /// Reads and checks the segments, several at a time.
    pub(super) fn segments(
        &mut self,
        keys: &[Vec<Option<Arc<ContentKey>>>],
        files: &BTreeMap<String, record::File>,
        below: &(dyn Fn(&Url) -> String + Sync),
        sample: Option<Sample>,
        jobs: NonZeroUsize,
        watch: &dyn Watch,
    ) -> Result<(SeenSegments, Count), VerifyError> {
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
            Some(Job {
                playlist,
                from,
                resource,
                segment,
                key,
                digest,
                independent: loaded.independent,
                subtitles: loaded.subtitles,
            })
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
        let mut seen: SeenSegments =
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
