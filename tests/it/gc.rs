//! `keyrung gc`: what killed runs leave goes, and nothing else does.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use super::common::{World, repository};
use super::package;

const PACKAGE: [&str; 7] = ["--json", "package", "in.ts", "--out", "out", "--content-id", "film"];

fn world(name: &str) -> World {
    let world = World::new(name);
    fs::copy(repository("fixtures/plain.ts"), world.folder.join("in.ts")).expect("a copy");
    world
}

/// A world in which a run was killed just before it put its package in place.
fn killed(name: &str) -> World {
    let world = world(name);
    world.run(&["key", "generate", "--content-id", "other"]).expect(0).expect("a keyring");
    let run = world.run_injected(&PACKAGE, "?renameat2,renameat,rename:signal=SIGKILL:when=1");
    assert_ne!(run.code, Some(0), "it was not killed");
    assert!(world.folder.join(".out.keyrung-staging").exists(), "it left nothing");
    assert!(world.folder.join("home/keys/claims/film.json").exists(), "there is no claim");
    world
}

fn gc(world: &World, more: &[&str]) -> Value {
    let run = world.run(&[&["--json", "gc"], more].concat()).expect(0).expect("gc");
    run.json().expect("json")
}

fn kinds(report: &Value) -> Vec<&str> {
    report["removed"].as_array().expect("a list").iter().filter_map(|one| one["kind"].as_str()).collect()
}

#[test]
fn a_killed_run_is_cleaned_up() {
    let world = killed("gc");
    fs::write(world.folder.join("home/keys/claims/.x.json.tmp"), "half").expect("a file");
    fs::write(world.folder.join("home/.keyring.json.tmp"), "half").expect("a file");
    let all = ["staging", "temporary", "temporary", "claim"];
    assert_eq!(kinds(&gc(&world, &["--dry-run", "--claims"])), all);
    assert_eq!(kinds(&gc(&world, &["--dry-run", "--claims"])), all, "a dry run removes nothing");
    // Without --claims the work may still be taken up again.
    assert_eq!(kinds(&gc(&world, &[])), all[..3]);
    assert_eq!(kinds(&gc(&world, &["out", "./out"])), [""; 0]);
    assert_eq!(kinds(&gc(&world, &["--claims"])), ["claim"]);
    let left: Vec<_> = fs::read_dir(&world.folder).expect("the world").flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| name == "home" || name == "in.ts"), "{left:?}");
    let run = world.run(&PACKAGE);
    package::read(world, run).expect("the content id is free");
}

#[test]
fn an_unfinished_package_can_still_be_finished_after_gc() {
    let world = killed("gc-resume");
    let list = world.run(&["--json", "key", "list"]).expect(0).expect("a list").json().expect("json");
    let keys = list["keys"].as_array().expect("keys");
    let open = keys.iter().find(|key| key["package"]["state"] == "open").expect("an open claim");
    gc(&world, &[]);
    let run = world.run(&PACKAGE);
    let package = package::read(world.clone(), run).expect("a package");
    assert_eq!(package.json["key_id"], open["key_id"], "the key of the claim is used");
    assert_eq!(kinds(&gc(&world, &["out", "--claims"])), [""; 0]);
    assert!(world.folder.join("home/keys/claims/film.json").exists(), "a published claim stays");
}

#[test]
fn what_a_run_is_at_work_on_stays() {
    let world = killed("gc-busy");
    let staging = world.folder.join(".out.keyrung-staging");
    let held = File::open(&staging).expect("the folder");
    flock(&held, FlockOperation::LockExclusive).expect("the lock of a run");
    let report = gc(&world, &["--claims"]);
    assert_eq!(kinds(&report), [""; 0]);
    assert!(!report["in_use"].as_array().expect("a list").is_empty());
    assert!(staging.exists() && world.folder.join("home/keys/claims/film.json").exists());
    let claim = fs::read_to_string(world.folder.join("home/keys/claims/film.json")).expect("the claim");
    let claim: Value = serde_json::from_str(&claim).expect("json");
    let id = claim["key"]["key_id"].as_str().expect("an id");
    let run = world.run(&["key", "delete", id, "--yes"]);
    assert_eq!(run.code, Some(7), "{}", run.stderr);
    drop(held);
    assert_eq!(kinds(&gc(&world, &["--claims"])), ["staging", "claim"]);
}

#[test]
fn packages_and_foreign_files_stay() {
    let world = world("gc-stays");
    world.run(&PACKAGE).expect(0).expect("a package");
    fs::create_dir(world.folder.join("mine")).expect("a folder");
    fs::write(world.folder.join("mine/file"), "mine").expect("a file");
    assert_eq!(kinds(&gc(&world, &["out", "mine", "nowhere/at/all", "--claims"])), [""; 0]);
    assert!(world.folder.join("out/keyrung.json").exists() && world.folder.join("mine/file").exists());
    assert!(!Path::new(&world.folder.join("nowhere")).exists());
    let run = world.run(&["gc", ".."]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
}
