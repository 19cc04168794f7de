//! A server in the place of AWS KMS that goes wrong as it is told to, at the level of bytes on the wire: for the states and
//! faults that moto does not have. Unit tests of the library use this file too: it needs nothing but the standard library.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What it does with one request. The last of a script is repeated.
#[derive(Debug, Clone)]
pub enum Reply {
    /// An error in the shape of KMS's: status, code, message.
    Error(u16, &'static str, &'static str),
    /// A success with this body.
    Json(String),
    /// Half of a success, then the end of the connection.
    Cut(String),
    /// The end of the connection without an answer.
    Drop,
    /// No answer, for ten minutes.
    Stall,
    /// What the server at this address answers.
    Forward(String),
    /// The request reaches the server at this address, its answer is lost.
    Lose(String),
}

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The operation: `Decrypt`.
    pub operation: String,
    /// The body of the request.
    pub body: String,
}

/// The server. It ends with the process.
#[derive(Debug)]
pub struct Wire {
    /// `127.0.0.1:PORT`.
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Wire {
    /// Starts one that gives these replies, one after the other.
    pub fn new(script: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            let mut count = 0;
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(bytes) = read(&stream) else { continue };
                log.lock().expect("no panic").push(what(&bytes));
                let reply = script.get(count).or(script.last()).expect("a script is not empty").clone();
                count += 1;
                thread::spawn(move || answer(stream, &bytes, reply));
            }
        });
        Self { address, asked }
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }

    /// The operations that were asked for so far.
    pub fn operations(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.operation).collect()
    }
}

/// A whole request; None when the connection was closed without one.
fn read(mut stream: &TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = head {
            let text = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if bytes.len() >= end + 4 + length.unwrap_or(0_usize) {
                return Some(bytes);
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn what(bytes: &[u8]) -> Asked {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let target = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("x-amz-target").then(|| value.trim().to_owned())
    });
    let operation = target.unwrap_or_default().trim_start_matches("TrentService.").to_owned();
    Asked { operation, body: body.to_owned() }
}

fn answer(mut stream: TcpStream, request: &[u8], reply: Reply) {
    let whole = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1\r\nx-amzn-RequestId: wire-1\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let forward = |address: &str| -> std::io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(address)?;
        server.write_all(request)?;
        let mut bytes = Vec::new();
        server.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = match reply {
        Reply::Error(status, code, message) => {
            whole(&format!("{status} Error"), &format!(r#"{{"__type":"{code}","message":"{message}"}}"#)).into_bytes()
        }
        Reply::Json(body) => whole("200 OK", &body).into_bytes(),
        Reply::Cut(body) => {
            let bytes = whole("200 OK", &body).into_bytes();
            bytes[..bytes.len() - body.len() / 2].to_vec()
        }
        Reply::Drop => return,
        Reply::Stall => {
            thread::sleep(Duration::from_secs(600));
            return;
        }
        Reply::Forward(address) => forward(&address).expect("the server behind answers"),
        Reply::Lose(address) => {
            forward(&address).expect("the server behind answers");
            return;
        }
    };
    let _ = stream.write_all(&bytes);
}
