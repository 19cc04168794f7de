//! Claims: who may adopt one, and who may not.

use std::fs::{self, File};
use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use super::common::repository;
use super::disk::{Ground, Tree, claims, complete, record, tree};
use super::publish::{FIRST, LONG, PLAIN, decrypts, to, wait_until, with};

/// Stops a run of these arguments when its claim stands and nothing is published.
fn crash(ground: &Ground, arguments: &[&str]) -> Value {
    let run = ground.world.run_injected(arguments, "write:signal=SIGKILL:when=5");
    assert_eq!(run.code, None, "{}", run.text());
    let claim = claims(&ground.home()).expect("claims").pop().expect("a claim");
    assert_eq!(claim["state"], "open");
    assert!(!ground.out().exists());
    claim
}

#[test]
fn a_claim_is_adopted_by_the_same_command_only() {
    let ground = Ground::new("claim");
    let one = &["--threads", "1"];
    let claim = crash(&ground, &with(one));
    ground.save();
    let refused = |arguments: &[&str], hint: &str| {
        let run = ground.world.run(arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {}{}", run.stderr, run.text());
        let said = run.json().expect("JSON");
        assert!(said["hint"].as_str().is_some_and(|text| text.contains(hint)), "{arguments:?}: {said}");
        assert_eq!(claims(&ground.home()).expect("claims"), std::slice::from_ref(&claim), "{arguments:?}");
    };
    let id = claim["content_id"].as_str().expect("an id");
    let mut other = with(&[]);
    other[6] = "3";
    refused(&other, "--force");
    for more in [
        ["--iv", "sequence"],
        ["--key-uri", "https://keys.example/{key_id}"],
        ["--context", "a=b"],
        ["--digest", "blake3"],
    ] {
        refused(&with(&more), "--force");
    }
    // The content id is another DEST's, whatever is forced.
    refused(&to("elsewhere", &["--content-id", id]), "--content-id");
    refused(&to("elsewhere", &["--content-id", id, "--force"]), "--content-id");
    // The same command: how many threads work on it does not matter.
    ground.world.run(&with(&["--threads", "2"])).expect(0).expect("a package");
    assert_eq!(record(&ground.out()).expect("a record")["key_id"], claim["key"]["key_id"]);
    let first = tree(&ground.out()).expect("a tree");
    decrypts(&ground.world, &ground.out()).expect("a package");
    // And once more, when DEST was removed; with --force there is a new key.
    fs::remove_dir_all(ground.out()).expect("it goes");
    ground.world.run(&PLAIN).expect(0).expect("a package");
    assert!(tree(&ground.out()).expect("a tree") == first, "other bytes under the same claim");
    ground.world.run(&with(&["--force"])).expect(0).expect("a package");
    assert_ne!(record(&ground.out()).expect("a record")["key_id"], claim["key"]["key_id"]);
    // Given up with --force, and by an input that was touched.
    ground.reset();
    other.push("--force");
    ground.world.run(&other).expect(0).expect("a package");
    assert_ne!(record(&ground.out()).expect("a record")["key_id"], claim["key"]["key_id"]);
    ground.reset();
    let input = File::options().write(true).open(ground.world.folder.join("in.ts")).expect("the input");
    input.set_modified(std::time::SystemTime::now()).expect("touched");
    refused(&PLAIN, "--force");
    ground.world.run(&with(&["--force"])).expect(0).expect("a package");
    decrypts(&ground.world, &ground.out()).expect("a package");
    let now = claims(&ground.home()).expect("claims").pop().expect("a claim");
    assert_ne!((&now["key"]["key_id"], &now["nonce"]), (&claim["key"]["key_id"], &claim["nonce"]));
}

/// A run that was stopped between publication and mark has published what it had been asked for; a run with other settings
/// does not take that for its own work.
#[test]
fn a_package_of_other_settings_is_not_taken_for_ones_own() {
    let ground = Ground::new("other");
    let run = ground.world.run_injected(&with(&["--threads", "1"]), "renameat:signal=SIGKILL:when=1");
    assert_eq!(run.code, None, "{}", run.text());
    complete(&ground.out()).expect("a package");
    assert_eq!(claims(&ground.home()).expect("claims")[0]["state"], "open");
    ground.save();
    let old = ground.kept().expect("a tree");
    // The same command finds its work done, once.
    ground.world.run(&PLAIN).expect(0).expect("done");
    assert!(tree(&ground.out()).expect("a tree") == old);
    ground.world.run(&PLAIN).expect(2).expect("it exists");
    ground.reset();
    ground.world.run(&with(&["--force"])).expect(0).expect("done");
    ground.clean(&[]).expect("nothing else");
    let mut other = with(&["--force"]);
    other[6] = "3";
    ground.reset();
    ground.world.run(&other[..8]).expect(2).expect("it exists");
    assert!(tree(&ground.out()).expect("a tree") == old);
    ground.reset();
    ground.world.run(&other).expect(0).expect("a new package");
    let (now, then) = (record(&ground.out()).expect("a record"), record_of(&old));
    assert_ne!(now["key_id"], then["key_id"], "the old package was taken for the new one");
    decrypts(&ground.world, &ground.out()).expect("a package");
}

fn record_of(tree: &Tree) -> Value {
    serde_json::from_slice(&tree["keyrung.json"]).expect("a record")
}

#[test]
fn standard_input_never_adopts_a_nonce() {
    let ground = Ground::new("stdin");
    let input = repository(LONG);
    let arguments = ["--json", "package", "-", "--out", "out", "--segment-duration", "2", "-q"];
    let mut seen: Vec<Value> = Vec::new();
    for _ in 0..3 {
        let bytes = fs::read(&input).expect("a sample");
        // What the run before left is not what is waited for.
        let first = ground.world.folder.join(FIRST);
        let _ = fs::remove_file(&first);
        let mut child =
            ground.world.command(&arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("starts");
        let mut pipe = child.stdin.take().expect("a pipe");
        pipe.write_all(&bytes[..bytes.len() / 4 * 3]).expect("written");
        wait_until("the first segment", || first.exists());
        child.kill().expect("killed");
        child.wait().expect("ends");
        seen.push(claims(&ground.home()).expect("claims").pop().expect("a claim"));
    }
    // The same pipeline again needs no --force, and no nonce or key is used twice.
    ground.world.run_with_input(&arguments, &input).expect(0).expect("a package");
    decrypts(&ground.world, &ground.out()).expect("a package");
    seen.push(claims(&ground.home()).expect("claims").pop().expect("a claim"));
    for (number, one) in seen.iter().enumerate() {
        for other in &seen[..number] {
            assert_ne!(one["nonce"], other["nonce"]);
            assert_ne!(one["key"]["key_id"], other["key"]["key_id"]);
        }
    }
    // What is published is not given up unasked: not what is there, nor a key that players may have.
    ground.world.run_with_input(&arguments, &input).expect(2).expect("it exists");
    fs::remove_dir_all(ground.out()).expect("it goes");
    ground.world.run_with_input(&arguments, &input).expect(2).expect("it is claimed");
    let force = [&arguments[..], &["--force"]].concat();
    ground.world.run_with_input(&force, &input).expect(0).expect("a package");
    let last = claims(&ground.home()).expect("claims").pop().expect("a claim");
    assert!(seen.iter().all(|claim| claim["nonce"] != last["nonce"]), "a nonce is used twice");
}
