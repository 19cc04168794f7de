//! What the report says of each fixture: faults, warnings, what is carried and what is left out.

use serde_json::Value;

use super::common::{Check, World, every};
use super::frames::{case_name, cases};
use super::media::{decode, same_frames};
use super::package::{self, path_text};
use super::stream;
use super::table::{self, Fixture};

/// Kinds of faults that a result reports, wherever it groups them by input.
pub fn faults(value: &Value) -> Vec<String> {
    let Some(map) = value.as_object() else { return Vec::new() };
    let mut found = Vec::new();
    for (name, inner) in map {
        let count = inner.as_u64().or_else(|| inner["count"].as_u64());
        match count {
            Some(0) => {}
            Some(_) => found.push(name.clone()),
            None => found.extend(faults(inner)),
        }
    }
    found.sort();
    found.dedup();
    found
}

fn pids(list: &Value) -> Check<Vec<u16>> {
    let pid = |item: &Value| item["pid"].as_u64().and_then(|pid| u16::try_from(pid).ok()).ok_or("no PID in a stream");
    let list = list.as_array().ok_or("no list of streams")?;
    Ok(list.iter().map(pid).collect::<Result<_, _>>()?)
}

#[test]
fn faults_are_reported_and_nothing_else_is() {
    every(&cases(table::packaged()), case_name, |(fixture, seconds)| {
        let package = package::of(fixture, *seconds)?;
        let found = faults(&package.json["faults"]);
        let (must, may) = &fixture.faults;
        let missing: Vec<_> = must.iter().filter(|fault| !found.contains(fault)).collect();
        let surplus: Vec<_> = found.iter().filter(|fault| !must.contains(fault) && !may.contains(fault)).collect();
        check!(
            missing.is_empty() && surplus.is_empty(),
            "not reported: {missing:?}; reported for nothing: {surplus:?}"
        );
        Ok(())
    });
}

#[test]
fn warnings_are_given() {
    // With 6 s most fixtures are one segment, and that begins with an IDR and is not too long.
    let fixtures: Vec<(Fixture, u32)> = table::packaged().into_iter().map(|fixture| (fixture, 2)).collect();
    every(&fixtures, case_name, |(fixture, seconds)| {
        let package = package::of(fixture, *seconds)?;
        let warnings = package.json["warnings"].as_array().ok_or("no warnings in the result")?;
        for warning in warnings {
            check!(warning["code"].is_string() && warning["message"].is_string(), "no code and message: {warning}");
        }
        for word in &fixture.warnings {
            let told = warnings.iter().any(|warning| warning.to_string().to_lowercase().contains(&word.to_lowercase()));
            check!(told, "no warning has the word {word}: {warnings:?}");
        }
        Ok(())
    });
}

#[test]
fn streams_are_carried_or_left_out_by_name() {
    every(&cases(table::packaged()), case_name, |(fixture, seconds)| {
        let package = package::of(fixture, *seconds)?;
        check!(package.renditions.len() == fixture.renditions, "{} renditions", package.renditions.len());
        let first = &package.renditions[0].json;
        if let Some(wanted) = &fixture.carries {
            let mut carried = pids(&first["streams"])?;
            carried.sort_unstable();
            check!(carried == *wanted, "carries {carried:x?}, not {wanted:x?}");
        }
        let left = pids(&first["left_out"])?;
        check!(
            fixture.left_out.iter().all(|pid| left.contains(pid)),
            "{:x?} left out, not {left:x?}",
            fixture.left_out
        );
        for one in first["left_out"].as_array().into_iter().flatten() {
            let named = ["what", "why"].iter().all(|key| one[*key].as_str().is_some_and(|text| !text.is_empty()));
            check!(named, "left out without a name or a reason: {one}");
        }
        Ok(())
    });
}

#[test]
fn strict_refuses_what_is_damaged_and_only_that() {
    // What the standard allows is reported, and not refused.
    let allowed = ["duplicate_packet", "timestamp_jump", "signalled_discontinuity", "stream_change"];
    every(
        &table::packaged(),
        |fixture| fixture.name.clone(),
        |fixture| {
            let damage = fixture.faults.0.iter().any(|fault| !allowed.contains(&fault.as_str()));
            let world = World::new(&format!("{}-strict", fixture.name));
            let run = world.run(&["package", path_text(&fixture.path()), "--out", "out", "--strict"]);
            run.expect(if damage { 3 } else { 0 })?;
            check!(world.folder.join("out").exists() != damage, "something was published, or nothing was");
            Ok(())
        },
    );
}

#[test]
fn inspect_reports_the_same_faults() {
    every(
        &table::packaged(),
        |fixture| fixture.name.clone(),
        |fixture| {
            let world = World::new(&format!("{}-inspect", fixture.name));
            let run = world.run(&["--json", "inspect", path_text(&fixture.path())]).expect(0)?;
            let text = run.json()?.to_string();
            for fault in &fixture.faults.0 {
                check!(text.contains(&format!("\"{fault}\"")), "{fault} is not in {text}");
            }
            world.run(&["inspect", path_text(&fixture.path())]).expect(0)?;
            Ok(())
        },
    );
}

fn fixture(name: &str) -> Fixture {
    table::all().into_iter().find(|fixture| fixture.name == name).expect("a row of the table")
}

/// What is written says what the streams are, whatever the input said: players go by the stream type.
#[test]
fn a_stream_type_that_lies_is_put_right() {
    let cases = [
        ("adts-as-04.ts", 0x101, &[0x0F][..]),
        ("mp3-as-0f.ts", 0x101, &[0x03, 0x04]),
        ("hevc-as-1b.ts", 0x100, &[0x24]),
    ];
    every(
        &cases,
        |(name, ..)| (*name).to_owned(),
        |(name, pid, right)| {
            let package = package::of(&fixture(name), 2)?;
            let clear = &package.renditions[0].segments[0].clear;
            let streams = stream::program(&stream::packets(clear)?)?.streams;
            let written = streams.iter().find(|(_, at)| at == pid).map(|(kind, _)| *kind);
            check!(written.is_some_and(|kind| right.contains(&kind)), "PID {pid:#x} is declared as {written:x?}");
            Ok(())
        },
    );
}

/// ffmpeg cannot decode this input; it can decode what is made of it.
#[test]
fn hevc_that_was_declared_as_h264_decodes() {
    let package = package::of(&fixture("hevc-as-1b.ts"), 2).expect("a package");
    let before = decode(&fixture("hevc-aac.ts").path(), &[0x100, 0x101]).expect("the same streams, rightly declared");
    let after = decode(&package.renditions[0].clear_file, &[0x100, 0x101]).expect("the output");
    assert_eq!(after.errors, "");
    let mut shift = None;
    for (old, new) in before.frames.iter().zip(&after.frames) {
        same_frames(old, new, &mut shift).expect("the same frames");
    }
}
