//! What is known of a key without opening it, and the key itself while someone holds it.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::crypto::key::ContentKey;
use crate::keys::{ContentId, KeyId, SealedKey};

/// Names one state of one record: a key that is sealed anew, or given to other content, has another seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Seal([u8; 32]);

impl Seal {
    pub(super) fn of(sealed: &SealedKey) -> Self {
        Self(Sha256::digest(sealed.to_json()).into())
    }
}

/// A key of the key store: what it is for. To decide who may have it takes no more.
#[derive(Debug)]
pub struct Record {
    /// The key's public name.
    pub key_id: KeyId,
    /// The content that it protects.
    pub content_id: ContentId,
    pub(super) seal: Seal,
    /// What was read, until it is opened: then it would only take memory.
    sealed: Mutex<Option<Box<SealedKey>>>,
}

impl Record {
    pub(super) fn new(sealed: SealedKey) -> Self {
        let seal = Seal::of(&sealed);
        let (key_id, content_id) = (sealed.key_id, sealed.content_id.clone());
        Self { key_id, content_id, seal, sealed: Mutex::new(Some(Box::new(sealed))) }
    }

    pub(super) fn take(&self) -> Option<Box<SealedKey>> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn put_back(&self, sealed: Box<SealedKey>) {
        *self.sealed.lock().unwrap_or_else(PoisonError::into_inner) = Some(sealed);
    }
}

/// An opened key: 16 bytes that are wiped when the last holder drops them. A response body can be made from it without a copy
/// (`Bytes::from_owner`).
#[derive(Clone)]
pub struct Held(Arc<ContentKey>);

impl Held {
    pub(super) fn new(key: ContentKey) -> Self {
        Self(Arc::new(key))
    }

    #[cfg(test)]
    pub(super) fn watch(&self) -> std::sync::Weak<ContentKey> {
        Arc::downgrade(&self.0)
    }
}

impl Deref for Held {
    type Target = [u8; ContentKey::LEN];

    fn deref(&self) -> &Self::Target {
        self.0.expose()
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held(..)")
    }
}
