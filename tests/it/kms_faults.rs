//! What AWS KMS refuses, as a person meets it: exit code, message, hint. moto enforces neither permissions nor the states or
//! kinds of keys, and never throttles: for these a server answers on the wire what AWS documents.

use super::common::{Check, World};
use super::moto::moto;
use super::refusals::refuse;
use super::wire::{Reply, Wire};

const ARN: &str = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

fn world(name: &str, endpoint: &str) -> World {
    let mut world = World::new(name).with_aws(endpoint);
    // Waits between attempts are tested in the library.
    world.environment.push(("AWS_MAX_ATTEMPTS", "1".to_owned()));
    world
}

/// Asks a server that gives this reply for a key.
fn asked(name: &str, reply: Reply, code: i32) -> Check<String> {
    let wire = Wire::new(vec![reply]);
    let world = world(name, &format!("http://{}", wire.address));
    let provider = format!("aws-kms:{ARN}");
    let run = refuse(&world, &["key", "generate", "--content-id", "film", "--key-provider", &provider], code)?;
    check!(!wire.asked().is_empty(), "KMS was not asked");
    let keys = std::fs::read_dir(world.folder.join("home/keys")).map_err(|e| e.to_string())?.flatten();
    check!(keys.filter(|entry| entry.path().is_file()).count() == 0, "a key was stored");
    Ok(run.stderr)
}

#[test]
fn states_and_permissions_end_with_four() -> Check {
    let cases = [
        ("DisabledException", "x is disabled.", "the key is disabled", "aws kms enable-key"),
        ("KMSInvalidStateException", "x is pending deletion.", "pending deletion", "aws kms cancel-key-deletion"),
        (
            "AccessDeniedException",
            "User: u is not authorized to perform: kms:GenerateDataKey",
            "kms:GenerateDataKey",
            "grant",
        ),
        ("InvalidGrantTokenException", "bad", "a grant token is not valid", "--grant-token"),
        ("ExpiredTokenException", "The security token is expired", "no usable credentials", "aws sso login"),
    ];
    for (code, message, text, hint) in cases {
        let said = asked("kms-state", Reply::Error(400, code, message), 4)?;
        check!(said.contains(text) && said.contains(ARN), "{code}: {said}");
        check!(said.lines().any(|line| line.starts_with("hint: ") && line.contains(hint)), "{code}: {said}");
    }
    Ok(())
}

#[test]
fn what_may_pass_ends_with_seven() -> Check {
    let replies = [
        Reply::Error(400, "ThrottlingException", "Rate exceeded"),
        Reply::Error(500, "KMSInternalException", "no"),
        Reply::Drop,
        Reply::Cut(r#"{"KeyId":"k"}"#.to_owned()),
    ];
    for reply in replies {
        let said = asked("kms-passes", reply.clone(), 7)?;
        check!(said.contains("aws-kms cannot be reached") && said.contains("again later"), "{reply:?}: {said}");
    }
    let nobody = world("kms-nobody", "http://127.0.0.1:1");
    let provider = format!("aws-kms:{ARN}");
    refuse(&nobody, &["key", "generate", "--content-id", "film", "--key-provider", &provider], 7).map(drop)
}

/// This moto enforces itself.
#[test]
fn keys_that_are_not_there() -> Check {
    let world = world("kms-missing", &moto().url());
    let generate = ["key", "generate", "--content-id", "film", "--key-provider"];
    let refused = |provider: &str| Ok::<_, String>(refuse(&world, &[&generate[..], &[provider]].concat(), 4)?.stderr);
    let said = refused(&format!("aws-kms:{ARN}"))?;
    check!(said.contains("there is no such key in us-east-1"), "{said}");
    let said = refused("aws-kms:alias/nothing")?;
    check!(said.contains("there is no such key") && said.contains("AWS_REGION"), "{said}");
    for wrong in ["aws-kms:", "aws-kms:a b", "aws-kms:arn:aws:s3:::bucket", "vault:x"] {
        refuse(&world, &[&generate[..], &[wrong]].concat(), 2)?;
    }
    Ok(())
}

#[test]
fn without_region_or_credentials_the_hint_says_what_to_set() -> Check {
    let without = |name: &str, gone: &[&str]| {
        let mut world = world(name, "http://127.0.0.1:1");
        world.environment.retain(|(key, _)| !gone.contains(key));
        world
    };
    let generate = ["key", "generate", "--content-id", "film", "--key-provider"];
    let run = refuse(&without("kms-no-region", &["AWS_REGION"]), &[&generate[..], &["aws-kms:alias/a"]].concat(), 4)?;
    check!(run.stderr.contains("no AWS region") && run.stderr.contains("AWS_REGION"), "{}", run.stderr);
    let provider = format!("aws-kms:{ARN}");
    let bare = without("kms-no-credentials", &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
    let run = refuse(&bare, &[&generate[..], &[&provider]].concat(), 4)?;
    check!(run.stderr.contains("no usable credentials") && run.stderr.contains("aws sso login"), "{}", run.stderr);
    Ok(())
}

#[test]
fn a_key_is_sealed_anew_through_a_replica() -> Check {
    let here = ARN.replace("key/", "key/mrk-");
    let there = here.replace("us-east-1", "eu-west-1");
    let reply = |arn: &str| {
        Reply::Json(format!(r#"{{"KeyId":"{arn}","Plaintext":"AQIDBAUGBwgJCgsMDQ4PEA==","CiphertextBlob":"AAAA"}}"#))
    };
    let wire = Wire::new(vec![reply(&here), reply(&there)]);
    let world = world("kms-replica", &format!("http://{}", wire.address));
    let (from, to) = (format!("aws-kms:{here}"), format!("aws-kms:{there}"));
    let made = world.run(&["key", "generate", "--content-id", "film", "--key-provider", &from]).expect(0)?.text();
    world.run(&["key", "rewrap", made.trim_end(), "--key-provider", &to]).expect(0)?;
    check!(wire.operations() == ["GenerateDataKey", "Decrypt", "Encrypt"], "{:?}", wire.operations());
    check!(wire.asked()[1].body.contains(&there), "{:?}", wire.asked()[1]);
    Ok(())
}
