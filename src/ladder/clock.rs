//! Unwraps the 33-bit clock of a program and splits it into epochs: stretches without a jump (spec TS-021, TS-022).
//!
//! The main stream (video, or audio where there is none) decides where an epoch ends. The other streams follow it:
//! each may reach the jump a little earlier or later in the file than the main stream does.

use crate::limits;
use crate::time::{Instant90, Span, Stamp};

/// An instant, and the continuous stretch of the timeline on which it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochTime {
    /// Counts the jumps before this instant.
    pub epoch: u32,
    /// The unwrapped time within the epoch.
    pub time: Instant90,
}

impl EpochTime {
    /// The earliest time that the main stream can still show when its decoding clock stands here: it may step back a
    /// little without that being a jump.
    #[must_use]
    pub fn horizon(self) -> Self {
        Self { epoch: self.epoch, time: self.time.plus(limits::JUMP_BACK.negated()) }
    }
}

/// What a stamp of the main stream did to the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It went on.
    Smooth,
    /// It jumped: a new epoch began.
    Jump,
}

/// The clock of one program: where its main stream is, and where each epoch began.
#[derive(Debug, Default)]
pub struct ProgramClock {
    /// The first stamp that any stream showed in each epoch; everything of the epoch unwraps near it.
    origins: Vec<Instant90>,
    now: Option<EpochTime>,
}

impl ProgramClock {
    /// Where the main stream's decoding clock stands, once it has begun.
    #[must_use]
    pub fn now(&self) -> Option<EpochTime> {
        self.now
    }

    /// Takes the decoding stamp of the main stream's next unit.
    pub fn step(&mut self, dts: Stamp) -> (EpochTime, Step) {
        let Some(now) = self.now else {
            let first = EpochTime { epoch: 0, time: self.unwrap_in(0, dts) };
            self.now = Some(first);
            return (first, Step::Smooth);
        };
        let next = now.time.nearest(dts);
        let moved = next.since(now.time);
        let (at, step) = if moved > limits::JUMP_FORWARD || moved < limits::JUMP_BACK.negated() {
            let epoch = now.epoch.saturating_add(1);
            (EpochTime { epoch, time: self.unwrap_in(epoch, dts) }, Step::Jump)
        } else {
            (EpochTime { epoch: now.epoch, time: next }, Step::Smooth)
        };
        self.now = Some(at);
        (at, step)
    }

    fn unwrap_in(&mut self, epoch: u32, stamp: Stamp) -> Instant90 {
        if let Some(origin) = self.origins.get(epoch as usize) {
            return origin.nearest(stamp);
        }
        let origin = Instant90::from_ticks(stamp.value() as i64);
        self.origins.push(origin);
        origin
    }
}

/// The clock of a stream beside the main one.
#[derive(Debug, Default)]
pub struct SideClock {
    last: Option<EpochTime>,
}

impl SideClock {
    /// Places a presentation stamp on the program's timeline.
    pub fn place(&mut self, pts: Stamp, program: &mut ProgramClock) -> EpochTime {
        let at = self.decide(pts, program);
        self.last = Some(at);
        at
    }

    fn decide(&self, pts: Stamp, program: &mut ProgramClock) -> EpochTime {
        let Some(last) = self.last else {
            return match program.now {
                Some(now) => EpochTime { epoch: now.epoch, time: now.time.nearest(pts) },
                None => EpochTime { epoch: 0, time: program.unwrap_in(0, pts) },
            };
        };
        let own = EpochTime { epoch: last.epoch, time: last.time.nearest(pts) };
        let moved = own.time.since(last.time);
        let smooth = moved <= limits::JUMP_FORWARD && moved >= limits::JUMP_BACK.negated();
        let Some(now) = program.now else {
            return own;
        };
        let near_main = EpochTime { epoch: now.epoch, time: now.time.nearest(pts) };
        let distance = near_main.time.since(now.time).abs();
        if now.epoch > last.epoch {
            // The main stream has jumped: this one follows as soon as the new timeline fits it better than its own.
            return if !smooth || distance < moved.abs() { near_main } else { own };
        }
        if last.epoch > now.epoch && !smooth && distance <= limits::JUMP_FORWARD {
            return near_main; // a stray stamp had looked like a jump
        }
        if smooth || last.epoch > now.epoch {
            return own;
        }
        if moved > Span::ZERO && distance <= limits::JUMP_FORWARD {
            return near_main; // a pause of this stream alone
        }
        // It jumped before the main stream did, which the interleaving allows.
        let epoch = now.epoch.saturating_add(1);
        EpochTime { epoch, time: program.unwrap_in(epoch, pts) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(seconds: f64) -> Stamp {
        Stamp::wrapping((seconds * 90_000.0) as u64)
    }

    #[test]
    fn a_wrap_between_audio_and_video_is_no_jump() {
        let mut program = ProgramClock::default();
        let mut audio = SideClock::default();
        let a = audio.place(Stamp::wrapping(Stamp::MODULUS - 900), &mut program);
        let (v, step) = program.step(Stamp::wrapping(900));
        assert_eq!(step, Step::Smooth);
        assert_eq!(v.time.since(a.time).ticks(), 1800);
        assert_eq!(audio.place(Stamp::wrapping(100), &mut program).time.since(a.time).ticks(), 1000);
    }

    #[test]
    fn audio_may_jump_before_or_after_the_video() {
        for audio_first in [true, false] {
            let mut program = ProgramClock::default();
            let mut audio = SideClock::default();
            program.step(stamp(100.0));
            audio.place(stamp(100.1), &mut program);
            if audio_first {
                assert_eq!(audio.place(stamp(1.4), &mut program).epoch, 1);
                assert_eq!(program.step(stamp(1.5)).1, Step::Jump);
            } else {
                assert_eq!(program.step(stamp(1.5)).1, Step::Jump);
                assert_eq!(audio.place(stamp(100.2), &mut program).epoch, 0);
                assert_eq!(audio.place(stamp(1.4), &mut program).epoch, 1);
            }
            let at = audio.place(stamp(1.6), &mut program);
            let now = program.now().expect("runs");
            assert_eq!((at.epoch, now.epoch), (1, 1));
            assert_eq!(at.time.since(now.time), Span::from_seconds(0.1));
        }
    }

    #[test]
    fn a_pause_of_the_audio_alone_is_no_jump() {
        let mut program = ProgramClock::default();
        let mut audio = SideClock::default();
        audio.place(stamp(10.0), &mut program);
        for second in 10..60 {
            program.step(stamp(f64::from(second)));
        }
        assert_eq!(audio.place(stamp(59.0), &mut program).epoch, 0);
    }

    #[test]
    fn one_stray_stamp_of_the_audio_is_no_jump() {
        for stray in [5000.0, 0.0] {
            let mut program = ProgramClock::default();
            let mut audio = SideClock::default();
            for tenth in 0..300 {
                let time = 1000.0 + f64::from(tenth) / 10.0;
                assert_eq!(program.step(stamp(time)).1, Step::Smooth);
                let at = audio.place(stamp(if tenth == 20 { stray } else { time }), &mut program);
                if tenth != 20 {
                    assert_eq!(at.epoch, 0, "at {time}, behind {stray}");
                    assert_eq!(at.time, program.now().expect("runs").time);
                }
            }
        }
    }

    #[test]
    fn the_limits_of_a_jump() {
        for (to, expected) in [
            (110.0, Step::Smooth),
            (110.01, Step::Jump),
            (99.5, Step::Smooth),
            (99.49, Step::Jump),
            (100.0, Step::Smooth),
        ] {
            let mut program = ProgramClock::default();
            program.step(stamp(100.0));
            let (at, step) = program.step(stamp(to));
            assert_eq!((step, at.epoch), (expected, u32::from(expected == Step::Jump)), "to {to}");
            assert_eq!(program.now(), Some(at));
        }
    }

    #[test]
    fn time_goes_on_over_several_wraps() {
        let mut program = ProgramClock::default();
        let mut audio = SideClock::default();
        let step = 9 * 90_000;
        for number in 0..40_000u64 {
            let (at, step_taken) = program.step(Stamp::wrapping(number * step));
            assert_eq!((step_taken, at.time.ticks()), (Step::Smooth, (number * step) as i64));
            let beside = audio.place(Stamp::wrapping(number * step + 100), &mut program);
            assert_eq!(beside.time.ticks(), (number * step) as i64 + 100);
        }
    }

    #[test]
    fn audio_that_jumps_alone_and_stays_is_on_its_own() {
        let mut program = ProgramClock::default();
        let mut audio = SideClock::default();
        program.step(stamp(10.0));
        audio.place(stamp(10.0), &mut program);
        for second in 11..20 {
            program.step(stamp(f64::from(second)));
            assert_eq!(audio.place(stamp(f64::from(second) + 5000.0), &mut program).epoch, 1);
        }
        // When the video follows, they are together again.
        assert_eq!(program.step(stamp(5020.0)).0.epoch, 1);
        let at = audio.place(stamp(5020.1), &mut program);
        assert_eq!(at.time.since(program.now().expect("runs").time), Span::from_seconds(0.1));
    }

    #[test]
    fn audio_that_waits_for_the_end_of_its_epoch_follows() {
        let mut program = ProgramClock::default();
        let mut audio = SideClock::default();
        program.step(stamp(100.0));
        audio.place(stamp(100.0), &mut program);
        program.step(stamp(500.0));
        assert_eq!(audio.place(stamp(100.5), &mut program).epoch, 0);
        assert_eq!(audio.place(stamp(499.0), &mut program).epoch, 1);
        // Twice in a row, before it had come at all.
        let mut late = SideClock::default();
        program.step(stamp(1.0));
        let at = late.place(stamp(0.9), &mut program);
        assert_eq!(at.epoch, 2);
        assert_eq!(at.time.since(program.now().expect("runs").time), Span::from_seconds(-0.1));
    }

    #[test]
    fn the_horizon_is_as_far_back_as_no_jump() {
        let mut program = ProgramClock::default();
        let now = program.step(stamp(10.0)).0;
        assert_eq!(now.horizon().time, program.step(stamp(9.5)).0.time);
    }
}
