//! `keyrung.json`, the commit record of a package of ours: files, checksums, seal, and whether the playlists say the same.
//! Read from its description in the manual, not with the writer's code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::finding::{Findings, Place};
use super::model::{Master, Media};
use super::rule::record as rule;
use crate::crypto::digest::{Digest, DigestKind};
use crate::crypto::key::ContentKey;
use crate::crypto::seal::RecordSeal;
use crate::keys::KeyId;
use crate::limits;

/// The record's name.
pub const FILE: &str = "keyrung.json";

/// A commit record that could be read.
pub struct Record {
    document: Value,
    /// Without white space and seal: what the seal is of.
    sealed: Vec<u8>,
    seal: Option<String>,
}

/// What the record says of a file.
#[derive(Debug, Clone)]
pub struct File {
    /// Length.
    pub bytes: u64,
    /// Checksum with its name in front.
    pub digest: String,
}

impl File {
    /// Which checksum.
    #[must_use]
    pub fn kind(&self) -> Option<DigestKind> {
        match self.digest.split_once(':')?.0 {
            "crc64nvme" => Some(DigestKind::Crc64),
            "blake3" => Some(DigestKind::Blake3),
            _ => None,
        }
    }
}

impl Record {
    /// Reads a record; what is no record of a known version is a finding.
    #[must_use]
    pub fn parse(bytes: &[u8], findings: &mut Findings) -> Option<Self> {
        let fail = |findings: &mut Findings, seen: &str| {
            findings.add(&rule::UNREADABLE, Place::of(FILE), seen);
            None
        };
        let document: Value = match serde_json::from_slice(bytes) {
            Ok(document) => document,
            Err(error) => return fail(findings, &error.to_string()),
        };
        if document["format"] != "keyrung.package" || document["version"] != 1 {
            return fail(findings, "format is not keyrung.package, or version not 1");
        }
        if !document["files"].is_array() || !document["renditions"].is_array() {
            return fail(findings, "files or renditions are missing");
        }
        let compact = compact(bytes);
        let (sealed, seal) = match document["seal"].as_str() {
            // The seal is the last field.
            Some(seal) => match compact.strip_suffix(format!(",\"seal\":\"{seal}\"}}").as_bytes()) {
                Some(front) => ([front, b"}"].concat(), Some(seal.to_owned())),
                None => return fail(findings, "the seal is not the last field"),
            },
            None => (compact, None),
        };
        Some(Self { document, sealed, seal })
    }

    /// The key's id; none in a clear package.
    #[must_use]
    pub fn key_id(&self) -> Option<KeyId> {
        self.document["key_id"].as_str()?.parse().ok()
    }

    /// The path of the multivariant playlist.
    #[must_use]
    pub fn master(&self) -> Option<&str> {
        self.document["master"].as_str()
    }

    /// The files by their paths.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, File> {
        let file = |value: &Value| {
            let digest = value["digest"].as_str()?.to_owned();
            Some((value["path"].as_str()?.to_owned(), File { bytes: value["bytes"].as_u64()?, digest }))
        };
        self.document["files"].as_array().into_iter().flatten().filter_map(file).take(limits::VERIFY_FILES).collect()
    }

    /// Checks the seal.
    pub fn check_seal(&self, key: Option<&ContentKey>, findings: &mut Findings) {
        let place = Place::of(FILE);
        match (&self.seal, key) {
            (None, _) if self.document["key_id"].is_null() => {}
            (None, _) => findings.add(&rule::SEAL, place, "the seal was taken off"),
            (Some(_), None) => findings.add(&rule::SEAL_UNCHECKED, place, ""),
            (Some(seal), Some(key)) => {
                let good = hex::decode(seal).is_ok_and(|seal| RecordSeal::verify(key, &self.sealed, &seal).is_ok());
                if !good {
                    findings.add(&rule::SEAL, place, "it is not the seal of this record");
                }
            }
        }
    }

    /// Compares the record with what the playlists say. `media` are the playlists by their paths below the record.
    pub fn check_playlists(&self, master: Option<&Master>, media: &BTreeMap<String, &Media>, findings: &mut Findings) {
        for rendition in self.document["renditions"].as_array().into_iter().flatten() {
            let path = rendition["playlist"].as_str().unwrap_or_default();
            let Some(playlist) = media.get(path) else {
                findings.add(&rule::DIFFERS, Place::of(FILE), format!("no variant is {path}"));
                continue;
            };
            self.check_media(path, rendition, playlist, findings);
            let base = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            if let Some(variant) = master.and_then(|master| master.variants.iter().find(|variant| variant.uri == path))
            {
                let place = || Place::of(self.master().unwrap_or(FILE)).line(variant.line);
                let mut differs = |what: &str, recorded: String, told: String| {
                    if recorded != told {
                        findings.add(
                            &rule::DIFFERS,
                            place(),
                            format!("{what} of {base}: {recorded} in the record, {told} here"),
                        );
                    }
                };
                let number = |name: &str| rendition[name].as_u64().unwrap_or(0).to_string();
                differs("BANDWIDTH", number("bandwidth"), variant.bandwidth.unwrap_or(0).to_string());
                differs("AVERAGE-BANDWIDTH", number("average_bandwidth"), variant.average.unwrap_or(0).to_string());
                let text = |name: &str| rendition[name].as_str().unwrap_or_default().to_owned();
                differs("CODECS", text("codecs"), variant.codecs.clone().unwrap_or_default());
                let size = variant.resolution.map(|(width, height)| format!("{width}x{height}"));
                differs("RESOLUTION", text("resolution"), size.unwrap_or_default());
            }
        }
    }

    fn check_media(&self, path: &str, rendition: &Value, playlist: &Media, findings: &mut Findings) {
        let base = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let place = || Place::of(path);
        if self.document["target_duration"].as_u64() != playlist.target {
            let seen =
                format!("{} in the record, {} here", self.document["target_duration"], playlist.target.unwrap_or(0));
            findings.add(
                &rule::DIFFERS,
                place().line(playlist.target_line.max(1)),
                format!("EXT-X-TARGETDURATION: {seen}"),
            );
        }
        let recorded: Vec<&Value> = rendition["segments"].as_array().into_iter().flatten().collect();
        if recorded.len() != playlist.segments.len() {
            let seen = format!("{} segments in the record, {} here", recorded.len(), playlist.segments.len());
            findings.add(&rule::DIFFERS, place(), seen);
        }
        for (recorded, segment) in recorded.iter().zip(&playlist.segments) {
            let place = || place().line(segment.line).segment(segment.number);
            let path = format!("{base}{}", segment.uri);
            if recorded["path"] != path.as_str() {
                findings.add(&rule::DIFFERS, place(), format!("{} in the record, {path} here", recorded["path"]));
            }
            let duration = recorded["duration_us"].as_u64().unwrap_or(0) as f64 / 1e6;
            if (duration - segment.duration).abs() > 1e-6 {
                findings.add(
                    &rule::DIFFERS,
                    place(),
                    format!("{duration} s in the record, EXTINF {}", segment.duration),
                );
            }
            let iv = segment.key.as_ref().map(|_| hex::encode_upper(segment.iv()));
            if recorded["iv"].as_str() != iv.as_deref() {
                findings.add(&rule::DIFFERS, place(), "the IV is another in the record");
            }
        }
    }

    /// Compares a file that was read with the record.
    pub fn check_file(path: &str, file: &File, bytes: u64, digest: Option<&str>, findings: &mut Findings) {
        if bytes != file.bytes {
            findings.add(&rule::SIZE, Place::of(path), format!("{bytes} bytes, {} in the record", file.bytes));
        } else if digest.is_some_and(|digest| digest != file.digest) {
            findings.add(&rule::DIGEST, Place::of(path), digest.unwrap_or_default());
        }
    }
}

/// The checksum of bytes in memory.
#[must_use]
pub fn digest(kind: DigestKind, bytes: &[u8]) -> String {
    let mut digest = Digest::new(kind);
    digest.update(bytes);
    digest.finish()
}

/// JSON without the white space between its parts.
fn compact(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut quoted, mut escaped) = (Vec::with_capacity(bytes.len()), false, false);
    for &byte in bytes {
        if quoted || !byte.is_ascii_whitespace() {
            out.push(byte);
        }
        match byte {
            b'"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && byte == b'\\' && !escaped;
    }
    out
}

/// Files below `root`, as paths with `/`; folders that cannot be read are passed over. Links are not followed.
#[must_use]
pub fn walk(root: &Path) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop().filter(|_| out.len() < limits::VERIFY_FILES) {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(_) if out.len() < limits::VERIFY_FILES => {
                    if let Ok(below) = path.strip_prefix(root) {
                        out.insert(below.to_string_lossy().replace('\\', "/"));
                    }
                }
                _ => {}
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_goes_and_strings_stay() {
        let pretty = "{\n  \"a b\": [ 1,\t2 ],\n  \"c\\\" d\\\\\": \" x \"\n}\n";
        assert_eq!(compact(pretty.as_bytes()), br#"{"a b":[1,2],"c\" d\\":" x "}"#);
    }

    proptest::proptest! {
        #[test]
        fn compact_is_what_serde_writes(text: String, key: String) {
            let value = serde_json::json!({ key: [text, 1, null] });
            let pretty = serde_json::to_vec_pretty(&value).unwrap();
            proptest::prop_assert_eq!(compact(&pretty), serde_json::to_vec(&value).unwrap());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut findings = Findings::new(super::super::rule::Profile::Rfc);
            let _ = Record::parse(&bytes, &mut findings);
            compact(&bytes);
        }
    }
}
