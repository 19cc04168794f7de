//! A proxy before a real S3 server: it writes down every request, and does to some of them what networks and busy stores do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::common::Check;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header lines.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
    /// The status that was answered; 0 when none was.
    pub status: u16,
}

impl Asked {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let is_it = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        Some(self.head.lines().find(is_it)?.split_once(':')?.1.trim())
    }

    /// Whether it puts an object whose key ends so.
    pub fn puts(&self, end: &str) -> bool {
        self.method == "PUT" && self.path.split('?').next().is_some_and(|path| path.ends_with(end))
    }
}

/// What is done to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is answered with this status and error code, and never reaches the store.
    Status(u16, &'static str),
    /// It is done, and the answer is lost.
    LostAnswer,
    /// It is done, and answered with an error all the same.
    DoneBut(u16, &'static str),
    /// The connection closes before it reaches the store.
    Hangup,
    /// The answer's body breaks off in the middle.
    Cut,
    /// The answer comes late.
    Late(Duration),
}

/// What is done to which request; its number tells tries apart.
pub type Deed = fn(&Asked, usize) -> Fault;

type Plan = dyn Fn(&Asked, usize) -> Fault + Send + Sync;

/// A running proxy.
pub struct Proxy {
    /// Its URL.
    pub url: String,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Proxy {
    /// Starts one before `to`. `plan` is asked what to do with each request; its number among those of the same method and
    /// path, from 0 on, tells tries apart.
    pub fn start(to: &str, plan: impl Fn(&Asked, usize) -> Fault + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let log: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (kept, to, plan): (_, _, Arc<Plan>) = (Arc::clone(&log), to.to_owned(), Arc::new(plan));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, to, plan) = (Arc::clone(&kept), to.clone(), Arc::clone(&plan));
                thread::spawn(move || serve(stream, &log, &to, &*plan));
            }
        });
        Self { url, log }
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().expect("no panic").clone()
    }

    /// How many of them are such.
    pub fn count(&self, of: impl Fn(&Asked) -> bool) -> usize {
        self.asked().iter().filter(|asked| of(asked)).count()
    }
}

/// One request on a connection; then it is closed.
fn serve(mut stream: TcpStream, log: &Mutex<Vec<Asked>>, to: &str, plan: &Plan) {
    let Some(mut asked) = read(&stream) else { return };
    let (place, number) = {
        let mut log = log.lock().expect("no panic");
        let same = |other: &&Asked| other.method == asked.method && other.path == asked.path;
        let number = log.iter().filter(same).count();
        log.push(asked.clone());
        (log.len() - 1, number)
    };
    let fault = plan(&asked, number);
    let answer = match fault {
        Fault::Hangup => return,
        Fault::Status(status, code) => refusal(status, code),
        _ => forward(to, &asked),
    };
    asked.status = std::str::from_utf8(answer.get(9..12).unwrap_or_default()).unwrap_or_default().parse().unwrap_or(0);
    log.lock().expect("no panic")[place].status = asked.status;
    let answer = match fault {
        Fault::LostAnswer => return,
        Fault::DoneBut(status, code) => refusal(status, code),
        Fault::Cut => answer[..answer.len() - (answer.len() - end_of_head(&answer)) / 2].to_vec(),
        Fault::Late(wait) => {
            thread::sleep(wait);
            answer
        }
        _ => answer,
    };
    let _ = stream.write_all(&answer);
}

fn refusal(status: u16, code: &str) -> Vec<u8> {
    let body = format!("<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>");
    let head = format!("HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\nConnection: close\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn end_of_head(bytes: &[u8]) -> usize {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4)
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut parts = first.split(' ');
    let (method, path) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        head += &line;
    }
    let mut asked = Asked { method, path, head, body: Vec::new(), status: 0 };
    let length = asked.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    asked.body = vec![0; length];
    reader.read_exact(&mut asked.body).ok()?;
    Some(asked)
}

fn forward(to: &str, asked: &Asked) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).expect("the server behind the proxy");
    let kept: String = asked
        .head
        .lines()
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let head = format!("{} {} HTTP/1.1\r\n{kept}Connection: close\r\n\r\n", asked.method, asked.path);
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&asked.body)).expect("the server reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server answers");
    answer
}

/// Of the requests that were done, at every moment: each playlist that is there names only what is there.
pub fn every_prefix_resolves(asked: &[Asked], bucket: &str) -> Check {
    let mut there: std::collections::HashMap<String, Vec<u8>> = std::collections::HashMap::new();
    let mut seen = 0;
    for request in asked.iter().filter(|request| request.method == "PUT" && request.status == 200) {
        let Some(key) = request.path.split('?').next().and_then(|path| path.strip_prefix(&format!("/{bucket}/")))
        else {
            continue;
        };
        there.insert(key.to_owned(), request.body.clone());
        for (name, playlist) in there.iter().filter(|(name, _)| name.ends_with(".m3u8")) {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let text = String::from_utf8_lossy(playlist);
            for uri in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
                check!(there.contains_key(&format!("{folder}/{uri}")), "{name} names {uri} before it is there");
                seen += 1;
            }
        }
    }
    check!(seen > 0, "no playlist was seen");
    Ok(())
}
