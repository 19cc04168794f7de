//! Key sets: which keys of them are taken, and what a bad set or a bad server can do.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::settings::JwksSettings;
use super::super::testing::*;
use super::super::{Authorizers, Denied, Settings};
use super::key::Algorithm;
use super::{jwks, source};
use crate::limits;

const ALL: [Algorithm; 3] = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256];

fn set(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

/// The key ids of `given` that are taken.
fn taken(keys: &[Value]) -> Vec<String> {
    let Ok(read) = jwks::read(&set(keys), &ALL) else { return Vec::new() };
    let ids = keys.iter().filter_map(|key| key["kid"].as_str());
    ids.filter(|kid| read.find(Some(kid)).is_some()).map(str::to_owned).collect()
}

#[test]
fn what_is_not_for_signatures_is_passed_over() {
    let good = || jwk(&ED25519, "good");
    let small = pair(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
    let ec = |kid: &str| jwk(&EC, kid);
    let rsa = |kid: &str| jwk(&RSA2048, kid);
    assert_eq!(taken(&[good(), ec("ec"), rsa("rsa")]), ["good", "ec", "rsa"]);
    for bad in [
        json!({"kty": "oct", "kid": "bad", "k": b64(SECRET)}),
        json!({"kty": "oct", "kid": "bad", "alg": "HS256", "k": b64(SECRET)}),
        jwk(&small, "bad"),
        with(ec("bad"), "use", json!("enc")),
        with(ec("bad"), "key_ops", json!(["sign"])),
        with(ec("bad"), "alg", json!("HS256")),
        with(ec("bad"), "alg", json!("none")),
        with(ec("bad"), "alg", json!("ES384")),
        with(ec("bad"), "crv", json!("P-384")),
        with(ec("bad"), "d", json!("AAAA")),
        with(ec("bad"), "x", json!("AAAA")),
        with(ec("bad"), "x", json!(format!("{}=", b64([1; 32])))),
        with(ec("bad"), "kty", json!("RSA")),
        with(rsa("bad"), "alg", json!("PS256")),
        with(rsa("bad"), "e", json!("AQ")),
        with(rsa("bad"), "n", json!("")),
        with(rsa("bad"), "n", json!(b64(vec![0xff; 2048]))),
        with(good(), "kid", json!(7)),
        json!("bad"),
        json!(null),
        json!({"kid": "bad"}),
    ] {
        assert_eq!(taken(&[good(), bad.clone()]), ["good"], "{bad}");
    }
    let also = [with(ec("a"), "use", json!("sig")), with(rsa("b"), "alg", json!("RS256"))];
    assert_eq!(taken(&also), ["a", "b"]);
    assert_eq!(
        taken(&[with(good(), "alg", json!("Ed25519")), with(ec("c"), "key_ops", json!(["verify"]))]),
        ["good", "c"]
    );
    // Which of two algorithms an RSA key is for has to be said where both are allowed.
    let both = [Algorithm::RS256, Algorithm::PS256];
    assert!(jwks::read(&set(&[rsa("a")]), &both).is_err());
    assert!(jwks::read(&set(&[with(rsa("a"), "alg", json!("PS256"))]), &both).is_ok());
}

#[test]
fn sets_that_are_refused_whole() {
    let refused = |json: &[u8]| jwks::read(json, &ALL).map(|_| ()).unwrap_err();
    assert_eq!(refused(&set(&[jwk(&EC, "a"), jwk(&ED25519, "a")])), "holds two keys of one id");
    assert_eq!(refused(&set(&[jwk(&EC, "a"), jwk(&EC, "a")])), "holds two keys of one id");
    assert_eq!(refused(&set(&[])), "holds no key that can be used");
    assert_eq!(refused(&set(&[json!({"kty": "oct", "kid": "a", "k": "AAAA"})])), "holds no key that can be used");
    assert_eq!(refused(&set(&vec![jwk(&EC, "a"); limits::JWKS_KEYS + 1])), "holds too many keys");
    for json in [&b""[..], b"{}", b"[]", b"null", b"{\"keys\":{}}", b"<html>", &[0xff; 10]] {
        assert_eq!(refused(json), "is not a JSON Web Key Set");
    }
    let deep = [b"{\"keys\":".to_vec(), vec![b'['; 100_000]].concat();
    assert_eq!(refused(&deep), "is not a JSON Web Key Set");
}

const HEAD: &str = "[[authorizer]]\ntype = \"jwt\"\nissuer = \"https://id.example\"\naudience = \"keyrung\"\n";

/// An authoriser of a set at a server, read again as often as a token asks.
struct Rig {
    dir: tempfile::TempDir,
    server: Server,
    authorizers: Authorizers,
}

impl Rig {
    async fn new(reply: Reply, pause: Duration) -> Self {
        let (dir, server) = (tempfile::tempdir().unwrap(), Server::tls(reply).await);
        let mut authorizers = Authorizers::new(vec![Self::settings(dir.path(), &server, "10m")]).unwrap();
        let Settings::Jwt(settings) = Self::settings(dir.path(), &server, "10m") else { unreachable!() };
        let set = source::KeySet::with_pause(settings.jwks.unwrap(), pause).unwrap();
        let super::super::Authorizer::Jwt(jwt) = &mut authorizers.list[0] else { unreachable!() };
        jwt.set = Some(std::sync::Arc::new(set));
        Self { dir, server, authorizers }
    }

    fn settings(dir: &std::path::Path, server: &Server, refresh: &str) -> Settings {
        let ca = dir.join("ca.pem");
        std::fs::write(&ca, &server.ca).unwrap();
        let port = server.address.port();
        let toml = format!(
            "{HEAD}[authorizer.jwks]\nurl = \"https://localhost:{port}/jwks\"\nca = {ca:?}\nrefresh = \"{refresh}\"\n\
             algorithms = [\"ES256\", \"EdDSA\"]\n"
        );
        let value: toml::Value = toml::from_str(&toml).unwrap();
        value["authorizer"][0].clone().try_into().unwrap()
    }

    async fn shows(&self, kid: &str) -> Result<(), Denied> {
        Request::bearer(&of(kid)).decide(&self.authorizers).await.map(|_| ())
    }
}

/// A token of the Ed25519 key under an id.
fn of(kid: &str) -> String {
    token(&json!({"alg": "EdDSA", "kid": kid}), &claims(), &eddsa(&ED25519))
}

fn ok(keys: &[Value]) -> Reply {
    Reply::new("200 OK", set(keys))
}

#[tokio::test]
async fn a_set_is_read_when_it_is_needed_and_at_a_new_key() {
    let rig = Rig::new(ok(&[jwk(&ED25519, "a")]), Duration::ZERO).await;
    assert!(!rig.authorizers.ready().await);
    assert_eq!(rig.shows("a").await, Ok(()));
    assert!(rig.authorizers.ready().await);
    for _ in 0..5 {
        assert_eq!(rig.shows("a").await, Ok(()));
    }
    assert_eq!(rig.server.count(), 1);
    rig.server.replies(ok(&[jwk(&ED25519, "b")]));
    assert_eq!(rig.shows("b").await, Ok(()), "a new key is found");
    assert_eq!(rig.server.count(), 2);
    assert_eq!(rig.shows("a").await, Err(Denied::JwtKey), "and the token of the old one is forgotten");
}

#[tokio::test]
async fn made_up_key_ids_do_not_hammer_the_server() {
    let rig = Rig::new(ok(&[jwk(&ED25519, "a")]), limits::JWKS_PAUSE).await;
    for n in 0..20 {
        assert_eq!(rig.shows(&format!("made-up-{n}")).await, Err(Denied::JwtKey));
    }
    assert_eq!(rig.server.count(), 1);
    assert_eq!(rig.shows("a").await, Ok(()));
}

#[tokio::test]
async fn one_reader_at_a_time() {
    let slow = Reply { delay: Duration::from_millis(300), ..ok(&[jwk(&ED25519, "a")]) };
    let rig = Rig::new(slow, limits::JWKS_PAUSE).await;
    let token = of("a");
    let answers = together(rig.authorizers, (0..16).map(|_| Request::bearer(&token)).collect()).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(rig.server.count(), 1);
}

#[tokio::test]
async fn who_hangs_up_does_not_keep_the_set_from_others() {
    let slow = Reply { delay: Duration::from_millis(300), ..ok(&[jwk(&ED25519, "a")]) };
    let rig = Rig::new(slow, limits::JWKS_PAUSE).await;
    let hurry = tokio::time::timeout(Duration::from_millis(100), rig.shows("a")).await;
    assert!(hurry.is_err(), "it hung up");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(rig.authorizers.ready().await);
    assert_eq!((rig.shows("a").await, rig.server.count()), (Ok(()), 1));
}

#[tokio::test]
async fn a_poisoned_set_changes_nothing() {
    let rig = Rig::new(ok(&[jwk(&ED25519, "a")]), Duration::ZERO).await;
    assert_eq!(rig.shows("a").await, Ok(()));
    let redirect = format!("Location: https://localhost:{}/other\r\n", rig.server.address.port());
    let padding = " ".repeat(limits::JWKS_BYTES);
    for reply in [
        ok(&[jwk(&ED25519, "evil"), jwk(&EC, "evil")]),
        ok(&[json!({"kty": "oct", "kid": "evil", "k": b64(SECRET)})]),
        Reply::new("200 OK", "<html>not a set</html>"),
        Reply::new("200 OK", [set(&[jwk(&ED25519, "evil")]), padding.into_bytes()].concat()),
        Reply::new("404 Not Found", set(&[jwk(&ED25519, "evil")])),
        Reply::new("500 Internal Server Error", ""),
        Reply::new("204 No Content", ""),
        Reply { fields: redirect.clone(), ..Reply::new("302 Found", "") },
        Reply { fields: redirect, ..Reply::new("307 Temporary Redirect", set(&[jwk(&ED25519, "evil")])) },
    ] {
        let before = rig.server.count();
        rig.server.replies(reply.clone());
        assert_eq!(rig.shows("evil").await, Err(Denied::JwtKey), "{}", reply.status);
        assert_eq!(rig.server.count(), before + 1, "it was asked once, and no redirect followed");
        assert_eq!(rig.shows("a").await, Ok(()), "{}: the last good set is kept", reply.status);
    }
}

#[tokio::test]
async fn why_a_set_cannot_be_had_is_told() {
    let rig = Rig::new(ok(&[jwk(&ED25519, "a")]), Duration::ZERO).await;
    let told = told(&rig.authorizers);
    assert_eq!(rig.shows("a").await, Ok(()));
    assert!(told.lock().unwrap().is_empty());
    let at = format!("the key set at https://localhost:{}/jwks was not taken", rig.server.address.port());
    for (reply, why) in [
        (Reply::new("500 Internal Server Error", ""), "500 Internal Server Error"),
        (Reply::new("200 OK", "<html>not a set</html>"), "it is not a JSON Web Key Set"),
        (ok(&[]), "it holds no key that can be used"),
        (Reply::new("200 OK", vec![b' '; limits::JWKS_BYTES + 1]), "it has more than 262144 bytes"),
        (Reply::new("not a status", ""), "error sending request"),
    ] {
        rig.server.replies(reply);
        assert_eq!(rig.shows("b").await, Err(Denied::JwtKey), "{why}");
        let lines = std::mem::take(&mut *told.lock().unwrap());
        assert!(lines.len() == 1 && lines[0].starts_with(&at) && lines[0].contains(why), "{why}: {lines:?}");
    }
    let other = Server::tls(ok(&[])).await;
    let Settings::Jwt(settings) = Rig::settings(rig.dir.path(), &rig.server, "10m") else { unreachable!() };
    std::fs::write(settings.jwks.as_ref().unwrap().ca.as_ref().unwrap(), &other.ca).unwrap();
    let strange = Authorizers::new(vec![Settings::Jwt(settings)]).unwrap();
    let told = self::told(&strange);
    strange.refresh().await;
    let lines = told.lock().unwrap().clone();
    assert!(lines.len() == 1 && lines[0].contains("certificate"), "{lines:?}");
}

#[tokio::test]
async fn without_any_set_it_is_trouble_and_no_refusal() {
    let rig = Rig::new(Reply::new("503 Service Unavailable", ""), Duration::ZERO).await;
    assert_eq!(rig.shows("a").await, Err(Denied::JwksUnavailable));
    assert!(Denied::JwksUnavailable.is_temporary() && !rig.authorizers.ready().await);
    rig.server.replies(ok(&[jwk(&ED25519, "a")]));
    assert_eq!(rig.shows("a").await, Ok(()));
}

#[tokio::test]
async fn a_slow_server_is_given_up_and_holds_nobody_up() {
    let rig = Rig::new(ok(&[jwk(&ED25519, "a")]), Duration::ZERO).await;
    assert_eq!(rig.shows("a").await, Ok(()));
    rig.server.replies(Reply { delay: Duration::from_secs(60), ..ok(&[jwk(&ED25519, "evil")]) });
    let begun = Instant::now();
    let (evil, known) = tokio::join!(rig.shows("evil"), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begun = Instant::now();
        (rig.shows("a").await, begun.elapsed())
    });
    assert_eq!(evil, Err(Denied::JwtKey));
    assert!(begun.elapsed() < limits::JWKS_TIMEOUT * 2);
    assert_eq!(known.0, Ok(()));
    assert!(known.1 < Duration::from_secs(1), "whose key is known does not wait");
}

/// Nor is a key asked for that a token of another issuer names: that is the other's business.
#[tokio::test]
async fn a_set_that_cannot_be_had_holds_up_none_who_do_not_need_it() {
    let slow = Reply { delay: Duration::from_secs(60), ..ok(&[jwk(&ED25519, "a")]) };
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::tls(slow).await);
    let public = secret_file(dir.path(), &ED25519.public);
    let mut first = Rig::settings(dir.path(), &server, "10m");
    let key = format!("kid = \"known\"\nalgorithm = \"EdDSA\"\nfile = {public:?}\n");
    let Settings::Jwt(settings) = &mut first else { unreachable!() };
    settings.key = vec![toml::from_str(&key).unwrap()];
    let second = format!("type = \"jwt\"\nissuer = \"https://two.example\"\naudience = \"keyrung\"\n[[key]]\n{key}");
    let authorizers = Authorizers::new(vec![first, toml::from_str(&second).unwrap()]).unwrap();
    let of = |issuer: &str| {
        let claims = claims_with(json!({ "iss": issuer }));
        Request::bearer(&token(&json!({"alg": "EdDSA", "kid": "known"}), &claims, &eddsa(&ED25519)))
    };
    let begun = Instant::now();
    for (request, expected) in [
        (of("https://two.example"), Ok(())),
        (of("https://id.example"), Ok(())),
        (of("https://three.example"), Err(Denied::JwtIssuer)),
        (Request::bearer("a.b.c"), Err(Denied::JwtMalformed)),
    ] {
        assert_eq!(request.decide(&authorizers).await.map(|_| ()), expected);
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn an_untrusted_server_is_not_believed() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::tls(ok(&[jwk(&ED25519, "a")])).await);
    let other = Server::tls(ok(&[])).await;
    let _ = Rig::settings(dir.path(), &server, "10m");
    std::fs::write(dir.path().join("ca.pem"), &other.ca).unwrap();
    let toml = format!(
        "{HEAD}[authorizer.jwks]\nurl = \"https://localhost:{}/\"\nca = {:?}\nalgorithms = [\"EdDSA\"]\n",
        server.address.port(),
        dir.path().join("ca.pem")
    );
    let authorizers = authorizers(&toml);
    authorizers.refresh().await;
    assert!(!authorizers.ready().await);
    assert_eq!(server.count(), 0, "the handshake fails before a request is made");
}

#[tokio::test]
async fn an_old_set_is_read_again_in_the_background() {
    let rig = Rig::new(ok(&[jwk(&ED25519, "a")]), Duration::ZERO).await;
    let Settings::Jwt(settings) = Rig::settings(rig.dir.path(), &rig.server, "400ms") else { unreachable!() };
    let set = std::sync::Arc::new(source::KeySet::with_pause(settings.jwks.unwrap(), Duration::ZERO).unwrap());
    let has = async |kid: &str| set.get().await.is_some_and(|(keys, _)| keys.find(Some(kid)).is_some());
    assert!(has("a").await);
    rig.server.replies(ok(&[jwk(&ED25519, "b")]));
    assert!(has("a").await, "it is fresh");
    tokio::time::sleep(Duration::from_millis(450)).await;
    assert!(has("a").await, "nobody waits");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(has("b").await, "it was read in the background");
    rig.server.replies(ok(&[jwk(&ED25519, "c")]));
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(has("c").await, "a set that nobody asked for is not believed for long");
}

#[tokio::test]
async fn a_reload_keeps_the_sets_of_the_same_urls() {
    let rig = Rig::new(ok(&[jwk(&ED25519, "a")]), Duration::ZERO).await;
    rig.authorizers.refresh().await;
    rig.server.replies(Reply::new("500 Internal Server Error", ""));
    let settings = || Rig::settings(rig.dir.path(), &rig.server, "11m");
    let same = rig.authorizers.replaced(vec![settings()]).unwrap();
    let request = Request::bearer(&of("a"));
    assert!(same.ready().await);
    assert!(request.decide(&same).await.is_ok(), "though its server is down");
    let copy = rig.dir.path().join("copy.pem");
    std::fs::write(&copy, &rig.server.ca).unwrap();
    let changes: [&dyn Fn(&mut JwksSettings); 2] =
        [&|jwks| jwks.algorithms = vec![Algorithm::ES256], &|jwks| jwks.ca = Some(copy.clone())];
    for change in changes {
        let Settings::Jwt(mut other) = settings() else { unreachable!() };
        change(other.jwks.as_mut().unwrap());
        let other = rig.authorizers.replaced(vec![Settings::Jwt(other)]).unwrap();
        assert_eq!(request.decide(&other).await.map(|_| ()), Err(Denied::JwksUnavailable));
    }
}

#[tokio::test]
async fn a_set_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jwks.json");
    let toml = format!("{HEAD}[authorizer.jwks]\nfile = {file:?}\nalgorithms = [\"EdDSA\", \"ES256\"]\n");
    assert!(try_authorizers(&toml).is_err(), "it is not there");
    std::fs::write(&file, set(&[])).unwrap();
    assert!(try_authorizers(&toml).unwrap_err().contains("holds no key"), "it is of no use");
    std::fs::write(&file, set(&[jwk(&ED25519, "a"), jwk(&EC, "b")])).unwrap();
    let authorizers = authorizers(&toml);
    assert!(authorizers.ready().await);
    let (a, b) = (Request::bearer(&of("a")), Request::bearer(&of("b")));
    assert!(a.decide(&authorizers).await.is_ok());
    assert_eq!(b.decide(&authorizers).await.map(|_| ()), Err(Denied::JwtAlgorithm));
    std::fs::write(&file, set(&[jwk(&EC, "b")])).unwrap();
    authorizers.refresh().await;
    assert_eq!(a.decide(&authorizers).await.map(|_| ()), Err(Denied::JwtKey), "a key that was withdrawn");
}
