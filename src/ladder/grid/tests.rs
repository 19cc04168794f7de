//! The grid on films described by their pictures. Each is given in several orders, which must not matter.

use proptest::prelude::*;

use super::*;

const PICTURES_AHEAD: u64 = 1 << 40;

/// A film: the pictures of one member, in the order of decoding.
type Film = Vec<Unit>;

fn ticks(seconds: f64) -> i64 {
    (seconds * 90_000.0).round() as i64
}

fn at(seconds: f64) -> EpochTime {
    EpochTime { epoch: 0, time: Instant90::from_ticks(ticks(seconds)) }
}

/// `seconds` of pictures from `start` on, with a key frame at each of `keys`.
fn film(rate: f64, start: f64, seconds: f64, keys: &[f64], access: Access) -> Film {
    let count = (seconds * rate).round() as usize;
    let step = Span::from_seconds(1.0 / rate);
    let picture = |number: usize| {
        let time = start + number as f64 / rate;
        let is_key = keys.iter().any(|key| (key - time).abs() < 0.5 / rate);
        Unit {
            offset: number as u64 * 188,
            at: at(time),
            decode: at(time).time,
            duration: step,
            access: if is_key { access } else { Access::None },
            breaks: false,
        }
    };
    (0..count).map(picture).collect()
}

/// Key frames every `gop` seconds.
fn every(gop: f64, start: f64, seconds: f64) -> Vec<f64> {
    (0..(seconds / gop).ceil() as usize).map(|number| start + number as f64 * gop).collect()
}

fn regular(rate: f64, gop: f64, seconds: f64) -> Film {
    film(rate, 0.0, seconds, &every(gop, 0.0, seconds), Access::Clean)
}

/// Moves a film to `start` and shifts nothing.
fn moved(mut film: Film, by: f64) -> Film {
    for unit in &mut film {
        unit.at.time = unit.at.time.plus(Span::from_seconds(by));
        unit.decode = unit.decode.plus(Span::from_seconds(by));
    }
    film
}

fn change(film: &mut Film, time: f64, change: impl FnOnce(&mut Unit)) {
    let unit = film.iter_mut().find(|unit| (unit.at.time.seconds() - time).abs() < 0.005);
    change(unit.expect("a picture at that time"));
}

/// A jump at `time`: the clock begins again at `to`.
fn jump(film: &mut Film, time: f64, to: f64) {
    let by = Span::from_seconds(to - time);
    for unit in film.iter_mut().filter(|unit| unit.at.time.seconds() > time - 0.005) {
        unit.at = EpochTime { epoch: 1, time: unit.at.time.plus(by) };
        unit.decode = unit.decode.plus(by);
    }
    let first = film.iter_mut().find(|unit| unit.at.epoch == 1);
    first.expect("pictures behind the jump").breaks = true;
}

/// One cut: each member's time, the access, and whether it is a discontinuity.
type Told = (Vec<f64>, Access, bool);

struct Given {
    lead: Lead,
    target: f64,
    shifts: Vec<f64>,
    films: Vec<Film>,
}

impl Given {
    fn video(films: &[Film], target: f64) -> Self {
        Self { lead: Lead::Video, target, shifts: vec![0.0; films.len()], films: films.to_vec() }
    }

    fn audio(films: &[Film], target: f64) -> Self {
        Self { lead: Lead::Audio, ..Self::video(films, target) }
    }

    /// Gives each member up to `ahead` units before the next one, and decides after each turn.
    fn run(&self, ahead: usize) -> Result<Vec<Told>, String> {
        let policy = CutPolicy::for_target(Span::from_seconds(self.target));
        let named = |(number, shift): (usize, &f64)| (["a", "b", "c"][number].to_owned(), Span::from_seconds(*shift));
        let mut grid = Grid::new(policy, self.lead, self.shifts.iter().enumerate().map(named).collect());
        let mut rest: Vec<std::slice::Iter<'_, Unit>> = self.films.iter().map(|film| film.iter()).collect();
        let mut cuts = Vec::new();
        loop {
            for (member, units) in rest.iter_mut().enumerate() {
                units.by_ref().take(ahead).for_each(|unit| grid.unit(member, *unit));
                if units.len() == 0 {
                    grid.end(member);
                }
                while let Some(cut) = grid.decide().map_err(|error| error.to_string())? {
                    let times = cut.units.iter().map(|unit| (unit.at.time.seconds() * 1000.0).round() / 1000.0);
                    cuts.push((times.collect(), cut.access, cut.discontinuity));
                }
            }
            if rest.iter().all(|units| units.len() == 0) {
                return Ok(cuts);
            }
        }
    }

    /// The cuts, which are the same in whatever pieces the films come.
    fn cuts(&self) -> Result<Vec<Told>, String> {
        let whole = self.run(usize::MAX);
        for ahead in [1, 7, 40, 500] {
            let pieces = self.run(ahead);
            match (&whole, &pieces) {
                (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces, "{ahead} at a time"),
                (Err(_), Err(_)) => {}
                _ => panic!("{ahead} at a time: {pieces:?}, but all at once: {whole:?}"),
            }
        }
        whole
    }

    /// When the first member is cut.
    fn times(&self) -> Vec<f64> {
        self.cuts().expect("cuts").iter().map(|cut| cut.0[0]).collect()
    }

    fn refusal(&self) -> String {
        self.cuts().expect_err("a refusal")
    }
}

#[test]
fn one_rendition_is_cut_at_the_last_key_frame_within_the_target() {
    assert_eq!(Given::video(&[regular(25.0, 2.0, 20.0)], 6.0).times(), [0.0, 6.0, 12.0, 18.0]);
    assert_eq!(Given::video(&[regular(25.0, 5.0, 20.0)], 6.0).times(), [0.0, 5.0, 10.0, 15.0]);
    assert_eq!(Given::video(&[regular(25.0, 1.0, 9.0)], 4.0).times(), [0.0, 4.0, 8.0]);
}

#[test]
fn the_last_segment_may_take_the_slack() {
    // 6.4 s are left after the second cut: less than the target and its slack.
    assert_eq!(Given::video(&[regular(25.0, 2.0, 12.4)], 6.0).times(), [0.0, 6.0]);
    assert_eq!(Given::video(&[regular(25.0, 2.0, 12.6)], 6.0).times(), [0.0, 6.0, 12.0]);
}

#[test]
fn ntsc_rates_make_segments_a_little_longer_than_the_target() {
    let rate = 30_000.0 / 1001.0;
    let times = Given::video(&[regular(rate, 60.0 / rate, 20.0)], 6.0).times();
    assert_eq!(times, [0.0, 6.006, 12.012, 18.018]);
}

#[test]
fn a_single_rendition_waits_for_late_key_frames() {
    let keys = [0.0, 20.0, 21.0, 45.0];
    let one = film(10.0, 0.0, 50.0, &keys, Access::Clean);
    assert_eq!(Given::video(std::slice::from_ref(&one), 6.0).times(), [0.0, 20.0, 21.0, 45.0]);
    // Two of them are refused, with the key frames around the trouble.
    let refusal = Given::video(&[one.clone(), one], 6.0).refusal();
    assert!(refusal.contains("after 0.000 s no key frame is common") || refusal.contains("the last"), "{refusal}");
    assert!(refusal.contains("a: key frames at 0.000"), "{refusal}");
    // The same with all in hand at once, as small files are.
    let short = film(10.0, 0.0, 11.0, &[0.0, 10.0], Access::Clean);
    let refusal = Given::video(&[short.clone(), short], 6.0).refusal();
    assert!(refusal.contains("b: key frames at 0.000 10.000"), "{refusal}");
}

#[test]
fn scene_cuts_do_not_disturb() {
    let mut keys = every(2.0, 0.0, 20.0);
    keys.extend([0.4, 3.24, 5.88, 6.2, 17.0]);
    // 6.2 lies within the slack of one rendition, but is not in the other.
    let one = film(25.0, 0.0, 20.0, &keys, Access::Clean);
    assert_eq!(Given::video(&[one.clone(), regular(25.0, 2.0, 20.0)], 6.0).times(), [0.0, 6.0, 12.0, 18.0]);
    assert_eq!(Given::video(&[regular(25.0, 2.0, 20.0), one], 6.0).times(), [0.0, 6.0, 12.0, 18.0]);
}

#[test]
fn frame_rates_may_differ() {
    let films = [regular(25.0, 2.0, 20.0), regular(50.0, 2.0, 20.0), regular(12.5, 2.0, 20.0)];
    assert_eq!(Given::video(&films, 6.0).times(), [0.0, 6.0, 12.0, 18.0]);
    // Where only every second key frame is common, those are taken.
    let films = [regular(25.0, 2.0, 20.0), regular(25.0, 3.0, 20.0)];
    assert_eq!(Given::video(&films, 6.0).times(), [0.0, 6.0, 12.0, 18.0]);
    let films = [regular(25.0, 2.0, 21.0), regular(25.0, 4.0, 21.0)];
    assert_eq!(Given::video(&films, 6.0).times(), [0.0, 4.0, 8.0, 12.0, 16.0]);
}

#[test]
fn shifts_make_one_clock() {
    let films =
        [regular(25.0, 2.0, 20.0), moved(regular(25.0, 2.0, 20.0), -0.08), moved(regular(25.0, 2.0, 20.0), -0.04)];
    let given = Given { shifts: vec![0.0, 0.08, 0.04], ..Given::video(&films, 6.0) };
    let cuts = given.cuts().expect("cuts");
    assert_eq!(cuts[1].0, [6.0, 5.92, 5.96]);
    let refusal = Given::video(&films, 6.0).refusal();
    assert!(refusal.contains("b starts 0.080 s before a"), "{refusal}");
}

#[test]
fn a_wrap_lies_between_renditions_that_are_shifted() {
    let wrap = (1u64 << 33) as f64 / 90_000.0;
    let films = [moved(regular(25.0, 2.0, 10.0), wrap), regular(25.0, 2.0, 10.0)];
    assert_eq!(Given::video(&films, 4.0).cuts().expect("cuts").len(), 3);
}

#[test]
fn open_gops_serve_where_there_are_no_clean_ones() {
    let keys = every(2.0, 0.0, 20.0);
    let mut one = film(25.0, 0.0, 20.0, &keys, Access::Open);
    let cuts = Given::video(std::slice::from_ref(&one), 6.0).cuts().expect("cuts");
    assert!(cuts.iter().all(|cut| cut.1 == Access::Open));
    assert_eq!(cuts.iter().map(|cut| cut.0[0]).collect::<Vec<_>>(), [0.0, 6.0, 12.0, 18.0]);
    // A clean one is worth an earlier cut, or a longer segment.
    change(&mut one, 4.0, |unit| unit.access = Access::Clean);
    change(&mut one, 12.0, |unit| unit.access = Access::Clean);
    let given = Given::video(&[one.clone(), one.clone()], 6.0);
    assert_eq!(given.times(), [0.0, 4.0, 12.0, 18.0]);
    // The access of a cut is that of the worst.
    let mixed = Given::video(&[one, regular(25.0, 2.0, 20.0)], 6.0).cuts().expect("cuts");
    assert_eq!(
        mixed.iter().map(|cut| cut.1).collect::<Vec<_>>(),
        [Access::Open, Access::Clean, Access::Clean, Access::Open]
    );
}

#[test]
fn a_break_ends_a_segment_wherever_it_is() {
    let mut one = regular(25.0, 2.0, 20.0);
    change(&mut one, 8.0, |unit| unit.breaks = true);
    let cuts = Given::video(std::slice::from_ref(&one), 6.0).cuts().expect("cuts");
    let expected = [(0.0, false), (6.0, false), (8.0, true), (14.0, false)];
    assert_eq!(cuts.iter().map(|cut| (cut.0[0], cut.2)).collect::<Vec<_>>(), expected);
    // In all members, and in one of them at a key frame that all have.
    let plain = regular(25.0, 2.0, 20.0);
    for films in [[one.clone(), one.clone()], [one.clone(), plain.clone()], [plain.clone(), one.clone()]] {
        let cuts = Given::video(&films, 6.0).cuts().expect("cuts");
        assert_eq!(cuts.iter().map(|cut| (cut.0[0], cut.2)).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_break_far_behind_open_gops_does_not_swallow_them() {
    let mut one = film(25.0, 0.0, 40.0, &every(2.0, 0.0, 40.0), Access::Open);
    change(&mut one, 30.0, |unit| unit.breaks = true);
    let times = Given::video(std::slice::from_ref(&one), 6.0).times();
    assert_eq!(times, [0.0, 6.0, 12.0, 18.0, 24.0, 30.0, 36.0]);
}

#[test]
fn a_break_that_not_all_can_be_cut_at_is_refused() {
    let mut one = film(25.0, 0.0, 20.0, &[0.0, 2.0, 4.0, 6.0, 7.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0], Access::Clean);
    change(&mut one, 7.0, |unit| unit.breaks = true);
    let plain = regular(25.0, 2.0, 20.0);
    let refusal = Given::video(&[plain.clone(), one.clone()], 6.0).refusal();
    assert!(refusal.contains("the parameters of b change at 7.000 s"), "{refusal}");
    assert!(refusal.contains("  a: key frames at 6.000 8.000"), "{refusal}");
    assert!(refusal.contains("  b: key frames at 6.000 7.000 8.000"), "{refusal}");
    // Not even behind the last cut.
    one.truncate(8 * 25);
    let refusal = Given::video(&[plain[..8 * 25].to_vec(), one], 6.0).refusal();
    assert!(refusal.contains("the parameters of b change at 7.000 s"), "{refusal}");
}

#[test]
fn all_clocks_may_jump_together() {
    let (mut one, mut other) = (regular(25.0, 2.0, 20.0), regular(50.0, 2.0, 20.0));
    jump(&mut one, 8.0, 100.0);
    jump(&mut other, 8.0, 100.0);
    let cuts = Given::video(&[one.clone(), other], 6.0).cuts().expect("cuts");
    let told: Vec<_> = cuts.iter().map(|cut| (cut.0.clone(), cut.2)).collect();
    assert_eq!(told[2], (vec![100.0, 100.0], true));
    assert_eq!(told[3], (vec![106.0, 106.0], false));
    // If only one jumps, there is nothing in common behind it.
    Given::video(&[one, regular(50.0, 2.0, 20.0)], 6.0).refusal();
}

#[test]
fn members_that_start_apart_are_refused() {
    let films = [regular(25.0, 2.0, 20.0), moved(regular(25.0, 2.0, 20.0), 2.0)];
    let refusal = Given::video(&films, 6.0).refusal();
    assert!(refusal.contains("b starts 2.000 s after a"), "{refusal}");
    assert!(refusal.contains("  b: key frames at 2.000"), "{refusal}");
}

#[test]
fn members_that_end_apart_are_refused_beyond_one_target() {
    let long = regular(25.0, 2.0, 30.0);
    for (short, fits) in [(29.0, true), (26.0, true), (24.0, true), (22.0, false), (10.0, false), (5.0, false)] {
        for films in [[regular(25.0, 2.0, short), long.clone()], [long.clone(), regular(25.0, 2.0, short)]] {
            let cuts = Given::video(&films, 6.0).cuts();
            assert_eq!(cuts.is_ok(), fits, "{short}: {cuts:?}");
        }
    }
    let refusal = Given::video(&[long, regular(25.0, 2.0, 10.0)], 6.0).refusal();
    assert!(refusal.contains("b ends"), "{refusal}");
}

#[test]
fn pictures_before_the_first_key_frame_are_passed_over() {
    let one = film(25.0, 0.0, 20.0, &every(2.0, 1.0, 20.0), Access::Clean);
    assert_eq!(Given::video(std::slice::from_ref(&one), 6.0).times(), [1.0, 7.0, 13.0, 19.0]);
    let mut bare = one.clone();
    change(&mut bare, 1.0, |unit| unit.access = Access::NeedsParameterSets);
    assert_eq!(Given::video(&[bare], 6.0).times(), [3.0, 9.0, 15.0]);
    let none = film(25.0, 0.0, 20.0, &[], Access::Clean);
    let refusal = Given::video(&[one, none], 6.0).refusal();
    assert!(refusal.contains("rendition b: no key frame"), "{refusal}");
}

#[test]
fn a_clock_that_steps_back_a_little_makes_no_negative_segment() {
    let mut one = regular(25.0, 0.2, 4.0);
    for unit in one.iter_mut().skip(5) {
        unit.at.time = unit.at.time.plus(Span::from_seconds(-0.4));
        unit.decode = unit.decode.plus(Span::from_seconds(-0.4));
    }
    let times = Given::video(&[one], 1.0).times();
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]), "{times:?}");
}

/// Audio: every unit can begin a segment.
fn audio(step: f64, seconds: f64) -> Film {
    let rate = 1.0 / step;
    let mut film = film(rate, 0.0, seconds, &[], Access::Clean);
    film.iter_mut().for_each(|unit| unit.access = Access::Clean);
    film
}

#[test]
fn audio_is_cut_by_time_and_does_not_drift() {
    let times = Given::audio(&[audio(0.35, 200.0)], 6.0).times();
    for (number, time) in times.iter().enumerate() {
        let due = number as f64 * 6.0;
        assert!((due..due + 0.351).contains(time), "{number}: {time}");
    }
    let cuts = Given::audio(&[audio(0.02, 600.0), audio(0.35, 600.0)], 6.0).cuts().expect("cuts");
    assert_eq!(cuts.len(), 100);
    for cut in cuts {
        assert!((cut.0[0] - cut.0[1]).abs() < 0.351, "they drift apart: {:?}", cut.0);
    }
}

#[test]
fn audio_that_pauses_goes_on_with_whole_segments() {
    let mut one = audio(0.02, 40.0);
    one.retain(|unit| !(5.0..14.9).contains(&unit.at.time.seconds()));
    assert_eq!(Given::audio(&[one], 6.0).times(), [0.0, 14.9, 18.0, 24.0, 30.0, 36.0]);
}

#[test]
fn audio_breaks_in_all_at_once() {
    let (mut one, mut other) = (audio(0.02, 30.0), audio(0.35, 30.0));
    change(&mut one, 9.0, |unit| unit.breaks = true);
    let cuts = Given::audio(&[one.clone(), other.clone()], 6.0).cuts().expect("cuts");
    assert_eq!((cuts[2].0.clone(), cuts[2].2), (vec![9.0, 9.1], true));
    assert_eq!(cuts[3].0, [15.0, 15.05]); // not 9.1 s and a target
    // Both break at nearly the same time: that is one break.
    change(&mut other, 9.1, |unit| unit.breaks = true);
    let cuts = Given::audio(&[one, other], 6.0).cuts().expect("cuts");
    assert_eq!((cuts[2].0.clone(), cuts[2].2), (vec![9.0, 9.1], true));
    assert_eq!(cuts.iter().filter(|cut| cut.2).count(), 1);
}

#[test]
fn audio_that_ends_early_is_refused() {
    let films = [audio(0.02, 100.0), audio(0.02, 20.0)];
    let refusal = Given::audio(&films, 6.0).refusal();
    assert!(refusal.contains("b ends"), "{refusal}");
    assert_eq!(Given::audio(&[audio(0.02, 20.0), audio(0.02, 19.0)], 6.0).times(), [0.0, 6.0, 12.0, 18.0]);
}

#[test]
fn nothing_makes_no_cuts() {
    assert_eq!(Given::audio(&[Vec::new()], 6.0).cuts().map_err(|error| error.contains("no timestamps")), Err(true));
    let mut none = Grid::new(CutPolicy::for_target(Span::from_seconds(6.0)), Lead::Video, Vec::new());
    assert!(none.decide().expect("no refusal").is_none());
    none.unit(3, regular(25.0, 2.0, 1.0)[0]);
    none.end(PICTURES_AHEAD as usize);
}

#[test]
fn undecided_units_are_told() {
    let mut grid =
        Grid::new(CutPolicy::for_target(Span::from_seconds(6.0)), Lead::Video, vec![("a".into(), Span::ZERO)]);
    assert_eq!(grid.earliest(0), None);
    for unit in regular(25.0, 2.0, 5.0) {
        grid.unit(0, unit);
    }
    assert!(grid.decide().expect("no refusal").is_some());
    assert_eq!(grid.first_undecided(0).map(|unit| unit.at), Some(at(2.0)));
    assert_eq!(grid.earliest(0), Some(at(2.0)));
    assert_eq!(grid.first_undecided(1), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// However far each member is ahead, and whatever its key frames are, the cuts are the same.
    #[test]
    fn the_order_does_not_matter(
        keys in proptest::collection::vec((1usize..30, 0u8..10, any::<bool>()), 1..40),
        differ in proptest::collection::vec((0usize..400, 0u8..6), 0..4),
        cut_off in 0usize..60,
        members in 1usize..4,
        lead in prop_oneof![Just(Lead::Video), Just(Lead::Audio)],
    ) {
        let seconds = keys.iter().map(|key| key.0).sum::<usize>() as f64 / 5.0 + 2.0;
        let mut one = film(5.0, 0.0, seconds, &[0.0], Access::Clean);
        let mut number = 0;
        for (gap, kind, breaks) in &keys {
            number += gap;
            let unit = &mut one[number];
            unit.access = match kind { 0 => Access::NeedsParameterSets, 1..4 => Access::Open, _ => Access::Clean };
            unit.breaks = *breaks && kind % 4 == 0;
        }
        if lead == Lead::Audio {
            one.iter_mut().for_each(|unit| unit.access = Access::Clean);
        }
        let mut films = vec![one; members];
        let last = films.last_mut().expect("a member");
        for (place, kind) in differ {
            let place = place % last.len();
            match kind {
                0 => last[place].access = Access::None,
                1 => last[place].access = Access::Open,
                2 => last[place].breaks = last[place].access > Access::None,
                _ => last[place].access = Access::Clean,
            }
        }
        last.truncate(last.len().saturating_sub(cut_off).max(1));
        let given = Given { lead, ..Given::video(&films, 3.0) };
        if let Ok(cuts) = given.cuts() {
            for pair in cuts.windows(2) {
                prop_assert!(pair[1].0.iter().zip(&pair[0].0).all(|(next, last)| next > last));
                let long = pair[1].0[0] - pair[0].0[0];
                prop_assert!(members == 1 || lead == Lead::Audio || long <= 4.5, "{} s in {:?}", long, cuts);
            }
        }
    }
}
