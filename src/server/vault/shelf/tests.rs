//! What is given when, with the time told; and against a model.

use super::*;
use proptest::prelude::*;

const TERMS: Terms = Terms {
    life: Duration::from_secs(100),
    negative_life: Duration::from_secs(2),
    stale_for: Duration::from_secs(50),
    capacity: 2,
    strangers: 2,
};

/// A shelf whose time is in seconds since it was made.
struct Bench {
    shelf: Shelf<u8, u32>,
    start: Instant,
}

impl Bench {
    fn new(terms: Terms) -> Self {
        Self { shelf: Shelf::new(terms), start: Instant::now() }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    fn look(&mut self, id: u8, seconds: f64) -> Look<u32> {
        let now = self.at(seconds);
        self.shelf.look(&id, now)
    }

    fn learn(&mut self, id: u8, outcome: Outcome<u32>, since: f64, now: f64) {
        let (since, now) = (self.at(since), self.at(now));
        self.shelf.learn(id, &outcome, since, now);
    }
}

fn later(kind: Kind, seconds: u64) -> Look<u32> {
    Look::Later(Unavailable { kind, retry_after: Duration::from_secs(seconds) })
}

#[test]
fn a_value_is_fresh_then_renewed_then_asked_for_then_gone() {
    let mut bench = Bench::new(TERMS);
    assert_eq!(bench.look(1, 0.0), Look::Ask { before: None });
    // The call began at 10, so what it told was so at 10.
    bench.learn(1, Outcome::Found(7), 10.0, 12.0);
    assert_eq!(bench.look(1, 12.0), Look::Fresh(7));
    assert_eq!(bench.look(1, 69.9), Look::Fresh(7));
    assert_eq!(bench.look(1, 105.1), Look::Aging(7));
    assert_eq!(bench.look(1, 109.9), Look::Aging(7));
    assert_eq!(bench.look(1, 110.0), Look::Ask { before: Some(7) });
    assert_eq!(bench.look(1, 159.9), Look::Ask { before: Some(7) });
    assert_eq!(bench.look(1, 160.0), Look::Ask { before: None });
    assert_eq!(bench.shelf.len(), 0);
}

#[test]
fn what_is_not_there_or_refused_is_asked_for_again_soon() {
    let mut bench = Bench::new(TERMS);
    for (outcome, look) in [(Outcome::Nothing, Look::Nothing), (Outcome::Refused, Look::Refused)] {
        bench.learn(1, Outcome::Found(7), 0.0, 0.0);
        bench.learn(1, outcome, 1.0, 1.0);
        assert_eq!(bench.look(1, 2.9), look, "no value outlives a refusal");
        assert_eq!(bench.look(1, 3.0), Look::Ask { before: None });
        bench.learn(1, Outcome::Found(8), 3.0, 3.0);
        assert_eq!(bench.look(1, 3.0), Look::Fresh(8));
    }
}

#[test]
fn made_up_ids_push_out_only_one_another() {
    let mut bench = Bench::new(TERMS);
    bench.learn(1, Outcome::Found(7), 0.0, 0.0);
    for id in 2..=255 {
        bench.learn(id, if id % 2 == 0 { Outcome::Nothing } else { Outcome::Refused }, 0.0, 0.0);
        assert!(bench.shelf.barred.len() <= 2);
    }
    assert_eq!(bench.look(1, 0.0), Look::Fresh(7));
    assert_eq!(bench.look(254, 0.0), Look::Nothing);
    assert_eq!(bench.look(2, 0.0), Look::Ask { before: None });
}

#[test]
fn the_least_recently_used_goes_first() {
    let mut bench = Bench::new(TERMS);
    bench.learn(1, Outcome::Found(1), 0.0, 0.0);
    bench.learn(2, Outcome::Found(2), 0.0, 0.0);
    assert_eq!(bench.look(1, 1.0), Look::Fresh(1));
    bench.learn(3, Outcome::Found(3), 1.0, 1.0);
    assert_eq!(bench.look(2, 1.0), Look::Ask { before: None });
    assert_eq!((bench.look(1, 1.0), bench.look(3, 1.0)), (Look::Fresh(1), Look::Fresh(3)));
    let mut one = Bench::new(Terms { capacity: 1, strangers: 0, ..TERMS });
    for id in 0..9 {
        one.learn(id, Outcome::Found(id.into()), 0.0, 0.0);
        assert_eq!((one.look(id, 0.0), one.shelf.len()), (Look::Fresh(id.into()), 1));
    }
}

#[test]
fn what_fails_is_left_alone_for_longer_each_time() {
    let mut bench = Bench::new(TERMS);
    let mut now = 0.0;
    for pause in [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0] {
        bench.learn(1, Outcome::Failed(Kind::Unreachable, None), now, now);
        assert_eq!(bench.look(1, now + pause - 0.01), later(Kind::Unreachable, 1));
        now += pause;
        assert_eq!(bench.look(1, now), Look::Ask { before: None });
    }
    bench.learn(1, Outcome::Failed(Kind::Unreachable, Some(Duration::from_secs(9))), now, now);
    assert_eq!(bench.look(1, now), later(Kind::Unreachable, 9));
    bench.learn(1, Outcome::Failed(Kind::Unreachable, Some(Duration::MAX)), now, now);
    assert_eq!(bench.look(1, now), later(Kind::Unreachable, 30), "nobody decides that for ever");
    bench.learn(1, Outcome::Found(7), now, now);
    assert_eq!(bench.look(1, now), Look::Fresh(7));
}

#[test]
fn a_value_whose_renewal_fails_is_given_until_it_is_stale_too() {
    let mut bench = Bench::new(TERMS);
    bench.learn(1, Outcome::Found(7), 0.0, 0.0);
    bench.learn(1, Outcome::Failed(Kind::Slow, None), 96.0, 96.0);
    assert_eq!(bench.look(1, 96.0), Look::Fresh(7), "not asked again at once");
    assert_eq!(bench.look(1, 96.25), Look::Aging(7));
    bench.learn(1, Outcome::Failed(Kind::Slow, None), 99.9, 99.9);
    assert_eq!(bench.look(1, 100.0), Look::Stale { value: 7, due: false });
    assert_eq!(bench.look(1, 100.5), Look::Stale { value: 7, due: true });
    assert_eq!(bench.look(1, 149.9), Look::Stale { value: 7, due: true });
    assert_eq!(bench.look(1, 150.0), Look::Ask { before: None });
    let mut strict = Bench::new(Terms { stale_for: Duration::ZERO, ..TERMS });
    strict.learn(1, Outcome::Found(7), 0.0, 0.0);
    strict.learn(1, Outcome::Failed(Kind::Slow, None), 99.0, 99.0);
    assert_eq!(strict.look(1, 100.0), Look::Ask { before: None });
}

#[test]
fn only_the_first_wait_for_what_is_slow() {
    let mut bench = Bench::new(TERMS);
    bench.learn(1, Outcome::Found(7), 0.0, 0.0);
    assert_eq!(bench.look(1, 100.0), Look::Ask { before: Some(7) });
    let now = bench.at(102.0);
    bench.shelf.slow(&1, now);
    bench.shelf.slow(&2, now);
    assert_eq!(bench.look(1, 102.0), Look::Stale { value: 7, due: true });
    assert_eq!(bench.look(2, 102.0), Look::Ask { before: None });
}

#[test]
fn what_is_forgotten_is_asked_for_before_it_is_given() {
    let mut bench = Bench::new(TERMS);
    bench.learn(1, Outcome::Found(7), 0.0, 0.0);
    bench.learn(1, Outcome::Failed(Kind::Slow, None), 1.0, 1.0);
    bench.learn(2, Outcome::Nothing, 1.0, 1.0);
    let now = bench.at(2.0);
    bench.shelf.forget(now);
    // It had failed before, but now it may be gone: this must be asked for.
    assert_eq!(bench.look(1, 2.0), Look::Ask { before: Some(7) });
    assert_eq!(bench.look(2, 2.0), Look::Ask { before: None });
    bench.learn(1, Outcome::Failed(Kind::Slow, None), 2.0, 2.0);
    assert_eq!(bench.look(1, 2.0), Look::Stale { value: 7, due: false });
    assert_eq!(bench.look(1, 52.0), Look::Ask { before: None }, "stale counts from when it was forgotten");
    bench.learn(1, Outcome::Found(8), 60.0, 60.0);
    assert_eq!(bench.look(1, 60.0), Look::Fresh(8));
    let mut strict = Bench::new(Terms { stale_for: Duration::ZERO, ..TERMS });
    strict.learn(1, Outcome::Found(7), 0.0, 0.0);
    let now = strict.at(1.0);
    strict.shelf.forget(now);
    assert_eq!((strict.shelf.len(), strict.look(1, 1.0)), (0, Look::Ask { before: None }));
}

#[test]
fn what_nobody_asks_for_is_swept() {
    let mut bench = Bench::new(Terms { capacity: 5000, ..TERMS });
    for id in 0..=255 {
        bench.learn(id, Outcome::Found(7), 0.0, 0.0);
    }
    bench.learn(0, Outcome::Found(7), 100.0, 100.0);
    let now = bench.at(149.0);
    assert!(!bench.shelf.sweep(now));
    assert_eq!(bench.shelf.len(), 256);
    let now = bench.at(150.0);
    bench.shelf.sweep(now);
    assert_eq!(bench.shelf.len(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Pass(u8),
    Look(u8),
    Learn(u8, Outcome<u32>),
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Found(0)),
        1 => Just(Outcome::Nothing),
        1 => Just(Outcome::Refused),
        2 => Just(Outcome::Failed(Kind::Slow, None)),
    ];
    let step = prop_oneof![
        2 => (0..90_u8).prop_map(Step::Pass),
        4 => (0..4_u8).prop_map(Step::Look),
        3 => ((0..4_u8), outcome).prop_map(|(id, outcome)| Step::Learn(id, outcome)),
        1 => Just(Step::Forget),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Against a model that only remembers, for each id, what was said of it last and when.
    #[test]
    fn nothing_is_given_that_was_not_said(steps in steps()) {
        let mut bench = Bench::new(Terms { capacity: 3, ..TERMS });
        let mut now = 0.0;
        let mut said: std::collections::HashMap<u8, (u32, f64)> = std::collections::HashMap::new();
        let (mut forgotten, mut count) = (-1.0, 0);
        for step in steps {
            match step {
                Step::Pass(seconds) => now += f64::from(seconds),
                Step::Forget => {
                    let at = bench.at(now);
                    bench.shelf.forget(at);
                    forgotten = now;
                    now += 0.1;
                }
                Step::Learn(id, outcome) => {
                    let outcome = match outcome {
                        Outcome::Found(_) => {
                            count += 1;
                            said.insert(id, (count, now));
                            Outcome::Found(count)
                        }
                        Outcome::Nothing | Outcome::Refused => {
                            said.remove(&id);
                            outcome
                        }
                        failed => failed,
                    };
                    bench.learn(id, outcome, now, now);
                }
                Step::Look(id) => {
                    let end = |at: f64| if at <= forgotten { forgotten.min(at + 100.0) } else { at + 100.0 };
                    match bench.look(id, now) {
                        Look::Fresh(value) | Look::Aging(value) => {
                            let (last, at) = said[&id];
                            prop_assert_eq!(value, last);
                            prop_assert!(now < end(at));
                        }
                        Look::Stale { value, .. } | Look::Ask { before: Some(value) } => {
                            let (last, at) = said[&id];
                            prop_assert_eq!(value, last);
                            prop_assert!(end(at) <= now && now < end(at) + 50.0);
                        }
                        Look::Nothing | Look::Refused | Look::Later(_) | Look::Ask { before: None } => {}
                    }
                    prop_assert!(bench.shelf.len() <= 3 && bench.shelf.barred.len() <= 2);
                }
            }
        }
    }
}
