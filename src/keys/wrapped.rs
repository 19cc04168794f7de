//! Sealed keys that travel without a record: in jobs and documents of Elastic Transcoder and MediaConvert, and on the command line.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A provider's blob, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey(Vec<u8>);

/// Why something is no sealed key. No message holds what was given: it may be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrappedKeyError {
    /// It looks like a key that nobody has sealed (spec MCV-01: a job with such a key fails).
    #[error("that is a plaintext key, and a sealed one is wanted")]
    Plaintext,
    /// It is not base64.
    #[error("that is not a sealed key: it is not base64")]
    NotBase64,
    /// No provider's blobs are so short.
    #[error("that is not a sealed key: it has {bytes} bytes only")]
    TooShort {
        /// Its length.
        bytes: usize,
    },
    /// No provider's blobs are so long (spec KMS-002).
    #[error("that is not a sealed key: it has more than {MAX} bytes")]
    TooLong,
}

/// The longest blob, in bytes: what AWS KMS gives at most (spec KMS-002).
const MAX: usize = crate::limits::KMS_CIPHERTEXT_BYTES;
/// The shortest blob, in bytes: nonce, key and tag of any authenticated cipher are 44.
const MIN: usize = 44;

impl WrappedKey {
    /// A blob.
    ///
    /// # Errors
    /// [`WrappedKeyError`] when it cannot be one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WrappedKeyError> {
        match bytes.len() {
            // Keys of AES, raw or in hexadecimal digits.
            16 | 24 | 32 => Err(WrappedKeyError::Plaintext),
            _ if is_hex_key(bytes) => Err(WrappedKeyError::Plaintext),
            length @ 0..MIN => Err(WrappedKeyError::TooShort { bytes: length }),
            length if length > MAX => Err(WrappedKeyError::TooLong),
            _ => Ok(Self(bytes.to_vec())),
        }
    }

    /// What a file holds: the blob, or its base64 with or without line breaks.
    ///
    /// # Errors
    /// As [`WrappedKey::from_bytes`].
    pub fn from_file(content: &[u8]) -> Result<Self, WrappedKeyError> {
        match std::str::from_utf8(content).map(str::parse) {
            Ok(Err(WrappedKeyError::NotBase64)) | Err(_) => Self::from_bytes(content),
            Ok(parsed) => parsed,
        }
    }

    /// The blob.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The checksum that Elastic Transcoder wants: MD5 of the blob (spec ETR-03).
    #[must_use]
    pub fn md5(&self) -> KeyMd5 {
        KeyMd5(Md5::digest(&self.0).into())
    }

    /// Compares a checksum with this blob, and with the key that was in it.
    ///
    /// # Errors
    /// [`Md5Mismatch`] when it is of neither.
    pub fn check(&self, md5: &KeyMd5, key: &[u8]) -> Result<Md5Of, Md5Mismatch> {
        if *md5 == self.md5() {
            return Ok(Md5Of::Ciphertext);
        }
        let plain = Zeroizing::new(<[u8; 16]>::from(Md5::digest(key)));
        if bool::from(plain.ct_eq(&md5.0)) { Ok(Md5Of::Plaintext) } else { Err(Md5Mismatch) }
    }
}

fn is_hex_key(text: &[u8]) -> bool {
    matches!(text.len(), 32 | 48 | 64) && text.iter().all(u8::is_ascii_hexdigit)
}

impl FromStr for WrappedKey {
    type Err = WrappedKeyError;

    /// Standard base64; white space counts for nothing.
    fn from_str(text: &str) -> Result<Self, WrappedKeyError> {
        let text: String = text.split_ascii_whitespace().collect();
        if is_hex_key(text.as_bytes()) {
            return Err(WrappedKeyError::Plaintext);
        }
        match STANDARD.decode(&text) {
            Ok(bytes) if bytes.len() >= MIN => Self::from_bytes(&Zeroizing::new(bytes)),
            // A key that was typed as text, whether that happens to be base64 or not.
            _ if matches!(text.len(), 16 | 24 | 32) => Err(WrappedKeyError::Plaintext),
            Ok(bytes) => Self::from_bytes(&Zeroizing::new(bytes)),
            Err(_) => Err(WrappedKeyError::NotBase64),
        }
    }
}

impl fmt::Display for WrappedKey {
    /// Standard base64.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(&self.0))
    }
}

/// An MD5 checksum in base64, which goes with a sealed key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyMd5([u8; 16]);

/// What was given is not the base64 of an MD5 checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an MD5 checksum is 16 bytes in base64 (24 characters)")]
pub struct KeyMd5Error;

/// What a checksum is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Md5Of {
    /// The blob, as it should be.
    Ciphertext,
    /// The key in it. Whoever sees the checksum can try keys.
    Plaintext,
}

/// A checksum is neither of the sealed key nor of the key in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the MD5 checksum is not that of the sealed key")]
pub struct Md5Mismatch;

impl FromStr for KeyMd5 {
    type Err = KeyMd5Error;

    fn from_str(text: &str) -> Result<Self, KeyMd5Error> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| KeyMd5Error)?;
        bytes.try_into().map(Self).map_err(|_| KeyMd5Error)
    }
}

impl fmt::Display for KeyMd5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob() -> Vec<u8> {
        (0..188).map(|n: u8| n.wrapping_mul(37)).collect()
    }

    #[test]
    fn a_blob_is_read_in_each_spelling() {
        let text = STANDARD.encode(blob());
        let wrapped = [
            WrappedKey::from_bytes(&blob()),
            WrappedKey::from_file(&blob()),
            text.parse(),
            WrappedKey::from_file(text.as_bytes()),
            // As base64(1) breaks lines.
            WrappedKey::from_file(format!("{}\n{}\n", &text[..76], &text[76..]).as_bytes()),
        ];
        for wrapped in wrapped {
            let wrapped = wrapped.unwrap();
            assert_eq!((wrapped.bytes(), wrapped.to_string()), (blob().as_slice(), text.clone()));
        }
    }

    /// Spec MCV-01: the key itself in the place of the sealed one.
    #[test]
    fn plaintext_keys_are_recognised() {
        for length in [16, 24, 32] {
            let key: Vec<u8> = (0..length).map(|n: u8| n.wrapping_mul(77).wrapping_add(130)).collect();
            let (hex, base64) = (hex::encode(&key), STANDARD.encode(&key));
            let typed = "0123456789abcde!0123456789abcdef".split_at(length.into()).0;
            for text in [&hex, &hex.to_uppercase(), &base64, &STANDARD.encode(&hex), typed, &format!("{hex}\n")] {
                assert_eq!(text.parse::<WrappedKey>(), Err(WrappedKeyError::Plaintext), "{text}");
                assert_eq!(WrappedKey::from_file(text.as_bytes()), Err(WrappedKeyError::Plaintext), "{text}");
            }
            assert_eq!(WrappedKey::from_bytes(&key), Err(WrappedKeyError::Plaintext));
            assert_eq!(WrappedKey::from_file(&key), Err(WrappedKeyError::Plaintext));
        }
    }

    #[test]
    fn anything_else_is_refused_without_being_told() {
        assert_eq!("".parse::<WrappedKey>(), Err(WrappedKeyError::TooShort { bytes: 0 }));
        assert_eq!("c2VjcmV0".parse::<WrappedKey>(), Err(WrappedKeyError::TooShort { bytes: 6 }));
        assert_eq!("secret!".parse::<WrappedKey>(), Err(WrappedKeyError::NotBase64));
        assert_eq!(WrappedKey::from_bytes(&[0; MAX + 1]), Err(WrappedKeyError::TooLong));
        assert_eq!(WrappedKey::from_file(b"\xff\xfe"), Err(WrappedKeyError::TooShort { bytes: 2 }));
        assert!(WrappedKey::from_bytes(&[0; MAX]).is_ok() && WrappedKey::from_bytes(&[0; MIN]).is_ok());
    }

    /// Spec section 9: the example of Elastic Transcoder's guide has the checksum of the blob; that of the key would be another.
    #[test]
    fn the_checksum_is_of_the_blob() {
        let wrapped = WrappedKey::from_bytes(&blob()).unwrap();
        // md5sum of the same bytes.
        assert_eq!(wrapped.md5().to_string(), "rUtHMJKu+nBMwsHD6R2hAA==");
        let key = hex::decode("6b65796b65796b65796b65796b65796b").unwrap();
        let of_key: KeyMd5 = "tNUOedzRVo2ZuD6uq6u6Xw==".parse().unwrap();
        assert_eq!(wrapped.check(&wrapped.md5(), &key), Ok(Md5Of::Ciphertext));
        assert_eq!(wrapped.check(&of_key, &key), Ok(Md5Of::Plaintext));
        assert_eq!(wrapped.check(&"zG9MId7htnmIZEWCXXG5yg==".parse().unwrap(), &key), Err(Md5Mismatch));
        for bad in ["", "zG9MId7htnmIZEWCXXG5", "cc6f4c21dee1b67988644582 5d71b9ca", "!!!!"] {
            assert_eq!(bad.parse::<KeyMd5>(), Err(KeyMd5Error));
        }
    }

    proptest::proptest! {
        #[test]
        fn random_content_never_panics(content: Vec<u8>, text: String) {
            let _ = WrappedKey::from_file(&content);
            if let Ok(wrapped) = text.parse::<WrappedKey>() {
                proptest::prop_assert_eq!(wrapped.to_string().parse::<WrappedKey>(), Ok(wrapped));
            }
        }
    }
}
