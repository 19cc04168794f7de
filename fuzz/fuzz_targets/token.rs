//! Credentials of a request, as anyone may send them. Byte 0 says where: nothing that was not signed with the secrets below opens
//! anything.

#![no_main]

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue, Method};
use keyrung::server::authorizers::{Asked, Authorizers, ClientCertificate, Settings};
use libfuzzer_sys::fuzz_target;

const PATH: &str = "/v1/keys/3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f";

/// The time that the seeds are good at.
const NOW: Duration = Duration::from_secs(1_800_000_000);

const SETTINGS: &str = r#"[
  {"type": "jwt", "issuer": "https://id.example", "audience": "keyrung", "key": [
    {"kid": "hs", "algorithm": "HS256", "file": "secret"}, {"kid": "ed", "algorithm": "EdDSA", "file": "ed.pem"}]},
  {"type": "signed", "secret": [{"file": "secret"}]},
  {"type": "mtls", "client": [{"dns": "edge.example", "contents": "all"}]}
]"#;

/// The public key of RFC 8032 section 7.1, test 1.
const ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
";

static AUTHORIZERS: LazyLock<Authorizers> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("keyrung-fuzz-token-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, bytes) in [("secret", "the secret of the fuzz target, 32 bytes or more"), ("ed.pem", ED25519)] {
        let mut file = std::fs::OpenOptions::new();
        let file = file.write(true).create(true).truncate(true).mode(0o600).open(folder.join(name));
        file.expect("a file").write_all(bytes.as_bytes()).expect("it is written");
    }
    let settings: Vec<Settings> = serde_json::from_str(SETTINGS).expect("settings");
    Authorizers::new(keyrung::server::authorizers::settings_beneath(&folder, settings)).expect("authorisers")
});

fuzz_target!(|input: &[u8]| {
    let Some((&place, credential)) = input.split_first() else { return };
    let mut headers = HeaderMap::new();
    let (mut query, mut path, mut certificate) = (None, PATH, None);
    let text = std::str::from_utf8(credential);
    match (place, text) {
        (0, _) => match HeaderValue::from_bytes(&[b"Bearer ", credential].concat()) {
            Ok(value) => drop(headers.insert(AUTHORIZATION, value)),
            Err(_) => return,
        },
        (1, _) => match HeaderValue::from_bytes(credential) {
            Ok(value) => drop(headers.insert(COOKIE, value)),
            Err(_) => return,
        },
        (2, Ok(text)) => query = Some(text),
        (3, Ok(text)) => match text.split_once('\n') {
            Some((given, rest)) => (path, query) = (given, Some(rest)),
            None => return,
        },
        (4, _) => match ClientCertificate::from_der(credential) {
            Ok(read) => certificate = Some(read),
            Err(_) => return,
        },
        _ => return,
    }
    let certificate = certificate.as_ref();
    let client = [203, 0, 113, 7].into();
    let asked = Asked { method: &Method::GET, path, query, headers: &headers, client, certificate };
    // Nothing here waits: there is no key set and no server to ask.
    let decision = pin!(AUTHORIZERS.decide(&asked, SystemTime::UNIX_EPOCH + NOW));
    let Poll::Ready(decision) = decision.poll(&mut Context::from_waker(Waker::noop())) else { panic!("it waits") };
    let Ok(grant) = decision else { return };
    assert!(grant.expires.is_some(), "a grant without an end");
    if place != 4 {
        // The seeds are good for this content and no other; a forged credential would have to guess a MAC.
        let key = PATH.rsplit('/').next().and_then(|id| id.parse().ok()).expect("a key id");
        let other = "another".parse().expect("a content id");
        assert!(!grant.covers(&key, &other), "it opens what nobody signed");
    }
});
