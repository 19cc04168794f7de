//! What a check leaves: findings, each under a rule, with its place; bounded, whatever the target is.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::rule::{Profile, Rule};
use crate::limits;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Something that should be otherwise.
    Warning,
    /// Something that must be otherwise, or a statement that the streams contradict.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Where a finding is. What is not known or has no meaning is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Place {
    /// The playlist, segment, key or record, relative to the target where it lies below it.
    pub resource: String,
    /// Line of a playlist, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Media sequence number of a segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<u64>,
    /// Byte of the decrypted resource, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byte: Option<u64>,
    /// PID of a transport stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u16>,
    /// Seconds from the start of the playlist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<f64>,
}

impl Place {
    /// A resource as a whole.
    #[must_use]
    pub fn of(resource: impl Into<String>) -> Self {
        Self { resource: resource.into(), ..Self::default() }
    }

    /// On this line.
    #[must_use]
    pub fn line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// In the segment of this media sequence number.
    #[must_use]
    pub fn segment(mut self, number: u64) -> Self {
        self.segment = Some(number);
        self
    }

    /// At this byte.
    #[must_use]
    pub fn byte(mut self, byte: u64) -> Self {
        self.byte = Some(byte);
        self
    }

    /// On this PID.
    #[must_use]
    pub fn pid(mut self, pid: u16) -> Self {
        self.pid = Some(pid);
        self
    }

    /// At this second of the playlist.
    #[must_use]
    pub fn time(mut self, seconds: f64) -> Self {
        self.time = Some((seconds * 1e6).round() / 1e6);
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(segment) = self.segment {
            write!(f, ", segment {segment}")?;
        }
        if let Some(byte) = self.byte {
            write!(f, ", byte {byte}")?;
        }
        if let Some(pid) = self.pid {
            write!(f, ", PID {pid:#06x}")?;
        }
        if let Some(time) = self.time {
            write!(f, ", {time:.3} s")?;
        }
        Ok(())
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The rule that is broken.
    pub rule: &'static Rule,
    /// How bad it is under the profile that was asked for.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What was seen there.
    pub seen: String,
}

/// Findings of one part of a check, in the order in which they were made.
///
/// A rule that one resource breaks many times is told [`limits::VERIFY_FINDINGS_PER_RULE`] times; the others are counted.
#[derive(Debug, Clone)]
pub struct Findings {
    profile: Profile,
    list: Vec<Finding>,
    seen: BTreeMap<(&'static str, String), usize>,
    more: BTreeMap<(&'static str, String), usize>,
    counts: BTreeMap<Severity, usize>,
}

impl Findings {
    /// None yet.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self { profile, list: Vec::new(), seen: BTreeMap::new(), more: BTreeMap::new(), counts: BTreeMap::new() }
    }

    /// The profile that decides severities.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Adds a finding, unless the rule is not one of the profile's. Control characters in the place and in what
    /// was seen are escaped: they may be a hostile text.
    pub fn add(&mut self, rule: &'static Rule, mut place: Place, seen: impl fmt::Display) {
        let Some(severity) = rule.severity(self.profile) else { return };
        // A record's paths and the names of files are the target's own text, too.
        place.resource = plain(&place.resource);
        self.push(Finding { rule, severity, place, seen: plain(&seen.to_string()) });
    }

    /// Takes over the findings of a part.
    pub fn extend(&mut self, other: Self) {
        for (key, count) in other.more {
            *self.more.entry(key).or_default() += count;
        }
        let told: BTreeMap<Severity, usize> = other.list.iter().fold(BTreeMap::new(), |mut told, finding| {
            *told.entry(finding.severity).or_default() += 1;
            told
        });
        for (severity, count) in other.counts {
            *self.counts.entry(severity).or_default() += count - told.get(&severity).copied().unwrap_or(0);
        }
        for finding in other.list {
            self.push(finding);
        }
    }

    /// How many there are of this severity, those that are only counted included.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.counts.get(&severity).copied().unwrap_or(0)
    }

    /// All that are told, the worst first.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Finding> {
        let mut list: Vec<&Finding> = self.list.iter().collect();
        list.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        list
    }

    /// How often a rule was broken beyond what is told, by rule and resource.
    pub fn more(&self) -> impl Iterator<Item = (&'static str, &str, usize)> {
        self.more.iter().map(|((rule, resource), count)| (*rule, resource.as_str(), *count))
    }

    fn push(&mut self, finding: Finding) {
        *self.counts.entry(finding.severity).or_default() += 1;
        let key = (finding.rule.id, finding.place.resource.clone());
        let full = self.seen.len() >= limits::VERIFY_FINDINGS && !self.seen.contains_key(&key);
        let key = if full { (finding.rule.id, "further places".to_owned()) } else { key };
        let seen = self.seen.entry(key.clone()).or_default();
        if full || *seen >= limits::VERIFY_FINDINGS_PER_RULE {
            *self.more.entry(key).or_default() += 1;
            return;
        }
        *seen += 1;
        self.list.push(finding);
    }
}

/// Text from outside on one line, of a bounded length.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n >= limits::VERIFY_TEXT {
            out.push('…');
            break;
        }
        // Characters that turn the direction of text or break lines could make a report say something else.
        let turns = matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::rule;

    #[test]
    fn many_findings_of_a_kind_are_counted() {
        let mut findings = Findings::new(Profile::Rfc);
        for line in 1..=1000 {
            findings.add(&rule::playlist::CONTROL, Place::of("a.m3u8").line(line), "U+0000");
        }
        findings.add(&rule::playlist::CONTROL, Place::of("b.m3u8"), "U+0000");
        assert_eq!(findings.sorted().len(), limits::VERIFY_FINDINGS_PER_RULE + 1);
        assert_eq!(findings.count(Severity::Error), 1001);
        let mut whole = Findings::new(Profile::Rfc);
        whole.extend(findings.clone());
        whole.extend(findings);
        assert_eq!(whole.count(Severity::Error), 2002);
        assert_eq!(whole.sorted().len(), limits::VERIFY_FINDINGS_PER_RULE + 2);
    }

    #[test]
    fn places_do_not_fill_the_memory() {
        let mut findings = Findings::new(Profile::Rfc);
        for n in 0..limits::VERIFY_FINDINGS * 3 {
            findings.add(&rule::playlist::CONTROL, Place::of(n.to_string()), "");
        }
        assert!(findings.sorted().len() <= limits::VERIFY_FINDINGS);
        assert_eq!(findings.count(Severity::Error), limits::VERIFY_FINDINGS * 3);
    }

    #[test]
    fn hostile_text_stays_on_its_line() {
        assert_eq!(plain("a\n\u{1b}[2J\u{202e}b"), "a\\n\\u{1b}[2J\\u{202e}b");
        assert!(plain(&"x".repeat(100_000)).chars().count() <= limits::VERIFY_TEXT + 1);
        let mut findings = Findings::new(Profile::Rfc);
        findings.add(&rule::target::SAMPLED, Place::of("a\n\u{1b}[2J"), "");
        assert_eq!(findings.sorted()[0].place.to_string(), "a\\n\\u{1b}[2J");
    }

    #[test]
    fn a_rule_of_another_profile_finds_nothing() {
        let mut findings = Findings::new(Profile::Rfc);
        findings.add(&rule::media::TYPE_MISSING, Place::of("a"), "");
        assert_eq!(findings.sorted().len(), 0);
    }
}
