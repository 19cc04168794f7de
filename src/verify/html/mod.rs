//! The report as one page that needs nothing else: no script, no request, light and dark, narrow and wide.

mod picture;

use std::fmt::Write;

use super::finding::{Finding, Severity};
use super::report::{RenditionReport, Report};

const STYLE: &str = include_str!("page.css");

/// Colours of lines; more renditions than colours use them again.
const COLOURS: usize = 8;

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    let title = text(&report.target);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}: keyrung verify</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    verdict(report, &mut out);
    renditions(report, &mut out);
    findings(report, &mut out);
    pictures(report, &mut out);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Text that cannot become markup.
fn text(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A bit rate for people.
fn rate(bits: Option<u64>) -> String {
    match bits {
        None => "–".to_owned(),
        Some(bits) if bits >= 1_000_000 => format!("{:.2} Mbit/s", bits as f64 / 1e6),
        Some(bits) => format!("{} kbit/s", bits / 1000),
    }
}

fn verdict(report: &Report, out: &mut String) {
    let count = |severity| report.findings.count(severity);
    let (class, word) = if report.passes() { ("pass", "No errors") } else { ("fail", "Errors found") };
    let _ = writeln!(
        out,
        "<div class=\"verdict {class}\"><strong>{word}</strong><span>{}, {}, {}</span>\
         <span class=\"soft\">{} of {} looked at, {} decoded, {:.1} MB in {:.2} s</span></div>",
        plural(count(Severity::Error), "error"),
        plural(count(Severity::Warning), "warning"),
        plural(count(Severity::Note), "note"),
        report.segments.0,
        plural(report.segments.1, "segment"),
        report.understood,
        report.bytes as f64 / 1e6,
        report.elapsed.as_secs_f64(),
    );
}

fn renditions(report: &Report, out: &mut String) {
    out.push_str(
        "<h2>Renditions</h2>\n<div class=\"card scroll\"><table><tr><th>Playlist</th><th>Size</th><th>Peak</th>\
         <th>BANDWIDTH</th><th>Average</th><th>AVERAGE-BANDWIDTH</th><th>Segments</th><th>Duration</th></tr>\n",
    );
    for one in &report.renditions {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.3} s</td></tr>",
            text(&one.playlist),
            text(one.resolution.as_deref().unwrap_or("–")),
            rate(one.measured_peak),
            rate(one.bandwidth),
            rate(one.measured_average),
            rate(one.average_bandwidth),
            one.segments.len(),
            one.duration,
        );
    }
    out.push_str("</table></div>\n");
}

fn findings(report: &Report, out: &mut String) {
    out.push_str("<h2>Findings</h2>\n");
    let sorted = report.findings.sorted();
    if sorted.is_empty() {
        out.push_str("<p class=\"soft\">None.</p>\n");
    }
    let mut told: Vec<&str> = Vec::new();
    for finding in &sorted {
        let rule = finding.rule;
        if told.contains(&rule.id) {
            continue;
        }
        told.push(rule.id);
        let places: Vec<&&Finding> = sorted.iter().filter(|other| other.rule.id == rule.id).collect();
        let more: usize = report.findings.more().filter(|(id, _, _)| *id == rule.id).map(|more| more.2).sum();
        // The first few are told at once; more of them would hide the pictures.
        let open = if finding.severity == Severity::Error && told.len() <= 3 { " open" } else { "" };
        let _ = write!(
            out,
            "<details class=\"{0}\"{open}><summary><span class=\"tag\">{0}</span><b>{1}</b> <span class=\"soft\">{2}</span></summary>\
             <p>{3}</p><p>Mend: {4}</p><ul>",
            finding.severity,
            rule.id,
            plural(places.len() + more, "place"),
            text(rule.meaning),
            text(rule.mend),
        );
        for one in places {
            let seen = if one.seen.is_empty() { String::new() } else { format!(": {}", one.seen) };
            let _ = write!(out, "<li>{}</li>", text(&format!("{}{seen}", one.place)));
        }
        if more > 0 {
            let _ = write!(out, "<li>and {more} more</li>");
        }
        let _ = writeln!(out, "</ul><p class=\"soft\">{}</p></details>", text(rule.source));
    }
}

fn pictures(report: &Report, out: &mut String) {
    let all: Vec<&RenditionReport> = report.renditions.iter().filter(|one| !one.segments.is_empty()).collect();
    if all.is_empty() {
        return;
    }
    out.push_str("<h2>Bit rate of each segment</h2>\n<p class=\"soft\">Stored bytes over EXTINF. Dashed: BANDWIDTH; dotted: AVERAGE-BANDWIDTH, as declared.</p>\n");
    let _ = writeln!(out, "<div class=\"card\">{}{}</div>", picture::rates(&all), legend(&all));
    out.push_str("<h2>Cuts and key frames</h2>\n<p class=\"soft\">One row for each rendition, on the clock of the media. Boxes are segments, ticks are key frames, thick edges are discontinuities. Edges must lie under each other.</p>\n");
    let _ = writeln!(out, "<div class=\"card\">{}</div>", picture::cuts(&all));
    if all.iter().any(|one| one.segments.iter().any(|segment| segment.audio_lead.is_some())) {
        out.push_str("<h2>Audio against video at the cuts</h2>\n<p class=\"soft\">How much longer the segment's audio lasts than its video: above zero there is audio to spare, below zero the player waits for the next segment to go on sounding.</p>\n");
        let _ = writeln!(out, "<div class=\"card\">{}{}</div>", picture::audio(&all), legend(&all));
    }
}

fn legend(all: &[&RenditionReport]) -> String {
    let item = |(n, one): (usize, &&RenditionReport)| {
        format!("<li><i style=\"color:var(--c{})\"></i>{}</li>", n % COLOURS, text(&one.playlist))
    };
    format!("<ul class=\"legend\">{}</ul>", all.iter().enumerate().map(item).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::finding::{Findings, Place};
    use crate::verify::report::SegmentReport;
    use crate::verify::rule::{self, Profile};

    fn report(target: &str, segments: usize) -> Report {
        let mut findings = Findings::new(Profile::Rfc);
        findings.add(&rule::playlist::HEADER, Place::of(target).line(1), "<script>alert(1)</script>");
        let segment = |n: usize| SegmentReport {
            number: n as u64,
            start: n as f64 * 6.0,
            duration: 6.0,
            measured: Some(6.0),
            clock: Some(n as f64 * 6.0),
            bytes: 1_000_000 + n as u64,
            discontinuity: n == 3,
            keys: vec![0.0, 2.0, 4.0],
            audio_lead: Some(0.01 * (n % 3) as f64 - 0.01),
        };
        let one = RenditionReport {
            playlist: "<img src=x>\"'".to_owned(),
            bandwidth: Some(1_500_000),
            average_bandwidth: Some(1_400_000),
            codecs: None,
            resolution: Some("640x360".to_owned()),
            measured_peak: Some(1_400_000),
            measured_average: Some(1_333_333),
            duration: 6.0 * segments as f64,
            target_duration: Some(6),
            segments: (0..segments).map(segment).collect(),
        };
        Report {
            target: target.to_owned(),
            profile: Profile::Rfc,
            findings,
            renditions: vec![one],
            bytes: 1,
            segments: (segments, segments),
            understood: segments,
            elapsed: std::time::Duration::from_millis(5),
        }
    }

    #[test]
    fn hostile_names_stay_text() {
        let page = page(&report("</title><script>", 5));
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert_eq!(page.matches("<svg").count(), 3);
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }

    #[test]
    fn a_long_film_makes_no_huge_page() {
        let page = page(&report("film", 100_000));
        assert!(page.len() < 3_000_000, "{} bytes", page.len());
    }

    #[test]
    fn nothing_to_draw_is_no_picture() {
        assert_eq!(page(&report("film", 0)).matches("<svg").count(), 0);
    }
}
