//! Where a key set comes from, and when it is read again.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode, Url};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::limits;
use crate::storage::durable::read_limited;

use super::super::Report;
use super::super::http::{self, Schemes};
use super::super::settings::{Flaw, JwksSettings};
use super::jwks;
use super::key::{Algorithm, Keys};

enum Place {
    File(PathBuf),
    Url(Box<Client>, Url),
}

/// A set that was read.
#[derive(Clone)]
struct Loaded {
    keys: Arc<Keys>,
    /// Changes with the content.
    generation: u64,
    digest: [u8; 32],
    read: Instant,
}

/// A key set that is kept fresh. The last good one stays when a new one cannot be had.
pub(in super::super) struct KeySet {
    settings: JwksSettings,
    place: Place,
    loaded: RwLock<Option<Loaded>>,
    /// When it was last tried to read it. Who holds this reads it: there is one reader at a time.
    tried: Mutex<Option<Instant>>,
    /// The least time between two tries that tokens cause.
    pause: Duration,
    report: OnceLock<Report>,
}

impl KeySet {
    /// A file is read at once, a URL when it is first needed.
    pub(in super::super) fn new(settings: JwksSettings) -> Result<Self, Flaw> {
        Self::with_pause(settings, limits::JWKS_PAUSE)
    }

    pub(in super::super) fn with_pause(settings: JwksSettings, pause: Duration) -> Result<Self, Flaw> {
        if settings.algorithms.is_empty() || settings.algorithms.contains(&Algorithm::HS256) {
            return Err(Flaw::new("jwks.algorithms", "lists EdDSA, ES256, RS256 or PS256; a key set is public"));
        }
        let place = match (&settings.file, &settings.url) {
            (Some(file), None) => Place::File(file.clone()),
            (None, Some(url)) => {
                let url = http::url("jwks.url", url, Schemes::Https)?;
                let client = http::client(limits::JWKS_TIMEOUT, settings.ca.as_deref())?;
                Place::Url(Box::new(client), url)
            }
            _ => return Err(Flaw::new("jwks", "names either a file or a url")),
        };
        let (loaded, tried, report) = (RwLock::new(None), Mutex::new(None), OnceLock::new());
        let set = Self { settings, place, loaded, tried, pause, report };
        if let Place::File(path) = &set.place {
            let flaw = |problem: &dyn std::fmt::Display| Flaw::new("jwks.file", problem);
            let json = read_limited(path, limits::JWKS_BYTES as u64).map_err(|error| flaw(&error))?;
            set.take(&json).map_err(|problem| flaw(&format!("{} {problem}", path.display())))?;
        }
        Ok(set)
    }

    /// Whether it is of the same place, on the word of the same authorities, and for the same algorithms.
    pub(in super::super) fn is_of(&self, settings: &JwksSettings) -> bool {
        self.settings.file == settings.file
            && self.settings.url == settings.url
            && self.settings.algorithms == settings.algorithms
            // Who changes whom to trust does not trust what was read before.
            && self.settings.ca == settings.ca
    }

    /// Begins with what another one has read.
    pub(in super::super) fn adopt(&self, old: &Self) {
        let read = old.loaded.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if loaded.is_none() {
            *loaded = read;
        }
    }

    /// Has trouble told from now on. The first who asks for it is told.
    pub(in super::super) fn report_to(&self, report: &Report) {
        let _ = self.report.set(Arc::clone(report));
    }

    pub(in super::super) fn is_ready(&self) -> bool {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The keys and their generation. `None` when no set was ever had.
    ///
    /// An old set is read again in the background. One is waited for only where there is none, or where nobody asked for
    /// it during a whole period: a server of keys that is down must not hold up those whose keys are known.
    pub(in super::super) async fn get(self: &Arc<Self>) -> Option<(Arc<Keys>, u64)> {
        let period = self.settings.refresh.get();
        match self.current().map(|(_, _, read)| read.elapsed()) {
            Some(age) if age < period => {}
            Some(age) => {
                // Who cannot have the lock knows that somebody reads it already.
                let tried = self.tried.try_lock().ok().map(|tried| *tried);
                let is_idle = |tried: Option<Instant>| tried.is_none_or(|tried| tried.elapsed() >= period);
                match tried.filter(|tried| self.is_due(*tried)) {
                    Some(tried) if age >= period.saturating_mul(2) && is_idle(tried) => self.retry().await,
                    Some(_) => {
                        let set = Arc::clone(self);
                        tokio::spawn(async move { set.retry().await });
                    }
                    None => {}
                }
            }
            None => self.retry().await,
        }
        self.current().map(|(keys, generation, _)| (keys, generation))
    }

    /// Reads the set again because a token names a key that is not in it, unless that was tried a moment ago: anyone can
    /// make up key ids.
    pub(in super::super) async fn retry(self: &Arc<Self>) {
        let is_recent = self.tried.try_lock().is_ok_and(|tried| !self.is_due(*tried));
        if !is_recent {
            self.read(Self::is_due).await;
        }
    }

    /// Reads the set again now.
    pub(in super::super) async fn refresh(self: &Arc<Self>) {
        self.read(|_, _| true).await;
    }

    async fn read(self: &Arc<Self>, is_due: fn(&Self, Option<Instant>) -> bool) {
        let set = Arc::clone(self);
        let reading = tokio::spawn(async move {
            let mut tried = set.tried.lock().await;
            if is_due(&set, *tried) {
                *tried = Some(Instant::now());
                set.fetch().await;
            }
        });
        // A task of its own: a viewer who hangs up would take the reading along, and nobody else would try for a while.
        let _ = reading.await;
    }

    fn is_due(&self, tried: Option<Instant>) -> bool {
        tried.is_none_or(|tried| tried.elapsed() >= self.pause)
    }

    fn current(&self) -> Option<(Arc<Keys>, u64, Instant)> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.as_ref().map(|loaded| (Arc::clone(&loaded.keys), loaded.generation, loaded.read))
    }

    /// What cannot be had or read changes nothing, and is told: at most once in a pause, so that it cannot fill a log.
    async fn fetch(&self) {
        let taken = self.bytes().await.and_then(|json| self.take(&json).map_err(|problem| format!("it {problem}")));
        if let (Err(problem), Some(report)) = (taken, self.report.get()) {
            let place = match &self.place {
                Place::File(_) => "in a file".to_owned(),
                Place::Url(_, url) => format!("at {}", http::shown(url)),
            };
            report(format!("the key set {place} was not taken, and stays as it was: {problem}"));
        }
    }

    /// The set as it is now, or why it cannot be had.
    async fn bytes(&self) -> Result<Vec<u8>, String> {
        match &self.place {
            Place::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_limited(&path, limits::JWKS_BYTES as u64));
                let read = read.await.map_err(|_| "the reading was given up".to_owned())?;
                read.map_err(|error| error.to_string())
            }
            Place::Url(client, url) => {
                let response = client.get(url.clone()).send().await.map_err(http::cause)?;
                if response.status() != StatusCode::OK {
                    return Err(format!("the answer is {}", response.status()));
                }
                let body = http::body(response, limits::JWKS_BYTES).await;
                body.ok_or_else(|| format!("it has more than {} bytes, or breaks off", limits::JWKS_BYTES))
            }
        }
    }

    fn take(&self, json: &[u8]) -> Result<(), &'static str> {
        let keys = Arc::new(jwks::read(json, &self.settings.algorithms)?);
        let (digest, read): ([u8; 32], _) = (Sha256::digest(json).into(), Instant::now());
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        match loaded.as_mut() {
            Some(same) if same.digest == digest => same.read = read,
            other => {
                let generation = other.map_or(0, |old| old.generation.wrapping_add(1));
                *loaded = Some(Loaded { keys, generation, digest, read });
            }
        }
        Ok(())
    }
}
