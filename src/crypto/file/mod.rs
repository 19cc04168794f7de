//! Whole files in AES-CBC, AES-CTR or AES-GCM, as Elastic Transcoder and MediaConvert take them (spec ETR-12, MCV-01).
//!
//! [`FileCipher`] is a key with a [`FileScheme`]; [`Encryptor`] and [`Decryptor`] take a file as its bytes come, in pieces of any
//! length, and [`FileCipher::decrypt_range`] takes any part of one. The layout is that of every common library:
//!
//! | mode | file | IV |
//! |---|---|---|
//! | CBC | ciphertext with PKCS#7 padding | 16 bytes |
//! | CTR | ciphertext | 16 bytes: the first counter block, counted up as one 128-bit number; 12 bytes: the same with 4 zero bytes after it |
//! | GCM | ciphertext, then the tag of 16 bytes; no associated data | 12 bytes, or 16 that GHASH makes a counter block of (spec MCV-09) |

mod block;
mod gcm;
mod range;
mod stream;
#[cfg(test)]
mod tests;

pub use range::CipherRange;
pub use stream::{Authenticator, Decryptor, Encryptor};

use crate::crypto::key::{FileKey, RandomError, fill_random};
use crate::limits::GCM_BYTES;
use block::Aes;
use std::fmt;
use std::str::FromStr;

/// The AES block, and the tag of GCM, in bytes.
pub const BLOCK: usize = 16;

/// How a whole file is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileMode {
    /// AES-CBC with PKCS#7 padding.
    Cbc,
    /// AES-CTR.
    Ctr,
    /// AES-GCM.
    Gcm,
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cbc => "cbc",
            Self::Ctr => "ctr",
            Self::Gcm => "gcm",
        })
    }
}

impl FromStr for FileMode {
    type Err = FileModeError;

    /// Our names, and those that Elastic Transcoder and MediaConvert have for them.
    fn from_str(text: &str) -> Result<Self, FileModeError> {
        match text {
            "cbc" | "aes-cbc-pkcs7" | "AES_CBC" => Ok(Self::Cbc),
            "ctr" | "aes-ctr" | "AES_CTR" => Ok(Self::Ctr),
            "gcm" | "aes-gcm" | "AES_GCM" => Ok(Self::Gcm),
            _ => Err(FileModeError),
        }
    }
}

/// What was given names no mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a mode is cbc, ctr or gcm")]
pub struct FileModeError;

/// The IV of a whole file: 16 bytes, or 12 (spec MCV-02). Public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileIv {
    /// 16 bytes.
    Long([u8; 16]),
    /// 12 bytes, for CTR and GCM.
    Short([u8; 12]),
}

impl FileIv {
    /// The IV of these bytes.
    ///
    /// # Errors
    /// When they are neither 16 nor 12.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FileIvError> {
        match (<[u8; 16]>::try_from(bytes), <[u8; 12]>::try_from(bytes)) {
            (Ok(long), _) => Ok(Self::Long(long)),
            (_, Ok(short)) => Ok(Self::Short(short)),
            _ => Err(FileIvError::Length { bytes: bytes.len() }),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Long(bytes) => bytes,
            Self::Short(bytes) => bytes,
        }
    }
}

/// Why an IV was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileIvError {
    /// No mode has an IV of this length.
    #[error("an IV has 16 bytes, or 12 with GCM and CTR, and this has {bytes}")]
    Length {
        /// The length in bytes.
        bytes: usize,
    },
    /// CBC has an IV of one block.
    #[error("CBC takes an IV of 16 bytes, and this has 12")]
    ShortForCbc,
}

/// A mode with an IV that it can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileScheme {
    mode: FileMode,
    iv: FileIv,
}

impl FileScheme {
    /// The mode with the IV.
    ///
    /// # Errors
    /// [`FileIvError::ShortForCbc`].
    pub fn new(mode: FileMode, iv: FileIv) -> Result<Self, FileIvError> {
        match (mode, iv) {
            (FileMode::Cbc, FileIv::Short(_)) => Err(FileIvError::ShortForCbc),
            _ => Ok(Self { mode, iv }),
        }
    }

    /// The mode with a random IV. It has 16 bytes, which all modes and both services take, but for GCM when `gcm` wants 12.
    ///
    /// # Errors
    /// [`RandomError`].
    pub fn random(mode: FileMode, gcm: GcmIv) -> Result<Self, RandomError> {
        let mut bytes = [0; 16];
        fill_random(&mut bytes)?;
        let iv = match (mode, gcm, bytes.first_chunk::<12>()) {
            (FileMode::Gcm, GcmIv::Short, Some(short)) => FileIv::Short(*short),
            _ => FileIv::Long(bytes),
        };
        Ok(Self { mode, iv })
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> FileMode {
        self.mode
    }

    /// The IV.
    #[must_use]
    pub fn iv(&self) -> &FileIv {
        &self.iv
    }

    /// Bytes of the encrypted file of a file of `plain` bytes.
    ///
    /// # Errors
    /// [`FileCipherError::TooLong`].
    pub fn encrypted_len(&self, plain: u64) -> Result<u64, FileCipherError> {
        let more = match self.mode {
            FileMode::Ctr => 0,
            FileMode::Gcm if plain > GCM_BYTES => return Err(FileCipherError::TooLong),
            FileMode::Gcm => BLOCK as u64,
            FileMode::Cbc => BLOCK as u64 - plain % BLOCK as u64,
        };
        plain.checked_add(more).ok_or(FileCipherError::TooLong)
    }
}

/// How long a random IV for GCM is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GcmIv {
    /// 12 bytes, which SP 800-38D recommends.
    Short,
    /// 16 bytes, the only length that Elastic Transcoder's documents have (spec ETR-12).
    Long,
}

/// Why a file was not encrypted or decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileCipherError {
    /// GCM has a limit (SP 800-38D 5.2.1.1).
    #[error("AES-GCM encrypts at most 64 GiB (2^36 - 32 bytes) under one IV")]
    TooLong,
    /// What is there cannot be all of an encrypted file.
    #[error("the file was cut short: {bytes} bytes cannot be a whole file in this mode")]
    Truncated {
        /// Its length in bytes.
        bytes: u64,
    },
    /// GCM: the file, the key or the IV is not what was used.
    #[error("the authentication tag does not match: the file was changed, or the key or IV is another")]
    Tag,
    /// CBC: the last block does not end in padding.
    #[error("the padding is not PKCS#7: the file was changed, or the key or IV is another")]
    Padding,
}

/// A key, ready for a mode and an IV. Wiped when dropped.
pub struct FileCipher {
    aes: Box<Aes>,
    scheme: FileScheme,
    /// CTR: the block whose encryption covers the first 16 bytes. GCM: the one before it, which masks the tag.
    counter: [u8; BLOCK],
    hash: gcm::Ghash,
}

impl FileCipher {
    /// The key in this mode.
    #[must_use]
    pub fn new(key: &FileKey, scheme: FileScheme) -> Self {
        let aes = Box::new(Aes::new(key));
        let hash = gcm::Ghash::new(&aes);
        let counter = match (scheme.mode, scheme.iv) {
            (FileMode::Gcm, iv) => hash.first_counter(&iv),
            (_, FileIv::Long(iv)) => iv,
            (_, FileIv::Short(iv)) => {
                let mut counter = [0; BLOCK];
                counter.iter_mut().zip(iv).for_each(|(to, from)| *to = from);
                counter
            }
        };
        Self { aes, scheme, counter, hash }
    }

    /// Mode and IV.
    #[must_use]
    pub fn scheme(&self) -> &FileScheme {
        &self.scheme
    }

    /// Adds the keystream of CTR or GCM to `data`, which lies `offset` bytes behind the beginning.
    fn apply_keystream(&self, data: &mut [u8], offset: u64) -> Result<(), FileCipherError> {
        let applied = match self.scheme.mode {
            FileMode::Gcm => self.aes.ctr32(&self.counter, offset + BLOCK as u64, data),
            FileMode::Ctr | FileMode::Cbc => self.aes.ctr128(&self.counter, offset, data),
        };
        applied.map_err(|_| FileCipherError::TooLong)
    }
}
