//! Paths of key requests, and the patterns that signatures are for: one spelling each, whatever is sent.

#![no_main]

use keyrung::keys::KeyId;
use keyrung::server::authorizers::key_id;
use keyrung::server::authorizers::path::{KEYS, PathPattern};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(path) = std::str::from_utf8(input) else { return };
    if let Some(id) = key_id(path) {
        assert_eq!(path, format!("{KEYS}{id}"));
        assert_eq!(id.to_string().parse::<KeyId>().ok(), Some(id));
    }
    if let Ok(pattern) = path.parse::<PathPattern>() {
        assert_eq!(pattern.to_string(), path);
        assert!(path.starts_with('/') && path.is_ascii());
        let lower = path.to_ascii_lowercase();
        assert!(!["//", "/./", "/../", "%2e", "%2f", "%5c", "?", "#", "\\"].iter().any(|odd| lower.contains(odd)), "{path}");
    }
});
