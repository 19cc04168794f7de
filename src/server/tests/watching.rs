//! What an operator sees: figures and audit lines.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::limits::SERVER_FILE_NOTICE;

use super::harness::{FILM_KEY, KEY, OTHER_KEY, SECRET, bearer, signed_key, start, start_authorized, start_with};

#[test]
fn every_decision_is_one_line_without_a_secret() {
    let server = start_authorized(|_| {});
    let (signed, token) = (signed_key(FILM_KEY, "film", 60), bearer("viewer-7", "film", 60));
    let path = format!("/v1/keys/{FILM_KEY}");
    assert_eq!(server.get(&signed).status, 200);
    assert_eq!(server.ask("GET", &path, &[&token]).status, 200);
    assert_eq!(server.ask("GET", &format!("/v1/keys/{OTHER_KEY}"), &[&token]).status, 403);
    assert_eq!(server.get(&format!("{signed}x")).status, 403);
    assert_eq!(server.get(&format!("{path}?token=an-odd-token")).status, 403);
    let cookie = "Cookie: kr-signed=an-odd-cookie";
    assert_eq!(server.ask("GET", "/v1/keys/not-a-key", &[cookie]).status, 403);
    let lines = server.audit(6);
    let decisions: Vec<_> = lines.iter().map(|line| line["decision"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["given", "given", "refused", "refused", "refused", "refused"]);
    let first = &lines[1];
    assert_eq!((&first["key_id"], &first["content_id"]), (&FILM_KEY.into(), &"film".into()));
    assert_eq!((&first["authorizer"], &first["token_id"]), (&"jwt".into(), &"id-of-viewer-7".into()));
    assert_eq!((&first["client"], &first["reason"]), (&"127.0.0.1".into(), &"granted".into()));
    assert_eq!(first["subject"].as_str().unwrap().len(), 16);
    assert!(first["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{first}");
    assert_eq!((&lines[2]["reason"], &lines[2]["content_id"]), (&"not-covered".into(), &"other".into()));
    assert_eq!(lines[3]["reason"], "signed-signature");
    let ids: std::collections::BTreeSet<_> = lines.iter().map(|line| line["request_id"].to_string()).collect();
    assert_eq!(ids.len(), 6);

    let mut said = server.world.audit.lock().unwrap().clone();
    said.extend(server.world.notices.lock().unwrap().concat().bytes());
    let token = token.trim_start_matches("Authorization: Bearer ");
    let (_, value) = signed.split_once('=').unwrap();
    let (hex, base64) = (hex::encode(KEY), STANDARD.encode(KEY));
    for secret in [
        "an-odd-token",
        "an-odd-cookie",
        token,
        token.rsplit('.').next().unwrap(),
        value,
        value.rsplit('.').next().unwrap(),
        "kr-signed",
        &hex,
        &base64,
        "0123456789abcdef",
        SECRET.trim_end(),
    ] {
        let secret = secret.as_bytes();
        assert!(!said.windows(secret.len()).any(|window| window == secret), "{}", secret.escape_ascii());
    }
}

#[test]
fn nothing_is_decided_that_cannot_be_written_down() {
    let server = start_authorized(|config| config.limits.request_timeout = Duration::from_millis(500));
    let target = signed_key(FILM_KEY, "film", 60);
    server.world.is_full.store(true, Ordering::SeqCst);
    assert_eq!(server.get(&target).status, 200, "the queue has room");
    server.wait_for("the audit log cannot be written");
    server.get("/readyz").assert_problem(503, "the log is not well");
    server.world.is_full.store(false, Ordering::SeqCst);
    server.wait_for("is being written again");
    assert_eq!(server.audit(1)[0]["decision"], "given", "it was not lost");
    assert_eq!(server.get("/readyz").status, 200);
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let server = start_authorized(|_| {});
    let film = server.folder.path().join("film");
    std::fs::write(film.join("master.m3u8"), "<html>").unwrap();
    let token = bearer("viewer", "film", 60);
    let answer = server.ask("GET", "/film/master.m3u8?secret-of-a-viewer", &[&token]);
    answer.assert_problem(500, "no playlist");
    let said = server.wait_for("cannot be given");
    assert!(said.contains(answer.field("x-request-id")) && said.contains("film"), "{said}");
    assert!(!said.contains("secret-of-a-viewer") && !said.contains('\n'), "{said}");
    // Whoever asks on fills no log.
    for _ in 0..50 {
        assert_eq!(server.ask("GET", "/film/master.m3u8", &[&token]).status, 500);
    }
    let count = server.world.notices.lock().unwrap().iter().filter(|said| said.contains("cannot be given")).count();
    assert!(count < 10, "{count} lines");

    // A file that ends before it should.
    let segment = film.join("720p/00000.ts");
    std::fs::File::create(&segment).unwrap().set_len(256 << 20).unwrap();
    let mut stream = server.connect();
    stream.write_all(b"GET /film/720p/00000.ts HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
    std::thread::sleep(SERVER_FILE_NOTICE);
    std::fs::File::create(&segment).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    server.wait_for("to its end");
}

#[test]
fn without_an_authoriser_there_is_a_log_if_it_is_asked_for() {
    let server = start_with(|config| config.audit.file = Some("-".into()));
    assert_eq!(server.get(&format!("/v1/keys/{FILM_KEY}")).status, 200);
    assert_eq!(server.audit(1)[0]["authorizer"], "local");
    let server = start();
    assert_eq!(server.get(&format!("/v1/keys/{FILM_KEY}")).status, 200);
    assert!(server.world.audit.lock().unwrap().is_empty());
}

/// The value of a sample, by its name and labels.
fn sample(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

#[test]
fn figures() {
    let server = start_authorized(|config| {
        config.metrics_listen = Some("127.0.0.1:0".parse().unwrap());
        (config.limits.subject_rate, config.limits.subject_burst) = (1, 2);
    });
    let target = signed_key(FILM_KEY, "film", 60);
    for life in 60..63 {
        assert_eq!(server.get(&signed_key(FILM_KEY, "film", life)).status, 200);
    }
    assert_eq!(server.get("/v1/keys/?secret-of-a-viewer").status, 404);
    // A load balancer that only looks whether the port is open.
    drop(server.connect());
    for _ in 0..4 {
        server.ask("GET", &format!("/v1/keys/{OTHER_KEY}"), &[&bearer("viewer", "film", 60)]);
    }
    let answer = server.figures("/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("keyrung_") && value.parse::<f64>().is_ok(), "{line}");
    }
    assert_eq!(sample(&text, "keyrung_answers_total{route=\"key\",status=\"200\"}"), 3.0);
    assert_eq!(sample(&text, "keyrung_key_decisions_total{decision=\"given\",reason=\"granted\"}"), 3.0);
    assert_eq!(sample(&text, "keyrung_key_decisions_total{decision=\"refused\",reason=\"not-covered\"}"), 2.0);
    assert_eq!(sample(&text, "keyrung_rate_limited_total{by=\"subject\"}"), 2.0);
    assert_eq!(sample(&text, "keyrung_key_request_duration_seconds_count"), 7.0);
    assert_eq!(sample(&text, "keyrung_vault_opened_total"), 1.0);
    assert_eq!(sample(&text, "keyrung_vault_hits_total"), 2.0);
    assert_eq!((sample(&text, "keyrung_vault_read_total"), sample(&text, "keyrung_vault_records")), (2.0, 2.0));
    assert_eq!((sample(&text, "keyrung_vault_keys"), sample(&text, "keyrung_vault_turned_away_total")), (1.0, 0.0));
    assert_eq!(sample(&text, "keyrung_requests_in_flight"), 0.0);
    assert!(!text.contains("by=\"slow\""), "{text}");
    assert!(!text.contains("secret-of-a-viewer") && !text.contains(FILM_KEY), "{text}");
    assert_eq!((server.figures("/livez").status, server.figures("/readyz").status), (200, 200));
    server.figures(&target).assert_problem(404, "no keys here");
    // And not for viewers.
    server.get("/metrics").assert_problem(404, "no figures there");
}
