//! What is refused: exit codes, one line `error:`, a `hint:`, and nothing left behind.

use std::fs;

use super::common::{Check, Run, World, every, repository};
use super::package::path_text;
use super::table;

/// One line of error and at most one of hint, and no trace of a panic.
fn well_put(run: &Run) -> Check {
    let errors = run.stderr.lines().filter(|line| line.starts_with("error: ")).count();
    let hints = run.stderr.lines().filter(|line| line.starts_with("hint: ")).count();
    check!(errors == 1 && hints <= 1, "{errors} errors and {hints} hints: {}", run.stderr);
    check!(!run.stderr.contains("panicked"), "a panic: {}", run.stderr);
    Ok(())
}

/// Refused with this exit code, in text and with `--json`; gives the run in text.
pub fn refuse(world: &World, arguments: &[&str], code: i32) -> Check<Run> {
    let run = world.run(arguments).expect(code)?;
    well_put(&run)?;
    check!(run.stdout.is_empty(), "something on standard output: {}", run.text());
    let json = world.run(&[&["--json"], arguments].concat()).expect(code)?.json()?;
    check!(json["error"].as_str().is_some_and(|text| !text.is_empty()), "no error in {json}");
    check!(json["code"] == code, "the code in {json} is not {code}");
    Ok(run)
}

#[test]
fn refused_fixtures_leave_nothing() {
    let refused: Vec<_> = table::all().into_iter().filter(|fixture| fixture.refused.is_some()).collect();
    every(
        &refused,
        |fixture| fixture.name.clone(),
        |fixture| {
            let world = World::new(&fixture.name);
            refuse(&world, &["package", path_text(&fixture.path()), "--out", "out"], fixture.refused.unwrap_or(3))?;
            let left: Vec<_> = fs::read_dir(&world.folder).map_err(|e| e.to_string())?.flatten().collect();
            let left: Vec<_> = left.iter().map(fs::DirEntry::file_name).filter(|name| name != "home").collect();
            check!(left.is_empty(), "{left:?} are left");
            Ok(())
        },
    );
}

#[test]
fn a_missing_input_is_refused() {
    refuse(&World::new("missing"), &["package", "nothing-here.ts", "--out", "out"], 3).expect("a refusal");
}

#[test]
fn a_missing_program_is_refused() {
    let input = format!("{}#program=9", path_text(&repository("fixtures/two-programs.ts")));
    refuse(&World::new("program-9"), &["package", &input, "--out", "out"], 3).expect("a refusal");
}

#[test]
fn wrong_usage_is_refused() {
    let plain = repository("fixtures/plain.ts");
    let world = World::new("usage");
    for wrong in [
        &["package", path_text(&plain), "--out", "out", "--segment-duration", "0"][..],
        &["package", path_text(&plain), "--out", "out", "--segment-duration", "soon"],
        &["package", path_text(&plain), "--out", "out", "--iv", "0123"],
        &["package", "--out", "out"],
        &["no-such-command"],
    ] {
        let run = world.run(wrong).expect(2).unwrap_or_else(|text| panic!("{wrong:?}: {text}"));
        assert!(run.stderr.starts_with("error: "), "{wrong:?}: {}", run.stderr);
    }
    assert!(!world.folder.join("out").exists());
}

#[test]
fn a_package_is_not_replaced_without_force() {
    let plain = repository("fixtures/plain.ts");
    let world = World::new("force");
    let arguments = ["package", path_text(&plain), "--out", "out"];
    world.run(&arguments).expect(0).expect("a package");
    let record = fs::read(world.folder.join("out/keyrung.json")).expect("the record");
    refuse(&world, &arguments, 2).expect("a refusal");
    assert!(fs::read(world.folder.join("out/keyrung.json")).expect("the record") == record, "the package was touched");
    world.run(&[&arguments[..], &["--force"]].concat()).expect(0).expect("a new package");
    assert!(fs::read(world.folder.join("out/keyrung.json")).expect("the record") != record, "nothing was replaced");
}

#[test]
fn a_folder_of_something_else_is_not_touched() {
    let plain = repository("fixtures/plain.ts");
    for force in [&[][..], &["--force"]] {
        let world = World::new("foreign");
        fs::create_dir(world.folder.join("out")).expect("a folder");
        fs::write(world.folder.join("out/mine.txt"), "mine").expect("a file");
        let run = world.run(&[&["package", path_text(&plain), "--out", "out"], force].concat());
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert_eq!(fs::read_to_string(world.folder.join("out/mine.txt")).expect("my file"), "mine");
        assert_eq!(fs::read_dir(world.folder.join("out")).expect("out").count(), 1);
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let plain = repository("fixtures/plain.ts");
    let world = World::new("dry-run");
    let run = world.run(&["package", path_text(&plain), "--out", "out", "--dry-run"]).expect(0).expect("a plan");
    assert!(!run.stdout.is_empty(), "no plan is printed");
    let left: Vec<_> = fs::read_dir(&world.folder).expect("the world").flatten().map(|e| e.file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
    let json = world.run(&["--json", "package", path_text(&plain), "--out", "out", "--dry-run"]);
    json.expect(0).expect("a plan").json().expect("one document");
}

#[test]
fn the_input_is_not_changed() {
    let world = World::new("input");
    let copy = world.folder.join("in.ts");
    fs::copy(repository("fixtures/plain.ts"), &copy).expect("a copy");
    let mut permissions = fs::metadata(&copy).expect("the copy").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&copy, permissions).expect("read only");
    world.run(&["package", "in.ts", "--out", "out"]).expect(0).expect("a package");
    assert!(fs::read(&copy).expect("the copy") == fs::read(repository("fixtures/plain.ts")).expect("the fixture"));
}
