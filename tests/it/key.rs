//! `keyrung key`: what is stored of keys, what comes out of them, and what never does.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::common::{Check, Run, World, repository};
use super::package::{self, path_text};
use super::refusals::refuse;

/// A world with an input in it.
fn world(name: &str) -> World {
    let world = World::new(name);
    fs::copy(repository("fixtures/plain.ts"), world.folder.join("in.ts")).expect("a copy");
    world
}

fn generate(world: &World, content_id: &str) -> String {
    let run = world.run(&["key", "generate", "--content-id", content_id]).expect(0).expect("a key");
    let id = run.text().trim_end().to_owned();
    assert_eq!(id.len(), 36, "{id:?} is not a key id");
    id
}

fn export(world: &World, id: &str) -> Vec<u8> {
    world.run(&["key", "export", id]).expect(0).expect("the key").stdout
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

/// In base64, without padding.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    text
}

#[test]
fn a_key_is_made_listed_shown_and_deleted() {
    let world = World::new("key");
    let run = world.run(&["--json", "key", "list"]).expect(0).expect("an empty list");
    assert_eq!(run.json().expect("json")["keys"].as_array().map(Vec::len), Some(0));
    assert!(!world.folder.join("home").exists(), "to look makes nothing");
    let args = ["--json", "key", "generate", "--content-id", "film", "--context", "title=A b", "--context", "x=y=z"];
    let run = world.run(&args).expect(0).expect("a key");
    assert!(
        run.stderr.contains("keyrung key backup"),
        "the first run says how not to lose the keyring: {}",
        run.stderr
    );
    let record = run.json().expect("the record");
    let id = record["key_id"].as_str().expect("an id").to_owned();
    assert_eq!(record["content_id"], "film");
    assert_eq!(record["provider"], "local");
    assert_eq!(record["context"].to_string(), r#"{"content-id":"film","title":"A b","x":"y=z"}"#);
    let stored = fs::read(world.folder.join(format!("home/keys/{id}.json"))).expect("the stored record");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&stored).expect("json"), record);
    let show = world.run(&["--json", "key", "show", &id]).expect(0).expect("the record");
    assert_eq!(show.json().expect("json"), record);
    let show = world.run(&["key", "show", &id]).expect(0).expect("the record").text();
    assert!(show.contains(&id) && show.contains("x=y=z") && show.contains("none"), "{show}");
    let second = generate(&world, "other");
    let list = world.run(&["key", "list"]).expect(0).expect("a list").text();
    assert!(list.contains(&id) && list.contains(&second) && list.lines().count() == 3, "{list}");
    world.run(&["key", "delete", &id]).expect(0).expect("deleted");
    for gone in [&["key", "show", &id][..], &["key", "export", &id, "--hex"], &["key", "delete", &id]] {
        let run = refuse(&world, gone, 4).expect("a refusal");
        assert!(run.stderr.contains("hint: keyrung key list"), "{}", run.stderr);
    }
    let list = world.run(&["key", "list"]).expect(0).expect("a list").text();
    assert!(!list.contains(&id) && list.contains(&second), "{list}");
}

#[test]
fn presets_replace_the_context() {
    let world = World::new("preset");
    let args = ["--json", "key", "generate", "--content-id", "film", "--context-preset", "elastic-transcoder"];
    let record = world.run(&args).expect(0).expect("a key").json().expect("json");
    assert_eq!(record["context"].to_string(), r#"{"service":"elastictranscoder.amazonaws.com"}"#);
    for wrong in [&["--content-id", "film", "--context-preset", "other"][..], &["--content-id", ".."], &[]] {
        refuse(&world, &[&["key", "generate"], wrong].concat(), 2).expect("a refusal");
    }
}

#[test]
fn an_exported_key_is_the_one_that_decrypts() {
    let world = world("export");
    let run = world.run(&["--json", "package", "in.ts", "--out", "out", "--content-id", "film"]);
    let package = package::read(world.clone(), run).expect("a package that decrypts");
    let id = package.json["key_id"].as_str().expect("a key id");
    let run = world.run(&["key", "export", id]).expect(0).expect("the key");
    assert_eq!(hex::encode(&run.stdout), package.key);
    assert!(run.stderr.contains("plaintext"), "{}", run.stderr);
    let json = world.run(&["--json", "key", "export", id]).expect(0).expect("the key").json().expect("json");
    assert_eq!(json["key_hex"], package.key.as_str());
    let list = world.run(&["--json", "key", "list"]).expect(0).expect("a list").json().expect("json");
    assert_eq!(list["keys"][0]["package"]["state"], "published");
    assert_eq!(list["keys"][0]["package"]["dest"], path_text(&package.folder.canonicalize().expect("a folder")));
}

#[test]
fn a_package_takes_a_key_of_the_store_and_other_ivs_each_time() {
    let world = world("package-key");
    let id = generate(&world, "film");
    let base = ["--json", "package", "in.ts", "--out", "out", "--content-id", "film", "--key", &id];
    let mut ivs: HashSet<String> = HashSet::new();
    let mut count = 0;
    for more in [&[][..], &["--force"], &["--force"]] {
        let run = world.run(&[&base[..], more].concat());
        let package = package::read(world.clone(), run).expect("a package that decrypts");
        assert_eq!(package.json["key_id"], id.as_str());
        assert_eq!(package.key, hex::encode(export(&world, &id)));
        for segment in package.renditions.iter().flat_map(|rendition| &rendition.segments) {
            ivs.insert(segment.iv.clone());
            count += 1;
        }
    }
    assert_eq!(ivs.len(), count, "an IV was used twice");
    let other = ["package", "in.ts", "--out", "other", "--content-id", "other", "--key", &id];
    let run = refuse(&world, &other, 2).expect("a refusal");
    assert!(run.stderr.contains("--content-id film"), "{}", run.stderr);
    let twice = ["package", "in.ts", "--out", "other", "--content-id", "film", "--key", &id];
    refuse(&world, &twice, 2).expect("the content id is claimed for out");
    let bound = ["package", "in.ts", "--out", "other", "--content-id", "film", "--key", &id, "--context", "a=b"];
    refuse(&world, &bound, 2).expect("the key is bound already");
    assert!(!world.folder.join("other").exists());
}

#[test]
fn a_key_is_imported_from_a_file_or_a_pipe() {
    let world = World::new("import");
    let key: [u8; 16] = std::array::from_fn(|at| at as u8 * 7 + 1);
    let (raw, digits) = (world.folder.join("raw"), world.folder.join("hex"));
    fs::write(&raw, key).expect("a file");
    fs::write(&digits, format!("{}\n", hex::encode_upper(key))).expect("a file");
    let import = |file: &str| ["key", "import", file, "--content-id", "film"].map(str::to_owned);
    let check = |run: Run| {
        let id = run.expect(0).expect("a key").text().trim_end().to_owned();
        assert_eq!(export(&world, &id), key);
    };
    for file in [&raw, &digits] {
        let args = import(path_text(file));
        check(world.run(&args.each_ref().map(String::as_str)));
        check(world.run_with_input(&import("-").each_ref().map(String::as_str), file));
    }
    fs::write(&raw, &key[1..]).expect("a file");
    refuse(&world, &["key", "import", "raw", "--content-id", "film"], 4).expect("a refusal");
    refuse(&world, &["key", "import", "nothing", "--content-id", "film"], 3).expect("a refusal");
    refuse(&world, &["key", "import", "/dev/zero", "--content-id", "film"], 4).expect("a refusal");
    let argv = hex::encode(key);
    refuse(&world, &["key", "import", &argv, "--content-id", "film"], 3).expect("not from the command line");
}

#[test]
fn a_key_that_a_package_needs_is_deleted_only_on_demand() {
    let world = world("delete");
    let run = world.run(&["--json", "package", "in.ts", "--out", "out", "--content-id", "film"]).expect(0);
    let id = run.expect("a package").json().expect("json")["key_id"].as_str().expect("an id").to_owned();
    let run = refuse(&world, &["key", "delete", &id], 2).expect("a refusal");
    assert!(run.stderr.contains("out") && run.stderr.contains("--yes"), "{}", run.stderr);
    export(&world, &id);
    let run = world.run(&["key", "delete", &id, "--yes"]).expect(0).expect("deleted");
    assert!(run.stderr.contains("never be decrypted"), "{}", run.stderr);
    for file in files(&world.folder.join("home")) {
        assert!(!fs::read_to_string(&file).expect("text").contains(&id), "{} still has it", file.display());
    }
    let run = world.run(&["--json", "package", "in.ts", "--out", "out", "--content-id", "film", "--force"]);
    package::read(world, run).expect("the content id is free");
}

#[test]
fn a_backup_opens_old_packages_on_another_machine() {
    let world = world("backup");
    refuse(&world, &["key", "backup", "copy"], 4).expect("there is no keyring yet");
    let run = world.run(&["--json", "package", "in.ts", "--out", "out", "--content-id", "film"]);
    let package = package::read(world.clone(), run).expect("a package");
    let id = package.json["key_id"].as_str().expect("an id");
    world.run(&["key", "backup", "copy"]).expect(0).expect("a backup");
    let copy = world.folder.join("copy");
    assert_eq!(fs::metadata(&copy).expect("the copy").permissions().mode() & 0o777, 0o600);
    refuse(&world, &["key", "backup", "copy"], 2).expect("a backup is not overwritten");
    assert_eq!(fs::read(&copy).expect("the copy"), fs::read(world.folder.join("home/keyring.json")).expect("keyring"));

    let store = world.folder.join("home/keys");
    let other = World::new("backup-other");
    let export = ["key", "export", id, "--key-store", path_text(&store)];
    refuse(&other, &export, 4).expect("another machine has no keyring");
    generate(&other, "something");
    let run = refuse(&other, &export, 4).expect("another keyring does not open it");
    assert!(run.stderr.contains("hint: put the keyring back"), "{}", run.stderr);
    let restore = ["key", "restore", path_text(&copy)];
    let run = refuse(&other, &restore, 2).expect("another keyring is not replaced unasked");
    assert!(run.stderr.contains("--force"), "{}", run.stderr);
    other.run(&[&restore[..], &["--force"]].concat()).expect(0).expect("restored");
    assert_eq!(hex::encode(other.run(&export).expect(0).expect("the key").stdout), package.key);
    other.run(&restore).expect(0).expect("the same again is no error");

    let fresh = World::new("backup-fresh");
    refuse(&fresh, &["key", "restore", "nothing"], 4).expect("no backup");
    fresh.run(&restore).expect(0).expect("restored");
    let restored = fresh.folder.join("home/keyring.json");
    assert_eq!(fs::metadata(&restored).expect("the keyring").permissions().mode() & 0o777, 0o600);
    assert_eq!(hex::encode(fresh.run(&export).expect(0).expect("the key").stdout), package.key);
}

#[test]
fn a_key_store_that_is_named_must_be_there() {
    let world = World::new("no-store");
    for look in [&["key", "list"][..], &["gc"]] {
        refuse(&world, &[look, &["--key-store", "nowhere"]].concat(), 4).expect("a refusal");
    }
    assert!(!world.folder.join("nowhere").exists());
}

#[test]
fn documents_of_unknown_versions_are_refused() {
    let world = world("versions");
    let id = generate(&world, "film");
    let later = |file: &Path| {
        let text = fs::read_to_string(file).expect("a document");
        let other = text.replacen("\"version\": 1", "\"version\": 2", 1);
        assert_ne!(text, other);
        fs::write(file, other).expect("a document");
        text
    };
    let stored = world.folder.join(format!("home/keys/{id}.json"));
    let before = later(&stored);
    let run = refuse(&world, &["key", "show", &id], 4).expect("a refusal");
    assert!(run.stderr.contains("format version 2"), "{}", run.stderr);
    let list = world.run(&["--json", "key", "list"]).expect(0).expect("a list").json().expect("json");
    assert_eq!(list["damaged"][0]["key_id"], id.as_str());
    fs::write(&stored, before).expect("a document");

    let keyring = world.folder.join("home/keyring.json");
    let before = later(&keyring);
    refuse(&world, &["key", "export", &id, "--hex"], 4).expect("a refusal");
    refuse(&world, &["key", "backup", "copy"], 4).expect("a refusal");
    refuse(&world, &["package", "in.ts", "--out", "out"], 4).expect("a refusal");
    fs::write(&keyring, before).expect("a document");

    let arguments = ["package", "in.ts", "--out", "out", "--content-id", "film", "--key", &id];
    world.run(&arguments).expect(0).expect("a package");
    later(&world.folder.join("home/keys/claims/film.json"));
    refuse(&world, &["key", "delete", &id, "--yes"], 4).expect("a refusal");
    refuse(&world, &[&arguments[..], &["--force"]].concat(), 4).expect("a refusal");
}

#[test]
fn keys_are_in_no_file_and_no_output() {
    let world = world("leaks");
    let id = generate(&world, "film");
    let steps: [&[&str]; 7] = [
        &["-v", "package", "in.ts", "--out", "out", "--content-id", "film", "--key", &id],
        &["-v", "--json", "package", "in.ts", "--out", "out", "--content-id", "film", "--key", &id, "--force"],
        &["-v", "key", "list"],
        &["-v", "key", "show", &id],
        &["-v", "--json", "key", "show", &id],
        &["-v", "gc", "out", "--claims"],
        &["-v", "key", "delete", &id],
    ];
    let key = export(&world, &id);
    let keyring = world.folder.join("home/keyring.json");
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&keyring).expect("it")).expect("json");
    let kek = json["kek"].as_str().expect("the key").trim_end_matches('=').to_owned();
    let text = base64(&key);
    let needles: Vec<Vec<u8>> = [
        key.clone(),
        hex::encode(&key).into_bytes(),
        hex::encode_upper(&key).into_bytes(),
        text.clone().into_bytes(),
        text.replace('+', "-").replace('/', "_").into_bytes(),
        kek.into_bytes(),
    ]
    .into();
    let clean = |what: &str, bytes: &[u8]| {
        for needle in &needles {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{what} has a key");
        }
    };
    for step in steps {
        let run = world.run(step);
        assert!(matches!(run.code, Some(0 | 2)), "{step:?}: {}", run.stderr);
        clean(&format!("{step:?}"), &run.stdout);
        clean(&format!("{step:?}"), run.stderr.as_bytes());
    }
    for file in files(&world.folder.join("out")).into_iter().chain(files(&world.folder.join("home"))) {
        if file != keyring {
            clean(&file.display().to_string(), &fs::read(&file).expect("a file"));
        }
    }
    assert!(!String::from_utf8_lossy(&fs::read(&keyring).expect("it")).contains(&text), "the keyring has a data key");
}

/// The check above must be able to find something.
#[test]
fn base64_is_that_of_rfc_4648() {
    let cases = [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("foobar", "Zm9vYmFy")];
    for (text, expected) in cases {
        assert_eq!(base64(text.as_bytes()), expected);
    }
}

/// A result that did not get out is a failure: an empty file must not pass for a key.
#[test]
fn a_full_disk_is_told() -> Check {
    let world = World::new("full");
    let id = generate(&world, "film");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").map_err(|e| e.to_string())?;
    let output = world.command(&["key", "export", &id]).stdout(full).output().map_err(|e| e.to_string())?;
    let run = Run::of(output).expect(5)?;
    check!(run.stderr.starts_with("error: "), "{}", run.stderr);
    Ok(())
}
