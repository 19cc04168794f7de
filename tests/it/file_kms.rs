//! Whole files, provided keys and jobs with keys under AWS KMS, against a real moto server: the seeds' use cases from end to end.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::common::{Check, World, repository, tool};
use super::moto::{REGION, moto};
use super::package;
use super::refusals::refuse;

/// A world with an input in it, and moto in the place of AWS.
fn world(name: &str) -> World {
    let world = World::new(name).with_aws(&moto().url());
    fs::copy(repository("fixtures/plain.ts"), world.folder.join("in.ts")).expect("a copy");
    world
}

fn read(world: &World, name: &str) -> Check<Value> {
    let text = fs::read(world.folder.join(name)).map_err(|e| format!("{name}: {e}"))?;
    serde_json::from_slice(&text).map_err(|e| format!("{name}: {e}"))
}

/// What KMS opens for the service that has this context, in hexadecimal digits.
fn opened(region: &str, sealed: &Value, service: &str) -> Check<String> {
    let context = json!({ "service": format!("{service}.amazonaws.com") });
    let answer = moto().kms(region, "Decrypt", &json!({ "CiphertextBlob": sealed, "EncryptionContext": context }))?;
    let key = STANDARD.decode(answer["Plaintext"].as_str().ok_or(format!("{answer}"))?).map_err(|e| e.to_string())?;
    Ok(hex::encode(key))
}

/// MediaConvert and Elastic Transcoder can open the key of such a document, and openssl the file.
#[test]
fn the_services_can_decrypt_a_file() -> Check {
    let world = world("file-kms");
    let arn = moto().key()?;
    let provider = format!("aws-kms:{arn}");
    for (service, mode, bits) in [
        ("mediaconvert", "ctr", "128"),
        ("mediaconvert", "cbc", "192"),
        ("mediaconvert", "gcm", "256"),
        ("elastic-transcoder", "cbc", "128"),
        ("elastic-transcoder", "ctr", "256"),
        ("elastic-transcoder", "gcm", "192"),
    ] {
        let args = ["file", "encrypt", "in.ts", "enc", "--force", "--mode", mode, "--key-bits", bits];
        let more = ["--document", service, "--key-provider", &provider, "--save-document", "doc.json"];
        let run = world.run(&[&args[..], &more].concat()).expect(0)?;
        check!(run.stderr.is_empty(), "{}", run.stderr);
        let document = read(&world, "doc.json")?;
        let sealed = if service == "mediaconvert" { &document["EncryptedDecryptionKey"] } else { &document["Key"] };
        let key = opened(REGION, sealed, &service.replace('-', ""))?;
        check!(key.len() * 4 == bits.parse().unwrap_or(0), "{service} {mode}: a key of {} digits", key.len());
        let iv = document["InitializationVector"].as_str().and_then(|text| STANDARD.decode(text).ok());
        let iv = hex::encode(iv.ok_or("no IV")?);
        if mode != "gcm" {
            let input = world.folder.join("enc").display().to_string();
            let cipher = format!("-aes-{bits}-{mode}");
            let run = tool("openssl", &["enc", "-d", &cipher, "-K", &key, "-iv", &iv, "-in", &input]).expect(0)?;
            check!(run.stdout == fs::read(world.folder.join("in.ts")).map_err(|e| e.to_string())?, "{service} {mode}");
        }
        let args = ["file", "decrypt", "enc", "out", "--force", "--document", "doc.json", "--key-provider", &provider];
        world.run(&args).expect(0)?;
        let same = tool("cmp", &[path(&world, "in.ts").as_str(), &path(&world, "out")]);
        check!(same.code == Some(0), "{service} {mode}: {}", same.stderr);
        // Another KMS key did not seal it.
        let other = format!("aws-kms:{}", moto().key()?);
        refuse(&world, &["file", "decrypt", "enc", "no", "--document", "doc.json", "--key-provider", &other], 4)?;
    }
    check!(!world.folder.join("home/keyring.json").exists(), "no local keyring was needed");
    Ok(())
}

fn path(world: &World, name: &str) -> String {
    world.folder.join(name).display().to_string()
}

/// Spec MCV-04: a key in another region than the job's is looked for there.
#[test]
fn the_document_names_the_region_of_the_key() -> Check {
    let world = world("file-kms-region");
    let region = "eu-west-1";
    let made = moto().kms(region, "CreateKey", &json!({}))?;
    let arn = made["KeyMetadata"]["Arn"].as_str().ok_or("no ARN")?.to_owned();
    moto().kms(region, "CreateAlias", &json!({ "AliasName": "alias/films", "TargetKeyId": arn }))?;
    let provider = format!("aws-kms:{arn}");
    let args = |out: &'static str, job: &'static str, document: &'static str| {
        ["file", "encrypt", "in.ts", out, "--key-provider", &provider, "--job-region", job, "--save-document", document]
            .map(str::to_owned)
    };
    let run = |args: &[String]| world.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
    run(&args("same.enc", region, "same.json"))?;
    check!(read(&world, "same.json")?.get("KmsKeyRegion").is_none(), "the job's own region is named");
    run(&args("other.enc", "us-east-1", "other.json"))?;
    check!(read(&world, "other.json")?["KmsKeyRegion"] == region, "{}", read(&world, "other.json")?);
    // An alias has no region of its own: the document's decides, not the client's.
    let alias = ["--key-provider", "aws-kms:alias/films"];
    world
        .run(&[&["file", "decrypt", "other.enc", "out", "--document", "other.json"], &alias[..]].concat())
        .expect(0)?;
    refuse(&world, &[&["file", "decrypt", "same.enc", "no", "--document", "same.json"], &alias[..]].concat(), 4)?;
    let package =
        ["package", "other.enc", "--out", "film", "--protection", "none", "--input-decryption", "@other.json"];
    world.run(&[&package, &alias[..]].concat()).expect(0)?;
    Ok(())
}

/// The tutorial of Elastic Transcoder: a key of one's own, sealed with KMS, and its checksum.
#[test]
fn a_key_that_kms_sealed_is_used_as_it_is() -> Check {
    let world = world("file-kms-key");
    let arn = moto().key()?;
    moto().kms(REGION, "CreateAlias", &json!({ "AliasName": "alias/own-key", "TargetKeyId": arn }))?;
    let context = json!({ "service": "elastictranscoder.amazonaws.com" });
    let plain = hex::decode("6b65796b65796b65796b65796b65796b").map_err(|e| e.to_string())?;
    let ask = json!({ "KeyId": arn, "Plaintext": STANDARD.encode(&plain), "EncryptionContext": context });
    let sealed = moto().kms(REGION, "Encrypt", &ask)?["CiphertextBlob"].as_str().ok_or("no blob")?.to_owned();
    fs::write(world.folder.join("blob"), STANDARD.decode(&sealed).map_err(|e| e.to_string())?)
        .map_err(|e| e.to_string())?;
    let md5 = tool("openssl", &["md5", "-binary", &path(&world, "blob")]).expect(0)?;
    let md5 = STANDARD.encode(md5.stdout);

    let fixed = ["--json", "package", "in.ts", "--out", "out", "--content-id", "film"];
    let keys = ["--wrapped-key", &sealed, "--wrapped-key-md5", &md5, "--context-preset", "elastic-transcoder"];
    let provider = ["--key-provider", "aws-kms:alias/own-key"];
    let run = world.run(&[&fixed[..], &keys, &provider].concat());
    let made = package::read(world.clone(), run)?;
    let record = &made.json["sealed_key"];
    check!(made.key == hex::encode(&plain), "another key was used");
    check!(record["ciphertext"] == sealed.as_str() && record["key"] == arn.as_str(), "{record}");

    // The same as a job, which is given back as it came.
    let protection = json!({ "Method": "aes-128", "Key": sealed, "KeyMd5": md5, "KeyStoragePolicy": "NoStore" });
    let job = json!({ "Playlists": [{ "Name": "film", "HlsContentProtection": protection }] });
    fs::write(world.folder.join("job.json"), job.to_string()).map_err(|e| e.to_string())?;
    let args = ["--json", "package", "in.ts", "--out", "again", "--job", "job.json"];
    let run = world.run(&[&args[..], &provider].concat()).expect(0)?.json()?;
    check!(run["job"] == job, "{}", run["job"]);

    // And a key that KMS makes for the job: what comes back opens to what the segments have.
    fs::write(world.folder.join("new.json"), r#"{"Playlists":[{"HlsContentProtection":{"Key":"","KeyMd5":""}}]}"#)
        .map_err(|e| e.to_string())?;
    let args = ["--json", "package", "in.ts", "--out", "out", "--content-id", "film", "--force", "--job", "new.json"];
    let run = world.run(&[&args[..], &provider].concat());
    let made = package::read(world.clone(), run)?;
    let filled = &made.json["job"]["Playlists"][0]["HlsContentProtection"];
    check!(opened(REGION, &filled["Key"], "elastictranscoder")? == made.key, "{filled}");

    // A whole file under the same key.
    let args = ["file", "encrypt", "in.ts", "enc", "--document", "elastic-transcoder", "--mode", "cbc"];
    let run = world.run(&[&args[..], &keys[..4], &provider].concat()).expect(0)?.json()?;
    check!(run["Key"] == sealed.as_str() && run["KeyMd5"] == md5.as_str(), "{run}");
    Ok(())
}
