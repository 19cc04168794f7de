//! The name of an object, or of a group of objects: `s3://BUCKET/KEY`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// `s3://BUCKET/KEY`, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    bucket: String,
    key: String,
}

impl Location {
    /// Whether a text is meant as one.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("s3://")
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key, or what the keys of a group begin with; empty for the whole bucket.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The key of something below this.
    #[must_use]
    pub fn below(&self, relative: &str) -> String {
        if self.key.is_empty() { relative.to_owned() } else { format!("{}/{relative}", self.key) }
    }

    /// Something below this.
    #[must_use]
    pub fn child(&self, relative: &str) -> Self {
        Self { bucket: self.bucket.clone(), key: self.below(relative) }
    }

    /// The same as a path, for messages.
    #[must_use]
    pub fn to_path(&self) -> PathBuf {
        PathBuf::from(self.to_string())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.key.is_empty() { Ok(()) } else { write!(f, "/{}", self.key) }
    }
}

/// A text is not the name of an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not s3://BUCKET/KEY: {why}")]
pub struct NotALocation {
    text: String,
    why: &'static str,
}

impl FromStr for Location {
    type Err = NotALocation;

    fn from_str(text: &str) -> Result<Self, NotALocation> {
        let refuse = |why| Err(NotALocation { text: text.to_owned(), why });
        let Some(rest) = text.strip_prefix("s3://") else {
            return refuse("it does not begin with s3://");
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let key = key.strip_suffix('/').unwrap_or(key);
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let right = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(plain)
            && edge(bucket.bytes().next())
            && edge(bucket.bytes().last())
            && !bucket.contains("..");
        if !right {
            return refuse("a bucket's name has 3 to 63 of a-z, 0-9, hyphen and full stop");
        }
        // Longer keys exist nowhere; room is left for the names below a prefix.
        if key.len() > 900 {
            return refuse("the key is longer than 900 bytes");
        }
        if key.chars().any(char::is_control) {
            return refuse("the key holds control characters");
        }
        // Clients and gateways resolve these as if keys were paths: what is stored would be something else.
        if !key.is_empty() && key.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return refuse("the key has a part that is empty, . or ..");
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, bucket, key) in [
            ("s3://films/a/b.ts", "films", "a/b.ts"),
            ("s3://films", "films", ""),
            ("s3://films/", "films", ""),
            ("s3://a.b-c/x y/\u{e4}/", "a.b-c", "x y/\u{e4}"),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!((location.bucket(), location.key()), (bucket, key));
            assert_eq!(location.to_string(), text.trim_end_matches('/'));
        }
        let location: Location = "s3://films".parse().unwrap();
        assert_eq!((location.below("a"), location.child("a").to_string()), ("a".into(), "s3://films/a".into()));
        assert_eq!(location.child("a").below("b"), "a/b");
    }

    #[test]
    fn what_would_be_taken_for_something_else_is_refused() {
        let long = format!("s3://films/{}", "a".repeat(901));
        for bad in [
            "films/a",
            "S3://films/a",
            "s3://",
            "s3://ab/a",
            "s3://Films/a",
            "s3://-films/a",
            "s3://films-/a",
            "s3://fi..lms/a",
            "s3://fi_lms/a",
            "s3:///a",
            "s3://films//a",
            "s3://films/a//b",
            "s3://films/./a",
            "s3://films/a/..",
            "s3://films/a\n",
            "s3://user@films/a",
            "s3://films?x/a",
            &long,
        ] {
            assert!(bad.parse::<Location>().is_err(), "{bad:?}");
        }
    }
}
