//! With authorisers: who is given a key, and what stands in the answer.

use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::harness::{Answer, FILM_KEY, KEY, OTHER_KEY, bearer, now, signed_key, start_authorized};

const UNKNOWN_KEY: &str = "00000000-0000-4000-8000-00000000000f";

fn max_age(answer: &Answer) -> u64 {
    let value = answer.field("cache-control");
    let seconds = value.strip_prefix("private, max-age=").and_then(|rest| rest.strip_suffix(", no-transform"));
    seconds.unwrap_or_else(|| panic!("{value}")).parse().unwrap()
}

fn until(answer: &Answer) -> u64 {
    let date = jiff::fmt::rfc2822::parse(answer.field("expires").replace("GMT", "+0000").as_str()).unwrap();
    u64::try_from(Timestamp::from(date).as_second()).unwrap()
}

#[test]
fn a_viewer_is_given_the_key_that_the_token_opens() {
    let server = start_authorized(|_| {});
    let target = signed_key(FILM_KEY, "film", 3600);
    let key = server.get(&target);
    assert_eq!((key.status, key.body.as_slice()), (200, &KEY[..]), "{key:?}");
    assert_eq!(key.field("content-type"), "application/octet-stream");
    assert_eq!(key.field("content-length"), "16");
    assert_eq!(key.field("vary"), "Authorization, Cookie, Origin");
    assert_eq!(max_age(&key), 300);
    assert!(until(&key).abs_diff(now() + 300) <= 2, "{key:?}");
    assert_eq!((key.field("content-encoding"), key.field("etag")), ("", ""));
    let head = server.ask("HEAD", &target, &[]);
    assert_eq!((head.status, head.body.len(), head.field("content-length")), (200, 0, "16"));
    assert_eq!(server.keys.asked.load(Ordering::SeqCst), 1, "one question to the store for both");
    let by_field = server.ask("GET", &format!("/v1/keys/{FILM_KEY}"), &[&bearer("viewer", "film", 3600)]);
    assert_eq!(by_field.body, KEY);
    // Names are not looked at: there is a proxy, or a certificate.
    assert_eq!(server.ask("GET", &target, &["Host: keys.example", "X-Forwarded-For: 192.0.2.1"]).status, 200);
}

#[test]
fn nobody_keeps_a_key_longer_than_the_right_to_it() {
    let server = start_authorized(|_| {});
    let key = server.get(&signed_key(FILM_KEY, "film", 40));
    assert!((30..=40).contains(&max_age(&key)), "{key:?}");
    assert!(until(&key) <= now() + 40);
    server.get(&signed_key(FILM_KEY, "film", 0)).assert_problem(403, "ended");
    // It counts from the answer, not from the question.
    let server = start_authorized(|_| {});
    server.keys.millis.store(1200, Ordering::SeqCst);
    let target = signed_key(FILM_KEY, "film", 40);
    let ends = now() + 40;
    let key = server.get(&target);
    assert!(key.status == 200 && until(&key) <= ends, "{key:?}");
    assert!(max_age(&key) <= 38, "{key:?}");
    let server = start_authorized(|config| config.keys.max_age = std::time::Duration::ZERO);
    assert_eq!(server.get(&signed_key(FILM_KEY, "film", 40)).field("cache-control"), "no-store, no-transform");
}

#[test]
fn unknown_and_forbidden_keys_look_alike() {
    let server = start_authorized(|_| {});
    let film = bearer("viewer", "film", 3600);
    let of = |key: &str, fields: &[&str]| server.ask("GET", &format!("/v1/keys/{key}"), fields);
    let anonymous = of(FILM_KEY, &[]);
    anonymous.assert_problem(403, "no token");
    for (what, answer) in [
        ("another content's", of(OTHER_KEY, &[&film])),
        ("one that is not there", of(UNKNOWN_KEY, &[&film])),
        ("no key id", of("..%2f..%2fkeyring.json", &[&film])),
        ("upper case", of("00000000-0000-4000-8000-00000000000F", &[&film])),
        ("a false token", of(FILM_KEY, &[&format!("{film}x")])),
        ("no token, not there", of(UNKNOWN_KEY, &[])),
        ("signed for another key", server.get(&signed_key(FILM_KEY, "film", 60).replacen(FILM_KEY, OTHER_KEY, 1))),
        ("signed for another content", server.get(&signed_key(OTHER_KEY, "film", 60))),
    ] {
        answer.assert_problem(403, what);
        assert_eq!(answer.body, anonymous.body, "{what}");
        let names = |answer: &Answer| answer.fields.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&answer), names(&anonymous), "{what}");
    }
    let lines = server.audit(9);
    assert!(lines.iter().all(|line| line["decision"] == "refused"), "{lines:?}");
}

#[test]
fn the_store_is_not_asked_for_whom_nobody_knows() {
    let server = start_authorized(|_| {});
    for key in [FILM_KEY, OTHER_KEY, UNKNOWN_KEY] {
        assert_eq!(server.get(&format!("/v1/keys/{key}")).status, 403);
    }
    assert_eq!(server.keys.asked.load(Ordering::SeqCst), 0);
}

#[test]
fn pages_of_listed_origins_may_read_with_credentials() {
    let server = start_authorized(|config| config.allowed_origins = vec!["https://player.example".parse().unwrap()]);
    let target = signed_key(FILM_KEY, "film", 60);
    for (target, status) in [(target.as_str(), 200), ("/v1/keys/x", 403), ("/film/master.m3u8", 200)] {
        let answer = server.ask("GET", target, &["Origin: https://player.example"]);
        assert_eq!(answer.status, status);
        assert_eq!(answer.field("access-control-allow-origin"), "https://player.example");
        assert_eq!(answer.field("access-control-allow-credentials"), "true");
        for origin in ["https://evil.example", "null", "http://player.example", "http://localhost:3000"] {
            let answer = server.ask("GET", target, &[&format!("Origin: {origin}")]);
            assert!(answer.fields.keys().all(|name| !name.starts_with("access-control")), "{origin}: {answer:?}");
        }
    }
    let request = ["Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization"];
    let listed = server.ask("OPTIONS", &target, &["Origin: https://player.example", request[0], request[1]]);
    assert_eq!((listed.status, listed.body.len()), (204, 0));
    assert_eq!(listed.field("access-control-allow-headers"), "Authorization, Range");
    assert_eq!(listed.field("access-control-max-age"), "86400");
    assert_eq!(listed.field("access-control-allow-credentials"), "true");
    let other = server.ask("OPTIONS", &target, &["Origin: https://evil.example", request[0], request[1]]);
    assert!(other.fields.keys().all(|name| !name.starts_with("access-control")), "{other:?}");
    assert_eq!(server.keys.asked.load(Ordering::SeqCst), 1, "preflights open nothing");
}

#[test]
fn a_store_that_is_down_is_said_to_be_and_only_that() {
    let server = start_authorized(|_| {});
    server.keys.is_down.store(true, Ordering::SeqCst);
    let target = signed_key(FILM_KEY, "film", 3600);
    let answer = server.get(&target);
    answer.assert_problem(503, "down");
    assert!(answer.field("retry-after").parse::<u64>().unwrap() >= 1, "{answer:?}");
    assert!(!String::from_utf8_lossy(&answer.body).contains("store"), "{answer:?}");
    assert!(server.wait_for("the store is down").contains(FILM_KEY));
    assert_eq!(server.get("/livez").status, 200);
    assert_eq!(server.audit(1)[0]["decision"], "unavailable");
    server.keys.is_down.store(false, Ordering::SeqCst);
    let begun = std::time::Instant::now();
    while server.get(&target).status != 200 {
        assert!(begun.elapsed().as_secs() < 10, "it does not come back");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn who_cannot_be_known_now_is_told_to_come_again() {
    let server = start_authorized(|config| {
        // Nobody is there.
        let text = "type = \"jwt\"\nissuer = \"test\"\naudience = \"keyrung\"\n\
            jwks = { url = \"https://127.0.0.1:1/keys\", algorithms = [\"ES256\"] }\n";
        config.authorizer = vec![toml::from_str(text).unwrap()];
    });
    let token = bearer("viewer", "film", 60).replace("Authorization: Bearer ", "");
    for path in [format!("/v1/keys/{FILM_KEY}"), "/film/master.m3u8".to_owned(), "/v1/packages".to_owned()] {
        let answer = server.get(&format!("{path}?token={token}"));
        answer.assert_problem(503, &path);
        assert_ne!(answer.field("retry-after"), "", "{path}");
    }
    // Whoever says nothing is a stranger all the same, and segments are for everyone.
    assert_eq!(server.get("/film/master.m3u8").status, 200);
    assert_eq!(server.get("/film/720p/empty.ts").status, 200);
}

#[test]
fn a_playlist_carries_the_viewers_token_on() {
    let server = start_authorized(|_| {});
    let text = format!("#EXTM3U\n#EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"/v1/keys/{FILM_KEY}\"\n");
    std::fs::write(server.folder.path().join("film/master.m3u8"), &text).unwrap();
    let stranger = server.get("/film/master.m3u8");
    assert_eq!((stranger.status, stranger.body.as_slice()), (200, text.as_bytes()));
    let bearer = bearer("viewer", "film", 600);
    let token = bearer.trim_start_matches("Authorization: Bearer ");
    let known = server.get(&format!("/film/master.m3u8?token={token}"));
    let key_uri = format!("/v1/keys/{FILM_KEY}?token={token}");
    assert!(String::from_utf8_lossy(&known.body).contains(&key_uri), "{known:?}");
    assert_eq!(known.field("cache-control"), "private, no-store");
    assert!(known.field("vary").contains("Cookie") && known.field("vary").ends_with("Origin"), "{known:?}");
    assert_eq!(server.get(&key_uri).body, KEY);
    // Signed anew for the key's own path.
    let signed = server.get(&super::harness::signed("/film/*", "film", 600).replace("/film/*?", "/film/master.m3u8?"));
    let body = String::from_utf8_lossy(&signed.body).into_owned();
    let (_, uri) = body.split_once("URI=\"").unwrap();
    assert_eq!(server.get(uri.split('"').next().unwrap()).body, KEY, "{body}");
    // A cookie says the same, and then the URIs are left alone.
    let asked = server.get(&format!("/film/master.m3u8?token={token}&cookie=1"));
    assert_eq!(asked.body, text.as_bytes());
    let cookie = asked.field("set-cookie").split(';').next().unwrap();
    assert_eq!(cookie, format!("keyrung_token={token}"));
    assert_eq!(server.ask("GET", &format!("/v1/keys/{FILM_KEY}"), &[&format!("Cookie: {cookie}")]).body, KEY);
    // A browser that has one is given the next, and the old one is in nobody's way.
    let next = self::bearer("viewer", "film", 900);
    let next = next.trim_start_matches("Authorization: Bearer ");
    let asked = server.ask("GET", &format!("/film/master.m3u8?token={next}&cookie=1"), &[&format!("Cookie: {cookie}")]);
    assert!(asked.field("set-cookie").starts_with(&format!("keyrung_token={next};")), "{asked:?}");
    let shown = server.ask("GET", &key_uri, &["Cookie: keyrung_token=of-another-film"]);
    assert_eq!(shown.body, KEY);

    let list = |fields: &[&str]| {
        let answer = server.ask("GET", "/v1/packages", fields);
        let list: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        list["packages"].as_array().unwrap().iter().map(|p| p["content_id"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(&[&bearer]), ["\"film\""]);
    assert!(list(&[]).is_empty());
    // Segments are for everyone: they are encrypted.
    assert_eq!(server.get("/film/720p/empty.ts").status, 200);
}
