//! A package that is served, as its commit record (`keyrung.json`) names it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Stat, fstat};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::limits::SERVER_MAX_RECORD_BYTES;
use crate::server::error::ServeError;
use crate::server::file::Folder;

/// The commit record's file name.
const RECORD: &str = "keyrung.json";
/// First segments of the server's own paths, which no content id may take.
const RESERVED: [&str; 3] = ["v1", "livez", "readyz"];
/// The longest content id, key id or path component, in bytes.
const MAX_NAME: usize = 255;

/// A finished package: one folder and what its commit record says is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedPackage {
    /// Identifies the content; the package is served under `/{content_id}/`.
    pub content_id: String,
    /// The folder that holds `keyrung.json`.
    pub folder: PathBuf,
    /// The files that are served, by their path relative to `folder`, components parted by `/`. The commit record is not
    /// one of them.
    pub files: BTreeMap<String, PackageFile>,
    /// The keys that decrypt it; none for a clear package.
    pub key_ids: Vec<String>,
    /// The multivariant playlist, one of `files`.
    pub master: String,
    /// What the renditions are, in the order of the master playlist.
    pub renditions: Vec<Rendition>,
    /// Tells this package from every other that had or will have its place: 16 hexadecimal digits of the record's
    /// SHA-256. A package that is made anew with `--force` keeps its names, and has another key and another generation.
    pub generation: String,
    /// Which file the record was read from.
    pub(super) record: Identity,
}

/// What the commit record says of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageFile {
    /// Length in bytes.
    pub bytes: u64,
    /// `crc64nvme:` or `blake3:` and hexadecimal digits; empty when the record has none.
    pub digest: String,
}

/// What the commit record says of a rendition, for the page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rendition {
    /// The rendition's name.
    pub name: String,
    /// BANDWIDTH, in bits per second.
    pub bandwidth: u64,
    /// RESOLUTION, `WIDTHxHEIGHT`; empty for audio alone.
    pub resolution: String,
    /// CODECS.
    pub codecs: String,
    /// How long it plays, and how many segments that takes.
    #[serde(rename = "segments", deserialize_with = "duration")]
    pub length: Length,
}

/// The sum of a rendition's segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Length {
    /// Microseconds.
    pub micros: u64,
    /// Segments.
    pub segments: usize,
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Length, D::Error> {
    #[derive(Deserialize)]
    struct Segment {
        #[serde(default)]
        duration_us: u64,
    }
    let segments = Vec::<Segment>::deserialize(deserializer)?;
    let micros = segments.iter().fold(0_u64, |sum, segment| sum.saturating_add(segment.duration_us));
    Ok(Length { micros, segments: segments.len() })
}

/// A file on this machine, and the moment of its last change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    length: i64,
    changed: (i64, i64),
}

impl From<&Stat> for Identity {
    // The widths of these fields differ between systems.
    #[allow(clippy::cast_possible_wrap, clippy::unnecessary_cast, clippy::useless_conversion)]
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            length: stat.st_size as i64,
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}

/// The version comes first, alone: of a later version nothing else is known.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u64,
}

#[derive(Deserialize)]
struct Record {
    content_id: String,
    key_id: Option<String>,
    master: String,
    files: Vec<RecordFile>,
    #[serde(default)]
    renditions: Vec<Rendition>,
}

#[derive(Deserialize)]
struct RecordFile {
    path: String,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    digest: String,
}

impl ServedPackage {
    /// Reads the commit record in `folder`. The folder itself may be reached through symbolic links; the record may not.
    ///
    /// # Errors
    ///
    /// [`ServeError::Unreadable`], [`TooLarge`](ServeError::TooLarge), [`Version`](ServeError::Version) or
    /// [`Malformed`](ServeError::Malformed).
    pub fn open(folder: &Path) -> Result<Self, ServeError> {
        let open = Folder::open(folder);
        Self::read(folder, &open.map_err(|source| ServeError::Unreadable { folder: folder.to_owned(), source })?)
    }

    /// Reads the commit record in a folder that is open, and that was found at `folder`.
    pub(super) fn read(folder: &Path, open: &Folder) -> Result<Self, ServeError> {
        let unreadable = |source| ServeError::Unreadable { folder: folder.to_owned(), source };
        let record = open.file(RECORD).map_err(unreadable)?;
        let stat = fstat(&record).map_err(|error| unreadable(error.into()))?;
        let mut bytes = Vec::new();
        record.take(SERVER_MAX_RECORD_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > SERVER_MAX_RECORD_BYTES {
            return Err(ServeError::TooLarge { folder: folder.to_owned(), limit: SERVER_MAX_RECORD_BYTES });
        }
        Self::from_record(folder, &bytes, Identity::from(&stat))
    }

    /// Whether the open folder holds this very package, and not one that took its place since.
    pub(super) fn is_in(&self, open: &Folder) -> io::Result<bool> {
        Ok(Identity::from(&open.stat(RECORD)?) == self.record)
    }

    /// How long the package plays: its longest rendition.
    pub(super) fn micros(&self) -> u64 {
        self.renditions.iter().map(|rendition| rendition.length.micros).max().unwrap_or_default()
    }

    /// Bytes of all its files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.values().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    fn from_record(folder: &Path, bytes: &[u8], identity: Identity) -> Result<Self, ServeError> {
        let malformed = |what: String| ServeError::Malformed { folder: folder.to_owned(), what };
        let head: Head = serde_json::from_slice(bytes).map_err(|e| malformed(e.to_string()))?;
        if head.format != "keyrung.package" {
            return Err(malformed(format!("format is {:?}, not \"keyrung.package\"", head.format)));
        }
        if head.version != 1 {
            return Err(ServeError::Version { folder: folder.to_owned(), version: head.version });
        }
        let record: Record = serde_json::from_slice(bytes).map_err(|e| malformed(e.to_string()))?;

        if !is_content_id(&record.content_id) {
            return Err(malformed(format!("{:?} cannot be served as a content id", record.content_id)));
        }
        if let Some(id) = record.key_id.iter().find(|id| !is_plain_name(id)) {
            return Err(malformed(format!("{id:?} is not a key id")));
        }
        let described = |f: RecordFile| (f.path, PackageFile { bytes: f.bytes, digest: f.digest });
        let mut files: BTreeMap<String, PackageFile> = record.files.into_iter().map(described).collect();
        files.entry(record.master.clone()).or_default();
        if let Some(path) = files.keys().find(|path| !is_plain_path(path)) {
            return Err(malformed(format!("{path:?} is not a plain relative path")));
        }
        files.remove(RECORD);
        if !files.contains_key(&record.master) {
            return Err(malformed("the master playlist is the commit record itself".to_owned()));
        }
        Ok(Self {
            content_id: record.content_id,
            folder: folder.to_owned(),
            files,
            key_ids: record.key_id.into_iter().collect(),
            master: record.master,
            renditions: record.renditions,
            generation: Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
            record: identity,
        })
    }
}

/// One path component, and not a special one. Characters that need escaping anywhere (URLs, HTML, shells) are not plain.
fn is_plain_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= MAX_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// A relative path of plain names: no empty component (so neither absolute nor ending in a slash), no `.` or `..`.
pub(super) fn is_plain_path(path: &str) -> bool {
    path.len() <= 4 * MAX_NAME && path.split('/').all(is_plain_name)
}

/// Content ids are the user's: anything that can be one percent-encoded path segment and is not the server's own.
pub(super) fn is_content_id(id: &str) -> bool {
    !matches!(id, "" | "." | "..")
        && id.len() <= MAX_NAME
        && !id.contains(['/', '\\'])
        && !id.chars().any(char::is_control)
        && !RESERVED.contains(&id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Result<ServedPackage, ServeError> {
        ServedPackage::from_record(Path::new("/p"), json.as_bytes(), Identity::default())
    }

    fn record(content_id: &str, key_id: &str, master: &str, path: &str) -> String {
        serde_json::json!({"format": "keyrung.package", "version": 1, "content_id": content_id, "key_id": key_id,
            "master": master, "files": [{"path": path, "bytes": 3, "digest": "crc64nvme:0"}], "later": {"field": true},
            "renditions": [{"name": "1080p", "segments": [{"duration_us": 3_000_000}, {"duration_us": 2_000_000}]}]})
        .to_string()
    }

    #[test]
    fn a_record_gives_its_files_and_key() {
        let package = read(&record("film", "k-1", "master.m3u8", "1080p/00000.ts")).unwrap();
        assert_eq!(package.files.keys().collect::<Vec<_>>(), ["1080p/00000.ts", "master.m3u8"]);
        assert_eq!(package.files["1080p/00000.ts"], PackageFile { bytes: 3, digest: "crc64nvme:0".to_owned() });
        assert_eq!(package.key_ids, ["k-1"]);
        assert_eq!((package.micros(), package.bytes()), (5_000_000, 3));
        assert_eq!(package.renditions[0].length.segments, 2);
    }

    #[test]
    fn every_other_record_is_another_generation() {
        let one = read(&record("film", "k-1", "master.m3u8", "a.ts")).unwrap();
        let two = read(&record("film", "k-2", "master.m3u8", "a.ts")).unwrap();
        assert_eq!(one.generation.len(), 16);
        assert_ne!(one.generation, two.generation);
        assert_eq!(one.generation, read(&record("film", "k-1", "master.m3u8", "a.ts")).unwrap().generation);
    }

    #[test]
    fn a_clear_package_has_no_key() {
        for key in ["", r#""key_id": null,"#] {
            let json = format!(
                r#"{{"format":"keyrung.package","version":1,"content_id":"c",{key}"master":"m.m3u8","files":[]}}"#
            );
            assert_eq!(read(&json).unwrap().key_ids, Vec::<String>::new());
        }
    }

    #[test]
    fn the_commit_record_is_never_served() {
        let package = read(&record("film", "k", "master.m3u8", "keyrung.json")).unwrap();
        assert!(!package.files.contains_key("keyrung.json"));
        assert!(matches!(read(&record("film", "k", "keyrung.json", "a.ts")), Err(ServeError::Malformed { .. })));
    }

    #[test]
    fn a_later_version_is_refused_before_its_fields_are_read() {
        let json = r#"{"format":"keyrung.package","version":2,"content_id":{"now":"an object"}}"#;
        assert!(matches!(read(json), Err(ServeError::Version { version: 2, .. })));
    }

    #[test]
    fn hostile_names_are_refused() {
        for path in
            ["../x", "a/../../x", "/etc/passwd", "a//b", "a/", "./a", "", "a\0b", "a\\b", "a b", "é.ts", "a%2eb"]
        {
            assert!(matches!(read(&record("c", "k", "m", path)), Err(ServeError::Malformed { .. })), "{path:?}");
            assert!(matches!(read(&record("c", "k", path, "m")), Err(ServeError::Malformed { .. })), "{path:?}");
        }
        for id in ["", ".", "..", "a/b", "a\\b", "a\n", "v1", "livez", "readyz"] {
            assert!(matches!(read(&record(id, "k", "m", "m")), Err(ServeError::Malformed { .. })), "{id:?}");
        }
        for id in ["", "..", "a/b", "a b", "a\"b"] {
            assert!(matches!(read(&record("c", id, "m", "m")), Err(ServeError::Malformed { .. })), "{id:?}");
        }
    }

    #[test]
    fn other_json_is_refused() {
        for json in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"format":"other","version":1}"#,
            r#"{"format":"keyrung.package","version":-1}"#,
        ] {
            assert!(matches!(read(json), Err(ServeError::Malformed { .. })), "{json}");
        }
    }

    #[test]
    fn a_missing_and_a_linked_record_are_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(ServedPackage::open(dir.path()), Err(ServeError::Unreadable { .. })));
        let real = dir.path().join("real.json");
        std::fs::write(&real, record("c", "k", "m", "m")).unwrap();
        std::os::unix::fs::symlink(&real, dir.path().join(RECORD)).unwrap();
        assert!(matches!(ServedPackage::open(dir.path()), Err(ServeError::Unreadable { .. })));
        std::fs::remove_file(dir.path().join(RECORD)).unwrap();
        std::fs::rename(&real, dir.path().join(RECORD)).unwrap();
        assert_eq!(ServedPackage::open(dir.path()).unwrap().content_id, "c");
    }

    proptest! {
        #[test]
        fn a_plain_path_stays_beneath(path in "[a-z./\\\\\0%]{0,12}") {
            if is_plain_path(&path) {
                let parts: Vec<_> = Path::new(&path).components().collect();
                prop_assert!(parts.iter().all(|c| matches!(c, std::path::Component::Normal(_))));
                prop_assert_eq!(parts.len(), path.split('/').count());
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ServedPackage::from_record(Path::new("/p"), &bytes, Identity::default());
        }
    }
}
