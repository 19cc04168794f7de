//! The catalogue of rules: what `keyrung verify` looks for, where it is written, what it means and how to mend it.

use serde::Serialize;

use super::finding::Severity;

pub mod key;
pub mod ladder;
pub mod master;
pub mod media;
pub mod playlist;
pub mod record;
pub mod segment;
pub mod target;
pub mod timeline;

/// Whose rules are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// RFC 8216 and its successor, and what players need.
    #[default]
    Rfc,
    /// Apple's authoring specification on top of that.
    Apple,
}

/// A rule. Its id never changes.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The code of its findings.
    pub id: &'static str,
    /// Severity under [`Profile::Rfc`]; none where it is not asked for.
    pub rfc: Option<Severity>,
    /// Severity under [`Profile::Apple`].
    pub apple: Severity,
    /// Where it is written: clauses of RFC 8216 (R), its successor (B), Apple's authoring specification (A), other
    /// standards, or a spec id.
    pub source: &'static str,
    /// What it means to break it.
    pub meaning: &'static str,
    /// How to mend it.
    pub mend: &'static str,
}

impl Rule {
    /// How bad a finding is, or none where the profile does not ask.
    #[must_use]
    pub fn severity(&self, profile: Profile) -> Option<Severity> {
        match profile {
            Profile::Rfc => self.rfc,
            Profile::Apple => Some(self.apple),
        }
    }
}

/// Every rule, by group.
#[must_use]
pub fn all() -> Vec<&'static Rule> {
    [
        playlist::ALL,
        media::ALL,
        master::ALL,
        key::ALL,
        segment::ALL,
        timeline::ALL,
        ladder::ALL,
        record::ALL,
        target::ALL,
    ]
    .concat()
}

/// Makes a constant of each row, and `ALL` of all rows. `rfc/apple` are `E`, `W`, `N`, and `-` for not asked.
macro_rules! rules {
    (@s E) => { $crate::verify::finding::Severity::Error };
    (@s W) => { $crate::verify::finding::Severity::Warning };
    (@s N) => { $crate::verify::finding::Severity::Note };
    (@o -) => { None };
    (@o $s:tt) => { Some(rules!(@s $s)) };
    ($($name:ident $id:literal $rfc:tt/$apple:tt $source:literal $meaning:literal $mend:literal;)*) => {
        $(
            #[doc = $meaning]
            pub static $name: $crate::verify::rule::Rule = $crate::verify::rule::Rule {
                id: $id, rfc: rules!(@o $rfc), apple: rules!(@s $apple),
                source: $source, meaning: $meaning, mend: $mend,
            };
        )*
        /// All of this group.
        pub static ALL: &[&$crate::verify::rule::Rule] = &[$(&$name),*];
    };
}
use rules;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_catalogue_is_whole() {
        let all = all();
        assert!(all.len() >= 60, "{} rules", all.len());
        let ids: BTreeSet<_> = all.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), all.len(), "an id is there twice");
        for rule in all {
            assert!(rule.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{}", rule.id);
            assert!(!rule.source.is_empty() && rule.meaning.len() > 10 && rule.mend.len() > 5, "{}", rule.id);
            assert!(rule.rfc.is_none_or(|rfc| rfc <= rule.apple), "{}: Apple asks for less", rule.id);
        }
    }
}
