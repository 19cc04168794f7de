//! Tokens that were verified: players show the same one for every key, and an ES256 signature costs a hundred times what a
//! hash does. Only good tokens are kept, so nobody fills it who has no token.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use sha2::{Digest, Sha256};

use super::super::Grant;
use super::Times;

/// SHA-256 of a token: the cache holds no token.
pub(super) type TokenHash = [u8; 32];

pub(super) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// What was learned from a token whose signature is good.
pub(super) struct Verified {
    /// Looked at again each time: the signature does not change, the time does.
    pub(super) times: Times,
    pub(super) grant: Grant,
}

struct Entry {
    verified: Arc<Verified>,
    generation: u64,
}

/// The cache.
pub(super) struct Cache {
    entries: Mutex<LruCache<TokenHash, Entry>>,
}

impl Cache {
    pub(super) fn new(capacity: NonZeroUsize) -> Self {
        Self { entries: Mutex::new(LruCache::new(capacity)) }
    }

    /// What was verified under the same generation of keys. An entry of an older one is dropped: its key may be gone.
    pub(super) fn get(&self, token: &TokenHash, generation: u64) -> Option<Arc<Verified>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.get(token) {
            Some(entry) if entry.generation == generation => Some(Arc::clone(&entry.verified)),
            Some(_) => {
                entries.pop(token);
                None
            }
            None => None,
        }
    }

    /// Keeps it. `generation` is the one of the keys that it was verified with, looked up before.
    pub(super) fn put(&self, token: TokenHash, generation: u64, verified: Arc<Verified>) {
        let entry = Entry { verified, generation };
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).put(token, entry);
    }

    /// Drops one whose time is over.
    pub(super) fn forget(&self, token: &TokenHash) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).pop(token);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
