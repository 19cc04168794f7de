//! What earlier runs have made: the very same package, which leaves nothing to do, and what is in the way.

use crate::keys::{Claim, ClaimState, KeyStore};
use crate::storage::{Replace, StorageError};

use super::claim::{Identity, clear_run_id, identity, run_id, step};
use super::error::PackageError;
use super::job::{Job, Keys, Published, with_keys};
use super::plan::Plan;
use super::record::{RECORD_FORMAT, Record};

/// The package that [`run`](super::job::run) would make, where an earlier run has made it: of the same inputs in the same state, with the
/// same settings and the same key. A run that was stopped between putting it in its place and saying so is finished.
///
/// # Errors
/// [`PackageError::Damaged`] when files of it are missing; whatever the key store or storage reports.
pub fn published(job: &Job, plan: &Plan, keys: Option<&Keys<'_>>) -> Result<Option<Published>, PackageError> {
    let identity = identity(job, plan)?;
    match with_keys(job, keys)? {
        Some((_, keys)) => {
            let Some((record, claim)) = find_published(job, keys.store, &identity)? else {
                return Ok(None);
            };
            if claim.plan != identity.digest || !mark_published(job, keys.store, &claim)? {
                return Ok(None);
            }
            Ok(is_whole(job, &record)?.then_some(Published { record, key: Some(claim.key) }))
        }
        None => match find_clear(job, &identity)? {
            Some(record) if is_whole(job, &record)? => Ok(Some(Published { record, key: None })),
            _ => Ok(None),
        },
    }
}

/// What a run of a job would come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its package is there, and there is nothing to do.
    Complete,
    /// It makes a package where none is.
    New,
    /// It replaces the package that is there.
    Replacement,
}

/// What a run of `job` would come to, as far as DEST and the key store tell. Nothing is written. `store` has the claims of
/// protected packages; None when there is no key store yet.
///
/// # Errors
/// What the run would meet: a package or a claim in its way; whatever the key store or storage reports.
pub fn standing(job: &Job, plan: &Plan, store: Option<&KeyStore>) -> Result<Standing, PackageError> {
    let identity = identity(job, plan)?;
    let store = store.filter(|_| job.protection.is_some());
    let found = match (store, &job.protection) {
        (Some(store), _) => find_published(job, store, &identity)?
            .filter(|(_, claim)| claim.plan == identity.digest)
            .map(|(record, _)| record),
        (None, None) => find_clear(job, &identity)?,
        (None, Some(_)) => None,
    };
    if let Some(record) = found
        && is_whole(job, &record)?
    {
        return Ok(Standing::Complete);
    }
    let is_vacant = !job.dest.is_occupied()?;
    if !is_vacant && job.replace == Replace::Refuse {
        let path = identity.dest.into();
        return Err(in_the_way(job, StorageError::Exists { operation: "write to", path }.into()));
    }
    if let Some(store) = store {
        step(job, store.claim_read(&job.content_id)?.as_ref(), &identity, is_vacant)?;
    }
    Ok(if is_vacant { Standing::New } else { Standing::Replacement })
}

/// An error that says what is at DEST, where it is a package of other inputs or settings.
pub fn in_the_way(job: &Job, error: PackageError) -> PackageError {
    let is_ours = |bytes: &[u8]| {
        serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|record| record["format"] == RECORD_FORMAT)
    };
    match (&error, job.dest.record()) {
        (PackageError::Storage(StorageError::Exists { .. }), Ok(Some(bytes))) if is_ours(&bytes) => {
            PackageError::Claimed {
                message: format!("{} holds a package of other inputs, or made with other settings", job.dest),
                hint: "--force replaces it, with a new key".to_owned(),
            }
        }
        _ => error,
    }
}

/// Whether every file of a package is there and as long as its record says; false where it may be replaced. In a bucket
/// that would be a request for each, and nobody cuts an object short: there it is not looked at.
fn is_whole(job: &Job, record: &Record) -> Result<bool, PackageError> {
    match (job.dest.damage(record)?, job.replace) {
        (None, _) => Ok(true),
        (Some(_), Replace::Allow) => Ok(false),
        (Some(what), Replace::Refuse) => Err(PackageError::Damaged { dest: job.dest.to_string(), what }),
    }
}

/// Finishes a run that was stopped between putting its package in place and saying so. None when there is none, or it
/// would have made another package than this one.
pub(super) fn finish_interrupted(
    job: &Job,
    keys: &Keys<'_>,
    identity: &Identity,
) -> Result<Option<Published>, PackageError> {
    // What cannot be read is not this run's; whether it may be replaced is looked at where that is done.
    match find_published(job, keys.store, identity).unwrap_or_default() {
        Some((record, claim)) if claim.state == ClaimState::Open && mark_published(job, keys.store, &claim)? => {
            Ok((claim.plan == identity.digest).then_some(Published { record, key: Some(claim.key) }))
        }
        _ => Ok(None),
    }
}

/// The package at DEST and the claim under which it was made; None when it was made under no claim that is known.
fn find_published(job: &Job, store: &KeyStore, identity: &Identity) -> Result<Option<(Record, Claim)>, PackageError> {
    let Some(claim) = store.claim_read(&job.content_id)? else {
        return Ok(None);
    };
    if claim.dest != identity.dest {
        return Ok(None);
    }
    let record = record(job)?.filter(|record| record.run == run_id(&claim));
    Ok(record.map(|record| (record, claim)))
}

/// The record at DEST; None when there is none of ours.
fn record(job: &Job) -> Result<Option<Record>, PackageError> {
    let Some(bytes) = job.dest.record()? else {
        return Ok(None);
    };
    if let Ok(record) = serde_json::from_slice(&bytes) {
        return Ok(Some(record));
    }
    match serde_json::from_slice::<serde_json::Value>(&bytes) {
        // It may be the very package that is wanted: it must not be taken for another and replaced.
        Ok(record) if record["format"] == RECORD_FORMAT => Err(PackageError::Usage {
            message: format!("the package at {} was made by another version of keyrung", job.dest),
            hint: Some("use that version, or a later one".to_owned()),
        }),
        _ => Ok(None),
    }
}

/// Marks an open claim whose package is in its place. False when another run is at work on it, which will do so itself.
fn mark_published(job: &Job, store: &KeyStore, claim: &Claim) -> Result<bool, PackageError> {
    if claim.state == ClaimState::Open {
        if !job.dest.discard_stale()? {
            return Ok(false);
        }
        store.claim_publish(claim)?;
    }
    Ok(true)
}

/// The clear package at DEST, when it is of this plan.
fn find_clear(job: &Job, identity: &Identity) -> Result<Option<Record>, PackageError> {
    let is_it = |record: &Record| record.key_id.is_none() && record.run == clear_run_id(identity);
    Ok(record(job)?.filter(is_it))
}
