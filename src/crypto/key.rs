//! Data keys, of a package and of a whole file: wiped when dropped, and they cannot be cloned, printed, compared or serialized.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit};
use sha2::Sha256;
use std::fmt;
use std::str::FromStr;
use zeroize::{Zeroize, Zeroizing};

/// HKDF label of the subkey that derives segment IVs.
pub(in crate::crypto) const IV_LABEL: &str = "keyrung iv v1";
/// HKDF label of the subkey that seals the commit record.
pub(in crate::crypto) const RECORD_LABEL: &str = "keyrung record v1";
/// HKDF label of the subkey that binds a sealed key's record to its content.
pub(in crate::crypto) const BINDING_LABEL: &str = "keyrung binding v1";

/// The system's random number generator gave no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random number generator failed: {0}")]
pub struct RandomError(getrandom::Error);

/// Fills `bytes` from the system's random number generator.
pub(in crate::crypto) fn fill_random(bytes: &mut [u8]) -> Result<(), RandomError> {
    getrandom::fill(bytes).map_err(RandomError)
}

/// The AES-128 key of a package (spec KEY-003, KEY-014).
///
/// The bytes live in one heap allocation for the whole life of the value, so that a move leaves no copy behind, and are
/// wiped on drop. There is deliberately no `Clone`, `Debug`, `Display`, `PartialEq` or `Serialize`.
pub struct ContentKey(Box<Zeroizing<[u8; Self::LEN]>>);

impl ContentKey {
    /// Length of the key in bytes.
    pub const LEN: usize = 16;

    /// A new key from the system's random number generator, written straight into its final place.
    ///
    /// # Errors
    /// [`RandomError`] when the system has no randomness to give.
    pub fn generate() -> Result<Self, RandomError> {
        let mut key = Self::zeroed();
        fill_random(key.0.as_mut_slice())?;
        Ok(key)
    }

    /// Takes the key out of `source`: copies it, then wipes `source`.
    #[must_use]
    pub fn from_bytes(source: &mut [u8; Self::LEN]) -> Self {
        let mut key = Self::zeroed();
        key.0.copy_from_slice(source);
        source.zeroize();
        key
    }

    /// The raw key. Whoever calls this answers for where the bytes go: into a cipher, a wrapping call or the body of an
    /// authorized key response, never into a log, an error or a file that was not asked for.
    #[must_use]
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    fn zeroed() -> Self {
        Self(Box::new(Zeroizing::new([0; Self::LEN])))
    }

    /// A key for another purpose: HKDF-SHA256 (RFC 5869) without salt, `label` as info.
    pub(in crate::crypto) fn subkey(&self, label: &'static str) -> Subkey {
        let mut okm = Box::new(Zeroizing::new([0; Subkey::LEN]));
        Hkdf::<Sha256>::new(None, self.expose())
            .expand(label.as_bytes(), okm.as_mut_slice())
            .expect("32 bytes are one block of HKDF-SHA256, which gives up to 255");
        Subkey(okm)
    }
}

/// How long the key of a whole file is (spec MCV-01, ETR-12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FileKeyLength {
    /// 16 bytes.
    Aes128,
    /// 24 bytes.
    Aes192,
    /// 32 bytes.
    #[default]
    Aes256,
}

/// A key of a whole file is 128, 192 or 256 bits long, and this is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an AES key has 128, 192 or 256 bits (16, 24 or 32 bytes)")]
pub struct FileKeyLengthError;

impl FileKeyLength {
    /// Bytes of the key.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// The length of a key of so many bytes.
    ///
    /// # Errors
    /// When no AES key has so many.
    pub const fn from_bytes(count: usize) -> Result<Self, FileKeyLengthError> {
        match count {
            16 => Ok(Self::Aes128),
            24 => Ok(Self::Aes192),
            32 => Ok(Self::Aes256),
            _ => Err(FileKeyLengthError),
        }
    }
}

impl fmt::Display for FileKeyLength {
    /// In bits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes() * 8)
    }
}

impl FromStr for FileKeyLength {
    type Err = FileKeyLengthError;

    /// In bits.
    fn from_str(text: &str) -> Result<Self, FileKeyLengthError> {
        match text {
            "128" => Ok(Self::Aes128),
            "192" => Ok(Self::Aes192),
            "256" => Ok(Self::Aes256),
            _ => Err(FileKeyLengthError),
        }
    }
}

/// The AES key of a whole file: 128, 192 or 256 bits. Kept as [`ContentKey`] is.
pub struct FileKey {
    length: FileKeyLength,
    bytes: Box<Zeroizing<[u8; 32]>>,
}

impl FileKey {
    /// A new key from the system's random number generator, written straight into its final place.
    ///
    /// # Errors
    /// [`RandomError`] when the system has no randomness to give.
    pub fn generate(length: FileKeyLength) -> Result<Self, RandomError> {
        let mut key = Self::zeroed(length);
        let (own, _) = key.bytes.split_at_mut(length.bytes());
        fill_random(own)?;
        Ok(key)
    }

    /// Takes the key out of `source`: copies it, then wipes `source`, also when it is refused.
    ///
    /// # Errors
    /// When no AES key is as long as `source`.
    pub fn from_bytes(source: &mut [u8]) -> Result<Self, FileKeyLengthError> {
        let length = FileKeyLength::from_bytes(source.len());
        let key = length.map(|length| {
            let mut key = Self::zeroed(length);
            let (own, _) = key.bytes.split_at_mut(length.bytes());
            own.copy_from_slice(source);
            key
        });
        source.zeroize();
        key
    }

    /// How long it is.
    #[must_use]
    pub fn length(&self) -> FileKeyLength {
        self.length
    }

    /// The raw key, 16, 24 or 32 bytes. What holds for [`ContentKey::expose`] holds here.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.bytes.split_at(self.length.bytes()).0
    }

    fn zeroed(length: FileKeyLength) -> Self {
        Self { length, bytes: Box::new(Zeroizing::new([0; 32])) }
    }
}

/// A key for HMAC-SHA256, derived from a [`ContentKey`]; wiped on drop.
pub(in crate::crypto) struct Subkey(Box<Zeroizing<[u8; Self::LEN]>>);

impl Subkey {
    const LEN: usize = 32;

    /// HMAC-SHA256 (RFC 2104) keyed with this subkey, nothing fed in yet.
    pub(in crate::crypto) fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(self.0.as_slice()).expect("HMAC takes a key of any length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails to compile when `$type` implements `$trait`: then the two `probe`s are ambiguous.
    macro_rules! assert_not_impl {
        ($type:ty: $($trait:path),+) => {$(
            const _: fn() = || {
                trait Ambiguous<A> { fn probe() {} }
                impl<T: ?Sized> Ambiguous<()> for T {}
                struct Forbidden;
                impl<T: ?Sized + $trait> Ambiguous<Forbidden> for T {}
                let _ = <$type as Ambiguous<_>>::probe;
            };
        )+};
    }
    assert_not_impl!(ContentKey: Clone, PartialEq, std::fmt::Debug, std::fmt::Display, serde::Serialize);
    assert_not_impl!(FileKey: Clone, PartialEq, std::fmt::Debug, std::fmt::Display, serde::Serialize);
    assert_not_impl!(Subkey: Clone, PartialEq, std::fmt::Debug, std::fmt::Display, serde::Serialize);

    #[test]
    fn from_bytes_wipes_its_source() {
        let mut source = *b"0123456789abcdef";
        let key = ContentKey::from_bytes(&mut source);
        assert_eq!(key.expose(), b"0123456789abcdef");
        assert_eq!(source, [0; 16]);
    }

    #[test]
    fn file_keys_have_the_three_lengths_of_aes() {
        for (count, bits) in [(16, "128"), (24, "192"), (32, "256")] {
            let length: FileKeyLength = bits.parse().unwrap();
            assert_eq!((length.bytes(), length.to_string().as_str()), (count, bits));
            assert_eq!(FileKeyLength::from_bytes(count), Ok(length));
            let mut source = vec![7; count];
            let key = FileKey::from_bytes(&mut source).unwrap();
            assert_eq!((key.length(), key.expose()), (length, vec![7; count].as_slice()));
            assert_eq!(source, vec![0; count]);
            let (a, b) = (FileKey::generate(length).unwrap(), FileKey::generate(length).unwrap());
            assert!(a.expose() != b.expose() && a.expose().len() == count);
            // All of it is random, to the end.
            assert!(a.expose()[count - 8..] != [0; 8]);
        }
        for count in [0, 1, 15, 17, 31, 33] {
            let mut source = vec![7; count];
            assert_eq!(FileKey::from_bytes(&mut source).err(), Some(FileKeyLengthError));
            assert_eq!(source, vec![0; count], "wiped all the same");
        }
        for bad in ["", "16", "129", "256 ", "+128"] {
            assert_eq!(bad.parse::<FileKeyLength>(), Err(FileKeyLengthError), "{bad}");
        }
    }

    #[test]
    fn generated_keys_differ() {
        let (a, b) = (ContentKey::generate().unwrap(), ContentKey::generate().unwrap());
        assert!(a.expose() != b.expose() && a.expose() != &[0; 16]);
    }

    /// RFC 5869 by hand: extract with a salt of zeros, expand one block.
    #[test]
    fn subkey_is_hkdf_sha256() {
        use hmac::Mac;
        let hmac = |key: &[u8], parts: &[&[u8]]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes()
        };
        let key = ContentKey::from_bytes(&mut [7; 16]);
        let prk = hmac(&[0; 32], &[&[7; 16]]);
        assert_eq!(key.subkey(IV_LABEL).0.as_slice(), hmac(&prk, &[b"keyrung iv v1", &[1]]).as_slice());
        assert!(key.subkey(IV_LABEL).0 != key.subkey(RECORD_LABEL).0);
        assert!(key.subkey(BINDING_LABEL).0 != key.subkey(RECORD_LABEL).0);
    }
}
