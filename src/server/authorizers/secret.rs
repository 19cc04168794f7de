//! Secrets that tokens and signatures are made with.

use std::path::Path;

use zeroize::Zeroizing;

use crate::limits;
use crate::storage::StorageError;
use crate::storage::durable::read_confided;

/// A secret of at least 32 bytes, wiped when dropped. It cannot be printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a file's content is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read, or others can read it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It could be guessed, or is shorter than SHA-256 is worth (RFC 7518 section 3.2).
    #[error("{path} holds fewer than {} bytes", limits::TOKEN_SECRET_BYTES)]
    Short {
        /// The file.
        path: String,
    },
    /// It is a key of another kind: what is public in one place must not be the secret of another.
    #[error("{path} is a PEM file, not a secret")]
    Pem {
        /// The file.
        path: String,
    },
}

impl Secret {
    /// Reads a secret. A file of one line of visible ASCII is that line without its end; of any other file every byte
    /// counts.
    ///
    /// # Errors
    /// [`SecretError`]; it never repeats what the file holds.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let bytes = Zeroizing::new(read_confided(path, limits::TOKEN_FILE_BYTES)?);
        let shown = || path.display().to_string();
        if bytes.windows(11).any(|text| text == b"-----BEGIN ") {
            return Err(SecretError::Pem { path: shown() });
        }
        let secret = match bytes.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
            Some(line) if line.iter().all(u8::is_ascii_graphic) => Self(Zeroizing::new(line.to_vec())),
            _ => Self(bytes),
        };
        if secret.0.len() < limits::TOKEN_SECRET_BYTES {
            return Err(SecretError::Short { path: shown() });
        }
        Ok(secret)
    }

    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::authorizers::testing::secret_file;

    #[test]
    fn a_line_is_a_secret_without_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let text = b"0123456789abcdef0123456789abcdef";
        for (end, expected) in [("", 32), ("\n", 32), ("\r\n", 32), ("\n\n", 34), (" \n", 34), ("\nx\n", 35)] {
            let path = secret_file(dir.path(), &[&text[..], end.as_bytes()].concat());
            assert_eq!(Secret::read(&path).unwrap().expose().len(), expected, "{end:?}");
        }
        let path = secret_file(dir.path(), &[&[0xff; 31][..], b"\n"].concat());
        assert_eq!(Secret::read(&path).unwrap().expose().len(), 32, "random bytes may end so");
    }

    #[test]
    fn what_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        for short in [&b""[..], b"\n", &[b'a'; 31], b"0123456789abcdef0123456789abcde\n"] {
            assert!(matches!(Secret::read(&secret_file(dir.path(), short)), Err(SecretError::Short { .. })));
        }
        let pem = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAd7pS\n-----END PUBLIC KEY-----\n";
        assert!(matches!(Secret::read(&secret_file(dir.path(), pem)), Err(SecretError::Pem { .. })));
        let path = secret_file(dir.path(), &[b'a'; 40]);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let error = Secret::read(&path).map(|_| ()).unwrap_err();
        assert!(matches!(error, SecretError::Storage(StorageError::Insecure { .. })), "{error}");
        assert!(!error.to_string().contains("aaaa"));
    }
}
