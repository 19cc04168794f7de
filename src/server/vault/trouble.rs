//! What stands between a viewer and a key: what the log is told, and the little that the viewer is.

use std::io::ErrorKind;
use std::time::Duration;

use crate::keys::{KeyError, KeyId, Refusal};
use crate::storage::StorageError;

/// Why a key cannot be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Whoever has a say in it said no, and will say so again: to be answered as a key that does not exist.
    Refused,
    /// The key store or the provider cannot be reached, or asks for patience.
    Unreachable,
    /// It has not answered in the time that a viewer waits.
    Slow,
    /// Too many calls are under way, or too many viewers wait for them.
    Busy,
    /// The record was replaced between its reading and its opening.
    Changed,
    /// A bug: the call did not come to an end.
    Internal,
}

impl Kind {
    /// A name for logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Slow => "slow",
            Self::Busy => "busy",
            Self::Changed => "changed",
            Self::Internal => "internal",
        }
    }
}

/// What an [`Open`](super::Open) has to say when it gives nothing. The reason is for the log: it names paths and wrapping keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub(super) kind: Kind,
    pub(super) reason: String,
    pub(super) retry_after: Option<Duration>,
}

impl Trouble {
    /// The same question would be answered so until someone changes something.
    #[must_use]
    pub fn refused(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Refused, reason: reason.into(), retry_after: None }
    }

    /// The same question may be answered a little later.
    #[must_use]
    pub fn passing(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Unreachable, reason: reason.into(), retry_after: None }
    }

    /// With the time for which whoever was asked wants to be left alone.
    #[must_use]
    pub fn not_before(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    pub(super) fn of(kind: Kind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), retry_after: None }
    }
}

impl From<KeyError> for Trouble {
    /// Only what says something of this key is a refusal. What would be so for every key, a server without credentials or a
    /// keyring, is trouble that passes once it is mended: viewers come back, and what was opened before stays good meanwhile.
    fn from(error: KeyError) -> Self {
        let passing = match &error {
            KeyError::Unavailable { .. }
            | KeyError::Audit(_)
            | KeyError::NoKeyring { .. }
            | KeyError::NoHome
            | KeyError::Random(_)
            | KeyError::Refused { refusal: Refusal::Credentials(_) | Refusal::NoRegion, .. } => true,
            // A bucket that may not be listed says of an object that is not there that access is denied.
            KeyError::Storage(StorageError::Refused { .. } | StorageError::TooLarge { .. }) => false,
            // A folder or a pipe in the place of a record.
            KeyError::Storage(StorageError::Other { source, .. }) => source.kind() != ErrorKind::InvalidInput,
            KeyError::Storage(_) => true,
            _ => false,
        };
        if passing { Self::passing(error.to_string()) } else { Self::refused(error.to_string()) }
    }
}

/// A key that cannot be given now, as [`Vault`](super::Vault) tells whoever answers the viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key cannot be given: {}", kind.code())]
pub struct Unavailable {
    /// When it may be worth to ask again; a whole second at least.
    pub retry_after: Duration,
    /// Why.
    pub kind: Kind,
}

impl Unavailable {
    /// Whether the viewer is to be answered as one who may not have the key; else the service is unavailable (503).
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.kind == Kind::Refused
    }

    pub(super) fn new(kind: Kind, retry_after: Duration) -> Self {
        // `Retry-After` has whole seconds, and 0 would bring everyone back at once.
        Self { kind, retry_after: Duration::from_secs(retry_after.as_secs_f64().ceil().max(1.0) as u64) }
    }
}

/// At which stage something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The key store was asked for the record.
    Read,
    /// The provider was asked to open the key.
    Open,
}

impl Stage {
    /// A name for logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Open => "open",
        }
    }
}

/// A call that gave nothing, for the log. It happens once for a call, not for every viewer who waits for it.
#[derive(Debug)]
pub struct Incident<'a> {
    /// The key that was asked for. A viewer may have made it up.
    pub key_id: KeyId,
    /// What was being done.
    pub stage: Stage,
    /// What became of it.
    pub kind: Kind,
    /// The cause on one line. It names paths and wrapping keys, and is not for viewers.
    pub reason: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    #[test]
    fn what_is_said_of_one_key_is_a_refusal_and_all_else_passes() {
        let (key, provider) = (|| "arn".to_owned(), "aws-kms");
        let refused = |refusal| KeyError::Refused { provider, key: key(), refusal };
        let io = |errno: rustix::io::Errno| StorageError::new("read", Path::new("/k"), errno).into();
        let refusals: [KeyError; 9] = [
            KeyError::Denied { provider, key: key(), reason: "no".into() },
            refused(Refusal::Disabled),
            refused(Refusal::WrongKey),
            KeyError::Unsealable { key_id: key() },
            KeyError::Unbound { key_id: key() },
            KeyError::NotMine { key_id: key(), provider: "vault".into(), key: key() },
            KeyError::Malformed { what: key(), reason: "no".into() },
            KeyError::UnknownVersion { what: key(), version: 2 },
            StorageError::TooLarge { path: PathBuf::from("/k"), limit: 1 }.into(),
        ];
        for error in refusals {
            let text = error.to_string();
            assert_eq!(Trouble::from(error), Trouble::refused(text));
        }
        let unauthenticated = StorageError::Unauthenticated {
            operation: "read",
            path: PathBuf::from("/k"),
            reason: "ExpiredToken".into(),
            hint: "renew the credentials",
        };
        let passing: [KeyError; 8] = [
            KeyError::Unavailable { provider, reason: "ThrottlingException: Rate exceeded".into() },
            refused(Refusal::Credentials("expired".into())),
            refused(Refusal::NoRegion),
            KeyError::NoKeyring { path: PathBuf::from("/k") },
            KeyError::Audit("no space left".into()),
            io(rustix::io::Errno::MFILE),
            io(rustix::io::Errno::ACCESS),
            unauthenticated.into(),
        ];
        for error in passing {
            let text = error.to_string();
            assert_eq!(Trouble::from(error), Trouble::passing(text));
        }
    }

    #[test]
    fn a_viewer_is_never_told_to_come_back_at_once() {
        for (given, told) in [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (30_000, 30)] {
            let told = Duration::from_secs(told);
            assert_eq!(Unavailable::new(Kind::Busy, Duration::from_millis(given)).retry_after, told);
        }
    }
}
