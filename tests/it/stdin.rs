//! Standard input, which can be read once only, gives what a file gives.

use std::fs;
use std::io::Write;
use std::process::ChildStdin;

use super::common::{World, every, repository};
use super::frames::{case_name, cases};
use super::package;
use super::table;

#[test]
fn a_pipe_gives_the_segments_of_the_file() {
    every(&cases(table::packaged()), case_name, |(fixture, seconds)| {
        let package = package::of(fixture, *seconds)?;
        let world = World::new(&format!("{}-pipe", fixture.name));
        let seconds = seconds.to_string();
        let arguments = ["--json", "package", "-", "--out", "out", "--segment-duration", &seconds];
        let run = world.run_with_input(&arguments, &fixture.path());
        let piped = package::read(world, run)?;
        let names = |package: &package::Package| -> Vec<String> {
            package.renditions.iter().map(|rendition| rendition.name.clone()).collect()
        };
        check!(names(&piped) == names(&package), "renditions {:?}, not {:?}", names(&piped), names(&package));
        for (one, other) in package.renditions.iter().zip(&piped.renditions) {
            check!(
                one.segments.len() == other.segments.len(),
                "{}: {} segments, {} from a pipe",
                one.name,
                one.segments.len(),
                other.segments.len()
            );
            for (a, b) in one.segments.iter().zip(&other.segments) {
                check!(a.clear == b.clear, "{}/{} has other bytes from a pipe", one.name, a.uri);
                check!(
                    a.duration == b.duration,
                    "{}/{}: {} s, {} s from a pipe",
                    one.name,
                    a.uri,
                    a.duration,
                    b.duration
                );
            }
        }
        Ok(())
    });
}

#[test]
fn what_a_file_is_refused_for_a_pipe_is_refused_for() {
    let refused: Vec<_> = table::all().into_iter().filter(|fixture| fixture.refused.is_some()).collect();
    every(
        &refused,
        |fixture| fixture.name.clone(),
        |fixture| {
            let world = World::new(&format!("{}-pipe", fixture.name));
            let run = world.run_with_input(&["package", "-", "--out", "out"], &fixture.path());
            run.expect(fixture.refused.unwrap_or(3))?;
            check!(!world.folder.join("out").exists(), "something was published");
            Ok(())
        },
    );
}

/// Writes a file and then null packets until they are so many bytes, or nobody reads any more; gives how many went.
fn feed_long(input: &'static str, bytes: u64) -> impl FnOnce(&mut ChildStdin) -> u64 + Send + 'static {
    move |pipe| {
        let mut null = [0xff; 188];
        null[..4].copy_from_slice(&[0x47, 0x1f, 0xff, 0x10]);
        let many = null.repeat(4096);
        let mut written =
            fs::read(repository(input)).and_then(|file| pipe.write_all(&file).map(|()| 0)).unwrap_or(bytes);
        while written < bytes && pipe.write_all(&many).is_ok() {
            written += many.len() as u64;
        }
        written
    }
}

/// A dry run reads standard input too, and holds no more of it than a real one.
#[test]
fn a_dry_run_of_a_long_pipe_is_bounded() {
    let world = World::new("long-dry-run");
    let long = 300 * 1024 * 1024;
    let arguments = ["--json", "package", "-", "--out", "out", "--dry-run", "--segment-duration", "2"];
    let (run, written) = world.run_fed(&arguments, feed_long("fixtures/plain.ts", long));
    let json = run.expect(0).and_then(|run| run.json()).expect("a plan");
    assert!(written >= long);
    assert_eq!(json["renditions"][0]["segments"], 3);
    assert!(!world.folder.join("out").exists());
}

/// `--strict` refuses damage when it comes, not when the pipe ends: a live one may never end.
#[test]
fn strict_does_not_wait_for_the_end_of_a_pipe() {
    let world = World::new("strict-pipe");
    let long = 512 * 1024 * 1024;
    let (run, written) =
        world.run_fed(&["package", "-", "--out", "out", "--strict"], feed_long("fixtures/lost-sync.ts", long));
    run.expect(3).expect("a refusal");
    assert!(written < long, "all {written} bytes were read before the damage at the beginning was refused");
}
