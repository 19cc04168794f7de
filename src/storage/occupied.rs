//! What is at DEST: nothing, a package of ours and nothing else, or something that must not be touched.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;
use serde::Deserialize;

use crate::limits::MAX_COMMIT_RECORD_BYTES;
use crate::storage::documents::is_plain;
use crate::storage::{Replace, StorageError, durable, tree};

/// The name of the commit record in a package.
const RECORD: &str = "keyrung.json";

/// A destination that may be published to.
pub(super) enum Dest {
    /// Nothing has the name.
    Vacant,
    /// A package of ours, or an empty folder, that may be replaced; opened.
    Ours(File),
}

/// Looks at DEST = `name` in `parent`; `path` is its full name.
pub(super) fn inspect(parent: &File, name: &OsStr, path: &Path, replace: Replace) -> Result<Dest, StorageError> {
    let fail = |e: Errno| StorageError::new("look at", path, e);
    let unusable = |why| Err(StorageError::Unusable { path: path.to_path_buf(), why });
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Dest::Vacant),
        Err(e) => return Err(fail(e)),
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {}
        FileType::Symlink => return unusable("it is a symbolic link"),
        _ => return unusable("it is a file, not a folder"),
    }
    if is_mount_point(parent, name, &stat).map_err(fail)? {
        return unusable("it is a mount point");
    }
    if rustix::fs::stat(".").is_ok_and(|here| (here.st_dev, here.st_ino) == (stat.st_dev, stat.st_ino)) {
        return unusable("it is the current folder");
    }
    if replace == Replace::Refuse {
        return Err(StorageError::Exists { operation: "write to", path: path.to_path_buf() });
    }
    let dir = tree::open_dir(parent, name).map_err(fail)?;
    match foreign(&dir, path)? {
        None => Ok(Dest::Ours(dir)),
        Some(what) => Err(StorageError::Foreign { path: path.to_path_buf(), what }),
    }
}

/// Whether another file system, or another part of this one, is mounted on the folder `name`: a rename would move the mount.
fn is_mount_point(parent: &File, name: &OsStr, stat: &Stat) -> Result<bool, Errno> {
    if stat.st_dev != rustix::fs::fstat(parent)?.st_dev {
        return Ok(true);
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{StatxAttributes, StatxFlags};
        // A bind mount within one file system shows only here.
        match rustix::fs::statx(parent, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE) {
            Ok(found) => return Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
            Err(Errno::NOSYS) => {}
            Err(e) => return Err(e),
        }
    }
    let _ = name;
    Ok(false)
}

/// The part of the commit record that says what belongs to the package; everything else in it is `package`'s.
#[derive(Deserialize)]
struct Record<'a> {
    format: &'a str,
    version: u32,
    #[serde(borrow)]
    files: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    path: &'a str,
}

/// The files a package consists of, and the folders that these need.
#[derive(Default)]
struct Members<'a> {
    files: HashSet<&'a str>,
    folders: HashSet<&'a str>,
}

impl<'a> Members<'a> {
    fn of(record: &'a [u8]) -> Option<Self> {
        let record: Record<'a> = serde_json::from_slice(record).ok()?;
        if record.format != "keyrung.package" || record.version != 1 {
            return None;
        }
        let mut members = Self { files: HashSet::from([RECORD]), ..Self::default() };
        for Entry { path } in record.files {
            // A path of any other shape names nothing that we could have written.
            if path.split('/').all(is_plain) {
                members.files.insert(path);
                members.folders.extend(path.match_indices('/').filter_map(|(at, _)| path.get(..at)));
            }
        }
        Some(members)
    }
}

/// The first thing in the folder that is not part of a package of ours. An empty folder has none.
fn foreign(dir: &File, path: &Path) -> Result<Option<String>, StorageError> {
    let record = match durable::read_limited_at(dir, RECORD, path, MAX_COMMIT_RECORD_BYTES) {
        Ok(record) => record,
        Err(StorageError::NotFound { .. }) => return foreign_below(dir, path, "", &Members::default()),
        // A commit record that is a link, a folder or a pipe is not one, and turns up as foreign itself.
        Err(StorageError::Other { source, .. }) if is_no_file(&source) => {
            return foreign_below(dir, path, "", &Members::default());
        }
        Err(e) => return Err(e),
    };
    match Members::of(&record) {
        Some(members) => foreign_below(dir, path, "", &members),
        None => Ok(Some(format!("a {RECORD} that this version cannot read"))),
    }
}

/// Whether something was not read because of what it is, and not because reading failed.
fn is_no_file(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, None | Some(Errno::LOOP | Errno::MLINK | Errno::NXIO | Errno::OPNOTSUPP))
}

fn foreign_below(dir: &File, path: &Path, prefix: &str, members: &Members<'_>) -> Result<Option<String>, StorageError> {
    let fail = |e: Errno| StorageError::new("look into", path, e);
    for (name, kind) in tree::entries(dir).map_err(fail)? {
        let whole = format!("{prefix}{}", name.to_string_lossy());
        if kind == FileType::RegularFile && members.files.contains(whole.as_str()) {
            continue;
        }
        if kind != FileType::Directory || !members.folders.contains(whole.as_str()) {
            return Ok(Some(whole.escape_debug().to_string()));
        }
        let stat = rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        if is_mount_point(dir, &name, &stat).map_err(fail)? {
            return Ok(Some(format!("the mount point {whole}")));
        }
        let below = tree::open_dir(dir, &name).map_err(fail)?;
        if let Some(found) = foreign_below(&below, path, &format!("{whole}/"), members)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
