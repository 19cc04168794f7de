//! Where keys come from: the command line, the key store, the key's URI.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use url::Url;
use zeroize::Zeroizing;

use super::fetch::{FetchError, Fetcher, Purpose, is_http};
use super::finding::{Findings, Place};
use super::rule::{key as rule, target as target_rule};
use crate::crypto::key::ContentKey;
use crate::keys::KeyId;

/// Finds a key by its id; none when nobody here has it.
pub type Lookup<'a> = dyn Fn(&KeyId) -> Option<ContentKey> + Sync + 'a;

/// The keys that the user has.
pub struct KeySource<'a> {
    /// The key of the command line, for everything.
    pub given: Option<ContentKey>,
    /// The key store.
    pub store: &'a Lookup<'a>,
}

/// Keys by URI.
pub struct Keys<'a> {
    source: KeySource<'a>,
    given: Option<Arc<ContentKey>>,
    known: BTreeMap<String, Option<Arc<ContentKey>>>,
}

impl<'a> Keys<'a> {
    /// None yet.
    #[must_use]
    pub fn new(mut source: KeySource<'a>) -> Self {
        let given = source.given.take().map(Arc::new);
        Self { source, given, known: BTreeMap::new() }
    }

    /// The key of the command line, or of the key store by its id.
    #[must_use]
    pub fn by_id(&self, id: &KeyId) -> Option<Arc<ContentKey>> {
        self.given.clone().or_else(|| (self.source.store)(id).map(Arc::new))
    }

    /// Every key that was found.
    pub fn all(&self) -> impl Iterator<Item = &Arc<ContentKey>> {
        self.known.values().flatten()
    }

    /// The key of `uri`, which `url` is and the playlist at `from` names. Asked once for each URI.
    pub fn get(
        &mut self,
        fetcher: &Fetcher<'_>,
        from: &Url,
        url: &Url,
        place: &Place,
        findings: &mut Findings,
    ) -> Option<Arc<ContentKey>> {
        if let Some(known) = self.known.get(url.as_str()) {
            return known.clone();
        }
        if self.known.len() >= crate::limits::VERIFY_KEYS {
            if self.known.len() == crate::limits::VERIFY_KEYS {
                findings.add(&target_rule::TOO_MANY, place.clone(), "keys");
                self.known.insert(String::new(), None);
            }
            return None;
        }
        let key = self.find(fetcher, from, url, place, findings);
        self.known.insert(url.as_str().to_owned(), key.clone());
        key
    }

    fn find(
        &self,
        fetcher: &Fetcher<'_>,
        from: &Url,
        url: &Url,
        place: &Place,
        findings: &mut Findings,
    ) -> Option<Arc<ContentKey>> {
        if url.scheme() == "http" {
            findings.add(&rule::INSECURE, place.clone(), url);
        }
        if url.scheme() == "data" {
            findings.add(&rule::PUBLISHED, place.clone(), "a data: URI");
            let bytes = data(url.as_str());
            return self.given.clone().or_else(|| self.taken(bytes.unwrap_or_default(), place, findings));
        }
        if self.given.is_some() {
            findings.add(&rule::UNCHECKED, place.clone(), url);
            return self.given.clone();
        }
        let stored = || key_id(url.as_str()).and_then(|id| (self.source.store)(&id)).map(Arc::new);
        // Where the key is on the network, that players get it is a part of the question.
        if !is_http(url)
            && let Some(key) = stored()
        {
            findings.add(&rule::UNCHECKED, place.clone(), url.path());
            return Some(key);
        }
        match fetcher.read(from, url, 4096, Purpose::Key) {
            Ok((bytes, opened)) => {
                if opened.redirects > 0 {
                    findings.add(&rule::CACHEABLE, place.clone(), format!("to {}", opened.url));
                }
                if url.scheme() == "file" {
                    findings.add(&rule::PUBLISHED, place.clone(), url.path());
                }
                self.taken(Zeroizing::new(bytes), place, findings).or_else(stored)
            }
            Err(error) => {
                let rule = match error {
                    FetchError::Unsafe(_) if is_http(from) => &target_rule::UNSAFE,
                    FetchError::TooLarge(_) => &rule::LENGTH,
                    FetchError::Encoded(_) => &target_rule::COMPRESSED,
                    _ => &rule::UNREACHABLE,
                };
                let stored = stored();
                let seen = if is_http(url) { url.as_str() } else { url.path() };
                findings.add(rule, place.clone(), format!("{seen}: {error}"));
                stored
            }
        }
    }

    fn taken(&self, mut bytes: Zeroizing<Vec<u8>>, place: &Place, findings: &mut Findings) -> Option<Arc<ContentKey>> {
        if let Ok(key) = <&mut [u8; ContentKey::LEN]>::try_from(bytes.as_mut_slice()) {
            return Some(Arc::new(ContentKey::from_bytes(key)));
        }
        let trimmed = bytes.trim_ascii();
        let (text, mut key) = match (decoded_hex(trimmed), decoded_base64(trimmed)) {
            (Some(key), _) => ("32 hexadecimal digits", Some(key)),
            (_, Some(key)) => ("base64", Some(key)),
            _ => ("", None),
        };
        let seen =
            if text.is_empty() { format!("{} bytes", bytes.len()) } else { format!("{} bytes: {text}", bytes.len()) };
        findings.add(&rule::LENGTH, place.clone(), seen);
        // What was meant is used, so that the segments can be looked at all the same.
        key.as_deref_mut().map(|key| Arc::new(ContentKey::from_bytes(key)))
    }
}

fn decoded_hex(text: &[u8]) -> Option<Zeroizing<[u8; 16]>> {
    let mut key = Zeroizing::new([0; 16]);
    hex::decode_to_slice(text, key.as_mut_slice()).ok().map(|()| key)
}

fn decoded_base64(text: &[u8]) -> Option<Zeroizing<[u8; 16]>> {
    let bytes = Zeroizing::new(base64::engine::general_purpose::STANDARD.decode(text).ok()?);
    let mut key = Zeroizing::new([0; 16]);
    (bytes.len() == 16).then(|| key.copy_from_slice(&bytes))?;
    Some(key)
}

fn data(uri: &str) -> Option<Zeroizing<Vec<u8>>> {
    let whole = uri.split('#').next().unwrap_or_default();
    let (kind, text) = whole.strip_prefix("data:")?.split_once(',')?;
    if kind.ends_with(";base64") {
        return base64::engine::general_purpose::STANDARD.decode(text).ok().map(Zeroizing::new);
    }
    Some(Zeroizing::new(text.as_bytes().to_vec()))
}

/// The key id in a URI: the first thing in it that looks like one.
#[must_use]
pub fn key_id(uri: &str) -> Option<KeyId> {
    let bytes = uri.as_bytes();
    (0..bytes.len().saturating_sub(35)).find_map(|at| std::str::from_utf8(bytes.get(at..at + 36)?).ok()?.parse().ok())
}

/// Where a key stands in `bytes`, and in what form: raw, hexadecimal in either case, or base64.
#[must_use]
pub fn find(key: &ContentKey, bytes: &[u8]) -> Option<(usize, &'static str)> {
    let raw = key.expose();
    if let Some(at) = memchr::memmem::find(bytes, raw) {
        return Some((at, "16 raw bytes"));
    }
    let lower = Zeroizing::new(hex::encode(raw));
    let upper = Zeroizing::new(hex::encode_upper(raw));
    let base64 = Zeroizing::new(base64::engine::general_purpose::STANDARD_NO_PAD.encode(raw));
    let text = |text: &str, form| memchr::memmem::find(bytes, text.as_bytes()).map(|at| (at, form));
    text(&lower, "in hexadecimal").or_else(|| text(&upper, "in hexadecimal")).or_else(|| text(&base64, "in base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_uris() {
        let id = "d1ff46e2-f5ab-45d0-bf13-738d87af0976";
        for uri in [format!("/v1/keys/{id}"), format!("https://k.example/{id}?token=1"), id.to_owned()] {
            assert_eq!(key_id(&uri).map(|id| id.to_string()).as_deref(), Some(id), "{uri}");
        }
        assert!(key_id("https://k.example/1").is_none() && key_id("").is_none());
    }
}
