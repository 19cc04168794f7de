//! The segments of one playlist after one another: clocks, counters, durations, parameters.

use super::facts::{Seen, Stream, Ts};
use super::finding::{Findings, Place};
use super::model::{Media, Segment};
use super::rule::timeline as rule;
use crate::time::{Instant90, Stamp};

/// Ticks of 90 kHz in a second.
const SECOND: f64 = 90_000.0;

/// What a segment really is on the clock of its playlist.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// First presentation time, in ticks unwrapped along the playlist.
    pub start: Option<i64>,
    /// Seconds to the next segment's start, or to its own end.
    pub duration: Option<f64>,
    /// Whether nothing follows that would tell where it ends.
    pub last: bool,
    /// Key frames, in seconds from the segment's start.
    pub keys: Vec<f64>,
    /// Seconds by which audio lasts longer than video at the end of the segment.
    pub audio_lead: Option<f64>,
    /// Length of a picture, or of an audio frame, in seconds.
    pub frame: f64,
}

/// First presentation time of a segment, on its own clock (DUR-004: video before audio).
fn anchor(ts: &Ts) -> Option<i64> {
    ts.video().and_then(|video| video.first).or(ts.audio().and_then(|audio| audio.first))
}

fn end(ts: &Ts) -> Option<i64> {
    match ts.video() {
        Some(video) => video.end(),
        None => ts.audio().filter(|audio| audio.first.is_some()).map(|audio| audio.end),
    }
}

fn frame(ts: &Ts) -> f64 {
    let ticks = match (ts.video(), ts.audio()) {
        (Some(video), _) => video.step,
        (None, Some(audio)) => audio.frame(),
        (None, None) => 0,
    };
    // Of a single picture nothing is known.
    if ticks > 0 { ticks as f64 / SECOND } else { 0.05 }
}

/// The distance from `a` to `b`, both of them ticks of clocks that wrap at 33 bits.
fn since(b: i64, a: i64) -> i64 {
    Stamp::wrapping(b as u64).since(Stamp::wrapping(a as u64)).ticks()
}

/// Measures every segment.
#[must_use]
pub fn measure(playlist: &Media, seen: &[Option<Seen>]) -> Vec<Measured> {
    let ts = |n: usize| seen.get(n).and_then(|seen| seen.as_ref()?.ts.as_ref());
    let mut clock: Option<Instant90> = None;
    let mut out = Vec::new();
    for (n, segment) in playlist.segments.iter().enumerate() {
        let Some(now) = ts(n) else {
            out.push(Measured::default());
            continue;
        };
        let Some(start) = anchor(now) else {
            out.push(Measured { frame: frame(now), ..Measured::default() });
            continue;
        };
        let stamp = Stamp::wrapping(start as u64);
        let time = match clock {
            Some(clock) if !segment.discontinuity => clock.nearest(stamp),
            _ => Instant90::from_ticks(stamp.value() as i64),
        };
        clock = Some(time);
        let follows = playlist.segments.get(n + 1).is_some_and(|next| !next.discontinuity && !next.gap);
        let next = ts(n + 1).filter(|_| follows).and_then(anchor);
        let duration = next.map(|next| since(next, start)).or_else(|| Some(end(now)? - start));
        let seconds = |ticks: i64| ticks as f64 / SECOND;
        let keys =
            now.video().map(|video| video.keys.iter().map(|key| seconds(key - start)).collect()).unwrap_or_default();
        let audio_lead = match (now.video().and_then(super::facts::Video::end), now.audio()) {
            (Some(video), Some(audio)) if audio.first.is_some() => Some(seconds(since(audio.end, video))),
            _ => None,
        };
        out.push(Measured {
            start: Some(time.ticks()),
            duration: duration.map(seconds),
            last: next.is_none(),
            keys,
            audio_lead,
            frame: frame(now),
        });
    }
    out
}

/// Checks a playlist's segments against one another and against EXTINF.
pub fn check(resource: &str, playlist: &Media, seen: &[Option<Seen>], measured: &[Measured], findings: &mut Findings) {
    let ts = |n: usize| seen.get(n).and_then(|seen| seen.as_ref()?.ts.as_ref());
    for (n, segment) in playlist.segments.iter().enumerate() {
        let place = || Place::of(resource).line(segment.line).segment(segment.number).time(segment.start);
        if let (Some(now), Some(times)) = (ts(n), measured.get(n)) {
            alone(playlist, segment, now, times, findings, &place);
        }
        // A part that was not looked at, or is not there, breaks the chain.
        if let (Some(before), Some(now)) = (n.checked_sub(1).and_then(ts), ts(n)) {
            pair(segment, before, now, findings, &place);
        }
    }
    if playlist.version >= 3 || playlist.segments.iter().any(|segment| segment.duration.fract() != 0.0) {
        drift(resource, playlist, measured, findings);
    }
}

fn alone(
    playlist: &Media,
    segment: &Segment,
    now: &Ts,
    times: &Measured,
    findings: &mut Findings,
    place: &impl Fn() -> Place,
) {
    if let Some(duration) = times.duration {
        let off = (segment.duration - duration).abs();
        // How long the last picture or frame before an end lasts is not written anywhere.
        // Before version 3 EXTINF is whole seconds (R4.3.2.1).
        let whole = playlist.version < 3 && segment.duration.fract() == 0.0;
        let most = if whole {
            1.0
        } else if times.last {
            0.5
        } else {
            0.1
        };
        let seen = format!("EXTINF {}, measured {duration:.6}", segment.duration);
        if off > (2.0 * times.frame).max(most) {
            findings.add(&rule::EXTINF, place(), seen);
        } else if !whole && off > times.frame * 1.01 + 0.001 {
            findings.add(&rule::EXTINF_FRAME, place(), seen);
        }
        if let Some(target) = playlist.target
            && duration > target as f64 + 0.5 + times.frame
        {
            findings.add(&rule::TARGET_REAL, place(), format!("{duration:.3} s, EXT-X-TARGETDURATION {target}"));
        }
    }
    if let (Some(video), Some(audio)) = (now.video(), now.audio())
        && let (Some(picture), Some(sound)) = (video.first, audio.first)
    {
        let apart = since(sound, picture) as f64 / SECOND;
        if apart.abs() > 1.0 {
            findings.add(&rule::AUDIO_LATE, place(), format!("audio begins {apart:+.3} s from video"));
        }
    }
    let rate = now.video().map_or(0.0, |video| if video.step > 0 { SECOND / video.step as f64 } else { 0.0 });
    if rate > 60.5 {
        findings.add(&rule::RATE_HIGH, place(), format!("{rate:.3}"));
    }
}

fn pair(segment: &Segment, before: &Ts, now: &Ts, findings: &mut Findings, place: &impl Fn() -> Place) {
    let mut continuous = true;
    if let (Some(end), Some(start)) = (end(before), anchor(now)) {
        let jump = since(start, end) as f64 / SECOND;
        let frame = frame(before);
        let (gap, overlap) = (jump > (3.0 * frame).max(0.5), -jump > (2.0 * frame).max(0.1));
        continuous = jump.abs() <= frame * 1.01 + 0.001;
        if !segment.discontinuity && gap {
            findings.add(&rule::GAP, place(), format!("{jump:+.3} s"));
        } else if !segment.discontinuity && overlap {
            findings.add(&rule::OVERLAP, place(), format!("{jump:+.3} s"));
        } else if !segment.discontinuity {
            sound(before, now, findings, place);
        }
    }
    let counters = counters(before, now);
    let changes = changes(before, now);
    if segment.discontinuity {
        if continuous && counters.is_none() && changes.is_none() {
            findings.add(&rule::NEEDLESS, place(), "clocks, counters and parameters go on");
        }
        return;
    }
    if let Some((pid, seen)) = counters {
        findings.add(&rule::CONTINUITY, place().pid(pid), seen);
    }
    if let Some((rule, seen)) = changes {
        findings.add(rule, place(), seen);
    }
}

fn sound(before: &Ts, now: &Ts, findings: &mut Findings, place: &impl Fn() -> Place) {
    for stream in &before.streams {
        let same = now.streams.iter().find(|other| other.pid == stream.pid);
        let (Some(a), Some(b)) = (&stream.audio, same.and_then(|stream| stream.audio.as_ref())) else { continue };
        let (Some(_), Some(first)) = (a.first, b.first) else { continue };
        let off = since(first, a.end);
        // Stamps are often rounded to milliseconds.
        let frame = a.frame() + a.frame() / 2 + 180;
        if off.abs() > frame && a.frame() > 0 {
            let rule = if off > 0 { &rule::AUDIO_GAP } else { &rule::AUDIO_OVERLAP };
            findings.add(rule, place().pid(stream.pid), format!("{:+.1} ms", off as f64 / 90.0));
        }
    }
}

/// The first PID whose counter does not go on.
fn counters(before: &Ts, now: &Ts) -> Option<(u16, String)> {
    now.streams.iter().filter(|stream| stream.pid != 0x1fff).find_map(|stream| {
        let last = before.streams.iter().find(|other| other.pid == stream.pid)?.last_counter;
        let first = stream.first?;
        let due = if first.payload { (last + 1) & 0x0f } else { last };
        let good = first.signalled || first.counter == due || first.counter == last;
        (!good).then(|| (stream.pid, format!("{} follows, {due} was due", first.counter)))
    })
}

/// What changes that needs a discontinuity.
fn changes(before: &Ts, now: &Ts) -> Option<(&'static super::rule::Rule, String)> {
    let listed = |ts: &Ts| {
        ts.pmt.as_ref().map(|pmt| pmt.streams.iter().map(|s| (s.pid.value(), s.stream_type.0)).collect::<Vec<_>>())
    };
    if let (Some(a), Some(b)) = (listed(before), listed(now))
        && a != b
    {
        return Some((&rule::STREAMS, format!("{} streams, then {}", a.len(), b.len())));
    }
    let video = |stream: &Stream| {
        let info = stream.video.as_ref()?.info.as_ref()?;
        Some((info.codecs.clone(), info.width, info.height, info.frame_rate.filter(|_| info.fixed_frame_rate)))
    };
    for stream in &now.streams {
        let Some(other) = before.streams.iter().find(|other| other.pid == stream.pid) else { continue };
        if let (Some(a), Some(b)) = (video(other), video(stream))
            && a != b
        {
            return Some((&rule::PARAMETERS, format!("{} {}x{}, then {} {}x{}", a.0, a.1, a.2, b.0, b.1, b.2)));
        }
        let info = |stream: &Stream| stream.audio.as_ref().and_then(|audio| audio.info.clone());
        if let (Some(a), Some(b)) = (info(other), info(stream))
            && !a.same_configuration(&b)
        {
            return Some((
                &rule::PARAMETERS,
                format!(
                    "{} {} Hz {} channels, then {} {} Hz {}",
                    a.codecs, a.sample_rate, a.channels, b.codecs, b.sample_rate, b.channels
                ),
            ));
        }
    }
    None
}

/// Sums of EXTINF against the clock, from each discontinuity on. Told where it begins to be too much.
fn drift(resource: &str, playlist: &Media, measured: &[Measured], findings: &mut Findings) {
    let mut from: Option<(i64, f64)> = None;
    let mut told = false;
    for (segment, times) in playlist.segments.iter().zip(measured) {
        if segment.discontinuity {
            from = None;
            told = false;
        }
        let Some(start) = times.start else {
            continue;
        };
        let (clock, sum) = *from.get_or_insert((start, segment.start));
        let off = (segment.start - sum) - (start - clock) as f64 / SECOND;
        // A jump is told as one; this is for what adds up.
        if off.abs() > (2.0 * times.frame).max(0.1) && off.abs() < 30.0 && !told {
            told = true;
            let place = Place::of(resource).line(segment.line).segment(segment.number).time(segment.start);
            findings.add(&rule::DRIFT, place, format!("EXTINF sums up {off:+.3} s from the clock"));
        }
    }
}
