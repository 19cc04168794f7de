//! The settings of the key server: what they are, and what holds where nothing is said.
//!
//! They come from a TOML file, from the environment and from flags, each above the one before; [`load`] puts them
//! together, [`print()`] shows the whole with its defaults. Each server part takes its own part of a [`Config`].

mod duration;
mod keys;
mod layers;
mod print;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::server::cookie::SameSite;
use crate::server::cors::AllowedOrigin;
use crate::server::{authorizers, vault};

pub use keys::{Kind, Setting, all as all_settings, variable};
pub use layers::{ConfigError, File, Flags, load};
pub use print::{print, value};

/// All settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port that players ask.
    pub listen: SocketAddr,
    /// Address and port of `/metrics`, on loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<SocketAddr>,
    /// Folder or bucket prefix of the sealed keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_store: Option<PathBuf>,
    /// Networks of proxies whose word on the client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The field that these proxies write it in.
    pub trusted_header: TrustedHeader,
    /// Origins whose pages may read answers, with credentials.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Certificate and key; none for plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// What one client, one connection and one request may take.
    pub limits: Limits,
    /// Opened keys.
    pub keys: Keys,
    /// Where decisions are written down.
    pub audit: AuditLog,
    /// Packages.
    pub origin: Origin,
    /// The end of a run.
    pub shutdown: Shutdown,
    /// Who may have what: tried in order. None: this machine may have the keys of the packages served.
    pub authorizer: Vec<authorizers::Settings>,
}

/// The field that a trusted proxy names the client in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustedHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// `[tls]`: PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate, and those between it and the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Roots of client certificates; without them none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections open at once.
    pub connections: usize,
    /// Connections of one client address, or one IPv6 /64; 0: as many as there are.
    pub connections_per_client: usize,
    /// Time for a request's head, and how long an HTTP/1.1 connection may rest between requests.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// Time that a connection may pass without a request or a byte taken.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// Time until a request is answered.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Fields of a request's head.
    pub head_fields: usize,
    /// Bytes of a request's path and query.
    pub uri_bytes: usize,
    /// HTTP/2 streams of one connection at once.
    pub streams: u32,
    /// Requests a second that authorisation looks at, for one client address or IPv6 /64; 0: no limit.
    pub client_rate: u32,
    /// As many may come at once.
    pub client_burst: u32,
    /// Key requests a second of one token's subject; 0: no limit.
    pub subject_rate: u32,
    /// As many may come at once.
    pub subject_burst: u32,
}

/// `[keys]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// How long a player may keep a key, at most; 0: not at all.
    #[serde(with = "duration")]
    pub max_age: Duration,
    /// How long an opened key is kept.
    #[serde(with = "duration")]
    pub life: Duration,
    /// How long it is remembered that a key is not there.
    #[serde(with = "duration")]
    pub negative_life: Duration,
    /// How long after its life a key serves on while its provider is not to be had.
    #[serde(with = "duration")]
    pub stale_for: Duration,
    /// How long a request waits for a key to be opened.
    #[serde(with = "duration")]
    pub wait: Duration,
    /// Keys kept at once.
    pub capacity: usize,
    /// Calls to the key store at once; to providers likewise.
    pub calls: usize,
}

/// `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditLog {
    /// The file that lines are added to; `-` is standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// `[origin]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Origin {
    /// The `SameSite` of cookies that viewers ask for.
    pub same_site: SameSite,
}

/// `[shutdown]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long it still takes connections after `/readyz` has begun to say 503, with an authoriser.
    #[serde(with = "duration")]
    pub delay: Duration,
    /// How long requests in flight may take after that.
    #[serde(with = "duration")]
    pub deadline: Duration,
}

impl Config {
    /// Whether there is anybody who decides. Without, only this machine is answered.
    #[must_use]
    pub fn is_authorized(&self) -> bool {
        !self.authorizer.is_empty()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8484)),
            metrics_listen: None,
            key_store: None,
            trusted_proxies: Vec::new(),
            trusted_header: TrustedHeader::default(),
            allowed_origins: Vec::new(),
            tls: None,
            limits: Limits::default(),
            keys: Keys::default(),
            audit: AuditLog::default(),
            origin: Origin::default(),
            shutdown: Shutdown::default(),
            authorizer: Vec::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: limits::SERVER_MAX_CONNECTIONS,
            connections_per_client: limits::SERVER_CLIENT_CONNECTIONS,
            header_timeout: limits::SERVER_HEADER_TIMEOUT,
            idle_timeout: limits::SERVER_IDLE_TIMEOUT,
            request_timeout: limits::SERVER_REQUEST_TIMEOUT,
            head_bytes: limits::SERVER_MAX_HEAD_BYTES,
            head_fields: limits::SERVER_MAX_HEADERS,
            uri_bytes: limits::SERVER_MAX_URI_BYTES,
            streams: limits::SERVER_STREAMS,
            client_rate: limits::SERVER_CLIENT_RATE,
            client_burst: limits::SERVER_CLIENT_BURST,
            subject_rate: limits::SERVER_SUBJECT_RATE,
            subject_burst: limits::SERVER_SUBJECT_BURST,
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        let vault::Settings { life, negative_life, stale_for, wait, capacity, calls } = vault::Settings::default();
        Self { max_age: limits::SERVER_KEY_MAX_AGE, life, negative_life, stale_for, wait, capacity, calls }
    }
}

impl Keys {
    /// What the vault takes of them.
    pub(super) fn vault(&self) -> vault::Settings {
        let Self { max_age: _, life, negative_life, stale_for, wait, capacity, calls } = self.clone();
        vault::Settings { life, negative_life, stale_for, wait, capacity, calls }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { delay: limits::SERVER_DRAIN_DELAY, deadline: limits::SERVER_DRAIN }
    }
}

#[cfg(test)]
mod tests;
