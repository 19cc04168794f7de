//! The encryption context: public pairs that are bound to a sealed key (spec KMS-008).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::keys::{ContentId, KeyError};
use crate::limits::MAX_CONTEXT_BYTES;

/// The pair of the default context: it binds a key to its content.
pub(super) const CONTENT_ID: &str = "content-id";

/// Pairs of strings that must be presented again, exactly, to unseal a key. Not secret: AWS writes them to CloudTrail (spec KMS-008).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EncryptionContext(BTreeMap<String, String>);

impl EncryptionContext {
    /// The default context: the content id.
    #[must_use]
    pub fn of_content(content_id: &ContentId) -> Self {
        Self(BTreeMap::from([(CONTENT_ID.into(), content_id.to_string())]))
    }

    /// Adds a pair.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] when the key is there already, or the context grows over [`MAX_CONTEXT_BYTES`].
    pub fn insert(&mut self, pair: ContextPair) -> Result<(), KeyError> {
        let ContextPair { key, value } = pair;
        if self.0.contains_key(&key) {
            return Err(KeyError::Invalid {
                wanted: "a key that the encryption context does not have yet",
                given: key,
            });
        }
        // Two bytes of length before each string, and the count.
        let grown = self.0.iter().map(|(k, v)| k.len() + v.len() + 4).sum::<usize>() + key.len() + value.len() + 6;
        if grown > MAX_CONTEXT_BYTES {
            return Err(KeyError::Invalid {
                wanted: "short enough: an encryption context has at most 8192 bytes",
                given: key,
            });
        }
        self.0.insert(key, value);
        Ok(())
    }

    /// The pairs, in the order of the keys' bytes.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The one spelling of this context that is authenticated: number of pairs, then each key and value in the order of the keys'
    /// bytes, each after its length; 16 bits big endian. The AWS Encryption SDK serializes its context so.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        // No length is cut: `insert` holds the whole below 8192 bytes.
        let mut bytes = (self.0.len() as u16).to_be_bytes().to_vec();
        for text in self.0.iter().flat_map(|(key, value)| [key, value]) {
            bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }
}

impl Serialize for EncryptionContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EncryptionContext {
    /// By hand, because a map would take the last of two equal keys in silence.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = EncryptionContext;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EncryptionContext, A::Error> {
                let mut context = EncryptionContext::default();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    let pair = ContextPair::new(key, value).map_err(Error::custom)?;
                    context.insert(pair).map_err(Error::custom)?;
                }
                Ok(context)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// One pair of an encryption context; `K=V` when it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextPair {
    key: String,
    value: String,
}

impl ContextPair {
    /// A pair of a non-empty key and a value, both without control characters.
    ///
    /// # Errors
    /// [`KeyError::Invalid`].
    pub fn new(key: String, value: String) -> Result<Self, KeyError> {
        if key.is_empty() || key.chars().chain(value.chars()).any(char::is_control) {
            return Err(KeyError::Invalid { wanted: WANTED, given: format!("{key}={value}") });
        }
        Ok(Self { key, value })
    }
}

const WANTED: &str = "a pair KEY=VALUE without control characters";

impl FromStr for ContextPair {
    type Err = KeyError;

    /// The first `=` divides: a value may have more of them, a key has none.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text.split_once('=') {
            Some((key, value)) => Self::new(key.into(), value.into()),
            None => Err(KeyError::Invalid { wanted: WANTED, given: text.into() }),
        }
    }
}

/// The encryption context that an AWS service uses, in place of the default one: keys that it sealed can be unsealed, and the other way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextPreset {
    /// Amazon Elastic Transcoder (spec KMS-009).
    ElasticTranscoder,
    /// AWS Elemental MediaConvert (spec KMS-010).
    MediaConvert,
}

impl ContextPreset {
    /// The whole context of the service.
    #[must_use]
    pub fn context(self) -> EncryptionContext {
        let service = match self {
            Self::ElasticTranscoder => "elastictranscoder.amazonaws.com",
            Self::MediaConvert => "mediaconvert.amazonaws.com",
        };
        EncryptionContext(BTreeMap::from([("service".into(), service.into())]))
    }
}

impl FromStr for ContextPreset {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text {
            "elastic-transcoder" => Ok(Self::ElasticTranscoder),
            "mediaconvert" => Ok(Self::MediaConvert),
            _ => Err(KeyError::Invalid { wanted: "elastic-transcoder or mediaconvert", given: text.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn context(pairs: &[&str]) -> EncryptionContext {
        let mut context = EncryptionContext::default();
        pairs.iter().for_each(|pair| context.insert(pair.parse().unwrap()).unwrap());
        context
    }

    /// The form that the AWS Encryption SDK's message format reference gives for "AAD: key-value pairs".
    #[test]
    fn canonical_form_is_sorted_and_length_prefixed() {
        let expected = b"\x00\x02\x00\x04key1\x00\x06value1\x00\x04key2\x00\x06value2";
        assert_eq!(context(&["key2=value2", "key1=value1"]).canonical(), expected);
        assert_eq!(EncryptionContext::default().canonical(), [0, 0]);
        // Bytes, not letters or lengths, give the order.
        let order: Vec<_> = context(&["b=", "a=", "B=", "aa=", "\u{e4}="]).pairs().map(|(k, _)| k.to_owned()).collect();
        assert_eq!(order, ["B", "a", "aa", "b", "\u{e4}"]);
    }

    #[test]
    fn pairs_are_checked() {
        assert_eq!(context(&["a=b=c", "d="]).pairs().collect::<Vec<_>>(), [("a", "b=c"), ("d", "")]);
        for bad in ["", "a", "=b", "a=\n", "a\u{7f}=b"] {
            assert!(bad.parse::<ContextPair>().is_err(), "{bad:?}");
        }
        let error = context(&["a=b"]).insert("a=c".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "\"a\" is not a key that the encryption context does not have yet");
    }

    #[test]
    fn a_context_is_bounded() {
        let room = MAX_CONTEXT_BYTES - 6 - 1;
        assert!(EncryptionContext::default().insert(format!("k={}", "v".repeat(room)).parse().unwrap()).is_ok());
        assert!(EncryptionContext::default().insert(format!("k={}", "v".repeat(room + 1)).parse().unwrap()).is_err());
    }

    #[test]
    fn presets_replace_the_whole() {
        let json = |preset: &str| serde_json::to_string(&preset.parse::<ContextPreset>().unwrap().context()).unwrap();
        assert_eq!(json("elastic-transcoder"), r#"{"service":"elastictranscoder.amazonaws.com"}"#);
        assert_eq!(json("mediaconvert"), r#"{"service":"mediaconvert.amazonaws.com"}"#);
        assert!("Mediaconvert".parse::<ContextPreset>().is_err());
        let default = EncryptionContext::of_content(&"film-1".parse().unwrap());
        assert_eq!(serde_json::to_string(&default).unwrap(), r#"{"content-id":"film-1"}"#);
    }

    #[test]
    fn a_key_that_appears_twice_is_refused() {
        for bad in
            [r#"{"a":"1","a":"2"}"#, r#"{"a":"1","\u0061":"1"}"#, r#"{"a":1}"#, r#"{"":"1"}"#, "[]", r#"{"a":"\n"}"#]
        {
            assert!(serde_json::from_str::<EncryptionContext>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn different_contexts_have_different_canonical_forms(
            a in proptest::collection::btree_map("[a-c]{1,3}", "[a-c]{0,3}", 0..4),
            b in proptest::collection::btree_map("[a-c]{1,3}", "[a-c]{0,3}", 0..4),
        ) {
            let (x, y) = (EncryptionContext(a.clone()), EncryptionContext(b.clone()));
            prop_assert_eq!(a == b, x.canonical() == y.canonical());
            let json = serde_json::to_string(&x).unwrap();
            prop_assert_eq!(serde_json::from_str::<EncryptionContext>(&json).unwrap(), x);
        }
    }
}
