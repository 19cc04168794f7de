//! `keyrung package --job`: a job of Elastic Transcoder says how the package is protected, and gets the key back.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::keys::transcoder::{HlsProtection, JobError, KeyStorage, TranscoderJob};
use crate::keys::{SealedKey, WrappedKey};
use crate::limits::MAX_JOB_BYTES;
use crate::storage::{StorageError, durable};

use super::error::CliError;
use super::exit::Exit;
use super::file::sealed::input;
use super::output::Output;

/// A job, and what becomes of it.
#[derive(Debug, Clone, Args)]
pub struct JobArgs {
    /// A job of Elastic Transcoder whose HlsContentProtection says how the package is protected; with --json, the result
    /// holds it as "job", with Key and KeyMd5 filled in
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "wrapped_key", "iv", "key_uri"])]
    job: Option<PathBuf>,
    /// The playlist that is meant, where several have an HlsContentProtection
    #[arg(long, value_name = "NAME", requires = "job")]
    job_playlist: Option<String>,
    /// Write the job, filled in, to FILE; the file of --job itself is replaced, another is not
    #[arg(long, value_name = "FILE", requires = "job")]
    job_out: Option<PathBuf>,
    /// Allow the job's WithVariantPlaylists: the plaintext key is published beside the playlists, and anyone can play them
    #[arg(long, requires = "job")]
    allow_public_key: bool,
}

impl JobArgs {
    /// Reads the job, where there is one.
    ///
    /// # Errors
    /// When it cannot be read, is none, or asks for what must be allowed and was not; when the file of `--job-out` is there.
    pub fn read(&self, output: Output) -> Result<Option<TranscoderJob>, CliError> {
        let Some(path) = &self.job else {
            return Ok(None);
        };
        let json = durable::read_limited(path, MAX_JOB_BYTES).map_err(input)?;
        let job = TranscoderJob::from_json(&json, self.job_playlist.as_deref()).map_err(|error| {
            let exit = if matches!(error, JobError::Key(_) | JobError::Md5(_)) { Exit::Key } else { Exit::Usage };
            let refused = CliError::new(exit, format!("{}: {error}", path.display()));
            match error {
                JobError::Several(_) => refused.hint("--job-playlist NAME says which"),
                _ => refused,
            }
        })?;
        let folder = self.job_out.as_deref().and_then(Path::parent);
        if let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
            return Err(CliError::usage(format!("--job-out: there is no folder {}", folder.display())));
        }
        if let Some(out) = &self.job_out
            && self.job_out != self.job
            && out.symlink_metadata().is_ok()
        {
            let exists = StorageError::Exists { operation: "write", path: out.clone() };
            return Err(CliError::from(exists).hint("--job-out with the file of --job itself replaces that"));
        }
        if job.protection().storage == KeyStorage::WithVariantPlaylists {
            if !self.allow_public_key {
                let text = "the job's WithVariantPlaylists publishes the plaintext key beside the playlists";
                return Err(CliError::usage(text).hint("NoStore keeps it sealed; --allow-public-key publishes it"));
            }
            output.warning("the plaintext key is published beside the playlists: anyone who gets them can play them");
        }
        Ok(Some(job))
    }

    /// The job with the key in it, written where it is to be.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, job: &TranscoderJob, key: &SealedKey, output: Output) -> Result<Value, CliError> {
        let wrapped = WrappedKey::from_bytes(&key.ciphertext);
        let wrapped = wrapped.map_err(|error| CliError::new(Exit::Internal, error.to_string()))?;
        let filled = job.filled(&wrapped);
        match &self.job_out {
            Some(path) => {
                let mut text = serde_json::to_vec_pretty(&filled).unwrap_or_default();
                text.push(b'\n');
                if self.job_out == self.job {
                    durable::replace_file(path, &text, 0o644)?;
                } else {
                    durable::create_new(path, &text, 0o644)?;
                }
            }
            None => output.note("--job-out FILE keeps the job with Key and KeyMd5 filled in; --json has it too"),
        }
        Ok(filled)
    }
}

/// How the key gets to players: the URI in the playlists, and whether the key is published with them.
pub fn uri(protection: &HlsProtection) -> Option<&str> {
    match protection.storage {
        KeyStorage::WithVariantPlaylists => Some(crate::package::job::PUBLIC_KEY_URI),
        KeyStorage::NoStore => protection.url.as_deref(),
    }
}
