//! What is not HTTP, or almost: nothing of it may reach two answers, or a panic.

use super::harness::{FILM_KEY, KEY, signed_key, start_authorized};

#[test]
fn forms_that_readers_disagree_about_are_refused() {
    let server = start_authorized(|_| {});
    let target = signed_key(FILM_KEY, "film", 600);
    let hidden = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let length = hidden.len();
    for head in [
        // Two lengths, or a length and chunks: the classic ways to smuggle a second request.
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: 0, {length}\r\n"),
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: identity, chunked\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "Transfer-Encoding:\x0bchunked\r\n".to_owned(),
        "Content-Length: +5\r\n".to_owned(),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: 0x5\r\n".to_owned(),
        "Content-Length: 99999999999999999999\r\n".to_owned(),
        // Folded lines, and lines that are none.
        "X: a\r\n b\r\n".to_owned(),
        "X: a\r\n\tTransfer-Encoding: chunked\r\n".to_owned(),
        "X y: z\r\n".to_owned(),
        "X\r\n".to_owned(),
        ": x\r\n".to_owned(),
        "X: a\0b\r\n".to_owned(),
        "X: a\rb\r\n".to_owned(),
    ] {
        let request = format!("GET /livez HTTP/1.1\r\nHost: a\r\n{head}\r\n0\r\n\r\n{hidden}");
        let answer = server.raw(request.as_bytes());
        assert!(matches!(answer.status, 400 | 413 | 501), "{head:?}: {answer:?}");
        assert!(!answer.body.windows(KEY.len()).any(|bytes| bytes == KEY), "{head:?} smuggles");
    }
    for hosts in ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nHost: b\r\n"] {
        let request = format!("GET {target} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        server.raw(request.as_bytes()).assert_problem(400, hosts);
    }
    for request in [
        "GET /livez HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET  /livez HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /livez HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET /livez HTTP/0.9\r\n\r\n",
        "GET /livez\r\n\r\n",
        "GET /liv\u{e9}z\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "G\u{1}T /livez HTTP/1.1\r\nHost: a\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        "\r\n\r\n\r\n\0\0\0\0",
    ] {
        let answer = server.raw(request.as_bytes());
        assert!(matches!(answer.status, 0 | 400 | 505), "{request:?}: {answer:?}");
    }
    assert_eq!(server.get(&target).status, 200);
}

#[test]
fn a_path_has_one_spelling() {
    let server = start_authorized(|_| {});
    let good = signed_key(FILM_KEY, "film", 600);
    let (_, signature) = good.split_once('?').unwrap();
    for path in [
        format!("/v1/keys//{FILM_KEY}"),
        format!("/v1//keys/{FILM_KEY}"),
        format!("//v1/keys/{FILM_KEY}"),
        format!("/v1/keys/./{FILM_KEY}"),
        format!("/v1/keys/../keys/{FILM_KEY}"),
        format!("/v1/keys/{FILM_KEY}/"),
        format!("/v1/keys%2f{FILM_KEY}"),
        format!("/v1/keys/%2e%2e/{FILM_KEY}"),
        format!("/v1/keys/{FILM_KEY}%00"),
        format!("/v1/keys/{FILM_KEY};x"),
        format!("/V1/keys/{FILM_KEY}"),
        format!("/v1/keys/%30{}", &FILM_KEY[1..]),
    ] {
        let answer = server.get(&format!("{path}?{signature}"));
        assert!(matches!(answer.status, 403 | 404), "{path}: {answer:?}");
        assert_ne!(answer.body, KEY);
    }
    // Twice is once too often.
    server.get(&format!("{good}&{signature}")).assert_problem(403, "twice");
}

#[test]
fn requests_one_after_the_other_are_answered_in_order() {
    let server = start_authorized(|_| {});
    let target = signed_key(FILM_KEY, "film", 600);
    let one = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let last = "GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = server.raw([one.as_str(), &one, last].concat().as_bytes());
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 200);
    assert!(text.starts_with("0123456789abcdefHTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("HTTP/1.1 404"), "{text}");
}
