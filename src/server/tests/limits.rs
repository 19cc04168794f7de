//! Bounds: rates, addresses behind proxies, lengths, connections.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::harness::{Answer, FILM_KEY, Running, bearer, signed_key, start_authorized};

fn statuses(server: &Running, count: usize, field: &str) -> Vec<u16> {
    let target = signed_key(FILM_KEY, "film", 60);
    (0..count).map(|_| server.ask("GET", &target, &[field]).status).collect()
}

#[test]
fn an_address_has_a_rate() {
    let server = start_authorized(|config| (config.limits.client_rate, config.limits.client_burst) = (1, 3));
    let target = signed_key(FILM_KEY, "film", 60);
    let answers: Vec<Answer> = (0..8).map(|_| server.get(&target)).collect();
    assert!(answers[..3].iter().all(|answer| answer.status == 200), "{answers:?}");
    let limited = answers.iter().find(|answer| answer.status == 429).expect("a limit");
    limited.assert_problem(429, "too many");
    assert_eq!(limited.field("retry-after"), "1");
    // Health is not a matter of rates.
    assert!((0..8).all(|_| server.get("/livez").status == 200));
}

#[test]
fn nobody_has_another_address_by_saying_so() {
    let server = start_authorized(|config| (config.limits.client_rate, config.limits.client_burst) = (1, 3));
    for n in 0..3 {
        assert_eq!(statuses(&server, 1, &format!("X-Forwarded-For: 192.0.2.{n}")), [200]);
    }
    assert!(statuses(&server, 5, "X-Forwarded-For: 192.0.2.77").contains(&429));
    assert!(statuses(&server, 5, "Forwarded: for=192.0.2.78").contains(&429));
}

#[test]
fn trusted_proxies_say_who_the_client_is() {
    let server = start_authorized(|config| {
        (config.limits.client_rate, config.limits.client_burst) = (1, 2);
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    });
    for n in 0..5 {
        assert_eq!(statuses(&server, 2, &format!("X-Forwarded-For: 192.0.2.{n}, 10.0.0.1")), [200, 200]);
    }
    // What the client puts in front itself makes it nobody else.
    let lines = server.audit(10);
    assert_eq!((&lines[0]["client"], &lines[9]["client"]), (&"192.0.2.0".into(), &"192.0.2.4".into()));
    let forged = |n: usize| statuses(&server, 1, &format!("X-Forwarded-For: 198.51.100.{n}, 192.0.2.1"));
    assert!((0..20).any(|n| forged(n) == [429]));
}

#[test]
fn a_subject_has_a_rate_wherever_it_asks_from() {
    let server = start_authorized(|config| {
        (config.limits.subject_rate, config.limits.subject_burst) = (1, 3);
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let ask = |subject: &str, n: usize| {
        let field = format!("X-Forwarded-For: 192.0.2.{n}");
        // Another token each time, for the same subject.
        server.ask("GET", &format!("/v1/keys/{FILM_KEY}"), &[&bearer(subject, "film", 60 + n as u64), &field])
    };
    let answers: Vec<Answer> = (0..8).map(|n| ask("one", n)).collect();
    assert!(answers[..3].iter().all(|answer| answer.status == 200), "{answers:?}");
    answers.last().unwrap().assert_problem(429, "too many");
    assert_eq!(ask("other", 0).status, 200);
    let lines = server.audit(9);
    assert!(lines.iter().any(|line| line["decision"] == "limited" && line["reason"] == "too-many"), "{lines:?}");
}

#[test]
fn lengths() {
    let server = start_authorized(|config| (config.limits.uri_bytes, config.limits.head_fields) = (1000, 20));
    server.get(&format!("/{}", "a".repeat(1000))).assert_problem(414, "path");
    server.get(&format!("/livez?{}", "a".repeat(1000))).assert_problem(414, "query");
    assert_eq!(server.get(&format!("/livez?{}", "a".repeat(900))).status, 200);
    assert_eq!(server.ask("GET", "/livez", &["X: y"; 20]).status, 431);
    assert_eq!(server.ask("GET", "/livez", &[&format!("X: {}", "y".repeat(64 << 10))]).status, 431);
    for body in ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"] {
        let request = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{body}GET /readyz HTTP/1.1\r\n\r\n");
        let answer = server.raw(request.as_bytes());
        // And nothing after it is read as a request: the connection is closed, with one answer.
        assert_eq!((answer.status, answer.field("connection")), (413, "close"), "{answer:?}");
        assert_eq!(String::from_utf8_lossy(&answer.body).matches("HTTP/1.1").count(), 0);
    }
}

#[test]
fn an_address_has_so_many_connections() {
    let server = start_authorized(|config| config.limits.connections_per_client = 3);
    let mut held: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for stream in &mut held {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
    }
    assert_eq!(server.get("/livez").status, 0, "closed without a word");
    drop(held);
    let until = Instant::now() + Duration::from_secs(5);
    while server.get("/livez").status != 200 {
        assert!(Instant::now() < until, "the places are not given back");
    }
}

#[test]
fn who_says_nothing_or_too_slowly_is_cut_off() {
    let server = start_authorized(|config| config.limits.header_timeout = Duration::from_millis(300));
    let begun = Instant::now();
    let starts: [&[u8]; 5] =
        [b"", b"P", b"GET /livez HTTP/1.1\r\nX: ", b"PRI * HTTP/2.0\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];
    let mut streams: Vec<_> = starts.iter().map(|_| server.connect()).collect();
    for (stream, start) in streams.iter_mut().zip(starts) {
        stream.write_all(start).unwrap();
    }
    for stream in &mut streams {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn who_takes_nothing_is_cut_off() {
    let server = start_authorized(|config| {
        config.limits.header_timeout = Duration::from_millis(100);
        config.limits.idle_timeout = Duration::from_millis(100);
        config.limits.request_timeout = Duration::from_millis(100);
    });
    let path = server.folder.path().join("film/720p/00000.ts");
    std::fs::File::create(&path).unwrap().set_len(256 << 20).unwrap();
    let mut stuck = server.connect();
    stuck.write_all(b"GET /film/720p/00000.ts HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stuck.read_exact(&mut [0; 1]).unwrap();
    // The file stays open no longer than the connection.
    let until = Instant::now() + Duration::from_secs(20);
    let is_open = || {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
        links.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|link| link == path)
    };
    while is_open() {
        assert!(Instant::now() < until, "it is still being sent");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn hundreds_of_silent_connections_keep_nobody_out() {
    let server = start_authorized(|config| {
        // Fewer than come: they have to be cut off before anybody else is answered.
        (config.limits.connections, config.limits.connections_per_client) = (50, 0);
        config.limits.header_timeout = Duration::from_millis(300);
    });
    let silent: Vec<_> = (0..200).map(|_| server.connect()).collect();
    assert_eq!(server.get(&signed_key(FILM_KEY, "film", 60)).status, 200);
    drop(silent);
}
