//! Documents in a bucket: create-only by `If-None-Match: *`, compare-and-swap by `If-Match`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use object_store::{Attribute, Attributes};

use crate::aws::Patience;
use crate::limits::MAX_DOCUMENT_BYTES;
use crate::storage::documents::{Documents, is_plain};
use crate::storage::{StorageError, object::client};

use super::client::{Bucket, Same};
use super::encryption::Encryption;
use super::location::Location;

/// Documents as objects `PREFIX/NAME`. An object store is private by its own policies; nothing is checked here.
#[derive(Debug)]
pub struct ObjectDocuments {
    bucket: Bucket,
    at: Location,
    place: PathBuf,
}

impl ObjectDocuments {
    /// Opens the group of objects. It need not exist: a prefix is only a part of names.
    ///
    /// # Errors
    /// As [`Bucket::open`].
    pub fn open(at: &Location) -> Result<Self, StorageError> {
        Ok(Self::of(client::bucket_of(at)?, at.clone()))
    }

    /// The same, for a viewer: what does not answer soon is given up.
    ///
    /// # Errors
    /// As [`Bucket::open`].
    pub fn open_for_viewers(at: &Location) -> Result<Self, StorageError> {
        Ok(Self::of(Bucket::open_for(Patience::Viewer, at.bucket(), &Encryption::Bucket)?, at.clone()))
    }

    /// A group of further documents inside this one.
    #[must_use]
    pub fn inner(&self, name: &str) -> Self {
        Self::of(self.bucket.clone(), self.at.child(name))
    }

    pub(super) fn of(bucket: Bucket, at: Location) -> Self {
        Self { bucket, place: at.to_path(), at }
    }

    fn key(&self, name: &str) -> Result<String, StorageError> {
        if is_plain(name) && name.len() <= 200 {
            return Ok(self.at.below(name));
        }
        Err(StorageError::BadName { path: self.place.clone(), name: name.into() })
    }
}

fn attributes() -> Attributes {
    Attributes::from_iter([(Attribute::ContentType, "application/json"), (Attribute::CacheControl, "no-store")])
}

impl Documents for ObjectDocuments {
    fn place(&self) -> &Path {
        &self.place
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let (key, bytes) = (self.key(name)?, Bytes::copy_from_slice(bytes));
        // When the answer to our own put was lost this says that the document exists, as it does to a second creator of the
        // same bytes. Whoever asks reads what is there and finds their own.
        let same = Same::Bytes(bytes.clone());
        let landed = self.bucket.wait(self.bucket.create_async(&key, bytes.into(), attributes(), &same));
        match landed? {
            client::Landed::Now => Ok(()),
            client::Landed::Before => Err(StorageError::Exists { operation: "write", path: self.bucket.path(&key) }),
        }
    }

    fn replace(&self, name: &str, expected: &[u8], bytes: &[u8]) -> Result<(), StorageError> {
        let key = self.key(name)?;
        self.bucket.wait(async {
            let (found, etag) = self.bucket.read_async(&key, MAX_DOCUMENT_BYTES).await?;
            let changed = || StorageError::Changed { path: self.bucket.path(&key) };
            if found != expected {
                return Err(changed());
            }
            let etag = etag.ok_or_else(changed)?;
            let bytes = Bytes::copy_from_slice(bytes);
            self.bucket.replace_async(&key, &etag, bytes, attributes()).await.map(|_| ())
        })
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, StorageError> {
        let (bytes, _) = self.bucket.read(&self.key(name)?, MAX_DOCUMENT_BYTES)?;
        Ok(bytes.to_vec())
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        let key = self.key(name)?;
        self.bucket.head(&key)?;
        self.bucket.delete(&key)
    }

    fn names(&self) -> Result<Vec<String>, StorageError> {
        let mut names = self.bucket.names(self.at.key())?;
        names.retain(|name| is_plain(name));
        names.sort();
        Ok(names)
    }
}
