//! A real moto server, which answers as AWS KMS and S3 do: one for all tests of this process, killed when it ends.
//!
//! What moto 5.2.5 does not do, and the tests must not rely on: it checks no signature and no permission, a key that is
//! disabled, pending deletion or asymmetric seals all the same, multi-Region keys open nothing,
//! `DryRun` is ignored, keys of SSE-C are not asked for on GET.

use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::common::{Check, Run, World};
use super::moto_server::{self, Answer};

/// The region of keys and buckets unless a test says otherwise.
pub const REGION: &str = "us-east-1";

/// The account that moto's resources belong to.
pub const ACCOUNT: &str = "123456789012";

/// A moto server that runs.
#[derive(Debug)]
pub struct Moto {
    /// `127.0.0.1:PORT`.
    pub address: String,
}

/// The server of this process; the first caller starts it.
pub fn moto() -> &'static Moto {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    MOTO.get_or_init(|| Moto { address: moto_server::address().to_owned() })
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let is_it = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        Some(self.head.lines().find(is_it)?.split_once(':')?.1.trim())
    }

    /// The body as JSON.
    pub fn json(&self) -> Check<Value> {
        serde_json::from_slice(&self.body).map_err(|e| format!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
}

impl Moto {
    /// The server's address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A request to a service in a region. moto takes both from the signature's scope and does not check the rest.
    pub fn call(
        &self,
        service: (&str, &str),
        method: (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Check<Answer> {
        moto_server::call(&self.address, service, method, headers, body)
    }

    /// An operation of KMS in a region; the answer must be a success.
    pub fn kms(&self, region: &str, operation: &str, body: &Value) -> Check<Value> {
        let answer = moto_server::kms(&self.address, region, operation, &body.to_string())?;
        check!(answer.status == 200, "{operation}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        if answer.body.is_empty() { Ok(Value::Null) } else { answer.json() }
    }

    /// A new symmetric KMS key; its ARN.
    pub fn key(&self) -> Check<String> {
        let made = self.kms(REGION, "CreateKey", &json!({}))?;
        Ok(made["KeyMetadata"]["Arn"].as_str().ok_or("a key without an ARN")?.to_owned())
    }

    /// A new bucket in [`REGION`].
    pub fn bucket(&self, name: &str) -> Check {
        let answer = self.call(("s3", REGION), ("PUT", &format!("/{name}")), &[], b"")?;
        check!(answer.status == 200, "{name}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        Ok(())
    }
}

/// The environment of a client of a server that answers as AWS does, at `endpoint`. No file and no metadata service is asked.
pub fn environment(endpoint: &str) -> [(&'static str, String); 7] {
    [
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "testing".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "testing".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
    ]
}

impl World {
    /// The same world with AWS at `endpoint`.
    pub fn with_aws(mut self, endpoint: &str) -> Self {
        self.environment.extend(environment(endpoint));
        self
    }

    /// keyrung with these arguments and AWS at `endpoint`, not started yet.
    pub fn command_with_aws(&self, endpoint: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.envs(environment(endpoint));
        command
    }
}

#[test]
fn moto_makes_keys_and_buckets() -> Check {
    let moto = moto();
    let arn = moto.key()?;
    check!(arn.starts_with(&format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/")), "{arn}");
    let description = moto.kms(REGION, "DescribeKey", &json!({ "KeyId": arn }))?;
    check!(description["KeyMetadata"]["KeySpec"] == "SYMMETRIC_DEFAULT", "{description}");
    check!(moto.kms("eu-west-1", "DescribeKey", &json!({ "KeyId": arn })).is_err(), "a key is in one region");
    moto.bucket("moto-makes-buckets")?;
    let answer = moto.call(("s3", REGION), ("PUT", "/moto-makes-buckets/a"), &[("x-amz-meta-b", "c")], b"text")?;
    check!(answer.status == 200, "{answer:?}");
    let answer = moto.call(("s3", REGION), ("GET", "/moto-makes-buckets/a"), &[], b"")?;
    check!(answer.body == b"text" && answer.header("X-Amz-Meta-B") == Some("c"), "{answer:?}");
    Ok(())
}

/// Whatever AWS is set to, a local job asks nobody.
#[test]
fn a_local_job_does_not_need_aws() -> Check {
    let nobody = "http://127.0.0.1:1";
    check!(moto().url() != nobody, "moto has a port of its own");
    let mut command = World::new("no-aws").command_with_aws(nobody, &["-q", "key", "generate", "--content-id", "film"]);
    let run = Run::of(command.env_remove("AWS_REGION").output().map_err(|e| e.to_string())?).expect(0)?;
    check!(run.stderr.is_empty(), "{}", run.stderr);
    Ok(())
}
