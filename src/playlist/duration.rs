//! Segment durations: rounded so that they add up, and the target duration over them (spec 1.3).

use std::fmt;

use crate::playlist::version::Version;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// A segment's duration in whole microseconds: exactly what EXTINF prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SegmentDuration(u64);

impl SegmentDuration {
    /// A duration of `micros` microseconds.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }
}

/// Seconds with six decimals.
impl fmt::Display for SegmentDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / MICROS_PER_SECOND, self.0 % MICROS_PER_SECOND)
    }
}

/// Durations of contiguous segments from where each ends, in ticks of 90 kHz after the start of the first.
///
/// The cumulative times are rounded and their differences given, so every contiguous sum is within 1 us of the truth
/// (DUR-003). An end that lies before the one before it (or before the start) gives a duration of zero.
#[must_use]
pub fn round_durations(ends: &[i64]) -> Vec<SegmentDuration> {
    let mut before = 0;
    ends.iter()
        .map(|&ticks| {
            // 1 tick is 100/9 us. Nine is odd, so there are no ties to decide.
            let micros = (i128::from(ticks.max(0)) * 100 + 4) / 9;
            let end = u64::try_from(micros).unwrap_or(u64::MAX).max(before);
            SegmentDuration(end - std::mem::replace(&mut before, end))
        })
        .collect()
}

/// EXT-X-TARGETDURATION in seconds for segments of these printed durations (DUR-012), at least 1 (DUR-006).
///
/// Up to version 5 the longest is rounded up, because the tag then meant the maximum itself (VER-06b); from version 6 it is
/// rounded to the nearest, ties up (AMB-01).
#[must_use]
pub fn target_duration(durations: impl IntoIterator<Item = SegmentDuration>, version: Version) -> u64 {
    let longest = durations.into_iter().max().unwrap_or_default();
    rounded_seconds(longest, version).max(1)
}

/// The whole seconds that a segment of `duration` needs as target duration.
pub(crate) fn rounded_seconds(duration: SegmentDuration, version: Version) -> u64 {
    if version.number() <= 5 {
        duration.0.div_ceil(MICROS_PER_SECOND)
    } else {
        duration.0 / MICROS_PER_SECOND + u64::from(duration.0 % MICROS_PER_SECOND >= MICROS_PER_SECOND / 2)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::playlist::version::Feature;

    #[test]
    fn target_durations_follow_the_version() {
        let six = Version::required([Feature::Map]);
        let three = Version::required([Feature::FloatDuration]);
        let of = |micros: u64, version| target_duration([SegmentDuration(1), SegmentDuration(micros)], version);
        for (micros, old, new) in [
            (6_000_000, 6, 6),
            (6_000_001, 7, 6),
            (6_006_000, 7, 6),
            (6_499_999, 7, 6),
            (6_500_000, 7, 7),
            (100_000, 1, 1),
        ] {
            assert_eq!((of(micros, three), of(micros, six)), (old, new), "{micros}");
        }
        assert_eq!(target_duration([], three), 1);
        assert_eq!(target_duration([SegmentDuration(u64::MAX)], three), u64::MAX / MICROS_PER_SECOND + 1);
    }

    #[test]
    fn durations_round_cumulatively() {
        // 1001/30000 s a frame, 180 frames a segment: 540540 ticks, 6.006 s exactly.
        assert_eq!(round_durations(&[540_540, 1_081_080]), [SegmentDuration(6_006_000); 2]);
        // One tick is 11.11 us: ends at 11, 22, 33, 44, 56 us.
        let micros: Vec<u64> = round_durations(&[1, 2, 3, 4, 5]).into_iter().map(SegmentDuration::micros).collect();
        assert_eq!(micros, [11, 11, 11, 11, 12]);
        // Ends that go back give nothing and take nothing from what follows.
        assert_eq!(round_durations(&[90_000, 45_000, 180_000]), [1_000_000, 0, 1_000_000].map(SegmentDuration));
        assert_eq!(round_durations(&[-1, i64::MIN]), [SegmentDuration(0); 2]);
        assert_eq!(round_durations(&[i64::MAX]), [SegmentDuration(u64::MAX)]);
    }

    proptest! {
        #[test]
        fn every_contiguous_sum_of_durations_is_within_a_microsecond(
            lengths in prop::collection::vec(1_i64..2_000_000, 1..60),
        ) {
            let mut ends: Vec<i64> = Vec::new();
            for length in lengths {
                ends.push(ends.last().copied().unwrap_or(0) + length);
            }
            let durations = round_durations(&ends);
            prop_assert_eq!(durations.len(), ends.len());
            for from in 0..ends.len() {
                let start = if from == 0 { 0 } else { ends[from - 1] };
                let mut sum = 0_i64;
                for to in from..ends.len() {
                    sum += durations[to].micros() as i64;
                    // |sum - ticks * 100 / 9| <= 1, times 9.
                    prop_assert!((sum * 9 - (ends[to] - start) * 100).abs() <= 9);
                }
            }
        }

        #[test]
        fn rounding_never_panics(ends in prop::collection::vec(any::<i64>(), 0..20)) {
            let durations = round_durations(&ends);
            prop_assert_eq!(durations.len(), ends.len());
        }
    }
}
