//! The whole server over real sockets, with a client that sends exactly the bytes it is told to. In this file: without
//! an authoriser.

mod authorized;
mod drain;
mod endpoints;
mod harness;
mod hostile;
mod http2;
mod limits;
mod reload;
mod watching;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::limits::SERVER_CHUNK_BYTES;
use crate::server::ServeError;
use crate::server::config::Config;
use harness::{Answer, KEY, PLAYLIST, refused, segment, start, start_with};

#[test]
fn files_come_with_their_types() {
    let server = start();
    let playlist = server.get("/film/master.m3u8");
    assert_eq!((playlist.status, playlist.body.as_slice()), (200, PLAYLIST.as_bytes()));
    assert_eq!(playlist.field("content-type"), "application/vnd.apple.mpegurl");
    assert_eq!(playlist.field("content-length"), PLAYLIST.len().to_string());
    assert_eq!(playlist.field("x-content-type-options"), "nosniff");
    assert_eq!(playlist.field("accept-ranges"), "bytes");
    assert_eq!(playlist.field("cache-control"), "no-cache");
    let ts = server.get("/film/720p/00000.ts?query=ignored");
    assert_eq!((ts.status, ts.field("content-type")), (200, "video/mp2t"));
    assert!(ts.body == segment());
    assert_eq!(server.get("/film/720p/empty.ts").field("content-length"), "0");
    assert_eq!(server.get("/My%20%3cFilm%3E%20&%20more/master.m3u8").status, 200);
}

#[test]
fn head_has_the_length_and_no_body() {
    let server = start();
    for (target, length) in
        [("/film/720p/00000.ts", segment().len()), ("/v1/keys/00000000-0000-4000-8000-000000000001", 16)]
    {
        let answer = server.ask("HEAD", target, &["Range: bytes=0-0"]);
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{target}");
        assert_eq!(answer.field("content-length"), length.to_string());
    }
    let missing = server.ask("HEAD", "/film/nothing.ts", &[]);
    assert_eq!((missing.status, missing.body.len()), (404, 0));
}

#[test]
fn ranges_give_their_bytes() {
    let server = start();
    let all = segment();
    let len = all.len();
    for (range, start, end) in [
        ("0-0".to_owned(), 0, 1),
        ("188-375".to_owned(), 188, 376),
        (format!("{}-", SERVER_CHUNK_BYTES - 1), SERVER_CHUNK_BYTES - 1, len),
        ("-188".to_owned(), len - 188, len),
        ("-99999999".to_owned(), 0, len),
        ("5-99999999999999999999999999".to_owned(), 5, len),
    ] {
        let answer = server.ask("GET", "/film/720p/00000.ts", &[&format!("Range: bytes={range}")]);
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.field("content-range"), format!("bytes {start}-{}/{len}", end - 1));
        assert_eq!(answer.field("content-length"), (end - start).to_string());
        assert!(answer.body == all[start..end], "{range}");
    }
}

#[test]
fn bad_ranges() {
    let server = start();
    let len = segment().len();
    for range in [format!("{len}-"), "-0".to_owned(), "18446744073709551615-".to_owned(), "9".repeat(40) + "-"] {
        let answer = server.ask("GET", "/film/720p/00000.ts", &[&format!("Range: bytes={range}")]);
        answer.assert_problem(416, &range);
        assert_eq!(answer.field("content-range"), format!("bytes */{len}"));
    }
    for fields in [
        &["Range: bytes=5-2"][..],
        &["Range: bytes=0-0,2-3"],
        &["Range: bytes=-"],
        &["Range: lines=0-1"],
        &["Range: bytes=0-0", "Range: bytes=1-1"],
        &["Range: bytes=0-0", "If-Range: \"tag\""],
    ] {
        let answer = server.ask("GET", "/film/720p/00000.ts", fields);
        assert_eq!((answer.status, answer.body.len()), (200, len), "{fields:?}");
    }
}

#[test]
fn nothing_but_the_named_files_is_found() {
    let server = start();
    for target in [
        "/film",
        "/film/",
        "/film/720p",
        "/film/720p/",
        "/film/keyrung.json",
        "/film/unnamed.txt",
        "/film/../film/master.m3u8",
        "/film/720p/../master.m3u8",
        "/film/./master.m3u8",
        "/film//master.m3u8",
        "//film/master.m3u8",
        "/film/master.m3u8/",
        "/film/%2e%2e/odd/master.m3u8",
        "/film/720p%2f00000.ts",
        "/film/720p%2F..%2Fmaster.m3u8",
        "/film%2fmaster.m3u8",
        "/film/master.m3u8%00",
        "/film/%00",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/../../etc/passwd",
        "/film/../../../../../../etc/passwd",
        "/film//etc/passwd",
        "/film/%252e%252e/x",
        "/film/720p\\00000.ts",
        "/film/720p/link.ts",
        "/film/etc/hostname",
        "/film/720p/gone.ts",
        "/FILM/master.m3u8",
        "/%ff/master.m3u8",
        "/%/master.m3u8",
        "/v1/keys",
        "/v1/keys/",
        "/v1/keys/00000000-0000-4000-8000-000000000001/x",
        "/favicon.ico",
    ] {
        server.get(target).assert_problem(404, target);
    }
    // These are no request targets at all, and hyper says so.
    for target in [&b"/film/\0"[..], b"film/master.m3u8", b"/film/ master.m3u8", b"/\x7f"] {
        let request = [b"GET ", target, b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"].concat();
        let status = server.raw(&request).status;
        assert!(matches!(status, 400 | 404), "{status} for {}", target.escape_ascii());
    }
}

#[test]
fn a_link_put_in_a_files_place_later_is_not_followed() {
    let server = start();
    let film = server.folder.path().join("film");
    fs::remove_file(film.join("master.m3u8")).unwrap();
    symlink("/etc/hostname", film.join("master.m3u8")).unwrap();
    server.get("/film/master.m3u8").assert_problem(404, "linked file");
    fs::rename(film.join("720p"), server.folder.path().join("elsewhere")).unwrap();
    symlink(server.folder.path().join("elsewhere"), film.join("720p")).unwrap();
    server.get("/film/720p/00000.ts").assert_problem(404, "linked folder");
}

#[test]
fn keys_of_the_packages_and_no_others() {
    let server = start();
    let key = server.get("/v1/keys/00000000-0000-4000-8000-000000000001");
    assert_eq!((key.status, key.body.as_slice()), (200, &KEY[..]));
    assert_eq!(key.field("content-type"), "application/octet-stream");
    assert_eq!(key.field("content-length"), "16");
    assert_eq!(key.field("cache-control"), "private, max-age=300, no-transform");
    assert_eq!(key.field("vary"), "Authorization, Cookie, Origin");
    assert!(key.field("expires").ends_with(" GMT"), "{key:?}");
    assert_eq!((key.field("etag"), key.field("content-encoding")), ("", ""));
    assert_eq!(server.keys.asked.load(Ordering::SeqCst), 1);

    // One that the source has but no package names, one that a package names but the source has not, and nonsense.
    let refused = server.get("/v1/keys/00000000-0000-4000-8000-000000000002");
    refused.assert_problem(403, "not of a package");
    assert_eq!(server.keys.asked.load(Ordering::SeqCst), 1, "the source is not asked for foreign keys");
    for id in [
        "00000000-0000-4000-8000-000000000003",
        "00000000-0000-4000-8000-000000000005",
        "%ff",
        "..%2f00000000-0000-4000-8000-000000000001",
        "00000000-0000-4000-8000-000000000001%00",
        "%20",
        "00000000-0000-4000-8000-00000000000A",
    ] {
        let answer = server.get(&format!("/v1/keys/{id}"));
        answer.assert_problem(403, id);
        assert_eq!(answer.body, refused.body, "{id}");
        let names = |a: &Answer| a.fields.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&answer), names(&refused), "{id}");
    }
}

#[test]
fn a_key_source_that_panics_ends_one_request_only() {
    let server = start();
    server.get("/v1/keys/00000000-0000-4000-8000-000000000004").assert_problem(503, "panic");
    assert_eq!(server.get("/v1/keys/00000000-0000-4000-8000-000000000001").status, 200);
}

#[test]
fn strangers_are_refused_everywhere() {
    let server = start();
    let before = server.keys.asked.load(Ordering::SeqCst);
    for target in
        ["/", "/livez", "/readyz", "/v1/keys/00000000-0000-4000-8000-000000000001", "/film/master.m3u8", "/nothing"]
    {
        for field in [
            "Host: evil.example",
            "Host: evil.example:8484",
            "Host: 127.0.0.1.evil.example",
            "Host: localhost\r\nHost: evil.example",
            "Host:",
            "X-Forwarded-For: 127.0.0.1",
            "X-Forwarded-Proto: https",
            "x-real-ip: 127.0.0.1",
            "Forwarded: for=127.0.0.1",
            "Via: 1.1 proxy",
        ] {
            for method in ["GET", "OPTIONS", "POST"] {
                let answer = server.ask(method, target, &[field, "Origin: http://localhost:3000"]);
                answer.assert_problem(403, &format!("{method} {target} {field}"));
                assert_eq!(answer.field("access-control-allow-origin"), "");
            }
        }
    }
    server.get("http://evil.example/film/master.m3u8").assert_problem(403, "absolute target");
    server.raw(b"GET /film/master.m3u8 HTTP/1.0\r\n\r\n").assert_problem(403, "no host");
    assert_eq!(server.keys.asked.load(Ordering::SeqCst), before);
}

#[test]
fn pages_of_this_machine_may_read_and_others_may_not() {
    let server = start();
    for target in
        ["/film/master.m3u8", "/film/720p/00000.ts", "/v1/keys/00000000-0000-4000-8000-000000000001", "/film/nothing"]
    {
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:5173"] {
            let answer = server.ask("GET", target, &[&format!("Origin: {origin}")]);
            assert_eq!(answer.field("access-control-allow-origin"), origin, "{target}");
            assert!(answer.field("vary").to_lowercase().ends_with("origin"), "{answer:?}");
            assert!(answer.field("access-control-expose-headers").contains("Content-Range"));
            assert_eq!(answer.field("access-control-allow-credentials"), "");
        }
        for origin in ["http://evil.example", "null", "http://localhost.evil.example"] {
            let answer = server.ask("GET", target, &[&format!("Origin: {origin}")]);
            assert_eq!(answer.field("access-control-allow-origin"), "", "{target}");
            assert!(answer.field("vary").to_lowercase().ends_with("origin"), "{answer:?}");
            if target.starts_with("/v1/keys/") {
                answer.assert_problem(403, origin);
            }
        }
    }
}

#[test]
fn preflight() {
    let server = start();
    let request = ["Access-Control-Request-Method: GET", "Access-Control-Request-Headers: range"];
    let local = server.ask(
        "OPTIONS",
        "/v1/keys/00000000-0000-4000-8000-000000000001",
        &["Origin: http://localhost:3000", request[0], request[1]],
    );
    assert_eq!((local.status, local.body.len()), (204, 0));
    assert_eq!(local.field("access-control-allow-origin"), "http://localhost:3000");
    assert_eq!(local.field("access-control-allow-methods"), "GET, HEAD, OPTIONS");
    assert_eq!(local.field("access-control-allow-headers"), "Range");
    assert_eq!(local.field("access-control-max-age"), "86400");
    let foreign = server.ask(
        "OPTIONS",
        "/v1/keys/00000000-0000-4000-8000-000000000001",
        &["Origin: https://evil.example", request[0], request[1]],
    );
    assert_eq!(foreign.status, 204);
    assert!(foreign.fields.keys().all(|name| !name.starts_with("access-control-")), "{foreign:?}");
    assert_eq!(server.ask("OPTIONS", "*", &[]).field("allow"), "GET, HEAD, OPTIONS");
}

#[test]
fn other_methods_are_refused() {
    let server = start();
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"] {
        for target in ["/", "/film/master.m3u8", "/v1/keys/00000000-0000-4000-8000-000000000001", "/nothing"] {
            let answer = server.ask(method, target, &["Content-Length: 0"]);
            answer.assert_problem(405, method);
            assert_eq!(answer.field("allow"), "GET, HEAD, OPTIONS");
        }
    }
    assert!(server.ask("CONNECT", "evil.example:443", &[]).status >= 400);
}

#[test]
fn health_and_page() {
    let server = start();
    assert_eq!((server.get("/livez").status, server.get("/readyz").status), (200, 200));
    let page = server.get("/");
    assert_eq!((page.status, page.field("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.field("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!(server.get("/v1/player/page.js").field("content-type"), "text/javascript; charset=utf-8");
    server.get("/v1/player/mod.rs").assert_problem(404, "no asset");
    let list: serde_json::Value = serde_json::from_slice(&server.get("/v1/packages").body).unwrap();
    let ids = ["My <Film> & more", "bad", "film"];
    assert!(list["packages"].as_array().unwrap().iter().map(|p| &p["content_id"]).eq(ids), "{list}");
    let (film, generation) = (&list["packages"][2]["url"], list["packages"][2]["generation_url"].as_str().unwrap());
    assert_eq!(film, "/film/master.m3u8");
    assert_eq!(server.get(generation).body, PLAYLIST.as_bytes());

    fs::remove_file(server.folder.path().join("film/master.m3u8")).unwrap();
    // What was seen a moment ago holds for another.
    let until = Instant::now() + Duration::from_secs(10);
    while server.get("/readyz").status == 200 {
        assert!(Instant::now() < until, "it is still ready");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.get("/readyz").assert_problem(503, "package gone");
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn heads_are_limited() {
    let server = start();
    let long = format!("X-Long: {}", "a".repeat(64 << 10));
    assert_eq!(server.ask("GET", "/livez", &[&long]).status, 431);
    assert_eq!(server.ask("GET", "/livez", &["X: y"; 100]).status, 431);
    let target = format!("/{}", "a".repeat(64 << 10));
    assert!(matches!(server.get(&target).status, 414 | 431));
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn what_is_not_http_is_turned_away() {
    let server = start();
    for request in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let status = server.raw(request).status;
        assert!(matches!(status, 0 | 400 | 505), "{status}");
    }
    // Two lengths for one body: the classic way to smuggle a second request.
    let smuggled = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 9\r\n\r\nabcd";
    assert_eq!(server.raw(smuggled).status, 400);
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn slow_heads_and_idle_connections_are_closed() {
    let server = start_with(|config| config.limits.header_timeout = Duration::from_millis(200));
    let begun = Instant::now();
    let mut slow = server.connect();
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: loc").unwrap();
    let mut idle = server.connect();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    for stream in [&mut slow, &mut idle] {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn connections_beyond_the_limit_wait_their_turn() {
    let server = start_with(|config| config.limits.connections = 1);
    let mut first = server.connect();
    first.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(first.read(&mut [0; 512]).unwrap() > 0);
    let mut second = server.connect();
    second.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let early = second.read(&mut [0; 1]).map_err(|e| e.kind());
    assert!(matches!(early, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "{early:?}");
    drop(first);
    second.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(Answer::read(second).status, 200);
}

#[test]
fn a_file_that_shrinks_breaks_the_connection() {
    let server = start();
    let path = server.folder.path().join("film/720p/00000.ts");
    // Larger than what sockets hold, so that most of it is still to be read when it goes.
    let file = fs::File::create(&path).unwrap();
    file.set_len(64 << 20).unwrap();
    let mut stream = server.connect();
    stream.write_all(b"GET /film/720p/00000.ts HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut head = [0; 1024];
    let got = stream.read(&mut head).unwrap();
    file.set_len(0).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(got + rest.len() < 64 << 20);
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn stopping_lets_an_answer_in_flight_end() {
    let mut server = start();
    let path = server.folder.path().join("film/720p/00000.ts");
    let size = 32 << 20;
    fs::File::create(&path).unwrap().set_len(size).unwrap();
    let mut busy = server.connect();
    busy.write_all(b"GET /film/720p/00000.ts HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut first = [0; 1];
    busy.read_exact(&mut first).unwrap();
    let idle = server.connect();
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        let mut rest = Vec::new();
        busy.read_to_end(&mut rest).map(|_| rest.len() as u64)
    });
    let begun = Instant::now();
    server.stop().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(reader.join().unwrap().unwrap() > size);
    assert!(TcpStream::connect(server.addr).is_err(), "nobody listens any more");
    drop(idle);
}

#[test]
fn a_client_that_never_reads_does_not_hold_up_the_end() {
    let mut server = start_with(|config| config.shutdown.deadline = Duration::from_millis(200));
    let path = server.folder.path().join("film/720p/00000.ts");
    fs::File::create(&path).unwrap().set_len(64 << 20).unwrap();
    let mut stuck = server.connect();
    stuck.write_all(b"GET /film/720p/00000.ts HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stuck.read_exact(&mut [0; 1]).unwrap();
    let begun = Instant::now();
    server.stop().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn only_loopback_is_listened_on() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:127.0.0.1]:0"] {
        let config = Config { listen: listen.parse().unwrap(), ..Config::default() };
        let result = refused(config);
        assert!(matches!(result, ServeError::NotLoopback { .. }), "{listen}: {result:?}");
    }
    let server = start();
    let result = refused(Config { listen: server.addr, ..Config::default() });
    assert!(matches!(result, ServeError::Listen { .. }), "{result:?}");
}
