//! The claim of a run: what identifies its plan, and whether it takes up another's claim, takes its place, or is refused.

use sha2::{Digest as _, Sha256};

use crate::crypto::iv::Nonce;
use crate::crypto::key::ContentKey;
use crate::keys::{Claim, ClaimState, Hex256, KeyError, SealedKey};
use crate::storage::{Replace, StorageError};

use super::error::PackageError;
use super::input::Reader;
use super::job::{Job, KeyChoice, Keys, ProtectionPlan};
use super::plan::Plan;
use super::site::{Place, Site, Start};

/// A claim that is this run's, with its key opened.
pub(super) struct Claimed {
    pub claim: Claim,
    pub key: ContentKey,
    pub start: Start,
}

/// What a claim is compared with.
pub(super) struct Identity {
    pub dest: String,
    pub digest: Hex256,
    /// Whether a later run can have the same digest.
    repeatable: bool,
}

/// SHA-256 of everything that decides the package's bytes. Standard input has no identity: what comes next time may be
/// something else, so that its digest never matches and no IV is used for other bytes.
pub(super) fn identity(job: &Job, plan: &Plan) -> Result<Identity, PackageError> {
    let dest = job.dest.full_name()?;
    let mut repeatable = true;
    let mut sha = Sha256::new();
    let mut field = |bytes: &[u8]| {
        sha.update((bytes.len() as u64).to_be_bytes());
        sha.update(bytes);
    };
    field(dest.as_bytes());
    field(job.content_id.as_str().as_bytes());
    for input in &plan.inputs {
        match &input.reader {
            Reader::File { input, .. } => field(&input.plan_bytes()),
            Reader::Pipe(_) => {
                field(&Nonce::generate().map_err(KeyError::from)?.bytes());
                repeatable = false;
            }
        }
    }
    for rendition in &plan.renditions {
        field(rendition.name.as_bytes());
        field(&(rendition.input as u64).to_be_bytes());
        field(&rendition.selection.program.to_be_bytes());
        field(&rendition.shift.ticks().to_be_bytes());
        for stream in &rendition.selection.streams {
            field(&stream.pid.value().to_be_bytes());
        }
    }
    let making = &job.making;
    field(&making.policy.target.ticks().to_be_bytes());
    field(format!("{:?} {}", making.align, making.digest).as_bytes());
    match &job.protection {
        None => field(b"clear"),
        Some(protection) => {
            field(protection.iv.to_string().as_bytes());
            field(protection.uri.as_str().as_bytes());
            field(&protection.context.canonical());
            // A run under another provider must not adopt a key that it would not have made.
            field(protection.provider.to_string().as_bytes());
            field(format!("{:?}", protection.public_key).as_bytes());
            match &protection.key {
                KeyChoice::New => {}
                KeyChoice::Existing(id) => field(id.to_string().as_bytes()),
                KeyChoice::Provided(wrapped) => field(wrapped.bytes()),
            }
        }
    }
    Ok(Identity { dest, digest: Hex256::from_bytes(sha.finalize().into()), repeatable })
}

/// What a run does about the claim that it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Takes it up: makes the same bytes with its key and nonce.
    Adopt,
    /// Puts its own in its place, with a new key and nonce.
    Replace,
    /// Makes its own: there is none.
    Create,
}

/// What the run of a job does about the claim that it finds. `is_vacant` is whether no package is at DEST.
///
/// # Errors
/// [`PackageError::Claimed`] when the claim is in its way.
pub(super) fn step(
    job: &Job,
    known: Option<&Claim>,
    identity: &Identity,
    is_vacant: bool,
) -> Result<Step, PackageError> {
    let Some(claim) = known else {
        return Ok(Step::Create);
    };
    let id = &job.content_id;
    if claim.dest != identity.dest {
        return Err(PackageError::Claimed {
            message: format!("the content id {id} is claimed for {}", claim.dest),
            hint: "choose another with --content-id".to_owned(),
        });
    }
    let is_same = claim.plan == identity.digest && claim.is_of_this_version();
    let adopt = match (claim.state, job.replace) {
        (ClaimState::Open, _) => true,
        (ClaimState::Published, Replace::Refuse) => is_vacant,
        (ClaimState::Published, Replace::Allow) | (ClaimState::Withdrawn, _) => false,
    };
    if is_same && adopt {
        return Ok(Step::Adopt);
    }
    // Nothing stands under an open claim, or one whose package is gone. Nobody can run standard input again as it was, and another version may make
    // other bytes, for which the same IVs must not be used.
    let is_given_up = match claim.state {
        ClaimState::Open => {
            // A bucket is not locked while a run of another version stores under its claim.
            !identity.repeatable || (!claim.is_of_this_version() && job.dest.is_folder())
        }
        ClaimState::Withdrawn => true,
        ClaimState::Published => is_vacant && claim.plan == identity.digest && !claim.is_of_this_version(),
    };
    if job.replace == Replace::Refuse && !is_given_up {
        let hint = match claim.state {
            ClaimState::Open | ClaimState::Withdrawn => "run it again as it was, or give that claim up with --force",
            ClaimState::Published => "--force makes a new package under that id, with a new key",
        };
        let by =
            if claim.plan == identity.digest { "by another version" } else { "by a run with other inputs or settings" };
        return Err(PackageError::Claimed {
            message: format!("the content id {id} is claimed {by}"),
            hint: hint.to_owned(),
        });
    }
    Ok(Step::Replace)
}

/// How often other runs may write the claim between being read and being written here.
const CLAIM_TRIES: u32 = 8;

/// Claims the content id, or adopts the claim of a run that was stopped.
///
/// # Errors
/// [`PackageError::Claimed`]; whatever the provider or the key store reports.
pub(super) fn claim(
    job: &Job,
    site: &Site,
    protection: &ProtectionPlan,
    keys: &Keys<'_>,
    identity: &Identity,
) -> Result<Claimed, PackageError> {
    for _ in 1..CLAIM_TRIES {
        match try_claim(job, site, protection, keys, identity) {
            // Another run was faster: what it wrote decides.
            Err(PackageError::Key(KeyError::Storage(StorageError::Exists { .. } | StorageError::Changed { .. }))) => {}
            done => return done,
        }
    }
    try_claim(job, site, protection, keys, identity)
}

fn try_claim(
    job: &Job,
    site: &Site,
    protection: &ProtectionPlan,
    keys: &Keys<'_>,
    identity: &Identity,
) -> Result<Claimed, PackageError> {
    let known = keys.store.claim_read(&job.content_id)?;
    let step = step(job, known.as_ref(), identity, site.is_vacant(&job.dest))?;
    if let (Step::Adopt, Some(claim)) = (step, &known) {
        keys.store.put(&claim.key)?;
        let key = keys.provider.unseal(&claim.key)?;
        return Ok(Claimed { claim: claim.clone(), key, start: Start::GoesOn });
    }
    let (sealed, key) = match &protection.key {
        KeyChoice::New => {
            let (key, ciphertext) = keys.provider.generate(&protection.context)?;
            let context = protection.context.clone();
            (SealedKey::new(job.content_id.clone(), keys.provider.name(), context, ciphertext)?.bound(&key), key)
        }
        KeyChoice::Provided(wrapped) => {
            let (key, ciphertext) = keys.provider.adopt(wrapped.bytes(), &protection.context)?;
            let context = protection.context.clone();
            (SealedKey::new(job.content_id.clone(), keys.provider.name(), context, ciphertext)?.bound(&key), key)
        }
        KeyChoice::Existing(id) => {
            let sealed = keys.store.get(id)?;
            if sealed.content_id != job.content_id {
                return Err(PackageError::Claimed {
                    message: format!("key {id} is for the content id {}", sealed.content_id),
                    hint: format!("package it with --content-id {}, or use another key", sealed.content_id),
                });
            }
            let key = keys.provider.unseal(&sealed)?;
            (sealed, key)
        }
    };
    let nonce = Nonce::generate().map_err(KeyError::from)?;
    let mut claim = Claim::new(identity.dest.clone(), identity.digest, Hex256::from_bytes(nonce.bytes()), sealed);
    claim.generation = site.generation(&run_id(&claim), Place::of(known.as_ref(), site.is_vacant(&job.dest)));
    match &known {
        Some(old) => keys.store.claim_replace(old, &claim)?,
        None => keys.store.claim_create(&claim)?,
    }
    keys.store.put(&claim.key)?;
    Ok(Claimed { claim, key, start: Start::Fresh })
}

/// Identifies a claim without telling its nonce.
pub(super) fn run_id(claim: &Claim) -> String {
    short_hash(b"keyrung run v1", claim.nonce.bytes())
}

/// Identifies a clear package, which has no claim, by its plan.
pub(super) fn clear_run_id(identity: &Identity) -> String {
    short_hash(b"keyrung clear run v1", identity.digest.bytes())
}

fn short_hash(label: &[u8], bytes: [u8; 32]) -> String {
    let hash = Sha256::new().chain_update(label).chain_update(bytes).finalize();
    hex::encode(hash.get(..16).unwrap_or_default())
}
