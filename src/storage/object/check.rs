//! What the credentials at hand may do below a prefix, found out by doing it to an object of its own.

use bytes::Bytes;
use object_store::Attributes;

use crate::storage::StorageError;

use super::client::{Bucket, Landed, Same};
use super::encryption::Encryption;
use super::location::Location;

/// What was tried, and how it went.
#[derive(Debug)]
pub struct Tried {
    /// The permission, or what the store must be able to do.
    pub what: &'static str,
    /// On what.
    pub on: String,
    /// How it went.
    pub outcome: Result<(), StorageError>,
}

/// Puts, reads, lists and removes an object below `at`, named after `token`, and looks whether the store keeps one creator
/// from overwriting another's object.
///
/// # Errors
/// When the bucket cannot be opened at all.
pub fn check(at: &Location, encryption: &Encryption, token: &str) -> Result<Vec<Tried>, StorageError> {
    let bucket = Bucket::open(at.bucket(), encryption)?;
    let key = at.below(&format!("keyrung-check-{token}"));
    let on = bucket.path(&key).display().to_string();
    let mut tried = Vec::new();
    let mut note = |what, outcome| tried.push(Tried { what, on: on.clone(), outcome });
    // Before it is there: without this permission the answer is "denied".
    let absent = match bucket.head(&key) {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(|_| ()),
    };
    note("s3:ListBucket, to tell what is absent from what is denied", absent);
    let create = |text: &'static [u8]| {
        let bytes = Bytes::from_static(text);
        let same = Same::Bytes(bytes.clone());
        bucket.wait(bucket.create_async(&key, bytes.into(), Attributes::new(), &same))
    };
    let put = create(b"first").map(|_: Landed| ());
    let is_put = put.is_ok();
    note("s3:PutObject", put);
    if is_put {
        let read = bucket.read(&key, 64).and_then(|(bytes, _)| {
            let reason = "other bytes came back than were put".to_owned();
            let path = bucket.path(&key);
            if bytes == "first" {
                Ok(())
            } else {
                Err(StorageError::Refused { operation: "read", path, reason, hint: None })
            }
        });
        note("s3:GetObject", read);
        let kept = match create(b"second") {
            Err(StorageError::Exists { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(StorageError::Refused {
                operation: "create",
                path: bucket.path(&key),
                reason: "the store ignores If-None-Match: two runs could overwrite each other".to_owned(),
                hint: Some("use a store with conditional puts".to_owned()),
            }),
        };
        note("conditional puts", kept);
        note("s3:DeleteObject, for keyrung gc", bucket.delete(&key));
    }
    Ok(tried)
}
