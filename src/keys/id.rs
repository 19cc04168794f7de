//! Names: of keys, and of the content that a key protects.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::keys::KeyError;
use crate::keys::document::as_text;

/// The id of a sealed key: a random UUID (RFC 9562, version 4), lower case, with hyphens. It is public: it stands in key URIs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// A new random id.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = [0; 16];
        random(&mut bytes)?;
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Ok(Self(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if [4, 6, 8, 10].contains(&at) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    /// One spelling only: a store and a cache must never have two names for one key.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 16];
        let digits: String = text.split('-').collect();
        match hex::decode_to_slice(digits, &mut bytes) {
            Ok(()) if Self(bytes).to_string() == text => Ok(Self(bytes)),
            _ => Err(KeyError::Invalid {
                wanted: "a key id (a UUID in lower case, such as 3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f)",
                given: text.into(),
            }),
        }
    }
}

/// The id of the content that a key protects: `[A-Za-z0-9._-]`, 1 to 128 characters, no leading full stop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(String);

impl ContentId {
    /// The most characters that an id may have.
    pub const MAX_LEN: usize = 128;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContentId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if (1..=Self::MAX_LEN).contains(&text.len()) && !text.starts_with('.') && text.chars().all(is_allowed) {
            return Ok(Self(text.into()));
        }
        let wanted = "a content id (1 to 128 of A-Z a-z 0-9 . _ - with no full stop in front)";
        Err(KeyError::Invalid { wanted, given: text.into() })
    }
}

as_text!(KeyId, ContentId);

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

/// The content id of a destination that was given none: the last part of its name, `-`, and 8 hex digits of a hash of the whole name.
///
/// `dest` is DEST's full name: an absolute path or a URL. Characters that an id may not have become `-`.
#[must_use]
pub fn default_content_id(dest: &str) -> ContentId {
    let dest = dest.trim_end_matches('/');
    let last = dest.rsplit('/').next().unwrap_or_default();
    let hash = hex::encode(Sha256::digest(dest));
    let hash = hash.get(..8).unwrap_or_default();
    let shown = last.chars().map(|c| if is_allowed(c) { c } else { '-' });
    let mut id: String = shown.take(ContentId::MAX_LEN - 9).collect();
    if id.is_empty() || id.starts_with('.') {
        id.replace_range(..id.len().min(1), "-");
    }
    ContentId(format!("{id}-{hash}"))
}

pub(super) fn random(bytes: &mut [u8]) -> Result<(), KeyError> {
    getrandom::fill(bytes).map_err(|e| KeyError::Random(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn key_ids_have_one_spelling() {
        let text = "3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f";
        assert_eq!(text.parse::<KeyId>().unwrap().to_string(), text);
        let bad = [
            "",
            "3F2B8C1E-6A4D-4F7B-9E0C-5D1A2B3C4E5F",
            "3f2b8c1e6a4d4f7b9e0c5d1a2b3c4e5f",
            "{3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f}",
            "3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5",
            "3f2b8c1e-6a4d-4f7b-9e0c5-d1a2b3c4e5f",
            "../../../../../../../../etc/passwd-00",
        ];
        for bad in bad {
            assert!(matches!(bad.parse::<KeyId>(), Err(KeyError::Invalid { .. })), "{bad}");
        }
    }

    #[test]
    fn generated_key_ids_are_uuids_of_version_4() {
        let (a, b) = (KeyId::generate().unwrap(), KeyId::generate().unwrap());
        assert_ne!(a, b);
        let text = a.to_string();
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&text.as_bytes()[19]));
        assert_eq!(text.parse::<KeyId>().unwrap(), a);
    }

    #[test]
    fn content_ids() {
        for good in ["a", "Film-2_final.v3", &"x".repeat(128), "a..b", "-a"] {
            assert_eq!(good.parse::<ContentId>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", ".a", "a/b", "a b", "a\n", "\u{e4}", "a\0", "a%2f", &"x".repeat(129)] {
            assert!(matches!(bad.parse::<ContentId>(), Err(KeyError::Invalid { .. })), "{bad:?}");
        }
        let text = "a b".parse::<ContentId>().unwrap_err().to_string();
        assert_eq!(text, "\"a b\" is not a content id (1 to 128 of A-Z a-z 0-9 . _ - with no full stop in front)");
    }

    #[test]
    fn default_content_ids() {
        // The hashes are `printf %s NAME | sha256sum`.
        assert_eq!(default_content_id("/srv/out").as_str(), "out-324b7ce3");
        assert_eq!(default_content_id("/srv/out/"), default_content_id("/srv/out"));
        assert_eq!(default_content_id("s3://bucket/a/film 1").as_str(), "film-1-fb58c68e");
        assert!(default_content_id("/srv/.hidden").as_str().starts_with("-hidden-"));
        assert!(default_content_id("/").as_str().starts_with("--"));
        assert_eq!(default_content_id(&"x".repeat(500)).as_str().len(), 128);
        assert_ne!(default_content_id("/a/out"), default_content_id("/b/out"));
    }

    proptest! {
        #[test]
        fn every_name_gives_a_valid_id(dest in "\\PC{0,200}") {
            let id = default_content_id(&dest);
            prop_assert_eq!(id.as_str().parse::<ContentId>().unwrap(), id);
        }

        #[test]
        fn random_text_never_panics(text in "\\PC{0,60}") {
            let _ = text.parse::<KeyId>();
            let _ = text.parse::<ContentId>();
        }
    }
}
