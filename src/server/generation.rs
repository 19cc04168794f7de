//! All that a reload replaces, at once or not at all.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::server::audit::Audit;
use crate::server::authorizers::{Authorizers, Report};
use crate::server::catalog::Catalog;
use crate::server::config::{Config, Limits, Shutdown};
use crate::server::cookie::SameSite;
use crate::server::cors::Cors;
use crate::server::limit::Rates;
use crate::server::outside::{Outside, Settings};
use crate::server::peer::Proxies;
use crate::server::tls::Tls;
use crate::server::{Notice, ServeError};

/// Who decides.
pub(super) enum Gate {
    /// Nobody: this machine is answered, and nobody else.
    Local,
    /// The authorisers.
    Authorizers(Authorizers),
}

/// One state of the settings, as requests meet it. A request keeps to the one that it began with.
pub(super) struct Generation {
    pub(super) gate: Gate,
    pub(super) catalog: Arc<Catalog>,
    /// Of cookies that viewers ask for.
    pub(super) same_site: SameSite,
    pub(super) cors: Cors,
    pub(super) proxies: Proxies,
    pub(super) rates: Rates,
    pub(super) limits: Limits,
    pub(super) shutdown: Shutdown,
    /// How long a player may keep a key, at most.
    pub(super) max_age: Duration,
    pub(super) tls: Option<Tls>,
    pub(super) audit: Option<Audit>,
}

/// A generation's audit log writes on until all that was decided under it is written.
pub(super) type AuditThread = JoinHandle<()>;

impl Generation {
    /// Reads secrets and certificates, and opens the audit log. Blocks.
    ///
    /// # Errors
    /// What cannot be read or used, by name.
    pub(super) fn new(
        settings: Settings,
        before: Option<&Self>,
        outside: &Arc<dyn Outside>,
    ) -> Result<(Self, Option<AuditThread>), ServeError> {
        let Parts { gate, catalog, cors, proxies, tls, config } = Parts::new(settings, before)?;
        if let Gate::Authorizers(authorizers) = &gate {
            let log = Arc::clone(outside);
            let report: Report = Arc::new(move |problem| log.notice(Notice::Authorizer(problem)));
            authorizers.report_to(&report);
        }
        if tls.as_ref().and_then(|tls| tls.expires).is_some_and(|end| end < SystemTime::now()) {
            outside.notice(Notice::CertificateEnded);
        }
        let (audit, thread) = match audit_file(&config) {
            None => (None, None),
            Some(file) => {
                let failed = |source: io::Error| ServeError::Audit { file: file.clone(), source };
                let out = outside.audit(&file).map_err(failed)?;
                let (audit, thread) = Audit::start(out, Arc::clone(outside)).map_err(failed)?;
                (Some(audit), Some(thread))
            }
        };
        let Config { limits, keys, origin, shutdown, .. } = config;
        let (catalog, same_site) = (Arc::new(catalog), origin.same_site);
        let rates = match gate {
            // This machine's own player is not to be kept waiting.
            Gate::Local => Rates::new((0, 0), (0, 0)),
            Gate::Authorizers(_) => {
                Rates::new((limits.client_rate, limits.client_burst), (limits.subject_rate, limits.subject_burst))
            }
        };
        let max_age = keys.max_age;
        Ok((Self { gate, catalog, same_site, cors, proxies, rates, limits, shutdown, max_age, tls, audit }, thread))
    }
}

/// Looks at settings as a start would, and opens nothing for writing. Blocks.
///
/// # Errors
/// What the server would not start with.
pub fn check(settings: Settings) -> Result<(), ServeError> {
    Parts::new(settings, None).map(|_| ())
}

/// Where decisions are written down: with authorisers to standard error, if nothing else is said.
fn audit_file(config: &Config) -> Option<PathBuf> {
    config.audit.file.clone().or_else(|| config.is_authorized().then(|| "-".into()))
}

/// What can be made without leaving a trace.
struct Parts {
    gate: Gate,
    catalog: Catalog,
    cors: Cors,
    proxies: Proxies,
    tls: Option<Tls>,
    config: Config,
}

impl Parts {
    fn new(settings: Settings, before: Option<&Generation>) -> Result<Self, ServeError> {
        let Settings { mut config, packages } = settings;
        let catalog = Catalog::new(packages)?;
        let authorizers = std::mem::take(&mut config.authorizer);
        let gate = if authorizers.is_empty() {
            if !config.listen.ip().is_loopback() {
                return Err(ServeError::NotLoopback { listen: config.listen });
            }
            // It may listen elsewhere than these settings say: only a start takes that.
            if before.is_some_and(|before| matches!(before.gate, Gate::Authorizers(_))) {
                return Err(ServeError::Unguarded { what: "authoriser" });
            }
            Gate::Local
        } else {
            Gate::Authorizers(match before.map(|before| &before.gate) {
                Some(Gate::Authorizers(before)) => before.replaced(authorizers.clone())?,
                _ => Authorizers::new(authorizers.clone())?,
            })
        };
        config.authorizer = authorizers;
        let cors = match gate {
            Gate::Local => Cors::Loopback,
            Gate::Authorizers(_) => Cors::Listed(config.allowed_origins.clone()),
        };
        let proxies = Proxies::new(config.trusted_proxies.clone(), config.trusted_header);
        let tls = config.tls.as_ref().map(Tls::open).transpose()?;
        // Tokens that were sent under TLS are not to come in clear from one moment to the next.
        if tls.is_none() && before.is_some_and(|before| before.tls.is_some()) {
            return Err(ServeError::Unguarded { what: "certificate" });
        }
        Ok(Self { gate, catalog, cors, proxies, tls, config })
    }
}
