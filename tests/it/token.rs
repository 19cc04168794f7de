//! `keyrung token`, and tokens of others: what cryptography (OpenSSL) signs is accepted, and what we sign it verifies.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderValue, Method, header};
use keyrung::server::authorizers::{Asked, Authorizers, Grant, Settings, settings_beneath};
use serde_json::{Value, json};

use super::common::{Check, Run, World, repository, started};

const KEY: &str = "3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f";
const ALGORITHMS: [&str; 5] = ["EdDSA", "ES256", "RS256", "PS256", "HS256"];

/// A world with the oracle's keys, and a server's configuration that names them.
fn world(name: &str) -> World {
    let world = World::new(name);
    oracle(&world, "make");
    let key = |alg: &str| {
        let file = if alg == "HS256" { "HS256.secret".to_owned() } else { format!("{alg}.pub.pem") };
        format!("[[authorizer.key]]\nkid = \"{alg}\"\nalgorithm = \"{alg}\"\nfile = \"{file}\"\n")
    };
    let head = "listen = \"127.0.0.1:0\"\n[[authorizer]]\ntype = \"jwt\"\nissuer = \"https://oracle.example\"\n\
                audience = \"keyrung\"\nmaximum_life = \"2h\"\n";
    let signed = "[[authorizer]]\ntype = \"signed\"\n[[authorizer.secret]]\nfile = \"HS256.secret\"\n";
    let toml = format!("{head}{}{signed}", ALGORITHMS.map(key).concat());
    fs::write(world.folder.join("server.toml"), toml).expect("a configuration");
    world
}

fn oracle(world: &World, work: &str) -> Run {
    let python = repository("target/moto/bin/python");
    assert!(python.exists(), "there is no {}; hint: run scripts/moto, or scripts/test", python.display());
    let script = repository("tests/it/token_oracle.py");
    let run = std::process::Command::new(&python).arg(script).arg(work).arg(&world.folder).output();
    Run::of(started(run, "python3")).expect(0).expect("the oracle agrees")
}

/// The authorisers of the world's configuration.
fn authorizers(world: &World) -> Authorizers {
    let text = fs::read_to_string(world.folder.join("server.toml")).expect("a configuration");
    let config: toml::Value = toml::from_str(&text).expect("TOML");
    let settings: Vec<Settings> = config["authorizer"].clone().try_into().expect("settings");
    Authorizers::new(settings_beneath(&world.folder, settings)).expect("authorisers")
}

fn decide(authorizers: &Authorizers, bearer: Option<&str>, query: Option<&str>, cookie: Option<&str>) -> Check<Grant> {
    let mut headers = HeaderMap::new();
    if let Some(token) = bearer {
        headers.insert(header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).expect("a token"));
    }
    if let Some(cookie) = cookie {
        headers.insert(header::COOKIE, HeaderValue::try_from(cookie).expect("a cookie"));
    }
    let (client, path) = ([203, 0, 113, 7].into(), format!("/v1/keys/{KEY}"));
    let asked = Asked { method: &Method::GET, path: &path, query, headers: &headers, client, certificate: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(authorizers.decide(&asked, SystemTime::now())).map_err(|denied| denied.code().to_owned())
}

fn opens(grant: &Grant, content: &str) -> bool {
    grant.covers(&KEY.parse().expect("a key id"), &content.parse().expect("a content id"))
}

#[test]
fn what_others_sign_is_accepted() {
    let world = world("token-theirs");
    let theirs: BTreeMap<String, String> =
        serde_json::from_slice(&fs::read(world.folder.join("theirs.json")).expect("tokens")).expect("JSON");
    assert_eq!(theirs.len(), 6);
    let (files, config) = (authorizers(&world), fs::read_to_string(world.folder.join("server.toml")).expect("TOML"));
    // The same keys as a set; the secret stays where it is.
    let from = config.find("[[authorizer.key]]").expect("keys");
    let set = "[authorizer.jwks]\nfile = \"jwks.json\"\nalgorithms = [\"EdDSA\", \"ES256\", \"RS256\", \"PS256\"]\n";
    fs::write(world.folder.join("server.toml"), format!("{}{set}", &config[..from])).expect("written");
    let set = authorizers(&world);
    for (alg, token) in &theirs {
        if alg == "signed" {
            let grant = decide(&files, None, Some(&format!("kr-signed={token}")), None).expect("granted");
            assert_eq!(grant.authorizer, "signed");
            continue;
        }
        let grant = decide(&files, Some(token), None, None).expect(alg);
        assert!(opens(&grant, "film") && !opens(&grant, "other"), "{alg}");
        if alg != "HS256" {
            assert!(decide(&set, None, Some(&format!("token={token}")), None).is_ok(), "{alg} of the set");
        }
        let mut swapped = token.clone().into_bytes();
        let middle = swapped.len() - 20;
        swapped[middle] ^= 1;
        let swapped = String::from_utf8(swapped).expect("ASCII");
        let code = decide(&files, Some(&swapped), None, None).map(|_| ()).unwrap_err();
        assert!(matches!(code.as_str(), "jwt-signature" | "jwt-malformed" | "unreadable-credential"), "{alg}: {code}");
    }
}

#[test]
fn what_we_sign_others_verify_and_we_accept() {
    let world = world("token-ours");
    let authorizers = authorizers(&world);
    let mut ours = BTreeMap::new();
    for alg in ALGORITHMS {
        let private = format!("{alg}.pem");
        let mut arguments = vec!["token", "mint", "--config", "server.toml", "--content", "film", "--subject", "user"];
        match alg {
            "HS256" => {}
            "PS256" => arguments.extend(["--private-key-file", &private, "--algorithm", "PS256"]),
            _ => arguments.extend(["--private-key-file", &private]),
        }
        let run = world.run(&arguments).expect(0).expect(alg);
        let token = run.text().trim_end().to_owned();
        assert!(run.stderr.is_empty() && !token.contains(char::is_whitespace), "{alg}");
        let grant = decide(&authorizers, Some(&token), None, None).expect(alg);
        assert!(opens(&grant, "film") && !opens(&grant, "other"), "{alg}");
        assert!(grant.subject.is_some() && grant.token_id.is_some());
        ours.insert(alg, token);
    }
    let url = format!("https://keys.example/v1/keys/{KEY}");
    let run = world.run(&["token", "url", &url, "--config", "server.toml", "--client-network", "203.0.113.7"]);
    let printed = run.expect(0).expect("a URL").text();
    let value = printed.trim_end().strip_prefix(&format!("{url}?kr-signed=")).expect("the URL as it was").to_owned();
    let query = format!("kr-signed={value}");
    assert!(decide(&authorizers, None, Some(&query), None).is_ok());
    ours.insert("signed", value);
    fs::write(world.folder.join("ours.json"), json!(ours).to_string()).expect("written");
    let read = oracle(&world, "read").json().expect("JSON");
    for alg in ALGORITHMS {
        let claims = &read[alg];
        assert_eq!(claims["iss"], "https://oracle.example");
        assert_eq!(claims["contents"], json!(["film"]));
        assert_eq!(claims["exp"].as_u64().expect("exp") - claims["iat"].as_u64().expect("iat"), 3600);
    }
    assert_eq!(read["signed"][1], format!("/v1/keys/{KEY}"));
    assert_eq!(read["signed"][4], "203.0.113.0/24");
}

#[test]
fn a_cookie_for_a_package() {
    let world = world("token-cookie");
    let authorizers = authorizers(&world);
    let mint = |more: &[&str]| world.run(&[&["token", "url", "--config", "server.toml"], more].concat());
    let line = mint(&["https://keys.example/v1/keys/*", "--content", "film", "--cookie"]).expect(0).expect("it").text();
    assert!(line.ends_with("; Path=/v1/keys/; Max-Age=3600; Secure; HttpOnly; SameSite=Lax\n"), "{line}");
    let cookie = line.split(';').next().expect("a pair");
    let grant = decide(&authorizers, None, None, Some(cookie)).expect("granted");
    assert!(opens(&grant, "film") && !opens(&grant, "other"));
    let run = mint(&["/film/*", "--json"]).expect(0).expect("it").json().expect("JSON");
    assert_eq!((&run["url"], &run["path"]), (&Value::Null, &json!("/film/*")));
    assert!(mint(&["/film/*"]).expect(0).expect("it").text().starts_with("kr-signed=v1.1."));
    let query = mint(&["/film/a.m3u8?x=1"]).expect(0).expect("it").text();
    assert!(query.starts_with("/film/a.m3u8?x=1&kr-signed=v1.1."), "{query}");
}

#[test]
fn what_would_open_nothing_or_leak_is_refused() {
    let world = world("token-refused");
    let mint = ["token", "mint", "--config", "server.toml"];
    let url = ["token", "url"];
    let key = format!("/v1/keys/{KEY}");
    fs::write(world.folder.join("short"), "short").expect("written");
    fs::write(world.folder.join("open"), "a secret that everyone on this machine can read").expect("written");
    let mode = |name: &str, mode| fs::set_permissions(world.folder.join(name), fs::Permissions::from_mode(mode));
    mode("short", 0o600).and_then(|()| mode("open", 0o644)).expect("modes");
    let own = ["--issuer", "i", "--audience", "a", "--content", "film"];
    for (arguments, code, expected) in [
        ([&mint[..], &[]].concat(), 2, "--content"),
        ([&mint[..], &["--content", "../film"]].concat(), 2, "content id"),
        ([&mint[..], &["--key-id", &KEY.to_uppercase()]].concat(), 2, "key id"),
        ([&mint[..], &["--content", "film", "--life", "3h"]].concat(), 2, "maximum_life"),
        ([&mint[..], &["--content", "film", "--life", "0s"]].concat(), 2, "--life"),
        ([&mint[..], &["--content", "film", "--life", "1"]].concat(), 2, "length of time"),
        ([&mint[..], &["--content", "film", "--kid", "other"]].concat(), 2, "no such secret"),
        ([&mint[..2], &own[..]].concat(), 2, "--private-key-file"),
        ([&mint[..2], &own[2..], &["--secret-file", "HS256.secret"]].concat(), 2, "--config"),
        ([&mint[..2], &own[..], &["--secret-file", "short"]].concat(), 4, "fewer than 32 bytes"),
        ([&mint[..2], &own[..], &["--secret-file", "open"]].concat(), 4, "open"),
        ([&mint[..2], &own[..], &["--secret-file", "ES256.pub.pem"]].concat(), 4, "PEM"),
        ([&mint[..2], &own[..], &["--private-key-file", "ES256.pub.pem"]].concat(), 4, "no private key"),
        ([&mint[..2], &own[..], &["--private-key-file", "HS256.secret"]].concat(), 4, "no private key"),
        ([&mint[..2], &own[..], &["--private-key-file", "ES256.pem", "--algorithm", "RS256"]].concat(), 4, "RS256"),
        ([&mint[..2], &own[..], &["--private-key-file", "missing"]].concat(), 5, "missing"),
        ([&mint[..2], &own[..], &["--private-key-file", "ES256.pem", "--algorithm", "none"]].concat(), 2, "algorithm"),
        ([&url[..], &[&key]].concat(), 2, "--config"),
        ([&url[..], &["/v1/keys/*", "--config", "server.toml"]].concat(), 2, "opens nothing"),
        ([&url[..], &["/a/../b", "--config", "server.toml"]].concat(), 2, "cannot be signed"),
        ([&url[..], &["ftp://a/b/c", "--config", "server.toml"]].concat(), 2, "http"),
        ([&url[..], &[&key, "--secret-file", "short"]].concat(), 4, "fewer than 32 bytes"),
        ([&url[..], &[&key, "--secret-file", "HS256.secret", "--secret-id", "a.b"]].concat(), 2, "id of a secret"),
        ([&url[..], &[&key, "--config", "server.toml", "--client-network", "10/8"]].concat(), 2, "network"),
        ([&url[..], &[&key, "--config", "server.toml", "--life", "2d"]].concat(), 2, "maximum_life"),
    ] {
        let run = world.run(&arguments);
        assert!(run.stdout.is_empty(), "{arguments:?}");
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(expected), "{arguments:?}: {}", run.stderr);
        assert!(!run.stderr.contains("BEGIN") && !run.stderr.contains("a secret that"), "{}", run.stderr);
    }
}
