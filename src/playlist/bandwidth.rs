//! BANDWIDTH and AVERAGE-BANDWIDTH of a media playlist, from the sizes of its (encrypted) segments (spec MVP-003, MVP-004).

const MICROS_PER_SECOND: u64 = 1_000_000;

/// The peak segment bit rate in bits per second, rounded up (MVP-003).
///
/// `segments` are (bytes as stored, printed duration in microseconds), `target_duration` is in seconds. The peak is the highest
/// rate of any contiguous run that lasts between half and one and a half target durations plus 0.5 s (AMB-17). A segment that
/// is in no such run is counted with as many of its neighbours as make half a target duration, on either side; when the
/// whole playlist is shorter than that, it is one run (AMB-18).
///
/// Takes time in the number of segments times the number that fit in the longest run.
#[must_use]
pub fn peak(segments: &[(u64, u64)], target_duration: u64) -> u64 {
    let shortest = target_duration.saturating_mul(MICROS_PER_SECOND) / 2;
    let longest = shortest.saturating_mul(3).saturating_add(MICROS_PER_SECOND / 2);
    let whole = sums(segments.iter()).last().unwrap_or_default();
    if whole.micros < u128::from(shortest) {
        return whole.rate();
    }
    let mut peak = 0;
    // Segments before this index are in some run, or were counted as those that are in none.
    let mut counted = 0;
    for start in 0..segments.len() {
        let tail = segments.get(start..).unwrap_or_default();
        for (length, run) in (1..).zip(sums(tail.iter())) {
            if run.micros > u128::from(longest) {
                break;
            }
            if run.micros >= u128::from(shortest) {
                peak = peak.max(run.rate());
                // Runs that start later end later: nothing before `start` that is not counted yet will be in one.
                count_alone(segments, counted..start, shortest, &mut peak);
                counted = counted.max(start + length);
            }
        }
    }
    count_alone(segments, counted..segments.len(), shortest, &mut peak);
    peak
}

/// The average segment bit rate in bits per second, rounded up (MVP-004). `segments` as for [`peak`].
#[must_use]
pub fn average(segments: &[(u64, u64)]) -> u64 {
    sums(segments.iter()).last().unwrap_or_default().rate()
}

/// Counts each segment of `alone`, which is in no run of the regular length, with its neighbours to the right and to the left.
fn count_alone(segments: &[(u64, u64)], alone: std::ops::Range<usize>, shortest: u64, peak: &mut u64) {
    for index in alone {
        let long_enough = |run: &Run| run.micros >= u128::from(shortest);
        let right = sums(segments.iter().skip(index)).find(long_enough);
        let left = sums(segments.iter().take(index + 1).rev()).find(long_enough);
        *peak = right.iter().chain(&left).map(|run| run.rate()).fold(*peak, u64::max);
    }
}

/// Some contiguous segments together.
#[derive(Clone, Copy, Default)]
struct Run {
    bytes: u128,
    micros: u128,
}

impl Run {
    /// Bits per second, rounded up. A run of no duration counts as one microsecond.
    fn rate(self) -> u64 {
        let rate = (self.bytes * 8 * u128::from(MICROS_PER_SECOND)).div_ceil(self.micros.max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

/// The runs of the first one, two, three ... of `segments`.
fn sums<'a>(segments: impl Iterator<Item = &'a (u64, u64)>) -> impl Iterator<Item = Run> {
    segments.scan(Run::default(), |run, &(bytes, micros)| {
        run.bytes += u128::from(bytes);
        run.micros += u128::from(micros);
        Some(*run)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: u64 = MICROS_PER_SECOND;

    #[test]
    fn equal_segments_have_one_rate() {
        let segments = [(750_000, 6 * S); 10];
        assert_eq!(peak(&segments, 6), 1_000_000);
        assert_eq!(average(&segments), 1_000_000);
    }

    #[test]
    fn the_peak_is_of_runs_not_of_short_segments() {
        // 2 s alone is under half of 6 s: it counts with a neighbour. 2 + 6 = 8 s is within 9.5 s.
        let segments = [(600_000, 6 * S), (600_000, 6 * S), (1_000_000, 2 * S)];
        assert_eq!(peak(&segments, 6), 1_600_000);
        assert_eq!(average(&segments), 2_200_000_u64 * 8 / 14 + 1);
    }

    #[test]
    fn the_upper_end_of_a_run_has_half_a_second_more() {
        // 1.5 + 6.5 + 1.5 s is the longest run for 6 s (AMB-17); one microsecond more, and only two of them make a run.
        let segments = |micros| [(1_000_000, 1_500_000), (0, micros), (1_000_000, 1_500_000)];
        assert_eq!(peak(&segments(6_500_000), 6), 1_684_211);
        assert_eq!(peak(&segments(6_500_001), 6), 1_000_000);
    }

    #[test]
    fn a_segment_that_fits_no_run_still_counts() {
        // 20 s fits no run of 6 s; nor does the 1 s beside it.
        assert_eq!(peak(&[(20_000_000, 20 * S), (1_000_000, S)], 6), 8_000_000);
        assert_eq!(peak(&[(2_000_000, 20 * S), (10_000_000, S)], 6), 4_571_429);
        assert_eq!(peak(&[(10_000_000, S), (2_000_000, 20 * S)], 6), 4_571_429);
    }

    #[test]
    fn a_short_playlist_is_one_run() {
        assert_eq!(peak(&[(100, S), (300, S)], 10), 1600);
        assert_eq!(peak(&[], 6), 0);
        assert_eq!(average(&[]), 0);
    }

    #[test]
    fn odd_numbers_do_not_overflow() {
        assert_eq!(peak(&[(u64::MAX, u64::MAX), (u64::MAX, 0)], u64::MAX), 16_000_000);
        assert_eq!(peak(&[(u64::MAX, 1)], 1), u64::MAX);
        assert_eq!(average(&[(1, 0)]), 8_000_000);
    }

    /// The definition, word for word: every run, then every segment that is in none.
    fn brute_force(segments: &[(u64, u64)], target_duration: u64) -> u64 {
        let (low, high) = (target_duration * S / 2, target_duration * S * 3 / 2 + S / 2);
        let total = |from: usize, to: usize| {
            let bytes: u64 = segments[from..=to].iter().map(|s| s.0).sum();
            let micros: u64 = segments[from..=to].iter().map(|s| s.1).sum();
            (bytes, micros)
        };
        let rate = |(bytes, micros): (u64, u64)| (bytes * 8 * S).div_ceil(micros.max(1));
        let n = segments.len();
        let mut peak = 0;
        let mut covered = vec![false; n];
        for from in 0..n {
            for to in from..n {
                let run = total(from, to);
                if (low..=high).contains(&run.1) {
                    peak = peak.max(rate(run));
                    covered[from..=to].fill(true);
                }
            }
        }
        for index in (0..n).filter(|&index| !covered[index]) {
            let right = (index..n).map(|to| total(index, to)).find(|run| run.1 >= low);
            let left = (0..=index).rev().map(|from| total(from, index)).find(|run| run.1 >= low);
            let runs: Vec<_> = right.into_iter().chain(left).collect();
            let runs = if runs.is_empty() { vec![total(0, n - 1)] } else { runs };
            peak = runs.into_iter().map(rate).fold(peak, u64::max);
        }
        peak
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn the_peak_is_what_brute_force_finds(
            segments in prop::collection::vec((0_u64..100_000, 0_u64..14_000_000), 0..14),
            target in 1_u64..12,
        ) {
            prop_assert_eq!(peak(&segments, target), brute_force(&segments, target));
        }
    }
}
