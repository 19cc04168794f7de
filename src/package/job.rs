//! One job: from what the user asked for to a published package, by the protocol claim, key, plan, commit
//! (`manual/formats.md`).

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::crypto::digest::Digest;
use crate::crypto::iv::{IvPolicy, IvSource, Nonce};
use crate::crypto::key::ContentKey;
use crate::keys::{
    Claim, ClaimState, ContentId, EncryptionContext, Hex256, KeyError, KeyId, KeyProvider, KeyStore, ProviderName,
    SealedKey, WrappedKey,
};
use crate::playlist::value::KeyUri;
use crate::storage::{Durability, Replace, StorageError};

use super::build::{Built, MASTER_FILE, Making, build};
use super::error::PackageError;
use super::input::Reader;
use super::outcome::{Warning, warnings};
use super::plan::Plan;
use super::progress::Progress;
use super::record::{FileRecord, RECORD_FORMAT, RECORD_VERSION, Record, RenditionRecord, SegmentRecord};
use super::sink::Protection;
use super::site::{Destination, Place, Site, Start};
use super::uri::KeyUriTemplate;

/// Where the package's key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChoice {
    /// The provider makes one.
    New,
    /// The key store has it.
    Existing(KeyId),
    /// The caller had the provider seal one.
    Provided(WrappedKey),
}

/// Where the plaintext key goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PublicKey {
    /// Nowhere.
    #[default]
    No,
    /// Into the package, where anyone finds it who gets the playlists (spec ETR-06, ETR-07).
    WithPlaylists,
}

/// The file of a key that is published with its package.
pub const PUBLIC_KEY_FILE: &str = "hls.key";
/// The URI of that file, seen from a media playlist.
pub const PUBLIC_KEY_URI: &str = "../hls.key";

/// How a package is protected.
#[derive(Debug, Clone)]
pub struct ProtectionPlan {
    /// Where the key comes from.
    pub key: KeyChoice,
    /// Where the IVs come from.
    pub iv: IvPolicy,
    /// The URI under which players find the key.
    pub uri: KeyUriTemplate,
    /// The context that is bound to a new key.
    pub context: EncryptionContext,
    /// Who seals a new key.
    pub provider: ProviderName,
    /// Where the plaintext key goes.
    pub public_key: PublicKey,
}

/// What a package needs of keys, opened only for packages that are protected.
pub struct Keys<'a> {
    /// Seals and unseals.
    pub provider: &'a dyn KeyProvider,
    /// Keeps sealed keys and claims.
    pub store: &'a KeyStore,
}

/// What the user asked for.
#[derive(Debug, Clone)]
pub struct Job {
    /// Where the package is to be.
    pub dest: Destination,
    /// Identifies the content.
    pub content_id: ContentId,
    /// How it is protected; none leaves the segments clear.
    pub protection: Option<ProtectionPlan>,
    /// How it is cut and made.
    pub making: Making,
    /// Whether a package that is there may be replaced.
    pub replace: Replace,
    /// What the package survives.
    pub durability: Durability,
}

/// What a job made.
#[derive(Debug)]
pub struct Outcome {
    /// The ladder.
    pub built: Built,
    /// The sealed key; none for a clear package.
    pub key: Option<SealedKey>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
    /// How long it took.
    pub elapsed: Duration,
}

/// A package that an earlier run had made.
#[derive(Debug)]
pub struct Published {
    /// Its record.
    pub record: Record,
    /// Its sealed key; none for a clear package.
    pub key: Option<SealedKey>,
}

/// How a job ended.
#[derive(Debug)]
pub enum Ended {
    /// It made the package.
    Made(Box<Outcome>),
    /// An earlier run had put the package in its place and was stopped before it could say so.
    WasPublished(Box<Published>),
}

/// The package that [`run`] would make, where an earlier run has made it: of the same inputs in the same state, with the
/// same settings and the same key. A run that was stopped between putting it in its place and saying so is finished.
///
/// # Errors
/// Whatever the key store or storage reports.
pub fn published(job: &Job, plan: &Plan, keys: Option<&Keys<'_>>) -> Result<Option<Published>, PackageError> {
    let identity = identity(job, plan)?;
    match with_keys(job, keys)? {
        Some((_, keys)) => {
            let Some((record, claim)) = find_published(job, keys.store, &identity)? else {
                return Ok(None);
            };
            let is_ours = claim.plan == identity.digest && mark_published(job, keys.store, &claim)?;
            Ok(is_ours.then_some(Published { record, key: Some(claim.key) }))
        }
        None => Ok(find_clear(job, &identity).map(|record| Published { record, key: None })),
    }
}

/// Whether the package that [`run`] would make is there, as [`published`] finds it. Nothing is written, not even that it
/// is. `store` has the claims of protected packages; None when there is no key store yet.
///
/// # Errors
/// Whatever the key store or storage reports.
pub fn is_published(job: &Job, plan: &Plan, store: Option<&KeyStore>) -> Result<bool, PackageError> {
    let identity = identity(job, plan)?;
    match (&job.protection, store) {
        (None, _) => Ok(find_clear(job, &identity).is_some()),
        (Some(_), None) => Ok(false),
        (Some(_), Some(store)) => {
            Ok(find_published(job, store, &identity)?.is_some_and(|(_, claim)| claim.plan == identity.digest))
        }
    }
}

/// The job's protection and the keys for it; none where it has none.
fn with_keys<'a>(
    job: &'a Job,
    keys: Option<&'a Keys<'a>>,
) -> Result<Option<(&'a ProtectionPlan, &'a Keys<'a>)>, PackageError> {
    match (&job.protection, keys) {
        (Some(protection), Some(keys)) => Ok(Some((protection, keys))),
        (None, _) => Ok(None),
        (Some(_), None) => Err(PackageError::Internal("no key provider was opened".to_owned())),
    }
}

/// Does a job. `plan` is what its inputs make, `keys` is needed when it is protected.
///
/// # Errors
/// When anything stands against it; then DEST is as it was.
pub fn run(
    job: &Job,
    plan: &mut Plan,
    keys: Option<&Keys<'_>>,
    cancel: &AtomicBool,
    progress: &dyn Progress,
) -> Result<Ended, PackageError> {
    let started = Instant::now();
    let protection = with_keys(job, keys)?;
    if let (Some((protection, _)), false) = (protection, job.dest.is_folder())
        && protection.public_key == PublicKey::WithPlaylists
    {
        return Err(PackageError::Usage {
            message: "a plaintext key is stored beside playlists in a folder only, not in a bucket".to_owned(),
            hint: Some("package to a folder and copy it, hls.key first and master.m3u8 last".to_owned()),
        });
    }
    let identity = identity(job, plan)?;
    if let Some((_, keys)) = protection
        && let Some(published) = finish_interrupted(job, keys, &identity)?
    {
        return Ok(Ended::WasPublished(Box::new(published)));
    }
    let mut site = Site::open(&job.dest, job.replace, job.durability)?;
    site.check_space(needed_space(plan))?;
    let claimed = match protection {
        Some((protection, keys)) => Some(claim(job, &site, protection, keys, &identity)?),
        None => None,
    };
    let renditions: Vec<String> = plan.renditions.iter().map(|rendition| rendition.name.clone()).collect();
    match &claimed {
        Some(Claimed { claim, start, .. }) => {
            site.begin(&run_id(claim), claim.generation.clone(), &renditions, *start)?
        }
        // Nothing tells a later run of a clear package that it is the same: it finds what is the same when it stores it.
        None => {
            let run = hex::encode(Nonce::generate().map_err(KeyError::from)?.bytes());
            let generation = site.generation(&run, Place::of(None, site.is_vacant(&job.dest)));
            site.begin(&run, generation, &renditions, Start::GoesOn)?;
        }
    }
    let mut built = match (&claimed, protection) {
        (Some(claimed), Some((protection, _))) => {
            let nonce = Nonce::from_bytes(claimed.claim.nonce.bytes());
            let ivs = IvSource::new(protection.iv, &claimed.key, &nonce);
            let id = claimed.claim.key.key_id.to_string();
            let uri = |rendition: &str| {
                let uri = protection.uri.fill(&id, job.content_id.as_str(), rendition);
                uri.map(Some).map_err(PackageError::Internal)
            };
            let aes = Protection::Aes128 { key: &claimed.key, ivs: &ivs };
            build(plan, &job.making, &site, aes, uri, cancel, progress)?
        }
        _ => {
            let none = |_: &str| Ok(None::<KeyUri>);
            build(plan, &job.making, &site, Protection::None, none, cancel, progress)?
        }
    };
    if let (Some(claimed), Some((protection, _))) = (&claimed, protection)
        && protection.public_key == PublicKey::WithPlaylists
    {
        site.public_key(PUBLIC_KEY_FILE, claimed.key.expose())?;
        let mut sum = Digest::new(job.making.digest);
        sum.update(claimed.key.expose());
        let bytes = ContentKey::LEN as u64;
        built.files.push(FileRecord { path: PUBLIC_KEY_FILE.to_owned(), bytes, digest: sum.finish() });
    }
    let mut record = record(job, &built, claimed.as_ref().map(|claimed| &claimed.claim), &identity);
    let json = |error: serde_json::Error| PackageError::Internal(error.to_string());
    if let Some(claimed) = &claimed {
        record.seal(&claimed.key).map_err(json)?;
    }
    site.publish(&record.to_bytes().map_err(json)?)?;
    let mut warnings = warnings(&built.renditions, job.making.align, job.making.policy.longest);
    if let (Some(claimed), Some((_, keys))) = (&claimed, protection)
        && let Err(error) = keys.store.claim_publish(&claimed.claim)
    {
        // The package is there. To call that a failure would be wrong; the next run finds it and marks the claim.
        let message = format!("the package is in its place, but its claim could not be marked: {error}");
        warnings.push(Warning { code: "claim-not-marked", rendition: None, message });
    }
    Ok(Ended::Made(Box::new(Outcome {
        warnings,
        built,
        key: claimed.map(|claimed| claimed.claim.key),
        elapsed: started.elapsed(),
    })))
}

struct Claimed {
    claim: Claim,
    key: ContentKey,
    start: Start,
}

/// What a claim is compared with.
struct Identity {
    dest: String,
    digest: Hex256,
    /// Whether a later run can have the same digest.
    repeatable: bool,
}

/// Finishes a run that was stopped between putting its package in place and saying so. None when there is none, or it
/// would have made another package than this one.
fn finish_interrupted(job: &Job, keys: &Keys<'_>, identity: &Identity) -> Result<Option<Published>, PackageError> {
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

/// How often other runs may write the claim between being read and being written here.
const CLAIM_TRIES: u32 = 8;

/// Claims the content id, or adopts the claim of a run that was stopped.
fn claim(
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
    if let Some(claim) = &known {
        let id = &job.content_id;
        if claim.dest != identity.dest {
            return Err(PackageError::Claimed {
                message: format!("the content id {id} is claimed for {}", claim.dest),
                hint: "choose another with --content-id".to_owned(),
            });
        }
        let vacant = site.is_vacant(&job.dest);
        let adopt = claim.plan == identity.digest
            && match (claim.state, job.replace) {
                (ClaimState::Open, _) => true,
                (ClaimState::Published, Replace::Refuse) => vacant,
                (ClaimState::Published, Replace::Allow) => false,
            };
        if adopt {
            keys.store.put(&claim.key)?;
            let key = keys.provider.unseal(&claim.key)?;
            return Ok(Claimed { claim: claim.clone(), key, start: Start::GoesOn });
        }
        // Nobody can run standard input again as it was, and nothing stands under an open claim.
        let given_up = claim.state == ClaimState::Open && !identity.repeatable;
        if job.replace == Replace::Refuse && !given_up {
            let hint = match claim.state {
                ClaimState::Open => "run it again as it was, or give that claim up with --force",
                ClaimState::Published => "--force makes a new package under that id, with a new key",
            };
            return Err(PackageError::Claimed {
                message: format!("the content id {id} is claimed by a run with other inputs or settings"),
                hint: hint.to_owned(),
            });
        }
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

/// SHA-256 of everything that decides the package's bytes. Standard input has no identity: what comes next time may be
/// something else, so that its digest never matches and no IV is used for other bytes.
fn identity(job: &Job, plan: &Plan) -> Result<Identity, PackageError> {
    let dest = job.dest.full_name()?;
    let mut repeatable = true;
    let mut sha = Sha256::new();
    let mut field = |bytes: &[u8]| {
        sha.update((bytes.len() as u64).to_be_bytes());
        sha.update(bytes);
    };
    field(env!("CARGO_PKG_VERSION").as_bytes());
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

/// Identifies a claim without telling its nonce.
fn run_id(claim: &Claim) -> String {
    short_hash(b"keyrung run v1", claim.nonce.bytes())
}

/// Identifies a clear package, which has no claim, by its plan.
fn clear_run_id(identity: &Identity) -> String {
    short_hash(b"keyrung clear run v1", identity.digest.bytes())
}

fn short_hash(label: &[u8], bytes: [u8; 32]) -> String {
    let hash = Sha256::new().chain_update(label).chain_update(bytes).finalize();
    hex::encode(hash.get(..16).unwrap_or_default())
}

/// Bytes that the package will take at least.
fn needed_space(plan: &Plan) -> u64 {
    let sizes = plan.inputs.iter().map(|input| match &input.reader {
        // Several programs of one input may all be carried; a single one may be much smaller than the input.
        Reader::File { input: file, .. } if input.programs.len() <= 1 => file.identity.len / 10 * 9,
        Reader::File { .. } | Reader::Pipe(_) => 0,
    });
    sizes.sum()
}

fn record(job: &Job, built: &Built, claim: Option<&Claim>, identity: &Identity) -> Record {
    let renditions = built.renditions.iter().map(|rendition| RenditionRecord {
        name: rendition.name.clone(),
        playlist: rendition.playlist.clone(),
        bandwidth: rendition.bandwidth,
        average_bandwidth: rendition.average_bandwidth,
        codecs: rendition.codecs.join(","),
        resolution: rendition.resolution.map(|size| format!("{}x{}", size.width, size.height)),
        frame_rate: rendition.frame_rate.map(|rate| rate.to_string()),
        segments: rendition
            .segments
            .iter()
            .map(|(stored, duration)| SegmentRecord {
                path: stored.path.clone(),
                duration_us: duration.micros(),
                clear_bytes: stored.clear_bytes,
                iv: stored.iv.map(|iv| iv.to_string()),
            })
            .collect(),
    });
    Record {
        format: RECORD_FORMAT.to_owned(),
        version: RECORD_VERSION,
        tool: concat!("keyrung ", env!("CARGO_PKG_VERSION")).to_owned(),
        content_id: job.content_id.to_string(),
        run: claim.map_or_else(|| clear_run_id(identity), run_id),
        created: claim.map(|claim| claim.created.to_string()).unwrap_or_default(),
        key_id: claim.map(|claim| claim.key.key_id.to_string()),
        master: MASTER_FILE.to_owned(),
        target_duration: built.target_duration,
        renditions: renditions.collect(),
        files: built.files.clone(),
        seal: None,
    }
}
