//! Where a package is made and published: a folder, or a group of objects in a bucket.

use std::fmt;
use std::fs::File;
use std::io::Write;
#[cfg(feature = "aws")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use crate::keys::Claim;
use crate::limits;
#[cfg(feature = "aws")]
use crate::storage::object::{Encryption, FirstRun, Location, ObjectFile, Upload, generation_name};
use crate::storage::{Durability, Permit, Replace, Staging, StorageError, durable, full_name};

use super::record::{RECORD_FILE, Record};

/// Where a package is to be.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A folder.
    Folder(PathBuf),
    /// Objects whose names begin alike.
    #[cfg(feature = "aws")]
    Bucket {
        /// What their names begin with.
        at: Location,
        /// How the store encrypts them.
        encryption: Encryption,
    },
}

impl Destination {
    /// Its full name, which a claim is compared with.
    ///
    /// # Errors
    /// As [`full_name`].
    pub fn full_name(&self) -> Result<String, StorageError> {
        match self {
            Self::Folder(folder) => Ok(full_name(folder)?.to_string_lossy().into_owned()),
            #[cfg(feature = "aws")]
            Self::Bucket { at, .. } => Ok(at.to_string()),
        }
    }

    /// Whether it is one that appears in one step, everything in it at once.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        matches!(self, Self::Folder(_))
    }

    /// The commit record that is there; None where none is. That it cannot be read is not that there is none.
    pub(super) fn record(&self) -> Result<Option<Vec<u8>>, StorageError> {
        match self {
            Self::Folder(folder) => {
                match durable::read_limited(&folder.join(RECORD_FILE), limits::MAX_COMMIT_RECORD_BYTES) {
                    Err(StorageError::NotFound { .. } | StorageError::NotADirectory { .. }) => Ok(None),
                    read => read.map(Some),
                }
            }
            #[cfg(feature = "aws")]
            Self::Bucket { at, encryption } => Ok(Upload::record_at(at, encryption)?.map(|bytes| bytes.to_vec())),
        }
    }

    /// Whether something is there: a file or folder, or a package's record in a bucket.
    pub(super) fn is_occupied(&self) -> Result<bool, StorageError> {
        match self {
            Self::Folder(folder) => Ok(folder.symlink_metadata().is_ok()),
            #[cfg(feature = "aws")]
            Self::Bucket { at, encryption } => Ok(Upload::record_at(at, encryption)?.is_some()),
        }
    }

    /// What of a package in a folder is missing or of another length than its record says, the first of it.
    ///
    /// # Errors
    /// When it cannot be told.
    pub(super) fn damage(&self, record: &Record) -> Result<Option<String>, StorageError> {
        match self {
            Self::Folder(folder) => {
                for file in &record.files {
                    let path = folder.join(&file.path);
                    match path.metadata() {
                        Ok(there) if there.len() == file.bytes => {}
                        Ok(there) => {
                            return Ok(Some(format!("{} has {} bytes of {}", file.path, there.len(), file.bytes)));
                        }
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                            return Ok(Some(format!("{} is missing", file.path)));
                        }
                        Err(error) => return Err(StorageError::new("look at", &path, error)),
                    }
                }
                Ok(None)
            }
            #[cfg(feature = "aws")]
            Self::Bucket { .. } => Ok(None),
        }
    }

    /// Removes what a run has left that was stopped after it had published. False when another is at work there.
    pub(super) fn discard_stale(&self) -> Result<bool, StorageError> {
        match self {
            Self::Folder(folder) => Staging::discard_stale(folder),
            #[cfg(feature = "aws")]
            Self::Bucket { .. } => Ok(true),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            #[cfg(feature = "aws")]
            Self::Bucket { at, .. } => at.fmt(f),
        }
    }
}

/// A package that is being made.
#[derive(Debug)]
pub enum Site {
    /// In a staging folder, which is put in its place at the end.
    Folder(Staging),
    /// In a bucket, which shows it as soon as the master playlist is there.
    #[cfg(feature = "aws")]
    Bucket(Box<Upload>),
}

/// A segment's file or object while it is written.
#[derive(Debug)]
pub enum Writer {
    /// A file, and the memory that what it is made from may take.
    File(File, Option<Permit>),
    /// An object; boxed, for it is large.
    #[cfg(feature = "aws")]
    Object(Box<ObjectFile>),
}

impl Writer {
    /// Holds a permit until the segment is stored.
    pub fn hold(&mut self, permit: Option<Permit>) {
        match self {
            Self::File(_, held) => *held = permit,
            #[cfg(feature = "aws")]
            Self::Object(object) => object.hold(permit),
        }
    }
}

impl Site {
    /// Opens DEST for a new package.
    ///
    /// # Errors
    /// When DEST cannot be used, or holds a package and `replace` refuses; whatever storage reports.
    pub fn open(dest: &Destination, replace: Replace, durability: Durability) -> Result<Self, StorageError> {
        match dest {
            Destination::Folder(folder) => Ok(Self::Folder(Staging::open(folder, replace, durability)?)),
            #[cfg(feature = "aws")]
            Destination::Bucket { at, encryption } => {
                Ok(Self::Bucket(Box::new(Upload::open(at, encryption, replace)?)))
            }
        }
    }

    /// Whether no package is at `dest`.
    #[must_use]
    pub fn is_vacant(&self, dest: &Destination) -> bool {
        match (self, dest) {
            #[cfg(feature = "aws")]
            (Self::Bucket(upload), _) => upload.is_vacant(),
            (_, Destination::Folder(folder)) => !folder.exists(),
            #[cfg(feature = "aws")]
            (Self::Folder(_), Destination::Bucket { .. }) => true,
        }
    }

    /// The name of the generation in which a new claim's package lies; none at DEST itself. `run` identifies the claim.
    #[must_use]
    #[cfg_attr(not(feature = "aws"), allow(unused_variables))]
    pub fn generation(&self, run: &str, place: Place) -> Option<String> {
        match (self, place) {
            #[cfg(feature = "aws")]
            (Self::Bucket(_), Place::Apart) => Some(generation_name(run)),
            _ => None,
        }
    }

    /// Begins to store what `run` makes in the folders of these renditions.
    ///
    /// # Errors
    /// Whatever storage reports.
    #[cfg_attr(not(feature = "aws"), allow(unused_variables))]
    pub fn begin(
        &mut self,
        run: &str,
        generation: Option<String>,
        renditions: &[String],
        start: Start,
    ) -> Result<(), StorageError> {
        match self {
            Self::Folder(_) => Ok(()),
            #[cfg(feature = "aws")]
            Self::Bucket(upload) => {
                let first = if start == Start::Fresh { FirstRun::Yes } else { FirstRun::No };
                upload.begin(run, generation, renditions, first)
            }
        }
    }

    /// The folder of a rendition below DEST; a folder is made.
    ///
    /// # Errors
    /// Whatever storage reports.
    pub fn make_folder(&self, rendition: &str) -> Result<String, StorageError> {
        match self {
            Self::Folder(staging) => staging.create_dir(rendition).map(|()| rendition.to_owned()),
            #[cfg(feature = "aws")]
            Self::Bucket(upload) => Ok(upload.folder(rendition)),
        }
    }

    /// Whether there is room for `bytes`.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`].
    pub fn check_space(&self, bytes: u64) -> Result<(), StorageError> {
        match self {
            Self::Folder(staging) if bytes > staging.free_space()? => {
                let operation = "make room for the package";
                Err(StorageError::NoSpace { operation, path: staging.path().to_path_buf() })
            }
            _ => Ok(()),
        }
    }

    /// Opens the file of a segment. `permit` is given back when it is stored.
    ///
    /// # Errors
    /// Whatever storage reports.
    pub fn create(&self, path: &str, permit: Option<Permit>) -> Result<Writer, StorageError> {
        match self {
            Self::Folder(staging) => Ok(Writer::File(staging.create_file(path)?, permit)),
            #[cfg(feature = "aws")]
            Self::Bucket(upload) => Ok(Writer::Object(Box::new(upload.create(path, permit)?))),
        }
    }

    /// Writes bytes of a segment.
    ///
    /// # Errors
    /// Whatever storage reports.
    pub fn write(&self, writer: &mut Writer, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        match (self, writer) {
            (Self::Folder(staging), Writer::File(file, _)) => {
                file.write_all(bytes).map_err(|source| StorageError::new("write", &staging.path().join(path), source))
            }
            #[cfg(feature = "aws")]
            (Self::Bucket(upload), Writer::Object(object)) => upload.write(object, bytes),
            #[cfg(feature = "aws")]
            _ => Err(StorageError::BadName { path: Path::new("").into(), name: path.to_owned() }),
        }
    }

    /// Ends a segment, whose checksum is `digest`. It may be stored later: [`Site::land`] waits for it.
    pub fn finish(&self, writer: Writer, digest: &str) {
        #[cfg(feature = "aws")]
        if let (Self::Bucket(upload), Writer::Object(object)) = (self, writer) {
            upload.finish(*object, digest);
        }
        #[cfg(not(feature = "aws"))]
        let _ = (writer, digest);
    }

    /// Whether a segment that was ended could not be stored.
    ///
    /// # Errors
    /// That failure.
    pub fn check(&self) -> Result<(), StorageError> {
        match self {
            Self::Folder(_) => Ok(()),
            #[cfg(feature = "aws")]
            Self::Bucket(upload) => upload.check(),
        }
    }

    /// Waits until all segments are stored, or `cancel` is set.
    ///
    /// # Errors
    /// The first failure.
    #[cfg_attr(not(feature = "aws"), allow(unused_variables))]
    pub fn land(&self, cancel: &AtomicBool) -> Result<(), StorageError> {
        match self {
            Self::Folder(_) => Ok(()),
            #[cfg(feature = "aws")]
            Self::Bucket(upload) => upload.land(cancel),
        }
    }

    /// Stores a playlist, after everything that it names.
    ///
    /// # Errors
    /// Whatever storage reports.
    pub fn playlist(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        match self {
            Self::Folder(staging) => write_file(staging, path, bytes),
            #[cfg(feature = "aws")]
            Self::Bucket(upload) => upload.playlist(path, bytes),
        }
    }

    /// Stores a plaintext key that is to be published.
    ///
    /// # Errors
    /// Whatever storage reports; [`StorageError::Unusable`] in a bucket, where the master may be seen before the key.
    pub fn public_key(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        match self {
            Self::Folder(staging) => write_file(staging, path, bytes),
            #[cfg(feature = "aws")]
            Self::Bucket(_) => {
                Err(StorageError::Unusable { path: path.into(), why: "a plaintext key is stored in folders only" })
            }
        }
    }

    /// Stores the commit record and puts the package in its place.
    ///
    /// # Errors
    /// Whatever storage reports.
    pub fn publish(self, record: &[u8]) -> Result<(), StorageError> {
        match self {
            Self::Folder(staging) => {
                write_file(&staging, RECORD_FILE, record)?;
                staging.publish()
            }
            #[cfg(feature = "aws")]
            Self::Bucket(upload) => upload.publish(record),
        }
    }
}

/// Where a new claim's package lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At DEST: nothing has been there.
    Plain,
    /// Apart from what was or may be there.
    Apart,
}

impl Place {
    /// For a claim that takes the place of another or not, at a DEST that is vacant or not.
    #[must_use]
    pub fn of(old: Option<&Claim>, is_vacant: bool) -> Self {
        if old.is_none() && is_vacant { Self::Plain } else { Self::Apart }
    }
}

/// Whether a run begins or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Its claim is new.
    Fresh,
    /// Another run with this claim may have stored some of it.
    GoesOn,
}

fn write_file(staging: &Staging, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let mut file = staging.create_file(path)?;
    file.write_all(bytes).map_err(|source| StorageError::new("write", &staging.path().join(path), source))
}
