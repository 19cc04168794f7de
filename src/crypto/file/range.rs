//! Any part of an encrypted file. It checks no tag: who reads parts of a file in GCM has to see to that.

use std::ops::Range;

use super::{BLOCK, FileCipher, FileCipherError, FileMode};

/// Which encrypted bytes give a range of plain ones, and where these will lie in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CipherRange {
    /// The encrypted bytes to read.
    pub read: Range<u64>,
    /// The plain bytes in what [`FileCipher::decrypt_range`] makes of them.
    pub plain: Range<usize>,
}

impl FileCipher {
    /// Bytes of the plain file: `encrypted` is the length of the encrypted one, `last` its last 32 bytes (or all, when it has
    /// fewer), which only CBC looks at.
    ///
    /// # Errors
    /// [`FileCipherError::Truncated`], [`FileCipherError::Padding`], [`FileCipherError::TooLong`].
    pub fn plain_len(&self, encrypted: u64, last: &[u8]) -> Result<u64, FileCipherError> {
        let truncated = FileCipherError::Truncated { bytes: encrypted };
        match self.scheme.mode {
            FileMode::Ctr => Ok(encrypted),
            FileMode::Gcm => {
                let plain = encrypted.checked_sub(BLOCK as u64).ok_or(truncated)?;
                self.scheme.encrypted_len(plain).map(|_| plain)
            }
            FileMode::Cbc => {
                if encrypted == 0 || !encrypted.is_multiple_of(BLOCK as u64) {
                    return Err(truncated);
                }
                let (before, block) = last.split_last_chunk::<BLOCK>().ok_or(truncated)?;
                let mut chain = before.last_chunk::<BLOCK>().copied().unwrap_or(self.chain());
                let mut block = *block;
                self.aes.cbc_decrypt(&mut chain, &mut block);
                let plain = super::stream::unpadded(&block)?;
                Ok(encrypted - (BLOCK - plain.len()) as u64)
            }
        }
    }

    /// What to read for `length` plain bytes at `offset`, which the plain file has.
    #[must_use]
    pub fn cipher_range(&self, offset: u64, length: usize) -> CipherRange {
        let end = offset + length as u64;
        if self.scheme.mode != FileMode::Cbc {
            return CipherRange { read: offset..end, plain: 0..length };
        }
        // Whole blocks, and the one before them.
        let block = BLOCK as u64;
        let first = (offset / block * block).saturating_sub(block);
        let at = (offset - first) as usize;
        CipherRange { read: first..end.div_ceil(block) * block, plain: at..at + length }
    }

    /// Decrypts in place what was read for a range.
    ///
    /// # Errors
    /// [`FileCipherError::TooLong`] when it lies where no file of this mode has bytes.
    pub fn decrypt_range(&self, range: &CipherRange, data: &mut [u8]) -> Result<(), FileCipherError> {
        match self.scheme.mode {
            // Of a range in the middle, the first block only serves as the IV of the second: it decrypts to nonsense, which
            // lies before `plain`.
            FileMode::Cbc => self.aes.cbc_decrypt(&mut self.chain(), data),
            FileMode::Ctr | FileMode::Gcm => self.apply_keystream(data, range.read.start)?,
        }
        Ok(())
    }
}
