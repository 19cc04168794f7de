//! Why a provider that was reached would not use a key.

use std::fmt;

/// What a provider said against the use of a wrapping key. Each needs something else to be done about it (spec KER-03 to KER-09).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The wrapping key is disabled (KER-03).
    Disabled,
    /// The wrapping key is about to be deleted, and everything sealed under it lost (KER-03, KER-04).
    PendingDeletion,
    /// The wrapping key is in another state that lets nobody use it: its material was not imported, its key store is not
    /// connected (KER-04).
    State(String),
    /// There is no such wrapping key in the region that was asked (KER-05).
    Missing {
        /// The region that was asked.
        region: String,
    },
    /// What was to be opened was sealed under another key (KER-07).
    WrongKey,
    /// The key is not for sealing: it is asymmetric, or for HMAC (KER-08, KMS-014).
    NotSymmetric,
    /// A grant token is not valid (KER-08).
    GrantToken,
    /// Nothing says which region is to be asked.
    NoRegion,
    /// The caller's credentials are missing, expired or not known.
    Credentials(String),
    /// Anything else, in the provider's words.
    Other(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("the key is disabled"),
            Self::PendingDeletion => f.write_str("the key is pending deletion"),
            Self::State(reason) => write!(f, "the key's state does not allow it: {reason}"),
            Self::Missing { region } => write!(f, "there is no such key in {region}"),
            Self::WrongKey => f.write_str("this is not the key that it was sealed under"),
            Self::NotSymmetric => f.write_str("it is not a symmetric encryption key"),
            Self::GrantToken => f.write_str("a grant token is not valid"),
            Self::NoRegion => f.write_str("no AWS region is known"),
            Self::Credentials(reason) => write!(f, "no usable credentials: {reason}"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl Refusal {
    /// What to do about it for the wrapping key `key`, where that is known.
    pub(super) fn hint(&self, key: &str) -> Option<String> {
        let hint = match self {
            Self::Disabled => format!("aws kms enable-key --key-id {key}"),
            Self::PendingDeletion => {
                format!(
                    "aws kms cancel-key-deletion --key-id {key}, then enable it: when it is gone, so is every package under it"
                )
            }
            Self::State(_) => format!("aws kms describe-key --key-id {key} shows its state"),
            Self::Missing { .. } => {
                "check id, account and region: an ARN names all three, an id or alias is looked for in AWS_REGION"
                    .into()
            }
            Self::WrongKey => {
                "name the key that sealed it by its ARN: an alias may have come to mean another key".into()
            }
            Self::NotSymmetric => {
                "aws kms create-key makes a symmetric one; asymmetric and HMAC keys cannot seal data keys".into()
            }
            Self::GrantToken => {
                "leave --grant-token out once the grant is five minutes old, or create the grant anew".into()
            }
            Self::NoRegion => "set AWS_REGION, or name the key by its ARN, which holds the region".into(),
            Self::Credentials(_) => {
                "aws sso login, AWS_PROFILE or AWS_ACCESS_KEY_ID; aws sts get-caller-identity tests them".into()
            }
            Self::Other(_) => return None,
        };
        Some(hint)
    }
}
