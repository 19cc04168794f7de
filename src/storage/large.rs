//! One large file, which appears under its name when it is complete and not before.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::storage::durable::{Place, is_unsupported, take_temp};
use crate::storage::{Durability, Replace, StorageError};

/// A file that is being written. Dropped, it is gone.
pub struct LargeFile {
    place: Place,
    file: File,
    replace: Replace,
    /// The temporary name, where it has one.
    named: Option<OsString>,
}

/// Whether others can find a file by a name while it is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visible {
    /// Nobody can, and nothing is left of it however the process ends.
    No,
    /// It has a temporary name, as the file system has no files without one; a killed process leaves it behind.
    Yes,
}

impl LargeFile {
    /// Begins a file with the mode that the umask leaves of 0666.
    ///
    /// # Errors
    /// [`StorageError::Exists`] when the name is taken and `replace` refuses; [`StorageError::Unusable`] when it names
    /// something else than a file; whatever the system reports.
    pub fn create(path: &Path, replace: Replace) -> Result<Self, StorageError> {
        match std::fs::symlink_metadata(path) {
            Ok(_) if replace == Replace::Refuse => {
                return Err(StorageError::Exists { operation: "write", path: path.to_path_buf() });
            }
            // A rename would put a file into the place of a device.
            Ok(there) if !there.is_file() => {
                return Err(StorageError::Unusable { path: path.to_path_buf(), why: "it is not a regular file" });
            }
            _ => {}
        }
        let place = Place::of("write", path)?;
        #[cfg(target_os = "linux")]
        if let Some(file) = nameless(&place.dir, Mode::from_raw_mode(0o666)) {
            return Ok(Self { place, file, replace, named: None });
        }
        let (name, file) = take_temp(&place, Mode::from_raw_mode(0o666))?;
        Ok(Self { place, file, replace, named: Some(name) })
    }

    /// The file, open for reading and writing.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether others can find what is written.
    #[must_use]
    pub fn visible(&self) -> Visible {
        if self.named.is_some() { Visible::Yes } else { Visible::No }
    }

    /// A failure to write to it.
    #[must_use]
    pub fn failed(&self, source: io::Error) -> StorageError {
        StorageError::new("write", &self.place.path, source)
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`StorageError::Exists`] when the name was taken meanwhile and may not be; whatever the system reports.
    pub fn publish(mut self, durability: Durability) -> Result<(), StorageError> {
        if durability == Durability::Power {
            self.file.sync_all().map_err(|e| self.failed(e))?;
        }
        self.put_in_place()?;
        self.named = None;
        match durability {
            Durability::Power => self.place.flush("write"),
            Durability::Process => Ok(()),
        }
    }

    fn put_in_place(&mut self) -> Result<(), StorageError> {
        let (dir, name) = (&self.place.dir, &self.place.name);
        let fail = |e: Errno| StorageError::new("write", &self.place.path, e);
        if self.named.is_none() {
            if self.replace == Replace::Refuse {
                return link(&self.file, dir, name).map_err(fail);
            }
            // A link does not replace. Under a temporary name the file can be renamed. Both are locked, so that no other
            // writer takes the one or the other for a killed writer's.
            rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive).map_err(fail)?;
            let (temp, _held) = take_temp(&self.place, Mode::from_raw_mode(0o600))?;
            rustix::fs::unlinkat(dir, &temp, AtFlags::empty()).map_err(fail)?;
            link(&self.file, dir, &temp).map_err(fail)?;
            self.named = Some(temp);
        }
        let Some(temp) = &self.named else { return Err(fail(Errno::NOENT)) };
        if self.replace == Replace::Allow {
            return rustix::fs::renameat(dir, temp, dir, name).map_err(fail);
        }
        match rustix::fs::renameat_with(dir, temp, dir, name, RenameFlags::NOREPLACE) {
            Err(e) if is_unsupported(e) => {
                rustix::fs::linkat(dir, temp, dir, name, AtFlags::empty()).map_err(fail)?;
                rustix::fs::unlinkat(dir, temp, AtFlags::empty()).map_err(fail)
            }
            renamed => renamed.map_err(fail),
        }
    }
}

impl Drop for LargeFile {
    fn drop(&mut self) {
        if let Some(name) = &self.named {
            let _ = rustix::fs::unlinkat(&self.place.dir, name, AtFlags::empty());
        }
    }
}

/// A file of mode 0600 in the system's folder for temporary files that has no name: nothing is left of it however the
/// process ends.
///
/// # Errors
/// Whatever the system reports.
pub fn spool() -> Result<File, StorageError> {
    let folder = std::env::temp_dir();
    #[cfg(target_os = "linux")]
    if let Some(file) = File::open(&folder).ok().and_then(|dir| nameless(&dir, Mode::from_raw_mode(0o600))) {
        return Ok(file);
    }
    let place = Place::of("write", &folder.join(format!("keyrung-{}", std::process::id())))?;
    let (name, file) = take_temp(&place, Mode::from_raw_mode(0o600))?;
    let unlinked = rustix::fs::unlinkat(&place.dir, &name, AtFlags::empty());
    unlinked.map_err(|e| StorageError::new("write", &place.path, e)).map(|()| file)
}

/// A file without a name, where the system has such files and can give them one later.
#[cfg(target_os = "linux")]
fn nameless(dir: &File, mode: Mode) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, ".", flags, mode).ok().map(File::from)?;
    std::fs::symlink_metadata(unnamed(&file)).is_ok().then_some(file)
}

#[cfg(target_os = "linux")]
fn unnamed(file: &File) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

#[cfg(target_os = "linux")]
fn link(file: &File, dir: &File, name: &std::ffi::OsStr) -> Result<(), Errno> {
    rustix::fs::linkat(rustix::fs::CWD, unnamed(file), dir, name, AtFlags::SYMLINK_FOLLOW)
}

/// Elsewhere every file has a name from the beginning.
#[cfg(not(target_os = "linux"))]
fn link(_: &File, _: &File, _: &std::ffi::OsStr) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};
    use std::os::unix::fs::PermissionsExt;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// As on a file system without files that have no name.
    fn named(path: &Path, replace: Replace) -> LargeFile {
        let place = Place::of("write", path).unwrap();
        let (name, file) = take_temp(&place, Mode::from_raw_mode(0o666)).unwrap();
        LargeFile { place, file, replace, named: Some(name) }
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for begin in [|path: &Path, replace| LargeFile::create(path, replace).unwrap(), named] {
            let given_up = begin(&path, Replace::Refuse);
            given_up.file().write_all(b"half").unwrap();
            drop(given_up);
            assert_eq!(names(dir.path()), [""; 0]);
            for (text, replace) in [("one", Replace::Refuse), ("two", Replace::Allow), ("three", Replace::Allow)] {
                let new = begin(&path, replace);
                new.file().write_all(text.as_bytes()).unwrap();
                assert_ne!(std::fs::read(&path).unwrap_or_default(), text.as_bytes());
                new.publish(Durability::Power).unwrap();
                assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
                assert_eq!(names(dir.path()), ["file"]);
            }
            // A name that was taken meanwhile.
            std::fs::remove_file(&path).unwrap();
            let new = begin(&path, Replace::Refuse);
            std::fs::write(&path, "other").unwrap();
            assert!(matches!(new.publish(Durability::Process), Err(StorageError::Exists { .. })));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "other");
            assert_eq!(names(dir.path()), ["file"]);
            assert!(matches!(LargeFile::create(&path, Replace::Refuse), Err(StorageError::Exists { .. })));
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn the_mode_is_the_usual_one() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        std::fs::write(dir.path().join("usual"), "").unwrap();
        LargeFile::create(&dir.path().join("ours"), Replace::Refuse).unwrap().publish(Durability::Process).unwrap();
        LargeFile::create(&dir.path().join("ours"), Replace::Allow).unwrap().publish(Durability::Process).unwrap();
        assert_eq!(mode("ours"), mode("usual"));
    }

    #[test]
    fn only_files_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path(), Path::new("/dev/null")] {
            assert!(matches!(LargeFile::create(path, Replace::Allow), Err(StorageError::Unusable { .. })));
            assert!(matches!(LargeFile::create(path, Replace::Refuse), Err(StorageError::Exists { .. })));
        }
        let missing = LargeFile::create(&dir.path().join("no/file"), Replace::Allow);
        assert!(matches!(missing, Err(StorageError::NotFound { .. })));
    }

    #[test]
    fn a_spool_has_no_name() {
        let mut file = spool().unwrap();
        file.write_all(b"text").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        assert!(
            !names(&std::env::temp_dir()).iter().any(|name| name.contains(&format!("keyrung-{}", std::process::id())))
        );
    }
}
