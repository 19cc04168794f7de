//! Inputs, packages and key stores in a bucket of a real S3 server.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::{Check, Run, World, repository, tool};
use super::moto::{REGION, environment, moto};
use super::moto_server::Answer;
use super::proxy::{Asked, Deed, Fault, Proxy, every_prefix_resolves};

const SAMPLE: &str = "samples/ladder/360p.ts";

/// A bucket of its own, with nothing in it.
pub fn bucket(name: &str) -> Check<String> {
    let name = format!("{name}-{}", std::process::id());
    moto().bucket(&name)?;
    Ok(name)
}

pub fn s3(method: &str, path: &str, body: &[u8]) -> Check<Answer> {
    moto().call(("s3", REGION), (method, path), &[], body)
}

/// Keys of all objects in a bucket.
pub fn keys(bucket: &str) -> Check<Vec<String>> {
    let answer = s3("GET", &format!("/{bucket}?list-type=2&max-keys=1000"), b"")?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let keys = text.split("<Key>").skip(1).filter_map(|part| part.split("</Key>").next());
    Ok(keys.map(str::to_owned).collect())
}

pub fn object(bucket: &str, key: &str) -> Check<Answer> {
    let answer = s3("GET", &format!("/{bucket}/{key}"), b"")?;
    check!(answer.status == 200, "{key}: {}", answer.status);
    Ok(answer)
}

fn objects(bucket: &str) -> Check<BTreeMap<String, Vec<u8>>> {
    keys(bucket)?.into_iter().map(|key| Ok((key.clone(), object(bucket, &key)?.body))).collect()
}

fn put_sample(bucket: &str, name: &str, sample: &str) -> Check {
    let bytes = fs::read(repository(sample)).map_err(|e| e.to_string())?;
    let answer = s3("PUT", &format!("/{bucket}/{name}"), &bytes)?;
    check!(answer.status == 200, "{answer:?}");
    Ok(())
}

pub fn run(world: &World, endpoint: &str, arguments: &[&str]) -> Run {
    let mut command = world.command(arguments);
    command.envs(environment(endpoint)).stdin(Stdio::null());
    Run::of(command.output().expect("keyrung starts"))
}

/// The same with few tries, for stores that never recover.
pub fn run_impatient(world: &World, endpoint: &str, arguments: &[&str]) -> Run {
    let mut command = world.command(arguments);
    command.envs(environment(endpoint)).env("AWS_MAX_ATTEMPTS", "2").stdin(Stdio::null());
    Run::of(command.output().expect("keyrung starts"))
}

pub fn sample() -> String {
    repository(SAMPLE).to_string_lossy().into_owned()
}

/// Copies a bucket's objects below a prefix into a folder.
pub fn fetch(bucket: &str, prefix: &str, folder: &Path) -> Check {
    for (key, bytes) in objects(bucket)? {
        let Some(relative) = key.strip_prefix(&format!("{prefix}/")) else { continue };
        let path = folder.join(relative);
        fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(|e| e.to_string())?;
        fs::write(path, bytes).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Every segment of a media playlist, decrypted by openssl with the IV of its tag, begins packets and holds whole ones.
pub fn decrypts(folder: &Path, key: &[u8]) -> Check<usize> {
    let master = fs::read_to_string(folder.join("master.m3u8")).map_err(|e| e.to_string())?;
    let mut count = 0;
    for media in master.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let path = folder.join(media);
        let text = fs::read_to_string(&path).map_err(|e| format!("{media}: {e}"))?;
        let mut iv = "";
        for line in text.lines() {
            if let Some((_, rest)) = line.split_once("IV=0x") {
                iv = &rest[..32];
            }
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let segment = path.with_file_name(line);
            let key = hex::encode(key);
            let run = tool(
                "openssl",
                &["enc", "-d", "-aes-128-cbc", "-K", &key, "-iv", iv, "-in", &segment.to_string_lossy()],
            );
            check!(run.code == Some(0), "{line}: {}", run.stderr);
            let whole = run.stdout.len().is_multiple_of(188) && run.stdout.chunks(188).all(|packet| packet[0] == 0x47);
            check!(whole && !run.stdout.is_empty(), "{line} is no transport stream");
            count += 1;
        }
    }
    Ok(count)
}

pub fn data_key(world: &World, endpoint: &str, id: &str, store: &[&str]) -> Check<Vec<u8>> {
    let export = run(world, endpoint, &[&["key", "export", id], store].concat()).expect(0)?;
    check!(export.stdout.len() == 16, "{} bytes", export.stdout.len());
    Ok(export.stdout)
}

/// Whether bytes hold a key, raw or as text.
fn holds(bytes: &[u8], key: &[u8]) -> bool {
    use base64::Engine as _;
    let hex = hex::encode(key);
    let forms = [
        key.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(key).into_bytes(),
    ];
    forms.iter().any(|form| bytes.windows(form.len()).any(|window| window == form.as_slice()))
}

#[test]
fn a_package_from_bucket_to_bucket_under_a_key_store_in_a_bucket() -> Check {
    let (world, bucket) = (World::new("s3-all"), bucket("all")?);
    put_sample(&bucket, "in/a.ts", SAMPLE)?;
    let proxy = Proxy::start(&moto().address, |_, _| Fault::None);
    let (input, out, store) =
        (format!("s3://{bucket}/in/a.ts"), format!("s3://{bucket}/films/one"), format!("s3://{bucket}/private"));
    let arguments = ["--json", "package", &input, "--out", &out, "--key-store", &store, "--segment-duration", "2"];
    let told = run(&world, &proxy.url, &arguments).expect(0)?.json()?;
    let id = told["key_id"].as_str().ok_or("no key id")?.to_owned();
    let local = world.run(&["--json", "package", &sample(), "--out", "local", "--segment-duration", "2"]).expect(0)?;
    check!(local.json()?["renditions"][0]["segments"] == told["renditions"][0]["segments"], "{told}");
    let all = objects(&bucket)?;
    let key = data_key(&world, &moto().url(), &id, &["--key-store", &store])?;
    fetch(&bucket, "films/one", &world.folder.join("got"))?;
    let count = decrypts(&world.folder.join("got"), &key)?;
    check!(Some(count as u64) == told["renditions"][0]["segments"].as_u64() && count > 2, "{count} segments");
    check!(all.contains_key(&format!("private/{id}.json")), "{:?}", all.keys());
    // The key is nowhere: not in an object, not in the traffic.
    check!(!all.values().any(|bytes| holds(bytes, &key)), "the key is in the bucket");
    for asked in proxy.asked() {
        let bytes = [asked.path.as_bytes(), asked.head.as_bytes(), &asked.body].concat();
        check!(!holds(&bytes, &key), "the key is in {} {}", asked.method, asked.path);
    }
    // Each byte of the input is asked for about once, and every time in the state in which it was opened.
    let asked = proxy.asked();
    let reads: Vec<_> = asked.iter().filter(|asked| asked.method == "GET" && asked.path.contains("/in/")).collect();
    check!(!reads.is_empty() && reads.iter().all(|read| read.header("if-match").is_some()), "{reads:?}");
    every_prefix_resolves(&asked, &bucket)?;
    let puts: Vec<_> = asked.iter().filter(|asked| asked.method == "PUT").collect();
    check!(
        puts.last().is_some_and(|put| put.puts("/claims/one.json") || put.path.contains("/claims/")),
        "{:?}",
        puts.last()
    );
    check!(puts[puts.len() - 2].puts("/films/one/keyrung.json"), "the record is not the last of the package");
    check!(puts[puts.len() - 3].puts("/films/one/master.m3u8"), "the master is not just before it");
    let claim = puts.iter().position(|put| put.path.contains("/private/claims/")).ok_or("no claim")?;
    check!(claim == 0, "the claim is not the first");
    for (end, content, cache) in [
        ("360p/00000.ts", "video/mp2t", "public, max-age=31536000, immutable"),
        ("360p/index.m3u8", "application/vnd.apple.mpegurl", "public, max-age=30"),
        ("master.m3u8", "application/vnd.apple.mpegurl", "public, max-age=30"),
        ("keyrung.json", "application/json", "no-cache"),
    ] {
        let put = puts.iter().find(|put| put.puts(&format!("films/one/{end}"))).ok_or(end)?;
        check!(put.header("content-type") == Some(content), "{end}: {}", put.head);
        check!(put.header("cache-control") == Some(cache), "{end}: {}", put.head);
        check!(put.header("x-amz-checksum-crc64nvme").is_some(), "{end}: {}", put.head);
        check!(put.header("if-none-match") == Some("*"), "{end}: {}", put.head);
    }
    // Once more without --force.
    let again = run(&world, &moto().url(), &arguments[1..]);
    check!(again.code == Some(2) && again.stderr.contains("exists already"), "{:?} {}", again.code, again.stderr);
    Ok(())
}

#[test]
fn a_replaced_package_lies_apart_and_the_old_one_stays_whole_until_it_is_swept() -> Check {
    let (world, bucket) = (World::new("s3-replace"), bucket("replace")?);
    let endpoint = moto().url();
    let out = format!("s3://{bucket}/film");
    let input = sample();
    let arguments = ["--json", "package", &input, "--out", &out, "--segment-duration", "2"];
    let first = run(&world, &endpoint, &arguments).expect(0)?.json()?;
    let before = objects(&bucket)?;
    let proxy = Proxy::start(&moto().address, |_, _| Fault::None);
    let second = run(&world, &proxy.url, &[&arguments[..], &["--force"]].concat()).expect(0)?.json()?;
    check!(first["key_id"] != second["key_id"], "the same key");
    let after = objects(&bucket)?;
    for (key, bytes) in &before {
        let replaced = key.ends_with("master.m3u8") || key.ends_with("keyrung.json");
        check!(replaced != (after.get(key) == Some(bytes)), "{key}");
    }
    let master = String::from_utf8_lossy(&after["film/master.m3u8"]).into_owned();
    let media = master.lines().find(|line| line.ends_with("index.m3u8")).ok_or("no media playlist")?;
    check!(media.starts_with("g.") && after.contains_key(&format!("film/{media}")), "{media}");
    fetch(&bucket, "film", &world.folder.join("got"))?;
    let key = data_key(&world, &endpoint, second["key_id"].as_str().unwrap_or_default(), &[])?;
    check!(decrypts(&world.folder.join("got"), &key)? > 2, "too few segments");
    // What still names the old one is not broken by the new one, and gc takes it away.
    let told = run(&world, &endpoint, &["--json", "gc", &out, "--older-than", "0", "--dry-run"]).expect(0)?.json()?;
    check!(told["removed"].as_array().is_some_and(|removed| !removed.is_empty()), "{told}");
    check!(objects(&bucket)? == after, "a dry run removed something");
    run(&world, &endpoint, &["gc", &out]).expect(0)?;
    check!(objects(&bucket)? == after, "what is a minute old was removed");
    run(&world, &endpoint, &["gc", &out, "--older-than", "0"]).expect(0)?;
    let left = objects(&bucket)?;
    let generation = format!("film/{}/", media.split('/').next().unwrap_or_default());
    let stays = |key: &String| {
        key.starts_with(&generation) || ["film/master.m3u8", "film/keyrung.json"].contains(&key.as_str())
    };
    check!(left.keys().all(stays) && left.len() > 4, "{:?}", left.keys());
    check!(left.iter().all(|(key, bytes)| after.get(key) == Some(bytes)), "gc changed something");
    Ok(())
}

#[test]
fn a_killed_upload_goes_on_with_what_is_missing() -> Check {
    let (world, bucket) = (World::new("s3-kill"), bucket("kill")?);
    let out = format!("s3://{bucket}/film");
    let input = sample();
    let arguments = ["package", &input, "--out", &out, "--segment-duration", "1", "-q"];
    let slow = Proxy::start(&moto().address, |asked: &Asked, _| {
        let late = asked.puts(".ts") && !asked.puts("0.ts") && !asked.puts("1.ts");
        if late { Fault::Late(Duration::from_secs(30)) } else { Fault::None }
    });
    let mut command = world.command(&arguments);
    let mut child = command.envs(environment(&slow.url)).stdin(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    let started = Instant::now();
    while slow.count(|asked| asked.puts(".ts") && asked.status == 200) < 3 {
        check!(started.elapsed() < Duration::from_secs(30), "no segment is put");
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().and_then(|()| child.wait()).map_err(|e| e.to_string())?;
    // What was under way to the store when its sender died still lands.
    let mut there = keys(&bucket)?;
    loop {
        thread::sleep(Duration::from_secs(1));
        let now = keys(&bucket)?;
        if now == there {
            break;
        }
        there = now;
    }
    check!(!there.iter().any(|key| key.ends_with(".m3u8") || key.ends_with("keyrung.json")), "{there:?}");
    let proxy = Proxy::start(&moto().address, |_, _| Fault::None);
    run(&world, &proxy.url, &arguments).expect(0)?;
    let segments = keys(&bucket)?.iter().filter(|key| key.ends_with(".ts")).count();
    let put = proxy.count(|asked| asked.puts(".ts"));
    let had = there.iter().filter(|key| key.ends_with(".ts")).count();
    check!(had > 0 && put == segments - had, "{put} of {segments} were put, and {had} were there");
    let record: Value =
        serde_json::from_slice(&object(&bucket, "film/keyrung.json")?.body).map_err(|e| e.to_string())?;
    let id = record["key_id"].as_str().unwrap_or_default().to_owned();
    fetch(&bucket, "film", &world.folder.join("got"))?;
    check!(decrypts(&world.folder.join("got"), &data_key(&world, &proxy.url, &id, &[])?)? == segments, "not all");
    Ok(())
}

/// A fault of each kind, once for every request that it can happen to: the package comes out all the same, and is whole.
#[test]
fn a_package_survives_what_networks_and_busy_stores_do() -> Check {
    let faults: [(&str, Deed); 7] = [
        ("slow-down", |_, number| if number == 0 { Fault::Status(503, "SlowDown") } else { Fault::None }),
        ("internal", |_, number| if number < 2 { Fault::Status(500, "InternalError") } else { Fault::None }),
        ("hangup", |_, number| if number == 0 { Fault::Hangup } else { Fault::None }),
        ("lost", |asked, number| if asked.method == "PUT" && number == 0 { Fault::LostAnswer } else { Fault::None }),
        ("done-but", |asked, number| {
            if asked.method == "PUT" && number == 0 { Fault::DoneBut(500, "InternalError") } else { Fault::None }
        }),
        ("conflict", |asked, number| {
            let once = asked.puts(".ts") && number == 0;
            if once { Fault::Status(409, "ConditionalRequestConflict") } else { Fault::None }
        }),
        ("cut", |asked, number| if asked.method == "GET" && number == 0 { Fault::Cut } else { Fault::None }),
    ];
    super::common::every(
        &faults,
        |fault| fault.0.to_owned(),
        |(name, fault)| {
            let (world, bucket) = (World::new(&format!("s3-{name}")), bucket(name)?);
            put_sample(&bucket, "in/a.ts", SAMPLE)?;
            let proxy = Proxy::start(&moto().address, *fault);
            let (input, out, store) =
                (format!("s3://{bucket}/in/a.ts"), format!("s3://{bucket}/film"), format!("s3://{bucket}/private"));
            let arguments =
                ["--json", "package", &input, "--out", &out, "--key-store", &store, "--segment-duration", "2"];
            let told = run(&world, &proxy.url, &arguments).expect(0)?.json()?;
            let id = told["key_id"].as_str().unwrap_or_default();
            fetch(&bucket, "film", &world.folder.join("got"))?;
            let key = data_key(&world, &moto().url(), id, &["--key-store", &store])?;
            let count = decrypts(&world.folder.join("got"), &key)?;
            check!(Some(count as u64) == told["renditions"][0]["segments"].as_u64(), "{count} segments");
            every_prefix_resolves(&proxy.asked(), &bucket)
        },
    );
    Ok(())
}

#[test]
fn what_does_not_get_better_has_the_exit_code_of_its_cause() -> Check {
    let bucket = bucket("codes")?;
    put_sample(&bucket, "in/a.ts", SAMPLE)?;
    let (input, out) = (format!("s3://{bucket}/in/a.ts"), format!("s3://{bucket}/film"));
    type Case = (&'static str, i32, &'static str, Deed);
    let cases: [Case; 5] = [
        ("throttled", 7, "503", |_, _| Fault::Status(503, "SlowDown")),
        ("down", 7, "cannot", |_, _| Fault::Hangup),
        ("segment-denied", 5, "AccessDenied", |asked, _| {
            if asked.puts(".ts") { Fault::Status(403, "AccessDenied") } else { Fault::None }
        }),
        ("input-changed", 3, "changed while it was read", |asked, _| {
            let read = asked.method == "GET" && asked.header("range").is_some();
            if read { Fault::Status(412, "PreconditionFailed") } else { Fault::None }
        }),
        ("input-denied", 5, "AccessDenied", |asked, _| {
            let read = asked.method == "GET" && asked.path.contains("/in/");
            if read { Fault::Status(403, "AccessDenied") } else { Fault::None }
        }),
    ];
    super::common::every(
        &cases,
        |case| case.0.to_owned(),
        |(name, code, text, fault)| {
            let world = World::new(&format!("s3-code-{name}"));
            let proxy = Proxy::start(&moto().address, *fault);
            let run = run_impatient(&world, &proxy.url, &["package", &input, "--out", &out, "-q"]);
            check!(run.code == Some(*code) && run.stderr.contains(text), "{:?}: {}", run.code, run.stderr);
            check!(!proxy.asked().iter().any(|asked| asked.puts(".m3u8")), "a playlist was put");
            Ok(())
        },
    );
    let world = World::new("s3-code-none");
    for (input, out, code) in [
        (format!("s3://{bucket}/in/none.ts"), out.clone(), 3),
        (sample(), "s3://there-is-no-such-bucket/film".to_owned(), 5),
        (input.clone(), "s3://Not_A_Bucket/film".to_owned(), 2),
        (format!("s3://{bucket}"), out.clone(), 2),
    ] {
        let run = run_impatient(&world, &moto().url(), &["package", &input, "--out", &out, "-q"]);
        check!(run.code == Some(code), "{input} to {out}: {:?}: {}", run.code, run.stderr);
    }
    Ok(())
}

/// Two runs that replace the same package at once: what is visible in the end is one of them, whole.
#[test]
fn runs_at_once_do_not_interleave() -> Check {
    let bucket = bucket("race")?;
    let out = format!("s3://{bucket}/film");
    let input = sample();
    let arguments = ["package", &input, "--out", &out, "--segment-duration", "2", "-q", "--force"];
    let worlds: Vec<World> = (0..3).map(|number| World::new(&format!("s3-race-{number}"))).collect();
    run(&worlds[0], &moto().url(), &arguments).expect(0)?;
    let runs: Vec<Run> = thread::scope(|scope| {
        let start = |world| scope.spawn(move || run(world, &moto().url(), &arguments));
        let started: Vec<_> = worlds.iter().map(start).collect();
        started.into_iter().map(|run| run.join().expect("no panic")).collect()
    });
    check!(runs.iter().any(|run| run.code == Some(0)), "{runs:?}");
    check!(runs.iter().all(|run| matches!(run.code, Some(0 | 7))), "{runs:?}");
    let record: Value =
        serde_json::from_slice(&object(&bucket, "film/keyrung.json")?.body).map_err(|e| e.to_string())?;
    let all = objects(&bucket)?;
    for file in record["files"].as_array().ok_or("no files")? {
        let name = file["path"].as_str().unwrap_or_default();
        let found = all.get(&format!("film/{name}")).ok_or_else(|| format!("{name} is missing"))?;
        check!(file["bytes"].as_u64() == Some(found.len() as u64), "{name}");
    }
    let id = record["key_id"].as_str().unwrap_or_default();
    fetch(&bucket, "film", &worlds[0].folder.join("got"))?;
    let key =
        worlds.iter().find_map(|world| data_key(world, &moto().url(), id, &[]).ok()).ok_or("nobody has the key")?;
    check!(decrypts(&worlds[0].folder.join("got"), &key)? > 2, "too few segments");
    Ok(())
}

#[test]
fn what_comes_on_standard_input_goes_to_a_bucket() -> Check {
    let (world, bucket) = (World::new("s3-stdin"), bucket("stdin")?);
    let out = format!("s3://{bucket}/film");
    let mut command = world.command(&["package", "-", "--out", &out, "--segment-duration", "2", "-q"]);
    let input = fs::File::open(repository(SAMPLE)).map_err(|e| e.to_string())?;
    let output = command.envs(environment(&moto().url())).stdin(input).output().map_err(|e| e.to_string())?;
    Run::of(output).expect(0)?;
    let record: Value =
        serde_json::from_slice(&object(&bucket, "film/keyrung.json")?.body).map_err(|e| e.to_string())?;
    fetch(&bucket, "film", &world.folder.join("got"))?;
    let key = data_key(&world, &moto().url(), record["key_id"].as_str().unwrap_or_default(), &[])?;
    check!(decrypts(&world.folder.join("got"), &key)? > 2, "too few segments");
    Ok(())
}

#[test]
fn encryption_at_rest_is_asked_for_as_it_was_told() -> Check {
    let kms = moto().key()?;
    let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    /// A mode, its options, and the headers that they make.
    type Case<'a> = (&'a str, Vec<&'a str>, Vec<(&'a str, &'a str)>);
    let cases: [Case<'_>; 4] = [
        ("s3", vec!["--sse", "s3"], vec![("x-amz-server-side-encryption", "AES256")]),
        (
            "kms",
            vec!["--sse", "kms", "--sse-key", &kms, "--sse-bucket-key"],
            vec![
                ("x-amz-server-side-encryption", "aws:kms"),
                ("x-amz-server-side-encryption-aws-kms-key-id", &kms),
                ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
            ],
        ),
        ("dsse", vec!["--sse", "dsse"], vec![("x-amz-server-side-encryption", "aws:kms:dsse")]),
        (
            "c",
            vec!["--sse", "c", "--allow-unplayable"],
            vec![
                ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
                ("x-amz-server-side-encryption-customer-key", secret),
                ("x-amz-server-side-encryption-customer-key-MD5", "tM/rBiwkdzh7rh2n9srfcg=="),
            ],
        ),
    ];
    let input = sample();
    for (name, flags, headers) in &cases {
        let (world, bucket) = (World::new(&format!("s3-sse-{name}")), bucket(&format!("sse-{name}"))?);
        let proxy = Proxy::start(&moto().address, |_, _| Fault::None);
        let out = format!("s3://{bucket}/film");
        let arguments = [&["package", &input, "--out", &out, "-q"][..], flags].concat();
        let mut command = world.command(&arguments);
        command.envs(environment(&proxy.url)).env("KEYRUNG_SSE_C_KEY", secret).stdin(Stdio::null());
        Run::of(command.output().map_err(|e| e.to_string())?).expect(0)?;
        let puts: Vec<_> = proxy.asked().into_iter().filter(|asked| asked.method == "PUT").collect();
        check!(puts.len() > 3, "{name}: {} puts", puts.len());
        for put in puts {
            for (header, value) in headers {
                let sent = put.header(header);
                // The MD5 is checked to be one of 16 bytes; openssl has the last word on its value below.
                let right = if header.ends_with("MD5") {
                    sent.is_some_and(|md5| md5.len() == 24)
                } else {
                    sent == Some(*value)
                };
                check!(right, "{name}: {} has {header}: {sent:?}", put.path);
            }
        }
    }
    let world = World::new("s3-sse-refused");
    let refused = |flags: &[&str], text: &str| -> Check {
        let arguments = [&["package", input.as_str(), "--out", "s3://some-bucket/film", "-q"][..], flags].concat();
        let run = run(&world, &moto().url(), &arguments);
        check!(run.code == Some(2) && run.stderr.contains(text), "{flags:?}: {:?} {}", run.code, run.stderr);
        Ok(())
    };
    refused(&["--sse", "c"], "no player")?;
    refused(&["--sse", "c", "--allow-unplayable"], "KEYRUNG_SSE_C_KEY")?;
    refused(&["--sse", "c", "--allow-unplayable", "--sse-key", secret], "@FILE")?;
    refused(&["--sse", "s3", "--sse-key", "alias/a"], "--sse-key")?;
    refused(&["--sse", "dsse", "--sse-bucket-key"], "--sse-bucket-key")
}

/// A master that is not ours stays, however often it is tried.
#[test]
fn a_strangers_master_stays() -> Check {
    let (world, bucket, input) = (World::new("s3-foreign"), bucket("foreign")?, sample());
    let cases: [(&str, &[&str]); 3] = [("sealed", &[]), ("clear", &["--protection", "none"]), ("forced", &["--force"])];
    for (name, flags) in cases {
        let key = format!("{name}/master.m3u8");
        check!(s3("PUT", &format!("/{bucket}/{key}"), b"#EXTM3U\n")?.status == 200, "not put");
        let out = format!("s3://{bucket}/{name}");
        for _ in 0..2 {
            let run = run(&world, &moto().url(), &[&["package", &input, "--out", &out, "-q"][..], flags].concat());
            check!(run.code == Some(2) && run.stderr.contains("master.m3u8"), "{name}: {:?} {}", run.code, run.stderr);
            check!(object(&bucket, &key)?.body == b"#EXTM3U\n", "{name}: it was replaced");
        }
    }
    Ok(())
}
