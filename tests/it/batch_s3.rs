//! A catalogue from and to buckets, its keys under AWS KMS, against a real moto server.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::common::{Check, World, repository};
use super::moto::moto;
use super::s3::{bucket, keys, object, s3};

const TITLES: usize = 6;

/// A world with a catalogue in it: inputs, packages and key store in a bucket, keys under a KMS key.
fn catalogue(name: &str) -> Check<(World, String)> {
    let world = World::new(name).with_aws(&moto().url());
    let bucket = bucket(name)?;
    let bytes = fs::read(repository("fixtures/plain.ts")).map_err(|e| e.to_string())?;
    check!(s3("PUT", &format!("/{bucket}/in/plain.ts"), &bytes)?.status == 200, "the input is not put");
    let provider = format!("aws-kms:{}", moto().key()?);
    let title = |number: usize| {
        json!({
            "content_id": format!("t{number}"), "inputs": [format!("s3://{bucket}/in/plain.ts")],
            "out": format!("s3://{bucket}/out/t{number}"), "key_store": format!("s3://{bucket}/keys"),
            "key_provider": provider, "segment_duration": 2, "memory": 64,
        })
    };
    let lines: String = (0..TITLES).map(|number| format!("{}\n", title(number))).collect();
    fs::write(world.folder.join("jobs.jsonl"), lines).map_err(|e| e.to_string())?;
    Ok((world, bucket))
}

fn batch(world: &World, more: &[&str]) -> Check<Value> {
    world.run(&[&["batch", "jobs.jsonl", "--json"], more].concat()).expect(0)?.json()
}

#[test]
fn a_catalogue_in_a_bucket_under_kms_is_resumable() -> Check {
    let (world, bucket) = catalogue("batch-s3")?;
    let plan = batch(&world, &["--dry-run"])?;
    check!(plan["total"]["to_do"] == TITLES && plan["total"]["kms_calls"] == TITLES, "{plan}");
    let planned = plan["total"]["puts"].as_u64().unwrap_or(0);
    check!(keys(&bucket)?.len() == 1, "a dry run has put something");
    let made = batch(&world, &[])?;
    check!(made["made"] == TITLES, "{made}");
    let there = keys(&bucket)?.len() as u64 - 1;
    // The claim is put twice, and a bucket holds nothing else that was put and is gone.
    check!(
        planned.abs_diff(there + TITLES as u64) <= there / 4,
        "{planned} puts were foreseen, {there} objects are there"
    );
    let again = batch(&world, &[])?;
    check!(again["made"] == 0 && again["skipped"] == TITLES, "{again}");
    let plan = batch(&world, &["--dry-run"])?;
    check!(plan["total"]["complete"] == TITLES && plan["total"]["puts"] == 0, "{plan}");
    for number in 0..TITLES {
        world
            .run(&["verify", &format!("s3://{bucket}/out/t{number}"), "--key-store", &format!("s3://{bucket}/keys")])
            .expect(0)?;
    }
    Ok(())
}

/// Killed while it uploads, and run again by two at once: every package is whole.
#[test]
fn killed_uploads_go_on() -> Check {
    let (world, bucket) = catalogue("batch-s3-kill")?;
    for milliseconds in [40, 90, 150, 220, 300] {
        let mut command = world.command(&["-q", "batch", "jobs.jsonl"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
        thread::sleep(Duration::from_millis(milliseconds));
        let _ = child.kill();
        let _ = child.wait();
    }
    let told: Vec<Check<Value>> = thread::scope(|scope| {
        let runs: Vec<_> = (0..2).map(|_| scope.spawn(|| batch(&world, &["--retries", "10"]))).collect();
        runs.into_iter().map(|run| run.join().unwrap_or_else(|_| Err("it panicked".to_owned()))).collect()
    });
    for told in told {
        let told = told?;
        check!(told["made"].as_u64().unwrap_or(0) + told["skipped"].as_u64().unwrap_or(0) == TITLES as u64, "{told}");
    }
    for number in 0..TITLES {
        world
            .run(&["verify", &format!("s3://{bucket}/out/t{number}"), "--key-store", &format!("s3://{bucket}/keys")])
            .expect(0)?;
        let record: Value = object(&bucket, &format!("out/t{number}/keyrung.json"))?.json()?;
        check!(record["content_id"] == format!("t{number}"), "{record}");
    }
    Ok(())
}
