//! The inputs of a job: what the user named, opened, with what tells whether it changes meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

#[cfg(feature = "aws")]
use crate::storage::StorageError;
#[cfg(feature = "aws")]
use crate::storage::object::{Blocks, Location, NotALocation, ObjectReader};
use crate::ts::EndOfInput;

use super::decrypt::InputDecryption;
use super::error::PackageError;
use super::stdin::Pipe;

/// What the user typed for an input: `[NAME=]INPUT[#program=N]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSpec {
    /// The rendition's name, where one was given.
    pub name: Option<String>,
    /// Where the bytes are.
    pub place: InputPlace,
    /// The program picked, where one was.
    pub program: Option<u16>,
    /// How it is encrypted as a whole file, where it is.
    pub decryption: Option<InputDecryption>,
}

/// Where an input's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputPlace {
    /// A file.
    File(PathBuf),
    /// An object in a bucket.
    #[cfg(feature = "aws")]
    Object(Location),
    /// Standard input.
    Stdin,
}

impl InputPlace {
    fn parse(text: &str) -> Result<Self, PackageError> {
        if text == "-" {
            return Ok(Self::Stdin);
        }
        #[cfg(feature = "aws")]
        if Location::is_meant(text) {
            let location: Location = text.parse().map_err(|error: NotALocation| usage(error.to_string()))?;
            if location.key().is_empty() {
                return Err(usage(format!("{text}: a bucket is no input; name an object in it")));
            }
            return Ok(Self::Object(location));
        }
        #[cfg(not(feature = "aws"))]
        if text.starts_with("s3://") {
            return Err(usage(format!("{text}: this keyrung is built without the feature aws")));
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return Err(usage(format!("{text}: only files, s3:// and standard input (-) can be read")));
        }
        Ok(Self::File(text.into()))
    }

    /// What to call it in messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            #[cfg(feature = "aws")]
            Self::Object(location) => location.to_string(),
            Self::Stdin => "standard input".to_owned(),
        }
    }
}

impl InputSpec {
    /// Reads `[NAME=]INPUT[#program=N]`. An existing path wins over the readings of `=` and `#`.
    ///
    /// # Errors
    /// A usage error for what is neither.
    pub fn parse(text: &str) -> Result<Self, PackageError> {
        if text == "-" {
            return Ok(Self { name: None, place: InputPlace::Stdin, program: None, decryption: None });
        }
        if Path::new(text).exists() {
            return Ok(Self { name: None, place: InputPlace::File(text.into()), program: None, decryption: None });
        }
        let (rest, program) = match text.rsplit_once("#program=") {
            Some((rest, number)) => {
                let number = number.parse().ok().filter(|number| *number > 0);
                let number = number.ok_or_else(|| usage(format!("{text}: a program number is 1 to 65535")))?;
                (rest, Some(number))
            }
            None => (text, None),
        };
        let (name, path) = match rest.split_once('=') {
            Some((name, path)) if !Path::new(rest).exists() && is_name(name) => (Some(name.to_owned()), path),
            _ => (None, rest),
        };
        Ok(Self { name, place: InputPlace::parse(path)?, program, decryption: None })
    }
}

/// Whether `name` can be a rendition's name: `[A-Za-z0-9_-]+`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn usage(message: String) -> PackageError {
    PackageError::Usage { message, hint: None }
}

/// What tells one state of an input from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Bytes.
    pub len: u64,
    version: Version,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Version {
    File {
        /// Modification time: seconds and nanoseconds.
        modified: (i64, i64),
        /// Device and inode.
        inode: (u64, u64),
    },
    /// The object's ETag.
    #[cfg(feature = "aws")]
    Object(String),
}

impl Identity {
    /// What goes into the digest of a plan.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.len.to_be_bytes().to_vec();
        match &self.version {
            Version::File { modified, inode } => {
                // Without the device: machines that share a file system number it each for itself.
                bytes.extend(inode.1.to_be_bytes());
                for number in [modified.0, modified.1] {
                    bytes.extend(number.to_be_bytes());
                }
            }
            #[cfg(feature = "aws")]
            Version::Object(etag) => bytes.extend(etag.as_bytes()),
        }
        bytes
    }
}

/// An input whose every byte can be read at any time.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// Its name in messages.
    pub name: String,
    source: Source,
    /// Its state when it was opened. Of an encrypted one, the length is that of the plain bytes.
    pub identity: Identity,
    /// The state of what is stored.
    stored: Identity,
    decryption: Option<InputDecryption>,
}

/// Where an input's bytes come from.
#[derive(Debug, Clone)]
enum Source {
    File(Arc<File>),
    #[cfg(feature = "aws")]
    Object(Arc<ObjectReader>),
}

/// What the inputs of a job share while they are read.
#[derive(Debug)]
pub struct Reading {
    cancel: Arc<AtomicBool>,
    #[cfg(feature = "aws")]
    blocks: Arc<Blocks>,
}

impl Reading {
    /// `cancel` is set when the run is to stop; inputs that come over a network take `memory` bytes at most.
    #[must_use]
    pub fn new(cancel: &Arc<AtomicBool>, memory: u64) -> Self {
        #[cfg(not(feature = "aws"))]
        let _ = memory;
        Self {
            cancel: Arc::clone(cancel),
            #[cfg(feature = "aws")]
            blocks: Blocks::new(memory),
        }
    }

    /// Opens an input.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn open(&self, spec: &InputSpec) -> Result<Reader, PackageError> {
        let mut input = match &spec.place {
            InputPlace::Stdin if spec.decryption.is_some() => {
                return Err(PackageError::Usage {
                    message: "standard input is not decrypted on the way in".to_owned(),
                    hint: Some("keyrung file decrypt - - --document FILE | keyrung package -".to_owned()),
                });
            }
            InputPlace::Stdin => return Ok(Reader::Pipe(Pipe::new(Arc::clone(&self.cancel)))),
            InputPlace::File(path) => InputFile::open(path)?,
            #[cfg(feature = "aws")]
            InputPlace::Object(location) => InputFile::open_object(location, &self.blocks)?,
        };
        if let Some(how) = &spec.decryption {
            input = input.decrypting(how, &self.cancel)?;
        }
        Ok(Reader::File { input, buffer: Vec::new() })
    }
}

impl InputFile {
    /// Opens a file.
    ///
    /// # Errors
    /// When it is not there, not readable, or not a file.
    pub fn open(path: &Path) -> Result<Self, PackageError> {
        let name = path.display().to_string();
        let read = |source| PackageError::Read { input: name.clone(), source };
        let file = File::open(path).map_err(read)?;
        if !file.metadata().map_err(read)?.is_file() {
            return Err(read(io::Error::other("not a regular file; pipes are read from standard input with -")));
        }
        let identity = identity(&file).map_err(read)?;
        let source = Source::File(Arc::new(file));
        Ok(Self { name, source, stored: identity.clone(), identity, decryption: None })
    }

    /// The plain file that is encrypted in this one. `cancel` is set when the run is to stop.
    ///
    /// # Errors
    /// When it cannot be read, or is no file that was encrypted so.
    pub fn decrypting(mut self, how: &InputDecryption, cancel: &AtomicBool) -> Result<Self, PackageError> {
        self.identity.len = how.plain_len(&self, self.stored.len, cancel)?;
        // What is in GCM has been read to its end.
        #[cfg(feature = "aws")]
        if let Source::Object(reader) = &self.source {
            reader.rewind();
        }
        self.decryption = Some(how.clone());
        Ok(self)
    }

    /// Opens an object, in the state in which it is now.
    #[cfg(feature = "aws")]
    fn open_object(location: &Location, blocks: &Arc<Blocks>) -> Result<Self, PackageError> {
        let name = location.to_string();
        let reader = ObjectReader::open(location, blocks).map_err(|error| object_error(&name, error))?;
        let identity = Identity { len: reader.len(), version: Version::Object(reader.etag().to_owned()) };
        Ok(Self { name, source: Source::Object(reader), stored: identity.clone(), identity, decryption: None })
    }

    /// Whether it comes over a network.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        !matches!(self.source, Source::File(_))
    }

    /// The region it comes from, where it has one.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        match &self.source {
            Source::File(_) => None,
            #[cfg(feature = "aws")]
            Source::Object(reader) => reader.region(),
        }
    }

    /// Fills `bytes` with what the input holds from `offset` on.
    ///
    /// # Errors
    /// When it cannot be read, or has become shorter.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<(), PackageError> {
        match &self.decryption {
            None => self.read_stored(bytes, offset),
            Some(how) => how.read_at(self, bytes, offset),
        }
    }

    /// Fills `bytes` with what is stored from `offset` on.
    pub(super) fn read_stored(&self, bytes: &mut [u8], offset: u64) -> Result<(), PackageError> {
        match &self.source {
            Source::File(file) => file.read_exact_at(bytes, offset).map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => PackageError::Changed { input: self.name.clone() },
                _ => PackageError::Read { input: self.name.clone(), source },
            }),
            #[cfg(feature = "aws")]
            Source::Object(reader) => reader.read_at(bytes, offset).map_err(|error| object_error(&self.name, error)),
        }
    }

    /// What goes into the digest of a plan: everything that decides which bytes are read.
    #[must_use]
    pub fn plan_bytes(&self) -> Vec<u8> {
        let mut bytes = self.stored.to_bytes();
        bytes.extend(self.decryption.iter().flat_map(InputDecryption::identity));
        bytes
    }

    /// Checks that the input is what it was when it was opened.
    ///
    /// # Errors
    /// When it changed.
    pub fn check_unchanged(&self) -> Result<(), PackageError> {
        let now = match &self.source {
            Source::File(file) => {
                identity(file).map_err(|source| PackageError::Read { input: self.name.clone(), source })?
            }
            #[cfg(feature = "aws")]
            Source::Object(reader) => {
                return reader.check_unchanged().map_err(|error| object_error(&self.name, error));
            }
        };
        if now == self.stored { Ok(()) } else { Err(PackageError::Changed { input: self.name.clone() }) }
    }
}

/// That an object is not there or has changed is the input's fault; the rest is the store's.
#[cfg(feature = "aws")]
fn object_error(name: &str, error: StorageError) -> PackageError {
    match error {
        StorageError::Changed { .. } => PackageError::Changed { input: name.to_owned() },
        StorageError::NotFound { .. } => {
            let source = io::Error::new(io::ErrorKind::NotFound, "no such object");
            PackageError::Read { input: name.to_owned(), source }
        }
        other => PackageError::Storage(other),
    }
}

fn identity(file: &File) -> io::Result<Identity> {
    let metadata = file.metadata()?;
    Ok(Identity {
        len: metadata.len(),
        version: Version::File {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: (metadata.dev(), metadata.ino()),
        },
    })
}

/// An input's bytes from any offset on, for those who read it from front to back.
#[derive(Debug)]
pub enum Reader {
    /// Of a file: read where asked.
    File {
        /// The file.
        input: InputFile,
        /// What was read last.
        buffer: Vec<u8>,
    },
    /// Of standard input: everything is kept until it is released.
    Pipe(Pipe),
}

/// Bytes that the scan reads at once: little enough to stay in the cache nearest to it beside what the workers use.
const CHUNK: usize = 256 * 1024;

impl Reader {
    /// The bytes from `from` on: at least `at_least`, or all that there is.
    ///
    /// # Errors
    /// When reading fails, or standard input would have to be held beyond its limit.
    pub fn window(&mut self, from: u64, at_least: usize) -> Result<(&[u8], EndOfInput), PackageError> {
        match self {
            Self::File { input, buffer } => {
                let len = input.identity.len;
                let want = (len.saturating_sub(from)).min(CHUNK.max(at_least) as u64) as usize;
                buffer.resize(want, 0);
                input.read_at(buffer, from)?;
                let end = if from + want as u64 >= len { EndOfInput::Reached } else { EndOfInput::NotYet };
                Ok((buffer, end))
            }
            Self::Pipe(pipe) => {
                pipe.fill(from, at_least, || false)?;
                Ok((pipe.from(from), pipe.end()))
            }
        }
    }
}
