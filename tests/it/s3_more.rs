//! Buckets: large segments, bounded memory, regions, and the permissions that `keyrung aws` prints and tries.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use super::common::{Check, Run, World, repository, tool};
use super::moto::{environment, moto};
use super::proxy::{Asked, Deed, Fault, Proxy, every_prefix_resolves};
use super::s3::{bucket, data_key, decrypts, fetch, keys, object, run, run_impatient, s3, sample};

/// A film of 14 minutes, in one file of more than 64 MiB.
fn long(world: &World) -> Check<String> {
    let path = world.folder.join("long.ts").to_string_lossy().into_owned();
    let sample = repository("samples/ladder/1080p.ts").to_string_lossy().into_owned();
    let made = tool(
        "ffmpeg",
        &["-v", "error", "-y", "-stream_loop", "36", "-i", &sample, "-c", "copy", "-f", "mpegts", &path],
    );
    check!(made.code == Some(0), "{}", made.stderr);
    let bytes = fs::metadata(&path).map_err(|e| e.to_string())?.len();
    check!(bytes > 68 << 20, "{bytes} bytes are not enough");
    Ok(path)
}

#[test]
fn a_large_segment_goes_in_parts() -> Check {
    let (world, bucket) = (World::new("s3-parts"), bucket("parts")?);
    let (input, out) = (long(&world)?, format!("s3://{bucket}/film"));
    let proxy = Proxy::start(&moto().address, |asked: &Asked, number| {
        // One part fails once.
        if asked.path.contains("partNumber=2") && number == 0 {
            Fault::Status(500, "InternalError")
        } else {
            Fault::None
        }
    });
    let arguments = ["package", &input, "--out", &out, "--segment-duration", "3600", "-q"];
    run(&world, &proxy.url, &arguments).expect(0)?;
    let parts = proxy.count(|asked| asked.path.contains("partNumber=") && asked.status == 200);
    check!(parts >= 5, "{parts} parts");
    let record: Value =
        serde_json::from_slice(&object(&bucket, "film/keyrung.json")?.body).map_err(|e| e.to_string())?;
    let path = record["files"][0]["path"].as_str().unwrap_or_default().to_owned();
    let stored = object(&bucket, &format!("film/{path}"))?;
    check!(record["files"][0]["bytes"].as_u64() == Some(stored.body.len() as u64), "the length differs");
    check!(stored.header("x-amz-meta-keyrung-run") == record["run"].as_str(), "{}", stored.head);
    fetch(&bucket, "film", &world.folder.join("got"))?;
    let key = data_key(&world, &moto().url(), record["key_id"].as_str().unwrap_or_default(), &[])?;
    check!(decrypts(&world.folder.join("got"), &key)? == 1, "not one segment");
    Ok(())
}

/// From bucket to bucket with little memory: it is enough, each byte is fetched about once, and no more is held.
#[test]
fn memory_is_bounded_and_little_is_fetched_twice() -> Check {
    let (world, bucket) = (World::new("s3-memory"), bucket("memory")?);
    let path = long(&world)?;
    let bytes = fs::read(&path).map_err(|e| e.to_string())?;
    check!(s3("PUT", &format!("/{bucket}/in.ts"), &bytes)?.status == 200, "the input was not put");
    let input = format!("s3://{bucket}/in.ts");
    for out in [format!("s3://{bucket}/film"), "film".to_owned()] {
        let proxy = Proxy::start(&moto().address, |_, _| Fault::None);
        let plain = world.command(&["package", &input, "--out", &out, "--memory", "16", "-q"]);
        let mut command = std::process::Command::new("prlimit");
        // Threads' stacks and arenas are addresses too, of which little is used; data is what is held.
        command.arg("--data=400000000").arg(plain.get_program()).args(plain.get_args()).current_dir(&world.folder);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("KEYRUNG_HOME", world.folder.join("home")).envs(environment(&proxy.url)).stdin(Stdio::null());
        Run::of(command.output().map_err(|e| e.to_string())?).expect(0)?;
        let asked = proxy.asked();
        let reads = asked.iter().filter(|asked| asked.method == "GET" && asked.path.contains("in.ts")).count() as u64;
        let blocks = (bytes.len() as u64).div_ceil(2 << 20);
        check!(reads >= blocks && reads <= blocks * 3 / 2 + 16, "{out}: {reads} reads of {blocks} blocks");
        if out.starts_with("s3:") {
            every_prefix_resolves(&asked, &bucket)?;
        }
    }
    Ok(())
}

#[test]
fn regions_that_differ_are_named_in_one_warning() -> Check {
    let (world, bucket) = (World::new("s3-regions"), bucket("regions")?);
    for protection in ["aes-128", "none"] {
        let (input, out) = (sample(), format!("s3://{bucket}/{protection}"));
        let mut command = world.command(&["package", &input, "--out", &out, "--protection", protection]);
        command.envs(environment(&moto().url())).env("AWS_REGION", "eu-west-1").stdin(Stdio::null());
        let run = Run::of(command.output().map_err(|e| e.to_string())?).expect(0)?;
        let lines = run.stderr.lines().filter(|line| line.contains("regions differ")).collect::<Vec<_>>();
        check!(lines.len() == 1, "{protection}: {}", run.stderr);
        check!(
            lines[0].contains("the bucket is in us-east-1") && lines[0].contains("this client is in eu-west-1"),
            "{lines:?}"
        );
    }
    Ok(())
}

#[test]
fn permissions_are_tried_for_real() -> Check {
    let (world, bucket, key) = (World::new("s3-check"), bucket("check")?, moto().key()?);
    let (out, store, provider) =
        (format!("s3://{bucket}/films"), format!("s3://{bucket}/private"), format!("aws-kms:{key}"));
    let arguments = ["--json", "aws", "check", "--key-provider", &provider, "--out", &out, "--key-store", &store];
    let told = run(&world, &moto().url(), &arguments).expect(0)?.json()?;
    let tried = told["permissions"].as_array().ok_or("no permissions")?;
    check!(tried.len() >= 12 && tried.iter().all(|one| one["ok"] == true), "{told}");
    check!(keys(&bucket)?.is_empty(), "something was left: {:?}", keys(&bucket)?);
    let denied: [(&str, Deed); 3] = [
        ("s3:PutObject is missing", |asked, _| {
            if asked.method == "PUT" { Fault::Status(403, "AccessDenied") } else { Fault::None }
        }),
        ("s3:GetObject is missing", |asked, _| {
            if asked.method == "GET" { Fault::Status(403, "AccessDenied") } else { Fault::None }
        }),
        ("s3:ListBucket", |asked, _| {
            let absent = asked.method == "HEAD" && asked.path.contains("keyrung-check");
            if absent { Fault::Status(403, "AccessDenied") } else { Fault::None }
        }),
    ];
    for (text, fault) in denied {
        let proxy = Proxy::start(&moto().address, fault);
        let run = run_impatient(&world, &proxy.url, &["aws", "check", "--out", &out]);
        check!(run.code == Some(5) && run.stderr.contains(text), "{text}: {:?} {}", run.code, run.stderr);
    }
    let missing = run_impatient(&world, &moto().url(), &["aws", "check", "--key-provider", "aws-kms:alias/none"]);
    check!(missing.code == Some(4) && missing.stderr.contains("kms:GenerateDataKey is missing"), "{missing:?}");
    Ok(())
}

#[test]
fn policies_are_what_iam_takes() -> Check {
    let world = World::new("s3-policy");
    let key = "arn:aws:kms:eu-west-1:111122223333:key/1234";
    let arguments = [
        "aws",
        "policy",
        "--key",
        key,
        "--out",
        "s3://films/hls",
        "--key-store",
        "s3://private/keys",
        "--input",
        "s3://mezzanines",
        "--sse",
        "kms",
        "--sse-key",
        key,
    ];
    let all = world.run(&arguments).expect(0)?.json()?;
    for name in ["packager", "key_server", "key", "bucket"] {
        let statements = all[name]["Statement"].as_array().ok_or(name)?;
        check!(all[name]["Version"] == "2012-10-17" && !statements.is_empty(), "{name}: {all}");
        for statement in statements {
            check!(matches!(statement["Effect"].as_str(), Some("Allow" | "Deny")), "{statement}");
            check!(statement["Action"].is_string() || statement["Action"].is_array(), "{statement}");
            // A principal stands in policies of resources, and only there.
            check!(statement["Principal"].is_null() == matches!(name, "packager" | "key_server"), "{statement}");
        }
    }
    let packager = world.run(&[&["aws", "policy", "packager"], &arguments[2..]].concat()).expect(0)?.json()?;
    check!(packager == all["packager"], "{packager}");
    check!(world.run(&["aws", "policy"]).code == Some(2), "a policy of nothing");
    check!(world.run(&["aws", "policy", "key", "--out", "s3://films"]).code == Some(2), "a key policy without a key");
    Ok(())
}

/// `verify` reads a bucket as it reads a folder, and finds what was changed in it.
#[test]
fn a_package_in_a_bucket_is_verified() -> Check {
    let (world, bucket) = (World::new("s3-verify"), bucket("verify")?);
    let (url, out) = (moto().url(), format!("s3://{bucket}/films/one"));
    run(&world, &url, &["package", &sample(), "--out", &out, "-q"]).expect(0)?;
    for target in [out.clone(), format!("{out}/"), format!("{out}/master.m3u8")] {
        let report = run(&world, &url, &["verify", &target, "--json"]).expect(0)?.json()?;
        let errors = report["findings"].as_array().into_iter().flatten().filter(|one| one["severity"] == "error");
        check!(errors.count() == 0, "{target}: {report}");
    }
    let record: Value =
        serde_json::from_slice(&object(&bucket, "films/one/keyrung.json")?.body).map_err(|e| e.to_string())?;
    let segment = record["files"][0]["path"].as_str().unwrap_or_default().to_owned();
    let mut bytes = object(&bucket, &format!("films/one/{segment}"))?.body;
    bytes[1000] ^= 1;
    check!(s3("PUT", &format!("/{bucket}/films/one/{segment}"), &bytes)?.status == 200, "not put");
    let found = run(&world, &url, &["verify", &out]).expect(6)?;
    check!(found.text().contains(&segment), "{}", found.text());
    run(&world, &url, &["verify", &format!("s3://{bucket}/films/two")]).expect(3)?;
    Ok(())
}
