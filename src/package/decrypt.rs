//! Inputs that are encrypted as whole files: decrypted as they are read, range by range, and never stored.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::crypto::file::{BLOCK, FileCipher, FileCipherError, FileMode, FileScheme};
use crate::crypto::key::FileKey;

use super::error::PackageError;
use super::input::InputFile;

/// How an input is encrypted, with its key.
#[derive(Clone)]
pub struct InputDecryption(Arc<Inner>);

struct Inner {
    cipher: FileCipher,
    /// What tells it from others, without the key.
    identity: Vec<u8>,
}

impl fmt::Debug for InputDecryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InputDecryption").field(self.0.cipher.scheme()).finish()
    }
}

impl PartialEq for InputDecryption {
    fn eq(&self, other: &Self) -> bool {
        self.0.identity == other.0.identity
    }
}

impl Eq for InputDecryption {}

/// Bytes that are read at once to check a tag.
const PIECE: usize = 1024 * 1024;

impl InputDecryption {
    /// Encrypted in this way under this key; `sealed` is the key as it was given.
    #[must_use]
    pub fn new(key: &FileKey, scheme: FileScheme, sealed: &[u8]) -> Self {
        let mut identity = scheme.mode().to_string().into_bytes();
        identity.extend((scheme.iv().bytes().len() as u64).to_be_bytes());
        identity.extend(scheme.iv().bytes());
        identity.extend(sealed);
        Self(Arc::new(Inner { cipher: FileCipher::new(key, scheme), identity }))
    }

    /// What decides, beside the stored bytes, what is read.
    pub(super) fn identity(&self) -> &[u8] {
        &self.0.identity
    }

    /// Looks at a stored file and tells how long the plain one is. One in GCM is read to its end: nothing is made of it before
    /// its tag was found right.
    pub(super) fn plain_len(&self, stored: &InputFile, length: u64, cancel: &AtomicBool) -> Result<u64, PackageError> {
        let refuse = |source| refused(stored, source);
        let cipher = &self.0.cipher;
        let tail = length.min(2 * BLOCK as u64);
        let mut last = vec![0; tail as usize];
        stored.read_stored(&mut last, length - tail)?;
        let plain = cipher.plain_len(length, &last).map_err(refuse)?;
        if cipher.scheme().mode() == FileMode::Gcm {
            let mut authenticator = cipher.authenticator();
            let (mut piece, mut at) = (vec![0; PIECE], 0);
            while at < length {
                if cancel.load(Ordering::Relaxed) {
                    return Err(PackageError::Interrupted);
                }
                piece.truncate((length - at).min(PIECE as u64) as usize);
                stored.read_stored(&mut piece, at)?;
                authenticator.update(&piece).map_err(refuse)?;
                at += piece.len() as u64;
            }
            authenticator.finish().map_err(refuse)?;
        }
        Ok(plain)
    }

    /// Fills `bytes` with what the plain file holds from `offset` on.
    pub(super) fn read_at(&self, stored: &InputFile, bytes: &mut [u8], offset: u64) -> Result<(), PackageError> {
        let refuse = |source| refused(stored, source);
        let cipher = &self.0.cipher;
        let range = cipher.cipher_range(offset, bytes.len());
        if range.plain == (0..bytes.len()) && range.read.end - range.read.start == bytes.len() as u64 {
            stored.read_stored(bytes, range.read.start)?;
            return cipher.decrypt_range(&range, bytes).map_err(refuse);
        }
        let mut wider = vec![0; (range.read.end - range.read.start) as usize];
        stored.read_stored(&mut wider, range.read.start)?;
        cipher.decrypt_range(&range, &mut wider).map_err(refuse)?;
        bytes.copy_from_slice(wider.get(range.plain.clone()).unwrap_or_default());
        Ok(())
    }
}

fn refused(stored: &InputFile, source: FileCipherError) -> PackageError {
    PackageError::Decrypt { input: stored.name.clone(), source }
}
