//! What can go wrong with keys, sorted by what the reader can do about it.

use std::path::PathBuf;

use crate::crypto::key::RandomError;
use crate::keys::Refusal;
use crate::storage::StorageError;

/// A failure of a key, a provider, or what is stored of them. No message holds anything secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key store has no such record.
    #[error("no {what} {id} in the key store {place}")]
    NotFound {
        /// "key" or "claim".
        what: &'static str,
        /// The key id or content id.
        id: String,
        /// The key store.
        place: String,
    },
    /// The provider knows the key and does not let this caller use it.
    #[error("{provider} refused the use of {key}: {reason}")]
    Denied {
        /// The provider's name.
        provider: &'static str,
        /// The provider's name of the wrapping key.
        key: String,
        /// What the provider said, on one line.
        reason: String,
    },
    /// The provider was reached and would not use the key, for a reason of its own.
    #[error("{provider} refused the use of {key}: {refusal}")]
    Refused {
        /// The provider's name.
        provider: &'static str,
        /// The provider's name of the wrapping key.
        key: String,
        /// Why.
        refusal: Refusal,
    },
    /// The key opens, but nothing says that it is the key of the content that its record names.
    #[error("key {key_id} is not bound to its content id: its record was changed")]
    Unbound {
        /// The sealed key.
        key_id: String,
    },
    /// What was done cannot be recorded, so it is not done.
    #[error("the audit log cannot be written: {0}")]
    Audit(String),
    /// The record is another provider's, or sealed under another wrapping key than the one at hand. Nothing was tried.
    #[error("key {key_id} is sealed by {provider} under {key}, which is not at hand")]
    NotMine {
        /// The sealed key.
        key_id: String,
        /// The provider that the record names.
        provider: String,
        /// The wrapping key that the record names.
        key: String,
    },
    /// The right wrapping key does not open it: the ciphertext or the encryption context is not what was sealed.
    #[error("key {key_id} does not open: its ciphertext or its encryption context was changed")]
    Unsealable {
        /// The sealed key.
        key_id: String,
    },
    /// The provider cannot be reached or asks to come back later; worth a retry.
    #[error("{provider} cannot be reached: {reason}")]
    Unavailable {
        /// The provider's name.
        provider: &'static str,
        /// What happened, on one line.
        reason: String,
    },
    /// The local keyring is not there.
    #[error("there is no keyring {}", path.display())]
    NoKeyring {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is no folder to keep the keyring in.
    #[error("nowhere to keep keys: neither KEYRUNG_HOME nor HOME is set")]
    NoHome,
    /// A stored document was written by a later version.
    #[error("{what} has format version {version}, which this version does not know")]
    UnknownVersion {
        /// Which document.
        what: String,
        /// Its version.
        version: u64,
    },
    /// A stored document is not what it should be.
    #[error("{what} is damaged: {reason}")]
    Malformed {
        /// Which document.
        what: String,
        /// What is wrong with it, on one line.
        reason: String,
    },
    /// Something that was typed is not allowed: an id, a context.
    #[error("{given:?} is not {wanted}")]
    Invalid {
        /// What is allowed.
        wanted: &'static str,
        /// What was given.
        given: String,
    },
    /// The system gave no random bytes.
    #[error("the system's random number generator failed: {0}")]
    Random(String),
    /// The key store or the keyring cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl KeyError {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Storage(error) => return error.hint(),
            Self::Refused { key, refusal, .. } => return refusal.hint(key),
            Self::Denied { .. } => {
                "the caller's role or the key's policy must allow it for this context; a grant younger than five minutes \
                 needs its token: --grant-token"
            }
            Self::NotMine { provider, .. } if provider == "local" => {
                "put the keyring back that sealed it: keyrung key restore FILE"
            }
            Self::NotMine { .. } => "name its provider with --key-provider",
            Self::Unsealable { .. } | Self::Unbound { .. } => "fetch the record again from where it was stored",
            Self::NoKeyring { .. } => "keyrung key restore FILE puts a backup back",
            Self::NoHome => "set KEYRUNG_HOME to a private folder",
            Self::UnknownVersion { .. } => "use the version of keyrung that wrote it, or a later one",
            Self::Unavailable { .. } => "run the same command again later",
            _ => return None,
        };
        Some(hint.into())
    }

    /// A name for it in the audit log, where the provider has given none: what KMS would call it.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Unsealable { .. } => "InvalidCiphertextException",
            Self::NotMine { .. } => "IncorrectKeyException",
            Self::Denied { .. } => "AccessDeniedException",
            Self::Unbound { .. } => "KeyNotBound",
            Self::Malformed { .. } => "MalformedAnswer",
            Self::Unavailable { .. } => "ServiceUnavailable",
            _ => "InternalFailure",
        }
    }

    /// Whether the same call may succeed later without anyone's doing.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl From<RandomError> for KeyError {
    fn from(error: RandomError) -> Self {
        Self::Random(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_plain_and_on_one_line() {
        let s = |text: &str| text.to_string();
        let cases = [
            (KeyError::NotFound { what: "key", id: s("ID"), place: s("/k") }, "no key ID in the key store /k", None),
            (
                KeyError::Denied { provider: "aws-kms", key: s("alias/a"), reason: s("no kms:Decrypt") },
                "aws-kms refused the use of alias/a: no kms:Decrypt",
                Some(
                    "the caller's role or the key's policy must allow it for this context; a grant younger than five \
                     minutes needs its token: --grant-token",
                ),
            ),
            (
                KeyError::Refused { provider: "aws-kms", key: s("ARN"), refusal: Refusal::Disabled },
                "aws-kms refused the use of ARN: the key is disabled",
                Some("aws kms enable-key --key-id ARN"),
            ),
            (
                KeyError::Unbound { key_id: s("ID") },
                "key ID is not bound to its content id: its record was changed",
                Some("fetch the record again from where it was stored"),
            ),
            (
                KeyError::NotMine { key_id: s("ID"), provider: s("local"), key: s("KEK") },
                "key ID is sealed by local under KEK, which is not at hand",
                Some("put the keyring back that sealed it: keyrung key restore FILE"),
            ),
            (
                KeyError::NotMine { key_id: s("ID"), provider: s("aws-kms"), key: s("ARN") },
                "key ID is sealed by aws-kms under ARN, which is not at hand",
                Some("name its provider with --key-provider"),
            ),
            (
                KeyError::Unsealable { key_id: s("ID") },
                "key ID does not open: its ciphertext or its encryption context was changed",
                Some("fetch the record again from where it was stored"),
            ),
            (
                KeyError::Unavailable { provider: "aws-kms", reason: s("timed out") },
                "aws-kms cannot be reached: timed out",
                Some("run the same command again later"),
            ),
            (
                KeyError::NoKeyring { path: PathBuf::from("/k/keyring.json") },
                "there is no keyring /k/keyring.json",
                Some("keyrung key restore FILE puts a backup back"),
            ),
            (
                KeyError::NoHome,
                "nowhere to keep keys: neither KEYRUNG_HOME nor HOME is set",
                Some("set KEYRUNG_HOME to a private folder"),
            ),
            (
                KeyError::UnknownVersion { what: s("the keyring"), version: 2 },
                "the keyring has format version 2, which this version does not know",
                Some("use the version of keyrung that wrote it, or a later one"),
            ),
            (KeyError::Malformed { what: s("claim a"), reason: s("no object") }, "claim a is damaged: no object", None),
            (KeyError::Invalid { wanted: "a key id", given: s("x\ny") }, "\"x\\ny\" is not a key id", None),
            (
                KeyError::Storage(StorageError::Insecure { path: PathBuf::from("/k"), mend: s("chmod 700 /k") }),
                "refused: others have access to /k",
                Some("chmod 700 /k"),
            ),
        ];
        for (error, text, hint) in cases {
            assert_eq!(error.to_string(), text);
            assert_eq!(error.hint().as_deref(), hint, "{text}");
        }
    }
}
