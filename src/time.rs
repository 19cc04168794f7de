//! The 90 kHz clock of MPEG-TS: raw 33-bit stamps, unwrapped instants, and lengths of time, as three types.

use std::fmt;

/// Ticks of the system clock's base in one second (ISO/IEC 13818-1 2.4.2.1).
pub const TICKS_PER_SECOND: i64 = 90_000;

/// A raw PTS, DTS or PCR base: 33 bits at 90 kHz, wrapping every 26.5 hours (spec TS-021).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp(u64);

impl Stamp {
    /// The number of different stamps: 2^33.
    pub const MODULUS: u64 = 1 << 33;

    /// Keeps the low 33 bits of `value`.
    #[must_use]
    pub const fn wrapping(value: u64) -> Self {
        Self(value & (Self::MODULUS - 1))
    }

    /// The 33-bit value in ticks of 90 kHz.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// This stamp moved by `by`, modulo 2^33.
    #[must_use]
    pub const fn shifted(self, by: Span) -> Self {
        Self::wrapping(self.0.wrapping_add_signed(by.0))
    }

    /// The shortest signed distance from `earlier` to this stamp, within half a wrap (13.25 h) either way.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        let forward = Self::wrapping(self.0.wrapping_sub(earlier.0)).0 as i64;
        if forward >= (Self::MODULUS / 2) as i64 { Span(forward - Self::MODULUS as i64) } else { Span(forward) }
    }
}

/// An instant on an unwrapped timeline, in ticks of 90 kHz. May be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant90(i64);

impl Instant90 {
    /// The instant of `ticks` (90 kHz).
    #[must_use]
    pub const fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// Ticks of 90 kHz since the timeline's zero.
    #[must_use]
    pub const fn ticks(self) -> i64 {
        self.0
    }

    /// This instant moved by `by`; sticks at the ends of the range.
    #[must_use]
    pub const fn plus(self, by: Span) -> Self {
        Self(self.0.saturating_add(by.0))
    }

    /// The signed length of time from `earlier` to this instant.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// The stamp that this instant has in the stream (modulo 2^33).
    #[must_use]
    pub const fn stamp(self) -> Stamp {
        Stamp::wrapping(self.0 as u64)
    }

    /// Unwraps `stamp` to the instant nearest to this one.
    #[must_use]
    pub const fn nearest(self, stamp: Stamp) -> Self {
        self.plus(stamp.since(self.stamp()))
    }

    /// Seconds since the timeline's zero.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / TICKS_PER_SECOND as f64
    }
}

/// A signed length of time in ticks of 90 kHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(i64);

impl Span {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// A length of `ticks` (90 kHz).
    #[must_use]
    pub const fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// A length of `seconds`, rounded to the nearest tick; out-of-range values stick at the ends.
    #[must_use]
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * TICKS_PER_SECOND as f64).round() as i64)
    }

    /// Ticks of 90 kHz.
    #[must_use]
    pub const fn ticks(self) -> i64 {
        self.0
    }

    /// Seconds.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / TICKS_PER_SECOND as f64
    }

    /// The length without its sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// The sum, sticking at the ends of the range.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, sticking at the ends of the range.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The opposite length.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.seconds())
    }
}

impl fmt::Display for Instant90 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_measure_over_the_wrap() {
        let before = Stamp::wrapping(Stamp::MODULUS - 10);
        let after = Stamp::wrapping(20);
        assert_eq!(after.since(before), Span::from_ticks(30));
        assert_eq!(before.since(after), Span::from_ticks(-30));
        assert_eq!(before.shifted(Span::from_ticks(30)), after);
        assert_eq!(after.shifted(Span::from_ticks(-30)), before);
    }

    #[test]
    fn instants_unwrap_to_the_nearest() {
        let now = Instant90::from_ticks(Stamp::MODULUS as i64 * 3 - 5);
        assert_eq!(now.nearest(Stamp::wrapping(5)).ticks(), Stamp::MODULUS as i64 * 3 + 5);
        assert_eq!(Instant90::from_ticks(-7).stamp(), Stamp::wrapping(Stamp::MODULUS - 7));
        assert_eq!(Instant90::from_ticks(0).nearest(Stamp::wrapping(Stamp::MODULUS - 7)).ticks(), -7);
    }
}
