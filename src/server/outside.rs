//! What the server asks of whoever runs it: it neither prints, nor opens logs, nor knows where its settings come from.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use crate::server::ServedPackage;
use crate::server::config::Config;

/// Everything that a server is made from, and that a reload asks for again.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration.
    pub config: Config,
    /// The packages that are served.
    pub packages: Vec<ServedPackage>,
}

/// What is done to a server that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Settings, certificate and secrets are read again; when something is wrong with them, nothing changes.
    Reload,
    /// It ends, without a failed request.
    Stop,
}

/// Whoever runs the server. All is called from several threads; none of it may block for long, but [`reload`](Self::reload).
pub trait Outside: Send + Sync + 'static {
    /// It listens, on this address: port 0 asked the system for one.
    fn ready(&self, address: SocketAddr, metrics: Option<SocketAddr>);

    /// Something for the operator's log.
    fn notice(&self, notice: Notice);

    /// The settings as they are now. May block.
    ///
    /// # Errors
    /// Why they cannot be used, in one line.
    fn reload(&self) -> Result<Settings, String>;

    /// Opens what audit lines are written to, to add to it.
    ///
    /// # Errors
    /// The system's.
    fn audit(&self, file: &Path) -> io::Result<Box<dyn Write + Send>>;
}

/// Something for the operator's log, on one line. No token, no query and no key is ever in one.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// The settings were read again and are in force.
    Reloaded,
    /// They cannot be used: those from before hold on, and so does the certificate.
    ReloadFailed(String),
    /// A setting was changed that takes a restart.
    NeedsRestart(&'static str),
    /// It ends: connections are taken for a while still.
    Draining,
    /// Requests that did not end in time were cut off.
    CutOff(usize),
    /// Audit lines cannot be written: requests for keys wait.
    AuditFailed(io::Error),
    /// They are being written again.
    AuditWell,
    /// A key could not be had.
    Key(String),
    /// A key set or an endpoint of the authorisers cannot be had.
    Authorizer(String),
    /// Connections cannot be taken.
    Accept(io::Error),
    /// A file that is there cannot be given.
    File(String),
    /// The certificate has ended.
    CertificateEnded,
}

impl Notice {
    /// Whether someone should look into it.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        !matches!(self, Self::Reloaded | Self::Draining | Self::AuditWell)
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reloaded => f.write_str("reloaded"),
            Self::ReloadFailed(reason) => write!(f, "not reloaded, everything stays as it was: {reason}"),
            Self::NeedsRestart(setting) => write!(f, "{setting} was changed: that takes a restart"),
            Self::Draining => f.write_str("stopping: new connections are taken for a while still"),
            Self::CutOff(count) => write!(f, "{count} connections were cut off at the deadline"),
            Self::AuditFailed(error) => {
                write!(f, "the audit log cannot be written: {error}; requests for keys wait")
            }
            Self::AuditWell => f.write_str("the audit log is being written again"),
            Self::Key(text) | Self::Authorizer(text) | Self::File(text) => f.write_str(text),
            Self::Accept(error) => write!(f, "connections cannot be taken: {error}"),
            Self::CertificateEnded => f.write_str("the TLS certificate has ended"),
        }
    }
}
