//! Paths as they were sent. Nothing is decoded or normalised here: a path has one spelling, or it is refused.

use std::fmt;
use std::str::FromStr;

use crate::keys::{ContentId, KeyId};

/// Where keys are.
pub const KEYS: &str = "/v1/keys/";

/// The key that a path names: `/v1/keys/` and a key id in its one spelling. `/v1/keys/%2e%2e`, a slash more, or a digit in
/// upper case or percent-encoded name none.
#[must_use]
pub fn key_id(path: &str) -> Option<KeyId> {
    path.strip_prefix(KEYS)?.parse().ok()
}

/// Whether a path means the same to everyone who may read it: segments that are not empty, not `.` or `..`, with no slash,
/// backslash or full stop hidden in an escape. Only the last segment may be empty.
pub(super) fn is_plain(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let lower = rest.to_ascii_lowercase();
    let hidden = ["%2e", "%2f", "%5c", "%00", "%25", "\\"].iter().any(|part| lower.contains(part));
    let mut segments = rest.split('/').rev();
    let is_last_plain = segments.next().is_some_and(|last| !matches!(last, "." | ".."));
    rest.bytes().all(|byte| byte.is_ascii_graphic())
        && !hidden
        && is_last_plain
        && segments.all(|segment| !matches!(segment, "" | "." | ".."))
}

/// The paths that a signature is for: one, or all beneath one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPattern {
    /// This path.
    Exact(String),
    /// All paths that begin so; it ends with a slash. Written with a `*` after it.
    Beneath(String),
}

/// A text is not a path that can be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a path is /like/this, in visible ASCII, without empty, . or .. segments; a * may only follow its last slash")]
pub struct PathPatternError;

impl PathPattern {
    /// Whether a path, as it was sent, is one of these.
    pub(super) fn holds(&self, path: &str) -> bool {
        is_plain(path)
            && match self {
                Self::Exact(one) => path == one,
                Self::Beneath(folder) => path.starts_with(folder.as_str()),
            }
    }

    /// The key whose path this is.
    pub(super) fn key(&self) -> Option<KeyId> {
        match self {
            Self::Exact(path) => key_id(path),
            Self::Beneath(_) => None,
        }
    }

    /// The content whose files these are: packages lie under `/{content_id}/`, and nothing of them under `/v1/`.
    pub(super) fn content(&self) -> Option<ContentId> {
        let (Self::Exact(path) | Self::Beneath(path)) = self;
        let (first, _) = path.strip_prefix('/')?.split_once('/')?;
        if first == "v1" { None } else { first.parse().ok() }
    }
}

impl FromStr for PathPattern {
    type Err = PathPatternError;

    fn from_str(text: &str) -> Result<Self, PathPatternError> {
        let (path, make): (_, fn(String) -> Self) = match text.strip_suffix('*') {
            Some(folder) if folder.ends_with('/') => (folder, Self::Beneath),
            Some(_) => return Err(PathPatternError),
            None => (text, Self::Exact),
        };
        // A query or a fragment would never be part of a path that is asked for.
        let is_path = is_plain(path) && !path.contains(['*', '?', '#']);
        if is_path { Ok(make(path.to_owned())) } else { Err(PathPatternError) }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Beneath(folder) => write!(f, "{folder}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f";

    #[test]
    fn a_key_has_one_path() {
        assert_eq!(key_id(&format!("/v1/keys/{KEY}")).unwrap().to_string(), KEY);
        for path in [
            "",
            "/",
            "/v1/keys",
            "/v1/keys/",
            "/v1/keys/%2e%2e",
            "/v1/keys/..",
            "/v1/keys/.",
            &format!("/v1/keys/{KEY}/"),
            &format!("/v1/keys//{KEY}"),
            &format!("//v1/keys/{KEY}"),
            &format!("/v1//keys/{KEY}"),
            &format!("/v1/keys%2f{KEY}"),
            &format!("/v1%2Fkeys/{KEY}"),
            &format!("/v1/keys/./{KEY}"),
            &format!("/v1/keys/../keys/{KEY}"),
            &format!("/v1/keys/x/../{KEY}"),
            &format!("/V1/keys/{KEY}"),
            &format!("/v1/keys/{}", KEY.to_uppercase()),
            &format!("/v1/keys/{}", KEY.replace('-', "")),
            &format!("/v1/keys/{}", KEY.replace('-', "%2d")),
            &format!("/v1/keys/{}", KEY.replacen('3', "%33", 1)),
            &format!("/v1/keys/{KEY}%00"),
            &format!("/v1/keys/{KEY}\0"),
            &format!("/v1/keys/{KEY} "),
            &format!("/v1/keys/{KEY};a"),
            &format!("/v1/keys/{KEY}.json"),
            &format!("/v1/keys/{{{KEY}}}"),
            &format!("v1/keys/{KEY}"),
            &format!("/v1/keys\\{KEY}"),
            &format!("/v1/keys/{KEY}/{KEY}"),
        ] {
            assert_eq!(key_id(path), None, "{path:?}");
        }
    }

    #[test]
    fn patterns() {
        for (text, path, holds) in [
            ("/film/*", "/film/1080p/index.m3u8", true),
            ("/film/*", "/film/", true),
            ("/film/*", "/film", false),
            ("/film/*", "/film-2/index.m3u8", false),
            ("/film/*", "/film/../film-2/index.m3u8", false),
            ("/film/*", "/film/%2e%2e/film-2/index.m3u8", false),
            ("/film/*", "/film/%2E./film-2/index.m3u8", false),
            ("/film/*", "/film//index.m3u8", false),
            ("/film/*", "/film/..\\film-2", false),
            ("/film/*", "/film/%252e%252e/film-2", false),
            ("/film/a.m3u8", "/film/a.m3u8", true),
            ("/film/a.m3u8", "/film/A.m3u8", false),
            ("/film/a.m3u8", "/film/a.m3u8/", false),
            ("/*", "/anything", true),
        ] {
            assert_eq!(text.parse::<PathPattern>().unwrap().holds(path), holds, "{text} {path}");
        }
        let refused =
            ["", "*", "film", "film/*", "/film*", "/fi*lm/*", "/*/a", "/a//b", "/a/../b", "/a/%2e%2e/", "/a b"];
        for text in refused.into_iter().chain(["/a?b", "/a#b", "/\u{e4}", "/a\n", "/a/**", "/a/.", "//*"]) {
            assert_eq!(text.parse::<PathPattern>(), Err(PathPatternError), "{text:?}");
        }
    }

    #[test]
    fn what_a_pattern_is_of() {
        let of = |text: &str| {
            let pattern: PathPattern = text.parse().unwrap();
            (pattern.key().map(|key| key.to_string()), pattern.content().map(|content| content.to_string()))
        };
        assert_eq!(of(&format!("/v1/keys/{KEY}")), (Some(KEY.into()), None));
        assert_eq!(of("/v1/keys/*"), (None, None));
        assert_eq!(of("/film/*"), (None, Some("film".into())));
        assert_eq!(of("/film/a/b.m3u8"), (None, Some("film".into())));
        assert_eq!(of("/film"), (None, None));
        assert_eq!(of("/*"), (None, None));
    }

    proptest! {
        #[test]
        fn only_the_canonical_path_names_a_key(path in "(/v1/keys/)?[0-9a-fA-F%./-]{0,40}") {
            if let Some(id) = key_id(&path) {
                prop_assert_eq!(path, format!("{KEYS}{id}"));
            }
        }

        #[test]
        fn a_changed_path_names_no_key_or_another(at in 0..45_usize, with in proptest::char::range(' ', '~')) {
            let path = format!("{KEYS}{KEY}");
            let changed: String = path.chars().enumerate().map(|(n, c)| if n == at { with } else { c }).collect();
            if changed != path {
                prop_assert_ne!(key_id(&changed), key_id(&path));
            }
        }

        #[test]
        fn patterns_round_trip(text in "/[a-z%.*/]{0,12}") {
            if let Ok(pattern) = text.parse::<PathPattern>() {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
