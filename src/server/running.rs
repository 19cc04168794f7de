//! A server that runs: what lives as long as it does, and the generation that is in force.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use crate::limits::SERVER_FILE_NOTICE;
use crate::server::audit::RequestId;
use crate::server::config::Config;
use crate::server::file::open_beneath;
use crate::server::generation::{AuditThread, Gate, Generation};
use crate::server::metrics::{Metrics, Now};
use crate::server::outside::{Outside, Settings};
use crate::server::place::Places;
use crate::server::ready::Readable;
use crate::server::vault::{Open, Vault};
use crate::server::{Notice, ServeError};

/// What the listeners and all requests share.
pub(super) struct Running {
    current: RwLock<Arc<Generation>>,
    pub(super) vault: Vault,
    pub(super) metrics: Metrics,
    pub(super) outside: Arc<dyn Outside>,
    pub(super) places: Places,
    readable: Readable,
    fixed: Fixed,
    draining: AtomicBool,
    run: u32,
    requests: AtomicU64,
    audit_threads: Mutex<Vec<AuditThread>>,
    /// When it was last said that a file cannot be given.
    file_noticed: Mutex<Option<Instant>>,
}

/// Settings that only a start takes.
struct Fixed(Vec<(&'static str, String)>);

impl Fixed {
    fn of(config: &Config) -> Self {
        Self(vec![
            ("listen", config.listen.to_string()),
            ("metrics_listen", format!("{:?}", config.metrics_listen)),
            ("key_store", format!("{:?}", config.key_store)),
            ("keys", format!("{:?}", config.keys.vault())),
            ("limits.connections", config.limits.connections.to_string()),
        ])
    }
}

impl Running {
    /// Reads what the settings name. Blocks.
    ///
    /// # Errors
    /// What cannot be read or used.
    pub(super) fn new(settings: Settings, open: Arc<dyn Open>, outside: Arc<dyn Outside>) -> Result<Self, ServeError> {
        let fixed = Fixed::of(&settings.config);
        let keys = settings.config.keys.vault();
        let places = Places::new(settings.config.limits.connections);
        let (generation, thread) = Generation::new(settings, None, &outside)?;
        let log = Arc::clone(&outside);
        let vault = Vault::reporting(open, keys, move |incident| {
            let (key, stage, reason) = (incident.key_id, incident.stage.code(), incident.reason);
            log.notice(Notice::Key(format!("key {key}: {stage}: {reason}")));
        });
        let mut run = [0; 4];
        // Ids of another run may then be the same: they only find lines in a log.
        let _ = getrandom::fill(&mut run);
        Ok(Self {
            current: RwLock::new(Arc::new(generation)),
            vault,
            metrics: Metrics::new(),
            outside,
            places,
            readable: Readable::new(),
            fixed,
            draining: AtomicBool::new(false),
            run: u32::from_be_bytes(run),
            requests: AtomicU64::new(0),
            audit_threads: Mutex::new(thread.into_iter().collect()),
            file_noticed: Mutex::default(),
        })
    }

    /// What is in force now.
    pub(super) fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for the settings again and puts them in force, or says why not and changes nothing. Blocks.
    pub(super) fn reload(&self) {
        let before = self.generation();
        let loaded = self.outside.reload().and_then(|settings| {
            let fixed = Fixed::of(&settings.config);
            let next = Generation::new(settings, Some(&before), &self.outside).map_err(|error| error.to_string())?;
            Ok((next, fixed))
        });
        let ((generation, thread), fixed) = match loaded {
            Ok(loaded) => loaded,
            Err(reason) => {
                self.metrics.reloaded("failed");
                return self.outside.notice(Notice::ReloadFailed(reason));
            }
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(generation);
        let mut threads = self.audit_threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.extend(thread);
        drop(threads);
        for ((name, old), (_, new)) in self.fixed.0.iter().zip(&fixed.0) {
            if old != new {
                self.outside.notice(Notice::NeedsRestart(name));
            }
        }
        // A key that was taken away is not given any longer; one that cannot be asked for now is given as stale.
        self.vault.forget();
        self.metrics.reloaded("done");
        self.outside.notice(Notice::Reloaded);
    }

    /// Key sets at URLs are read: at the start, and after a reload.
    pub(super) async fn refresh(&self) {
        if let Gate::Authorizers(authorizers) = &self.generation().gate {
            authorizers.refresh().await;
        }
    }

    /// The next request's id.
    pub(super) fn next_request(&self) -> RequestId {
        RequestId { run: self.run, number: self.requests.fetch_add(1, Ordering::Relaxed) }
    }

    /// From now on it is not ready, and connections are closed after the next answer.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether requests are likely to be answered well: for a load balancer.
    pub(super) async fn is_ready(&self) -> bool {
        let generation = self.generation();
        if self.is_draining() || !self.vault.ready() || generation.audit.as_ref().is_some_and(|audit| !audit.is_well())
        {
            return false;
        }
        if let Gate::Authorizers(authorizers) = &generation.gate
            && !authorizers.ready().await
        {
            return false;
        }
        // A volume that went away shows here.
        let catalog = Arc::clone(&generation.catalog);
        let look = move || catalog.packages().all(|package| open_beneath(&package.folder, &package.master).is_ok());
        self.readable.is_so(look).await
    }

    /// Says why a file was not given, or not to its end. Once in a while: whoever floods the server must not fill its log.
    pub(super) fn file_failed(&self, what: fmt::Arguments<'_>) {
        let mut last = self.file_noticed.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|at| at.elapsed() >= SERVER_FILE_NOTICE) {
            *last = Some(Instant::now());
            drop(last);
            self.outside.notice(Notice::File(what.to_string()));
        }
    }

    /// All figures as text.
    pub(super) fn figures(&self) -> String {
        let generation = self.generation();
        self.metrics.text(&Now {
            vault: self.vault.counts(),
            remembered: generation.rates.len(),
            certificate_expires: generation.tls.as_ref().and_then(|tls| tls.expires),
        })
    }

    /// Gives back what waits for the last audit lines: to be joined when nothing is left that could decide.
    pub(super) fn end(&self) -> Vec<AuditThread> {
        std::mem::take(&mut *self.audit_threads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
