//! The claim: ties a content id to one destination, one plan, one nonce and one sealed key before the first segment is encrypted.
//!
//! The protocol that it belongs to is in `manual/formats.md`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::keys::document::{self, CreatedAt, Version1, as_text};
use crate::keys::{ContentId, KeyError, SealedKey};

/// 256 bits, written as 64 lower-case hex digits: a digest, a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hex256([u8; 32]);

impl Hex256 {
    /// The number of these bytes.
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

impl fmt::Display for Hex256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Hex256 {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if !text.bytes().any(|b| b.is_ascii_uppercase()) => Ok(Self(bytes)),
            _ => Err(KeyError::Invalid { wanted: "64 lower-case hexadecimal digits", given: text.into() }),
        }
    }
}

as_text!(Hex256);

/// How far the work on a claim has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimState {
    /// The package is not in its place, as far as is known.
    Open,
    /// The package is in its place.
    Published,
    /// Its maker gave it up: nobody can make its plan any more, and nothing stands under it.
    Withdrawn,
}

/// This program and its version.
const TOOL: &str = concat!("keyrung ", env!("CARGO_PKG_VERSION"));

/// A claim on a content id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    version: Version1,
    /// What is claimed.
    pub content_id: ContentId,
    /// DEST's full name: an absolute path or a URL.
    pub dest: String,
    /// SHA-256 of the plan: identity of the inputs, and the settings.
    pub plan: Hex256,
    /// What the IVs are derived from.
    pub nonce: Hex256,
    /// The package's key, the whole record.
    pub key: SealedKey,
    /// How far the work has come.
    pub state: ClaimState,
    /// When it was claimed.
    pub created: CreatedAt,
    /// The program that claimed it, and its version, which may make other bytes than another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// In a bucket: the folder below DEST in which the package lies, where that is not DEST itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
}

impl Claim {
    /// A new claim, on the content id of `key`.
    #[must_use]
    pub fn new(dest: String, plan: Hex256, nonce: Hex256, key: SealedKey) -> Self {
        Self {
            version: Version1,
            content_id: key.content_id.clone(),
            dest,
            plan,
            nonce,
            key,
            state: ClaimState::Open,
            created: CreatedAt::now(),
            tool: Some(TOOL.to_owned()),
            generation: None,
        }
    }

    /// Whether this version of keyrung made it, which makes the same bytes under it again.
    #[must_use]
    pub fn is_of_this_version(&self) -> bool {
        self.tool.as_deref() == Some(TOOL)
    }

    /// Reads a claim. `what` names it in errors.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::Malformed`].
    pub fn from_json(what: &str, json: &[u8]) -> Result<Self, KeyError> {
        let claim: Self = document::decode(what, json)?;
        if claim.key.content_id != claim.content_id {
            return Err(KeyError::Malformed { what: what.into(), reason: "its key is for another content id".into() });
        }
        Ok(claim)
    }

    /// The claim as the key store keeps it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        document::encode(self)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::keys::sealed;
    use proptest::prelude::*;

    pub(in crate::keys) fn claim() -> Claim {
        Claim::new("/srv/out".into(), Hex256([1; 32]), Hex256([2; 32]), sealed::tests::record())
    }

    #[test]
    fn the_document_is_what_the_manual_says() {
        let mut claim = claim();
        claim.created = "2026-01-31T23:59:59Z".parse().unwrap();
        claim.tool = Some("keyrung 0.1.0".to_owned());
        let key = sealed::tests::RECORD.trim_end().replace('\n', "\n  ");
        let expected = format!(
            "{{\n  \"version\": 1,\n  \"content_id\": \"film-1\",\n  \"dest\": \"/srv/out\",\n  \"plan\": \"{}\",\n  \"nonce\": \"{}\",\n  \"key\": {key},\n  \"state\": \"open\",\n  \"created\": \"2026-01-31T23:59:59Z\",\n  \"tool\": \"keyrung 0.1.0\"\n}}\n",
            "01".repeat(32),
            "02".repeat(32)
        );
        assert_eq!(String::from_utf8(claim.to_json()).unwrap(), expected);
        assert_eq!(Claim::from_json("claim", expected.as_bytes()).unwrap(), claim);
        let cases = [
            ("\"version\": 1", "\"version\": 2", "claim has format version 2, which this version does not know"),
            ("    \"version\": 1", "    \"version\": 2", "claim is damaged: unknown format version 2"),
            (
                "\"content_id\": \"film-1\"",
                "\"content_id\": \"film-2\"",
                "claim is damaged: its key is for another content id",
            ),
            ("\"open\"", "\"done\"", "claim is damaged: unknown variant"),
            ("\"state\"", "\"more\": 1, \"state\"", "claim is damaged: unknown field `more`"),
            ("\"plan\": \"01", "\"plan\": \"0A", "claim is damaged: "),
            ("\"nonce\": \"02", "\"nonce\": \"", "claim is damaged: "),
        ];
        for (from, to, text) in cases {
            let error = Claim::from_json("claim", expected.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(at in 0..500_usize, byte in any::<u8>()) {
            let mut bytes = claim().to_json();
            bytes[at] = byte;
            let _ = Claim::from_json("claim", &bytes);
        }
    }
}
