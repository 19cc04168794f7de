//! The cutter on streams of known times: what each segment holds of each PID.

use super::*;
use crate::ladder::testing::{AUDIO, ID3, Movie, Pes, Picture, VIDEO, pmt, selections, usual_pmt};
use crate::segment::testing::{Run, run};
use crate::ts::{Packet, PesStart, Pmt, parse_pes};

const SECOND: i64 = 90_000;

fn video_audio(version: u8) -> Pmt {
    pmt(1, version, VIDEO, &[(0x1B, VIDEO), (0x0F, AUDIO)])
}

fn video_only(version: u8) -> Pmt {
    pmt(1, version, VIDEO, &[(0x1B, VIDEO)])
}

fn ticks(seconds: f64) -> i64 {
    (seconds * SECOND as f64).round() as i64
}

/// Five pictures a second, a key frame every two seconds. Times are presented `by` later than they are sent.
fn pictures(movie: &mut Movie, from: f64, to: f64, by: i64) {
    for number in (from * 5.0).round() as i64..(to * 5.0).round() as i64 {
        let time = number * SECOND / 5;
        let kind = if number % 10 == 0 { Picture::Idr } else { Picture::P };
        movie.pes(time, VIDEO, Pes::picture(time + by, kind));
    }
}

/// Four PES packets of audio a second, sent `lag` seconds after their time.
fn sound(movie: &mut Movie, pid: Pid, from: f64, to: f64, lag: f64, by: i64) {
    for number in (from * 4.0).round() as i64..(to * 4.0).round() as i64 {
        let time = number * SECOND / 4;
        movie.pes(time + ticks(lag), pid, Pes::audio(time + by));
    }
}

/// The presentation times of the PES packets that each segment holds of a PID, in seconds.
fn times(run: &Run<'_>, rendition: usize, pid: Pid) -> Vec<Vec<f64>> {
    let of = |index: usize| {
        let packets = run.assemble(rendition, index);
        let starts = packets.iter().filter_map(|(_, bytes)| {
            let packet = Packet::new(bytes).filter(|packet| packet.pid() == pid && packet.payload_unit_start())?;
            match parse_pes(packet.payload()) {
                PesStart::Header(header) => Some(header.pts.map_or(-1.0, |pts| pts.value() as f64 / SECOND as f64)),
                _ => None,
            }
        });
        starts.collect()
    };
    (0..run.segments(rendition).len()).map(of).collect()
}

fn cut<'a>(bytes: &'a [u8]) -> Run<'a> {
    let selections: Vec<_> = selections(bytes).into_iter().map(|one| (one, Span::ZERO)).collect();
    let run = run(bytes, &selections, 2.0, &[usize::MAX]);
    assert_eq!(run.refused(), None);
    run
}

fn all_within(times: &[Vec<f64>], start: f64) {
    for (number, times) in times.iter().enumerate() {
        let from = start + number as f64 * 2.0;
        assert!(times.iter().all(|time| (from..from + 2.0).contains(time)), "segment {number}: {times:?}");
    }
}

#[test]
fn audio_is_cut_by_time_however_it_is_interleaved() {
    for lag in [-1.9, -0.5, 0.0, 0.1, 0.5, 1.9, 5.0, 9.0] {
        let mut movie = Movie::new(&video_audio(0));
        pictures(&mut movie, 0.0, 20.0, 0);
        sound(&mut movie, AUDIO, 0.0, 20.0, lag, 0);
        let bytes = movie.build();
        let run = cut(&bytes);
        run.check(true).expect("every packet in one segment");
        let sound = times(&run, 0, AUDIO);
        assert_eq!(sound.iter().map(Vec::len).collect::<Vec<_>>(), [8; 10], "lag {lag}");
        all_within(&sound, 0.0);
        all_within(&times(&run, 0, VIDEO), 0.0);
    }
}

#[test]
fn audio_that_pauses_is_in_the_segments_of_its_times() {
    let mut movie = Movie::new(&video_audio(0));
    pictures(&mut movie, 0.0, 20.0, 0);
    sound(&mut movie, AUDIO, 0.0, 3.0, 0.0, 0);
    sound(&mut movie, AUDIO, 9.0, 20.0, 0.0, 0);
    let bytes = movie.build();
    let run = cut(&bytes);
    run.check(true).expect("every packet in one segment");
    let sound = times(&run, 0, AUDIO);
    assert_eq!(sound.iter().map(Vec::len).collect::<Vec<_>>(), [8, 4, 0, 0, 4, 8, 8, 8, 8, 8]);
    all_within(&sound, 0.0);
}

#[test]
fn a_stream_that_never_returns_is_given_up_on() {
    let mut movie = Movie::new(&video_audio(0));
    pictures(&mut movie, 0.0, 40.0, 0);
    sound(&mut movie, AUDIO, 0.0, 3.0, 0.0, 0);
    let bytes = movie.build();
    let run = cut(&bytes);
    run.check(true).expect("every packet in one segment");
    let sound = times(&run, 0, AUDIO);
    assert_eq!(sound.iter().map(Vec::len).collect::<Vec<_>>()[..3], [8, 4, 0]);
    assert_eq!(run.segments(0).len(), 20);
    // Its cut is where the video was one skew further: nothing waits for the end.
    let late = run.windows(0, AUDIO)[2].expect("a window").0;
    let video: Vec<u64> = run.windows(0, VIDEO).iter().map(|window| window.expect("a window").0).collect();
    assert!((video[7]..video[8]).contains(&late), "{late} of {video:?}");
}

#[test]
fn a_stream_that_returns_late_is_cut_by_time_again() {
    let mut movie = Movie::new(&video_audio(0));
    pictures(&mut movie, 0.0, 40.0, 0);
    sound(&mut movie, AUDIO, 0.0, 3.0, 0.0, 0);
    sound(&mut movie, AUDIO, 25.0, 40.0, 1.0, 0);
    let bytes = movie.build();
    let run = cut(&bytes);
    run.check(true).expect("every packet in one segment");
    let sound = times(&run, 0, AUDIO);
    assert_eq!(sound.iter().map(Vec::len).sum::<usize>(), 12 + 60);
    all_within(&sound, 0.0);
}

#[test]
fn audio_may_begin_long_before_or_after_the_video() {
    for from in [-3.0, 3.0, 9.0, 15.0] {
        let mut movie = Movie::new(&video_audio(0));
        pictures(&mut movie, 0.0, 20.0, 10 * SECOND);
        sound(&mut movie, AUDIO, from, 20.0, 0.0, 10 * SECOND);
        let bytes = movie.build();
        let run = cut(&bytes);
        run.check(true).expect("every packet in one segment");
        let sound = times(&run, 0, AUDIO);
        assert_eq!(sound.iter().map(Vec::len).sum::<usize>(), ((20.0 - from) * 4.0) as usize, "from {from}");
        if from > 0.0 {
            all_within(&sound, 10.0);
        } else {
            all_within(&sound[1..], 12.0);
        }
    }
}

#[test]
fn a_pes_without_pts_stays_with_the_segment_before() {
    let mut movie = Movie::new(&video_audio(0));
    pictures(&mut movie, 0.0, 8.0, 0);
    for number in 0..32 {
        let time = number * SECOND / 4;
        let mut pes = Pes::audio(time);
        // The first two of the second segment, by time.
        if (8..10).contains(&number) {
            pes.pts = None;
        }
        movie.pes(time, AUDIO, pes);
    }
    let bytes = movie.build();
    let run = cut(&bytes);
    run.check(true).expect("every packet in one segment");
    let sound = times(&run, 0, AUDIO);
    assert_eq!(sound[0][8..], [-1.0, -1.0]);
    assert_eq!(sound[1][0], 2.5);
}

#[test]
fn a_wrap_changes_nothing() {
    let build = |by: i64| {
        let mut movie = Movie::new(&video_audio(0));
        pictures(&mut movie, 0.0, 20.0, by);
        sound(&mut movie, AUDIO, 0.0, 20.0, 0.7, by);
        movie.build()
    };
    let (plain, wrapped) = (build(0), build((1 << 33) - ticks(4.1)));
    let (plain, wrapped) = (cut(&plain), cut(&wrapped));
    wrapped.check(true).expect("every packet in one segment");
    assert_eq!(plain.outcome().segments, wrapped.outcome().segments);
    assert!(wrapped.segments(0).iter().all(|segment| !segment.discontinuity));
}

#[test]
fn audio_may_jump_before_or_after_the_video_does() {
    for (lag, by) in [(-1.0, 600.0), (1.0, 600.0), (-1.0, -3.9), (1.0, -3.9), (0.0, 20.0)] {
        let mut movie = Movie::new(&video_audio(0));
        let start = 100 * SECOND;
        pictures(&mut movie, 0.0, 4.0, start);
        pictures(&mut movie, 4.0, 8.0, start + ticks(by));
        sound(&mut movie, AUDIO, 0.0, 4.0, lag, start);
        sound(&mut movie, AUDIO, 4.0, 8.0, lag, start + ticks(by));
        let bytes = movie.build();
        let run = cut(&bytes);
        run.check(true).expect("every packet in one segment");
        let breaks: Vec<_> = run.segments(0).iter().map(|segment| segment.discontinuity).collect();
        assert_eq!(breaks, [false, false, true, false], "lag {lag}, by {by}");
        let sound = times(&run, 0, AUDIO);
        assert_eq!(sound.iter().map(Vec::len).collect::<Vec<_>>(), [8; 4], "lag {lag}, by {by}: {sound:?}");
        assert!((sound[2][0] - (104.0 + by)).abs() < 0.001);
    }
}

#[test]
fn a_change_of_the_streams_makes_a_discontinuity() {
    let mut movie = Movie::new(&video_only(0));
    pictures(&mut movie, 0.0, 16.0, 0);
    movie.pmt(ticks(3.0), video_audio(1));
    sound(&mut movie, AUDIO, 3.5, 9.0, 0.0, 0);
    movie.pmt(ticks(9.0), video_only(2));
    let bytes = movie.build();
    let run = cut(&bytes);
    run.check(false).expect("no packet in two segments");
    let segments = run.segments(0);
    let breaks: Vec<_> = segments.iter().map(|segment| segment.discontinuity).collect();
    assert_eq!(breaks, [false, false, true, false, false, true, false, false]);
    let versions: Vec<_> = segments.iter().map(|segment| segment.preamble.version()).collect();
    assert_eq!(versions, [0, 0, 1, 1, 1, 2, 2, 2]);
    // What came of the new stream before the cut is not thrown away: it is in the first segment that announces it.
    let sound = times(&run, 0, AUDIO);
    assert_eq!(sound.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 10, 8, 4, 0, 0, 0]);
    assert_eq!(sound[2][0], 3.5);
    let announced: Vec<_> = segments.iter().map(|one| one.preamble.selection().streams.len()).collect();
    assert_eq!(announced, [1, 1, 2, 2, 2, 1, 1, 1]);
}

#[test]
fn a_stream_that_comes_back_is_taken_from_its_return() {
    let mut movie = Movie::new(&video_audio(0));
    pictures(&mut movie, 0.0, 16.0, 0);
    sound(&mut movie, AUDIO, 0.0, 5.0, 0.0, 0);
    movie.pmt(ticks(5.0), video_only(1));
    movie.pmt(ticks(9.0), video_audio(2));
    sound(&mut movie, AUDIO, 9.0, 16.0, 0.0, 0);
    let bytes = movie.build();
    let run = cut(&bytes);
    run.check(false).expect("no packet in two segments");
    let sound = times(&run, 0, AUDIO);
    assert_eq!(sound.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 4, 0, 0, 12, 8, 8]);
}

#[test]
fn a_stream_that_was_announced_and_never_came_takes_nothing() {
    let mut movie = Movie::new(&video_only(0));
    pictures(&mut movie, 0.0, 40.0, 0);
    movie.pmt(ticks(3.0), video_audio(1));
    movie.pmt(ticks(7.0), video_only(2));
    sound(&mut movie, AUDIO, 30.0, 40.0, 0.0, 0); // without being announced
    let bytes = movie.build();
    let run = cut(&bytes);
    run.check(false).expect("no packet in two segments");
    assert!(times(&run, 0, AUDIO).iter().all(Vec::is_empty));
    assert_eq!(run.segments(0).len(), 20);
    for window in run.windows(0, AUDIO).into_iter().flatten() {
        assert_ne!(window.1, u64::MAX, "a window stays open");
    }
}

#[test]
fn a_clock_on_a_pid_of_its_own_comes_along() {
    let clock = Pid::masked(0x1F0);
    let mut movie = Movie::new(&pmt(1, 0, clock, &[(0x1B, VIDEO), (0x0F, AUDIO)]));
    pictures(&mut movie, 0.0, 8.0, SECOND);
    sound(&mut movie, AUDIO, -1.0, 8.0, 0.0, SECOND);
    for tenth in -10..80 {
        movie.clock(tenth * SECOND / 10, clock);
    }
    let bytes = movie.build();
    let run = cut(&bytes);
    run.check(true).expect("every packet in one segment");
    let windows: Vec<_> = run.windows(0, clock).into_iter().map(|window| window.expect("a window")).collect();
    assert!(windows.iter().all(|window| window.2 == Keep::Clock));
    let video = run.windows(0, VIDEO);
    assert_eq!(windows[1].0, video[1].expect("a window").0);
    // The first begins with the audio, which comes first.
    assert_eq!(windows[0].0, run.windows(0, AUDIO)[0].expect("a window").0);
    assert!(windows[0].0 > 0);
}

#[test]
fn an_audio_program_follows_the_cuts_of_the_video() {
    let radio = Pid::masked(0x201);
    for lag in [-1.5, 0.0, 1.5] {
        let mut movie = Movie::of(&[video_audio(0), pmt(2, 0, radio, &[(0x0F, radio)])]);
        pictures(&mut movie, 0.0, 20.0, 0);
        sound(&mut movie, AUDIO, 0.0, 20.0, 0.0, 0);
        sound(&mut movie, radio, 0.0, 17.0, lag, 0);
        let bytes = movie.build();
        let run = cut(&bytes);
        run.check(true).expect("every packet in one segment");
        let sound = times(&run, 1, radio);
        all_within(&sound, 0.0);
        // It ends in the ninth: no empty one follows.
        assert_eq!(sound.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 8, 8, 8, 8, 8, 8, 4]);
        assert!(run.segments(1).iter().all(|segment| segment.duration > Span::ZERO));
    }
}

fn moment(seconds: f64) -> EpochTime {
    EpochTime { epoch: 0, time: Instant90::from_ticks(ticks(seconds)) }
}

fn audio_unit(number: u64, step: f64) -> Unit {
    let at = moment(number as f64 * step);
    let duration = Span::from_seconds(step);
    Unit { offset: number * 376, at, decode: at.time, duration, access: Access::Clean, breaks: false }
}

#[test]
fn a_follower_far_behind_its_leader_is_cut_by_time() {
    let mut movie = Movie::new(&pmt(1, 0, AUDIO, &[(0x0F, AUDIO)]));
    sound(&mut movie, AUDIO, 0.0, 5.0, 0.0, 0);
    let selection = selections(&movie.build()).remove(0);
    let mut cutter = Cutter::new(&selection, Span::ZERO);
    let mut segments = Vec::new();
    let mut next = 0;
    // The leader is read a minute at a time, the follower catches up after it.
    for minute in 0..4 {
        for cut in 0..10 {
            let at = moment(f64::from(minute * 60 + cut * 6));
            cutter.cut(CutAt::Time { at }, Access::Clean, false);
        }
        while next < (u64::from(minute as u32) * 60 + 50) * 4 {
            cutter.unit(&audio_unit(next, 0.25));
            next += 1;
        }
        segments.extend(cutter.take_complete());
    }
    cutter.finish();
    segments.extend(cutter.take_complete());
    for (number, segment) in segments.iter().enumerate() {
        assert_eq!(segment.windows[0].start, number as u64 * 24 * 376, "segment {number}");
    }
    assert_eq!(segments.len(), 39); // the last cut lies behind its end
}

#[test]
fn the_last_segment_lasts_as_long_as_its_audio() {
    for (seconds, expected) in [(8.0, 2.0), (8.4, 2.0), (14.0, 7.75)] {
        let mut movie = Movie::new(&video_audio(0));
        pictures(&mut movie, 0.0, 8.0, 0);
        sound(&mut movie, AUDIO, 0.0, seconds, 0.0, 0);
        let bytes = movie.build();
        let run = cut(&bytes);
        assert_eq!(run.segments(0)[3].duration, Span::from_seconds(expected), "audio of {seconds} s");
    }
}

#[test]
fn how_much_the_audio_leads_and_lags_is_told() {
    let mut movie = Movie::new(&usual_pmt());
    pictures(&mut movie, 0.0, 8.0, SECOND);
    for number in 0..27 {
        let time = number * 3 * SECOND / 10 - SECOND / 2;
        movie.pes(time, AUDIO, Pes::audio(time + SECOND));
    }
    movie.pes(SECOND, ID3, Pes::new(SECOND, b"ID3\x04\0\0\0\0\0\0".to_vec()));
    let bytes = movie.build();
    let run = cut(&bytes);
    let lags: Vec<_> = run.segments(0).iter().map(|segment| segment.audio_lag.map(Span::ticks)).collect();
    assert_eq!(lags, [None, Some(ticks(0.2)), Some(ticks(0.0)), Some(ticks(0.1))]);
    assert_eq!(run.side_lead(0), Some(Span::from_seconds(0.5)));
}

#[test]
fn durations_are_those_of_the_cuts() {
    let mut movie = Movie::new(&video_audio(0));
    pictures(&mut movie, 0.0, 7.0, 0);
    sound(&mut movie, AUDIO, 0.0, 7.0, 0.0, 0);
    let bytes = movie.build();
    let run = cut(&bytes);
    let durations: Vec<_> = run.segments(0).iter().map(|segment| segment.duration.seconds()).collect();
    assert_eq!(durations, [2.0, 2.0, 2.0, 1.0]);
    let numbers: Vec<_> = run.segments(0).iter().map(|segment| (segment.index, segment.counters.pat)).collect();
    assert_eq!(numbers, [(0, 0), (1, 1), (2, 2), (3, 3)]);
}
