//! Small named documents: the joint behind which a folder or an object store keeps sealed keys and claims.

use std::path::{Path, PathBuf};

use crate::limits::MAX_DOCUMENT_BYTES;
use crate::storage::{StorageError, durable};

/// A flat store of small documents. What a method has written is on stable storage when it returns.
///
/// Names are `[A-Za-z0-9._-]` without a leading full stop, at most 200 characters; anything else is [`StorageError::BadName`].
pub trait Documents: Send + Sync {
    /// Where the documents are, for messages.
    fn place(&self) -> &Path;

    /// Stores a new document.
    ///
    /// # Errors
    /// [`StorageError::Exists`] when there is one of this name; of several creators at once, one succeeds.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// Replaces a document whose content is still `expected`.
    ///
    /// # Errors
    /// [`StorageError::Changed`] when it is not, [`StorageError::NotFound`] when there is none.
    fn replace(&self, name: &str, expected: &[u8], bytes: &[u8]) -> Result<(), StorageError>;

    /// A document's content, at most [`MAX_DOCUMENT_BYTES`].
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::TooLarge`].
    fn read(&self, name: &str) -> Result<Vec<u8>, StorageError>;

    /// Removes a document.
    ///
    /// # Errors
    /// [`StorageError::NotFound`].
    fn delete(&self, name: &str) -> Result<(), StorageError>;

    /// The names of all documents, sorted.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn names(&self) -> Result<Vec<String>, StorageError>;

    /// Removes what killed writers left; documents being written stay.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn sweep(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Documents as files of mode 0600 in a folder of mode 0700.
#[derive(Debug)]
pub struct LocalDocuments {
    dir: PathBuf,
}

impl LocalDocuments {
    /// Opens the folder and creates it where it is missing.
    ///
    /// # Errors
    /// [`StorageError::Insecure`] when others have access to it; whatever the system reports.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        durable::ensure_private_dir(dir)?;
        Ok(Self { dir: dir.to_path_buf() })
    }

    /// A folder of further documents inside this one. It is made when the first document is stored in it.
    ///
    /// # Errors
    /// [`StorageError::BadName`].
    pub fn inner(&self, name: &str) -> Result<Self, StorageError> {
        Ok(Self { dir: self.file(name)? })
    }

    fn file(&self, name: &str) -> Result<PathBuf, StorageError> {
        if is_plain(name) && name.len() <= 200 {
            return Ok(self.dir.join(name));
        }
        Err(StorageError::BadName { path: self.dir.clone(), name: name.into() })
    }
}

impl Documents for LocalDocuments {
    fn place(&self) -> &Path {
        &self.dir
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let file = self.file(name)?;
        match durable::create_new(&file, bytes, 0o600) {
            Err(StorageError::NotFound { .. }) => {
                durable::ensure_private_dir(&self.dir)?;
                durable::create_new(&file, bytes, 0o600)
            }
            done => done,
        }
    }

    fn replace(&self, name: &str, expected: &[u8], bytes: &[u8]) -> Result<(), StorageError> {
        durable::replace_file_if(&self.file(name)?, expected, bytes, 0o600)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, StorageError> {
        self.file(name)?;
        durable::read_inside(&self.dir, name, MAX_DOCUMENT_BYTES)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        durable::remove_file(&self.file(name)?)
    }

    fn names(&self) -> Result<Vec<String>, StorageError> {
        let fail = |e| StorageError::new("list", &self.dir, e);
        let mut names = Vec::new();
        let entries = match std::fs::read_dir(&self.dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(names),
            entries => entries.map_err(fail)?,
        };
        for entry in entries {
            let entry = entry.map_err(fail)?;
            let is_file = entry.file_type().map_err(fail)?.is_file();
            if let Some(name) = entry.file_name().to_str().filter(|name| is_file && is_plain(name)) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn sweep(&self) -> Result<(), StorageError> {
        match durable::sweep(&self.dir) {
            Err(e) if e.is_not_found() => Ok(()),
            done => done,
        }
    }
}

/// Whether `name` is one plain part of a path: `[A-Za-z0-9._-]`, 1 to 255 characters, no leading full stop.
pub(super) fn is_plain(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// What every store of documents must do; each implementation's tests run it on an empty store.
#[cfg(test)]
pub(crate) fn contract(store: &dyn Documents) {
    assert_eq!(store.names().unwrap(), Vec::<String>::new());
    assert!(store.read("a").unwrap_err().is_not_found());
    assert!(store.delete("a").unwrap_err().is_not_found());
    assert!(store.replace("a", b"", b"1").unwrap_err().is_not_found());
    store.create("b.json", b"").unwrap();
    store.create("a", b"1").unwrap();
    assert!(matches!(store.create("a", b"2"), Err(StorageError::Exists { .. })));
    assert_eq!(store.read("a").unwrap(), b"1");
    assert!(matches!(store.replace("a", b"2", b"3"), Err(StorageError::Changed { .. })));
    store.replace("a", b"1", b"two").unwrap();
    assert!(matches!(store.replace("a", b"1", b"3"), Err(StorageError::Changed { .. })));
    assert_eq!(store.read("a").unwrap(), b"two");
    assert_eq!(store.names().unwrap(), ["a", "b.json"]);
    store.delete("a").unwrap();
    assert_eq!(store.names().unwrap(), ["b.json"]);
    let long = "x".repeat(201);
    for bad in ["", ".", "..", ".a", "a/b", "../a", "/a", "a\\b", "a\0", "a\n", "\u{430}", "%2e%2e/", long.as_str()] {
        assert!(matches!(store.create(bad, b""), Err(StorageError::BadName { .. })), "{bad:?}");
        assert!(matches!(store.read(bad), Err(StorageError::BadName { .. })), "{bad:?}");
        assert!(matches!(store.replace(bad, b"", b""), Err(StorageError::BadName { .. })), "{bad:?}");
        assert!(matches!(store.delete(bad), Err(StorageError::BadName { .. })), "{bad:?}");
    }
}

/// Of those who create one document at once, one does. Not of a store whose server is moto 5.2.5, which looks and writes
/// without a lock.
#[cfg(test)]
pub(crate) fn one_creates(store: &dyn Documents) {
    let creators: usize = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| store.create("race", b"x").is_ok())).collect();
        runs.into_iter().map(|run| usize::from(run.join().unwrap())).sum()
    });
    assert_eq!(creators, 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalDocuments::open(&dir.path().join("store")).unwrap();
        store.sweep().unwrap();
        contract(&store);
        one_creates(&store);
        let inner = store.inner("inner").unwrap();
        inner.sweep().unwrap();
        contract(&inner);
        one_creates(&inner);
        durable::check_private(inner.place()).unwrap();
    }

    #[test]
    fn strangers_in_the_folder_are_not_documents() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalDocuments::open(&dir.path().join("store")).unwrap();
        std::fs::create_dir(store.place().join("folder")).unwrap();
        std::fs::write(store.place().join(".a.tmp"), "half").unwrap();
        std::fs::write(store.place().join("with space"), "").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", store.place().join("link")).unwrap();
        assert_eq!(store.names().unwrap(), Vec::<String>::new());
        store.sweep().unwrap();
        assert!(!store.place().join(".a.tmp").exists());
    }

    /// Whoever can plant a link, but not write keys, must not have files read from elsewhere.
    #[test]
    fn a_link_is_followed_inside_the_folder_only() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalDocuments::open(&dir.path().join("store")).unwrap();
        std::fs::create_dir(store.place().join("..data")).unwrap();
        std::fs::write(store.place().join("..data/a"), "inside").unwrap();
        std::fs::write(dir.path().join("b"), "outside").unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, store.place().join(name)).unwrap();
        // As Kubernetes mounts secrets.
        link("..data/a", "a");
        assert_eq!(store.read("a").unwrap(), b"inside");
        link("../b", "b");
        link(dir.path().join("b").to_str().unwrap(), "c");
        link(store.place().join("..data/a").to_str().unwrap(), "d");
        link("/proc/self/environ", "e");
        link("f", "f");
        for name in ["b", "c", "d", "e", "f"] {
            let error = store.read(name).unwrap_err();
            assert!(matches!(error, StorageError::Refused { .. }), "{name}: {error}");
        }
        link("nothing", "g");
        assert!(store.read("g").unwrap_err().is_not_found());
        link("..data", "h");
        assert!(store.read("h").is_err());
        // The folder itself may be reached by a link: that is the user's own word.
        std::os::unix::fs::symlink(store.place(), dir.path().join("linked")).unwrap();
        assert_eq!(LocalDocuments::open(&dir.path().join("linked")).unwrap().read("a").unwrap(), b"inside");
    }

    #[test]
    fn a_huge_document_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalDocuments::open(&dir.path().join("store")).unwrap();
        std::fs::write(store.place().join("a"), vec![b' '; MAX_DOCUMENT_BYTES as usize + 1]).unwrap();
        assert!(matches!(store.read("a"), Err(StorageError::TooLarge { .. })));
    }
}
