//! Authorisers that ask others: an endpoint for each key, a server of key sets.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::harness::{FILM_KEY, KEY, bearer, start_authorized};

/// An endpoint that grants what comes with this cookie, while it is well; its URL.
fn endpoint(cookie: &'static str, is_well: &Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/may-play?secret=of-the-endpoint", listener.local_addr().unwrap());
    let is_well = Arc::clone(is_well);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
            let is_it = head.iter().any(|line| line.eq_ignore_ascii_case(&format!("cookie: {cookie}")));
            let status = match (is_well.load(Ordering::SeqCst), is_it) {
                (false, _) => "500 Out of Order",
                (true, true) => "204 No Content",
                (true, false) => "403 Forbidden",
            };
            let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn an_endpoint_decides_and_its_trouble_is_no_refusal() {
    let is_well = Arc::new(AtomicBool::new(true));
    let url = endpoint("session=good", &is_well);
    let server = start_authorized(|config| {
        let text = format!("type = \"forward\"\nurl = {url:?}\ncache = \"3s\"\n");
        config.authorizer = vec![toml::from_str(&text).unwrap()];
    });
    let path = format!("/v1/keys/{FILM_KEY}");
    let given = server.ask("GET", &path, &["Cookie: session=good"]);
    assert_eq!(given.body, KEY);
    let value = given.field("cache-control");
    let kept: u64 = value.trim_start_matches("private, max-age=").split(',').next().unwrap().parse().unwrap();
    assert!(kept <= 3, "{value}");
    server.ask("GET", &path, &["Cookie: session=bad"]).assert_problem(403, "a no");
    server.get(&path).assert_problem(403, "nobody");
    // What is no key is not asked about.
    assert_eq!(server.ask("GET", "/film/master.m3u8", &["Cookie: session=good"]).status, 200);

    is_well.store(false, Ordering::SeqCst);
    let trouble = server.ask("GET", &path, &["Cookie: session=good; more=1"]);
    trouble.assert_problem(503, "trouble");
    assert!(trouble.field("retry-after").parse::<u64>().unwrap() >= 1);
    let said = server.wait_for("no answer of http://127.0.0.1:");
    assert!(said.contains("/may-play could be used: it is 500") && !said.contains("secret"), "{said}");
    let reasons: Vec<_> = server.audit(4).iter().map(|line| line["reason"].to_string()).collect();
    assert_eq!(reasons, ["\"granted\"", "\"forward-refused\"", "\"forward-refused\"", "\"forward-unavailable\""]);
}

/// A playlist without the token would be the end of what a second try would play.
#[test]
fn while_a_key_set_cannot_be_had_nobody_is_a_stranger_for_it() {
    let server = start_authorized(|config| {
        let text = "type = \"jwt\"\nissuer = \"test\"\naudience = \"keyrung\"\n\
                    jwks = { url = \"https://127.0.0.1:1/jwks\", algorithms = [\"ES256\"] }\n";
        config.authorizer = vec![toml::from_str(text).unwrap()];
    });
    let field = bearer("viewer", "film", 600);
    let token = field.trim_start_matches("Authorization: Bearer ");
    for target in ["/film/master.m3u8", "/v1/packages", &format!("/v1/keys/{FILM_KEY}")] {
        for answer in [server.get(&format!("{target}?token={token}")), server.ask("GET", target, &[&field])] {
            answer.assert_problem(503, target);
            assert!(answer.field("retry-after").parse::<u64>().unwrap() >= 1, "{target}: {answer:?}");
        }
    }
    let said = server.wait_for("the key set at https://127.0.0.1:1/jwks was not taken");
    assert!(!said.contains(token), "{said}");
    // Who shows nothing, and whose token is bad for another reason, is a stranger as ever.
    assert_eq!(server.get("/film/master.m3u8").status, 200);
    assert_eq!(server.get("/film/master.m3u8?token=a.b.c").status, 200);
    server.get(&format!("/v1/keys/{FILM_KEY}?token=a.b.c")).assert_problem(403, "no token at all");
}
