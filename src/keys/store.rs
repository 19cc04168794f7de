//! The key store: sealed keys by key id, and claims by content id. All of it is on stable storage when a method returns.

use std::path::Path;

use crate::keys::{Claim, ClaimState, ContentId, KeyError, KeyId, SealedKey};
#[cfg(feature = "aws")]
use crate::storage::object::{Location, ObjectDocuments};
use crate::storage::{Documents, LocalDocuments, StorageError};

/// Where sealed keys and claims are kept; never inside a published package.
pub struct KeyStore {
    keys: Box<dyn Documents>,
    claims: Box<dyn Documents>,
}

impl KeyStore {
    /// Opens a key store in the folder `path` and makes it, with mode 0700, where it is missing; or one in a bucket, when
    /// `path` is `s3://BUCKET/PREFIX`.
    ///
    /// # Errors
    /// [`StorageError::Insecure`] when others have access to it; [`KeyError::Invalid`] when it is no name of objects; whatever
    /// storage reports.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        #[cfg(feature = "aws")]
        if let Some(at) = bucket(path)? {
            let keys = ObjectDocuments::open(&at)?;
            let claims = keys.inner("claims");
            return Ok(Self::of(Box::new(keys), Box::new(claims)));
        }
        let keys = LocalDocuments::open(path)?;
        let claims = keys.inner("claims")?;
        Ok(Self::of(Box::new(keys), Box::new(claims)))
    }

    /// The same, for a server whose viewers wait: what does not answer soon is given up.
    ///
    /// # Errors
    /// As [`KeyStore::open`].
    pub fn open_for_viewers(path: &Path) -> Result<Self, KeyError> {
        #[cfg(feature = "aws")]
        if let Some(at) = bucket(path)? {
            let keys = ObjectDocuments::open_for_viewers(&at)?;
            let claims = keys.inner("claims");
            return Ok(Self::of(Box::new(keys), Box::new(claims)));
        }
        Self::open(path)
    }

    /// A key store in any two stores of documents: one of sealed keys, one of claims.
    #[must_use]
    pub fn of(keys: Box<dyn Documents>, claims: Box<dyn Documents>) -> Self {
        Self { keys, claims }
    }

    /// Where the key store is.
    #[must_use]
    pub fn place(&self) -> &Path {
        self.keys.place()
    }

    /// Stores a sealed key. To store the same record again is no error, nor is one whose key was sealed anew since: a run
    /// that goes on where another was killed does so.
    ///
    /// # Errors
    /// [`StorageError::Exists`] when another record has this key id; whatever storage reports.
    pub fn put(&self, key: &SealedKey) -> Result<(), KeyError> {
        let (name, json) = (file(key.key_id), key.to_json());
        match self.keys.create(&name, &json) {
            Err(exists @ StorageError::Exists { .. }) => {
                let there = self.get(&key.key_id)?;
                // Sealed anew since, it is the same key still: the binding does not depend on how it is sealed.
                let resealed =
                    key.binding.is_some() && there.binding == key.binding && there.content_id == key.content_id;
                if there == *key || resealed { Ok(()) } else { Err(exists.into()) }
            }
            done => Ok(done?),
        }
    }

    /// The sealed key of this id.
    ///
    /// # Errors
    /// [`KeyError::NotFound`]; [`KeyError::UnknownVersion`] and [`KeyError::Malformed`], also when the record is another key's.
    pub fn get(&self, key_id: &KeyId) -> Result<SealedKey, KeyError> {
        let json = self.keys.read(&file(key_id)).map_err(|e| self.absent("key", key_id, e))?;
        let what = format!("key {key_id}");
        let key = SealedKey::from_json(&what, &json)?;
        // A record under another's name would hand out the wrong key.
        if key.key_id != *key_id {
            return Err(KeyError::Malformed { what, reason: format!("it is the record of key {}", key.key_id) });
        }
        Ok(key)
    }

    /// Puts `new`, the same key sealed anew, in the place of `old`, which was read before; also where a claim holds a copy, so
    /// that a run that adopts the claim finds the key as it is stored. Killed in between, the same again completes it.
    ///
    /// # Errors
    /// [`StorageError::Changed`] when someone else has replaced `old` or the claim since; whatever storage reports.
    pub fn reseal(&self, old: &SealedKey, new: &SealedKey) -> Result<(), KeyError> {
        if old.key_id != new.key_id || old.content_id != new.content_id {
            let reason = format!("its successor is key {} of {}", new.key_id, new.content_id);
            return Err(KeyError::Malformed { what: format!("key {}", old.key_id), reason });
        }
        self.keys.replace(&file(old.key_id), &old.to_json(), &new.to_json())?;
        if let Some(claim) = self.claim_read(&new.content_id)?.filter(|claim| claim.key.key_id == new.key_id) {
            let mut resealed = claim.clone();
            resealed.key = new.clone();
            self.claim_replace(&claim, &resealed)?;
        }
        Ok(())
    }

    /// The ids of all sealed keys, sorted. Files of other names are not looked at.
    ///
    /// # Errors
    /// Whatever storage reports.
    pub fn list(&self) -> Result<Vec<KeyId>, KeyError> {
        Ok(stems(self.keys.names()?))
    }

    /// Removes a sealed key. Nothing can bring it back, or what was encrypted under it.
    ///
    /// # Errors
    /// [`KeyError::NotFound`]; whatever storage reports.
    pub fn delete(&self, key_id: &KeyId) -> Result<(), KeyError> {
        self.keys.delete(&file(key_id)).map_err(|e| self.absent("key", key_id, e))
    }

    /// Stores a new claim.
    ///
    /// # Errors
    /// [`StorageError::Exists`] when the content id is claimed: read that claim and adopt it or give up; whatever storage reports.
    pub fn claim_create(&self, claim: &Claim) -> Result<(), KeyError> {
        Ok(self.claims.create(&file(&claim.content_id), &claim.to_json())?)
    }

    /// The claim on this content id, if there is one.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`] and [`KeyError::Malformed`], also when it is the claim on another id; whatever storage reports.
    pub fn claim_read(&self, content_id: &ContentId) -> Result<Option<Claim>, KeyError> {
        let json = match self.claims.read(&file(content_id)) {
            Err(e) if e.is_not_found() => return Ok(None),
            json => json?,
        };
        let what = format!("claim {content_id}");
        let claim = Claim::from_json(&what, &json)?;
        // On a file system that takes `A` for `a`, another id's claim turns up here.
        if claim.content_id != *content_id {
            return Err(KeyError::Malformed { what, reason: format!("it is the claim on {}", claim.content_id) });
        }
        Ok(Some(claim))
    }

    /// Puts `new` in the place of `old`, which was read before. Both are on the same content id.
    ///
    /// # Errors
    /// [`StorageError::Changed`] when another run has replaced `old` since; whatever storage reports.
    pub fn claim_replace(&self, old: &Claim, new: &Claim) -> Result<(), KeyError> {
        if old.content_id != new.content_id {
            let reason = format!("its successor is on {}", new.content_id);
            return Err(KeyError::Malformed { what: format!("claim {}", old.content_id), reason });
        }
        Ok(self.claims.replace(&file(&old.content_id), &old.to_json(), &new.to_json())?)
    }

    /// Marks a claim as published and returns it so. That another run has marked it is no error: one that finds the package
    /// before its maker has marked the claim does so.
    ///
    /// # Errors
    /// As [`KeyStore::claim_replace`].
    pub fn claim_publish(&self, claim: &Claim) -> Result<Claim, KeyError> {
        let mut published = claim.clone();
        published.state = ClaimState::Published;
        match self.claim_replace(claim, &published) {
            Err(KeyError::Storage(StorageError::Changed { .. }))
                if self.claim_read(&claim.content_id)?.as_ref() == Some(&published) => {}
            done => done?,
        }
        Ok(published)
    }

    /// The content ids of all claims, sorted.
    ///
    /// # Errors
    /// Whatever storage reports.
    pub fn claims(&self) -> Result<Vec<ContentId>, KeyError> {
        Ok(stems(self.claims.names()?))
    }

    /// Removes a claim; its key stays.
    ///
    /// # Errors
    /// [`KeyError::NotFound`]; whatever storage reports.
    pub fn claim_delete(&self, content_id: &ContentId) -> Result<(), KeyError> {
        self.claims.delete(&file(content_id)).map_err(|e| self.absent("claim", content_id, e))
    }

    /// Removes what killed writers left.
    ///
    /// # Errors
    /// Whatever storage reports.
    pub fn sweep(&self) -> Result<(), KeyError> {
        self.keys.sweep()?;
        Ok(self.claims.sweep()?)
    }

    fn absent(&self, what: &'static str, id: impl ToString, error: StorageError) -> KeyError {
        if error.is_not_found() {
            return KeyError::NotFound { what, id: id.to_string(), place: self.place().display().to_string() };
        }
        error.into()
    }
}

/// The group of objects that a path means, when it means one.
#[cfg(feature = "aws")]
fn bucket(path: &Path) -> Result<Option<Location>, KeyError> {
    let wanted = "a key store: s3://BUCKET/PREFIX or a folder";
    let meant = path.to_str().filter(|text| Location::is_meant(text));
    meant.map(|text| text.parse().map_err(|_| KeyError::Invalid { wanted, given: text.into() })).transpose()
}

fn file(id: impl std::fmt::Display) -> String {
    format!("{id}.json")
}

/// The ids among the names of files.
fn stems<T: std::str::FromStr + Ord>(names: Vec<String>) -> Vec<T> {
    let mut ids: Vec<T> = names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect();
    ids.sort();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Hex256, claim::tests::claim, sealed::tests::record};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn store() -> (tempfile::TempDir, KeyStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = KeyStore::open(&dir.path().join("keys")).unwrap();
        (dir, store)
    }

    #[test]
    fn a_key_that_was_sealed_anew_is_the_same_key() {
        let (_dir, store) = store();
        let old = record().bound(&crate::crypto::key::ContentKey::from_bytes(&mut [7; 16]));
        let mut new = old.clone();
        (new.key, new.ciphertext) = ("another".into(), vec![9]);
        store.put(&old).unwrap();
        store.reseal(&old, &new).unwrap();
        store.put(&old).unwrap();
        assert_eq!(store.get(&old.key_id).unwrap(), new);
        let mut other = old.clone();
        other.binding = Some(Hex256::from_bytes([1; 32]));
        assert!(matches!(store.put(&other), Err(KeyError::Storage(StorageError::Exists { .. }))));
    }

    #[test]
    fn keys_are_stored_once_and_privately() {
        let (_dir, store) = store();
        let key = record();
        store.put(&key).unwrap();
        store.put(&key).unwrap();
        let path = store.place().join("3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f.json");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read(&path).unwrap(), key.to_json());
        let mut other = key.clone();
        other.ciphertext = vec![9];
        assert!(matches!(store.put(&other), Err(KeyError::Storage(StorageError::Exists { .. }))));
        assert_eq!(store.get(&key.key_id).unwrap(), key);
        std::fs::write(store.place().join("notes.json"), "").unwrap();
        assert_eq!(store.list().unwrap(), [key.key_id]);
        store.delete(&key.key_id).unwrap();
        let text = format!("no key {} in the key store {}", key.key_id, store.place().display());
        assert_eq!(store.get(&key.key_id).unwrap_err().to_string(), text);
        assert_eq!(store.delete(&key.key_id).unwrap_err().to_string(), text);
    }

    #[test]
    fn a_record_under_another_name_is_refused() {
        let (_dir, store) = store();
        let key = record();
        store.put(&key).unwrap();
        let id = KeyId::generate().unwrap();
        std::fs::rename(store.place().join(file(key.key_id)), store.place().join(file(id))).unwrap();
        let text = format!("key {id} is damaged: it is the record of key {}", key.key_id);
        assert_eq!(store.get(&id).unwrap_err().to_string(), text);
        store.claim_create(&claim()).unwrap();
        let claims = store.place().join("claims");
        std::fs::rename(claims.join("film-1.json"), claims.join("Film-1.json")).unwrap();
        let error = store.claim_read(&"Film-1".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "claim Film-1 is damaged: it is the claim on film-1");
    }

    #[test]
    fn a_claim_is_created_replaced_and_published() {
        let (_dir, store) = store();
        let first = claim();
        assert_eq!(store.claim_read(&first.content_id).unwrap(), None);
        assert_eq!(store.claims().unwrap(), []);
        store.claim_create(&first).unwrap();
        assert!(matches!(store.claim_create(&first), Err(KeyError::Storage(StorageError::Exists { .. }))));
        assert_eq!(store.claim_read(&first.content_id).unwrap().as_ref(), Some(&first));
        let published = store.claim_publish(&first).unwrap();
        assert_eq!(published.state, ClaimState::Published);
        assert_eq!(store.claim_publish(&first).unwrap(), published);
        assert_eq!(store.claim_read(&first.content_id).unwrap().as_ref(), Some(&published));
        let mut second = claim();
        second.nonce = Hex256::from_bytes([3; 32]);
        // Whoever has read the claim before it was published does not know what it replaces.
        let stale = store.claim_replace(&first, &second).unwrap_err();
        assert!(matches!(stale, KeyError::Storage(StorageError::Changed { .. })));
        store.claim_replace(&published, &second).unwrap();
        let late = store.claim_publish(&first).unwrap_err();
        assert!(matches!(late, KeyError::Storage(StorageError::Changed { .. })));
        assert_eq!(store.claim_read(&first.content_id).unwrap().unwrap(), second);
        assert_eq!(store.claims().unwrap(), std::slice::from_ref(&first.content_id));
        assert_eq!(store.list().unwrap(), []);
        store.claim_delete(&first.content_id).unwrap();
        assert!(matches!(store.claim_delete(&first.content_id), Err(KeyError::NotFound { what: "claim", .. })));
    }

    #[test]
    fn claims_at_once_have_one_winner() {
        let (_dir, store) = store();
        let mut claims = vec![claim(); 8];
        claims.iter_mut().enumerate().for_each(|(i, claim)| claim.dest = format!("/{i}"));
        let won: Vec<_> = std::thread::scope(|scope| {
            let store = &store;
            let runs: Vec<_> =
                claims.iter().map(|claim| scope.spawn(move || store.claim_create(claim).map(|()| claim))).collect();
            runs.into_iter().filter_map(|run| run.join().unwrap().ok()).collect()
        });
        assert_eq!(won.len(), 1);
        assert_eq!(store.claim_read(&won[0].content_id).unwrap().as_ref(), Some(won[0]));
    }

    #[test]
    fn a_store_that_others_may_read_is_refused_with_the_command() {
        let (_dir, store) = store();
        let path = store.place().to_path_buf();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let error = KeyStore::open(&path).err().unwrap();
        assert_eq!(error.hint().unwrap(), format!("chmod 700 {}", path.display()));
    }

    #[test]
    fn leftovers_are_swept() {
        let (_dir, store) = store();
        store.sweep().unwrap();
        store.claim_create(&claim()).unwrap();
        let left = store.place().join("claims/.film-2.json.tmp");
        std::fs::write(&left, "half").unwrap();
        store.sweep().unwrap();
        assert!(!left.exists());
        assert_eq!(store.claims().unwrap().len(), 1);
    }
}
