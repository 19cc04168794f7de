//! What a grant opens.

use crate::keys::{ContentId, KeyId};

/// Either no bound of this kind, or one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Bound<T> {
    Any,
    OneOf(Vec<T>),
}

impl<T: PartialEq> Bound<T> {
    fn of(listed: Option<Vec<T>>) -> Self {
        listed.map_or(Self::Any, Self::OneOf)
    }

    fn holds(&self, one: &T) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(listed) => listed.contains(one),
        }
    }
}

/// Contents and keys. A key has to be within both bounds: what says more opens less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    contents: Bound<ContentId>,
    keys: Bound<KeyId>,
}

impl Scope {
    /// The keys of these contents, these keys, or, where both are given, these keys of these contents. `None` when that
    /// opens nothing: neither is given, or one is empty.
    pub(super) fn bound(contents: Option<Vec<ContentId>>, keys: Option<Vec<KeyId>>) -> Option<Self> {
        let is_empty = contents.as_ref().is_some_and(Vec::is_empty) || keys.as_ref().is_some_and(Vec::is_empty);
        let is_bound = contents.is_some() || keys.is_some();
        (is_bound && !is_empty).then(|| Self { contents: Bound::of(contents), keys: Bound::of(keys) })
    }

    /// One key, whatever its content.
    pub(super) fn key(key: KeyId) -> Self {
        Self { contents: Bound::Any, keys: Bound::OneOf(vec![key]) }
    }

    /// All keys of all contents, for callers that the configuration names.
    pub(super) fn everything() -> Self {
        Self { contents: Bound::Any, keys: Bound::Any }
    }

    pub(super) fn covers(&self, key: &KeyId, content: &ContentId) -> bool {
        self.contents.holds(content) && self.keys.holds(key)
    }

    /// A bound of keys alone says nothing of a content.
    pub(super) fn covers_content(&self, content: &ContentId) -> bool {
        match (&self.contents, &self.keys) {
            (Bound::Any, Bound::OneOf(_)) => false,
            (contents, _) => contents.holds(content),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f";
    const OTHER: &str = "00000000-0000-4000-8000-000000000000";

    fn key(text: &str) -> KeyId {
        text.parse().unwrap()
    }

    fn content(text: &str) -> ContentId {
        text.parse().unwrap()
    }

    #[test]
    fn what_binds_nothing_opens_nothing() {
        assert_eq!(Scope::bound(None, None), None);
        assert_eq!(Scope::bound(Some(vec![]), None), None);
        assert_eq!(Scope::bound(None, Some(vec![])), None);
        assert_eq!(Scope::bound(Some(vec![]), Some(vec![key(KEY)])), None);
        assert_eq!(Scope::bound(Some(vec![content("a")]), Some(vec![])), None);
    }

    #[test]
    fn a_content_opens_its_keys_and_no_other_content() {
        let scope = Scope::bound(Some(vec![content("a"), content("b")]), None).unwrap();
        assert!(scope.covers(&key(KEY), &content("a")) && scope.covers_content(&content("b")));
        assert!(!scope.covers(&key(KEY), &content("c")) && !scope.covers_content(&content("c")));
    }

    #[test]
    fn a_key_opens_no_other_key_and_no_content() {
        let scope = Scope::bound(None, Some(vec![key(KEY)])).unwrap();
        assert_eq!(scope, Scope::key(key(KEY)));
        assert!(scope.covers(&key(KEY), &content("a")) && !scope.covers(&key(OTHER), &content("a")));
        assert!(!scope.covers_content(&content("a")));
    }

    #[test]
    fn both_bounds_hold_at_once() {
        let scope = Scope::bound(Some(vec![content("a")]), Some(vec![key(KEY)])).unwrap();
        assert!(scope.covers(&key(KEY), &content("a")));
        assert!(!scope.covers(&key(KEY), &content("b")) && !scope.covers(&key(OTHER), &content("a")));
        assert!(scope.covers_content(&content("a")) && !scope.covers_content(&content("b")));
    }
}
