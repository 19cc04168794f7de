//! Encrypted inputs, provided keys and jobs of Elastic Transcoder: what `keyrung package` makes of them.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use super::common::{World, repository, started, tool};
use super::disk::tree;
use super::package::{self, path_text};
use super::refusals::refuse;

/// A world with a fixture, and the same encrypted in each mode.
fn world(name: &str) -> World {
    let world = World::new(name);
    fs::copy(repository("fixtures/plain.ts"), world.folder.join("clear.ts")).expect("a copy");
    for mode in ["cbc", "ctr", "gcm"] {
        let (file, document) = (format!("{mode}.enc"), format!("{mode}.json"));
        let args = ["file", "encrypt", "clear.ts", &file, "--mode", mode, "--save-document", &document];
        world.run(&args).expect(0).expect("encrypted");
    }
    world
}

fn text(world: &World, name: &str) -> String {
    fs::read_to_string(world.folder.join(name)).expect("the file")
}

/// Everything but the commit record, whose ids differ, of a package with fixed IVs under a given key.
fn segments(world: &World, input: &[&str], out: &str, key: &str) -> Vec<(String, Vec<u8>)> {
    let iv = "000102030405060708090a0b0c0d0e0f";
    let id = format!("film-{out}");
    let fixed = ["--out", out, "--content-id", &id, "--iv", iv, "--segment-duration", "2", "--wrapped-key", key];
    let context = ["--context-preset", "mediaconvert", "--key-uri", "https://k.example/key"];
    world.run(&[&["package"], input, &fixed, &context].concat()).expect(0).expect("packaged");
    let mut files: Vec<_> = tree(&world.folder.join(out)).expect("a package").into_iter().collect();
    files.retain(|(name, _)| name != "keyrung.json");
    files
}

/// A key of 128 bits that the local keyring has sealed for MediaConvert.
fn sealed_key(world: &World) -> String {
    let args = ["file", "encrypt", "clear.ts", "-", "--key-bits", "128", "--save-document", "key.json"];
    world.run(&args).expect(0).expect("encrypted");
    let document: Value = serde_json::from_str(&text(world, "key.json")).expect("json");
    document["EncryptedDecryptionKey"].as_str().expect("a key").to_owned()
}

#[test]
fn encrypted_inputs_make_the_same_package() {
    let world = world("inputs");
    let key = sealed_key(&world);
    let clear = segments(&world, &["a=clear.ts"], "clear", &key);
    assert!(clear.len() > 3);
    for mode in ["cbc", "ctr", "gcm"] {
        let document = format!("@{mode}.json");
        let input = format!("a={mode}.enc");
        let made = segments(&world, &[&input, "--input-decryption", &document], mode, &key);
        assert!(made == clear, "{mode}");
    }
    // Fields instead of a document, and one of several inputs that is clear.
    let document: Value = serde_json::from_str(&text(&world, "ctr.json")).expect("json");
    let field = |name: &str| document[name].as_str().expect("a text").to_owned();
    let how = format!("mode=ctr,iv={},wrapped-key={}", field("InitializationVector"), field("EncryptedDecryptionKey"));
    let two = ["a=ctr.enc", "b=clear.ts", "--input-decryption", &how, "--input-decryption", "none"];
    let made = segments(&world, &two, "two", &key);
    assert!(clear.iter().filter(|(name, _)| name.starts_with("a/")).all(|file| made.contains(file)));
    // No file but the input holds plaintext packets, and inputs are as they were.
    for (name, bytes) in tree(&world.folder).expect("the world") {
        let is_plain = bytes.len() > 376 && bytes[0] == 0x47 && bytes[188] == 0x47 && bytes[376] == 0x47;
        assert!(!is_plain || name == "clear.ts", "{name} is plaintext");
    }
}

#[test]
fn encrypted_inputs_are_refused_when_they_are_not_right() {
    let world = world("inputs-refused");
    let good = fs::read(world.folder.join("gcm.enc")).expect("the file");
    for (name, at) in [("first", 0), ("middle", good.len() / 2), ("tag", good.len() - 1)] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(world.folder.join(name), bad).expect("a file");
        let args = ["package", name, "--out", "out", "--input-decryption", "@gcm.json"];
        let run = refuse(&world, &args, 3).expect("a refusal");
        assert!(run.stderr.contains("authentication tag"), "{}", run.stderr);
    }
    fs::write(world.folder.join("short"), &good[..good.len() - 188]).expect("a file");
    fs::write(world.folder.join("odd"), &good[..1001]).expect("a file");
    fs::write(world.folder.join("empty"), b"").expect("a file");
    for (input, document, code) in [
        ("short", "@gcm.json", 3),
        ("odd", "@cbc.json", 3),
        ("empty", "@cbc.json", 3),
        ("empty", "@gcm.json", 3),
        ("empty", "@ctr.json", 3),
        // Another mode or another key: what comes out is no transport stream.
        ("cbc.enc", "@ctr.json", 3),
        ("ctr.enc", "none", 3),
        ("ctr.enc", "@nothing.json", 3),
        ("ctr.enc", "mode=ctr", 2),
        ("-", "@ctr.json", 2),
    ] {
        refuse(&world, &["package", input, "--out", "out", "--input-decryption", document], code).expect(input);
    }
    let twice = ["--input-decryption", "none", "--input-decryption", "none"];
    refuse(&world, &[&["package", "clear.ts", "--out", "out"], &twice[..]].concat(), 2).expect("a refusal");
    assert!(!world.folder.join("out").exists());
    let plain = "5ec4e75ec4e75ec4e75ec4e75ec4e75e";
    for how in [format!("mode=ctr,iv={plain},key={plain}"), format!("mode=ctr,iv=00,wrapped-key={plain}")] {
        let run = refuse(&world, &["package", "ctr.enc", "--out", "out", "--input-decryption", &how], 2);
        let run = run.expect("a refusal");
        assert!(!run.stderr.contains(plain), "{}", run.stderr);
    }
}

#[test]
fn a_provided_key_is_used_as_it_is() {
    let world = world("inputs-key");
    let key = sealed_key(&world);
    let blob = world.folder.join("key.b64");
    fs::write(&blob, &key).expect("a file");
    let md5 = |what: &str| {
        let shell = format!("base64 -d key.b64 {what}| openssl md5 -binary | base64");
        let mut command = std::process::Command::new("sh");
        let output = command.args(["-c", &shell]).current_dir(&world.folder).stdin(Stdio::null()).output();
        String::from_utf8(started(output, "openssl").stdout).expect("text").trim().to_owned()
    };
    let args = |out: &'static str, id: &'static str, md5: &str| {
        let fixed = ["--json", "package", "clear.ts", "--out", out, "--content-id", id, "--wrapped-key", "@key.b64"];
        let more = ["--context-preset", "mediaconvert", "--segment-duration", "2", "--wrapped-key-md5", md5];
        fixed.iter().chain(&more).map(|text| (*text).to_owned()).collect::<Vec<_>>()
    };
    let run = |out, id, md5: &str| {
        let args = args(out, id, md5);
        world.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let made = run("out", "film", &md5("")).expect(0).expect("packaged");
    assert!(!made.stderr.contains("warning"), "{}", made.stderr);
    let made = package::read(world.clone(), made).expect("a package that openssl decrypts");
    assert_eq!(made.json["sealed_key"]["ciphertext"], json!(key));
    let refused = run("no", "other", &md5("| head -c 20 ")).expect(4).expect("another checksum");
    assert!(refused.text().contains("MD5"), "{}", refused.text());
    // The same with a key of 256 bits is refused, as is the key itself in the place of the sealed one.
    let long: Value = serde_json::from_str(&text(&world, "ctr.json")).expect("json");
    let long = long["EncryptedDecryptionKey"].as_str().expect("a key");
    for given in [long, &made.key] {
        let args = ["package", "clear.ts", "--out", "no", "--wrapped-key", given, "--context-preset", "mediaconvert"];
        let run = refuse(&world, &args, 4).expect("a refusal");
        assert!(!run.stderr.contains(&made.key), "{}", run.stderr);
    }
    assert!(!world.folder.join("no").exists());
}

fn transcoder_job(protection: &Value) -> Value {
    json!({
        "PipelineId": "1111111111111-abcde1", "Input": {"Key": "film.mp4"}, "Zulu": [1, 2.5, null],
        "Outputs": [{"Key": "film", "PresetId": "1351620000001-200010", "SegmentDuration": "6"}],
        "Playlists": [{"OutputKeys": ["film"], "Name": "index", "Format": "HLSv3", "HlsContentProtection": protection}],
        "Alpha": {}
    })
}

#[test]
fn a_job_of_elastic_transcoder_is_done_and_given_back() {
    let world = world("inputs-job");
    let job = transcoder_job(&json!({
        "Method": "aes-128", "Key": "", "KeyMd5": "", "InitializationVector": "MTIzNDU2Nzg5MDEyMzQ1Ng==",
        "LicenseAcquisitionUrl": "https://www.example.com/datakey", "KeyStoragePolicy": "NoStore"
    }));
    let written = serde_json::to_string_pretty(&job).expect("json");
    fs::write(world.folder.join("job.json"), &written).expect("a file");
    let args = ["--json", "package", "clear.ts", "--out", "out", "--job", "job.json", "--job-out", "done.json"];
    let run = world.run(&args).expect(0).expect("packaged");
    let filled: Value = serde_json::from_str(&text(&world, "done.json")).expect("json");
    assert_eq!(text(&world, "job.json"), written, "the job itself is as it was");
    let package = package::read(world.clone(), run).expect("a package that openssl decrypts");
    assert_eq!(package.json["job"], filled);
    let protection = &filled["Playlists"][0]["HlsContentProtection"];
    assert_eq!(protection["Key"], package.json["sealed_key"]["ciphertext"]);
    let context = json!({"service": "elastictranscoder.amazonaws.com"});
    assert_eq!(package.json["sealed_key"]["context"], context);
    // Key and KeyMd5 are all that differ, in the same order.
    let mut expected = job.clone();
    for field in ["Key", "KeyMd5"] {
        expected["Playlists"][0]["HlsContentProtection"][field] = protection[field].clone();
    }
    assert_eq!(text(&world, "done.json").trim_end(), serde_json::to_string_pretty(&expected).expect("json"));
    let playlist = &package.renditions[0].playlist;
    assert!(playlist.contains(r#"URI="https://www.example.com/datakey",IV=0x31323334353637383930313233343536"#));

    // The job that came back makes another package under the same key; rewritten only where that is asked for.
    let again = ["package", "clear.ts", "--out", "again", "--job", "done.json", "--job-out", "done.json"];
    world.run(&again).expect(0).expect("packaged");
    assert_eq!(serde_json::from_str::<Value>(&text(&world, "done.json")).expect("json"), filled);
    let segment = format!("{}/{}", package.renditions[0].name, package.renditions[0].segments[0].uri);
    let read = |out: &str| fs::read(world.folder.join(out).join(&segment)).expect("a segment");
    assert!(read("out") == read("again"), "the same key and IV make the same bytes");
    fs::write(world.folder.join("there.json"), "").expect("a file");
    let args = ["package", "clear.ts", "--out", "no", "--job", "job.json", "--job-out", "there.json"];
    refuse(&world, &args, 2).expect("a refusal");
}

#[test]
fn a_key_is_published_only_where_that_is_allowed() {
    let world = world("inputs-public");
    let job = transcoder_job(&json!({"Method": "aes-128", "KeyStoragePolicy": "WithVariantPlaylists"}));
    fs::write(world.folder.join("job.json"), job.to_string()).expect("a file");
    let args = ["package", "clear.ts", "--out", "out", "--job", "job.json", "--segment-duration", "2"];
    let run = refuse(&world, &args, 2).expect("a refusal");
    assert!(run.stderr.contains("--allow-public-key") && !world.folder.join("out").exists(), "{}", run.stderr);
    let run = world.run(&[&["--json"], &args[..], &["--allow-public-key"]].concat()).expect(0).expect("packaged");
    assert!(run.stderr.contains("warning: the plaintext key is published"), "{}", run.stderr);
    let package = package::read(world.clone(), run).expect("a package that openssl decrypts");
    let key = fs::read(package.folder.join("hls.key")).expect("the key");
    assert_eq!(hex(&key), package.key.to_lowercase());
    assert!(package.renditions[0].playlist.contains(r#"URI="../hls.key""#));
    // It plays from the folder as it is, with nothing else.
    let master = package.folder.join("master.m3u8");
    let play = ["-v", "error", "-allowed_extensions", "ALL", "-i", path_text(&master), "-f", "null", "-"];
    let play = tool("ffmpeg", &play).expect(0).expect("it plays");
    assert!(play.stderr.is_empty(), "{}", play.stderr);
    // The record knows the file: such a package can be replaced.
    world.run(&[&args[..], &["--allow-public-key", "--force"]].concat()).expect(0).expect("replaced");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn jobs_that_cannot_be_done_are_refused() {
    let world = world("inputs-bad-job");
    let plain = "a2V5a2V5a2V5a2V5a2V5aw==";
    for (protection, code) in [
        (json!({"Method": "sample-aes"}), 2),
        (json!({"KeyStoragePolicy": "Everywhere"}), 2),
        (json!({"InitializationVector": "AQEB"}), 2),
        (json!({"LicenseAcquisitionUrl": "https://a.example/k", "KeyStoragePolicy": "WithVariantPlaylists"}), 2),
        (json!({"Key": plain}), 4),
        (json!({"Key": sealed_key(&world), "KeyMd5": "zG9MId7htnmIZEWCXXG5yg=="}), 4),
        (Value::Null, 2),
    ] {
        fs::write(world.folder.join("job.json"), transcoder_job(&protection).to_string()).expect("a file");
        let args = ["package", "clear.ts", "--out", "out", "--job", "job.json", "--allow-public-key"];
        let run = refuse(&world, &args, code).expect("a refusal");
        assert!(!run.stderr.contains(plain), "{}", run.stderr);
    }
    refuse(&world, &["package", "clear.ts", "--out", "out", "--job", "nothing.json"], 3).expect("a refusal");
    refuse(&world, &["package", "clear.ts", "--out", "out", "--job", "ctr.enc"], 2).expect("a refusal");
    assert!(!world.folder.join("out").exists());
}
