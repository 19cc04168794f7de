//! Point 6 of the way of the data: what is decrypted decodes to exactly the frames that went in, and each segment
//! alone decodes from its first picture.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;

use super::common::{Check, every, repository, tool};
use super::media::{Decoded, Frame, Kind, decode, same_frames, streams};
use super::package::{self, Package, Rendition, path_text};
use super::stream::{packets, program};
use super::table::{self, Fixture, Frames};

/// Segment durations that everything is tried with.
pub const DURATIONS: [u32; 2] = [2, 6];

/// Each fixture with each segment duration.
pub fn cases(fixtures: Vec<Fixture>) -> Vec<(Fixture, u32)> {
    fixtures.into_iter().flat_map(|fixture| DURATIONS.map(|seconds| (fixture.clone(), seconds))).collect()
}

/// A case's name.
pub fn case_name((fixture, seconds): &(Fixture, u32)) -> String {
    format!("{} at {seconds} s", fixture.name)
}

/// A row of the table that the run leaves in target/framemd5.md.
struct Row {
    case: String,
    pid: u16,
    kind: Kind,
    frames: usize,
    shift: i64,
}

/// Decodes input and output of a rendition, checks that they are the same, and returns what the table shows.
fn compare(case: &str, input: &Path, rendition: &Rendition, exempt: &str) -> Check<Vec<Row>> {
    let found = streams(&rendition.clear_file)?;
    let carried = rendition.json["streams"].as_array().ok_or("no streams in the result")?;
    let decodes = |stream: &&Value| !stream["codec"].as_str().unwrap_or_default().starts_with("ID3");
    for stream in carried.iter().filter(decodes) {
        let pid = stream["pid"].as_u64().ok_or("a stream without a PID")?;
        check!(found.iter().any(|(seen, _)| u64::from(*seen) == pid), "PID {pid:#x} is carried, but not in the output");
    }
    let pids: Vec<u16> = found.iter().map(|(pid, _)| *pid).collect();
    let (before, after) = (decode(input, &pids)?, decode(&rendition.clear_file, &pids)?);
    check!(before.errors.is_empty(), "ffmpeg finds errors in the input{exempt}: {}", before.errors);
    check!(after.errors.is_empty(), "ffmpeg finds errors in the output: {}", after.errors);
    let (mut offset, mut rows) = (None, Vec::new());
    for (((pid, kind), old), new) in found.iter().zip(&before.frames).zip(&after.frames) {
        check!(!old.is_empty(), "ffmpeg decodes nothing of PID {pid:#x}");
        same_frames(old, new, &mut offset).map_err(|text| format!("PID {pid:#x}: {text}"))?;
        rows.push(Row {
            case: case.to_owned(),
            pid: *pid,
            kind: *kind,
            frames: new.len(),
            shift: offset.unwrap_or_default(),
        });
    }
    Ok(rows)
}

/// The frames that a segment alone gives are those which it gives among the others.
fn segments_alone(package: &Package, rendition: &Rendition) -> Check {
    let pids: Vec<u16> = streams(&rendition.clear_file)?.iter().map(|(pid, _)| *pid).collect();
    let Decoded { frames: whole, .. } = decode(&rendition.clear_file, &pids)?;
    let mut done = vec![0; pids.len()];
    for segment in &rendition.segments {
        let packets = packets(&segment.clear)?;
        let Some(video) = program(&packets)?.video() else { continue };
        if !packets.iter().any(|packet| packet.pid() == video) {
            continue;
        }
        let alone = package.world.folder.join(format!("{}-{}", rendition.name, segment.uri));
        fs::write(&alone, &segment.clear).map_err(|e| e.to_string())?;
        let decoded = decode(&alone, &[video]).map_err(|text| format!("{} alone: {text}", segment.uri))?;
        check!(decoded.errors.is_empty(), "{} alone: {}", segment.uri, decoded.errors);
        let index = pids.iter().position(|pid| *pid == video).ok_or("a PMT with a video PID that ffprobe misses")?;
        let frames = &decoded.frames[0];
        let end = (done[index] + frames.len()).min(whole[index].len());
        same_pictures(&whole[index][done[index]..end], frames)
            .map_err(|text| format!("{} alone: {text}", segment.uri))?;
        done[index] = end;
    }
    for (pid, (done, whole)) in pids.iter().zip(done.iter().zip(&whole)) {
        check!(*done == 0 || *done == whole.len(), "PID {pid:#x}: {done} of {} pictures decode alone", whole.len());
    }
    Ok(())
}

fn same_pictures(among: &[Frame], alone: &[Frame]) -> Check {
    check!(among.len() == alone.len(), "{} pictures, {} among the others", alone.len(), among.len());
    let differs = among.iter().zip(alone).position(|(a, b)| a.hash != b.hash);
    check!(differs.is_none(), "picture {differs:?} is another one");
    Ok(())
}

#[test]
fn decrypted_segments_decode_to_the_frames_of_the_input() {
    let fixtures = table::packaged().into_iter().filter(|fixture| fixture.frames == Frames::Exact).collect();
    let rows = Mutex::new(Vec::new());
    every(&cases(fixtures), case_name, |(fixture, seconds)| {
        let package = package::of(fixture, *seconds)?;
        for rendition in &package.renditions {
            let case = format!("{} at {seconds} s, {}", fixture.name, rendition.name);
            let found = compare(&case, &fixture.path(), rendition, "; the table says exact")?;
            if let Some(wanted) = &fixture.decodes {
                let pids: Vec<u16> = found.iter().map(|row| row.pid).collect();
                check!(wanted.iter().all(|pid| pids.contains(pid)), "of {wanted:x?} only {pids:x?} are in the output");
            }
            rows.lock().expect("no panic").extend(found);
        }
        Ok(())
    });
    write_table(rows.into_inner().expect("no panic"));
}

fn write_table(mut rows: Vec<Row>) {
    rows.sort_by(|a, b| (&a.case, a.pid).cmp(&(&b.case, b.pid)));
    let mut text = String::from("| fixture and rendition | PID | kind | frames in = out | shift (1/90000 s) |\n");
    text.push_str("|---|---|---|---|---|\n");
    for Row { case, pid, kind, frames, shift } in rows {
        let _ = writeln!(text, "| {case} | {pid:#06x} | {kind:?} | {frames} | {shift} |");
    }
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("framemd5.md"), text).expect("target/framemd5.md");
}

#[test]
fn the_table_says_which_fixtures_are_damaged() {
    let damaged: Vec<Fixture> = table::packaged().into_iter().filter(|f| f.frames == Frames::Damaged).collect();
    every(
        &damaged,
        |fixture| fixture.name.clone(),
        |fixture| {
            let path = fixture.path();
            let arguments = ["-v", "error", "-nostdin", "-i", path_text(&path), "-map", "0:v?", "-map", "0:a?"];
            let run = tool("ffmpeg", &[&arguments[..], &["-f", "null", "-"]].concat());
            check!(!run.stderr.is_empty(), "ffmpeg finds no error: compare its frames");
            Ok(())
        },
    );
}

#[test]
fn each_segment_decodes_alone() {
    let fixtures = table::packaged().into_iter().filter(|f| f.frames == Frames::Exact && !f.open).collect();
    every(&cases(fixtures), case_name, |(fixture, seconds)| {
        let package = package::of(fixture, *seconds)?;
        package.renditions.iter().try_for_each(|rendition| segments_alone(&package, rendition))
    });
}

#[test]
fn the_samples_come_out_as_they_went_in() {
    let files: Vec<PathBuf> =
        ["1080p", "720p", "360p"].iter().map(|name| repository(&format!("samples/ladder/{name}.ts"))).collect();
    let whole = repository("samples/ladder.ts");
    let ladder = (files.iter().map(|path| path_text(path)).collect::<Vec<_>>(), files.clone());
    let stream = (vec![path_text(&whole)], vec![whole.clone(); 3]);
    every(
        &[("ladder", ladder), ("multi-program stream", stream)],
        |(name, _)| (*name).to_owned(),
        |(name, (arguments, inputs))| {
            let package = package::make("samples", arguments, 6)?;
            check!(package.renditions.len() == 3, "{} renditions", package.renditions.len());
            for (rendition, input) in package.renditions.iter().zip(inputs) {
                check!(rendition.segments.len() == 4, "24 s are {} segments of 6 s", rendition.segments.len());
                compare(name, input, rendition, "")?;
                segments_alone(&package, rendition)?;
            }
            Ok(())
        },
    );
}
