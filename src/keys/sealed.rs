//! The sealed key: what is stored of a data key, and travels. Of no use without the provider that sealed it.

use serde::{Deserialize, Serialize};

use crate::crypto::key::ContentKey;
use crate::crypto::seal::KeyBinding;
use crate::keys::context::CONTENT_ID;
use crate::keys::document::{self, CreatedAt, Version1, base64_text};
use crate::keys::{Ciphertext, ContentId, EncryptionContext, Hex256, KeyError, KeyId};

/// A data key sealed by a provider, and what it takes to unseal it.
///
/// Serialized it is the document of the key store (`manual/formats.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedKey {
    version: Version1,
    /// The key's public name.
    pub key_id: KeyId,
    /// The content that it protects.
    pub content_id: ContentId,
    /// The provider's name: `local`, `aws-kms`.
    pub provider: String,
    /// The provider's name of the wrapping key: the keyring's `kek_id`, a KMS key ARN (spec KMS-002, KMS-006).
    pub key: String,
    /// What is bound to the ciphertext (spec KMS-008).
    pub context: EncryptionContext,
    /// The provider's blob.
    #[serde(with = "base64_text")]
    pub ciphertext: Vec<u8>,
    /// When it was sealed.
    pub created: CreatedAt,
    /// Binds the key to key id and content id; none when nobody has seen the key when the record was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Hex256>,
}

impl SealedKey {
    /// The record of a key that `provider` has just sealed under `context`, with a new key id.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn new(
        content_id: ContentId,
        provider: &str,
        context: EncryptionContext,
        sealed: Ciphertext,
    ) -> Result<Self, KeyError> {
        Ok(Self {
            version: Version1,
            key_id: KeyId::generate()?,
            content_id,
            provider: provider.into(),
            key: sealed.key,
            context,
            ciphertext: sealed.blob,
            created: CreatedAt::now(),
            binding: None,
        })
    }

    /// The record bound to its content by the key itself, for whoever has the key at hand. Whoever can write to the key
    /// store, but not open keys, cannot make this for another content id.
    #[must_use]
    pub fn bound(mut self, key: &ContentKey) -> Self {
        self.binding = Some(Hex256::from_bytes(KeyBinding::bind(key, &self.names())));
        self
    }

    /// Hands `key`, which this record has been opened to, on when it is the key of the content that the record names: the
    /// binding says so, or the encryption context, which the provider has authenticated.
    ///
    /// # Errors
    /// [`KeyError::Unbound`].
    pub(super) fn opened(&self, key: ContentKey) -> Result<ContentKey, KeyError> {
        let right = match self.binding {
            Some(binding) => KeyBinding::verify(&key, &self.names(), &binding.bytes()).is_ok(),
            None => self.context_names_content(),
        };
        if right { Ok(key) } else { Err(KeyError::Unbound { key_id: self.key_id.to_string() }) }
    }

    /// Whether the encryption context holds the content id. Another one than the record's is refused when it is read.
    #[must_use]
    pub fn context_names_content(&self) -> bool {
        self.context.pairs().any(|(name, id)| name == CONTENT_ID && id == self.content_id.as_str())
    }

    /// What the binding is over. Neither id has a line end.
    fn names(&self) -> Vec<u8> {
        format!("{}\n{}\n", self.key_id, self.content_id).into_bytes()
    }

    /// Reads a record. `what` names it in errors.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::Malformed`].
    pub fn from_json(what: &str, json: &[u8]) -> Result<Self, KeyError> {
        let key: Self = document::decode(what, json)?;
        // Whoever can write to the key store could otherwise give one content's record the key of another.
        let bound = key.context.pairs().find(|(name, _)| *name == CONTENT_ID);
        if bound.is_some_and(|(_, id)| id != key.content_id.as_str()) {
            let reason = "its encryption context names another content id".to_owned();
            return Err(KeyError::Malformed { what: what.to_owned(), reason });
        }
        Ok(key)
    }

    /// The record as the key store keeps it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        document::encode(self)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::keys) const RECORD: &str = r#"{
  "version": 1,
  "key_id": "3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f",
  "content_id": "film-1",
  "provider": "local",
  "key": "0b0e2c5e-8a1d-4c3f-a2b4-6d7e8f901234",
  "context": {
    "content-id": "film-1"
  },
  "ciphertext": "AAEC/w==",
  "created": "2026-01-31T23:59:59Z"
}
"#;

    pub(in crate::keys) fn record() -> SealedKey {
        SealedKey::from_json("key", RECORD.as_bytes()).unwrap()
    }

    #[test]
    fn the_document_is_what_the_manual_says() {
        let key = record();
        assert_eq!(key.key_id.to_string(), "3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f");
        assert_eq!(key.ciphertext, [0, 1, 2, 255]);
        assert_eq!(String::from_utf8(key.to_json()).unwrap(), RECORD);
    }

    #[test]
    fn a_record_with_the_sealed_key_of_another_content_is_refused() {
        let moved = RECORD.replace(r#""content-id": "film-1""#, r#""content-id": "film-2""#);
        assert_ne!(moved, RECORD);
        let error = SealedKey::from_json("key x", moved.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("another content id"), "{error}");
    }

    #[test]
    fn damaged_records_are_refused() {
        let cases = [
            ("\"version\": 1", "\"version\": 2", "key has format version 2, which this version does not know"),
            (
                "\"version\": 1",
                "\"version\": \"1\"",
                "key is damaged: not a JSON object with a version (line 2, column 16)",
            ),
            ("  \"version\": 1,\n", "", "key is damaged: not a JSON object with a version (line 11, column 1)"),
            (
                "\"version\": 1",
                "\"version\": 1, \"version\": 1",
                "key is damaged: not a JSON object with a version (line 2, column 25)",
            ),
            ("\"provider\"", "\"extra\": 1, \"provider\"", "key is damaged: unknown field `extra`"),
            ("\"provider\"", "\"x\\ny\": 1, \"provider\"", "key is damaged: unknown field `x y`"),
            ("\"provider\"", "\"key\": \"\", \"provider\"", "key is damaged: duplicate field `key`"),
            ("  \"provider\": \"local\",\n", "", "key is damaged: missing field `provider`"),
            ("AAEC/w==", "AAEC/w", "key is damaged: "),
            ("AAEC/w==", "AAEC\\n/w==", "key is damaged: "),
            ("AAEC/w==", "AAEC_w==", "key is damaged: "),
            ("film-1\",", "../film\",", "key is damaged: "),
            ("3f2b8c1e", "3F2B8C1E", "key is damaged: "),
            ("\n}\n", "\n}{}\n", "key is damaged: "),
        ];
        for (from, to, text) in cases {
            let bad = RECORD.replacen(from, to, 1);
            assert_ne!(bad, RECORD);
            let error = SealedKey::from_json("key", bad.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(text) && !error.contains('\n'), "{error}");
        }
        for cut in 0..RECORD.len() - 2 {
            assert!(SealedKey::from_json("key", &RECORD.as_bytes()[..cut]).is_err(), "{cut}");
        }
        let deep = format!("{{\"version\":1,\"context\":{}", "[".repeat(100_000));
        assert!(SealedKey::from_json("key", deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(SealedKey::from_json("key", &bytes).is_err());
        }

        #[test]
        fn damaged_bytes_never_panic(at in 0..RECORD.len(), byte in any::<u8>()) {
            let mut bytes = RECORD.as_bytes().to_vec();
            bytes[at] = byte;
            if let Ok(key) = SealedKey::from_json("key", &bytes) {
                prop_assert_eq!(SealedKey::from_json("key", &key.to_json()).unwrap(), key);
            }
        }

        #[test]
        fn what_is_written_is_read(
            blob in proptest::collection::vec(any::<u8>(), 0..200),
            key in "\\PC{0,40}",
            pairs in proptest::collection::btree_map("\\PC{1,20}", "\\PC{0,20}", 0..5),
        ) {
            let mut context = EncryptionContext::default();
            for (key, value) in pairs {
                context.insert(crate::keys::ContextPair::new(key, value).unwrap()).unwrap();
            }
            let sealed = SealedKey::new("a".parse().unwrap(), "local", context, Ciphertext { key, blob }).unwrap();
            prop_assert_eq!(SealedKey::from_json("key", &sealed.to_json()).unwrap(), sealed);
        }
    }
}
