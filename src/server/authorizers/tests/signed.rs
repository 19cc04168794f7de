//! Signed URLs and cookies.

use axum::http::Method;
use ipnet::IpNet;
use proptest::prelude::*;

use super::super::secret::Secret;
use super::super::signed::{PARAMETER, Signer, Terms};
use super::super::testing::*;
use super::super::{Authorizers, Denied, Grant};

struct Rig {
    _dir: tempfile::TempDir,
    signer: Signer,
    old: Signer,
    authorizers: Authorizers,
}

/// Two secrets, `new` and `old`.
fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let new = secret_file(dir.path(), SECRET);
    let old = secret_file(dir.path(), b"the old secret, of more than 32 bytes");
    let signer = |id: &str, file| Signer::new(id.into(), Secret::read(file).unwrap()).unwrap();
    let authorizers = authorizers(&format!(
        "[[authorizer]]\ntype = \"signed\"\n[[authorizer.secret]]\nid = \"new\"\nfile = {new:?}\n\
         [[authorizer.secret]]\nid = \"old\"\nfile = {old:?}\n"
    ));
    Rig { signer: signer("new", &new), old: signer("old", &old), authorizers, _dir: dir }
}

fn terms(path: &str) -> Terms {
    Terms { path: path.parse().unwrap(), expires: NOW + 600, content: None, network: None }
}

fn key_path() -> String {
    format!("/v1/keys/{KEY}")
}

fn url(value: &str) -> Request {
    Request::new().query(&format!("{PARAMETER}={value}"))
}

impl Rig {
    async fn decide(&self, request: &Request) -> Result<Grant, Denied> {
        request.decide(&self.authorizers).await
    }

    async fn denied(&self, terms: &Terms, request: impl Fn(&str) -> Request) -> Denied {
        self.decide(&request(&self.signer.sign(terms))).await.unwrap_err()
    }
}

#[test]
fn the_vector_of_the_manual() {
    // Made with openssl: see the manual's page on tokens.
    let dir = tempfile::tempdir().unwrap();
    let file = secret_file(dir.path(), b"keyrung-test-secret-0123456789abcdef\n");
    let signer = Signer::new("2026a".into(), Secret::read(&file).unwrap()).unwrap();
    let terms = Terms {
        path: key_path().parse().unwrap(),
        expires: 1_800_000_000,
        content: Some(content("film-1")),
        network: Some("203.0.113.0/24".parse().unwrap()),
    };
    assert_eq!(signer.sign(&terms), include_str!("vector.txt").trim_end());
}

#[tokio::test]
async fn a_signed_url_opens_its_key() {
    let rig = rig();
    for signer in [&rig.signer, &rig.old] {
        let value = signer.sign(&terms(&key_path()));
        for method in [Method::GET, Method::HEAD] {
            let request = Request { method, ..url(&value) };
            let grant = rig.decide(&request).await.unwrap();
            assert_eq!((grant.authorizer, grant.expires), ("signed", Some(time(NOW + 600))));
            assert!(grant.covers(&key(KEY), &content("any")) && !grant.covers(&key(OTHER_KEY), &content("any")));
            assert!(!grant.covers_content(&content("any")));
            assert!(!value.contains(grant.token_id.as_deref().unwrap()));
            let query = rig.authorizers.key_query(&grant, &request.asked(), &format!("/v1/keys/{OTHER_KEY}"));
            assert_eq!(query, None, "a signature for one key makes none for another");
        }
        let cookie = Request::new().field("cookie", &format!("{PARAMETER}={value}"));
        assert!(rig.decide(&cookie).await.is_ok());
    }
}

#[tokio::test]
async fn terms_are_kept_to() {
    let rig = rig();
    let exact = terms(&key_path());
    let with = |change: fn(&mut Terms)| {
        let mut terms = terms(&key_path());
        change(&mut terms);
        terms
    };
    let path = |path: &'static str| move |value: &str| url(value).path(path);
    for other in [
        "/v1/keys/00000000-0000-4000-8000-000000000000",
        "/v1/keys/3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f/",
        "/v1/keys//3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f",
        "/v1/keys/%33f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f",
        "/v1/keys/x/../3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f",
        "",
        "/",
    ] {
        assert_eq!(rig.denied(&exact, path(other)).await, Denied::SignedPath, "{other}");
    }
    for method in [Method::OPTIONS, Method::POST, Method::DELETE, Method::from_bytes(b"get").unwrap()] {
        let request = |value: &str| Request { method: method.clone(), ..url(value) };
        assert_eq!(rig.denied(&exact, request).await, Denied::SignedMethod);
    }
    assert_eq!(rig.denied(&with(|terms| terms.expires = NOW), url).await, Denied::SignedExpired);
    assert_eq!(rig.denied(&with(|terms| terms.expires = 0), url).await, Denied::SignedExpired);
    assert_eq!(rig.denied(&with(|terms| terms.expires = NOW + 86_431), url).await, Denied::SignedLife);
    assert_eq!(rig.denied(&with(|terms| terms.path = "/v1/keys/*".parse().unwrap()), url).await, Denied::SignedUnbound);
    assert_eq!(rig.denied(&with(|terms| terms.path = "/*".parse().unwrap()), url).await, Denied::SignedUnbound);
    let both = |value: &str| url(value).path("/film/master.m3u8");
    let contradiction = Terms { content: Some(content("other")), ..terms("/film/*") };
    assert_eq!(rig.denied(&contradiction, both).await, Denied::SignedUnbound);
}

#[tokio::test]
async fn a_network_is_kept_to() {
    let rig = rig();
    for (network, client, is_within) in [
        ("203.0.113.0/24", "203.0.113.7", true),
        ("203.0.113.0/24", "203.0.114.7", false),
        ("203.0.113.0/24", "::ffff:203.0.113.7", true),
        ("203.0.113.7/32", "203.0.113.8", false),
        ("2001:db8::/56", "2001:db8:0:ff::1", true),
        ("2001:db8::/56", "2001:db8:0:100::1", false),
        ("203.0.113.0/24", "2001:db8::1", false),
        ("::/0", "203.0.113.7", false),
        ("0.0.0.0/0", "203.0.113.7", true),
    ] {
        let terms = Terms { network: Some(network.parse::<IpNet>().unwrap()), ..terms(&key_path()) };
        let request = Request { client: client.parse().unwrap(), ..url(&rig.signer.sign(&terms)) };
        let expected = if is_within { Ok(()) } else { Err(Denied::SignedNetwork) };
        assert_eq!(rig.decide(&request).await.map(|_| ()), expected, "{network} {client}");
    }
}

#[tokio::test]
async fn a_content_is_kept_to() {
    let rig = rig();
    let film = Terms { content: Some(content("film")), ..terms("/v1/keys/*") };
    let grant = rig.decide(&url(&rig.signer.sign(&film))).await.unwrap();
    assert!(grant.covers(&key(KEY), &content("film")) && !grant.covers(&key(KEY), &content("other")));
    let one = Terms { content: Some(content("film")), ..terms(&key_path()) };
    let grant = rig.decide(&url(&rig.signer.sign(&one))).await.unwrap();
    assert!(!grant.covers(&key(KEY), &content("other")) && !grant.covers(&key(OTHER_KEY), &content("film")));
}

#[tokio::test]
async fn a_playlist_passes_its_signature_on() {
    let rig = rig();
    let network = Some("203.0.113.0/24".parse::<IpNet>().unwrap());
    let value = rig.signer.sign(&Terms { network, ..terms("/film/*") });
    let playlist = url(&value).path("/film/1080p/index.m3u8");
    let grant = rig.decide(&playlist).await.unwrap();
    assert!(grant.covers_content(&content("film")) && !grant.covers_content(&content("other")));
    let query = rig.authorizers.key_query(&grant, &playlist.asked(), &key_path()).unwrap();
    let request = Request::new().query(&query);
    let key_grant = rig.decide(&request).await.unwrap();
    assert_eq!(key_grant.expires, grant.expires);
    assert!(key_grant.covers(&key(KEY), &content("film")) && !key_grant.covers(&key(KEY), &content("other")));
    let elsewhere = Request { client: "198.51.100.1".parse().unwrap(), ..Request::new().query(&query) };
    assert_eq!(rig.decide(&elsewhere).await.map(|_| ()), Err(Denied::SignedNetwork), "the network goes along");
    for odd in ["", "v1/keys/x", "/v1/keys/*", "/v1/../x", "/a b", "//evil.example/x"] {
        assert_eq!(rig.authorizers.key_query(&grant, &playlist.asked(), odd), None, "{odd}");
    }
    // A cookie that reaches the keys comes along by itself; one that does not is passed on.
    let cookie = |value: &str| Request::new().field("cookie", &format!("{PARAMETER}={value}")).path("/film/a.m3u8");
    let narrow = cookie(&value);
    let grant = rig.decide(&narrow).await.unwrap();
    assert!(rig.authorizers.key_query(&grant, &narrow.asked(), &key_path()).is_some());
    let wide = cookie(&rig.signer.sign(&Terms { content: Some(content("film")), ..terms("/*") }));
    let grant = rig.decide(&wide).await.unwrap();
    assert_eq!(rig.authorizers.key_query(&grant, &wide.asked(), &key_path()), None);
}

#[tokio::test]
async fn values_have_one_form() {
    let rig = rig();
    let value = rig.signer.sign(&terms(&key_path()));
    let (signed, mac) = value.rsplit_once('.').unwrap();
    let parts: Vec<&str> = signed.split('.').collect();
    for (changed, denied) in [
        (value.replacen("v1", "v2", 1), Denied::SignedMalformed),
        (value.replacen("v1.", "", 1), Denied::SignedMalformed),
        (value.replacen(".new.", ".old.", 1), Denied::SignedSignature),
        (value.replacen(".new.", ".NEW.", 1), Denied::SignedSecret),
        (value.replacen(".new.", "..", 1), Denied::SignedSecret),
        (value.replacen(".new.", ".../new.", 1), Denied::SignedMalformed),
        (signed.to_owned(), Denied::SignedMalformed),
        (format!("{signed}."), Denied::SignedSignature),
        (format!("{signed}.{}", &mac[..22]), Denied::SignedMalformed),
        (format!("{signed}.{}", &mac[..40]), Denied::SignedSignature),
        (format!("{value}="), Denied::SignedMalformed),
        (format!("{signed}..{mac}"), Denied::SignedMalformed),
        (format!("{}.{}..{mac}", parts[0], parts[1]), Denied::SignedSignature),
    ] {
        let refused = rig.decide(&url(&changed)).await.map(|_| ());
        let is_expected = refused == Err(denied) || refused == Err(Denied::SignedSignature);
        assert!(is_expected, "{changed}: {refused:?}");
    }
    for query in [format!("{PARAMETER}={value}&{PARAMETER}={value}"), format!("{PARAMETER}={value}&a&{PARAMETER}=")] {
        assert_eq!(rig.decide(&Request::new().query(&query)).await.map(|_| ()), Err(Denied::Repeated));
    }
    // A bad URL is not saved by a good cookie.
    let both = url("x").field("cookie", &format!("{PARAMETER}={value}"));
    assert_eq!(rig.decide(&both).await.map(|_| ()), Err(Denied::SignedMalformed));
    // Nor is a good one spoilt by bad ones.
    for cookies in [format!("{PARAMETER}=x; {PARAMETER}={value}"), format!("{PARAMETER}="), format!("{PARAMETER}=x")] {
        let both = url(&value).field("cookie", &cookies);
        assert!(rig.decide(&both).await.is_ok(), "{cookies}: the URL counts");
    }
    let twice = Request::new().field("cookie", &format!("{PARAMETER}={value}; {PARAMETER}={value}"));
    assert_eq!(rig.decide(&twice).await.map(|_| ()), Err(Denied::Repeated));
}

/// Lines that [`Terms`] would not write, under a good signature.
#[tokio::test]
async fn lines_that_could_be_read_in_two_ways_are_refused() {
    let rig = rig();
    let path = key_path();
    let expires = NOW + 600;
    for lines in [
        format!("read\n{path}\n{expires}\n\n\n"),
        format!("read\n{path}\n{expires}\n"),
        format!("read\n{path}\n{expires}"),
        format!("read\r\n{path}\r\n{expires}\r\n\r\n"),
        format!("write\n{path}\n{expires}\n\n"),
        format!("READ\n{path}\n{expires}\n\n"),
        format!("read\n{path}\n0{expires}\n\n"),
        format!("read\n{path}\n+{expires}\n\n"),
        format!("read\n{path}\n{expires}.0\n\n"),
        format!("read\n{path}\n99999999999999999999\n\n"),
        format!("read\n{path}\n999999999999\n\n"),
        format!("read\n{path}\n{expires}\n../film\n"),
        format!("read\n{path}\n{expires}\n\n203.0.113.9/24"),
        format!("read\n{path}\n{expires}\n\n203.0.113.7"),
        format!("read\n{path}\n{expires}\n\n2001:DB8::/56"),
        format!("read\n{path}*\n{expires}\n\n"),
        format!("read\n\n{expires}\n\n"),
        String::new(),
    ] {
        let signed = format!("v1.new.{}", b64(&lines));
        let value = format!("{signed}.{}", hs256(SECRET)(&signed));
        assert_eq!(rig.decide(&url(&value)).await.map(|_| ()), Err(Denied::SignedMalformed), "{lines:?}");
    }
}

#[test]
fn settings_that_would_be_unsafe_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (good, short) = (secret_file(dir.path(), SECRET), secret_file(dir.path(), b"short"));
    let secret = |id: &str, file: &std::path::Path| format!("[[authorizer.secret]]\nid = \"{id}\"\nfile = {file:?}\n");
    for (secrets, expected) in [
        (secret("a", &short), "fewer than 32 bytes"),
        (secret("a", &good).repeat(2), "is the other secret's too"),
        (secret("a", &good) + &secret("b", &good) + &secret("c", &good), "lists one secret, or two"),
        (secret("a.b", &good), "the id of a secret"),
        (secret("", &good), "the id of a secret"),
        (secret("a", &dir.path().join("missing")), "secret[0].file"),
    ] {
        let error = try_authorizers(&format!("[[authorizer]]\ntype = \"signed\"\n{secrets}")).map(|_| ()).unwrap_err();
        assert!(error.starts_with("authorizer 1 (signed): ") && error.contains(expected), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_signed_is_granted_and_no_changed_character_is(
        life in 1..86_400_u64, of in proptest::option::of("[A-Za-z0-9_-]{1,20}"), prefix in 0..=32_u8,
        at in any::<prop::sample::Index>(), with in "[A-Za-z0-9._=-]",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rig = rig();
        let network = IpNet::new("203.0.113.7".parse().unwrap(), prefix).unwrap();
        let content = of.as_deref().map(content);
        let terms = Terms { expires: NOW + life, content, network: Some(network), ..terms(&key_path()) };
        let value = rig.signer.sign(&terms);
        prop_assert!(runtime.block_on(rig.decide(&url(&value))).is_ok());
        let mut changed = value.clone();
        let at = at.index(value.len());
        changed.replace_range(at..=at, &with);
        if changed != value {
            prop_assert!(runtime.block_on(rig.decide(&url(&changed))).is_err(), "{}", changed);
        }
    }
}
