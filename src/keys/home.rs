//! Where the local keyring and the default key store live: `KEYRUNG_HOME`, or a folder of the platform's choice.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::keys::KeyError;
use crate::storage::durable;

/// The home that the environment names: `KEYRUNG_HOME`; `$XDG_DATA_HOME/keyrung` or `~/.local/share/keyrung`; on macOS
/// `~/Library/Application Support/keyrung`. Nothing is made.
///
/// # Errors
/// [`KeyError::NoHome`] when no variable says.
pub fn resolve() -> Result<PathBuf, KeyError> {
    let home = resolve_from(|name| std::env::var_os(name)).ok_or(KeyError::NoHome)?;
    // The keyring must not move when someone changes the folder.
    Ok(std::path::absolute(&home).unwrap_or(home))
}

/// The home, made with mode 0700 where it is missing.
///
/// # Errors
/// As [`resolve`]; [`StorageError::Insecure`](crate::storage::StorageError::Insecure) when others have access to it; whatever
/// storage reports.
pub fn open() -> Result<PathBuf, KeyError> {
    let home = resolve()?;
    durable::ensure_private_dir(&home)?;
    Ok(home)
}

/// The default key store in a home.
#[must_use]
pub fn key_store(home: &Path) -> PathBuf {
    home.join("keys")
}

fn resolve_from(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(home) = set("KEYRUNG_HOME") {
        return Some(home);
    }
    if cfg!(target_os = "macos") {
        return Some(set("HOME")?.join("Library/Application Support/keyrung"));
    }
    // The XDG base directory specification: a relative path is to be ignored.
    let data = set("XDG_DATA_HOME").filter(|path| path.is_absolute());
    Some(data.or_else(|| Some(set("HOME")?.join(".local/share")))?.join("keyrung"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(variables: &[(&str, &str)]) -> Option<PathBuf> {
        resolve_from(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    }

    #[test]
    #[cfg(not(target_os = "macos"))]
    fn the_most_particular_variable_wins() {
        let home = ("HOME", "/home/me");
        assert_eq!(resolved(&[("KEYRUNG_HOME", "/k"), ("XDG_DATA_HOME", "/x"), home]).unwrap(), Path::new("/k"));
        assert_eq!(resolved(&[("XDG_DATA_HOME", "/x"), home]).unwrap(), Path::new("/x/keyrung"));
        let fallback = Path::new("/home/me/.local/share/keyrung");
        assert_eq!(resolved(&[home]).unwrap(), fallback);
        assert_eq!(resolved(&[("KEYRUNG_HOME", ""), ("XDG_DATA_HOME", "relative"), home]).unwrap(), fallback);
        assert_eq!(resolved(&[("HOME", "")]), None);
        assert_eq!(key_store(fallback), fallback.join("keys"));
    }
}
