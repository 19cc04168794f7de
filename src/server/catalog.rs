//! All packages that are served, by content id, each as it is on disk now.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use crate::server::error::ServeError;
use crate::server::file::Folder;
use crate::server::package::{ServedPackage, is_content_id};

/// All packages, by content id.
#[derive(Debug)]
pub(super) struct Catalog {
    places: BTreeMap<String, Place>,
}

/// Where a package is, and the one that was found there last.
#[derive(Debug)]
struct Place(RwLock<Arc<ServedPackage>>);

impl Place {
    // What a thread that panicked left is whole: an `Arc` is put in its place at once.
    fn last(&self) -> Arc<ServedPackage> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The open folder and the package that is in it. One that was made anew is read again.
    fn open(&self) -> io::Result<(Folder, Arc<ServedPackage>)> {
        let last = self.last();
        let folder = Folder::open(&last.folder)?;
        if last.is_in(&folder)? {
            return Ok((folder, last));
        }
        // One thread reads the record; the others wait for it.
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !place.is_in(&folder)? {
            let package = ServedPackage::read(&last.folder, &folder).map_err(io::Error::other)?;
            if package.content_id != last.content_id {
                return Err(io::ErrorKind::NotFound.into());
            }
            *place = Arc::new(package);
        }
        Ok((folder, Arc::clone(&place)))
    }
}

impl Catalog {
    /// # Errors
    ///
    /// [`ServeError::Malformed`] for a content id that cannot be a path, [`ServeError::Duplicate`] for one that is there
    /// twice.
    pub(super) fn new(packages: Vec<ServedPackage>) -> Result<Self, ServeError> {
        let mut places = BTreeMap::new();
        for package in packages {
            let content_id = package.content_id.clone();
            if !is_content_id(&content_id) {
                let what = format!("{content_id:?} cannot be served as a content id");
                return Err(ServeError::Malformed { folder: package.folder, what });
            }
            if places.insert(content_id.clone(), Place(RwLock::new(Arc::new(package)))).is_some() {
                return Err(ServeError::Duplicate { content_id });
            }
        }
        Ok(Self { places })
    }

    /// The packages as they were when they were last asked for.
    pub(super) fn packages(&self) -> impl Iterator<Item = Arc<ServedPackage>> {
        self.places.values().map(Place::last)
    }

    /// The packages as they are on disk; one that cannot be read is left out. Blocks.
    pub(super) fn current(&self) -> Vec<Arc<ServedPackage>> {
        self.places.values().filter_map(|place| Some(place.open().ok()?.1)).collect()
    }

    /// The folder of a package, open, and what it holds. `None` for a content id that is not served. Blocks.
    ///
    /// # Errors
    ///
    /// The system's; `NotFound` for a folder that holds other content now.
    pub(super) fn open(&self, content_id: &str) -> io::Result<Option<(Folder, Arc<ServedPackage>)>> {
        self.places.get(content_id).map(Place::open).transpose()
    }

    /// The content id of the package that names this key. A record is the word of who can write the folder: that the
    /// key is for this content, the sealed key has to say.
    pub(super) fn content_of_key(&self, key_id: &str) -> Option<String> {
        let names = |package: &ServedPackage| package.key_ids.iter().any(|held| held == key_id);
        self.packages().find(|package| names(package)).map(|package| package.content_id.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(folder: &std::path::Path, content_id: &str, key_id: &str) {
        fs::create_dir_all(folder).unwrap();
        let record = serde_json::json!({"format": "keyrung.package", "version": 1, "content_id": content_id,
            "key_id": key_id, "master": "m.m3u8", "files": []});
        fs::write(folder.join("keyrung.json"), record.to_string()).unwrap();
    }

    #[test]
    fn two_packages_of_one_content_id_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "film", "k");
        let package = ServedPackage::open(dir.path()).unwrap();
        let twice = Catalog::new(vec![package.clone(), package]);
        assert!(matches!(twice, Err(ServeError::Duplicate { content_id }) if content_id == "film"));
    }

    #[test]
    fn a_package_that_was_made_anew_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (now, next) = (dir.path().join("now"), dir.path().join("next"));
        write(&now, "film", "k-1");
        let catalog = Catalog::new(vec![ServedPackage::open(&now).unwrap()]).unwrap();
        assert_eq!(catalog.content_of_key("k-1").as_deref(), Some("film"));
        assert!(catalog.open("other").unwrap().is_none());
        let (folder, first) = catalog.open("film").unwrap().unwrap();

        write(&next, "film", "k-2");
        fs::rename(&now, dir.path().join("before")).unwrap();
        fs::rename(&next, &now).unwrap();
        let (_, second) = catalog.open("film").unwrap().unwrap();
        assert_eq!(second.key_ids, ["k-2"]);
        assert_eq!((catalog.content_of_key("k-2").as_deref(), catalog.content_of_key("k-1")), (Some("film"), None));
        assert_ne!(first.generation, second.generation);
        // Who has the folder open goes on with the package that was in it.
        assert!(first.is_in(&folder).unwrap() && !second.is_in(&folder).unwrap());

        write(&now, "another-film", "k-3");
        assert!(catalog.open("film").is_err() && catalog.current().is_empty());
        assert_eq!(
            catalog.content_of_key("k-3"),
            None,
            "someone else's content does not come in by a folder of this one"
        );
        fs::remove_dir_all(&now).unwrap();
        assert!(catalog.open("film").is_err());
    }
}
