//! Whole streams: however the input is split, and however it is broken, the same segments, and every packet in one.

use proptest::prelude::*;

use crate::ladder::testing::{AUDIO, ID3, Movie, Pes, Picture, VIDEO, pmt, selections};
use crate::ladder::{Probe, Scanner, Selection};
use crate::time::Span;
use crate::ts::{EndOfInput, Pid};

use super::testing::{Run, run};

const SECOND: i64 = 90_000;
/// PID of the second program's audio, which is all it has.
const RADIO: Pid = Pid::masked(0x201);
const CLOCK: Pid = Pid::masked(0x1F0);

/// What a random stream is made of.
#[derive(Debug, Clone)]
struct Recipe {
    /// For each GOP: pictures, and what the first is.
    gops: Vec<(usize, Picture)>,
    frame: i64,
    reorder: bool,
    audio_step: i64,
    /// How much later the muxer sends audio.
    audio_lag: i64,
    audio_delay: i64,
    /// Presentation times (in seconds) between which there is no audio.
    pause: Option<(i64, i64)>,
    /// Every so many audio PES have no PTS.
    without_pts: usize,
    /// The GOP before which all clocks jump, and by how much.
    jump: Option<(usize, i64)>,
    /// What an unlucky single audio PES has added to its PTS.
    glitch: i64,
    stuffing: u8,
    id3: bool,
    clock: bool,
    radio: bool,
    lost: Option<(i64, usize)>,
    /// When the audio is dropped from the PMT, and when it is back.
    leaves: Option<(i64, i64)>,
    start: i64,
    shift: i64,
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let kind = prop_oneof![
        6 => Just(Picture::Idr),
        1 => Just(Picture::Open),
        1 => Just(Picture::BareIdr),
        1 => Just(Picture::OtherIdr),
    ];
    let gops = proptest::collection::vec((1usize..14, kind), 1..14);
    let starts = prop_oneof![Just(126_000i64), Just((1i64 << 33) - 5 * SECOND), Just(0i64)];
    let video = (gops, prop_oneof![Just(18_000i64), Just(9009i64)], any::<bool>(), starts);
    let audio = (
        prop_oneof![Just(1920i64), Just(11_520i64), Just(30_600i64)],
        prop_oneof![Just(0i64), -SECOND..2 * SECOND],
        prop_oneof![4 => Just(0i64), 1 => -2 * SECOND..2 * SECOND, 1 => Just(13 * SECOND)],
        proptest::option::weighted(0.3, (0i64..12, 1i64..25).prop_map(|(from, long)| (from, from + long))),
        prop_oneof![2 => Just(usize::MAX), 1 => 1usize..9],
        prop_oneof![5 => Just(0i64), 1 => Just(500 * SECOND)],
    );
    let jumps = prop_oneof![Just(-50_000i64), Just(-40 * SECOND), Just(100 * SECOND), Just(11 * SECOND)];
    let rest = (
        proptest::option::weighted(0.3, (1usize..10, jumps)),
        prop_oneof![2 => Just(0u8), 1 => 150u8..240],
        any::<[bool; 3]>(),
        proptest::option::weighted(0.3, (1i64..20, 1usize..1000)),
        proptest::option::weighted(0.2, (0i64..20, 1i64..20).prop_map(|(from, long)| (from, from + long))),
        prop_oneof![Just(0i64), Just(7200i64)],
    );
    (video, audio, rest).prop_map(|(video, audio, rest)| Recipe {
        gops: video.0,
        frame: video.1,
        reorder: video.2,
        start: video.3,
        audio_step: audio.0,
        audio_lag: audio.1,
        audio_delay: audio.2,
        pause: audio.3,
        without_pts: audio.4,
        glitch: audio.5,
        jump: rest.0,
        stuffing: rest.1,
        id3: rest.2[0],
        clock: rest.2[1],
        radio: rest.2[2],
        lost: rest.3,
        leaves: rest.4,
        shift: rest.5,
    })
}

impl Recipe {
    fn build(&self) -> Vec<u8> {
        let mut streams = vec![(0x1B, VIDEO), (0x0F, AUDIO)];
        if self.id3 {
            streams.push((0x15, ID3));
        }
        let pcr = if self.clock { CLOCK } else { VIDEO };
        let first = pmt(1, 0, pcr, &streams);
        let mut movie =
            if self.radio { Movie::of(&[first.clone(), pmt(2, 0, pcr, &[(0x0F, RADIO)])]) } else { Movie::new(&first) };
        if let Some((from, to)) = self.leaves {
            let without: Vec<_> = streams.iter().copied().filter(|stream| stream.1 != AUDIO).collect();
            movie.pmt(from * SECOND, pmt(1, 1, pcr, &without));
            movie.pmt(to * SECOND, pmt(1, 2, pcr, &streams));
        }
        // Times run from 0; what is written is moved.
        let jump_at = self.jump.map(|(gop, by)| {
            let pictures: usize = self.gops.iter().take(gop).map(|gop| gop.0).sum();
            (pictures as i64 * self.frame, by)
        });
        let written = |time: i64| self.start + time + jump_at.map_or(0, |(at, by)| if time >= at { by } else { 0 });
        let mut time = 0;
        for (pictures, kind) in &self.gops {
            for number in 0..*pictures {
                let kind = if number == 0 { *kind } else { Picture::P };
                let reorder = if self.reorder { 2 * self.frame } else { 0 };
                // Pictures that nothing refers to are shown before the one sent before them.
                let early = if self.reorder && number % 3 == 2 { self.frame } else { 0 };
                let mut pes = Pes::picture(written(time) + reorder - early, kind);
                pes.dts = self.reorder.then(|| written(time));
                pes.stuffing = self.stuffing;
                movie.pes(time, VIDEO, pes);
                time += self.frame;
            }
        }
        for (pid, lag) in [(AUDIO, self.audio_lag), (RADIO, -self.audio_lag / 2)] {
            if pid == RADIO && !self.radio {
                continue;
            }
            let mut number = 0;
            let mut at = if pid == RADIO { 0 } else { self.audio_delay };
            while at < time {
                number += 1;
                let paused = self.pause.is_some_and(|(from, to)| (from * SECOND..to * SECOND).contains(&at));
                if pid == RADIO || !paused {
                    let glitch = if number == 20 && pid == AUDIO { self.glitch } else { 0 };
                    let mut pes = Pes::audio(written(at) + glitch);
                    pes.stuffing = self.stuffing / 2;
                    if pid == AUDIO && number % self.without_pts == self.without_pts - 1 {
                        pes.pts = None;
                    }
                    movie.pes(at + lag, pid, pes);
                }
                at += self.audio_step;
            }
        }
        for half in 0..time / (SECOND / 2) {
            let at = half * SECOND / 2;
            if self.clock {
                movie.clock(at, CLOCK);
            }
            if self.id3 && half % 5 == 3 {
                movie.pes(at - SECOND / 4, ID3, Pes::new(written(at), b"ID3\x04\0\0\0\0\0\0".to_vec()));
            }
        }
        if let Some((at, bytes)) = self.lost {
            movie.lost(at * SECOND, bytes);
        }
        movie.build()
    }

    fn selections(&self, bytes: &[u8]) -> Vec<(Selection, Span)> {
        selections(bytes).into_iter().map(|one| (one, Span::from_ticks(self.shift))).collect()
    }
}

fn whole<'a>(recipe: &Recipe, bytes: &'a [u8]) -> Run<'a> {
    run(bytes, &recipe.selections(bytes), 2.0, &[usize::MAX])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_packet_is_in_one_segment(recipe in recipe()) {
        let bytes = recipe.build();
        let run = whole(&recipe, &bytes);
        if let Err(text) = run.check(recipe.leaves.is_none()) {
            prop_assert!(false, "{}", text);
        }
        if run.refused().is_none() {
            let cut: f64 = run.segments(0).iter().map(|segment| segment.duration.seconds()).sum();
            prop_assert!(run.segments(0).iter().all(|segment| segment.duration >= Span::ZERO));
            prop_assert!(cut < 200.0, "{} seconds", cut);
        }
    }

    #[test]
    fn any_split_gives_the_same_segments(
        recipe in recipe(),
        pieces in proptest::collection::vec(prop_oneof![1usize..400, 1usize..4000, Just(50_000usize)], 1..6),
    ) {
        let bytes = recipe.build();
        let selections = recipe.selections(&bytes);
        let one = run(&bytes, &selections, 2.0, &[usize::MAX]);
        let other = run(&bytes, &selections, 2.0, &pieces);
        let (one, other_outcome) = (one.outcome(), other.outcome());
        prop_assert_eq!(&one.refused.is_some(), &other_outcome.refused.is_some());
        if one.refused.is_none() {
            for (one, other) in one.segments.iter().zip(&other_outcome.segments) {
                for (one, other) in one.iter().zip(other) {
                    prop_assert_eq!(one, other);
                }
                prop_assert_eq!(one.len(), other.len());
            }
            prop_assert_eq!(one.events, other_outcome.events);
        }
        if let Err(text) = other.check(recipe.leaves.is_none()) {
            prop_assert!(false, "{}", text);
        }
    }

    #[test]
    fn random_bytes_do_not_panic(
        packets in proptest::collection::vec((0u16..4, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..184)), 0..60),
        keep in 0usize..40,
    ) {
        let recipe = small();
        let mut bytes = recipe.build();
        bytes.truncate(keep * 188);
        for (pid, control, payload) in packets {
            let pid = [0, 0x100, 0x101, 0x1000][usize::from(pid)];
            bytes.extend([0x47, (pid >> 8) as u8 | (control & 0xE0), pid as u8, control]);
            bytes.extend(&payload);
            bytes.resize(bytes.len() + 184 - payload.len(), 0xFF);
        }
        survives(&bytes, &recipe.selections(&recipe.build()));
    }

    #[test]
    fn flipped_bits_do_not_panic(recipe in recipe(), flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 0..60)) {
        let mut bytes = recipe.build();
        let selections = recipe.selections(&bytes);
        for (index, bit) in flips {
            let at = index.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        survives(&bytes, &selections);
    }
}

fn small() -> Recipe {
    Recipe {
        gops: vec![(2, Picture::Idr), (2, Picture::Open), (1, Picture::OtherIdr)],
        frame: SECOND,
        reorder: true,
        audio_step: SECOND,
        audio_lag: 0,
        audio_delay: 0,
        pause: None,
        without_pts: 3,
        jump: Some((1, 20 * SECOND)),
        glitch: 0,
        stuffing: 170,
        id3: true,
        clock: true,
        radio: true,
        lost: Some((2, 100)),
        leaves: Some((3, 4)),
        start: 126_000,
        shift: 7200,
    }
}

/// The probe, and all that follows it.
fn survives(bytes: &[u8], known: &[(Selection, Span)]) {
    let mut probe = Probe::new();
    if probe.push(bytes, EndOfInput::Reached).is_ok()
        && let Ok(programs) = probe.finish()
    {
        for program in programs {
            if let Ok(selection) = program.select(&Default::default()) {
                run(bytes, &[(selection, Span::from_ticks(3600))], 2.0, &[usize::MAX]);
            }
        }
    }
    run(bytes, known, 2.0, &[usize::MAX]);
    run(bytes, known, 2.0, &[1000]);
}

#[test]
fn truncation_at_every_byte_is_survived() {
    let recipe = small();
    let bytes = recipe.build();
    let known = recipe.selections(&bytes);
    for len in 0..bytes.len() {
        survives(&bytes[..len], &known);
    }
}

#[test]
fn noise_is_no_stream() {
    let noise: Vec<u8> = (0..70_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert!(Scanner::new(Vec::new()).push(&noise, EndOfInput::Reached).is_err());
}
