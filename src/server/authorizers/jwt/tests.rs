//! Attacks on tokens. Each refusal is told by its code, so that no test passes for another reason than its own.

use axum::http::header::COOKIE;
use jsonwebtoken::Algorithm as Library;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::*;
use super::super::{Authorizers, Denied, Grant};

/// Authorisers with an HS256 key `hs`, an ES256 key `es`, an Ed25519 key `ed`, and one RSA key under both algorithms.
struct Rig {
    _dir: tempfile::TempDir,
    authorizers: Authorizers,
}

const HEAD: &str = "[[authorizer]]\ntype = \"jwt\"\nissuer = \"https://id.example\"\naudience = \"keyrung\"\n";

fn key_toml(kid: &str, algorithm: &str, file: &std::path::Path) -> String {
    format!("[[authorizer.key]]\nkid = \"{kid}\"\nalgorithm = \"{algorithm}\"\nfile = {file:?}\n")
}

fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let file = |bytes: &[u8]| secret_file(dir.path(), bytes);
    let keys = [
        key_toml("hs", "HS256", &file(SECRET)),
        key_toml("es", "ES256", &file(&EC.public)),
        key_toml("ed", "EdDSA", &file(&ED25519.public)),
        key_toml("rs", "RS256", &file(&RSA2048.public)),
        key_toml("ps", "PS256", &file(&RSA2048.public)),
    ];
    let authorizers = authorizers(&format!("{HEAD}{}", keys.concat()));
    Rig { _dir: dir, authorizers }
}

impl Rig {
    async fn bearer(&self, token: &str) -> Result<Grant, Denied> {
        Request::bearer(token).decide(&self.authorizers).await
    }

    async fn refuses(&self, token: &str, denied: Denied) {
        assert_eq!(self.bearer(token).await.map(|_| ()), Err(denied), "{token}");
    }

    /// Claims under a good signature.
    async fn refuses_claims(&self, changes: Value, denied: Denied) {
        self.refuses(&good(&claims_with(changes)), denied).await;
    }
}

fn good(claims: &Value) -> String {
    token(&json!({"alg": "HS256", "kid": "hs", "typ": "JWT"}), claims, &hs256(SECRET))
}

#[tokio::test]
async fn every_algorithm_and_every_place() {
    let rig = rig();
    let rs = |algorithm| rsa(&RSA2048, algorithm);
    let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid});
    for token in [
        good(&claims()),
        token(&header("ES256", "es"), &claims(), &es256(&EC)),
        token(&header("EdDSA", "ed"), &claims(), &eddsa(&ED25519)),
        token(&header("RS256", "rs"), &claims(), &rs(Library::RS256)),
        token(&header("PS256", "ps"), &claims(), &rs(Library::PS256)),
    ] {
        for request in [
            Request::bearer(&token),
            Request::new().query(&format!("a=b&token={token}")),
            Request::new().field("cookie", &format!("a=b; keyrung_token={token}")),
        ] {
            let grant = request.decide(&rig.authorizers).await.unwrap();
            assert_eq!((grant.authorizer, grant.expires), ("jwt", Some(time(NOW + 600))));
            assert!(grant.covers(&key(KEY), &content("film")));
            assert!(!grant.covers(&key(KEY), &content("other")), "another content's key");
            let expected = request.query.as_ref().map(|_| format!("token={token}"));
            assert_eq!(rig.authorizers.key_query(&grant, &request.asked(), "/v1/keys/x"), expected);
        }
    }
}

#[tokio::test]
async fn one_credential_in_one_place() {
    let rig = rig();
    let token = good(&claims());
    let cookie = format!("keyrung_token={token}");
    let query = format!("token={token}");
    for request in [
        Request::bearer(&token).query(&query),
        Request::bearer(&token).field("authorization", "Basic YTpi"),
        Request::bearer(&token).field("authorization", &format!("Bearer {token}")),
        Request::new().query(&format!("{query}&{query}")),
        Request::new().query(&format!("{query}&token=")),
        Request::new().field("cookie", &cookie).field("cookie", &cookie),
    ] {
        assert_eq!(request.decide(&rig.authorizers).await.map(|_| ()), Err(Denied::Repeated));
    }
    assert_eq!(Request::new().decide(&rig.authorizers).await.map(|_| ()), Err(Denied::NoCredential));
    let mut opaque = Request::new();
    opaque.headers.insert(COOKIE, axum::http::HeaderValue::from_bytes(b"keyrung_token=\xff").unwrap());
    assert_eq!(opaque.decide(&rig.authorizers).await.map(|_| ()), Err(Denied::Unreadable));
}

#[tokio::test]
async fn a_cookie_counts_where_no_token_was_shown_on_purpose() {
    let rig = rig();
    let token = good(&claims());
    let other = format!("keyrung_token={}", good(&claims_with(json!({"contents": ["other"]}))));
    let ended = format!("keyrung_token={}", good(&claims_with(json!({"iat": NOW - 900, "exp": NOW - 600}))));
    let shown = || [Request::bearer(&token), Request::new().query(&format!("token={token}"))];
    for cookie in [other.as_str(), &ended, "keyrung_token=", "keyrung_token=a; keyrung_token=b"] {
        for request in shown() {
            let grant = request.field("cookie", cookie).decide(&rig.authorizers).await.unwrap();
            assert!(grant.covers_content(&content("film")) && !grant.covers_content(&content("other")), "{cookie}");
        }
    }
    let renewed = Request::new().query(&format!("token={token}")).field("cookie", &other);
    let grant = renewed.decide(&rig.authorizers).await.unwrap();
    let set = rig.authorizers.cookie(&grant, &renewed.asked());
    assert_eq!(set, Some(("keyrung_token".to_owned(), token.clone())), "one cookie is exchanged for another");
    let bad = Request::bearer("a.b.c").field("cookie", &format!("keyrung_token={token}"));
    let refused = bad.decide(&rig.authorizers).await.map(|_| ());
    assert_eq!(refused, Err(Denied::JwtMalformed), "a good cookie does not save a bad token");
}

#[tokio::test]
async fn a_token_says_who_and_which() {
    let rig = rig();
    let of = |sub: &str, jti: &str| good(&claims_with(json!({"sub": sub, "jti": jti})));
    let grant = rig.bearer(&of("user-1", "0f.a-b_c:9")).await.unwrap();
    assert_eq!(grant.token_id.as_deref(), Some("0f.a-b_c:9"));
    let subject = grant.subject.unwrap();
    assert_eq!(subject.len(), 16);
    assert!(!subject.contains("user"));
    assert_eq!(rig.bearer(&of("user-1", "x")).await.unwrap().subject, Some(subject.clone()));
    assert_ne!(rig.bearer(&of("user-2", "x")).await.unwrap().subject, Some(subject));
    for id in ["", "a b", "a\nb", "\u{e4}", &"x".repeat(65)] {
        assert_eq!(rig.bearer(&of("u", id)).await.unwrap().token_id, None, "{id:?} in a log");
    }
}

#[tokio::test]
async fn a_token_that_names_nobody_is_its_own_subject() {
    let rig = rig();
    let of = |claims: Value| good(&claims_with(claims));
    let plain = of(json!({}));
    for (token, is_counted_by_itself) in
        [(&plain, true), (&of(json!({"jti": "not plain"})), true), (&of(json!({"jti": "plain"})), false)]
    {
        for _ in 0..2 {
            let grant = rig.bearer(token).await.unwrap();
            let id = grant.token_id.clone().unwrap();
            assert_eq!((grant.subject.as_ref(), grant.counted_by()), (None, Some(&id)));
            assert_eq!(id.len() == 16 && id != "plain", is_counted_by_itself, "{id}");
        }
    }
    let named = rig.bearer(&of(json!({"sub": "viewer"}))).await.unwrap();
    assert!(named.counted_by() == named.subject.as_ref() && named.token_id.is_none());
    let other = rig.bearer(&of(json!({"iat": NOW - 11}))).await.unwrap();
    assert_ne!(other.counted_by(), rig.bearer(&plain).await.unwrap().counted_by());
    // The same token under another signature, which whoever has it can write: not another viewer.
    let header = json!({"alg": "ES256", "kid": "es"});
    let token = token(&header, &claims(), &es256(&EC));
    let again = self::token(&header, &claims(), &es256(&EC));
    assert_ne!(token, again, "signed anew");
    let ids = [rig.bearer(&token).await.unwrap().token_id, rig.bearer(&again).await.unwrap().token_id];
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn algorithms_are_pinned_to_keys() {
    let rig = rig();
    let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid});
    let nothing = |_: &str| String::new();
    for alg in ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "ES384", "RS512", "hs256", "HS256 ", "es256"] {
        let signer = hs256(SECRET);
        rig.refuses(&token(&header(alg, "hs"), &claims(), &signer), Denied::JwtAlgorithm).await;
        rig.refuses(&token(&header(alg, "es"), &claims(), &nothing), Denied::JwtMalformed).await;
    }
    // A public key as HMAC secret, in each form that a careless library would take.
    for (kid, pair) in [("es", &*EC), ("ed", &*ED25519), ("rs", &*RSA2048), ("ps", &*RSA2048)] {
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pair.public).unwrap();
        let text = String::from_utf8(pair.public.clone()).unwrap();
        for secret in [&pair.public[..], text.trim_end().as_bytes(), &pem.contents] {
            let forged = token(&header("HS256", kid), &claims(), &hs256(secret));
            rig.refuses(&forged, Denied::JwtAlgorithm).await;
            let forged = token(&header("HS256", "hs"), &claims(), &hs256(secret));
            rig.refuses(&forged, Denied::JwtSignature).await;
        }
    }
    // A good signature of the right key in the algorithm that it is not pinned to.
    let rs256 = rsa(&RSA2048, Library::RS256);
    rig.refuses(&token(&header("RS256", "ps"), &claims(), &rs256), Denied::JwtAlgorithm).await;
    rig.refuses(&token(&header("PS256", "ps"), &claims(), &rs256), Denied::JwtSignature).await;
    rig.refuses(&token(&header("PS256", "rs"), &claims(), &rs256), Denied::JwtAlgorithm).await;
    rig.refuses(&token(&header("EdDSA", "es"), &claims(), &es256(&EC)), Denied::JwtAlgorithm).await;
    // Another key of the same kind.
    let other = pair(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    rig.refuses(&token(&header("ES256", "es"), &claims(), &es256(&other)), Denied::JwtSignature).await;
    // The signature of all zeros (CVE-2022-21449).
    let zeros = |_: &str| b64([0; 64]);
    rig.refuses(&token(&header("ES256", "es"), &claims(), &zeros), Denied::JwtSignature).await;
}

#[tokio::test]
async fn headers_that_bring_their_own_key_are_refused() {
    let rig = rig();
    for (name, value) in [
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("jwk", jwk(&EC, "es")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("jku", json!(null)),
        ("b64", json!(false)),
        ("enc", json!("A128GCM")),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!("JOSE")),
    ] {
        let mut header = json!({"alg": "HS256", "kid": "hs"});
        header[name] = value;
        rig.refuses(&token(&header, &claims(), &hs256(SECRET)), Denied::JwtHeader).await;
    }
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        let header = json!({"alg": "HS256", "kid": "hs", "typ": typ, "x5t": "unused", "other": {"a": [1]}});
        assert!(rig.bearer(&token(&header, &claims(), &hs256(SECRET))).await.is_ok(), "{typ}");
    }
}

#[tokio::test]
async fn key_ids_are_looked_up_exactly() {
    let rig = rig();
    let long = "x".repeat(300);
    for kid in [
        "",
        "HS",
        "hs ",
        "hs\0",
        "../../../../../../dev/null",
        "/dev/null",
        "file:///dev/null",
        "https://evil.example/key.pem",
        "' UNION SELECT 'secret' --",
        "hs|/bin/true",
        &long,
    ] {
        let header = json!({"alg": "HS256", "kid": kid});
        // The empty secret is what a reader of /dev/null would verify with.
        for secret in [SECRET, b""] {
            rig.refuses(&token(&header, &claims(), &hs256(secret)), Denied::JwtKey).await;
        }
    }
    for kid in [json!(1), json!(["hs"]), json!({"kid": "hs"}), json!(true)] {
        let header = json!({"alg": "HS256", "kid": kid});
        rig.refuses(&token(&header, &claims(), &hs256(SECRET)), Denied::JwtMalformed).await;
    }
    // With several keys, a token has to name one.
    rig.refuses(&token(&json!({"alg": "HS256"}), &claims(), &hs256(SECRET)), Denied::JwtKey).await;
    let twice = r#"{"alg":"HS256","kid":"none","kid":"hs"}"#;
    let message = format!("{}.{}", b64(twice), b64(claims().to_string()));
    rig.refuses(&signed(&message, &hs256(SECRET)), Denied::JwtMalformed).await;
    let twice = r#"{"alg":"none","alg":"HS256","kid":"hs"}"#;
    let message = format!("{}.{}", b64(twice), b64(claims().to_string()));
    rig.refuses(&signed(&message, &hs256(SECRET)), Denied::JwtMalformed).await;
}

#[tokio::test]
async fn claims_are_checked() {
    let rig = rig();
    for (changes, denied) in [
        (json!({"exp": null}), Denied::JwtClaims),
        (json!({"exp": (NOW + 600).to_string()}), Denied::JwtClaims),
        (json!({"exp": -1}), Denied::JwtClaims),
        (json!({"exp": 1e300}), Denied::JwtClaims),
        (json!({"exp": u64::MAX}), Denied::JwtClaims),
        (json!({"exp": [NOW + 600]}), Denied::JwtClaims),
        (json!({"exp": 0}), Denied::JwtExpired),
        (json!({"exp": NOW - 30}), Denied::JwtExpired),
        (json!({"iat": NOW + 31}), Denied::JwtEarly),
        (json!({"iat": "yesterday"}), Denied::JwtClaims),
        (json!({"nbf": NOW + 31}), Denied::JwtEarly),
        (json!({"nbf": true}), Denied::JwtClaims),
        (json!({"iat": NOW - 10, "exp": NOW + 86_391}), Denied::JwtLife),
        (json!({"iat": null, "exp": NOW + 86_431}), Denied::JwtLife),
        (json!({"iat": NOW + 30, "exp": NOW + 86_431}), Denied::JwtLife),
        (json!({"aud": null}), Denied::JwtClaims),
        (json!({"aud": "other"}), Denied::JwtAudience),
        (json!({"aud": "Keyrung"}), Denied::JwtAudience),
        (json!({"aud": ["a", "b"]}), Denied::JwtAudience),
        (json!({"aud": []}), Denied::JwtAudience),
        (json!({"aud": 1}), Denied::JwtClaims),
        (json!({"iss": null}), Denied::JwtClaims),
        (json!({"iss": "https://id.example/"}), Denied::JwtIssuer),
        (json!({"iss": "https://evil.example"}), Denied::JwtIssuer),
        (json!({"contents": null}), Denied::JwtUnbound),
        (json!({"contents": []}), Denied::JwtUnbound),
        (json!({"kids": []}), Denied::JwtUnbound),
        (json!({"contents": "film"}), Denied::JwtClaims),
        (json!({"contents": ["*"]}), Denied::JwtClaims),
        (json!({"contents": ["film", "../film"]}), Denied::JwtClaims),
        (json!({"contents": ["film", 1]}), Denied::JwtClaims),
        (json!({"kids": [KEY.to_uppercase()]}), Denied::JwtClaims),
        (json!({"kids": ["*"]}), Denied::JwtClaims),
        (json!({"contents": vec!["film"; 257]}), Denied::JwtClaims),
        (json!({"sub": 7}), Denied::JwtClaims),
    ] {
        rig.refuses_claims(changes, denied).await;
    }
    for changes in [
        json!({"exp": NOW - 29}),
        json!({"exp": (NOW + 600) as f64 + 0.5}),
        json!({"iat": NOW + 30, "nbf": NOW + 30}),
        json!({"iat": NOW - 10, "exp": NOW + 86_390}),
        json!({"iat": null, "exp": NOW + 86_430}),
        json!({"aud": ["other", "keyrung"]}),
        json!({"contents": vec!["film"; 256], "unknown": {"deep": [[1]]}}),
    ] {
        assert!(rig.bearer(&good(&claims_with(changes.clone()))).await.is_ok(), "{changes}");
    }
    let twice = format!(r#"{{"exp":0,{}"#, &claims().to_string()[1..]);
    let message = format!("{}.{}", b64(r#"{"alg":"HS256","kid":"hs"}"#), b64(twice));
    rig.refuses(&signed(&message, &hs256(SECRET)), Denied::JwtClaims).await;
}

#[tokio::test]
async fn a_token_opens_what_it_names() {
    let rig = rig();
    let covers = async |changes: Value| {
        let grant = rig.bearer(&good(&claims_with(changes))).await.unwrap();
        let keys = [(KEY, "film"), (KEY, "other"), (OTHER_KEY, "film")];
        (keys.map(|(id, of)| grant.covers(&key(id), &content(of))), grant.covers_content(&content("film")))
    };
    assert_eq!(covers(json!({})).await, ([true, false, true], true));
    assert_eq!(covers(json!({"contents": null, "kids": [KEY]})).await, ([true, true, false], false));
    assert_eq!(covers(json!({"kids": [KEY]})).await, ([true, false, false], true));
    assert_eq!(covers(json!({"contents": ["Film", "film2"]})).await, ([false, false, false], false));
}

#[tokio::test]
async fn a_token_has_one_spelling() {
    let rig = rig();
    let token = good(&claims());
    assert!(rig.bearer(&token).await.is_ok());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    for changed in [
        format!("{token}="),
        format!("{token}."),
        format!(".{token}"),
        format!("{message}.{}", &signature[..signature.len() - 1]),
        format!("{message}.{}", &signature[..20]),
        format!("{message}."),
        message.to_owned(),
        format!("{header}..{claims}.{signature}"),
        format!("{header}=.{claims}.{signature}"),
        format!("{message}.{signature}.{signature}"),
        header.to_owned(),
        "..".to_owned(),
        ".".to_owned(),
        "a.b.c".to_owned(),
        format!("{message}.{}", signature.replace('-', "+").replace('_', "/") + "+/"),
        // JSON serializations of JWS (RFC 7515 section 7.2) are not compact ones.
        format!(r#"{{"payload":"{claims}","protected":"{header}","signature":"{signature}"}}"#),
    ] {
        let denied = rig.bearer(&changed).await.unwrap_err();
        assert!(matches!(denied, Denied::JwtMalformed | Denied::JwtSignature), "{changed}: {denied:?}");
    }
    // 32 bytes are 42 and two thirds characters: the last one has two bits to spare, which have to be 0.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(&signature[42..]).unwrap();
    for stray in 1..4 {
        let other = &alphabet[last + stray..=last + stray];
        rig.refuses(&format!("{message}.{}{other}", &signature[..42]), Denied::JwtMalformed).await;
    }
}

#[tokio::test]
async fn every_changed_character_is_refused() {
    let rig = rig();
    let es = token(&json!({"alg": "ES256", "kid": "es"}), &claims(), &es256(&EC));
    for token in [good(&claims()), es] {
        // Whether or not the right one is remembered.
        assert!(rig.bearer(&token).await.is_ok());
        for at in 0..token.len() {
            for with in [b'A', b'z', b'-', b'.', b'='] {
                let mut bytes = token.clone().into_bytes();
                if bytes[at] != with {
                    bytes[at] = with;
                    let changed = String::from_utf8(bytes).unwrap();
                    assert!(rig.bearer(&changed).await.is_err(), "{changed}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_remembered_token_ends_when_it_ends() {
    let rig = rig();
    let token = good(&claims());
    let request = Request::bearer(&token);
    let at = async |seconds: u64| rig.authorizers.decide(&request.asked(), time(seconds)).await.map(|_| ());
    assert_eq!(at(NOW).await, Ok(()));
    assert_eq!(at(NOW + 629).await, Ok(()));
    assert_eq!(at(NOW + 630).await, Err(Denied::JwtExpired), "30 s after its end, with the cache warm");
    assert_eq!(at(NOW + 100_000).await, Err(Denied::JwtExpired));
    assert_eq!(at(NOW).await, Ok(()), "the clock was set back");
    assert_eq!(at(NOW - 41).await, Err(Denied::JwtEarly), "the clock was set back too far");
}

#[tokio::test]
async fn the_cache_keeps_good_tokens_only() {
    let rig = rig();
    let super::super::Authorizer::Jwt(jwt) = &rig.authorizers.list[0] else { unreachable!() };
    let other =
        token(&json!({"alg": "HS256", "kid": "hs"}), &claims(), &hs256(b"another secret of more than 32 bytes"));
    for bad in [&other, "a.b.c", &good(&claims_with(json!({"aud": "x"}))), &good(&claims_with(json!({"exp": 1})))] {
        assert!(rig.bearer(bad).await.is_err());
    }
    assert_eq!(jwt.cache.len(), 0);
    let token = good(&claims());
    for _ in 0..3 {
        assert!(rig.bearer(&token).await.is_ok());
    }
    assert_eq!(jwt.cache.len(), 1);
    let late = rig.authorizers.decide(&Request::bearer(&token).asked(), time(NOW + 1000)).await;
    assert_eq!((late.map(|_| ()), jwt.cache.len()), (Err(Denied::JwtExpired), 0));
}

#[test]
fn settings_that_would_be_unsafe_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = |bytes: &[u8]| secret_file(dir.path(), bytes);
    let small = pair(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
    let p384 = pair(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    let refuses = |toml: &str, expected: &str| {
        let error = try_authorizers(&format!("{HEAD}{toml}")).map(|_| ()).unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("BEGIN") && !error.contains("not a secret but"), "{error}");
    };
    for (algorithm, bytes, expected) in [
        ("HS256", &b"short"[..], "fewer than 32 bytes"),
        ("HS256", &EC.public, "is a PEM file"),
        ("ES256", SECRET, "no public key in PEM"),
        ("ES256", &EC.private, "no public key in PEM"),
        ("ES256", &p384.public, "no key for ES256"),
        ("EdDSA", &EC.public, "no key for EdDSA"),
        ("RS256", &small.public, "no key for RS256"),
        ("RS256", &EC.public, "no key for RS256"),
    ] {
        refuses(&key_toml("k", algorithm, &file(bytes)), expected);
    }
    for algorithm in ["none", "HS384", "ES512", "RS1"] {
        refuses(&key_toml("k", algorithm, &file(SECRET)), "unknown variant");
    }
    let key = key_toml("k", "HS256", &file(SECRET));
    refuses(&key.repeat(2), "two keys have the same kid");
    refuses("", "neither a key nor a jwks");
    refuses(&format!("maximum_life = \"0s\"\n{key}"), "maximum_life");
    refuses(&format!("cookie = \"a b\"\n{key}"), "cookie");
    refuses(&format!("leeway = 5\n{key}"), "unknown field");
    refuses("[authorizer.jwks]\nurl = \"http://id.example/jwks\"\nalgorithms = [\"ES256\"]", "not an https URL");
    refuses("[authorizer.jwks]\nurl = \"https://a:b@id.example/\"\nalgorithms = [\"ES256\"]", "a user or a password");
    refuses("[authorizer.jwks]\nurl = \"https://id.example/jwks\"\nalgorithms = [\"HS256\"]", "jwks.algorithms");
    refuses("[authorizer.jwks]\nurl = \"https://id.example/jwks\"\nalgorithms = []", "jwks.algorithms");
    refuses("[authorizer.jwks]\nalgorithms = [\"ES256\"]", "either a file or a url");
}

#[tokio::test]
async fn two_issuers_each_have_their_own_keys() {
    let dir = tempfile::tempdir().unwrap();
    let other_secret = b"the other issuer's secret, 32 bytes";
    let (one, two) = (secret_file(dir.path(), SECRET), secret_file(dir.path(), other_secret));
    let other = HEAD.replace("id.example", "two.example");
    let toml = format!("{HEAD}{}{other}{}", key_toml("hs", "HS256", &one), key_toml("hs", "HS256", &two));
    let authorizers = authorizers(&toml);
    let decide = async |iss: &str, secret: &[u8]| {
        let claims = claims_with(json!({"iss": iss}));
        let token = token(&json!({"alg": "HS256", "kid": "hs"}), &claims, &hs256(secret));
        Request::bearer(&token).decide(&authorizers).await.map(|_| ())
    };
    assert_eq!(decide("https://id.example", SECRET).await, Ok(()));
    assert_eq!(decide("https://two.example", other_secret).await, Ok(()));
    assert_eq!(decide("https://two.example", SECRET).await, Err(Denied::JwtSignature));
    assert_eq!(decide("https://id.example", other_secret).await, Err(Denied::JwtSignature));
    assert_eq!(decide("https://three.example", SECRET).await, Err(Denied::JwtIssuer));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_comes_is_answered(token in "[A-Za-z0-9_.=-]{0,200}", noise in "\\PC{0,40}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rig = rig();
        prop_assert!(runtime.block_on(rig.bearer(&token)).is_err());
        let request = Request::new().query(&format!("token={noise}"));
        prop_assert!(runtime.block_on(request.decide(&rig.authorizers)).is_err());
    }

    #[test]
    fn what_is_signed_is_granted_and_bound(
        contents in proptest::collection::vec("[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}", 1..8), life in 1..86_400_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rig = rig();
        let claims = claims_with(json!({"contents": contents, "iat": NOW, "exp": NOW + life}));
        let grant = runtime.block_on(rig.bearer(&good(&claims))).unwrap();
        prop_assert_eq!(grant.expires, Some(time(NOW + life)));
        for id in &contents {
            prop_assert!(grant.covers(&key(KEY), &content(id)));
        }
        prop_assert!(!grant.covers(&key(KEY), &content("not-one-of-them.........")));
    }
}
