//! One job: from what the user asked for to a published package, by the protocol claim, key, plan, commit
//! (`manual/formats.md`).

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::crypto::digest::Digest;
use crate::crypto::iv::{IvPolicy, IvSource, Nonce};
use crate::crypto::key::ContentKey;
use crate::keys::{
    Claim, ClaimState, ContentId, EncryptionContext, KeyError, KeyId, KeyProvider, KeyStore, ProviderName, SealedKey,
    WrappedKey,
};
use crate::playlist::value::KeyUri;
use crate::storage::{Durability, Replace};

use super::build::{Built, MASTER_FILE, Making, build};
use super::claim::{Claimed, Identity, claim, clear_run_id, identity, run_id};
use super::error::PackageError;
use super::input::Reader;
use super::outcome::{Warning, warnings};
use super::plan::Plan;
use super::progress::Progress;
use super::published::finish_interrupted;
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

/// The job's protection and the keys for it; none where it has none.
pub(super) fn with_keys<'a>(
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
        (Some(claimed), Some((protection, keys))) => {
            let nonce = Nonce::from_bytes(claimed.claim.nonce.bytes());
            let ivs = IvSource::new(protection.iv, &claimed.key, &nonce);
            let id = claimed.claim.key.key_id.to_string();
            let uri = |rendition: &str| {
                let uri = protection.uri.fill(&id, job.content_id.as_str(), rendition);
                uri.map(Some).map_err(PackageError::Internal)
            };
            let aes = Protection::Aes128 { key: &claimed.key, ivs: &ivs };
            let built = build(plan, &job.making, &site, aes, uri, cancel, progress);
            if let Err(PackageError::Changed { .. }) = &built {
                withdraw(protection, claimed, keys);
            }
            built?
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

/// Gives up a claim whose plan nobody can make any more: the input that it was made of has changed. Where that fails, the
/// claim is in the way of the next run, which says so. A claim under which a package was published is left alone: copies
/// of it may be elsewhere. The key goes only where this run had it made, so that nothing is encrypted under it.
fn withdraw(protection: &ProtectionPlan, claimed: &Claimed, keys: &Keys<'_>) {
    if claimed.claim.state != ClaimState::Open {
        return;
    }
    let mut withdrawn = claimed.claim.clone();
    withdrawn.state = ClaimState::Withdrawn;
    let is_withdrawn = keys.store.claim_replace(&claimed.claim, &withdrawn).is_ok();
    if is_withdrawn && claimed.start == Start::Fresh && protection.key == KeyChoice::New {
        let _ = keys.store.delete(&claimed.claim.key.key_id);
    }
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
