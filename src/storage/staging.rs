//! Publishing a folder: built out of sight beside DEST, put in its place in one step.
//!
//! `PARENT/.NAME.keyrung-staging` is locked by the run that builds in it. One whose lock can be had was left by a killed run and is emptied.
//! The protocol is in `manual/formats.md`, "Publishing a folder".

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::storage::documents::is_plain;
use crate::storage::durable::{Lock, flush_dir, is_unsupported, lock_named};
use crate::storage::occupied::{self, Dest};
use crate::storage::{Durability, StorageError, tree};

/// Whether a package that is there already may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// It is refused.
    Refuse,
    /// A package of ours, and nothing else, is replaced.
    Allow,
}

/// Whether the kernel is asked for its atomic ways of renaming; the other is for file systems without them, and for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rename {
    Atomic,
    #[cfg_attr(not(test), allow(dead_code))]
    Portable,
}

/// How often a staging folder may vanish between being made and being locked before that is taken for another run at work.
const TRIES: u32 = 64;

/// A folder that is being built and has not been published. Dropped, it is removed without a trace.
#[derive(Debug)]
pub struct Staging {
    dest: PathBuf,
    path: PathBuf,
    parent: File,
    /// DEST's name in `parent`.
    name: OsString,
    /// The staging folder's name in `parent`.
    staged: OsString,
    /// The staging folder; the lock on it lives as long as this.
    dir: File,
    replace: Replace,
    durability: Durability,
    rename: Rename,
    is_published: bool,
    made: MadeParents,
}

impl Staging {
    /// Makes and locks the staging folder beside `dest`, with the folders above it where they are missing.
    ///
    /// # Errors
    /// [`StorageError::Unusable`] when `dest` is `.`, `..`, a root, the current folder, a mount point, a symbolic link or a file;
    /// [`StorageError::Exists`] when it is a folder and `replace` refuses; [`StorageError::Foreign`] when it holds anything but
    /// a package; [`StorageError::Locked`] when another run builds it; whatever the system reports.
    pub fn open(dest: &Path, replace: Replace, durability: Durability) -> Result<Self, StorageError> {
        let (parent_path, name) = split(dest)?;
        let made = MadeParents::make(parent_path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(parent_path, flags, Mode::empty())
            .map_err(|e| StorageError::new("open", parent_path, e))?;
        let parent = File::from(parent);
        let staged = beside(name, "staging");
        let path = parent_path.join(&staged);
        let dir = lock_folder(&parent, &staged, &path, dest)?;
        let staging = Self {
            dest: dest.to_path_buf(),
            path,
            parent,
            name: name.to_os_string(),
            staged,
            dir,
            replace,
            durability,
            rename: Rename::Atomic,
            is_published: false,
            made,
        };
        staging.settle_old()?;
        occupied::inspect(&staging.parent, &staging.name, dest, replace)?;
        tree::remove_contents(&staging.dir).map_err(|e| StorageError::new("empty", &staging.path, e))?;
        Ok(staging)
    }

    /// Removes what killed runs left beside `dest`: a staging folder without an owner, and an old package aside (which is put back
    /// when `dest` is absent). `false` when another run is at work there; then nothing is touched.
    ///
    /// # Errors
    /// Whatever the system reports.
    pub fn discard_stale(dest: &Path) -> Result<bool, StorageError> {
        let (parent, _) = split(dest)?;
        if !parent.exists() {
            return Ok(true);
        }
        // Everything that is stale goes when the lock is taken, and the rest when the staging is dropped.
        match Self::open(dest, Replace::Refuse, Durability::Process) {
            Ok(_) | Err(StorageError::Exists { .. }) => Ok(true),
            Err(StorageError::Locked { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// What stands beside `dest` that a run has made and not removed: it is stale, or the run is still at work.
    ///
    /// # Errors
    /// [`StorageError::Unusable`] when `dest` has no name of its own.
    pub fn leftovers(dest: &Path) -> Result<Vec<PathBuf>, StorageError> {
        let (parent, name) = split(dest)?;
        let beside = ["staging", "old"].map(|what| parent.join(beside(name, what)));
        Ok(beside.into_iter().filter(|path| path.symlink_metadata().is_ok()).collect())
    }

    /// The staging folder's path, for messages and for tools that are handed a path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a file for writing, with the mode that the umask leaves of 0644. `relative` is one or more plain names
    /// (`[A-Za-z0-9._-]`, no leading full stop) with `/` between; the folders on the way must exist.
    ///
    /// # Errors
    /// [`StorageError::BadName`], [`StorageError::Exists`]; whatever the system reports.
    pub fn create_file(&self, relative: &str) -> Result<File, StorageError> {
        let fail = |e: Errno| StorageError::new("create", &self.path.join(relative), e);
        let (dir, name) = self.walk(relative)?;
        let dir = dir.as_ref().unwrap_or(&self.dir);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644)).map_err(fail)?;
        keep_owner_rights(&file, 0o600).map_err(fail)?;
        Ok(File::from(file))
    }

    /// Creates a folder, with the mode that the umask leaves of 0755. `relative` as in [`Staging::create_file`].
    ///
    /// # Errors
    /// [`StorageError::BadName`], [`StorageError::Exists`]; whatever the system reports.
    pub fn create_dir(&self, relative: &str) -> Result<(), StorageError> {
        let (dir, name) = self.walk(relative)?;
        make_dir_at(dir.as_ref().unwrap_or(&self.dir), OsStr::new(name))
            .map_err(|e| StorageError::new("create", &self.path.join(relative), e))
    }

    /// Bytes that the file system has left for this user.
    ///
    /// # Errors
    /// Whatever the system reports.
    pub fn free_space(&self) -> Result<u64, StorageError> {
        let stat = rustix::fs::fstatvfs(&self.dir).map_err(|e| StorageError::new("measure", &self.path, e))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Puts the folder in DEST's place. DEST is looked at once more, for what may have come there meanwhile.
    ///
    /// An old package is removed after it has been replaced. When that fails the new one is published all the same: the next run, or
    /// [`Staging::discard_stale`], removes the rest.
    ///
    /// # Errors
    /// As [`Staging::open`]. After an error DEST is what it was, and the staging folder is gone.
    pub fn publish(mut self) -> Result<(), StorageError> {
        let fail = |e: io::Error| StorageError::new("publish", &self.dest, e);
        if self.durability == Durability::Power {
            tree::flush(&self.dir).map_err(|e| StorageError::new("flush", &self.path, e))?;
        }
        let old = match occupied::inspect(&self.parent, &self.name, &self.dest, self.replace)? {
            Dest::Vacant => {
                self.move_in().map_err(|e| fail(e.into()))?;
                None
            }
            Dest::Ours(old) => {
                // Locked, so that no run that finds the old tree under the staging name takes it for its own.
                match rustix::fs::flock(&old, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) => {}
                    Err(Errno::WOULDBLOCK) => return Err(StorageError::Locked { path: self.dest.clone() }),
                    Err(e) => return Err(fail(e.into())),
                }
                let aside = self.exchange().map_err(|e| fail(e.into()))?;
                Some((old, aside))
            }
        };
        if self.durability == Durability::Power
            && let Err(e) = self.flush_names()
        {
            self.take_back(old.as_ref().map(|(_, aside)| aside));
            return Err(e);
        }
        self.is_published = true;
        self.made.0.clear();
        if let Some((old, aside)) = old {
            let _ = tree::remove_contents(&old);
            let _ = rustix::fs::unlinkat(&self.parent, &aside, AtFlags::REMOVEDIR);
        }
        Ok(())
    }

    /// Flushes the folder that holds DEST, and those that hold the folders that this run made above it.
    fn flush_names(&self) -> Result<(), StorageError> {
        flush_dir(&self.parent).map_err(|e| StorageError::new("flush", &self.dest, e))?;
        self.made.0.iter().rev().try_for_each(|made| {
            let above = made.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(above).and_then(flush_dir).map_err(|e| StorageError::new("flush", above, e))
        })
    }

    /// Undoes `move_in`, or `exchange` when there is an old tree `aside`, as far as the system lets it.
    fn take_back(&self, aside: Option<&OsString>) {
        let (parent, staged, name) = (&self.parent, &self.staged, &self.name);
        let _ = match aside {
            Some(aside) if aside == staged => {
                rustix::fs::renameat_with(parent, name, parent, staged, RenameFlags::EXCHANGE)
            }
            Some(aside) => rustix::fs::renameat(parent, name, parent, staged)
                .and_then(|()| rustix::fs::renameat(parent, aside, parent, name)),
            None => rustix::fs::renameat(parent, name, parent, staged),
        };
    }

    /// Renames the staging folder to DEST, which must be absent.
    fn move_in(&self) -> Result<(), Errno> {
        if self.rename == Rename::Atomic {
            match rustix::fs::renameat_with(
                &self.parent,
                &self.staged,
                &self.parent,
                &self.name,
                RenameFlags::NOREPLACE,
            ) {
                Err(e) if is_unsupported(e) => {}
                done => return done,
            }
        }
        // Here rename replaces an empty folder and refuses everything else. Our own runs are kept out by the lock.
        rustix::fs::renameat(&self.parent, &self.staged, &self.parent, &self.name)
    }

    /// Puts the staging folder in DEST's place and returns the name under which the old tree is now.
    fn exchange(&self) -> Result<OsString, Errno> {
        if self.rename == Rename::Atomic {
            match rustix::fs::renameat_with(&self.parent, &self.staged, &self.parent, &self.name, RenameFlags::EXCHANGE)
            {
                Ok(()) => return Ok(self.staged.clone()),
                Err(e) if is_unsupported(e) => {}
                Err(e) => return Err(e),
            }
        }
        let aside = beside(&self.name, "old");
        let (parent, name) = (&self.parent, &self.name);
        rustix::fs::renameat(parent, name, parent, &aside)?;
        if let Err(e) = self.move_in() {
            rustix::fs::renameat(parent, &aside, parent, name)?;
            return Err(e);
        }
        Ok(aside)
    }

    /// Deals with an old package that a killed run has left aside: back to DEST when that is absent, away otherwise.
    fn settle_old(&self) -> Result<(), StorageError> {
        let aside = beside(&self.name, "old");
        let fail = |e: Errno| StorageError::new("recover", &self.path.with_file_name(&aside), e);
        let old = match tree::open_dir(&self.parent, &aside) {
            Ok(old) => old,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(fail(e)),
        };
        refuse_strangers(&old, &self.dest)?;
        match rustix::fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {
                rustix::fs::renameat(&self.parent, &aside, &self.parent, &self.name).map_err(fail)?;
            }
            Err(e) => return Err(fail(e)),
            Ok(_) => {
                tree::remove_contents(&old).map_err(fail)?;
                match rustix::fs::unlinkat(&self.parent, &aside, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(e) => return Err(fail(e)),
                }
            }
        }
        Ok(())
    }

    /// The folder that holds `relative` (`None`: the staging folder itself) and the last name, each part checked.
    fn walk<'a>(&self, relative: &'a str) -> Result<(Option<File>, &'a str), StorageError> {
        if !relative.split('/').all(is_plain) {
            return Err(StorageError::BadName { path: self.path.clone(), name: relative.into() });
        }
        let Some((folders, name)) = relative.rsplit_once('/') else { return Ok((None, relative)) };
        let mut at = None;
        for folder in folders.split('/') {
            let next = tree::open_dir(at.as_ref().unwrap_or(&self.dir), folder)
                .map_err(|e| StorageError::new("create", &self.path.join(relative), e))?;
            at = Some(next);
        }
        Ok((at, name))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_published {
            let _ = tree::remove_contents(&self.dir);
            let _ = rustix::fs::unlinkat(&self.parent, &self.staged, AtFlags::REMOVEDIR);
        }
    }
}

/// DEST's full name: absolute, and without symbolic links as far as the folders above it exist. It is the same before and after
/// the first run, so a claim can be compared with it.
///
/// # Errors
/// [`StorageError::Unusable`] when `dest` has no name of its own; whatever the system reports.
pub fn full_name(dest: &Path) -> Result<PathBuf, StorageError> {
    let (parent, name) = split(dest)?;
    let parent = std::path::absolute(parent).map_err(|e| StorageError::new("find", parent, e))?;
    for above in parent.ancestors() {
        if let Ok(real) = above.canonicalize() {
            let missing = parent.strip_prefix(above).unwrap_or(Path::new(""));
            return Ok(real.join(missing).join(name));
        }
    }
    Ok(parent.join(name))
}

/// DEST's folder and its name there.
fn split(dest: &Path) -> Result<(&Path, &OsStr), StorageError> {
    let unusable = |why| StorageError::Unusable { path: dest.to_path_buf(), why };
    let name = dest.file_name().ok_or_else(|| unusable("it has no name of its own"))?;
    let parent = dest.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((parent, name))
}

/// The name of one of our folders beside `name`.
fn beside(name: &OsStr, what: &str) -> OsString {
    let mut whole = OsString::from(".");
    whole.push(name);
    whole.push(".keyrung-");
    whole.push(what);
    whole
}

/// Makes the staging folder, or takes one that has no owner, and locks it.
fn lock_folder(parent: &File, staged: &OsStr, path: &Path, dest: &Path) -> Result<File, StorageError> {
    for _ in 0..TRIES {
        let is_new = match make_dir_at(parent, staged) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(Errno::NOENT) => continue,
            Err(e) => return Err(StorageError::new("create", path, e)),
        };
        match try_lock_folder(parent, staged, path, dest) {
            Ok(Some(dir)) => return Ok(dir),
            // Between making and locking it another run has taken it, and has published or removed it.
            Ok(None) => {}
            Err(e) => {
                // A file system without locks, say. What is not empty belongs to someone else by now, and stays.
                if is_new && !matches!(e, StorageError::Locked { .. }) {
                    let _ = rustix::fs::unlinkat(parent, staged, AtFlags::REMOVEDIR);
                }
                return Err(e);
            }
        }
    }
    Err(StorageError::Locked { path: dest.to_path_buf() })
}

fn try_lock_folder(parent: &File, staged: &OsStr, path: &Path, dest: &Path) -> Result<Option<File>, StorageError> {
    let dir = match tree::open_dir(parent, staged) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::MLINK | Errno::NOTDIR) => {
            let why = "what has the name of its staging folder is not a folder";
            return Err(StorageError::Unusable { path: dest.to_path_buf(), why });
        }
        Err(e) => return Err(StorageError::new("open", path, e)),
    };
    refuse_strangers(&dir, dest)?;
    match lock_named(parent, staged, &dir).map_err(|e| StorageError::new("lock", path, e))? {
        Lock::Ours => Ok(Some(dir)),
        Lock::Busy => Err(StorageError::Locked { path: dest.to_path_buf() }),
        Lock::Moved => Ok(None),
    }
}

/// Refuses a staging folder that another user has put there: he could change what is published.
fn refuse_strangers(dir: &File, dest: &Path) -> Result<(), StorageError> {
    let stat = rustix::fs::fstat(dir).map_err(|e| StorageError::new("look beside", dest, e))?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        let why = "its staging folder belongs to another user";
        return Err(StorageError::Unusable { path: dest.to_path_buf(), why });
    }
    Ok(())
}

/// Makes a folder whose owner may use it whatever the umask; after an error there is none.
fn make_dir_at(dir: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    let dir = dir.as_fd();
    rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755))?;
    let owner_rights = || {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if stat.st_mode & 0o700 != 0o700 && FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            rustix::fs::chmodat(dir, name, Mode::from_raw_mode((stat.st_mode & 0o777) | 0o700), AtFlags::empty())?;
        }
        Ok(())
    };
    owner_rights().inspect_err(|_| {
        let _ = rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR);
    })
}

/// Gives the owner `rights` on an opened file where the umask took them away.
fn keep_owner_rights(file: impl AsFd, rights: rustix::fs::RawMode) -> Result<(), Errno> {
    let mode = rustix::fs::fstat(&file)?.st_mode;
    if mode & rights != rights {
        rustix::fs::fchmod(&file, Mode::from_raw_mode((mode & 0o777) | rights))?;
    }
    Ok(())
}

/// The folders above DEST that this run made. Dropped, those that are empty are removed.
#[derive(Debug)]
struct MadeParents(Vec<PathBuf>);

impl MadeParents {
    fn make(parent: &Path) -> Result<Self, StorageError> {
        let mut missing = Vec::new();
        for at in parent.ancestors().filter(|at| !at.as_os_str().is_empty()) {
            match rustix::fs::stat(at) {
                Ok(_) => break,
                Err(Errno::NOENT) => missing.push(at),
                Err(e) => return Err(StorageError::new("open", at, e)),
            }
        }
        let mut made = Self(Vec::new());
        for at in missing.into_iter().rev() {
            match make_dir_at(rustix::fs::CWD, at.as_os_str()) {
                Ok(()) => made.0.push(at.to_path_buf()),
                Err(Errno::EXIST) => {}
                Err(e) => return Err(StorageError::new("create", at, e)),
            }
        }
        Ok(made)
    }
}

impl Drop for MadeParents {
    fn drop(&mut self) {
        for made in self.0.iter().rev() {
            let _ = rustix::fs::rmdir(made);
        }
    }
}

#[cfg(test)]
mod tests;
