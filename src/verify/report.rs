//! The outcome of a verification.

use serde::Serialize;
use serde_json::{Value, json};

use super::finding::{Finding, Findings, Severity};
use super::rule::Profile;

/// What was found, and what the pictures are made of.
#[derive(Debug)]
pub struct Report {
    /// As the user wrote it.
    pub target: String,
    /// Whose rules.
    pub profile: Profile,
    /// What was found.
    pub findings: Findings,
    /// The playlists of segments, in the order of the multivariant playlist.
    pub renditions: Vec<RenditionReport>,
    /// Bytes of segments that were read.
    pub bytes: u64,
    /// Segments that were looked at, and all that there are.
    pub segments: (usize, usize),
    /// Segments that were decrypted or were clear, and understood.
    pub understood: usize,
    /// How long it took.
    pub elapsed: std::time::Duration,
}

/// One media playlist.
#[derive(Debug, Clone, Serialize)]
pub struct RenditionReport {
    /// What it is called.
    pub playlist: String,
    /// BANDWIDTH.
    pub bandwidth: Option<u64>,
    /// AVERAGE-BANDWIDTH.
    pub average_bandwidth: Option<u64>,
    /// CODECS.
    pub codecs: Option<String>,
    /// RESOLUTION.
    pub resolution: Option<String>,
    /// The measured peak, bits per second.
    pub measured_peak: Option<u64>,
    /// The measured average, bits per second.
    pub measured_average: Option<u64>,
    /// Seconds of EXTINF.
    pub duration: f64,
    /// EXT-X-TARGETDURATION.
    pub target_duration: Option<u64>,
    /// The segments.
    pub segments: Vec<SegmentReport>,
}

/// One segment.
#[derive(Debug, Clone, Serialize)]
pub struct SegmentReport {
    /// Media sequence number.
    pub number: u64,
    /// Seconds of EXTINF before it.
    pub start: f64,
    /// EXTINF.
    pub duration: f64,
    /// Seconds that it really lasts.
    pub measured: Option<f64>,
    /// First presentation time, seconds from the first one of the first rendition.
    pub clock: Option<f64>,
    /// Bytes as stored; 0 when it was not read.
    pub bytes: u64,
    /// Whether EXT-X-DISCONTINUITY stands before it.
    pub discontinuity: bool,
    /// Key frames, seconds from its start.
    pub keys: Vec<f64>,
    /// Seconds by which audio lasts longer than video at its end.
    pub audio_lead: Option<f64>,
}

impl Report {
    /// Whether there are no errors.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.findings.count(Severity::Error) == 0
    }

    /// The report as a document.
    #[must_use]
    pub fn json(&self) -> Value {
        let finding = |finding: &&Finding| {
            json!({
                "code": finding.rule.id, "severity": finding.severity, "place": finding.place, "seen": finding.seen,
                "meaning": finding.rule.meaning, "mend": finding.rule.mend, "source": finding.rule.source,
            })
        };
        let more = self
            .findings
            .more()
            .map(|(rule, resource, count)| json!({ "code": rule, "resource": resource, "count": count }));
        json!({
            "target": self.target,
            "profile": self.profile,
            "verdict": if self.passes() { "pass" } else { "fail" },
            "errors": self.findings.count(Severity::Error),
            "warnings": self.findings.count(Severity::Warning),
            "notes": self.findings.count(Severity::Note),
            "findings": self.findings.sorted().iter().map(finding).collect::<Vec<_>>(),
            "more": more.collect::<Vec<_>>(),
            "renditions": self.renditions,
            "segments": self.segments.1,
            "segments_checked": self.segments.0,
            "segments_decoded": self.understood,
            "bytes": self.bytes,
            "elapsed": (self.elapsed.as_secs_f64() * 1e6).round() / 1e6,
        })
    }
}
