//! The pictures of the page, as SVG: bit rates, the grid of cuts, audio at the cuts.

use std::fmt::Write;

use super::{COLOURS, rate, text};
use crate::verify::report::{RenditionReport, SegmentReport};

/// Units of the drawing; the page scales it.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 104.0;
const RIGHT: f64 = 12.0;
/// Segments that are drawn of a rendition; of more, only some are shown, evenly.
const MOST: usize = 1500;

/// Seconds to the place of a column.
struct Across {
    from: f64,
    to: f64,
}

impl Across {
    fn of(all: &[&RenditionReport], clock: fn(&SegmentReport) -> f64) -> Self {
        let ends = all.iter().flat_map(|one| &one.segments);
        let (mut from, mut to) = (f64::MAX, f64::MIN);
        for segment in ends {
            let start = clock(segment);
            from = from.min(start);
            to = to.max(start + segment.duration);
        }
        Self { from, to: if to > from { to } else { from + 1.0 } }
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (seconds - self.from) / (self.to - self.from) * (WIDTH - LEFT - RIGHT)
    }

    /// Lines and labels for the time below a picture of this height.
    fn axis(&self, top: f64, bottom: f64, out: &mut String) {
        let step = nice_time((self.to - self.from) / 8.0);
        let mut at = (self.from / step).ceil() * step;
        while at <= self.to {
            let x = self.x(at);
            let _ = write!(out, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>");
            let _ =
                write!(out, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>", bottom + 16.0, time(at));
            at += step;
        }
    }
}

/// A step of time: whole minutes when it is long.
fn nice_time(step: f64) -> f64 {
    let minutes = [60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0];
    if step <= 30.0 {
        return nice(step);
    }
    minutes.into_iter().find(|minutes| *minutes >= step).unwrap_or_else(|| (step / 3600.0).ceil() * 3600.0)
}

/// A step of 1, 2 or 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|n| n * power).find(|nice| *nice >= step).unwrap_or(10.0 * power)
}

fn time(seconds: f64) -> String {
    if seconds >= 3600.0 {
        let minutes = (seconds / 60.0).round() as i64;
        return format!("{}:{:02} h", minutes / 60, minutes % 60);
    }
    if seconds >= 60.0 {
        let whole = seconds.round() as i64;
        return format!("{}:{:02}", whole / 60, whole % 60);
    }
    format!("{} s", (seconds * 100.0).round() / 100.0)
}

fn open(height: f64, label: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">")
}

/// As many segments as are drawn.
fn thinned(segments: &[SegmentReport]) -> impl Iterator<Item = &SegmentReport> {
    segments.iter().step_by(segments.len().div_ceil(MOST).max(1))
}

fn colour(n: usize) -> String {
    format!("var(--c{})", n % COLOURS)
}

/// Bit rate of each segment over time, with what is declared.
pub(super) fn rates(all: &[&RenditionReport]) -> String {
    let (top, bottom, height) = (10.0, 290.0, 316.0);
    let mut out = open(height, "Bit rate of each segment over time");
    let bits = |segment: &SegmentReport| {
        if segment.duration > 0.0 { segment.bytes as f64 * 8.0 / segment.duration } else { 0.0 }
    };
    let declared = all.iter().filter_map(|one| one.bandwidth).map(|rate| rate as f64);
    let most = all.iter().flat_map(|one| one.segments.iter().map(bits)).chain(declared).fold(1.0, f64::max) * 1.08;
    let across = Across::of(all, |segment| segment.start);
    let y = |bits: f64| bottom - bits / most * (bottom - top);
    across.axis(top, bottom, &mut out);
    let step = nice(most / 5.0);
    let mut at = 0.0;
    while at < most {
        let line = y(at);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{line:.1}\" y2=\"{line:.1}\"/>",
            WIDTH - RIGHT
        );
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            line + 4.0,
            if at > 0.0 { short(at) } else { "0".to_owned() }
        );
        at += step;
    }
    for (n, one) in all.iter().enumerate() {
        let mut path = String::new();
        for segment in thinned(&one.segments) {
            let command = if path.is_empty() { 'M' } else { 'L' };
            let (x1, x2, y) = (across.x(segment.start), across.x(segment.start + segment.duration), y(bits(segment)));
            let _ = write!(path, "{command}{x1:.1} {y:.1}H{x2:.1}");
        }
        let _ = write!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-linejoin=\"round\"/>",
            colour(n)
        );
        for (rate, dash) in [(one.bandwidth, "8 5"), (one.average_bandwidth, "2 4")] {
            let Some(line) = rate.map(|rate| y(rate as f64)) else { continue };
            let _ = write!(
                out,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{line:.1}\" y2=\"{line:.1}\" stroke=\"{}\" stroke-width=\"1.2\" stroke-dasharray=\"{dash}\"/>",
                WIDTH - RIGHT,
                colour(n)
            );
        }
    }
    out.push_str("</svg>");
    out
}

/// A bit rate on an axis.
fn short(bits: f64) -> String {
    if bits >= 1e6 { format!("{} Mbit/s", (bits / 1e4).round() / 100.0) } else { rate(Some(bits as u64)) }
}

/// The segments of all renditions under each other, with their key frames.
pub(super) fn cuts(all: &[&RenditionReport]) -> String {
    let row = 34.0;
    let (top, bottom) = (6.0, 6.0 + row * all.len() as f64);
    let mut out = open(bottom + 24.0, "Cuts and key frames of the renditions");
    let clock = |segment: &SegmentReport| segment.clock.unwrap_or(segment.start);
    let across = Across::of(all, clock);
    across.axis(top, bottom, &mut out);
    for (n, one) in all.iter().enumerate() {
        let y = top + row * n as f64 + 5.0;
        let name: String = one.playlist.split('/').next().unwrap_or_default().chars().take(11).collect();
        let _ = write!(
            out,
            "<text class=\"name\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 16.0,
            text(&name)
        );
        let (mut boxes, mut breaks, mut keys) = (String::new(), String::new(), String::new());
        for segment in thinned(&one.segments) {
            let start = clock(segment);
            let (x1, x2) = (across.x(start), across.x(start + segment.measured.unwrap_or(segment.duration)));
            let _ = write!(boxes, "M{x1:.1} {y:.1}H{x2:.1}V{:.1}H{x1:.1}Z", y + 24.0);
            if segment.discontinuity {
                let _ = write!(breaks, "M{x1:.1} {:.1}V{:.1}", y - 3.0, y + 27.0);
            }
            // Where boxes are narrow, ticks would be one blot.
            if x2 - x1 > 6.0 && one.segments.len() <= MOST {
                for key in segment.keys.iter().take(60) {
                    let _ = write!(keys, "M{:.1} {:.1}V{:.1}", across.x(start + key), y + 12.0, y + 24.0);
                }
            }
        }
        let colour = colour(n);
        let _ = write!(
            out,
            "<path d=\"{boxes}\" fill=\"{colour}\" fill-opacity=\".16\" stroke=\"{colour}\" stroke-width=\"1\"/>"
        );
        let _ = write!(out, "<path d=\"{keys}\" stroke=\"{colour}\" stroke-width=\"1.6\"/>");
        let _ = write!(out, "<path d=\"{breaks}\" stroke=\"var(--bad)\" stroke-width=\"3\"/>");
    }
    out.push_str("</svg>");
    out
}

/// How much longer audio lasts than video at the end of each segment.
pub(super) fn audio(all: &[&RenditionReport]) -> String {
    let (top, bottom) = (10.0, 210.0);
    let mut out = open(236.0, "Audio against video at the cuts");
    let leads = all.iter().flat_map(|one| &one.segments).filter_map(|segment| segment.audio_lead);
    let most = leads.map(f64::abs).fold(0.02, f64::max) * 1.15;
    let across = Across::of(all, |segment| segment.start);
    let y = |seconds: f64| top + (most - seconds) / (2.0 * most) * (bottom - top);
    across.axis(top, bottom, &mut out);
    let step = nice(most / 2.5);
    let mut at = -(most / step).floor() * step;
    while at <= most {
        let line = y(at);
        let width = if at.abs() < step / 2.0 { 2 } else { 1 };
        let _ = write!(
            out,
            "<line class=\"grid\" style=\"stroke-width:{width}\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{line:.1}\" y2=\"{line:.1}\"/>",
            WIDTH - RIGHT
        );
        let milliseconds = (at * 1e3).round();
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{} ms</text>",
            LEFT - 8.0,
            line + 4.0,
            if milliseconds == 0.0 { 0.0 } else { milliseconds }
        );
        at += step;
    }
    for (n, one) in all.iter().enumerate() {
        let mut path = String::new();
        let mut dots = String::new();
        // Those drawn later lie on those drawn before, often at the same place: the first are the widest.
        let under = (all.len() - 1 - n).min(4) as f64;
        for segment in thinned(&one.segments) {
            let Some(lead) = segment.audio_lead else { continue };
            let (x, y) = (across.x(segment.start + segment.duration), y(lead));
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { 'M' } else { 'L' });
            if one.segments.len() <= 200 {
                let _ = write!(
                    dots,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{:.1}\" fill=\"{}\"/>",
                    3.0 + 1.7 * under,
                    colour(n)
                );
            }
        }
        let _ = write!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{:.1}\"/>{dots}",
            colour(n),
            1.5 + 1.7 * under
        );
    }
    out.push_str("</svg>");
    out
}
