//! Starts moto and talks to it. Unit tests of the library use this file too: it needs nothing but the standard library.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

/// The address of this process's server, `127.0.0.1:PORT`; the first caller starts it. It is killed when the process ends.
pub fn address() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(start)
}

fn start() -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/moto/bin/moto_server");
    assert!(program.exists(), "there is no {}; hint: run scripts/moto, or scripts/test", program.display());
    let (tell, told) = mpsc::channel();
    // The kernel kills the server when the thread that started it ends, so this one reads on as long as the process lives.
    thread::spawn(move || {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).args(["-H", "127.0.0.1", "-p", "0"]);
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("MOTO_IAM_LOAD_MANAGED_POLICIES", "false");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("setpriv starts; hint: apt-get install -y util-linux");
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

/// One request on a connection of its own.
pub fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, String> {
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

/// A request to a service in a region. moto takes both from the signature's scope and does not check the rest.
pub fn call(
    address: &str,
    (service, region): (&str, &str),
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, String> {
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential=testing/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    );
    request(address, method, path, &[&[("Authorization", scope.as_str())], headers].concat(), body)
}

/// An operation of KMS in a region, with a body of JSON.
pub fn kms(address: &str, region: &str, operation: &str, body: &str) -> Result<Answer, String> {
    let target = format!("TrentService.{operation}");
    let headers = [("X-Amz-Target", target.as_str()), ("Content-Type", "application/x-amz-json-1.1")];
    call(address, ("kms", region), ("POST", "/"), &headers, body.as_bytes())
}
