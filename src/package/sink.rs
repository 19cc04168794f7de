//! What the engines need beside the segments: where files go, how they are encrypted, and who watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::crypto::digest::{Digest, DigestKind};
use crate::crypto::iv::{Iv, IvSource};
use crate::crypto::key::ContentKey;
use crate::segment::Segment;
use crate::storage::{Budget, Permit};

use super::error::PackageError;
use super::progress::Progress;
use super::site::{Site, Writer};

/// How segments are protected.
#[derive(Clone, Copy)]
pub enum Protection<'a> {
    /// They are not.
    None,
    /// AES-128-CBC under one key, each with its own IV (spec KEY-003, KEY-023).
    Aes128 {
        /// The data key.
        key: &'a ContentKey,
        /// Where the IVs come from.
        ivs: &'a IvSource,
    },
}

/// Takes finished bytes of segments to their files.
pub struct Sink<'a> {
    /// Where the package is being made.
    pub site: &'a Site,
    /// Names of the renditions.
    pub names: Vec<String>,
    /// Their folders below DEST.
    pub folders: Vec<String>,
    /// The memory that segments on their way to or from a network may take; none where none is.
    pub budget: Option<Arc<Budget>>,
    /// How segments are protected.
    pub protection: Protection<'a>,
    /// The checksum of each segment.
    pub digest: DigestKind,
    /// Set when the user wants the run to stop.
    pub cancel: &'a AtomicBool,
    /// Who watches.
    pub progress: &'a dyn Progress,
}

/// A segment that is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The number of its rendition.
    pub rendition: usize,
    /// What it was made from.
    pub segment: Segment,
    /// Path below DEST.
    pub path: String,
    /// Bytes stored.
    pub bytes: u64,
    /// Bytes before encryption.
    pub clear_bytes: u64,
    /// Checksum of the bytes stored.
    pub digest: String,
    /// The IV, where it is encrypted.
    pub iv: Option<Iv>,
}

/// A segment's file while it is written.
pub struct Output {
    path: String,
    writer: Writer,
    digest: Digest,
    bytes: u64,
}

impl Output {
    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Holds a permit until the segment is stored.
    pub fn hold(&mut self, permit: Option<Permit>) {
        self.writer.hold(permit);
    }
}

impl Sink<'_> {
    /// Opens the file of a segment. `permit` is given back when it is stored.
    ///
    /// # Errors
    /// When storage refuses, or the run is to stop.
    pub fn create(&self, rendition: usize, index: u64, permit: Option<Permit>) -> Result<Output, PackageError> {
        self.check()?;
        let folder = self.folders.get(rendition).map(String::as_str).unwrap_or_default();
        let path = format!("{folder}/{index:05}.ts");
        let writer = self.site.create(&path, permit)?;
        Ok(Output { path, writer, digest: Digest::new(self.digest), bytes: 0 })
    }

    /// The IV of a segment.
    ///
    /// # Errors
    /// When the policy has none for it.
    pub fn iv(&self, rendition: usize, index: u64) -> Result<Option<Iv>, PackageError> {
        match self.protection {
            Protection::None => Ok(None),
            Protection::Aes128 { ivs, .. } => {
                let name = self.names.get(rendition).map(String::as_str).unwrap_or_default();
                let iv = ivs.iv(name, index).map_err(|error| PackageError::Internal(error.to_string()))?;
                Ok(Some(iv))
            }
        }
    }

    /// Checks whether the run is to stop.
    ///
    /// # Errors
    /// When it is, or a segment could not be stored.
    pub fn check(&self) -> Result<(), PackageError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(PackageError::Interrupted);
        }
        Ok(self.site.check()?)
    }

    /// Waits for memory for a segment of about so many bytes; none is needed where nothing goes over a network.
    ///
    /// # Errors
    /// When the run is to stop.
    pub fn reserve(&self, bytes: u64, stop: impl Fn() -> bool) -> Result<Option<Permit>, PackageError> {
        let Some(budget) = &self.budget else {
            return Ok(None);
        };
        let permit = budget.take(bytes, || stop() || self.cancel.load(Ordering::Relaxed));
        permit.map(Some).ok_or(PackageError::Interrupted)
    }

    /// Writes bytes of a segment.
    ///
    /// # Errors
    /// When storage fails.
    pub fn write(&self, output: &mut Output, bytes: &[u8]) -> Result<(), PackageError> {
        self.site.write(&mut output.writer, &output.path, bytes)?;
        output.digest.update(bytes);
        output.bytes += bytes.len() as u64;
        self.progress.written(bytes.len() as u64);
        Ok(())
    }

    /// Ends a segment's file.
    pub fn finish(&self, output: Output, rendition: usize, segment: Segment, clear: u64, iv: Option<Iv>) -> Stored {
        let Output { path, writer, digest, bytes } = output;
        let digest = digest.finish();
        self.site.finish(writer, &digest);
        self.progress.segment();
        Stored { rendition, segment, path, bytes, clear_bytes: clear, digest, iv }
    }
}
