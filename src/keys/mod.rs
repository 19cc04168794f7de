//! Sealed keys: who seals them, what is stored of them, and the claim that ties a content id to one key.
//!
//! [`KeyProvider`] is the one joint for key wrapping; [`LocalKeyring`] is the provider that needs no network, `kms::AwsKms` the one under AWS KMS; a
//! [`Keychain`] opens each sealed key through the provider that it names. [`KeyStore`] keeps
//! sealed keys and claims in any [`Documents`](crate::storage::Documents). The documents are specified in `manual/formats.md`.

pub mod audit;
pub mod claim;
pub mod context;
mod document;
mod envelope;
pub mod error;
pub mod home;
pub mod id;
pub mod keychain;
pub mod keyring;
#[cfg(feature = "aws")]
pub mod kms;
pub mod provider;
pub mod refusal;
pub mod rewrap;
pub mod sealed;
pub mod services;
pub mod store;
pub mod transcoder;
pub mod wrapped;

pub use audit::Audit;
pub use claim::{Claim, ClaimState, Hex256};
pub use context::{ContextPair, ContextPreset, EncryptionContext};
pub use document::CreatedAt;
pub use error::KeyError;
pub use id::{ContentId, KeyId, default_content_id};
pub use keychain::{Access, Keychain, ProviderName};
pub use keyring::{LocalKeyring, Opened, Restored};
pub use provider::{Ciphertext, KeyProvider};
pub use refusal::Refusal;
pub use sealed::SealedKey;
pub use services::{FileProtection, Service};
pub use store::KeyStore;
pub use wrapped::{KeyMd5, Md5Of, WrappedKey, WrappedKeyError};
