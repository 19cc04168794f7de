//! HTTP/2, by hyper's client and by hand.

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::harness::{FILM_KEY, KEY, Running, bearer, signed_key, start, start_authorized};

/// Sends requests on one connection, all at once.
fn ask(server: &Running, requests: Vec<Request<Body>>) -> Vec<(StatusCode, HeaderMap, Vec<u8>)> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let stream = TcpStream::connect(server.addr).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut answers = tokio::task::JoinSet::new();
        for (at, request) in requests.into_iter().enumerate() {
            let mut sender = sender.clone();
            answers.spawn(async move {
                let (head, body) = sender.send_request(request).await.unwrap().into_parts();
                (at, (head.status, head.headers, to_bytes(Body::new(body), 1 << 20).await.unwrap().to_vec()))
            });
        }
        let mut answers = answers.join_all().await;
        answers.sort_by_key(|(at, _)| *at);
        answers.into_iter().map(|(_, answer)| answer).collect()
    })
}

fn request(server: &Running, method: &str, target: &str) -> Request<Body> {
    Request::builder().method(method).uri(format!("http://{}{target}", server.addr)).body(Body::empty()).unwrap()
}

#[test]
fn keys_over_http2() {
    let server = start_authorized(|_| {});
    let target = signed_key(FILM_KEY, "film", 60);
    let mut requests: Vec<_> = (0..50).map(|_| request(&server, "GET", &target)).collect();
    requests.push(request(&server, "HEAD", &target));
    requests.push(request(&server, "GET", &format!("/v1/keys/{FILM_KEY}")));
    let answers = ask(&server, requests);
    for (status, fields, body) in &answers[..50] {
        assert_eq!((*status, body.as_slice()), (StatusCode::OK, &KEY[..]));
        assert_eq!(fields["content-length"], "16");
    }
    assert_eq!(
        (answers[50].0, answers[50].2.len(), &answers[50].1["content-length"]),
        (StatusCode::OK, 0, &"16".parse().unwrap())
    );
    assert_eq!(answers[51].0, StatusCode::FORBIDDEN);
}

#[test]
fn limits_hold_over_http2() {
    let server = start_authorized(|config| config.limits.uri_bytes = 1000);
    let long = request(&server, "GET", &format!("/{}", "a".repeat(2000)));
    let mut body = request(&server, "GET", "/livez");
    *body.body_mut() = Body::from("body");
    let mut cookie = request(&server, "GET", &format!("/v1/keys/{FILM_KEY}"));
    let (name, value) =
        bearer("viewer", "film", 60).split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap();
    cookie.headers_mut().insert(axum::http::HeaderName::try_from(name.to_lowercase()).unwrap(), value.parse().unwrap());
    let answers = ask(&server, vec![long, body, cookie]);
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.0.as_u16()).collect();
    assert_eq!(statuses, [414, 413, 200]);
}

/// A frame by hand (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[test]
fn streams_that_are_reset_at_once_end_the_connection() {
    let server = start_authorized(|_| {});
    let mut stream = server.connect();
    stream.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).unwrap();
    // GET / http, and :authority a: indexed, and a literal.
    let head = [0x82, 0x84, 0x86, 0x41, 0x01, b'a'];
    let flood: Vec<u8> = (0..20_000_u32)
        .flat_map(|n| [frame(1, 0x05, 2 * n + 1, &head), frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat())
        .collect();
    // The server closes while it is being sent.
    let _ = stream.write_all(&flood);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let has_goaway = answer.windows(9).any(|window| window[3] == 7 && window[5..9] == [0; 4]);
    assert!(has_goaway, "{} bytes", answer.len());
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn heads_without_an_end_are_cut_off() {
    // CONTINUATION without end (CVE-2024-27316): the head grows beyond its limit, long before its time is over.
    let server = start_authorized(|_| {});
    let begun = Instant::now();
    let mut stream = server.connect();
    stream.write_all(&[PREFACE, &frame(4, 0, 0, &[]), &frame(1, 0, 1, &[0x82])].concat()).unwrap();
    let field = [&[0x00, 0x01, b'x', 0x7f, 0x81, 0x07][..], &[b'y'; 256]].concat();
    let mut is_closed = false;
    for _ in 0..20_000 {
        is_closed = stream.write_all(&frame(9, 0, 1, &field)).is_err();
        if is_closed {
            break;
        }
    }
    assert!(is_closed && begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(server.get("/livez").status, 200);

    // One that stays small has its time.
    let server = start_authorized(|config| config.limits.header_timeout = Duration::from_millis(300));
    let begun = Instant::now();
    let mut stream = server.connect();
    stream.write_all(&[PREFACE, &frame(4, 0, 0, &[]), &frame(1, 0, 1, &[0x82])].concat()).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(server.get("/livez").status, 200);
}

/// GET over http of `:authority` a, by a path in a literal (RFC 7541).
fn get(path: &str) -> Vec<u8> {
    [&[0x82, 0x86, 0x41, 0x01, b'a', 0x04, u8::try_from(path.len()).unwrap()][..], path.as_bytes()].concat()
}

/// How often this process has the file open.
fn times_open(file: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    links.filter_map(|entry| std::fs::read_link(entry.path()).ok()).filter(|link| link == file).count()
}

fn wait_until_open(file: &Path, times: usize) {
    let until = Instant::now() + Duration::from_secs(10);
    while times_open(file) < times {
        assert!(Instant::now() < until, "{} are open", times_open(file));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn streams_that_take_nothing_hold_few_files_and_no_keys() {
    let server = start_authorized(|config| config.limits.connections = 8);
    let file = server.folder.path().join("film/720p/00000.ts");
    std::fs::File::create(&file).unwrap().set_len(64 << 20).unwrap();
    let open = || times_open(&file);
    let mut stuck = server.connect();
    // SETTINGS_INITIAL_WINDOW_SIZE 0: not a byte of a body is taken.
    let begin = [PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
    let requests = (0..64_u32).flat_map(|n| frame(1, 0x05, 2 * n + 1, &get("/film/720p/00000.ts")));
    stuck.write_all(&begin.into_iter().chain(requests).collect::<Vec<_>>()).unwrap();
    wait_until_open(&file, 8);
    // Those that wait for a place would have come by now.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(open(), 8);
    assert_eq!(server.get(&signed_key(FILM_KEY, "film", 60)).body, KEY);
    drop(stuck);
    assert_eq!(server.get("/film/master.m3u8").status, 200, "the places are given back");
    assert_eq!(server.get("/v1/packages").status, 200);
}

#[test]
fn an_address_has_so_many_files_open() {
    let server = start_authorized(|config| config.limits.connections_per_client = 6);
    let mut stuck = server.connect();
    let begin = [PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
    let requests = (0..6_u32).flat_map(|n| frame(1, 0x05, 2 * n + 1, &get("/film/720p/00000.ts")));
    stuck.write_all(&begin.into_iter().chain(requests).collect::<Vec<_>>()).unwrap();
    // Who asked before all of them are there would take the place of one of them.
    wait_until_open(&server.folder.path().join("film/720p/00000.ts"), 6);
    let refused = server.get("/film/720p/00000.ts");
    refused.assert_problem(429, "six are open");
    assert_ne!(refused.field("retry-after"), "");
    assert_eq!(server.get(&signed_key(FILM_KEY, "film", 60)).status, 200, "keys are not counted");
}

#[test]
fn without_an_authoriser_there_is_none_in_clear() {
    let server = start();
    let mut stream = server.connect();
    stream.write_all(PREFACE).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 505"));
}
