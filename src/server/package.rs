//! The packages that are served, as their commit records (`keyrung.json`) name them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::limits::SERVER_MAX_RECORD_BYTES;
use crate::server::error::ServeError;
use crate::server::file;

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
    /// The files that are served, relative to `folder`, components parted by `/`. The commit record is not one of them.
    pub files: BTreeSet<String>,
    /// The keys that decrypt it; none for a clear package.
    pub key_ids: Vec<String>,
    /// The multivariant playlist, one of `files`.
    pub master: String,
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
}

#[derive(Deserialize)]
struct RecordFile {
    path: String,
}

impl ServedPackage {
    /// Reads the commit record in `folder`. The folder itself may be reached through symbolic links; the record may not.
    ///
    /// # Errors
    ///
    /// [`ServeError::Unreadable`], [`TooLarge`](ServeError::TooLarge), [`Version`](ServeError::Version) or
    /// [`Malformed`](ServeError::Malformed).
    pub fn open(folder: &Path) -> Result<Self, ServeError> {
        let unreadable = |source| ServeError::Unreadable { folder: folder.to_owned(), source };
        let record = file::open_beneath(folder, RECORD).map_err(unreadable)?;
        let mut bytes = Vec::new();
        record.take(SERVER_MAX_RECORD_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > SERVER_MAX_RECORD_BYTES {
            return Err(ServeError::TooLarge { folder: folder.to_owned(), limit: SERVER_MAX_RECORD_BYTES });
        }
        Self::from_record(folder, &bytes)
    }

    fn from_record(folder: &Path, bytes: &[u8]) -> Result<Self, ServeError> {
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
        let mut files: BTreeSet<String> = record.files.into_iter().map(|f| f.path).collect();
        files.insert(record.master.clone());
        if let Some(path) = files.iter().find(|path| !is_plain_path(path)) {
            return Err(malformed(format!("{path:?} is not a plain relative path")));
        }
        files.remove(RECORD);
        if !files.contains(&record.master) {
            return Err(malformed("the master playlist is the commit record itself".to_owned()));
        }
        Ok(Self {
            content_id: record.content_id,
            folder: folder.to_owned(),
            files,
            key_ids: record.key_id.into_iter().collect(),
            master: record.master,
        })
    }
}

/// All packages, by content id.
#[derive(Debug)]
pub(super) struct Catalog {
    packages: BTreeMap<String, ServedPackage>,
    key_ids: BTreeSet<String>,
}

impl Catalog {
    pub(super) fn new(packages: Vec<ServedPackage>) -> Result<Self, ServeError> {
        let mut catalog = Self { packages: BTreeMap::new(), key_ids: BTreeSet::new() };
        for package in packages {
            if !is_content_id(&package.content_id) {
                let what = format!("{:?} cannot be served as a content id", package.content_id);
                return Err(ServeError::Malformed { folder: package.folder, what });
            }
            if catalog.packages.contains_key(&package.content_id) {
                return Err(ServeError::Duplicate { content_id: package.content_id });
            }
            catalog.key_ids.extend(package.key_ids.iter().cloned());
            catalog.packages.insert(package.content_id.clone(), package);
        }
        Ok(catalog)
    }

    pub(super) fn packages(&self) -> impl Iterator<Item = &ServedPackage> {
        self.packages.values()
    }

    pub(super) fn package(&self, content_id: &str) -> Option<&ServedPackage> {
        self.packages.get(content_id)
    }

    pub(super) fn holds_key(&self, key_id: &str) -> bool {
        self.key_ids.contains(key_id)
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
fn is_content_id(id: &str) -> bool {
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
        ServedPackage::from_record(Path::new("/p"), json.as_bytes())
    }

    fn record(content_id: &str, key_id: &str, master: &str, path: &str) -> String {
        serde_json::json!({"format": "keyrung.package", "version": 1, "content_id": content_id, "key_id": key_id,
            "master": master, "files": [{"path": path, "bytes": 3}], "later": {"field": true}})
        .to_string()
    }

    #[test]
    fn a_record_gives_its_files_and_key() {
        let package = read(&record("film", "k-1", "master.m3u8", "1080p/00000.ts")).unwrap();
        assert_eq!(package.files, BTreeSet::from(["1080p/00000.ts".to_owned(), "master.m3u8".to_owned()]));
        assert_eq!(package.key_ids, ["k-1"]);
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
        assert!(!package.files.contains("keyrung.json"));
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
    fn two_packages_of_one_content_id_are_refused() {
        let package = read(&record("film", "k", "master.m3u8", "a.ts")).unwrap();
        let twice = Catalog::new(vec![package.clone(), package]);
        assert!(matches!(twice, Err(ServeError::Duplicate { content_id }) if content_id == "film"));
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
            let _ = ServedPackage::from_record(Path::new("/p"), &bytes);
        }
    }
}
