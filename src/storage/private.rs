//! Secret files and folders: made so that only their owner has access, refused when others have.

use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::storage::StorageError;
use crate::storage::durable::{flush_dir, open_regular, read_all};

/// Like [`read_limited`](crate::storage::durable::read_limited), for a secret: refused when group or others have any access to the file that was opened.
///
/// # Errors
/// [`StorageError::Insecure`]; as [`read_limited`](crate::storage::durable::read_limited).
pub fn read_private(path: &Path, limit: u64) -> Result<Vec<u8>, StorageError> {
    let (file, stat) = open_regular(CWD, path, OFlags::empty(), path)?;
    refuse_insecure(path, &stat)?;
    read_all(file, path, limit)
}

/// Like [`read_private`], for a secret that a service manager may have put there: it may belong to root, and the group may
/// read it (systemd's `LoadCredential=`, Kubernetes with an `fsGroup`). Others have no access, and the group writes nothing.
///
/// # Errors
/// As [`read_private`].
pub fn read_confided(path: &Path, limit: u64) -> Result<Vec<u8>, StorageError> {
    let (file, stat) = open_regular(CWD, path, OFlags::empty(), path)?;
    #[allow(clippy::useless_conversion)]
    let is_confided = u32::from(stat.st_mode) & 0o037 == 0
        && (stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw());
    if !is_confided {
        refuse_insecure(path, &stat)?;
    }
    read_all(file, path, limit)
}

/// Makes the folder with mode 0700, and whatever is missing above it likewise; one that exists must be private already.
///
/// # Errors
/// As [`check_private`]; [`StorageError::NotADirectory`]; whatever the system reports.
pub fn ensure_private_dir(path: &Path) -> Result<(), StorageError> {
    make_private_dir(path)?;
    let stat = rustix::fs::stat(path).map_err(|e| StorageError::new("open", path, e))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(StorageError::NotADirectory { operation: "open", path: path.to_path_buf() });
    }
    refuse_insecure(path, &stat)
}

/// Refuses a file or folder to which group or others have any access, or that belongs to someone else.
///
/// The superuser may use a folder of any owner: containers mount the folders of the host's user.
///
/// # Errors
/// [`StorageError::Insecure`] with the command that mends it; whatever the system reports.
pub fn check_private(path: &Path) -> Result<(), StorageError> {
    let stat = rustix::fs::stat(path).map_err(|e| StorageError::new("open", path, e))?;
    refuse_insecure(path, &stat)
}

fn refuse_insecure(path: &Path, stat: &Stat) -> Result<(), StorageError> {
    let insecure = |mend: String| Err(StorageError::Insecure { path: path.to_path_buf(), mend });
    let user = rustix::process::geteuid();
    if stat.st_uid != user.as_raw() && !user.is_root() {
        return insecure(format!("sudo chown \"$(id -un)\" {}", quoted(path)));
    }
    // `mode_t` is 16 bits wide on some systems.
    #[allow(clippy::useless_conversion)]
    if u32::from(stat.st_mode) & 0o077 != 0 {
        let mode = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory { "700" } else { "600" };
        return insecure(format!("chmod {mode} {}", quoted(path)));
    }
    Ok(())
}

/// The path as one word of a shell command.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+=@:,".contains(c)) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn make_private_dir(path: &Path) -> Result<(), StorageError> {
    let fail = |e: Errno| StorageError::new("create", path, e);
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(Errno::NOENT) => {
            let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) else {
                return Err(fail(Errno::NOENT));
            };
            make_private_dir(parent)?;
            match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
                Ok(()) => {}
                Err(Errno::EXIST) => return Ok(()),
                Err(e) => return Err(fail(e)),
            }
        }
        Err(e) => return Err(fail(e)),
    }
    // An odd umask may have taken away even the owner's rights, and then the folder cannot be opened to give them back.
    rustix::fs::chmod(path, Mode::from_raw_mode(0o700)).map_err(fail)?;
    let above = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(above).and_then(flush_dir).map_err(|e| StorageError::new("create", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused_with_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it's secret");
        for bad in [0o640, 0o604, 0o601, 0o610] {
            std::fs::write(&path, "x").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(bad)).unwrap();
            let error = read_private(&path, 10).unwrap_err();
            let expected = format!("chmod 600 '{}/it'\\''s secret'", dir.path().display());
            assert_eq!(error.hint(), Some(expected), "{bad:o}");
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o400)).unwrap();
        assert_eq!(read_private(&path, 10).unwrap(), b"x");
    }

    #[test]
    fn a_confided_secret_may_be_read_by_its_group_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "x").unwrap();
        for (mode, is_read) in
            [(0o400, true), (0o440, true), (0o640, true), (0o660, false), (0o644, false), (0o450, false)]
        {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(read_confided(&path, 10).is_ok(), is_read, "{mode:o}");
        }
    }

    #[test]
    fn private_folders_are_made_all_the_way_and_open_ones_refused() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        ensure_private_dir(&deep).unwrap();
        ensure_private_dir(&deep).unwrap();
        assert_eq!((mode(&dir.path().join("a")), mode(&deep)), (0o700, 0o700));
        std::fs::set_permissions(&deep, PermissionsExt::from_mode(0o711)).unwrap();
        let error = ensure_private_dir(&deep).unwrap_err();
        assert_eq!(error.hint().unwrap(), format!("chmod 700 {}", deep.display()));
        assert!(check_private(&deep).is_err());
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(ensure_private_dir(&file), Err(StorageError::NotADirectory { .. })));
    }
}
