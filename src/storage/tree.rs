//! Folder trees walked by descriptors, so that no symbolic link planted on the way leads out of them.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::storage::durable::flush_dir;

/// How many files are flushed at once.
const FLUSHERS: usize = 8;

/// The deepest tree that is walked. Packages have two levels.
const MAX_DEPTH: u32 = 16;

/// Opens the folder `name` in `dir`; a symbolic link is refused (`ELOOP` or `ENOTDIR`).
pub(super) fn open_dir(dir: impl AsFd, name: impl rustix::path::Arg) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty()).map(File::from)
}

/// The names in a folder, sorted, each with its type.
pub(super) fn entries(dir: &File) -> Result<Vec<(OsString, FileType)>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            kind = FileType::from_raw_mode(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
        }
        found.push((OsString::from_vec(name.to_bytes().to_vec()), kind));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// Removes everything in a folder, but not the folder. What another process has removed meanwhile is no error.
pub(super) fn remove_contents(dir: &File) -> Result<(), Errno> {
    remove_below(dir, MAX_DEPTH)
}

fn remove_below(dir: &File, depth: u32) -> Result<(), Errno> {
    let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    for (name, kind) in entries(dir)? {
        let flags = if kind == FileType::Directory {
            match open_dir(dir, &name) {
                Ok(below) => remove_below(&below, depth)?,
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(e),
            }
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        match rustix::fs::unlinkat(dir, &name, flags) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Flushes every file and folder of a tree, each folder after what is in it.
pub(super) fn flush(dir: &File) -> io::Result<()> {
    flush_below(dir, MAX_DEPTH)
}

fn flush_below(dir: &File, depth: u32) -> io::Result<()> {
    let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    let (folders, files): (Vec<_>, Vec<_>) =
        entries(dir)?.into_iter().partition(|(_, kind)| *kind == FileType::Directory);
    for (name, _) in folders {
        flush_below(&open_dir(dir, &name)?, depth)?;
    }
    // Side by side, because a journalling file system commits many waiting flushes at once.
    std::thread::scope(|scope| {
        let share = files.len().div_ceil(FLUSHERS).max(1);
        let flushers: Vec<_> = files.chunks(share).map(|files| scope.spawn(move || flush_files(dir, files))).collect();
        flushers
            .into_iter()
            .try_for_each(|f| f.join().unwrap_or_else(|_| Err(io::Error::other("a flush has panicked"))))
    })?;
    flush_dir(dir)
}

fn flush_files(dir: &File, files: &[(OsString, FileType)]) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    files.iter().try_for_each(|(name, _)| File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?).sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn emptying_removes_links_and_not_what_they_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("precious"), "x").unwrap();
        std::fs::write(tree.join("a/b/file"), "x").unwrap();
        symlink(&outside, tree.join("a/link")).unwrap();
        symlink("nowhere", tree.join("dangling")).unwrap();
        let opened = File::open(&tree).unwrap();
        flush(&File::open(tree.join("a/b")).unwrap()).unwrap();
        remove_contents(&opened).unwrap();
        assert!(entries(&opened).unwrap().is_empty());
        assert!(outside.join("precious").exists());
        assert!(open_dir(File::open(dir.path()).unwrap(), "outside").is_ok());
        symlink(&outside, dir.path().join("link")).unwrap();
        assert!(open_dir(File::open(dir.path()).unwrap(), "link").is_err());
    }

    #[test]
    fn a_bottomless_tree_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("d/".repeat(20))).unwrap();
        let opened = File::open(dir.path()).unwrap();
        assert_eq!(remove_contents(&opened), Err(Errno::NAMETOOLONG));
        assert!(flush(&opened).is_err());
    }
}
