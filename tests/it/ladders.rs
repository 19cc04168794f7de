//! Several renditions on one grid.

use super::common::{Check, World, repository};
use super::media::{decode, same_frames, streams};
use super::package::{self, Package, path_text};

const BFRAMES: [&str; 3] =
    ["fixtures/ladder-bframes-a.ts", "fixtures/ladder-bframes-b.ts", "fixtures/ladder-bframes-c.ts"];
const MISALIGNED: [&str; 2] = ["fixtures/ladder-bframes-a.ts", "fixtures/ladder-misaligned.ts"];

fn paths(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| path_text(&repository(name)).to_owned()).collect()
}

fn ladder(name: &str, inputs: &[&str], seconds: u32) -> Package {
    let inputs = paths(inputs);
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    package::make(name, &inputs, seconds).expect("a package")
}

/// The time at which the first picture of each segment is shown.
fn starts(package: &Package, rendition: usize) -> Check<Vec<i64>> {
    let rendition = &package.renditions[rendition];
    let mut starts = Vec::new();
    for segment in &rendition.segments {
        let file = package.world.folder.join(format!("start-{}-{}", rendition.name, segment.uri));
        std::fs::write(&file, &segment.clear).map_err(|e| e.to_string())?;
        let first = decode(&file, &[0x100])?.frames[0].first().map(|frame| frame.at);
        starts.push(first.ok_or("a segment without a picture")?);
    }
    Ok(starts)
}

#[test]
fn renditions_that_b_frames_have_shifted_share_one_grid_and_one_clock() {
    for seconds in [2, 6] {
        let package = ladder("bframes", &BFRAMES, seconds);
        assert_eq!(package.renditions.len(), 3);
        let first = starts(&package, 0).expect("starts");
        assert_eq!(first.len(), 6 / seconds as usize);
        for other in 1..3 {
            assert_eq!(starts(&package, other).expect("starts"), first, "rendition {other} lies on another clock");
        }
        for rendition in &package.renditions {
            let durations = |r: &package::Rendition| r.segments.iter().map(|s| s.duration).collect::<Vec<_>>();
            assert_eq!(durations(rendition), durations(&package.renditions[0]));
        }
    }
}

#[test]
fn a_shifted_rendition_keeps_its_frames() {
    let package = ladder("bframes-frames", &BFRAMES, 2);
    let mut shifts = Vec::new();
    for (rendition, input) in package.renditions.iter().zip(BFRAMES) {
        let pids: Vec<u16> = streams(&rendition.clear_file).expect("streams").iter().map(|(pid, _)| *pid).collect();
        assert_eq!(pids.len(), 2);
        let before = decode(&repository(input), &pids).expect("the input");
        let after = decode(&rendition.clear_file, &pids).expect("the output");
        assert_eq!(after.errors, "");
        let mut shift = None;
        for (old, new) in before.frames.iter().zip(&after.frames) {
            same_frames(old, new, &mut shift).expect("the same frames");
        }
        shifts.push(shift.expect("frames"));
    }
    // x264 without B frames shows its first picture 2 frames earlier than with a pyramid of them.
    shifts.sort_unstable();
    assert!(shifts.last() > shifts.first(), "one constant for each rendition: {shifts:?}");
}

#[test]
fn renditions_without_a_common_grid_are_refused_with_their_key_frames() {
    let inputs = paths(&MISALIGNED);
    let world = World::new("misaligned");
    let run = world.run(&["package", &inputs[0], &inputs[1], "--out", "out", "--segment-duration", "2"]);
    let run = run.expect(3).expect("a refusal");
    assert!(run.stderr.contains("error: ") && run.stderr.contains("hint: "), "{}", run.stderr);
    assert!(run.stderr.contains("--align off"), "the hint does not name the way out: {}", run.stderr);
    assert!(!world.folder.join("out").exists());
    let json = world.run(&["--json", "package", &inputs[0], &inputs[1], "--out", "out", "--segment-duration", "2"]);
    let json = json.expect(3).expect("a refusal").json().expect("one document");
    assert_eq!(json["code"], 3, "{json}");
}

#[test]
fn renditions_without_a_common_grid_are_packaged_on_demand() {
    let inputs = paths(&MISALIGNED);
    let world = World::new("align-off");
    let arguments = ["--json", "package", &inputs[0], &inputs[1], "--out", "out", "--segment-duration", "2"];
    let run = world.run(&[&arguments[..], &["--align", "off"]].concat());
    let package = package::read(world, run).expect("a package");
    let target = |n: usize| {
        let playlist: &package::Rendition = &package.renditions[n];
        playlist.playlist.lines().find(|line| line.starts_with("#EXT-X-TARGETDURATION")).map(str::to_owned)
    };
    assert_eq!(target(0), target(1), "TARGETDURATION is common all the same");
    assert_ne!(package.json["warnings"].as_array().map(Vec::len), Some(0), "it is said so");
}

#[test]
fn one_program_can_be_picked() {
    let input = format!("{}#program=2", paths(&["fixtures/two-programs.ts"])[0]);
    let package = package::make("program-2", &[&input], 2).expect("a package");
    assert_eq!(package.renditions.len(), 1);
    let found = streams(&package.renditions[0].clear_file).expect("streams");
    assert_eq!(found.iter().map(|(pid, _)| *pid).collect::<Vec<_>>(), [0x200, 0x201]);
}

#[test]
fn renditions_are_named_by_the_user_or_by_their_height() {
    let inputs = paths(&["fixtures/ladder-bframes-a.ts", "fixtures/ladder-bframes-b.ts"]);
    let named = format!("high={}", inputs[0]);
    let package = package::make("names", &[&named, &inputs[1]], 2).expect("a package");
    let names: Vec<&str> = package.renditions.iter().map(|rendition| rendition.name.as_str()).collect();
    assert_eq!(names, ["high", "90p"]);
}

#[test]
fn an_audio_stream_is_picked_by_language_or_pid() {
    let input = paths(&["fixtures/two-audio-languages.ts"]).remove(0);
    for choice in ["fra", "0x102"] {
        let world = World::new("audio-choice");
        let run = world.run(&["--json", "package", &input, "--out", "out", "--audio", choice]);
        let package = package::read(world, run).expect("a package");
        let found = streams(&package.renditions[0].clear_file).expect("streams");
        assert_eq!(found.iter().map(|(pid, _)| *pid).collect::<Vec<_>>(), [0x100, 0x102], "--audio {choice}");
    }
}

/// What a switch does to the audio is what the segments themselves show: where the audio of each begins after the cut.
#[test]
fn the_worst_switch_of_audio_is_reported() {
    let package = ladder("audio-switch", &BFRAMES, 2);
    let mut worst = 0;
    for index in 1..package.renditions[0].segments.len() {
        let lags = package.renditions.iter().map(|rendition| {
            let file = package.world.folder.join(format!("switch-{}-{index}.ts", rendition.name));
            std::fs::write(&file, &rendition.segments[index].clear).expect("a file");
            let frames = decode(&file, &[0x100, 0x101]).expect("frames").frames;
            frames[1].first().expect("audio").at - frames[0].first().expect("video").at
        });
        let lags: Vec<i64> = lags.collect();
        worst = worst.max(lags.iter().max().expect("some") - lags.iter().min().expect("some"));
    }
    assert!(worst > 0, "the fixtures differ in the packing of their audio");
    let apart = package.json["audio_switch"]["apart"].as_f64().expect("a figure");
    assert!((apart * 90_000.0 - worst as f64).abs() <= 1.0, "{apart} s, not {worst} ticks");
}
