//! Keys under AWS KMS, from the command line, against a real moto server: what works with the local keyring works with KMS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::common::{Check, World, repository};
use super::disk::tree;
use super::key::{base64, files};
use super::moto::{REGION, moto};
use super::package;
use super::refusals::refuse;
use super::wire::{Reply, Wire};

/// A world with an input in it, and moto in the place of AWS.
fn world(name: &str) -> World {
    let world = World::new(name).with_aws(&moto().url());
    fs::copy(repository("fixtures/plain.ts"), world.folder.join("in.ts")).expect("a copy");
    world
}

/// The name of a provider under a new KMS key, and the key's ARN.
fn provider() -> Check<(String, String)> {
    let arn = moto().key()?;
    Ok((format!("aws-kms:{arn}"), arn))
}

fn json(world: &World, arguments: &[&str]) -> Check<Value> {
    world.run(&[&["--json"], arguments].concat()).expect(0)?.json()
}

fn id(record: &Value) -> Check<String> {
    Ok(record["key_id"].as_str().ok_or(format!("no key id in {record}"))?.to_owned())
}

fn export(world: &World, id: &str) -> Check<String> {
    Ok(world.run(&["key", "export", id, "--hex"]).expect(0)?.text().trim_end().to_owned())
}

fn stored(world: &World, id: &str) -> std::path::PathBuf {
    world.folder.join(format!("home/keys/{id}.json"))
}

fn edit(file: &Path, change: impl FnOnce(&mut Value)) -> Check {
    let mut json = serde_json::from_slice(&fs::read(file).map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    change(&mut json);
    fs::write(file, json.to_string()).map_err(|e| e.to_string())
}

#[test]
fn a_package_under_kms_decrypts() -> Check {
    let world = world("kms-package");
    let (_, arn) = provider()?;
    moto().kms(REGION, "CreateAlias", &json!({ "AliasName": "alias/kms-package", "TargetKeyId": arn }))?;
    let arguments = [
        "--json",
        "package",
        "in.ts",
        "--out",
        "out",
        "--content-id",
        "film",
        "--key-provider",
        "aws-kms:alias/kms-package",
    ];
    let run = world.run(&arguments);
    let package = package::read(world.clone(), run)?;
    let sealed = &package.json["sealed_key"];
    check!(sealed["provider"] == "aws-kms" && sealed["key"] == arn.as_str(), "not the key's ARN: {sealed}");
    check!(sealed["context"] == json!({ "content-id": "film" }), "{sealed}");
    check!(!world.folder.join("home/keyring.json").exists(), "no local keyring was needed");
    let record = fs::read_to_string(package.folder.join("keyrung.json")).map_err(|e| e.to_string())?;
    check!(!record.contains("arn:") && !record.contains("context"), "the published record tells of the key: {record}");
    Ok(())
}

/// A run that adopts a claim opens its key again, and only a run under the same provider adopts it.
#[test]
fn a_package_is_made_again_under_the_key_of_its_claim() -> Check {
    let wire = Wire::new(vec![Reply::Forward(moto().address.clone())]);
    let world = World::new("kms-again").with_aws(&format!("http://{}", wire.address));
    fs::copy(repository("fixtures/plain.ts"), world.folder.join("in.ts")).map_err(|e| e.to_string())?;
    let (provider, _) = provider()?;
    let arguments = ["package", "in.ts", "--out", "out", "--content-id", "film", "--key-provider", &provider];
    let first = json(&world, &arguments)?;
    let (out, aside) = (world.folder.join("out"), world.folder.join("aside"));
    fs::rename(&out, &aside).map_err(|e| e.to_string())?;
    let (other, _) = self::provider()?;
    for other in [other.as_str(), "local"] {
        refuse(&world, &[&arguments[..7], &[other]].concat(), 2)?;
    }
    check!(id(&json(&world, &arguments)?)? == id(&first)?, "another key");
    check!(tree(&out)? == tree(&aside)?, "other bytes");
    check!(wire.operations() == ["GenerateDataKey", "Decrypt"], "{:?}", wire.operations());
    Ok(())
}

#[cfg(feature = "server")]
#[test]
fn the_server_opens_each_key_through_the_provider_that_it_names() -> Check {
    let world = world("kms-serve");
    let (provider, _) = provider()?;
    let mut keys = Vec::new();
    for (out, provider) in [("a", provider.as_str()), ("b", "local")] {
        let made = json(&world, &["package", "in.ts", "--out", out, "--content-id", out, "--key-provider", provider])?;
        keys.push(id(&made)?);
    }
    let server = super::serve::Server::start(&world, &["a", "b"]);
    for key in keys {
        let (status, _, body) = server.get(&format!("/v1/keys/{key}"), "");
        check!(status == 200 && hex::encode(&body) == export(&world, &key)?, "{status}");
    }
    Ok(())
}

#[test]
fn keys_are_made_imported_and_exported() -> Check {
    let world = world("kms-keys");
    let (provider, arn) = provider()?;
    let made = json(&world, &["key", "generate", "--content-id", "a", "--key-provider", &provider])?;
    check!(made["key"] == arn.as_str() && made["binding"].is_string(), "{made}");
    check!(export(&world, &id(&made)?)?.len() == 32, "a key of 16 bytes");
    fs::write(world.folder.join("key"), "000102030405060708090a0b0c0d0e0f").map_err(|e| e.to_string())?;
    let taken = json(&world, &["key", "import", "key", "--content-id", "b", "--key-provider", &provider])?;
    check!(export(&world, &id(&taken)?)? == "000102030405060708090a0b0c0d0e0f", "what was imported comes out");
    let unseen =
        json(&world, &["key", "generate", "--sealed-only", "--content-id", "film", "--key-provider", &provider])?;
    check!(unseen.get("binding").is_none(), "nobody has seen the key: {unseen}");
    let key = id(&unseen)?;
    let run = world.run(&["--json", "package", "in.ts", "--out", "out", "--content-id", "film", "--key", &key]);
    package::read(world.clone(), run)?;
    let preset =
        ["--context-preset", "mediaconvert", "--sealed-only", "--content-id", "c", "--key-provider", &provider];
    refuse(&world, &[&["key", "generate"][..], &preset].concat(), 2)?;
    let show = world.run(&["key", "show", &key]).expect(0)?.text();
    check!(show.contains("aws-kms") && show.contains(&arn) && !show.contains("opens"), "{show}");
    for check in [&["--check"][..], &["--key-provider", &provider]] {
        let show = world.run(&[&["key", "show", &key], check].concat()).expect(0)?.text();
        check!(show.ends_with("opens       yes\n"), "{show}");
    }
    Ok(())
}

#[test]
fn a_record_with_another_context_does_not_open() -> Check {
    let world = world("kms-context");
    let (provider, arn) = provider()?;
    let arguments = ["key", "generate", "--content-id", "film", "--context", "title=a", "--key-provider", &provider];
    let key = id(&json(&world, &arguments)?)?;
    edit(&stored(&world, &key), |record| record["context"]["title"] = "b".into())?;
    let run = refuse(&world, &["key", "export", &key, "--hex"], 4)?;
    check!(run.stderr.contains("its encryption context was changed"), "{}", run.stderr);
    refuse(&world, &["key", "show", &key, "--check"], 4)?;
    world.run(&["key", "show", &key]).expect(0)?;
    edit(&stored(&world, &key), |record| record["context"]["title"] = "a".into())?;
    export(&world, &key)?;
    // Another key of the same account did not seal it; AWS says IncorrectKeyException, moto AccessDeniedException.
    let other = moto().key()?;
    edit(&stored(&world, &key), |record| record["key"] = other.into())?;
    let run = refuse(&world, &["key", "export", &key, "--hex"], 4)?;
    check!(run.stderr.contains("aws-kms refused the use of"), "{}", run.stderr);
    edit(&stored(&world, &key), |record| record["key"] = arn.into())?;
    export(&world, &key).map(drop)
}

/// With a preset the context says nothing of the content: the record's binding does.
#[test]
fn a_key_of_a_preset_stays_with_its_content() -> Check {
    for (preset, service) in
        [("elastic-transcoder", "elastictranscoder.amazonaws.com"), ("mediaconvert", "mediaconvert.amazonaws.com")]
    {
        let world = world("kms-preset");
        let (kms, arn) = provider()?;
        for provider in [kms.as_str(), "local"] {
            let film =
                ["key", "generate", "--content-id", "film", "--context-preset", preset, "--key-provider", provider];
            let record = json(&world, &film)?;
            check!(record["context"] == json!({ "service": service }), "exactly the service's context: {record}");
            let key = id(&record)?;
            let clear = export(&world, &key)?;
            if provider != "local" {
                // What the service itself would do with the ciphertext.
                let call = json!({
                    "KeyId": arn, "CiphertextBlob": record["ciphertext"], "EncryptionContext": { "service": service },
                });
                let opened = moto().kms(REGION, "Decrypt", &call)?;
                let digits = hex::decode(&clear).map_err(|e| e.to_string())?;
                let text = opened["Plaintext"].as_str().unwrap_or_default();
                check!(text.trim_end_matches('=') == base64(&digits), "{text}");
            }
            let changes: [fn(&mut Value); 3] = [
                |record| record["content_id"] = "other".into(),
                |record| drop(record.as_object_mut().and_then(|record| record.remove("binding"))),
                |record| record["binding"] = "00".repeat(32).into(),
            ];
            for change in changes {
                let before = fs::read(stored(&world, &key)).map_err(|e| e.to_string())?;
                edit(&stored(&world, &key), change)?;
                let run = refuse(&world, &["key", "export", &key, "--hex"], 4)?;
                check!(run.stderr.contains("not bound to its content id"), "{}", run.stderr);
                fs::write(stored(&world, &key), before).map_err(|e| e.to_string())?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_key_is_sealed_anew_and_its_package_stays() -> Check {
    let world = world("kms-rewrap");
    let (first, second) = (provider()?, provider()?);
    let out = ["--json", "package", "in.ts", "--out", "out", "--content-id", "film"];
    let run = world.run(&[&out[..], &["--key-provider", &first.0]].concat());
    let package = package::read(world.clone(), run)?;
    let (key, before) = (id(&package.json)?, tree(&package.folder)?);
    let preset = ["--context-preset", "mediaconvert"];
    let more = ["--context", "a=b"];
    let steps: [(&str, &str, &[&str]); 6] = [
        (&second.0, &second.1, &[]),
        (&second.0, &second.1, &more),
        (&first.0, &first.1, &preset),
        ("local", "", &[]),
        ("local", "", &more),
        (&second.0, &second.1, &[]),
    ];
    for (provider, arn, context) in steps {
        let rewrap = [&["key", "rewrap", &key, "--key-provider", provider][..], context].concat();
        let record = json(&world, &rewrap)?;
        check!(record["key_id"] == key.as_str() && record["content_id"] == "film", "{record}");
        check!(arn.is_empty() || record["key"] == arn, "{record}");
        check!(export(&world, &key)? == package.key, "the data key stays the same: {provider} {context:?}");
        let kept: Value = serde_json::from_slice(&fs::read(stored(&world, &key)).map_err(|e| e.to_string())?)
            .map_err(|e| e.to_string())?;
        let claim = fs::read(world.folder.join("home/keys/claims/film.json")).map_err(|e| e.to_string())?;
        let claim: Value = serde_json::from_slice(&claim).map_err(|e| e.to_string())?;
        check!(kept == record && claim["key"] == record, "store and claim have the same record");
    }
    check!(tree(&package.folder)? == before, "the package was touched");
    // A whole store; one that does not open is named and does not stop the others.
    let other = id(&json(&world, &["key", "generate", "--content-id", "other"])?)?;
    let broken = id(&json(&world, &["key", "generate", "--content-id", "broken"])?)?;
    edit(&stored(&world, &broken), |record| record["ciphertext"] = "AAAA".into())?;
    let all = ["key", "rewrap", "--all", "--key-provider", &first.0];
    let run = refuse(&world, &all, 4)?;
    check!(run.stderr.contains("1 of 3 keys") && run.stderr.contains(&broken), "{}", run.stderr);
    for key in [&key, &other] {
        check!(json(&world, &["key", "show", key])?["key"] == first.1.as_str(), "{key} was not sealed anew");
        export(&world, key)?;
    }
    world.run(&["key", "delete", &broken]).expect(0)?;
    let done = json(&world, &["key", "rewrap", "--all", "--key-provider", &second.0])?;
    check!(done["rewrapped"].as_array().is_some_and(|keys| keys.len() == 2), "{done}");
    refuse(&world, &["key", "rewrap", "--key-provider", &first.0], 2)?;
    refuse(&world, &["key", "rewrap", &key, "--all"], 2).map(drop)
}

#[test]
fn regions_that_differ_are_warned_of_once() -> Check {
    let world = world("kms-regions");
    let key = moto().kms("eu-west-1", "CreateKey", &json!({}))?;
    let arn = key["KeyMetadata"]["Arn"].as_str().ok_or("no ARN")?.to_owned();
    let provider = format!("aws-kms:{arn}");
    let run = world.run(&["key", "generate", "--content-id", "a", "--key-provider", &provider]).expect(0)?;
    let text = "AWS regions differ: the key is in eu-west-1, this client is in us-east-1";
    check!(run.stderr.matches(text).count() == 1, "{}", run.stderr);
    let id = run.text().trim_end().to_owned();
    export(&world, &id)?;
    let (provider, _) = self::provider()?;
    let run = world.run(&["key", "generate", "--content-id", "b", "--key-provider", &provider]).expect(0)?;
    check!(!run.stderr.contains("regions"), "{}", run.stderr);
    Ok(())
}

#[test]
fn the_audit_log_has_every_operation() -> Check {
    let world = world("kms-audit");
    let (kms, arn) = provider()?;
    let audit = ["--audit", "log"];
    let with = |arguments: &[&str]| world.run(&[arguments, &audit].concat()).expect(0);
    let key = with(&["key", "generate", "--content-id", "film", "--key-provider", &kms])?.text().trim_end().to_owned();
    with(&["key", "export", &key, "--hex"])?;
    with(&["key", "rewrap", &key, "--context", "a=b"])?;
    with(&["key", "rewrap", &key, "--key-provider", "local"])?;
    let log = world.folder.join("log");
    let mode = fs::metadata(&log).map_err(|e| e.to_string())?.permissions().mode() & 0o777;
    check!(mode == 0o600, "mode {mode:o}");
    let text = fs::read_to_string(&log).map_err(|e| e.to_string())?;
    let lines: Vec<Value> =
        text.lines().map(serde_json::from_str).collect::<Result<_, _>>().map_err(|e| format!("{e}: {text}"))?;
    let of = |line: &Value| format!("{} {}", line["eventSource"], line["eventName"]).replace('"', "");
    let names: Vec<String> = lines.iter().map(of).collect();
    let wanted = [
        "kms.amazonaws.com GenerateDataKey",
        "kms.amazonaws.com Decrypt",
        "kms.amazonaws.com ExportKey",
        "kms.amazonaws.com ReEncrypt",
        "kms.amazonaws.com Decrypt",
        "local Encrypt",
    ];
    check!(names == wanted, "{names:?}");
    check!(lines[0]["resources"][0]["ARN"] == arn.as_str(), "{}", lines[0]);
    check!(lines[0]["requestID"].as_str().is_some_and(|id| !id.is_empty()), "{}", lines[0]);
    check!(lines[1]["additionalEventData"]["dataKeyId"] == key.as_str(), "{}", lines[1]);
    check!(lines[3]["requestParameters"]["destinationEncryptionContext"]["a"] == "b", "{}", lines[3]);
    let run = world.run(&["-q", "key", "export", &key, "--hex", "--audit", "-"]).expect(0)?;
    let lines: Vec<Value> = run.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    check!(lines.len() == 2 && lines[1]["eventName"] == "ExportKey", "{}", run.stderr);
    // Nothing is done that cannot be recorded.
    let run = refuse(&world, &["key", "export", &key, "--hex", "--audit", "/dev/full"], 5)?;
    check!(run.stderr.contains("the audit log cannot be written"), "{}", run.stderr);
    refuse(&world, &["key", "export", &key, "--hex", "--audit", "no/such/folder"], 5).map(drop)
}

/// Searches every byte on disk, every output and every request for the data key, raw, in hex and in base64.
#[test]
fn keys_under_kms_are_in_no_file_and_no_output() -> Check {
    let wire = Wire::new(vec![Reply::Forward(moto().address.clone())]);
    let world = World::new("kms-leaks").with_aws(&format!("http://{}", wire.address));
    fs::copy(repository("fixtures/plain.ts"), world.folder.join("in.ts")).map_err(|e| e.to_string())?;
    let (provider, _) = provider()?;
    let audit = ["--audit", "log", "--key-provider", &provider];
    let mut said = Vec::new();
    let mut run = |arguments: &[&str], code: i32| -> Check<String> {
        let run = world.run(&[&["-v"], arguments].concat()).expect(code)?;
        let text = run.text();
        said.extend_from_slice(&run.stdout);
        said.extend_from_slice(run.stderr.as_bytes());
        Ok(text)
    };
    let made = run(&[&["--json", "key", "generate", "--content-id", "film"][..], &audit].concat(), 0)?;
    let key = id(&serde_json::from_str(&made).map_err(|e| e.to_string())?)?;
    let package = ["package", "in.ts", "--out", "out", "--content-id", "film", "--key", &key];
    run(&[&package[..], &audit].concat(), 0)?;
    run(&[&["--json", "key", "rewrap", &key, "--context", "a=b"][..], &audit].concat(), 0)?;
    run(&["key", "list"], 0)?;
    run(&["key", "show", &key], 0)?;
    run(&["--json", "key", "show", &key], 0)?;
    let clear = export(&world, &key)?;
    edit(&stored(&world, &key), |record| record["context"]["a"] = "c".into())?;
    run(&[&["key", "export", &key][..], &audit].concat(), 4)?;
    let raw = hex::decode(&clear).map_err(|e| e.to_string())?;
    let text = base64(&raw);
    let needles: Vec<Vec<u8>> = [
        raw,
        clear.clone().into_bytes(),
        clear.to_uppercase().into_bytes(),
        text.clone().into_bytes(),
        text.replace('+', "-").replace('/', "_").into_bytes(),
    ]
    .into();
    let has = |bytes: &[u8]| needles.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == needle));
    check!(has(clear.as_bytes()), "the search finds what is there");
    check!(!has(&said), "a key was said");
    let operations = wire.operations();
    check!(operations.contains(&"ReEncrypt".to_owned()) && operations.len() >= 4, "{operations:?}");
    for asked in wire.asked() {
        check!(!has(asked.body.as_bytes()), "a key was sent with {}", asked.operation);
    }
    let all = files(&world.folder);
    check!(all.iter().any(|file| file.ends_with("log")) && all.len() > 5, "{all:?}");
    for file in all {
        check!(!has(&fs::read(&file).map_err(|e| e.to_string())?), "{} has a key", file.display());
    }
    Ok(())
}
