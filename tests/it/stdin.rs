//! Standard input, which can be read once only, gives what a file gives.

use super::common::{World, every};
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
