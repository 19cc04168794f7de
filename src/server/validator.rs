//! Entity tags and the preconditions that name them (RFC 9110 sections 8.8.3 and 13).

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};

/// The tag of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntityTag {
    /// With its quotes.
    opaque: String,
    strength: Strength,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strength {
    Strong,
    Weak,
}

impl EntityTag {
    /// A tag of exactly these bytes. `opaque` is ours, and plain.
    pub(super) fn strong(opaque: &str) -> Self {
        Self { opaque: format!("\"{opaque}\""), strength: Strength::Strong }
    }

    /// A tag of what means the same. `opaque` is ours, and plain.
    pub(super) fn weak(opaque: &str) -> Self {
        Self { opaque: format!("\"{opaque}\""), strength: Strength::Weak }
    }

    /// What stands between its quotes.
    pub(super) fn opaque(&self) -> &str {
        self.opaque.trim_matches('"')
    }

    /// The strong comparison with a tag as it stands in a field (section 8.8.3.2).
    pub(super) fn is_strongly(&self, text: &str) -> bool {
        self.strength == Strength::Strong && text.trim() == self.opaque
    }

    fn is_weakly(&self, text: &str) -> bool {
        text.strip_prefix("W/").unwrap_or(text) == self.opaque
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.strength {
            Strength::Strong => f.write_str(&self.opaque),
            Strength::Weak => write!(f, "W/{}", self.opaque),
        }
    }
}

/// What the preconditions of a GET or HEAD request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer as if there were none.
    Go,
    /// 304: the client has it already.
    NotModified,
    /// 412: the client wants other bytes than there are.
    Failed,
}

/// Evaluates If-Match, then If-None-Match, in the order of section 13.2.2. There is no Last-Modified, so fields with
/// dates say nothing.
pub(super) fn evaluate(headers: &HeaderMap, tag: Option<&EntityTag>) -> Verdict {
    if headers.contains_key(IF_MATCH) && !any(headers, &IF_MATCH, |text| tag.is_some_and(|tag| tag.is_strongly(text))) {
        return Verdict::Failed;
    }
    if any(headers, &IF_NONE_MATCH, |text| tag.is_some_and(|tag| tag.is_weakly(text))) {
        return Verdict::NotModified;
    }
    Verdict::Go
}

/// Whether a field is `*`, or one of its tags passes. A tag may hold a comma, but none of ours does: a list that is taken
/// apart in the wrong place has parts that never match.
fn any(headers: &HeaderMap, name: &axum::http::HeaderName, test: impl Fn(&str) -> bool) -> bool {
    let fields = headers.get_all(name).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).map(str::trim).any(|text| text == "*" || test(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn of(name: HeaderName, values: &[&'static str], tag: Option<&EntityTag>) -> Verdict {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_static(value));
        }
        evaluate(&headers, tag)
    }

    #[test]
    fn if_none_match_compares_weakly() {
        let tag = EntityTag::strong("x");
        for (values, expected) in [
            (&["\"x\""][..], Verdict::NotModified),
            (&["W/\"x\""], Verdict::NotModified),
            (&["\"a\", \"x\""], Verdict::NotModified),
            (&["\"a\"", "\"x\""], Verdict::NotModified),
            (&["*"], Verdict::NotModified),
            (&["\"X\""], Verdict::Go),
            (&["x"], Verdict::Go),
            (&["w/\"x\""], Verdict::Go),
            (&["\"a,x\""], Verdict::Go),
            (&[""], Verdict::Go),
        ] {
            assert_eq!(of(IF_NONE_MATCH, values, Some(&tag)), expected, "{values:?}");
        }
        assert_eq!(of(IF_NONE_MATCH, &["W/\"x\""], Some(&EntityTag::weak("x"))), Verdict::NotModified);
        assert_eq!(of(IF_NONE_MATCH, &["\"x\""], None), Verdict::Go);
    }

    #[test]
    fn if_match_compares_strongly() {
        let tag = EntityTag::strong("x");
        for (value, expected) in
            [("\"x\"", Verdict::Go), ("*", Verdict::Go), ("W/\"x\"", Verdict::Failed), ("\"y\"", Verdict::Failed)]
        {
            assert_eq!(of(IF_MATCH, &[value], Some(&tag)), expected, "{value}");
        }
        assert_eq!(of(IF_MATCH, &["\"x\""], Some(&EntityTag::weak("x"))), Verdict::Failed);
        assert_eq!(of(IF_MATCH, &["\"x\""], None), Verdict::Failed);
        let mut both = HeaderMap::new();
        both.insert(IF_MATCH, HeaderValue::from_static("\"y\""));
        both.insert(IF_NONE_MATCH, HeaderValue::from_static("\"x\""));
        assert_eq!(evaluate(&both, Some(&tag)), Verdict::Failed);
        assert_eq!((tag.to_string(), EntityTag::weak("x").to_string()), ("\"x\"".into(), "W/\"x\"".into()));
    }
}
