//! A file from front to back, in pieces of any length.

use subtle::ConstantTimeEq;

use super::gcm::Ghash;
use super::{BLOCK, FileCipher, FileCipherError, FileIv, FileMode};
use crate::limits::GCM_BYTES;

/// Bytes that are hashed and encrypted in turn, so that the second finds them in the cache.
const TILE: usize = 16 * 1024;

/// Encrypts a file as its bytes come. Without [`finish`](Self::finish) there is no padding and no tag.
#[must_use = "a file that is not finished has no padding and no tag"]
pub struct Encryptor<'a> {
    cipher: &'a FileCipher,
    pub(super) offset: u64,
    hash: Ghash,
    chain: [u8; BLOCK],
    /// CBC: bytes of a block that is not whole yet.
    rest: Vec<u8>,
}

impl FileCipher {
    /// Encrypts from the beginning.
    pub fn encryptor(&self) -> Encryptor<'_> {
        Encryptor { cipher: self, offset: 0, hash: self.hash.clone(), chain: self.chain(), rest: Vec::new() }
    }

    /// Decrypts from the beginning.
    pub fn decryptor(&self) -> Decryptor<'_> {
        Decryptor { cipher: self, offset: 0, hash: self.hash.clone(), chain: self.chain(), held: Vec::new() }
    }

    /// Checks the tag of GCM from the beginning, and decrypts nothing.
    pub fn authenticator(&self) -> Authenticator<'_> {
        Authenticator { cipher: self, hash: self.hash.clone(), offset: 0, held: Vec::new() }
    }

    pub(super) fn chain(&self) -> [u8; BLOCK] {
        match self.scheme.iv {
            FileIv::Long(iv) => iv,
            // Never with CBC: the scheme was checked.
            FileIv::Short(_) => [0; BLOCK],
        }
    }
}

impl Encryptor<'_> {
    /// Encrypts the next bytes and puts what comes of them behind `out`.
    ///
    /// # Errors
    /// [`FileCipherError::TooLong`]; then nothing more can be encrypted.
    pub fn update(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), FileCipherError> {
        let start = out.len();
        match self.cipher.scheme.mode {
            FileMode::Cbc => {
                out.append(&mut self.rest);
                out.extend_from_slice(data);
                let whole = (out.len() - start) / BLOCK * BLOCK;
                self.rest.extend(out.drain(start + whole..));
                self.cipher.aes.cbc_encrypt(&mut self.chain, out.split_at_mut(start).1);
            }
            FileMode::Ctr => {
                out.extend_from_slice(data);
                self.cipher.apply_keystream(out.split_at_mut(start).1, self.offset)?;
            }
            FileMode::Gcm => {
                check_length(self.offset, data.len())?;
                out.extend_from_slice(data);
                let mut offset = self.offset;
                for tile in out.split_at_mut(start).1.chunks_mut(TILE) {
                    self.cipher.apply_keystream(tile, offset)?;
                    self.hash.update(tile);
                    offset += tile.len() as u64;
                }
            }
        }
        self.offset += data.len() as u64;
        Ok(())
    }

    /// Ends the file: puts what is left, the padding of CBC or the tag of GCM behind `out`.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        match self.cipher.scheme.mode {
            FileMode::Ctr => {}
            FileMode::Gcm => out.extend(self.hash.tag(&self.cipher.aes, &self.cipher.counter)),
            FileMode::Cbc => {
                let fill = BLOCK - self.rest.len() % BLOCK;
                // 1 to 16 (RFC 5652 6.3).
                self.rest.resize(self.rest.len() + fill, fill as u8);
                self.cipher.aes.cbc_encrypt(&mut self.chain, &mut self.rest);
                out.append(&mut self.rest);
            }
        }
    }
}

fn check_length(offset: u64, more: usize) -> Result<(), FileCipherError> {
    let total = offset.checked_add(more as u64);
    if total.is_some_and(|total| total <= GCM_BYTES) { Ok(()) } else { Err(FileCipherError::TooLong) }
}

/// Decrypts a file as its bytes come. With GCM, what it gives is not to be trusted before [`finish`](Self::finish) has
/// found the tag right.
#[must_use = "a file that is not finished was not checked"]
pub struct Decryptor<'a> {
    cipher: &'a FileCipher,
    /// Bytes that were decrypted.
    pub(super) offset: u64,
    hash: Ghash,
    chain: [u8; BLOCK],
    /// What may be the tag, or the last block: up to 16 bytes.
    held: Vec<u8>,
}

impl Decryptor<'_> {
    /// Decrypts the next bytes and puts what comes of them behind `out`.
    ///
    /// # Errors
    /// [`FileCipherError::TooLong`]; then nothing more can be decrypted.
    pub fn update(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), FileCipherError> {
        let start = out.len();
        let mode = self.cipher.scheme.mode;
        if mode == FileMode::Ctr {
            out.extend_from_slice(data);
            self.cipher.apply_keystream(out.split_at_mut(start).1, self.offset)?;
            self.offset += data.len() as u64;
            return Ok(());
        }
        out.append(&mut self.held);
        out.extend_from_slice(data);
        let length = out.len() - start;
        let ready = match mode {
            FileMode::Gcm => length.saturating_sub(BLOCK),
            // The last block stays, whole or not: nobody knows yet that it is not the last.
            _ => length.saturating_sub(1) / BLOCK * BLOCK,
        };
        self.held.extend(out.drain(start + ready..));
        let ready_bytes = out.split_at_mut(start).1;
        if mode == FileMode::Gcm {
            check_length(self.offset, ready)?;
            let mut offset = self.offset;
            for tile in ready_bytes.chunks_mut(TILE) {
                self.hash.update(tile);
                self.cipher.apply_keystream(tile, offset)?;
                offset += tile.len() as u64;
            }
        } else {
            self.cipher.aes.cbc_decrypt(&mut self.chain, ready_bytes);
        }
        self.offset += ready as u64;
        Ok(())
    }

    /// Ends the file: checks the tag of GCM, or takes the padding of CBC off and puts the last bytes behind `out`.
    ///
    /// # Errors
    /// [`FileCipherError::Truncated`], [`FileCipherError::Tag`], [`FileCipherError::Padding`]. What was decrypted before is
    /// then worth nothing.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), FileCipherError> {
        let truncated = FileCipherError::Truncated { bytes: self.offset + self.held.len() as u64 };
        match self.cipher.scheme.mode {
            FileMode::Ctr => Ok(()),
            FileMode::Gcm => check_tag(self.cipher, self.hash, &self.held, truncated),
            FileMode::Cbc => {
                if self.held.len() != BLOCK {
                    return Err(truncated);
                }
                self.cipher.aes.cbc_decrypt(&mut self.chain, &mut self.held);
                let plain = unpadded(&self.held)?;
                out.extend_from_slice(plain);
                Ok(())
            }
        }
    }
}

/// The last block of CBC without its padding.
pub(super) fn unpadded(block: &[u8]) -> Result<&[u8], FileCipherError> {
    let fill = usize::from(block.last().copied().unwrap_or(0));
    let plain = block.len().checked_sub(fill).filter(|_| (1..=BLOCK).contains(&fill));
    let (plain, padding) = block.split_at_checked(plain.ok_or(FileCipherError::Padding)?).unwrap_or_default();
    if padding.iter().all(|byte| usize::from(*byte) == fill) { Ok(plain) } else { Err(FileCipherError::Padding) }
}

fn check_tag(cipher: &FileCipher, hash: Ghash, tag: &[u8], truncated: FileCipherError) -> Result<(), FileCipherError> {
    if tag.len() != BLOCK {
        return Err(truncated);
    }
    let right = hash.tag(&cipher.aes, &cipher.counter).as_slice().ct_eq(tag);
    if bool::from(right) { Ok(()) } else { Err(FileCipherError::Tag) }
}

/// Checks the tag of a file in GCM as its bytes come, and decrypts nothing. In the other modes there is no tag, and it finds
/// nothing wrong.
#[must_use = "a file that is not finished was not checked"]
pub struct Authenticator<'a> {
    cipher: &'a FileCipher,
    hash: Ghash,
    pub(super) offset: u64,
    held: Vec<u8>,
}

impl Authenticator<'_> {
    /// Looks at the next bytes.
    ///
    /// # Errors
    /// [`FileCipherError::TooLong`].
    pub fn update(&mut self, data: &[u8]) -> Result<(), FileCipherError> {
        // The last 16 bytes of all that has come may be the tag.
        let ready = (self.held.len() + data.len()).saturating_sub(BLOCK);
        check_length(self.offset, ready)?;
        let from_held = ready.min(self.held.len());
        let (now, later) = data.split_at(ready - from_held);
        self.hash.update(self.held.split_at(from_held).0);
        self.hash.update(now);
        self.held.drain(..from_held);
        self.held.extend_from_slice(later);
        self.offset += ready as u64;
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`FileCipherError::Truncated`], [`FileCipherError::Tag`].
    pub fn finish(self) -> Result<(), FileCipherError> {
        if self.cipher.scheme.mode != FileMode::Gcm {
            return Ok(());
        }
        let truncated = FileCipherError::Truncated { bytes: self.offset + self.held.len() as u64 };
        check_tag(self.cipher, self.hash, &self.held, truncated)
    }
}
