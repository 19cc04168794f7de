//! `keyrung package`: the main job.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::crypto::digest::DigestKind;
use crate::crypto::iv::IvPolicy;
use crate::keys::transcoder::{HlsProtection, KeyStorage, TranscoderJob};
use crate::keys::{ContentId, ContextPreset, KeyId, KeyMd5, KeyProvider, ProviderName, SealedKey, default_content_id};
use crate::ladder::{AudioChoice, CutPolicy};
#[cfg(not(feature = "aws"))]
use crate::limits;
use crate::package::PackageError;
use crate::package::build::{FaultPolicy, Making, rehearse};
use crate::package::conductor::Align;
use crate::package::input::{InputSpec, Reading};
use crate::package::job::{self, Ended, Job, KeyChoice, Keys, ProtectionPlan, PublicKey};
use crate::package::plan::Plan;
use crate::package::progress::Progress;
use crate::package::published;
use crate::package::site::Destination;
use crate::package::uri::KeyUriTemplate;
#[cfg(feature = "aws")]
use crate::storage::object::{Encryption, Location, NotALocation};
use crate::storage::{Durability, Replace, StorageError};
use crate::time::Span;

use super::args::Global;
#[cfg(feature = "aws")]
use super::bucket_args::BucketArgs;
use super::error::CliError;
use super::file::sealed::{self, WrappedKeyArgs};
use super::input_decryption::{self, InputDecryptionArg};
use super::key_access::{ContextArgs, KeyStoreArgs, ProviderArgs};
use super::output::Output;
use super::package_job::{self, JobArgs};
use super::package_report as report;
use super::progress::Shown;
use super::signal;

/// Make a protected HLS ladder of MPEG-TS inputs
///
/// Several single-program files make one ladder; of a multi-program stream every program becomes a rendition. All
/// renditions are cut at the same key frames and encrypted under one data key, each segment with its own IV.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyrung package 1080p.ts 720p.ts 360p.ts --out film
  keyrung package hi=a.ts lo=b.ts --out film --key-uri 'https://keys.example/v1/keys/{key_id}'
  ffmpeg -i film.mp4 ... -f mpegts - | keyrung package - --out film
  keyrung package film.ts.enc --out film --input-decryption @film.json
  keyrung package film.ts --out film --wrapped-key @key.b64 --wrapped-key-md5 zG9MId7htnmIZEWCXXG5yg==
  keyrung package film.ts --out film --job job.json --job-out job-with-key.json")]
pub struct PackageArgs {
    /// [NAME=]FILE[#program=N], [NAME=]s3://BUCKET/KEY[#program=N], or - for standard input
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,
    /// Inputs are encrypted as whole files: @FILE with their DecryptionSettings or Encryption, or
    /// mode=cbc|ctr|gcm,iv=IV,wrapped-key=BASE64[,region=REGION]; once for all inputs, or for each (none: a clear one)
    // Not parsed by clap, whose message would hold the value.
    #[arg(long, value_name = "HOW")]
    input_decryption: Vec<String>,
    /// Folder to make, or s3://BUCKET/PREFIX
    #[arg(long, default_value = "out", value_name = "DEST", help_heading = "Output", value_parser = destination)]
    out: Destination,
    /// Identifies the content; bound to the key [default: DEST's name and a hash of its full name]
    #[arg(long, value_name = "ID", help_heading = "Protection")]
    content_id: Option<ContentId>,
    /// Duration that segments aim at
    #[arg(long, default_value = "6", value_name = "SECONDS", value_parser = seconds, help_heading = "Cutting")]
    segment_duration: Span,
    /// How segments are protected: AES-128-CBC of whole segments, or not at all
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "aes-128|none",
        hide_possible_values = true,
        help_heading = "Protection"
    )]
    protection: ProtectionArg,
    #[command(flatten, next_help_heading = "Protection")]
    provider: ProviderArgs,
    #[command(flatten, next_help_heading = "Protection")]
    context: ContextArgs,
    /// Use a sealed key that the key store already has; it is bound to a content id and a context of its own
    #[arg(long, value_name = "KEY_ID", conflicts_with_all = ["context", "context_preset", "wrapped_key"], help_heading = "Protection")]
    key: Option<KeyId>,
    #[command(flatten, next_help_heading = "Protection")]
    wrapped: WrappedKeyArgs,
    #[command(flatten, next_help_heading = "Jobs of Elastic Transcoder")]
    job: JobArgs,
    /// Initialisation vectors: an unpredictable one for each segment (derived), its number (sequence), or 32 hex digits for all
    #[arg(long, default_value = "derived", value_name = "derived|sequence|HEX32", help_heading = "Protection")]
    iv: IvPolicy,
    /// URI of the key in the playlists, with any of {key_id} {content_id} {rendition}
    #[arg(long, default_value = "/v1/keys/{key_id}", value_name = "TEMPLATE", help_heading = "Protection")]
    key_uri: KeyUriTemplate,
    #[command(flatten, next_help_heading = "Protection")]
    key_store: KeyStoreArgs,
    /// One segment grid for all renditions (shared), or one each (off)
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "shared|off",
        hide_possible_values = true,
        help_heading = "Cutting"
    )]
    align: AlignArg,
    /// Print the plan and write nothing
    #[arg(long, help_heading = "Output")]
    dry_run: bool,
    /// Replace a package that is there
    #[arg(long, help_heading = "Output")]
    force: bool,
    /// What the package survives: a killed process, or loss of power too (everything is flushed to the disk)
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "process|power",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    durability: DurabilityArg,
    /// Worker threads [default: all cores]
    #[arg(long, value_name = "N", help_heading = "Output")]
    threads: Option<NonZeroUsize>,
    /// Checksum of each file in the commit record
    #[arg(long, default_value = "crc64", value_name = "crc64|blake3", help_heading = "Output")]
    digest: DigestKind,
    /// Refuse damaged input instead of reporting it
    #[arg(long, help_heading = "Cutting")]
    strict: bool,
    /// The audio that each rendition carries, by language or PID [default: the first in the PMT]
    #[arg(long, value_name = "LANG|PID", help_heading = "Cutting")]
    audio: Option<AudioChoice>,
    #[cfg(feature = "aws")]
    #[command(flatten)]
    bucket: BucketArgs,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum ProtectionArg {
    /// AES-128-CBC of whole segments
    #[default]
    #[value(name = "aes-128")]
    Aes128,
    /// None: clear segments
    None,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum AlignArg {
    /// One for all
    #[default]
    Shared,
    /// One each
    Off,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum DurabilityArg {
    /// A killed process
    #[default]
    Process,
    /// Loss of power too: everything is flushed to the disk
    Power,
}

fn destination(text: &str) -> Result<Destination, String> {
    #[cfg(feature = "aws")]
    if Location::is_meant(text) {
        let at = text.parse().map_err(|error: NotALocation| error.to_string())?;
        return Ok(Destination::Bucket { at, encryption: Encryption::default() });
    }
    #[cfg(not(feature = "aws"))]
    if text.starts_with("s3://") {
        return Err("this keyrung is built without the feature aws".to_owned());
    }
    match text.split_once("://") {
        Some((scheme, _)) if !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Err("packages are made in folders and in buckets, s3://BUCKET/PREFIX".to_owned())
        }
        _ => Ok(Destination::Folder(text.into())),
    }
}

fn seconds(text: &str) -> Result<Span, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.5..=3600.0).contains(&seconds) => Ok(Span::from_seconds(seconds)),
        _ => Err("a duration is 0.5 to 3600 seconds".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// Whatever stands against the job.
pub fn run(args: PackageArgs, global: &Global) -> Result<(), CliError> {
    let output = global.output();
    let cancel = signal::cancel_flag()?;
    let progress = Shown::new(global);
    let around = Around { output, cancel: &cancel, progress: &progress };
    if args.dry_run {
        let _ = args.asked(output)?;
        let mut plan = args.plan(&around)?;
        let rehearsed = rehearse(&mut plan, &args.making(), &cancel, &progress);
        progress.finish();
        let (mut conductor, segments) = rehearsed?;
        report::dry_run(output, &plan, &mut conductor, &segments);
        return Ok(());
    }
    let finished = args.execute(&around, Earlier::InTheWay);
    progress.finish();
    let Finished { job, plan, ended, filled, .. } = finished?;
    match ended {
        Ended::Made(outcome) => report::made(output, &job, &outcome, filled.as_ref()),
        Ended::WasPublished(published) => report::was_published(output, &job, &plan, &published, filled.as_ref()),
    }
    Ok(())
}

/// Where a job is done: where it says what it has to say, what stops it, and who is told how it goes on.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub output: Output,
    pub cancel: &'a Arc<AtomicBool>,
    pub progress: &'a dyn Progress,
}

/// What the very same package is that an earlier run has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Earlier {
    /// In the way, as any package is.
    InTheWay,
    /// What is wanted: nothing is left to do.
    Wanted,
}

/// A job that was done, and what tells of it.
pub(super) struct Finished {
    pub job: Job,
    pub plan: Plan,
    pub ended: Ended,
    /// The job of Elastic Transcoder with the package's key in it.
    pub filled: Option<Value>,
    /// What was warned of before it began.
    pub warnings: Vec<&'static str>,
}

impl PackageArgs {
    /// The job of Elastic Transcoder, where there is one.
    fn asked(&self, output: Output) -> Result<Option<TranscoderJob>, CliError> {
        let job = self.job.read(output)?;
        if job.is_some() && self.protection == ProtectionArg::None {
            return Err(CliError::usage("--job says how segments are protected, --protection none that they are not"));
        }
        Ok(job)
    }

    /// Looks into the inputs.
    ///
    /// # Errors
    /// When they cannot be read or packaged.
    pub(super) fn plan(&self, around: &Around<'_>) -> Result<Plan, CliError> {
        let mut specs = self.specs()?;
        let opener = |region: Option<&str>| self.opener(region);
        input_decryption::apply(&self.input_decryption, &mut specs, opener, around.output)?;
        let reading = Reading::new(around.cancel, self.memory());
        Ok(Plan::make(&specs, &self.audio.clone().unwrap_or_default(), &reading)?)
    }

    /// Does the job.
    ///
    /// # Errors
    /// Whatever stands against it; then DEST is as it was.
    pub(super) fn execute(&self, around: &Around<'_>, earlier: Earlier) -> Result<Finished, CliError> {
        let Around { output, cancel, progress } = *around;
        let transcoder_job = self.asked(output)?;
        let asked = transcoder_job.as_ref().map(TranscoderJob::protection);
        let dest = self.dest()?;
        let mut plan = self.plan(around)?;
        #[cfg(feature = "aws")]
        let bucket = super::bucket_args::region(&dest, &plan)?;
        #[cfg(not(feature = "aws"))]
        let bucket: Option<String> = None;
        let opened = match self.protection {
            ProtectionArg::None => {
                self.provider.warn_of_regions(bucket.as_deref(), output)?;
                None
            }
            ProtectionArg::Aes128 => Some(self.key_store.open_or_create(&self.provider, bucket.as_deref(), output)?),
        };
        let keys = opened.as_ref().map(|(keychain, store)| Keys { provider: keychain, store });
        let job = self.job(dest, asked)?;
        if let (Some(keys), Some(protection)) = (&keys, &job.protection) {
            let md5 = self.wrapped.wrapped_key_md5.or(asked.and_then(|asked| asked.md5));
            check_wrapped_key(keys.provider, protection, md5.as_ref(), output)?;
        }
        let warnings = self.warnings(asked);
        for warning in &warnings {
            output.warning(warning);
        }
        let found = match earlier {
            Earlier::Wanted => published::published(&job, &plan, keys.as_ref())?,
            Earlier::InTheWay => None,
        };
        let ended = match found {
            Some(published) => Ended::WasPublished(Box::new(published)),
            None => match job::run(&job, &mut plan, keys.as_ref(), cancel, progress) {
                // Another run may have put it there since it was looked for.
                Err(PackageError::Storage(StorageError::Exists { operation, path })) if earlier == Earlier::Wanted => {
                    let exists = PackageError::Storage(StorageError::Exists { operation, path });
                    let found = published::published(&job, &plan, keys.as_ref())?;
                    let found = found.ok_or_else(|| published::in_the_way(&job, exists))?;
                    Ended::WasPublished(Box::new(found))
                }
                ended => ended?,
            },
        };
        let key = match &ended {
            Ended::Made(outcome) => outcome.key.as_ref(),
            Ended::WasPublished(published) => published.key.as_ref(),
        };
        let filled = self.fill(transcoder_job.as_ref(), key, output)?;
        Ok(Finished { job, plan, ended, filled, warnings })
    }

    /// The inputs as they were typed, read.
    ///
    /// # Errors
    /// For what is none.
    pub(super) fn specs(&self) -> Result<Vec<InputSpec>, CliError> {
        Ok(self.inputs.iter().map(|text| InputSpec::parse(text)).collect::<Result<Vec<_>, _>>()?)
    }

    /// Checks what is read only when it is used.
    ///
    /// # Errors
    /// What is wrong with it, without its value.
    pub(super) fn check_input_decryption(&self) -> Result<(), String> {
        self.input_decryption.iter().try_for_each(|text| text.parse::<InputDecryptionArg>().map(|_| ()))
    }

    /// With so many threads at most.
    pub(super) fn limit_threads(&mut self, most: NonZeroUsize) {
        self.threads = Some(self.threads.map_or(most, |threads| threads.min(most)));
    }

    /// Whether its segments are encrypted, and who seals the key.
    pub(super) fn sealed_by(&self) -> Option<&ProviderName> {
        (self.protection == ProtectionArg::Aes128).then(|| self.provider.name())
    }

    /// Which key store it has its claim and its key in.
    pub(super) fn key_store(&self) -> &KeyStoreArgs {
        &self.key_store
    }

    /// The job, without its inputs.
    ///
    /// # Errors
    /// For what does not go together.
    pub(super) fn job_without_inputs(&self, output: Output) -> Result<Job, CliError> {
        let asked = self.asked(output)?;
        self.job(self.dest()?, asked.as_ref().map(TranscoderJob::protection))
    }

    /// What the package's content is called.
    ///
    /// # Errors
    /// When DEST has no name that one could be made of.
    pub(super) fn content_id(&self) -> Result<ContentId, CliError> {
        match &self.content_id {
            Some(id) => Ok(id.clone()),
            None => Ok(default_content_id(&self.out.full_name()?)),
        }
    }

    #[cfg(feature = "aws")]
    pub(super) fn memory(&self) -> u64 {
        self.bucket.memory()
    }

    #[cfg(not(feature = "aws"))]
    pub(super) fn memory(&self) -> u64 {
        limits::S3_MEMORY
    }

    #[cfg(feature = "aws")]
    pub(super) fn dest(&self) -> Result<Destination, CliError> {
        self.bucket.applied(&self.out)
    }

    #[cfg(not(feature = "aws"))]
    pub(super) fn dest(&self) -> Result<Destination, CliError> {
        Ok(self.out.clone())
    }

    fn making(&self) -> Making {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Making {
            policy: CutPolicy::for_target(self.segment_duration),
            align: match self.align {
                AlignArg::Shared => Align::Shared,
                AlignArg::Off => Align::Off,
            },
            faults: if self.strict { FaultPolicy::Refuse } else { FaultPolicy::Report },
            threads: self.threads.unwrap_or(cores).get().min(256),
            digest: self.digest,
            memory: self.memory(),
        }
    }

    fn job(&self, dest: Destination, asked: Option<&HlsProtection>) -> Result<Job, CliError> {
        let content_id = self.content_id()?;
        let context = match asked {
            Some(_) => self.context.over(ContextPreset::ElasticTranscoder.context())?,
            None => self.context.context(&content_id)?,
        };
        let provided = asked.and_then(|asked| asked.key.clone());
        let key = match (&self.key, self.wrapped.key()?.or(provided)) {
            (Some(id), _) => KeyChoice::Existing(*id),
            (None, Some(wrapped)) => KeyChoice::Provided(wrapped),
            (None, None) => KeyChoice::New,
        };
        let uri = match asked.and_then(package_job::uri) {
            Some(uri) => uri.parse().map_err(CliError::usage)?,
            None => self.key_uri.clone(),
        };
        let protection = (self.protection == ProtectionArg::Aes128).then(|| ProtectionPlan {
            key,
            iv: self.iv(asked),
            uri,
            context,
            provider: self.provider.name().clone(),
            public_key: match asked.map(|asked| asked.storage) {
                Some(KeyStorage::WithVariantPlaylists) => PublicKey::WithPlaylists,
                Some(KeyStorage::NoStore) | None => PublicKey::No,
            },
        });
        Ok(Job {
            dest,
            content_id,
            protection,
            making: self.making(),
            replace: if self.force { Replace::Allow } else { Replace::Refuse },
            durability: match self.durability {
                DurabilityArg::Process => Durability::Process,
                DurabilityArg::Power => Durability::Power,
            },
        })
    }

    /// The job's IV, where it has one, is that of all segments.
    fn iv(&self, asked: Option<&HlsProtection>) -> IvPolicy {
        asked.and_then(|asked| asked.iv).map_or(self.iv, IvPolicy::Fixed)
    }

    /// The job of Elastic Transcoder with the package's key in it.
    fn fill(
        &self,
        job: Option<&TranscoderJob>,
        key: Option<&SealedKey>,
        output: Output,
    ) -> Result<Option<Value>, CliError> {
        job.zip(key).map(|(job, key)| self.job.write(job, key, output)).transpose()
    }

    /// Who opens the keys of inputs; `region` is that of the wrapping key, where it was told.
    fn opener(&self, region: Option<&str>) -> Result<Box<dyn KeyProvider>, CliError> {
        Ok(self.provider.access()?.named_in(self.provider.name(), region)?)
    }

    fn warnings(&self, asked: Option<&HlsProtection>) -> Vec<&'static str> {
        match (self.protection, self.iv(asked)) {
            (ProtectionArg::None, _) => vec!["the segments will be clear: anyone who gets them can play them"],
            (_, IvPolicy::Sequence) => {
                vec!["--iv sequence gives segments of equal number in all renditions the same IV under one key"]
            }
            (_, IvPolicy::Fixed(_)) => vec!["one IV was given: every segment has the same IV under one key"],
            (_, IvPolicy::Derived) => Vec::new(),
        }
    }
}

/// Compares the checksum of a key that was provided. The key itself is only opened when the sum is not the sealed one's.
fn check_wrapped_key(
    provider: &dyn KeyProvider,
    protection: &ProtectionPlan,
    md5: Option<&KeyMd5>,
    output: Output,
) -> Result<(), CliError> {
    match (&protection.key, md5) {
        (_, None) => Ok(()),
        (KeyChoice::Provided(wrapped), Some(md5)) if wrapped.md5() != *md5 => {
            sealed::open(provider, wrapped, Some(md5), &protection.context, output).map(|_| ())
        }
        (KeyChoice::Provided(_), Some(_)) => Ok(()),
        // clap's `requires` does not hold where what is required conflicts with what was given.
        (_, Some(_)) => Err(CliError::usage("--wrapped-key-md5 is the checksum of a sealed key, and none was given")),
    }
}
