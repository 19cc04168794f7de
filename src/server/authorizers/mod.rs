//! Who may have which key: the authorisers, tried in the order of the configuration.
//!
//! Each knows one kind of credential. The first that finds its own kind on a request decides, for or against: what one
//! of them refused is never tried as something else. A [`Grant`] says what a viewer may have, and covers nothing by
//! default. Why a request was refused ([`Denied`]) is for the audit log alone.
//!
//! The formats and the settings are in the manual's page on tokens.

pub mod certificate;
mod credential;
pub mod denied;
mod forward;
mod http;
pub mod jwt;
pub mod life;
mod mtls;
pub mod path;
pub mod scope;
pub mod secret;
pub mod settings;
pub mod signed;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::{HeaderMap, Method};
use sha2::{Digest, Sha256};

use crate::keys::{ContentId, KeyId};

pub use certificate::ClientCertificate;
pub use denied::Denied;
pub use life::Life;
pub use path::key_id;
use scope::Scope;
pub use settings::{Settings, SettingsError};

/// A request, as the authorisers see it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as it was sent: nothing decoded, nothing normalised.
    pub path: &'a str,
    /// What follows the `?`, as it was sent.
    pub query: Option<&'a str>,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The viewer's address; behind trusted proxies, the one that they name.
    pub client: IpAddr,
    /// The client certificate of the connection, if it was asked for and verified.
    pub certificate: Option<&'a ClientCertificate>,
}

/// What a viewer may have, and until when.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The kind of authoriser that granted it, for logs: `jwt`, `signed`, `mtls`, `forward`.
    pub authorizer: &'static str,
    /// A short hash of who it is, for logs and rate limits: equal for requests of the same viewer.
    pub subject: Option<String>,
    /// The id that the token's issuer gave it (`jti`), where it is plain; for a signed URL or cookie, and for a token that
    /// names nobody, a short hash.
    pub token_id: Option<String>,
    /// When it ends. Nothing that was answered under it may be kept longer.
    pub expires: Option<SystemTime>,
    scope: Scope,
    /// Which authoriser granted it.
    by: usize,
    carrier: Carrier,
}

/// How the credential came, and so whether the requests that follow carry it by themselves.
#[derive(Debug, Clone)]
enum Carrier {
    /// In a header field, a cookie, or the connection: it comes with the other requests too.
    Itself,
    /// In the query: the URIs in a playlist need it again.
    Query,
    /// A signed URL or cookie under these terms.
    Signed(signed::Terms),
}

impl Grant {
    fn new(authorizer: &'static str, scope: Scope, carrier: Carrier) -> Self {
        Self { authorizer, subject: None, token_id: None, expires: None, scope, by: 0, carrier }
    }

    /// By what its requests are counted: the viewer, or else the token. A certificate is that of a server, which asks for many
    /// viewers: it is counted by its address alone.
    #[must_use]
    pub fn counted_by(&self) -> Option<&String> {
        self.subject.as_ref().or(self.token_id.as_ref()).filter(|_| self.authorizer != mtls::NAME)
    }

    /// Whether the key of this content may be had. The content has to be the one that the sealed key is bound to, not
    /// one that the request names.
    #[must_use]
    pub fn covers(&self, key: &KeyId, content: &ContentId) -> bool {
        self.scope.covers(key, content)
    }

    /// Whether all of the content may be had. A grant of single keys covers no content.
    #[must_use]
    pub fn covers_content(&self, content: &ContentId) -> bool {
        self.scope.covers_content(content)
    }
}

/// Who is told why a key set or an endpoint cannot be had, on one line, of no viewer.
pub type Report = Arc<dyn Fn(String) + Send + Sync>;

/// What an authoriser makes of a request. It is looked at once and kept nowhere: its size costs nothing.
#[allow(clippy::large_enum_variant)]
enum Verdict {
    /// Its kind of credential is not there.
    Absent,
    /// It is a token of another issuer, which may be the business of another authoriser of the same kind.
    Foreign,
    /// It decided.
    Decided(Result<Grant, Denied>),
}

impl From<Denied> for Verdict {
    fn from(denied: Denied) -> Self {
        Self::Decided(Err(denied))
    }
}

enum Authorizer {
    Jwt(jwt::Jwt),
    Signed(signed::Signed),
    Mtls(mtls::Mtls),
    Forward(forward::Forward),
}

/// The authorisers of a server, in order.
pub struct Authorizers {
    list: Vec<Authorizer>,
}

impl std::fmt::Debug for Authorizers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorizers").field("count", &self.list.len()).finish_non_exhaustive()
    }
}

impl Authorizers {
    /// Reads the secret and key files that the settings name. Key sets at URLs are not waited for: see
    /// [`refresh`](Self::refresh).
    ///
    /// # Errors
    /// Names the authoriser, the field and the file; never what a file holds.
    pub fn new(settings: Vec<Settings>) -> Result<Self, SettingsError> {
        Self::build(settings, None)
    }

    /// Authorisers of new settings in place of these. What was read of key sets at URLs that both name goes on being
    /// used, so that a reload while such a URL cannot be reached loses nobody; verified tokens are forgotten.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn replaced(&self, settings: Vec<Settings>) -> Result<Self, SettingsError> {
        Self::build(settings, Some(self))
    }

    fn build(settings: Vec<Settings>, old: Option<&Self>) -> Result<Self, SettingsError> {
        let kept = |wanted: &settings::JwksSettings| {
            let jwts = old.into_iter().flat_map(|old| &old.list);
            jwts.filter_map(|one| if let Authorizer::Jwt(jwt) = one { jwt.key_set(wanted) } else { None }).next()
        };
        let build = |(at, settings): (usize, Settings)| {
            let kind = settings.kind();
            let built = match settings {
                Settings::Jwt(settings) => jwt::Jwt::new(settings, &kept).map(Authorizer::Jwt),
                Settings::Signed(settings) => signed::Signed::new(settings).map(Authorizer::Signed),
                Settings::Mtls(settings) => mtls::Mtls::new(settings).map(Authorizer::Mtls),
                Settings::Forward(settings) => forward::Forward::new(settings).map(Authorizer::Forward),
            };
            built.map_err(|flaw| flaw.of(at, kind))
        };
        Ok(Self { list: settings.into_iter().enumerate().map(build).collect::<Result<_, _>>()? })
    }

    /// Has trouble with key sets and endpoints told from now on, to the one who is named first.
    pub fn report_to(&self, report: &Report) {
        for authorizer in &self.list {
            match authorizer {
                Authorizer::Jwt(jwt) => jwt.report_to(report),
                Authorizer::Forward(forward) => forward.report_to(report),
                Authorizer::Signed(_) | Authorizer::Mtls(_) => {}
            }
        }
    }

    /// Whether the credential that a request carries is good: its signature, its times, its form. What it opens is in
    /// the grant, and not yet compared with what was asked for.
    ///
    /// # Errors
    /// Why not, for the log. All are the same to the viewer, but for [`Denied::is_temporary`].
    pub async fn decide(&self, asked: &Asked<'_>, now: SystemTime) -> Result<Grant, Denied> {
        let mut is_foreign = false;
        for (by, authorizer) in self.list.iter().enumerate() {
            let verdict = match authorizer {
                Authorizer::Jwt(jwt) => jwt.decide(asked, now).await,
                // It was a token, only nobody's yet: no other kind may take the request.
                _ if is_foreign => continue,
                Authorizer::Signed(signed) => signed.decide(asked, now),
                Authorizer::Mtls(mtls) => mtls.decide(asked, now),
                Authorizer::Forward(forward) => forward.decide(asked, now).await,
            };
            match verdict {
                Verdict::Absent => {}
                Verdict::Foreign => is_foreign = true,
                Verdict::Decided(result) => return result.map(|grant| Grant { by, ..grant }),
            }
        }
        Err(if is_foreign { Denied::JwtIssuer } else { Denied::NoCredential })
    }

    /// What a playlist that is served to this viewer appends to the URI at `path`: the token that came in the query, or
    /// parameters signed anew for `path` with the same end, network and content. `None` when the viewer's credential comes along
    /// by itself (a header field, a cookie that reaches `path`, a certificate), or cannot be passed on.
    ///
    /// `asked` is the request that `grant` was given for.
    #[must_use]
    pub fn key_query(&self, grant: &Grant, asked: &Asked<'_>, path: &str) -> Option<String> {
        match (&grant.carrier, self.list.get(grant.by)?) {
            (Carrier::Query, Authorizer::Jwt(_)) => {
                let token = credential::in_query(asked.query, jwt::PARAMETER).ok()??;
                Some(format!("{}={token}", jwt::PARAMETER))
            }
            (Carrier::Signed(terms), Authorizer::Signed(signed)) => signed.pass_on(terms, asked, path),
            _ => None,
        }
    }

    /// The cookie that says the same as the token in the query, for players that send cookies and nothing else: its name
    /// and its value. None for every other credential: it comes along by itself, or is for single paths.
    #[must_use]
    pub fn cookie(&self, grant: &Grant, asked: &Asked<'_>) -> Option<(String, String)> {
        match (&grant.carrier, self.list.get(grant.by)?) {
            (Carrier::Query, Authorizer::Jwt(jwt)) => {
                let token = credential::in_query(asked.query, jwt::PARAMETER).ok()??;
                Some((jwt.cookie().to_owned(), token.to_owned()))
            }
            _ => None,
        }
    }

    /// Whether every key set has been read at least once.
    pub async fn ready(&self) -> bool {
        self.list.iter().all(|authorizer| match authorizer {
            Authorizer::Jwt(jwt) => jwt.is_ready(),
            Authorizer::Signed(_) | Authorizer::Mtls(_) | Authorizer::Forward(_) => true,
        })
    }

    /// Reads the key sets again: at the start, and after a reload. One that cannot be had stays as it was. Between, they
    /// are read again by themselves.
    pub async fn refresh(&self) {
        for authorizer in &self.list {
            if let Authorizer::Jwt(jwt) = authorizer {
                jwt.refresh().await;
            }
        }
    }
}

/// Makes relative paths in settings relative to `folder`: the one of the configuration file.
#[must_use]
pub fn settings_beneath(folder: &Path, settings: Vec<Settings>) -> Vec<Settings> {
    settings.into_iter().map(|settings| settings.beneath(folder)).collect()
}

/// The first 16 hex digits of SHA-256 over the parts, each after its length: enough to tell viewers apart in a log, and
/// nothing that could be presented again.
fn short_hash(parts: &[&[u8]]) -> String {
    let digest = hash(parts);
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Whole seconds since 1970; 0 before.
fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The time of whole seconds since 1970, where the system's clock reaches so far.
fn at(seconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds))
}
