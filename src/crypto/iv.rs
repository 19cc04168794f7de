//! Initialization vectors: what one is, how it is written (spec KEY-006), and the rule that gives each segment its own
//! (spec KEY-023).

pub use crate::crypto::seal::RecordSeal;

use crate::crypto::key::{ContentKey, IV_LABEL, RandomError, Subkey, fill_random};
use hmac::Mac;
use std::fmt;
use std::str::FromStr;

/// The greatest media sequence number that may serve as an IV: players build it from 32 bits, one of them signed
/// (spec SEQ-003, AMB-03).
pub const MAX_SEQUENCE_IV: u64 = (1 << 31) - 1;

/// The IV of one segment: a 128-bit integer, most significant byte first.
///
/// It is shown as the 32 upper-case hexadecimal digits that follow `0x` in EXT-X-KEY (spec KEY-006, HLS-008).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Iv([u8; 16]);

impl Iv {
    /// The IV of these 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, as the cipher takes them.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for Iv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032X}", u128::from_be_bytes(self.0))
    }
}

/// What was given is not 128 bits in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an IV is exactly 32 hexadecimal digits")]
pub struct IvParseError;

impl FromStr for Iv {
    type Err = IvParseError;

    /// Reads 32 hexadecimal digits of either case, with or without `0x`. Shorter forms are refused: players disagree on
    /// which side to fill (spec AMB-04).
    fn from_str(text: &str) -> Result<Self, IvParseError> {
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        let mut bytes = [0; 16];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| IvParseError)?;
        Ok(Self(bytes))
    }
}

/// The random number that a run writes into its claim: it makes the derived IVs of every claim different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce([u8; 32]);

impl Nonce {
    /// A new nonce from the system's random number generator.
    ///
    /// # Errors
    /// [`RandomError`] when the system has no randomness to give.
    pub fn generate() -> Result<Self, RandomError> {
        let mut bytes = [0; 32];
        fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The nonce of these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 32] {
        self.0
    }
}

/// Where the IVs of a package come from. Anything but [`Derived`](Self::Derived) repeats IVs under one key and so shows
/// which segments begin alike (spec KEY-023).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IvPolicy {
    /// From the data key, the claim's nonce, the rendition and the segment: unpredictable, unique, and the same again
    /// when a run is resumed.
    #[default]
    Derived,
    /// The media sequence number (spec KEY-007); the same for segment n of every rendition.
    Sequence,
    /// One IV for everything.
    Fixed(Iv),
}

impl fmt::Display for IvPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Derived => f.write_str("derived"),
            Self::Sequence => f.write_str("sequence"),
            Self::Fixed(iv) => iv.fmt(f),
        }
    }
}

/// What was given names no IV policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an IV policy is `derived`, `sequence` or exactly 32 hexadecimal digits")]
pub struct IvPolicyParseError;

impl FromStr for IvPolicy {
    type Err = IvPolicyParseError;

    fn from_str(text: &str) -> Result<Self, IvPolicyParseError> {
        match text {
            "derived" => Ok(Self::Derived),
            "sequence" => Ok(Self::Sequence),
            _ => text.parse().map(Self::Fixed).map_err(|_| IvPolicyParseError),
        }
    }
}

/// Why a segment has no IV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IvError {
    /// The policy is [`IvPolicy::Sequence`] and players would read this number in different ways.
    #[error("media sequence number {sequence} is too large to be an IV (the limit is {MAX_SEQUENCE_IV})")]
    SequenceTooLarge {
        /// The media sequence number that was asked for.
        sequence: u64,
    },
    /// The rendition's name does not fit its 32-bit length prefix.
    #[error("a rendition name of {length} bytes is too long")]
    RenditionTooLong {
        /// Length of the name in bytes.
        length: usize,
    },
}

/// Gives every segment of a package its IV; a pure function of policy, key, nonce, rendition and sequence number.
pub struct IvSource {
    policy: IvPolicy,
    subkey: Subkey,
    nonce: Nonce,
}

impl IvSource {
    /// The IVs of the package that `key` and `nonce` belong to.
    #[must_use]
    pub fn new(policy: IvPolicy, key: &ContentKey, nonce: &Nonce) -> Self {
        Self { policy, subkey: key.subkey(IV_LABEL), nonce: *nonce }
    }

    /// The IV of segment `sequence` (its media sequence number) of `rendition`.
    ///
    /// # Errors
    /// [`IvError::SequenceTooLarge`] for a sequence-number IV above [`MAX_SEQUENCE_IV`];
    /// [`IvError::RenditionTooLong`] for a name of 4 GiB or more.
    pub fn iv(&self, rendition: &str, sequence: u64) -> Result<Iv, IvError> {
        match self.policy {
            IvPolicy::Derived => self.derived(rendition, sequence),
            IvPolicy::Sequence if sequence > MAX_SEQUENCE_IV => Err(IvError::SequenceTooLarge { sequence }),
            IvPolicy::Sequence => Ok(Iv(u128::from(sequence).to_be_bytes())),
            IvPolicy::Fixed(iv) => Ok(iv),
        }
    }

    /// HMAC-SHA256(subkey, nonce || be32(length of the name) || name || be64(sequence)), its first 16 bytes. The length
    /// keeps two different pairs of name and number from giving the same message.
    fn derived(&self, rendition: &str, sequence: u64) -> Result<Iv, IvError> {
        let length =
            u32::try_from(rendition.len()).map_err(|_| IvError::RenditionTooLong { length: rendition.len() })?;
        let mac = self
            .subkey
            .mac()
            .chain_update(self.nonce.0)
            .chain_update(length.to_be_bytes())
            .chain_update(rendition)
            .chain_update(sequence.to_be_bytes());
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        let mut iv = [0; 16];
        iv.copy_from_slice(&tag[..16]);
        Ok(Iv(iv))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn source(policy: IvPolicy) -> IvSource {
        let key = ContentKey::from_bytes(&mut { *b"0123456789abcdef" });
        IvSource::new(policy, &key, &Nonce::from_bytes([5; 32]))
    }

    /// Spec section 9: MSN 7794, and the refusal above 2^31 - 1.
    #[test]
    fn sequence_is_big_endian_and_bounded() {
        let ivs = source(IvPolicy::Sequence);
        assert_eq!(ivs.iv("720p", 7794).unwrap().to_string(), "00000000000000000000000000001E72");
        assert_eq!(ivs.iv("1080p", 7794), ivs.iv("720p", 7794));
        assert_eq!(ivs.iv("v", 0x7fff_ffff).unwrap().to_string(), "0000000000000000000000007FFFFFFF");
        assert_eq!(ivs.iv("v", 1 << 31), Err(IvError::SequenceTooLarge { sequence: 1 << 31 }));
        assert_eq!(ivs.iv("v", u64::MAX), Err(IvError::SequenceTooLarge { sequence: u64::MAX }));
    }

    /// Computed with Python's hmac and hashlib from the rule as architecture.md gives it; what is published depends on it.
    #[test]
    fn derived_is_what_was_promised() {
        let iv = source(IvPolicy::Derived).iv("1080p", 42).unwrap();
        assert_eq!(iv.to_string(), "01B493A69793F0B6BF30FEB7C3C01F35");
    }

    #[test]
    fn derived_depends_on_everything() {
        let base = source(IvPolicy::Derived).iv("1080p", 1).unwrap();
        let other_key = ContentKey::from_bytes(&mut { *b"0123456789abcdeg" });
        let same_key = ContentKey::from_bytes(&mut { *b"0123456789abcdef" });
        let nonce = Nonce::from_bytes([5; 32]);
        assert_eq!(IvSource::new(IvPolicy::Derived, &same_key, &nonce).iv("1080p", 1), Ok(base));
        assert_ne!(IvSource::new(IvPolicy::Derived, &other_key, &nonce).iv("1080p", 1), Ok(base));
        let other_nonce = Nonce::from_bytes([6; 32]);
        assert_ne!(IvSource::new(IvPolicy::Derived, &same_key, &other_nonce).iv("1080p", 1), Ok(base));
        assert_ne!(source(IvPolicy::Derived).iv("720p", 1), Ok(base));
        assert_ne!(source(IvPolicy::Derived).iv("1080p", 2), Ok(base));
    }

    #[test]
    fn fixed_is_fixed() {
        let iv = "0x000102030405060708090a0b0c0d0e0F".parse::<Iv>().unwrap();
        assert_eq!(source(IvPolicy::Fixed(iv)).iv("any", u64::MAX), Ok(iv));
    }

    #[test]
    fn policies_are_read() {
        assert_eq!("derived".parse(), Ok(IvPolicy::Derived));
        assert_eq!("sequence".parse(), Ok(IvPolicy::Sequence));
        assert_eq!(
            "000102030405060708090A0B0C0D0E0F".parse(),
            Ok(IvPolicy::Fixed(Iv(std::array::from_fn(|i| i as u8))))
        );
        for bad in ["", "Derived", "random", "0x", "00", "0x0x0102030405060708090A0B0C0D0E0F", "é"] {
            assert_eq!(bad.parse::<IvPolicy>(), Err(IvPolicyParseError), "{bad}");
        }
    }

    proptest! {
        /// Every form of an IV reads back, and only full-length forms are read (spec AMB-04).
        #[test]
        fn iv_text(bytes: [u8; 16], cut in 0_usize..32) {
            let iv = Iv::from_bytes(bytes);
            let text = iv.to_string();
            prop_assert_eq!(text.len(), 32);
            prop_assert!(text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')));
            prop_assert_eq!(text.parse(), Ok(iv));
            prop_assert_eq!(format!("0X{}", text.to_lowercase()).parse(), Ok(iv));
            prop_assert_eq!(IvPolicy::Fixed(iv).to_string().parse(), Ok(IvPolicy::Fixed(iv)));
            prop_assert_eq!(text[..cut].parse::<Iv>(), Err(IvParseError));
            prop_assert_eq!(format!("{text}0").parse::<Iv>(), Err(IvParseError));
        }

        #[test]
        fn hostile_text_is_refused_quietly(text: String) {
            let _ = text.parse::<Iv>();
            let _ = text.parse::<IvPolicy>();
        }

        /// No two segments of a package share an IV (spec KEY-023), even where one rendition's name begins another's.
        #[test]
        fn derived_ivs_are_unique(names in prop::collection::hash_set("[a-zA-Z0-9_-]{1,8}", 1..6), first in 0..u64::MAX - 64) {
            let ivs = source(IvPolicy::Derived);
            let mut seen = HashSet::new();
            for name in &names {
                for sequence in first..first + 64 {
                    prop_assert!(seen.insert(ivs.iv(name, sequence).unwrap()), "{} {}", name, sequence);
                }
            }
        }
    }
}
