//! GHASH as the bytes come, and the tag (SP 800-38D 6.4, 7.1).

use ghash::universal_hash::UniversalHash;
use ghash::{Block, GHash};

use super::block::Aes;
use super::{BLOCK, FileIv};

/// GHASH under one key: of ciphertext without associated data.
#[derive(Clone)]
pub(super) struct Ghash {
    hash: GHash,
    /// Bytes of a block that is not whole yet.
    part: [u8; BLOCK],
    filled: usize,
    total: u64,
}

impl Ghash {
    /// Nothing hashed yet.
    pub(super) fn new(aes: &Aes) -> Self {
        let mut key = zeroize::Zeroizing::new([0; BLOCK]);
        aes.encrypt_block(&mut key);
        let hash = GHash::new((&*key).into());
        Self { hash, part: [0; BLOCK], filled: 0, total: 0 }
    }

    /// The counter block that an IV stands for (SP 800-38D 7.1, step 2).
    pub(super) fn first_counter(&self, iv: &FileIv) -> [u8; BLOCK] {
        match iv {
            FileIv::Short(iv) => {
                let mut counter = [0; BLOCK];
                counter.iter_mut().zip(iv).for_each(|(to, from)| *to = *from);
                counter[BLOCK - 1] = 1;
                counter
            }
            FileIv::Long(iv) => {
                let mut hash = self.clone();
                hash.update(iv);
                // The length of an IV stands where that of the ciphertext does.
                hash.finish()
            }
        }
    }

    /// Adds the next bytes of the ciphertext.
    pub(super) fn update(&mut self, mut data: &[u8]) {
        self.total += data.len() as u64;
        if self.filled > 0 {
            let (now, later) = data.split_at(data.len().min(BLOCK - self.filled));
            self.part.iter_mut().skip(self.filled).zip(now).for_each(|(to, from)| *to = *from);
            self.filled += now.len();
            data = later;
            if self.filled < BLOCK {
                return;
            }
            self.hash.update(&[Block::from(self.part)]);
            self.filled = 0;
        }
        let (blocks, rest) = Block::slice_as_chunks(data);
        self.hash.update(blocks);
        self.part = [0; BLOCK];
        self.part.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.filled = rest.len();
    }

    /// GHASH of the bytes, padded with zeros, and their length.
    fn finish(mut self) -> [u8; BLOCK] {
        if self.filled > 0 {
            self.part.iter_mut().skip(self.filled).for_each(|byte| *byte = 0);
            self.hash.update(&[Block::from(self.part)]);
        }
        let bits = u128::from(self.total) * 8;
        self.hash.update(&[Block::from(bits.to_be_bytes())]);
        self.hash.finalize().into()
    }

    /// The tag of what was hashed; `counter` is the IV's counter block.
    pub(super) fn tag(self, aes: &Aes, counter: &[u8; BLOCK]) -> [u8; BLOCK] {
        let mut tag = *counter;
        aes.encrypt_block(&mut tag);
        tag.iter_mut().zip(self.finish()).for_each(|(to, from)| *to ^= from);
        tag
    }
}
