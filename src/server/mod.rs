//! The key server and origin, in its first form: on loopback, the files of finished packages and the keys of exactly
//! these packages.
//!
//! Nothing here decides who a viewer is. What stands in its place is that nobody but this machine is answered: the
//! listener is on loopback, and a request whose `Host` is not (DNS rebinding) or that a proxy passed on is refused.

mod authorize;
pub mod authorizers;
mod error;
mod file;
mod listen;
mod package;
mod page;
mod range;
mod respond;
mod route;
#[cfg(test)]
mod tests;
pub mod vault;

pub use error::ServeError;
pub use listen::run;
pub use package::ServedPackage;

/// The 16 bytes of a content key, zeroed on drop.
pub type KeyBytes = zeroize::Zeroizing<[u8; 16]>;

/// Where the server gets a key from.
///
/// It is asked only for keys of the packages that are served, on a thread that may block. Why a key could not be had
/// is for the source to report: the viewer is told the same as for a key that does not exist.
pub trait KeySource: Send + Sync + 'static {
    /// The content key, or `None` if it cannot be had.
    fn key(&self, key_id: &str) -> Option<KeyBytes>;
}

impl<F> KeySource for F
where
    F: Fn(&str) -> Option<KeyBytes> + Send + Sync + 'static,
{
    fn key(&self, key_id: &str) -> Option<KeyBytes> {
        self(key_id)
    }
}
