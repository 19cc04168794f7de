//! The write ritual: a file appears under its name whole and on stable storage, or not at all.
//!
//! Written beside its target, flushed, moved to its name, and the folder flushed after it; the temporary file is removed on failure.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use crate::storage::StorageError;

pub use crate::storage::private::{check_private, ensure_private_dir, read_confided, read_private};

/// What a published package survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process: nothing is flushed.
    Process,
    /// Loss of power, too: every file and folder is flushed before it can be seen.
    Power,
}

/// How long a writer waits for another writer of the same name: 500 tries of 10 ms.
const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// Writes a new file with `mode`, whatever the umask, and flushes it and its folder.
///
/// # Errors
/// [`StorageError::Exists`] when the name is taken, even by a dangling symbolic link; whatever the system reports.
pub fn create_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StorageError> {
    let place = Place::of("create", path)?;
    #[cfg(target_os = "linux")]
    if place.create_nameless(bytes, mode).map_err(|e| StorageError::new("create", path, e))? {
        return place.flush("create");
    }
    place.create_named(bytes, mode)?;
    place.flush("create")
}

/// Writes a file with `mode`, whatever the umask, in place of the one of that name if there is one. A reader sees the old file or the new.
///
/// # Errors
/// [`StorageError::Locked`] when another writer of the same name does not end; whatever the system reports.
pub fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StorageError> {
    let place = Place::of("write", path)?;
    let temp = Temp::take(&place)?;
    temp.replace(bytes, mode)
}

/// Like [`replace_file`], but only while the file's content is `expected`. Writers that use this function exclude each other.
///
/// # Errors
/// [`StorageError::Changed`] when the content is another, [`StorageError::NotFound`] when there is none; as [`replace_file`].
pub fn replace_file_if(path: &Path, expected: &[u8], bytes: &[u8], mode: u32) -> Result<(), StorageError> {
    let place = Place::of("write", path)?;
    let temp = Temp::take(&place)?;
    match read_limited(path, expected.len() as u64) {
        Ok(current) if current == expected => {}
        Ok(_) | Err(StorageError::TooLarge { .. }) => return Err(StorageError::Changed { path: path.to_path_buf() }),
        Err(error) => return Err(error),
    }
    temp.replace(bytes, mode)
}

/// Removes a file and flushes its folder.
///
/// # Errors
/// [`StorageError::NotFound`]; whatever the system reports.
pub fn remove_file(path: &Path) -> Result<(), StorageError> {
    let place = Place::of("remove", path)?;
    rustix::fs::unlinkat(&place.dir, &place.name, AtFlags::empty())
        .map_err(|e| StorageError::new("remove", path, e))?;
    place.flush("remove")
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// [`StorageError::TooLarge`]; [`StorageError::Other`] when it is not a regular file; whatever the system reports.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, StorageError> {
    let (file, _) = open_regular(CWD, path, OFlags::empty(), path)?;
    read_all(file, path, limit)
}

/// Like [`read_limited`], for `name` in the folder `dir`. It may be a link, but what it leads to is in the folder too.
///
/// # Errors
/// [`StorageError::Refused`] when it leads elsewhere; as [`read_limited`].
pub fn read_inside(dir: &Path, name: &str, limit: u64) -> Result<Vec<u8>, StorageError> {
    let path = dir.join(name);
    let fail = |e: Errno| match e {
        // XDEV is what the kernel says of a link that leads out of the folder, LOOP where links are not followed at all.
        Errno::XDEV | Errno::LOOP => StorageError::Refused {
            operation: "read",
            path: path.clone(),
            reason: "its link leads out of the folder".into(),
            hint: Some("put the file itself there".into()),
        },
        e => StorageError::new("read", &path, e),
    };
    let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, dir, folder, Mode::empty()).map_err(fail)?;
    let file = open_inside(&folder, name).map_err(fail)?;
    let (file, _) = regular(file, &path)?;
    read_all(file, &path, limit)
}

fn open_inside(folder: &impl AsFd, name: &str) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{ResolveFlags, openat2};
        match openat2(folder, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS) {
            // A kernel before 5.6, or a container that does not let this call through.
            Err(Errno::NOSYS | Errno::PERM) => {}
            opened => return opened.map(File::from),
        }
    }
    rustix::fs::openat(folder, name, flags | OFlags::NOFOLLOW, Mode::empty()).map(File::from)
}

/// Like [`read_limited`], for `name` in an opened folder; `path` is for messages. A symbolic link is refused.
pub(super) fn read_limited_at(dir: &File, name: &str, path: &Path, limit: u64) -> Result<Vec<u8>, StorageError> {
    let path = path.join(name);
    let (file, _) = open_regular(dir, Path::new(name), OFlags::NOFOLLOW, &path)?;
    read_all(file, &path, limit)
}

pub(super) fn open_regular(
    dir: impl AsFd,
    name: &Path,
    more: OFlags,
    path: &Path,
) -> Result<(File, Stat), StorageError> {
    let fail = |e: Errno| StorageError::new("read", path, e);
    // Non-blocking: to open a pipe must not wait for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | more;
    regular(File::from(rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(fail)?), path)
}

fn regular(file: File, path: &Path) -> Result<(File, Stat), StorageError> {
    let stat = rustix::fs::fstat(&file).map_err(|e| StorageError::new("read", path, e))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
        return Err(StorageError::Other { operation: "read", path: path.to_path_buf(), source });
    }
    Ok((file, stat))
}

pub(super) fn read_all(file: File, path: &Path, limit: u64) -> Result<Vec<u8>, StorageError> {
    // Whole capacity at once: a buffer that grows leaves copies of a secret behind in freed memory.
    let length = file.metadata().map_err(|e| StorageError::new("read", path, e))?.len();
    if length > limit {
        return Err(StorageError::TooLarge { path: path.to_path_buf(), limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0).saturating_add(1));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| StorageError::new("read", path, e))?;
    if bytes.len() as u64 > limit {
        return Err(StorageError::TooLarge { path: path.to_path_buf(), limit });
    }
    Ok(bytes)
}

/// Whether a system call failed because the kernel or the file system does not know the flag.
pub(super) fn is_unsupported(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) || error == Errno::NOTSUP
}

/// Flushes a folder's entries. Some network file systems cannot and have nothing to flush.
pub(super) fn flush_dir(dir: impl AsFd) -> io::Result<()> {
    match rustix::fs::fsync(dir) {
        Err(e) if !is_unsupported(e) => Err(e.into()),
        _ => Ok(()),
    }
}

/// A name in an opened folder.
pub(super) struct Place {
    pub(super) dir: File,
    pub(super) name: OsString,
    pub(super) path: PathBuf,
}

impl Place {
    pub(super) fn of(operation: &'static str, path: &Path) -> Result<Self, StorageError> {
        let fail = |e: Errno| StorageError::new(operation, path, e);
        let name = path.file_name().ok_or_else(|| fail(Errno::ISDIR))?.to_os_string();
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(parent, flags, Mode::empty()).map_err(fail)?;
        Ok(Self { dir: File::from(dir), name, path: path.to_path_buf() })
    }

    pub(super) fn flush(&self, operation: &'static str) -> Result<(), StorageError> {
        flush_dir(&self.dir).map_err(|e| StorageError::new(operation, &self.path, e))
    }

    /// Writes a file without a name and links it to its own: a process killed at any moment leaves nothing behind.
    /// `false` when the system cannot, or cannot here.
    #[cfg(target_os = "linux")]
    fn create_nameless(&self, bytes: &[u8], mode: u32) -> io::Result<bool> {
        use std::os::fd::AsRawFd;
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(&self.dir, ".", flags, Mode::from_raw_mode(0o600)) else { return Ok(false) };
        let file = File::from(file);
        fill(&file, bytes, mode)?;
        let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
        match rustix::fs::linkat(CWD, unnamed, &self.dir, &self.name, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Err(Errno::EXIST.into()),
            Err(_) => Ok(false),
        }
    }

    fn create_named(&self, bytes: &[u8], mode: u32) -> Result<(), StorageError> {
        let fail = |e: io::Error| StorageError::new("create", &self.path, e);
        let mut temp = Temp::take(self)?;
        fill(&temp.file, bytes, mode).map_err(fail)?;
        let (dir, name) = (&self.dir, &self.name);
        match rustix::fs::renameat_with(dir, &temp.name, dir, name, RenameFlags::NOREPLACE) {
            Ok(()) => temp.moved = true,
            // A link refuses to replace too; the temporary name is removed after it.
            Err(e) if is_unsupported(e) => {
                rustix::fs::linkat(dir, &temp.name, dir, name, AtFlags::empty()).map_err(|e| fail(e.into()))?
            }
            Err(e) => return Err(fail(e.into())),
        }
        Ok(())
    }
}

fn fill(mut file: &File, bytes: &[u8], mode: u32) -> io::Result<()> {
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode as _))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The temporary file of one name, locked by its writer. Its name is fixed, so the next writer clears away what a killed one left.
struct Temp<'a> {
    place: &'a Place,
    name: OsString,
    file: File,
    moved: bool,
}

impl<'a> Temp<'a> {
    fn take(place: &'a Place) -> Result<Self, StorageError> {
        let (name, file) = take_temp(place, Mode::from_raw_mode(0o600))?;
        Ok(Self { place, name, file, moved: false })
    }

    fn replace(mut self, bytes: &[u8], mode: u32) -> Result<(), StorageError> {
        let fail = |e: io::Error| StorageError::new("write", &self.place.path, e);
        fill(&self.file, bytes, mode).map_err(fail)?;
        let dir = &self.place.dir;
        rustix::fs::renameat(dir, &self.name, dir, &self.place.name).map_err(|e| fail(e.into()))?;
        self.moved = true;
        self.place.flush("write")
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if !self.moved {
            let _ = rustix::fs::unlinkat(&self.place.dir, &self.name, AtFlags::empty());
        }
    }
}

/// Makes and locks the temporary file of a name; its own name, and the file open for reading and writing.
pub(super) fn take_temp(place: &Place, mode: Mode) -> Result<(OsString, File), StorageError> {
    let fail = |e: Errno| StorageError::new("write", &place.path, e);
    let name = temp_name(&place.name);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..TRIES {
        match rustix::fs::openat(&place.dir, &name, flags, mode) {
            Ok(file) => match lock_named(&place.dir, &name, &file) {
                Ok(Lock::Ours) => return Ok((name, File::from(file))),
                // Another writer took it for a leftover before it was locked.
                Ok(Lock::Busy | Lock::Moved) => {}
                Err(e) => {
                    let _ = rustix::fs::unlinkat(&place.dir, &name, AtFlags::empty());
                    return Err(fail(e));
                }
            },
            Err(Errno::EXIST) => {
                if !remove_stale(&place.dir, &name).map_err(fail)? {
                    std::thread::sleep(PAUSE);
                }
            }
            Err(e) => return Err(fail(e)),
        }
    }
    Err(StorageError::Locked { path: place.path.clone() })
}

/// The temporary name beside `name`.
fn temp_name(name: &OsStr) -> OsString {
    let mut temp = OsString::from(".");
    temp.push(name);
    temp.push(".tmp");
    temp
}

/// What came of the attempt to lock a file or folder that others may remove or rename meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// The lock is ours, and what we have opened still has its name.
    Ours,
    /// Another holds it.
    Busy,
    /// What we have opened has lost its name; a lock on it is worth nothing.
    Moved,
}

/// Locks an opened file or folder without waiting and makes sure that it still is what `name` in `dir` names.
pub(super) fn lock_named(dir: &File, name: &OsStr, file: impl AsFd) -> Result<Lock, Errno> {
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(Lock::Busy),
        Err(e) => return Err(e),
    }
    let ours = rustix::fs::fstat(&file)?;
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) if (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino) => Ok(Lock::Ours),
        Ok(_) | Err(Errno::NOENT) => Ok(Lock::Moved),
        Err(e) => Err(e),
    }
}

/// Removes a temporary file that has no writer. `false`: it has one.
fn remove_stale(dir: &File, name: &OsStr) -> Result<bool, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(file) => match lock_named(dir, name, &file)? {
            Lock::Ours => {}
            Lock::Busy => return Ok(false),
            Lock::Moved => return Ok(true),
        },
        Err(Errno::NOENT) => return Ok(true),
        // A symbolic link was not put there by us, and nobody can hold it.
        Err(Errno::LOOP | Errno::MLINK) => {}
        Err(e) => return Err(e),
    }
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(e) => Err(e),
    }
}

/// Removes the temporary files that killed writers left in `dir`; those being written stay.
///
/// # Errors
/// Whatever the system reports.
pub fn sweep(dir: &Path) -> Result<(), StorageError> {
    let fail = |e: io::Error| StorageError::new("clean up", dir, e);
    let opened = File::open(dir).map_err(fail)?;
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        let text = name.to_string_lossy();
        if text.starts_with('.') && text.ends_with(".tmp") {
            remove_stale(&opened, &name).map_err(|e| fail(e.into()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    /// Both ways of creating a file: without a temporary name, and with one as on systems that need it.
    fn both_ways(path: &Path, bytes: &[u8]) -> [Result<(), StorageError>; 2] {
        [create_new(path, bytes, 0o600), Place::of("create", path).and_then(|p| p.create_named(bytes, 0o600))]
    }

    #[test]
    fn a_new_file_is_whole_private_and_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        create_new(&a, b"one", 0o600).unwrap();
        Place::of("create", &b).unwrap().create_named(b"two", 0o600).unwrap();
        assert_eq!((std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap()), (b"one".to_vec(), b"two".to_vec()));
        assert_eq!((mode(&a), mode(&b)), (0o600, 0o600));
        assert_eq!(names(dir.path()), ["a", "b"]);
    }

    #[test]
    fn a_taken_name_is_refused_and_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a"), dir.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        symlink("nowhere", &link).unwrap();
        for path in [&file, &link] {
            for result in both_ways(path, b"new") {
                assert!(matches!(result, Err(StorageError::Exists { .. })), "{result:?}");
            }
        }
        assert_eq!(std::fs::read(&file).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a", "link"]);
    }

    #[test]
    fn a_symbolic_link_is_replaced_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, link, temp) = (dir.path().join("victim"), dir.path().join("a"), dir.path().join(".a.tmp"));
        std::fs::write(&victim, "precious").unwrap();
        symlink(&victim, &link).unwrap();
        symlink(&victim, &temp).unwrap();
        replace_file(&link, b"new", 0o600).unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
        assert_eq!(std::fs::read(&link).unwrap(), b"new");
        assert!(!std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(dir.path()), ["a", "victim"]);
    }

    #[test]
    fn what_a_killed_writer_left_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let temp = dir.path().join(".a.tmp");
        std::fs::write(&temp, "half").unwrap();
        replace_file(&dir.path().join("a"), b"new", 0o644).unwrap();
        assert_eq!(names(dir.path()), ["a"]);
        assert_eq!(mode(&dir.path().join("a")), 0o644);
        std::fs::write(&temp, "half").unwrap();
        std::fs::write(dir.path().join("b.tmp"), "not ours").unwrap();
        sweep(dir.path()).unwrap();
        assert_eq!(names(dir.path()), ["a", "b.tmp"]);
    }

    #[test]
    fn a_living_writer_is_waited_for_and_not_swept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let place = Place::of("write", &path).unwrap();
        let first = Temp::take(&place).unwrap();
        sweep(dir.path()).unwrap();
        assert_eq!(names(dir.path()), [".a.tmp"]);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| replace_file(&path, b"second", 0o600));
            std::thread::sleep(Duration::from_millis(50));
            first.replace(b"first", 0o600).unwrap();
            second.join().unwrap().unwrap();
        });
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn compare_and_swap_lets_one_of_many_win() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create_new(&path, b"start", 0o600).unwrap();
        let wins = std::thread::scope(|scope| {
            let path = &path;
            let runs: Vec<_> = (0..8)
                .map(|i| {
                    scope.spawn(move || replace_file_if(path, b"start", format!("run number {i}").as_bytes(), 0o600))
                })
                .collect();
            runs.into_iter().map(|r| r.join().unwrap()).filter(Result::is_ok).count()
        });
        assert_eq!(wins, 1);
        assert!(matches!(replace_file_if(&path, b"start", b"x", 0o600), Err(StorageError::Changed { .. })));
        let absent = replace_file_if(&dir.path().join("b"), b"", b"x", 0o600);
        assert!(absent.unwrap_err().is_not_found());
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn creators_at_once_make_one_winner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let wins = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..8).map(|_| scope.spawn(|| create_new(&path, b"x", 0o600).is_ok())).collect();
            runs.into_iter().map(|r| r.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(wins, 1);
    }

    #[test]
    fn reading_is_bounded_and_only_of_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, [7; 11]).unwrap();
        assert!(matches!(read_limited(&path, 10), Err(StorageError::TooLarge { limit: 10, .. })));
        assert_eq!(read_limited(&path, 11).unwrap().len(), 11);
        assert!(matches!(read_limited(dir.path(), 10), Err(StorageError::Other { .. })));
        // An endless file without a length, and a pipe without a writer.
        assert!(matches!(read_limited(Path::new("/dev/zero"), 10), Err(StorageError::Other { .. })));
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(CWD, &pipe, Mode::from_raw_mode(0o600)).unwrap();
        assert!(matches!(read_limited(&pipe, 10), Err(StorageError::Other { .. })));
    }
}
