//! A real moto server, which answers as AWS KMS and S3 do: one for all tests of this process, killed when it ends.
//!
//! What moto 5.2.5 does not do, and the tests must not rely on: it checks no signature and no permission, a disabled key and
//! one that is pending deletion go on working, `DryRun` is ignored, keys of SSE-C are not asked for on GET.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::common::{Check, Run, World, repository, started};

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
    MOTO.get_or_init(|| Moto { address: start() })
}

/// Starts a server on a port of the system's choice and gives its address.
fn start() -> String {
    let program = repository("target/moto/bin/moto_server");
    assert!(program.exists(), "there is no {}; hint: run scripts/moto, or scripts/test", program.display());
    let (tell, told) = mpsc::channel();
    // The kernel kills the server when the thread that started it ends, so this one reads on as long as the process lives.
    thread::spawn(move || {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).args(["-H", "127.0.0.1", "-p", "0"]);
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("MOTO_IAM_LOAD_MANAGED_POLICIES", "false");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = started(command.spawn(), "setpriv");
        let mut said = String::new();
        for line in BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("Running on http://") {
                let _ = tell.send(Ok(address.trim().to_owned()));
            }
            if said.len() < 10_000 {
                said += &line;
                said.push('\n');
            }
        }
        let _ = tell.send(Err(format!("moto ended: {:?}: {said}", child.wait())));
    });
    let address = told.recv_timeout(Duration::from_secs(60)).expect("moto starts within a minute");
    address.unwrap_or_else(|error| panic!("{error}"))
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header lines, as they came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
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

/// One request on a connection of its own.
pub fn request(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Check<Answer> {
    let fail = |e: std::io::Error| format!("{method} http://{address}{path}: {e}");
    let mut stream = TcpStream::connect(address).map_err(fail)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(fail)?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).map_err(fail)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(fail)?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or("an answer without a head")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).ok_or("an answer without a status")?;
    Ok(Answer { status, head, body: bytes[end + 4..].to_vec() })
}

impl Moto {
    /// The server's address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A request to a service in a region. moto takes both from the signature's scope and does not check the rest.
    pub fn call(
        &self,
        (service, region): (&str, &str),
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Check<Answer> {
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=testing/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        request(&self.address, method, path, &[&[("Authorization", scope.as_str())], headers].concat(), body)
    }

    /// An operation of KMS in a region; the answer must be a success.
    pub fn kms(&self, region: &str, operation: &str, body: &Value) -> Check<Value> {
        let target = format!("TrentService.{operation}");
        let headers = [("X-Amz-Target", target.as_str()), ("Content-Type", "application/x-amz-json-1.1")];
        let answer = self.call(("kms", region), ("POST", "/"), &headers, body.to_string().as_bytes())?;
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
