//! How the stored documents are read and written: JSON, a version that is checked first, nothing unknown, nothing twice.

use std::fmt;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::keys::KeyError;

/// The only format version there is, of sealed keys, claims and the keyring alike. Read from any other number it is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version1;

impl Serialize for Version1 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(1)
    }
}

impl<'de> Deserialize<'de> for Version1 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Self),
            version => Err(serde::de::Error::custom(format_args!("unknown format version {version}"))),
        }
    }
}

/// The one field that is looked at first.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// Reads a document of version 1. `what` names it in errors.
pub(super) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, KeyError> {
    check_version(what, bytes)?;
    serde_json::from_slice(bytes)
        .map_err(|e| KeyError::Malformed { what: what.into(), reason: one_line(&e.to_string()) })
}

/// Refuses a document of another version before anything else in it is looked at.
pub(super) fn check_version(what: &str, bytes: &[u8]) -> Result<(), KeyError> {
    match serde_json::from_slice(bytes) {
        Ok(Versioned { version: 1 }) => Ok(()),
        Ok(Versioned { version }) => Err(KeyError::UnknownVersion { what: what.into(), version }),
        // Not the parser's words: this may be a keyring, and they could quote it.
        Err(e) => {
            let reason = format!("not a JSON object with a version (line {}, column {})", e.line(), e.column());
            Err(KeyError::Malformed { what: what.into(), reason })
        }
    }
}

/// Writes a document: indented, a final newline.
pub(super) fn encode(document: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(document).expect("documents consist of strings and integers");
    bytes.push(b'\n');
    bytes
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// When a document was made: UTC, whole seconds, RFC 3339 as in `2026-01-31T23:59:59Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CreatedAt(jiff::Timestamp);

impl CreatedAt {
    /// Now, by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        let now = jiff::Timestamp::now();
        Self(jiff::Timestamp::from_second(now.as_second()).unwrap_or(now))
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        self.0.as_second()
    }
}

impl fmt::Display for CreatedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CreatedAt {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text.parse::<jiff::Timestamp>() {
            Ok(time) if time.subsec_nanosecond() == 0 && Self(time).to_string() == text => Ok(Self(time)),
            _ => Err(KeyError::Invalid { wanted: "a time in UTC such as 2026-01-31T23:59:59Z", given: text.into() }),
        }
    }
}

/// Serializes a type as what it is displayed as, and reads it back as what it parses.
macro_rules! as_text {
    ($($type:ty),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(super) use as_text;

as_text!(CreatedAt);

/// Bytes as standard base64 with padding, on one line.
pub(super) mod base64_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::keys) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(in crate::keys) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_and_whole_seconds() {
        let text = "2026-01-31T23:59:59Z";
        let time: CreatedAt = text.parse().unwrap();
        assert_eq!((time.to_string().as_str(), time.unix_seconds()), (text, 1_769_903_999));
        let now = CreatedAt::now();
        assert_eq!(now.to_string().len(), text.len());
        assert_eq!(now.to_string().parse::<CreatedAt>().unwrap(), now);
        for bad in ["", "2026-01-31", "2026-01-31T23:59:59", "2026-01-31T23:59:59+00:00", "2026-01-31T23:59:59.5Z"] {
            assert!(bad.parse::<CreatedAt>().is_err(), "{bad}");
        }
    }
}
