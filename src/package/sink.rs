//! What the engines need beside the segments: where files go, how they are encrypted, and who watches.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::crypto::digest::{Digest, DigestKind};
use crate::crypto::iv::{Iv, IvSource};
use crate::crypto::key::ContentKey;
use crate::segment::Segment;
use crate::storage::Staging;

use super::error::PackageError;
use super::progress::Progress;

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
    /// Where the package is being built.
    pub staging: &'a Staging,
    /// Names of the renditions.
    pub names: Vec<String>,
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
    file: File,
    digest: Digest,
    bytes: u64,
}

impl Sink<'_> {
    /// Opens the file of a segment.
    ///
    /// # Errors
    /// When storage refuses, or the run is to stop.
    pub fn create(&self, rendition: usize, index: u64) -> Result<Output, PackageError> {
        self.check()?;
        let name = self.names.get(rendition).map(String::as_str).unwrap_or_default();
        let path = format!("{name}/{index:05}.ts");
        let file = self.staging.create_file(&path)?;
        Ok(Output { path, file, digest: Digest::new(self.digest), bytes: 0 })
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
    /// When it is.
    pub fn check(&self) -> Result<(), PackageError> {
        if self.cancel.load(Ordering::Relaxed) { Err(PackageError::Interrupted) } else { Ok(()) }
    }

    /// Writes bytes of a segment.
    ///
    /// # Errors
    /// When storage fails.
    pub fn write(&self, output: &mut Output, bytes: &[u8]) -> Result<(), PackageError> {
        std::io::Write::write_all(&mut output.file, bytes).map_err(|source| self.failed(&output.path, source))?;
        output.digest.update(bytes);
        output.bytes += bytes.len() as u64;
        self.progress.written(bytes.len() as u64);
        Ok(())
    }

    /// Ends a segment's file.
    pub fn finish(&self, output: Output, rendition: usize, segment: Segment, clear: u64, iv: Option<Iv>) -> Stored {
        self.progress.segment();
        Stored {
            rendition,
            segment,
            path: output.path,
            bytes: output.bytes,
            clear_bytes: clear,
            digest: output.digest.finish(),
            iv,
        }
    }

    fn failed(&self, path: &str, source: std::io::Error) -> PackageError {
        let path: PathBuf = self.staging.path().join(path);
        crate::storage::StorageError::new("write", &path, source).into()
    }
}
