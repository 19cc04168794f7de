//! What can keep the server from starting. Errors of single requests are answers, not errors.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::server::TlsError;
use crate::server::authorizers::SettingsError;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is reachable from other machines, and there is no authoriser.
    #[error("{listen} is not a loopback address, and no authoriser is configured")]
    NotLoopback {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// A reload would take the last authoriser away, or TLS.
    #[error("there is no {what} any more: to do without takes a restart")]
    Unguarded {
        /// What is missing.
        what: &'static str,
    },
    /// The address could not be listened on.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// What authorisers are to be made from cannot be used.
    #[error(transparent)]
    Authorizers(#[from] SettingsError),
    /// Certificate or key cannot be used.
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    /// The audit log cannot be opened.
    #[error("audit log {}: {source}", file.display())]
    Audit {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The async runtime could not be built.
    #[error("cannot start the server's threads: {source}")]
    Runtime {
        /// The system's reason.
        source: io::Error,
    },
    /// The folder holds no `keyrung.json` that can be read.
    #[error("{}: cannot read keyrung.json: {source}", folder.display())]
    Unreadable {
        /// The package's folder.
        folder: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// `keyrung.json` is larger than [`limits::SERVER_MAX_RECORD_BYTES`](crate::limits::SERVER_MAX_RECORD_BYTES).
    #[error("{}: keyrung.json is larger than {limit} bytes", folder.display())]
    TooLarge {
        /// The package's folder.
        folder: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// `keyrung.json` is of a version that this release does not know.
    #[error("{}: keyrung.json has version {version}, this release reads version 1", folder.display())]
    Version {
        /// The package's folder.
        folder: PathBuf,
        /// The version found.
        version: u64,
    },
    /// `keyrung.json` is not a commit record, or names something that cannot be served.
    #[error("{}: keyrung.json: {what}", folder.display())]
    Malformed {
        /// The package's folder.
        folder: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Two packages have one content id, which is their place on the server.
    #[error("two packages have the content id {content_id:?}")]
    Duplicate {
        /// The content id.
        content_id: String,
    },
}
