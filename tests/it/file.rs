//! `keyrung file`: openssl and Python's `cryptography` read what it makes, and it reads what they make; what is refused leaves
//! nothing.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyrung::crypto::key::FileKeyLength;
use keyrung::keys::{ContextPreset, KeyProvider, LocalKeyring};
use serde_json::{Value, json};

use super::common::{Check, Run, World, every, repository, started, tool};
use super::refusals::refuse;

/// A sealed key, and what is in it: only the tests know both.
struct Known {
    sealed: String,
    hex: String,
}

fn known(world: &World, bits: &str, preset: ContextPreset) -> Known {
    let (keyring, _) = LocalKeyring::open_or_create(&world.folder.join("home")).expect("a keyring");
    let length: FileKeyLength = bits.parse().expect("a length");
    let (key, sealed) = keyring.generate_file_key(length, &preset.context()).expect("a key");
    Known { sealed: STANDARD.encode(sealed.blob), hex: hex::encode(key.expose()) }
}

/// Bytes that compress badly and repeat nowhere in a block.
fn content(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn files(world: &World) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(&world.folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .filter(|name| name != "home")
        .collect();
    names.sort();
    names
}

/// Every mode with every length of key and IV.
fn schemes() -> Vec<(&'static str, &'static str, usize)> {
    let mut all = Vec::new();
    for bits in ["128", "192", "256"] {
        all.extend([("cbc", bits, 16), ("ctr", bits, 16), ("ctr", bits, 12), ("gcm", bits, 12), ("gcm", bits, 16)]);
    }
    all
}

/// Lengths around a block, a piece that is read at once, and a tile.
const LENGTHS: [usize; 7] = [0, 1, 15, 16, 17, 16_385, 600_001];

#[test]
fn openssl_and_cryptography_read_ours_and_we_theirs() {
    let python = repository("target/moto/bin/python");
    assert!(python.exists(), "there is no {}; hint: run scripts/moto, or scripts/test", python.display());
    every(
        &schemes(),
        |scheme| format!("{scheme:?}"),
        |(mode, bits, iv_length)| {
            let world = World::new("file");
            let key = known(&world, bits, ContextPreset::MediaConvert);
            let iv = hex::encode(content(*iv_length));
            let mut cases = Vec::new();
            for length in LENGTHS {
                let at = |kind: &str| world.folder.join(format!("{length}.{kind}"));
                fs::write(at("plain"), content(length)).map_err(|e| e.to_string())?;
                let (plain, ours) = (format!("{length}.plain"), format!("{length}.ours"));
                let args =
                    ["file", "encrypt", &plain, &ours, "--mode", mode, "--iv", &iv, "--wrapped-key", &key.sealed];
                world.run(&args).expect(0)?;
                for (work, from, to) in [("decrypt", "ours", "read"), ("encrypt", "plain", "theirs")] {
                    cases.push(
                        json!({"work": work, "mode": mode, "key": key.hex, "iv": iv, "from": at(from), "to": at(to)}),
                    );
                }
            }
            let list = world.folder.join("cases.json");
            fs::write(&list, Value::from(cases).to_string()).map_err(|e| e.to_string())?;
            let script = repository("tests/it/file_oracle.py");
            let run = std::process::Command::new(&python).arg(script).arg(&list).output();
            Run::of(started(run, "python3")).expect(0)?;
            for length in LENGTHS {
                let read = |kind: &str| fs::read(world.folder.join(format!("{length}.{kind}")));
                let read = |kind: &str| read(kind).map_err(|e| format!("{length}.{kind}: {e}"));
                check!(read("read")? == content(length), "{length} bytes: cryptography reads something else");
                check!(read("theirs")? == read("ours")?, "{length} bytes: cryptography writes something else");
                let (theirs, back) = (format!("{length}.theirs"), format!("{length}.back"));
                let args =
                    ["file", "decrypt", &theirs, &back, "--mode", mode, "--iv", &iv, "--wrapped-key", &key.sealed];
                world.run(&args).expect(0)?;
                check!(read("back")? == content(length), "{length} bytes: we read something else");
                if *mode != "gcm" {
                    openssl(&world, &format!("-aes-{bits}-{mode}"), &key.hex, &iv, length)?;
                }
            }
            Ok(())
        },
    );
}

/// The same with the command; openssl's has no GCM.
fn openssl(world: &World, cipher: &str, key: &str, iv: &str, length: usize) -> Check {
    let at = |kind: &str| world.folder.join(format!("{length}.{kind}")).display().to_string();
    let iv = format!("{iv:0<32}");
    for (work, from, to) in [("-d", "ours", "plain"), ("-e", "plain", "ours")] {
        let run = tool("openssl", &["enc", work, cipher, "-K", key, "-iv", &iv, "-in", &at(from)]).expect(0)?;
        check!(run.stdout == fs::read(at(to)).map_err(|e| e.to_string())?, "openssl {work} of {length} bytes differs");
    }
    Ok(())
}

#[test]
fn the_document_is_all_that_it_takes() {
    for (service, mode, fields, iv_length) in [
        ("mediaconvert", "gcm", &["DecryptionMode", "EncryptedDecryptionKey", "InitializationVector"][..], 16),
        ("mediaconvert", "ctr", &["DecryptionMode", "EncryptedDecryptionKey", "InitializationVector"], 24),
        ("elastic-transcoder", "gcm", &["InitializationVector", "Key", "KeyMd5", "Mode"], 24),
        ("elastic-transcoder", "cbc", &["InitializationVector", "Key", "KeyMd5", "Mode"], 24),
    ] {
        let world = World::new("file-document");
        fs::write(world.folder.join("in"), content(100_000)).expect("a file");
        let encrypt = ["file", "encrypt", "in", "out", "--document", service, "--mode", mode];
        let run = world.run(&encrypt).expect(0).expect("encrypted");
        let document = run.json().expect("the document");
        let mut names: Vec<_> = document.as_object().expect("an object").keys().cloned().collect();
        names.sort();
        assert_eq!(names, fields);
        assert_eq!(document["InitializationVector"].as_str().map(str::len), Some(iv_length));
        assert!(run.stderr.contains("keyrung key backup") && run.stderr.contains("no service of AWS can"));
        fs::write(world.folder.join("doc.json"), &run.stdout).expect("a file");
        world.run(&["file", "decrypt", "out", "back", "--document", "doc.json"]).expect(0).expect("decrypted");
        assert!(fs::read(world.folder.join("back")).expect("the file") == content(100_000));

        // The result with --json has it too, and it is not the same twice.
        let again =
            world.run(&[&["--json"], &encrypt[..3], &["again"], &encrypt[4..]].concat()).expect(0).expect("encrypted");
        let report = again.json().expect("json");
        assert_eq!((&report["bytes_in"], &report["service"]), (&json!(100_000), &json!(service)));
        assert!(report["document"]["InitializationVector"] != document["InitializationVector"]);
        fs::write(world.folder.join("report.json"), &again.stdout).expect("a file");
        let args = ["--json", "file", "decrypt", "again", "back2", "--document", "report.json"];
        let report = world.run(&args).expect(0).expect("decrypted").json().expect("json");
        assert_eq!((&report["bytes_out"], &report["mode"]), (&json!(100_000), &json!(mode)));
        assert_eq!(files(&world), ["again", "back", "back2", "doc.json", "in", "out", "report.json"]);
        // The other service's encryption context does not open it.
        let other = if service == "mediaconvert" { "elastic-transcoder" } else { "mediaconvert" };
        let args = ["file", "decrypt", "out", "no", "--document", "doc.json", "--context-preset", other];
        let run = refuse(&world, &args, 4).expect("a refusal");
        assert!(run.stderr.contains("--context-preset"), "{}", run.stderr);
    }
}

#[test]
fn pipes_work_on_both_sides() {
    for mode in ["cbc", "ctr", "gcm"] {
        let world = World::new("file-pipes");
        fs::write(world.folder.join("in"), content(700_001)).expect("a file");
        let args = ["file", "encrypt", "-", "-", "--mode", mode, "--save-document", "doc.json"];
        let encrypted = world.run_with_input(&args, &world.folder.join("in")).expect(0).expect("encrypted");
        fs::write(world.folder.join("enc"), &encrypted.stdout).expect("a file");
        for (input, output) in [("-", "-"), ("enc", "-"), ("-", "back")] {
            let args = ["file", "decrypt", input, output, "--document", "doc.json"];
            let run = world.run_with_input(&args, &world.folder.join("enc")).expect(0).expect("decrypted");
            let back = if output == "-" { run.stdout } else { fs::read(world.folder.join(output)).expect("the file") };
            assert!(back == content(700_001), "{mode} {input} {output}");
        }
        refuse(&world, &["file", "encrypt", "in", "-"], 2).expect("the document has no place");
    }
}

/// Unauthenticated plaintext is never to be found: not under the name, not beside it, not on standard output.
#[test]
fn a_changed_file_in_gcm_gives_nothing() {
    let world = World::new("file-changed");
    let plain = b"PLAINTEXT ".repeat(80_000);
    fs::write(world.folder.join("in"), &plain).expect("a file");
    world.run(&["file", "encrypt", "in", "enc", "--save-document", "doc.json"]).expect(0).expect("encrypted");
    fs::remove_file(world.folder.join("in")).expect("removed");
    let good = fs::read(world.folder.join("enc")).expect("the file");
    let mut changed = vec![good[..good.len() - 1].to_vec(), good[..20].to_vec(), good[..3].to_vec(), Vec::new()];
    for at in [0, good.len() / 2, good.len() - 17, good.len() - 16, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        changed.push(bad);
    }
    for bad in changed {
        fs::write(world.folder.join("bad"), &bad).expect("a file");
        for (input, output) in [("bad", "out"), ("bad", "-"), ("-", "out"), ("-", "-")] {
            let args = ["file", "decrypt", input, output, "--document", "doc.json"];
            let run = world.run_with_input(&args, &world.folder.join("bad")).expect(3).expect("a refusal");
            assert!(run.stdout.is_empty() && run.stderr.starts_with("error: "), "{}", run.stderr);
            assert_eq!(files(&world), ["bad", "doc.json", "enc"]);
        }
    }
    // Killed while it writes: what is left, if anything, is nothing of the plaintext.
    for when in 1..4 {
        let args = ["file", "decrypt", "enc", "out", "--document", "doc.json"];
        let run = world.run_injected(&args, &format!("write:signal=SIGKILL:when={when}"));
        assert_eq!(run.code, None, "it was killed: {}", run.stderr);
        for name in files(&world) {
            let bytes = fs::read(world.folder.join(&name)).expect("the file");
            assert!(name != "out" && !bytes.windows(10).any(|part| part == b"PLAINTEXT "), "{name} is left");
        }
    }
    // Stopped by a full disk: the same, and said.
    let args = ["file", "decrypt", "enc", "out", "--document", "doc.json"];
    let run = world.run_injected(&args, "write:error=ENOSPC:when=2").expect(5).expect("a refusal");
    assert!(run.stderr.contains("no space left") && !files(&world).contains(&"out".to_owned()), "{}", run.stderr);
    // The other modes say when they can tell.
    fs::write(world.folder.join("in"), &plain).expect("a file");
    let args = ["file", "encrypt", "in", "cbc", "--mode", "cbc", "--save-document", "cbc.json"];
    world.run(&args).expect(0).expect("encrypted");
    File::options()
        .append(true)
        .open(world.folder.join("cbc"))
        .and_then(|mut file| file.write_all(b"x"))
        .expect("a byte");
    refuse(&world, &["file", "decrypt", "cbc", "out", "--document", "cbc.json"], 3).expect("a refusal");
}

#[test]
fn nothing_is_replaced_unasked() {
    let world = World::new("file-force");
    fs::write(world.folder.join("in"), "new").expect("a file");
    for name in ["out", "doc.json", "link"] {
        fs::write(world.folder.join(name), "old").expect("a file");
    }
    let old = |name: &str| fs::read(world.folder.join(name)).expect("the file") == b"old";
    let run = refuse(&world, &["file", "encrypt", "in", "out"], 2).expect("a refusal");
    assert!(run.stderr.contains("--force"), "{}", run.stderr);
    refuse(&world, &["file", "encrypt", "in", "new", "--save-document", "doc.json"], 2).expect("a refusal");
    refuse(&world, &["file", "encrypt", "in", "/dev/null", "--force"], 2).expect("a refusal");
    refuse(&world, &["file", "encrypt", "in", ".", "--force"], 2).expect("a refusal");
    refuse(&world, &["file", "encrypt", "nothing", "out", "--force"], 3).expect("a refusal");
    refuse(&world, &["file", "encrypt", "in", "no/folder"], 5).expect("a refusal");
    assert!(old("out") && old("doc.json") && !world.folder.join("new").exists());
    let args = ["file", "encrypt", "in", "out", "--force", "--save-document", "doc2.json"];
    world.run(&args).expect(0).expect("replaced");
    assert!(!old("out"));
    let mut bad = fs::read(world.folder.join("out")).expect("the file");
    bad[0] ^= 1;
    fs::write(world.folder.join("bad"), bad).expect("a file");
    refuse(&world, &["file", "decrypt", "bad", "doc.json", "--document", "doc2.json", "--force"], 3)
        .expect("a refusal");
    assert!(old("doc.json"), "a failure leaves the old file");
    // In place.
    world.run(&["file", "decrypt", "out", "out", "--document", "doc2.json", "--force"]).expect(0).expect("decrypted");
    assert_eq!(fs::read_to_string(world.folder.join("out")).expect("the file"), "new");
}

#[test]
fn provided_keys_are_checked() {
    let world = World::new("file-keys");
    fs::write(world.folder.join("in"), "text").expect("a file");
    let key = known(&world, "192", ContextPreset::MediaConvert);
    let blob = STANDARD.decode(&key.sealed).expect("base64");
    let raw = hex::decode(&key.hex).expect("hex");
    fs::write(world.folder.join("blob"), &blob).expect("a file");
    fs::write(world.folder.join("plain-key"), &raw).expect("a file");
    let md5 = |bytes: &[u8]| {
        let mut child = std::process::Command::new("openssl");
        let child = child.args(["md5", "-binary"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started(child, "openssl");
        child.stdin.take().expect("a pipe").write_all(bytes).expect("written");
        STANDARD.encode(child.wait_with_output().expect("openssl ends").stdout)
    };
    let encrypt = |key: &str, md5: &str| {
        let args = ["file", "encrypt", "in", "out", "--force", "--wrapped-key", key, "--wrapped-key-md5", md5];
        world.run(&args)
    };
    let run = encrypt(&key.sealed, &md5(&blob)).expect(0).expect("the checksum of the sealed key");
    assert!(
        !run.stderr.contains("warning") && run.json().expect("json")["EncryptedDecryptionKey"] == json!(key.sealed)
    );
    encrypt("@blob", &md5(&blob)).expect(0).expect("the sealed key in a file");
    let run = encrypt(&key.sealed, &md5(&raw)).expect(0).expect("the checksum of the key");
    assert!(run.stderr.contains("warning: the MD5"), "{}", run.stderr);
    let run = encrypt(&key.sealed, &md5(b"other")).expect(4).expect("a wrong checksum");
    assert!(run.stderr.contains(&md5(&blob)) && !run.stderr.contains(&md5(&raw)), "{}", run.stderr);
    encrypt(&key.sealed, "AAAA").expect(2).expect("no checksum");

    // A plaintext key in the place of a sealed one, in every spelling, is refused and not told (spec MCV-01).
    for given in [key.hex.clone(), key.hex.to_uppercase(), STANDARD.encode(&raw), "@plain-key".into()] {
        let run = refuse(&world, &["file", "encrypt", "in", "out", "--force", "--wrapped-key", &given], 4);
        let run = run.expect("a refusal");
        assert!(run.stderr.contains("plaintext key") && !run.stderr.contains(&given[1..]), "{}", run.stderr);
        let document = json!({"Mode": "aes-ctr", "Key": given, "InitializationVector": STANDARD.encode([1; 16])});
        fs::write(world.folder.join("bad.json"), document.to_string()).expect("a file");
        let run = world.run(&["file", "decrypt", "in", "no", "--document", "bad.json"]).expect(4).expect("a refusal");
        assert!(!run.stderr.contains(&given[1..]), "{}", run.stderr);
    }
    let mut bad = blob;
    bad[40] ^= 1;
    refuse(&world, &["file", "encrypt", "in", "no", "--wrapped-key", &STANDARD.encode(bad)], 4).expect("a refusal");
    // IVs that are none, or do not go with the mode (spec MCV-02, MCV-03).
    for (mode, iv) in [
        ("cbc", "AQEBAQEBAQEBAQEB"),
        ("ctr", "AQEB"),
        ("gcm", "?"),
        ("ctr", "MDAwMTAyMDMwNDA1MDYwNzA4MDkwYTBiMGMwZDBlMGY="),
    ] {
        refuse(&world, &["file", "encrypt", "in", "no", "--mode", mode, "--iv", iv], 2).expect("a refusal");
    }
    assert!(!world.folder.join("no").exists());
    // No key is anywhere but in its own file.
    for name in files(&world).iter().filter(|name| *name != "plain-key" && *name != "bad.json") {
        let bytes = fs::read(world.folder.join(name)).expect("the file");
        assert!(!bytes.windows(24).any(|part| part == raw), "{name} holds the key");
    }
}

/// Twice the memory that it may have, as a file with holes; and more than GCM can take.
#[test]
fn memory_does_not_grow_with_the_file() {
    let world = World::new("file-large");
    let sparse = |name: &str, length: u64| File::create(world.folder.join(name))?.set_len(length);
    sparse("large", 256 << 20).expect("a file");
    sparse("too-large", (64 << 30) - 31).expect("a file");
    let run = refuse(&world, &["file", "encrypt", "too-large", "out"], 3).expect("a refusal");
    assert!(run.stderr.contains("64 GiB") && !world.folder.join("home").exists(), "{}", run.stderr);
    let limited = |arguments: &[&str]| {
        let mut command = world.wrapped("prlimit", &["--as=134217728"], arguments);
        Run::of(started(command.stdin(Stdio::null()).output(), "prlimit"))
    };
    limited(&["file", "encrypt", "large", "out", "--save-document", "doc.json"]).expect(0).expect("encrypted");
    limited(&["file", "decrypt", "out", "back", "--document", "doc.json"]).expect(0).expect("decrypted");
    let same = tool("cmp", &[&path(&world, "large"), &path(&world, "back")]);
    assert_eq!(same.code, Some(0), "{}", same.stderr);
    for name in ["large", "out", "back", "too-large"] {
        fs::remove_file(world.folder.join(name)).expect("removed");
    }
}

fn path(world: &World, name: &str) -> String {
    Path::new(&world.folder).join(name).display().to_string()
}

/// Whoever loses the document has lost the file.
#[test]
fn nothing_is_encrypted_when_its_document_is_lost() {
    let world = World::new("file-lost");
    fs::write(world.folder.join("in"), "text").expect("a file");
    for more in [&[][..], &["--json"]] {
        let full = File::options().write(true).open("/dev/full").expect("it is there");
        let mut command = world.command(&[more, &["file", "encrypt", "in", "in", "--force"]].concat());
        let run = command.stdin(Stdio::null()).stdout(full).output();
        Run::of(started(run, "keyrung")).expect(5).expect("a failure");
        assert_eq!(fs::read_to_string(world.folder.join("in")).expect("the file"), "text");
    }
}

/// What another program has read of standard input is not asked for again.
#[test]
fn standard_input_is_read_from_where_it_stands() {
    let world = World::new("file-offset");
    fs::write(world.folder.join("in"), "0123456789abcdef").expect("a file");
    let mut from = File::open(world.folder.join("in")).expect("the file");
    std::io::Seek::seek(&mut from, std::io::SeekFrom::Start(4)).expect("a place");
    let mut command = world.command(&["file", "encrypt", "-", "out", "--save-document", "d.json"]);
    Run::of(started(command.stdin(from).output(), "keyrung")).expect(0).expect("a file");
    world.run(&["file", "decrypt", "out", "plain", "--document", "d.json"]).expect(0).expect("a file");
    assert_eq!(fs::read_to_string(world.folder.join("plain")).expect("the file"), "456789abcdef");
}

/// A signal does not wait for a pipe that is silent.
#[test]
fn a_silent_pipe_does_not_keep_it() {
    let world = World::new("file-silent");
    let mut command = world.command(&["file", "encrypt", "-", "out", "--save-document", "d.json"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("keyrung");
    // Waiting for a child closes its standard input, unless it is held.
    let _silent = child.stdin.take();
    // Signals are caught before the keyring is made.
    let begun = std::time::Instant::now();
    while !world.folder.join("home/keyring.json").exists() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "it makes no keyring");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    tool("kill", &["-TERM", &child.id().to_string()]);
    let begun = std::time::Instant::now();
    let ended = child.wait().expect("its end");
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    assert_eq!(ended.code(), Some(143));
    assert!(!world.folder.join("out").exists());
}
