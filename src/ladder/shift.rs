//! One constant shift for each rendition, so that all lie on one clock.
//!
//! Encoders shift whole files: B frames move ffmpeg's by some tens of milliseconds, and separate encodes may begin
//! anywhere. The shift is estimated from the first key frames; whether it is right, the grid shows.

use crate::limits;
use crate::time::{Instant90, Span};

/// The first key frames of a rendition.
#[derive(Debug, Clone)]
pub struct FirstKeys {
    /// The input it comes from. Renditions of one input are on one clock already.
    pub input: usize,
    /// Presentation times, in the order of decoding.
    pub times: Vec<Instant90>,
}

/// The shift of each rendition, never negative. Renditions without key frames get none.
#[must_use]
pub fn estimate(renditions: &[FirstKeys]) -> Vec<Span> {
    // The one that starts last is the reference, so that nothing is moved below zero.
    let first = |rendition: &FirstKeys| rendition.times.first().copied();
    let Some(reference) = renditions.iter().filter(|r| !r.times.is_empty()).max_by_key(|r| first(r)) else {
        return vec![Span::ZERO; renditions.len()];
    };
    let shifts: Vec<Option<Span>> = renditions.iter().map(|rendition| between(reference, rendition)).collect();
    let lowest = shifts.iter().flatten().min().copied().unwrap_or(Span::ZERO);
    shifts.into_iter().map(|shift| shift.map_or(Span::ZERO, |shift| shift.minus(lowest))).collect()
}

fn between(reference: &FirstKeys, other: &FirstKeys) -> Option<Span> {
    let (start, own) = (reference.times.first()?, other.times.first()?);
    let near = |apart: &Span| apart.abs() <= limits::SHIFT_NEAR;
    let at_start = start.since(*own);
    if near(&at_start) {
        return Some(at_start);
    }
    // Not the same start: perhaps the same clock, joined at another key frame.
    let pairs = reference.times.iter().flat_map(|a| other.times.iter().map(move |b| a.since(*b)));
    match pairs.min_by_key(|apart| apart.abs()).filter(near) {
        Some(apart) => Some(apart),
        None if reference.input == other.input => Some(Span::ZERO),
        None => Some(at_start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(input: usize, seconds: &[f64]) -> FirstKeys {
        let times = seconds.iter().map(|s| Instant90::from_ticks((s * 90_000.0).round() as i64)).collect();
        FirstKeys { input, times }
    }

    fn shifts(renditions: &[FirstKeys]) -> Vec<f64> {
        estimate(renditions).iter().map(|shift| (shift.seconds() * 1000.0).round() / 1000.0).collect()
    }

    #[test]
    fn b_frames_shift_whole_files() {
        let got = shifts(&[keys(0, &[1.48, 3.48]), keys(1, &[1.44, 3.44]), keys(2, &[1.4, 3.4])]);
        assert_eq!(got, [0.0, 0.04, 0.08]);
    }

    #[test]
    fn separate_encodes_begin_anywhere() {
        assert_eq!(shifts(&[keys(0, &[1.4, 3.4]), keys(1, &[61.4, 63.4])]), [60.0, 0.0]);
    }

    #[test]
    fn one_clock_joined_at_different_key_frames_is_not_moved() {
        assert_eq!(shifts(&[keys(0, &[10.0, 12.0]), keys(0, &[12.0, 14.0])]), [0.0, 0.0]);
        assert_eq!(shifts(&[keys(0, &[10.0, 12.0]), keys(1, &[12.0, 14.0])]), [0.0, 0.0]);
    }

    #[test]
    fn audio_alone_is_not_moved() {
        assert_eq!(shifts(&[keys(0, &[1.4]), keys(1, &[])]), [0.0, 0.0]);
    }
}
