//! What is published beside playlists and segments: the commit record, and files that hold a key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use url::Url;

use super::facts::Seen;
use super::fetch::{FetchError, Purpose};
use super::finding::Place;
use super::keys::Keys;
use super::model::Media;
use super::record::{self, Record};
use super::rule::{key as key_rule, record as record_rule, target as target_rule};
use super::run::Run;
use crate::crypto::key::ContentKey;
use crate::limits;

impl Run<'_> {
    pub(super) fn check_record(
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
                // The run ends as interrupted.
                Err(FetchError::Stopped) => return,
                Err(error) => {
                    let rule = match error {
                        FetchError::Unsafe(_) => &target_rule::UNSAFE,
                        FetchError::Slow | FetchError::GivenUp => &target_rule::TOO_SLOW,
                        _ => &record_rule::FILE_MISSING,
                    };
                    self.findings.add(rule, Place::of(path), error);
                }
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
    pub(super) fn leaks(
        &mut self,
        keys: &Keys<'_>,
        record_key: Option<&ContentKey>,
        below: &(dyn Fn(&Url) -> String + Sync),
    ) {
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
        let segments: BTreeSet<String> = self
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
                if self.fetcher.stopped() {
                    return;
                }
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
}
