//! The key server: content keys, 16 bytes each, for viewers who may have them; and the files of finished packages.
//!
//! With [authorisers](authorizers) it answers anyone, and gives the keys of the whole key store to whoever they let. Without, nothing
//! here decides who a viewer is; what stands in its place is that nobody but this machine is answered, and only the keys
//! of the packages that are served are given: the listener is on loopback, and a request whose `Host` is not (DNS
//! rebinding) or that a proxy passed on is refused.
//!
//! A connection comes in at `listen`, is told apart by `peer`, and its requests go through `route`: rate limits, an
//! authoriser, the [`vault`], and a line in the audit log. What a reload replaces is one `Generation`.

mod audience;
mod audit;
pub mod authorizers;
mod catalog;
pub mod config;
mod connection;
mod cookie;
mod cors;
mod encoding;
mod error;
mod file;
mod generation;
mod key;
mod limit;
mod listen;
mod local;
mod metrics;
mod metrics_listener;
mod origin;
mod outside;
mod package;
mod peer;
mod percent;
mod place;
mod player;
mod range;
mod ready;
mod respond;
mod route;
mod running;
#[cfg(test)]
mod tests;
mod tls;
mod validator;
pub mod vault;
mod viewer;

pub use cookie::SameSite;
pub use cors::{AllowedOrigin, OriginError};
pub use error::ServeError;
pub use generation::check;
pub use listen::run;
pub use outside::{Control, Notice, Outside, Settings};
pub use package::ServedPackage;
pub use tls::TlsError;
