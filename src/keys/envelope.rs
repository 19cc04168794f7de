//! The local keyring's envelope, version 1: AES-256-GCM under a key of its own for every envelope, with key commitment.
//!
//! The layout and the labels are specified in `manual/formats.md`, "Envelope of the local keyring".

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Tag};
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const SALT: usize = 32;
const COMMITMENT: usize = 32;
const TAG: usize = 16;
const HEAD: usize = 1 + SALT + COMMITMENT;

const ENCRYPT_LABEL: &[u8] = b"keyrung envelope v1 encrypt";
const COMMIT_LABEL: &[u8] = b"keyrung envelope v1 commit";
const AAD_LABEL: &[u8] = b"keyrung envelope v1\0";

/// What is derived from the key-encryption key for one envelope.
struct Derived {
    cipher: Aes256Gcm,
    commitment: Zeroizing<[u8; COMMITMENT]>,
}

/// HKDF-SHA256 (RFC 5869) of the key-encryption key, salted for one envelope.
fn derive(kek: &[u8; 32], salt: &[u8; SALT]) -> Derived {
    const FITS: &str = "32 bytes are one block of HKDF-SHA256, which gives up to 255";
    let hkdf = Hkdf::<Sha256>::new(Some(salt), kek);
    let mut key = Zeroizing::new([0; 32]);
    let mut commitment = Zeroizing::new([0; COMMITMENT]);
    hkdf.expand(ENCRYPT_LABEL, key.as_mut_slice()).expect(FITS);
    hkdf.expand(COMMIT_LABEL, commitment.as_mut_slice()).expect(FITS);
    Derived { cipher: Aes256Gcm::new((&*key).into()), commitment }
}

fn associated_data(kek_id: &str, context: &[u8]) -> Vec<u8> {
    [AAD_LABEL, kek_id.as_bytes(), context].concat()
}

/// Seals `secret`. `salt` must be random, and new for every envelope: it makes the nonce of zeros safe.
pub(super) fn seal(kek: &[u8; 32], kek_id: &str, context: &[u8], salt: &[u8; SALT], secret: &[u8]) -> Vec<u8> {
    let derived = derive(kek, salt);
    let mut blob = Vec::with_capacity(HEAD + secret.len() + TAG);
    blob.push(VERSION);
    blob.extend_from_slice(salt);
    blob.extend_from_slice(derived.commitment.as_slice());
    // At its final size already, so the secret's bytes are encrypted in place and never moved.
    blob.extend_from_slice(secret);
    let (_, body) = blob.split_at_mut(HEAD);
    let tag = derived
        .cipher
        .encrypt_inout_detached(&Default::default(), &associated_data(kek_id, context), body.into())
        .expect("a key is shorter than AES-GCM's 64 GiB");
    blob.extend_from_slice(&tag);
    blob
}

/// Opens an envelope; `None` when it is not whole or not what was sealed under this key, key id and context.
pub(super) fn open(kek: &[u8; 32], kek_id: &str, context: &[u8], blob: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (&version, rest) = blob.split_first()?;
    let (salt, rest) = rest.split_first_chunk::<SALT>()?;
    let (commitment, rest) = rest.split_first_chunk::<COMMITMENT>()?;
    let (body, tag) = rest.split_last_chunk::<TAG>()?;
    if version != VERSION {
        return None;
    }
    let derived = derive(kek, salt);
    // Before anything is decrypted: AES-GCM alone lets one ciphertext open under two keys.
    if !bool::from(derived.commitment.as_slice().ct_eq(commitment)) {
        return None;
    }
    let mut secret = Zeroizing::new(body.to_vec());
    derived
        .cipher
        .decrypt_inout_detached(
            &Default::default(),
            &associated_data(kek_id, context),
            secret.as_mut_slice().into(),
            &Tag::from(*tag),
        )
        .ok()?;
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEK: [u8; 32] = *b"key-encryption key of 32 bytes!!";
    const KEK_ID: &str = "0b0e2c5e-8a1d-4c3f-a2b4-6d7e8f901234";
    const CONTEXT: &[u8] = b"\0\x01\0\x0acontent-id\0\x06film-1";

    fn sealed() -> Vec<u8> {
        let salt: [u8; 32] = std::array::from_fn(|i| i as u8);
        seal(&KEK, KEK_ID, CONTEXT, &salt, b"0123456789abcdef")
    }

    /// Computed with Python's `hmac` and `cryptography` (OpenSSL) from the manual's text, not with this code.
    #[test]
    fn known_answer() {
        let expected = "01000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fcd79dbb2216edbdbee4867a74e2da38de564d8ae6bfa2fcecc5886d079b5d610540459272e91932034d11d37148af59cef4cedc277bf4f24fdc087c903554903";
        assert_eq!(hex::encode(sealed()), expected);
        assert_eq!(sealed().len(), 97);
        assert_eq!(open(&KEK, KEK_ID, CONTEXT, &sealed()).unwrap().as_slice(), b"0123456789abcdef");
    }

    #[test]
    fn every_bit_counts() {
        let blob = sealed();
        for bit in 0..blob.len() * 8 {
            let mut bad = blob.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&KEK, KEK_ID, CONTEXT, &bad).is_none(), "bit {bit}");
        }
        for length in 0..blob.len() {
            assert!(open(&KEK, KEK_ID, CONTEXT, &blob[..length]).is_none(), "length {length}");
        }
        let mut kek = KEK;
        kek[0] ^= 1;
        assert!(open(&kek, KEK_ID, CONTEXT, &blob).is_none());
        assert!(open(&KEK, "0b0e2c5e-8a1d-4c3f-a2b4-6d7e8f901235", CONTEXT, &blob).is_none());
        assert!(open(&KEK, KEK_ID, &CONTEXT[1..], &blob).is_none());
    }

    proptest! {
        #[test]
        fn random_bytes_never_open(blob in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open(&KEK, KEK_ID, CONTEXT, &blob).is_none());
        }

        #[test]
        fn secrets_of_any_length(secret in proptest::collection::vec(any::<u8>(), 0..64), salt in any::<[u8; 32]>()) {
            let blob = seal(&KEK, KEK_ID, CONTEXT, &salt, &secret);
            prop_assert_eq!(open(&KEK, KEK_ID, CONTEXT, &blob).unwrap().to_vec(), secret);
        }
    }
}
