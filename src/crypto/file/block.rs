//! AES with a key of any of its lengths, and the chains of blocks that the modes are made of.

use aes::{Aes128, Aes192, Aes256};
use cbc::{Decryptor, Encryptor};
use ctr::cipher::{
    Array, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit, StreamCipher,
    StreamCipherCoreWrapper, StreamCipherSeek,
};
use ctr::{CtrCore, flavors};

use super::BLOCK;
use crate::crypto::key::{FileKey, FileKeyLength};

/// The expanded key; wiped when dropped.
pub(super) enum Aes {
    K128(Aes128),
    K192(Aes192),
    K256(Aes256),
}

/// The counter has no value left.
#[derive(Debug)]
pub(super) struct CounterEnds;

/// Does the same with each of the three ciphers, which are three types.
macro_rules! with {
    ($self:ident, $aes:ident => $body:expr) => {
        match $self {
            Aes::K128($aes) => $body,
            Aes::K192($aes) => $body,
            Aes::K256($aes) => $body,
        }
    };
}

impl Aes {
    pub(super) fn new(key: &FileKey) -> Self {
        const FITS: &str = "the key has the length that it says";
        match key.length() {
            FileKeyLength::Aes128 => Self::K128(Aes128::new_from_slice(key.expose()).expect(FITS)),
            FileKeyLength::Aes192 => Self::K192(Aes192::new_from_slice(key.expose()).expect(FITS)),
            FileKeyLength::Aes256 => Self::K256(Aes256::new_from_slice(key.expose()).expect(FITS)),
        }
    }

    pub(super) fn encrypt_block(&self, block: &mut [u8; BLOCK]) {
        with!(self, aes => aes.encrypt_block(block.into()));
    }

    /// CTR from the `offset`th byte on, the whole block counted up.
    pub(super) fn ctr128(&self, first: &[u8; BLOCK], offset: u64, data: &mut [u8]) -> Result<(), CounterEnds> {
        with!(self, aes => {
            let core = CtrCore::<_, flavors::Ctr128BE>::inner_iv_init(aes, first.into());
            run(StreamCipherCoreWrapper::from_core(core), offset, data)
        })
    }

    /// CTR from the `offset`th byte on, the last 32 bits counted up (SP 800-38D 6.2).
    pub(super) fn ctr32(&self, first: &[u8; BLOCK], offset: u64, data: &mut [u8]) -> Result<(), CounterEnds> {
        with!(self, aes => {
            let core = CtrCore::<_, flavors::Ctr32BE>::inner_iv_init(aes, first.into());
            run(StreamCipherCoreWrapper::from_core(core), offset, data)
        })
    }

    /// CBC encryption of whole blocks; `chain`, the block before them, becomes the last of them.
    pub(super) fn cbc_encrypt(&self, chain: &mut [u8; BLOCK], data: &mut [u8]) {
        let blocks = Array::slice_as_chunks_mut(data).0;
        with!(self, aes => Encryptor::inner_iv_init(aes, (&*chain).into()).encrypt_blocks(blocks));
        if let Some(last) = data.last_chunk() {
            *chain = *last;
        }
    }

    /// CBC decryption of whole blocks; `chain`, the encrypted block before them, becomes the last of them.
    pub(super) fn cbc_decrypt(&self, chain: &mut [u8; BLOCK], data: &mut [u8]) {
        let next = data.last_chunk().copied().unwrap_or(*chain);
        let blocks = Array::slice_as_chunks_mut(data).0;
        with!(self, aes => Decryptor::inner_iv_init(aes, (&*chain).into()).decrypt_blocks(blocks));
        *chain = next;
    }
}

fn run(mut stream: impl StreamCipher + StreamCipherSeek, offset: u64, data: &mut [u8]) -> Result<(), CounterEnds> {
    stream.try_seek(offset).map_err(|_| CounterEnds)?;
    stream.try_apply_keystream(data).map_err(|_| CounterEnds)
}
