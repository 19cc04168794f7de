//! The checksum of a segment, computed as its bytes are written and recorded beside its name.

use std::fmt;
use std::str::FromStr;

/// Which checksum a package records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DigestKind {
    /// CRC-64/NVME, which Amazon S3 computes too: finds damage, costs next to nothing.
    #[default]
    Crc64,
    /// BLAKE3, 256 bits: finds deliberate changes as well.
    Blake3,
}

impl fmt::Display for DigestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crc64 => "crc64",
            Self::Blake3 => "blake3",
        })
    }
}

/// What was given names no checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is `crc64` or `blake3`")]
pub struct DigestKindParseError;

impl FromStr for DigestKind {
    type Err = DigestKindParseError;

    fn from_str(text: &str) -> Result<Self, DigestKindParseError> {
        match text {
            "crc64" => Ok(Self::Crc64),
            "blake3" => Ok(Self::Blake3),
            _ => Err(DigestKindParseError),
        }
    }
}

/// A checksum in the making.
pub struct Digest(State);

enum State {
    // Both are large (0.3 and 2 KiB), and one is made per segment.
    Crc64(Box<crc_fast::Digest>),
    Blake3(Box<blake3::Hasher>),
}

impl Digest {
    /// Starts a checksum; no bytes seen yet.
    #[must_use]
    pub fn new(kind: DigestKind) -> Self {
        Self(match kind {
            DigestKind::Crc64 => State::Crc64(Box::new(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme))),
            DigestKind::Blake3 => State::Blake3(Box::default()),
        })
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Crc64(crc) => crc.update(bytes),
            State::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    /// The checksum with its name in front: `crc64nvme:` and 16, or `blake3:` and 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn finish(self) -> String {
        match self.0 {
            State::Crc64(crc) => format!("crc64nvme:{:016x}", crc.finalize()),
            State::Blake3(hasher) => format!("blake3:{}", hasher.finalize().to_hex()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(kind: DigestKind, parts: &[&[u8]]) -> String {
        let mut digest = Digest::new(kind);
        parts.iter().for_each(|part| digest.update(part));
        digest.finish()
    }

    /// The check value of CRC-64/NVME in the CRC catalogue, and the first two BLAKE3 test vectors.
    #[test]
    fn check_values() {
        assert_eq!(digest(DigestKind::Crc64, &[b"123456789"]), "crc64nvme:ae8b14860a799888");
        assert_eq!(digest(DigestKind::Crc64, &[]), "crc64nvme:0000000000000000");
        assert_eq!(
            digest(DigestKind::Blake3, &[]),
            "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
        assert_eq!(
            digest(DigestKind::Blake3, &[&[0]]),
            "blake3:2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"
        );
    }

    #[test]
    fn names_are_read_back() {
        for kind in [DigestKind::Crc64, DigestKind::Blake3] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("sha256".parse::<DigestKind>(), Err(DigestKindParseError));
    }

    proptest::proptest! {
        #[test]
        fn the_cut_of_the_parts_does_not_matter(bytes: Vec<u8>, at: proptest::sample::Index) {
            let (front, back) = bytes.split_at(at.index(bytes.len() + 1));
            for kind in [DigestKind::Crc64, DigestKind::Blake3] {
                proptest::prop_assert_eq!(digest(kind, &[front, back]), digest(kind, &[&bytes]));
            }
        }
    }
}
