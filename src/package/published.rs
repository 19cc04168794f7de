//! What earlier runs have made: the very same package, which leaves nothing to do, and what is in the way.

use crate::keys::{Claim, ClaimState, KeyStore};
use crate::storage::{Replace, StorageError};

use super::claim::{Identity, clear_run_id, identity, run_id, step};
use super::error::PackageError;
use super::job::{Job, Keys, Published, with_keys};
use super::plan::Plan;
use super::record::Record;

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
            check_whole(job, &record)?;
            Ok(Some(Published { record, key: Some(claim.key) }))
        }
        None => match find_clear(job, &identity) {
            Some(record) => check_whole(job, &record).map(|()| Some(Published { record, key: None })),
            None => Ok(None),
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
        (None, None) => find_clear(job, &identity),
        (None, Some(_)) => None,
    };
    if let Some(record) = found {
        return check_whole(job, &record).map(|()| Standing::Complete);
    }
    let is_vacant = !job.dest.is_occupied()?;
    if !is_vacant && job.replace == Replace::Refuse {
        let path = identity.dest.into();
        return Err(StorageError::Exists { operation: "write to", path }.into());
    }
    if let Some(store) = store {
        step(job, store.claim_read(&job.content_id)?.as_ref(), &identity, is_vacant)?;
    }
    Ok(if is_vacant { Standing::New } else { Standing::Replacement })
}

/// Whether every file of a package is there and as long as its record says. In a bucket that would be a request for each,
/// and nobody cuts an object short: there it is not looked at.
fn check_whole(job: &Job, record: &Record) -> Result<(), PackageError> {
    match job.dest.damage(record) {
        Some(what) => Err(PackageError::Damaged { dest: job.dest.to_string(), what }),
        None => Ok(()),
    }
}

/// Finishes a run that was stopped between putting its package in place and saying so. None when there is none, or it
/// would have made another package than this one.
pub(super) fn finish_interrupted(
    job: &Job,
    keys: &Keys<'_>,
    identity: &Identity,
) -> Result<Option<Published>, PackageError> {
    match find_published(job, keys.store, identity)? {
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
    let Some(bytes) = job.dest.record() else {
        return Ok(None);
    };
    let Ok(record) = serde_json::from_slice::<Record>(&bytes) else {
        return Ok(None);
    };
    Ok((record.run == run_id(&claim)).then_some((record, claim)))
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
fn find_clear(job: &Job, identity: &Identity) -> Option<Record> {
    let record = serde_json::from_slice::<Record>(&job.dest.record()?).ok()?;
    (record.key_id.is_none() && record.run == clear_run_id(identity)).then_some(record)
}
