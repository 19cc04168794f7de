//! What is stored of keys: sealed keys, claims, the keyring and its envelopes; and the texts that users give.
//!
//! Byte 0 of the input chooses which.

#![no_main]

use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::LazyLock;

use keyrung::keys::{
    Claim, ContentId, ContextPair, ContextPreset, EncryptionContext, Hex256, KeyId, KeyProvider, LocalKeyring,
    SealedKey, default_content_id,
};
use keyrung::package::uri::KeyUriTemplate;
use libfuzzer_sys::fuzz_target;

/// The keyring under which the seed `envelope` was sealed. It protects nothing.
const KEYRING: &str = r#"{
  "version": 1,
  "kek_id": "0b0e2c5e-8a1d-4c3f-a2b4-6d7e8f901234",
  "kek": "a2V5LWVuY3J5cHRpb24ga2V5IG9mIDMyIGJ5dGVzISE=",
  "created": "2026-01-31T23:59:59Z"
}
"#;

/// What names that keyring, for the context of one content id.
static SEALED: LazyLock<SealedKey> = LazyLock::new(|| {
    let json = br#"{
  "version": 1,
  "key_id": "3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f",
  "content_id": "film-1",
  "provider": "local",
  "key": "0b0e2c5e-8a1d-4c3f-a2b4-6d7e8f901234",
  "context": { "content-id": "film-1" },
  "ciphertext": "",
  "created": "2026-01-31T23:59:59Z"
}"#;
    SealedKey::from_json("key", json).expect("a sealed key")
});

fuzz_target!(|input: &[u8]| {
    let Some((&how, bytes)) = input.split_first() else { return };
    match how % 5 {
        0 => sealed(bytes),
        1 => claim(bytes),
        2 => texts(bytes),
        3 => envelope(bytes),
        _ => keyring(bytes),
    }
});

fn sealed(json: &[u8]) {
    let Ok(key) = SealedKey::from_json("key", json) else { return };
    assert_eq!(SealedKey::from_json("key", &key.to_json()).as_ref().ok(), Some(&key));
    assert!(key.context.canonical().len() <= keyrung::limits::MAX_CONTEXT_BYTES);
    // Whatever it says, another keyring's key or a damaged one is not opened.
    if let Ok(opened) = RING.unseal(&key) {
        assert_eq!(opened.expose(), b"0123456789abcdef");
    }
}

fn claim(json: &[u8]) {
    let Ok(claim) = Claim::from_json("claim", json) else { return };
    assert_eq!(Claim::from_json("claim", &claim.to_json()).ok(), Some(claim));
}

fn texts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let id = default_content_id(text);
    assert_eq!(id.as_str().parse::<ContentId>().ok(), Some(id.clone()), "of {text:?}");
    if let Ok(id) = text.parse::<ContentId>() {
        assert_eq!(id.to_string(), text);
        assert!(!text.starts_with('.') && !text.contains('/'));
    }
    if let Ok(id) = text.parse::<KeyId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(number) = text.parse::<Hex256>() {
        assert_eq!(number.to_string(), text);
    }
    template(text);
    let _ = text.parse::<ContextPreset>().map(ContextPreset::context);
    let mut context = EncryptionContext::of_content(&id);
    for line in text.lines() {
        if let Ok(pair) = line.parse::<ContextPair>() {
            let _ = context.insert(pair);
        }
    }
    assert_eq!(pairs_in(&context.canonical()), context.pairs().map(|(k, v)| (k.into(), v.into())).collect::<Vec<_>>());
}

/// Whatever a template of key URIs lets through is of `http` or `https`, or relative.
fn template(text: &str) {
    let Ok(template) = text.parse::<KeyUriTemplate>() else { return };
    assert_eq!(template.as_str(), text);
    // A long template may grow too long.
    let Ok(uri) = template.fill("3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f", "film-1", "720p") else { return };
    let first = uri.as_str().split(['/', '?', '#']).next().unwrap_or_default();
    // RFC 3986, 4.2: a colon in the first segment ends a scheme.
    if let Some((scheme, _)) = first.split_once(':') {
        assert!(scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"), "{uri}");
    }
}

/// The canonical form read back: that it can be makes it the spelling of one context alone.
fn pairs_in(canonical: &[u8]) -> Vec<(String, String)> {
    fn number(rest: &mut &[u8]) -> usize {
        let (&bytes, after) = rest.split_first_chunk::<2>().expect("a number");
        *rest = after;
        usize::from(u16::from_be_bytes(bytes))
    }
    fn text(rest: &mut &[u8]) -> String {
        let len = number(rest);
        let (text, after) = rest.split_at(len);
        *rest = after;
        String::from_utf8(text.to_vec()).expect("UTF-8")
    }
    let rest = &mut &*canonical;
    let pairs = (0..number(rest)).map(|_| (text(rest), text(rest))).collect();
    assert!(rest.is_empty());
    pairs
}

/// The bytes as the ciphertext of a key that names the keyring and context it should have.
fn envelope(blob: &[u8]) {
    let mut key = SEALED.clone();
    key.ciphertext = blob.to_vec();
    if let Ok(opened) = RING.unseal(&key) {
        assert_eq!(opened.expose(), b"0123456789abcdef", "a forged envelope was opened");
    }
}

/// The bytes as the keyring's file.
fn keyring(json: &[u8]) {
    let home = HOME.join("read");
    write(&home, json);
    if let Ok(ring) = LocalKeyring::open(&home) {
        assert!(json.windows(36).any(|text| text == ring.kek_id().to_string().as_bytes()));
    }
}

static HOME: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("keyrung-fuzz-{}", std::process::id())));

static RING: LazyLock<LocalKeyring> = LazyLock::new(|| {
    let home = HOME.join("fixed");
    write(&home, KEYRING.as_bytes());
    LocalKeyring::open(&home).expect("the fixed keyring opens")
});

fn write(home: &std::path::Path, json: &[u8]) {
    use std::io::Write;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(home).expect("a folder for the keyring");
    let file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(home.join("keyring.json"));
    file.expect("a file").write_all(json).expect("the keyring is written");
}
