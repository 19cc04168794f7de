//! What can go wrong in storage, sorted by what the reader can do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A storage failure. Every message is one line and names the operation and the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Something has the name already, and the caller asked not to replace it.
    #[error("cannot {operation} {}: it exists already", Shown(.path))]
    Exists {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
    },
    /// There is nothing of this name.
    #[error("cannot {operation} {}: no such file or folder", Shown(.path))]
    NotFound {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
    },
    /// The file system or the user's share of it is full.
    #[error("cannot {operation} {}: no space left", Shown(.path))]
    NoSpace {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
    },
    /// The system does not permit it: mode, owner, or a file system mounted read-only.
    #[error("cannot {operation} {}: permission denied", Shown(.path))]
    PermissionDenied {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
    },
    /// Others than the user have access to something secret.
    #[error("refused: others have access to {}", Shown(.path))]
    Insecure {
        /// The file or folder.
        path: PathBuf,
        /// The shell command that mends it.
        mend: String,
    },
    /// Another run is at work there.
    #[error("another run is at work on {}", Shown(.path))]
    Locked {
        /// What both runs want.
        path: PathBuf,
    },
    /// The folder holds something that keyrung did not write.
    #[error("refused to replace {}: it holds {what}, which is not part of a package", Shown(.path))]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What was found in it.
        what: String,
    },
    /// The path cannot be a destination at all.
    #[error("cannot use {} as the destination: {why}", Shown(.path))]
    Unusable {
        /// The destination.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// A folder was expected.
    #[error("cannot {operation} {}: it is not a folder", Shown(.path))]
    NotADirectory {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
    },
    /// A document has changed since it was read; read it again and decide again.
    #[error("cannot replace {}: another run has changed it", Shown(.path))]
    Changed {
        /// The document.
        path: PathBuf,
    },
    /// A file is larger than what is read into memory.
    #[error("cannot read {}: it is larger than {limit} bytes", Shown(.path))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The store cannot be reached, breaks down, or asks for patience, to the end of all retries.
    #[error("cannot {operation} {}: {reason}", Shown(.path))]
    Unavailable {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// What the store or the network says.
        reason: String,
    },
    /// The store does not take the credentials, or there are none that can be used: it says nothing of what was asked for.
    #[error("cannot {operation} {}: {reason}", Shown(.path))]
    Unauthenticated {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// What the store or the source of credentials says.
        reason: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The store refuses.
    #[error("cannot {operation} {}: {reason}", Shown(.path))]
    Refused {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// What the store says.
        reason: String,
        /// What to do about it, where that is known.
        hint: Option<String>,
    },
    /// A name that is not allowed inside a store or a package. Not from the outside world: the caller's mistake.
    #[error("not a name for a file in {}: {name:?}", Shown(.path))]
    BadName {
        /// The folder.
        path: PathBuf,
        /// The refused name.
        name: String,
    },
    /// Whatever else the system reports.
    #[error("cannot {operation} {}: {source}", Shown(.path))]
    Other {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl StorageError {
    /// Sorts a system error by meaning. `operation` is a verb phrase: "write", "rename".
    #[must_use]
    pub fn new(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.to_path_buf(), source.into());
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::EXIST | Errno::NOTEMPTY) => Self::Exists { operation, path },
            Some(Errno::NOENT) => Self::NotFound { operation, path },
            Some(Errno::NOSPC | Errno::DQUOT) => Self::NoSpace { operation, path },
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Self::PermissionDenied { operation, path },
            Some(Errno::NOTDIR) => Self::NotADirectory { operation, path },
            _ => Self::Other { operation, path, source },
        }
    }

    /// What to do about it, where storage itself knows: the command that mends, or to wait.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Insecure { mend, .. } => Some(mend.clone()),
            Self::NoSpace { .. } => Some("free some space and run the same command again".into()),
            Self::Locked { .. } => Some("wait until it has ended, or choose another destination".into()),
            Self::Unavailable { .. } => Some("run the same command again later".into()),
            Self::Unauthenticated { hint, .. } => Some((*hint).to_owned()),
            Self::Refused { hint, .. } => hint.clone(),
            _ => None,
        }
    }

    /// Whether this is [`StorageError::NotFound`].
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// A path on one line: control characters are escaped, so that a file name cannot forge a second line of output.
struct Shown<'a>(&'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string_lossy().chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(errno: Errno) -> String {
        StorageError::new("write", Path::new("/a/b"), errno).to_string()
    }

    #[test]
    fn system_errors_are_sorted_by_meaning() {
        assert_eq!(sorted(Errno::EXIST), "cannot write /a/b: it exists already");
        assert_eq!(sorted(Errno::NOENT), "cannot write /a/b: no such file or folder");
        assert_eq!(sorted(Errno::NOSPC), "cannot write /a/b: no space left");
        assert_eq!(sorted(Errno::DQUOT), "cannot write /a/b: no space left");
        assert_eq!(sorted(Errno::ACCESS), "cannot write /a/b: permission denied");
        assert_eq!(sorted(Errno::ROFS), "cannot write /a/b: permission denied");
        assert_eq!(sorted(Errno::NOTDIR), "cannot write /a/b: it is not a folder");
        assert_eq!(sorted(Errno::IO), "cannot write /a/b: Input/output error (os error 5)");
    }

    #[test]
    fn every_other_text() {
        let path = || PathBuf::from("/a/b");
        let text = |error: StorageError| error.to_string();
        let insecure = StorageError::Insecure { path: path(), mend: "chmod 700 /a/b".into() };
        assert_eq!(insecure.hint().as_deref(), Some("chmod 700 /a/b"));
        assert_eq!(text(insecure), "refused: others have access to /a/b");
        assert_eq!(text(StorageError::Locked { path: path() }), "another run is at work on /a/b");
        assert_eq!(
            text(StorageError::Foreign { path: path(), what: "notes.txt".into() }),
            "refused to replace /a/b: it holds notes.txt, which is not part of a package"
        );
        assert_eq!(
            text(StorageError::Unusable { path: path(), why: "it is a mount point" }),
            "cannot use /a/b as the destination: it is a mount point"
        );
        assert_eq!(text(StorageError::Changed { path: path() }), "cannot replace /a/b: another run has changed it");
        assert_eq!(
            text(StorageError::TooLarge { path: path(), limit: 9 }),
            "cannot read /a/b: it is larger than 9 bytes"
        );
        assert_eq!(
            text(StorageError::BadName { path: path(), name: "../x".into() }),
            "not a name for a file in /a/b: \"../x\""
        );
    }

    #[test]
    fn a_path_cannot_forge_a_line() {
        let error = StorageError::Locked { path: PathBuf::from("x\nerror: y\u{1b}[31m") };
        assert_eq!(error.to_string(), "another run is at work on x\\nerror: y\\u{1b}[31m");
    }
}
