//! Asking another server.

use std::time::{Duration, Instant};

use super::super::testing::*;
use super::super::{Authorizers, Denied};

async fn rig(reply: Reply, more: &str) -> (Server, Authorizers) {
    let server = Server::plain(reply).await;
    let toml = format!("[[authorizer]]\ntype = \"forward\"\nurl = \"http://{}/authorize?x=1\"\n{more}", server.address);
    (server, authorizers(&toml))
}

fn viewer() -> Request {
    Request::new().field("authorization", "Bearer opaque").field("cookie", "a=b").field("cookie", "session=1")
}

#[tokio::test]
async fn it_is_asked_with_what_the_viewer_sent() {
    let (server, authorizers) = rig(Reply::new("204 No Content", ""), "").await;
    let request = viewer().query("t=1").field("x-original-key-id", OTHER_KEY).field("host", "keys.example");
    let grant = request.decide(&authorizers).await.unwrap();
    assert_eq!((grant.authorizer, grant.expires), ("forward", Some(time(NOW + 5))));
    assert!(grant.covers(&key(KEY), &content("any")));
    assert!(!grant.covers(&key(OTHER_KEY), &content("any")) && !grant.covers_content(&content("any")));
    assert_eq!(grant.subject.as_deref().map(str::len), Some(16));
    let head = server.seen.lock().unwrap()[0].to_ascii_lowercase();
    for line in [
        "get /authorize?x=1 http/1.1\r\n",
        "\r\nx-original-method: get\r\n",
        &format!("\r\nx-original-uri: /v1/keys/{KEY}?t=1\r\n"),
        &format!("\r\nx-original-key-id: {KEY}\r\n"),
        "\r\nauthorization: bearer opaque\r\n",
        "\r\ncookie: a=b; session=1\r\n",
    ] {
        assert!(head.contains(line), "{line:?} in {head}");
    }
    assert!(!head.contains(OTHER_KEY) && !head.contains("keys.example"), "nothing else of the viewer's goes along");
}

#[tokio::test]
async fn only_yes_grants() {
    let away = "Location: http://127.0.0.1:9/\r\n".to_owned();
    for (status, expected) in [
        ("200 OK", Ok(())),
        ("202 Accepted", Ok(())),
        ("401 Unauthorized", Err(Denied::ForwardRefused)),
        ("403 Forbidden", Err(Denied::ForwardRefused)),
        ("301 Moved Permanently", Err(Denied::ForwardUnavailable)),
        ("302 Found", Err(Denied::ForwardUnavailable)),
        ("307 Temporary Redirect", Err(Denied::ForwardUnavailable)),
        ("304 Not Modified", Err(Denied::ForwardUnavailable)),
        ("400 Bad Request", Err(Denied::ForwardUnavailable)),
        ("404 Not Found", Err(Denied::ForwardUnavailable)),
        ("429 Too Many Requests", Err(Denied::ForwardUnavailable)),
        ("500 Internal Server Error", Err(Denied::ForwardUnavailable)),
        ("503 Service Unavailable", Err(Denied::ForwardUnavailable)),
        ("nonsense", Err(Denied::ForwardUnavailable)),
    ] {
        let fields = if status.starts_with('3') { away.clone() } else { String::new() };
        let (server, authorizers) = rig(Reply { fields, ..Reply::new(status, "") }, "cache = \"0s\"").await;
        assert_eq!(viewer().decide(&authorizers).await.map(|_| ()), expected, "{status}");
        assert_eq!(server.count(), 1);
    }
    let refused = authorizers("[[authorizer]]\ntype = \"forward\"\nurl = \"http://127.0.0.1:9/\"\n");
    assert_eq!(viewer().decide(&refused).await.map(|_| ()), Err(Denied::ForwardUnavailable), "nobody there");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (elsewhere, _) = rig(Reply::new("200 OK", ""), "").await;
    let fields = format!("Location: http://{}/\r\n", elsewhere.address);
    let (_server, authorizers) = rig(Reply { fields, ..Reply::new("302 Found", "") }, "").await;
    assert_eq!(viewer().decide(&authorizers).await.map(|_| ()), Err(Denied::ForwardUnavailable));
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test]
async fn an_answer_is_used_again_for_the_same_question_only() {
    let (server, authorizers) = rig(Reply::new("200 OK", "welcome"), "cache = \"400ms\"").await;
    let asked = async |request: Request| {
        let before = server.count();
        request.decide(&authorizers).await.unwrap();
        server.count() - before
    };
    assert_eq!(asked(viewer()).await, 1);
    assert_eq!(asked(viewer()).await, 0);
    // One difference each: a grant of one viewer, key or query is none for another.
    assert_eq!(asked(viewer().path(&format!("/v1/keys/{OTHER_KEY}"))).await, 1);
    assert_eq!(asked(viewer().query("t=1")).await, 1);
    assert_eq!(asked(viewer().field("cookie", "session=2")).await, 1);
    assert_eq!(asked(Request::new().field("cookie", "a=b; session=1")).await, 1);
    assert_eq!(asked(Request::new().field("authorization", "Bearer opaque")).await, 1);
    assert_eq!(asked(Request { method: axum::http::Method::HEAD, ..viewer() }).await, 1);
    tokio::time::sleep(Duration::from_millis(450)).await;
    assert_eq!(asked(viewer()).await, 1, "not for longer than it may");
    server.replies(Reply::new("403 Forbidden", ""));
    tokio::time::sleep(Duration::from_millis(450)).await;
    assert_eq!(viewer().decide(&authorizers).await.map(|_| ()), Err(Denied::ForwardRefused));
    let before = server.count();
    server.replies(Reply::new("200 OK", ""));
    assert_eq!(viewer().decide(&authorizers).await.map(|_| ()), Err(Denied::ForwardRefused), "a no is kept as well");
    assert_eq!(server.count(), before);
}

#[tokio::test]
async fn a_remembered_yes_ends_when_the_first_would_have() {
    let (server, authorizers) = rig(Reply::new("200 OK", ""), "cache = \"10s\"").await;
    let first = viewer().decide(&authorizers).await.unwrap();
    assert_eq!(first.expires, Some(time(NOW + 10)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let again = viewer().decide(&authorizers).await.unwrap();
    assert!(again.expires < Some(time(NOW + 10) - Duration::from_millis(300)), "{:?}", again.expires);
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn trouble_is_not_kept() {
    let (server, authorizers) = rig(Reply::new("500 Internal Server Error", ""), "").await;
    assert_eq!(viewer().decide(&authorizers).await.map(|_| ()), Err(Denied::ForwardUnavailable));
    server.replies(Reply::new("200 OK", ""));
    assert!(viewer().decide(&authorizers).await.is_ok());
}

#[tokio::test]
async fn trouble_is_told_once_for_all_viewers() {
    for (reply, why) in [
        (Reply::new("500 Internal Server Error", ""), "it is 500 Internal Server Error"),
        (Reply { delay: Duration::from_secs(60), ..Reply::new("200 OK", "") }, "time"),
    ] {
        let (server, authorizers) = rig(reply, "timeout = \"200ms\"\n").await;
        let told = told(&authorizers);
        for n in 0..3 {
            let denied = viewer().query(&format!("n={n}")).decide(&authorizers).await.map(|_| ());
            assert_eq!(denied, Err(Denied::ForwardUnavailable));
        }
        let lines = told.lock().unwrap().clone();
        let expected = format!("no answer of http://{}/authorize could be used: ", server.address);
        assert!(lines.len() == 1 && lines[0].starts_with(&expected) && lines[0].contains(why), "{lines:?}");
    }
    let (_server, authorizers) = rig(Reply::new("403 Forbidden", ""), "").await;
    let told = told(&authorizers);
    assert_eq!(viewer().decide(&authorizers).await.map(|_| ()), Err(Denied::ForwardRefused));
    assert!(told.lock().unwrap().is_empty(), "a no is no trouble");
}

#[tokio::test]
async fn nobody_waits_longer_than_the_timeout() {
    let slow = Reply { delay: Duration::from_secs(60), ..Reply::new("200 OK", "") };
    let (server, authorizers) = rig(slow, "timeout = \"500ms\"\nconcurrency = 2\ncache = \"0s\"").await;
    let begun = Instant::now();
    let answers = together(authorizers, (0..10).map(|n| viewer().query(&format!("n={n}"))).collect()).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(Denied::ForwardUnavailable))));
    assert!(begun.elapsed() < Duration::from_millis(1500), "waiting for a turn included: {:?}", begun.elapsed());
    assert_eq!(server.count(), 2, "no more at once");
}

#[tokio::test]
async fn only_keys_are_asked_for() {
    let (server, authorizers) = rig(Reply::new("200 OK", ""), "").await;
    for path in ["/film/master.m3u8", "/v1/keys/", "/v1/keys/%2e%2e", &format!("/v1/keys/{}", KEY.to_uppercase()), ""] {
        assert_eq!(viewer().path(path).decide(&authorizers).await.map(|_| ()), Err(Denied::ForwardNotKey), "{path}");
    }
    let twice = viewer().field("authorization", "Bearer other");
    assert_eq!(twice.decide(&authorizers).await.map(|_| ()), Err(Denied::Repeated));
    assert_eq!(server.count(), 0);
}

#[test]
fn settings_that_would_be_unsafe_are_refused() {
    for (more, expected) in [
        ("url = \"ftp://a/\"", "not an http or https URL"),
        ("url = \"/authorize\"", "not a URL"),
        ("url = \"https://a:b@c/\"", "a user or a password"),
        ("url = \"https://a/\"\ntimeout = \"0s\"", "timeout"),
        ("url = \"https://a/\"\ntimeout = \"31s\"", "timeout"),
        ("url = \"https://a/\"\nconcurrency = 0", "concurrency"),
        ("url = \"https://a/\"\nca = \"/nonexistent\"", "ca"),
        ("url = \"https://a/\"\nopen = true", "unknown field"),
    ] {
        let error = try_authorizers(&format!("[[authorizer]]\ntype = \"forward\"\n{more}\n")).map(|_| ()).unwrap_err();
        assert!(error.contains(expected), "{more}: {error}");
    }
}
