//! Making tokens: for tests, for scripts, and for what has no identity provider of its own.

use std::path::Path;

use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use crate::keys::{ContentId, KeyId};
use crate::limits;
use crate::storage::durable::read_confided;

use super::super::secret::Secret;
use super::Algorithm;

/// What a token says. The names are the claims' (RFC 7519 section 4.1, and the manual's page on tokens).
#[derive(Debug, Clone, Serialize)]
pub struct NewClaims {
    /// The issuer.
    pub iss: String,
    /// The audience.
    pub aud: String,
    /// The end, in seconds since 1970.
    pub exp: u64,
    /// The time of issue.
    pub iat: u64,
    /// Who it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// The token's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The contents whose keys it opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<Vec<ContentId>>,
    /// The keys that it opens; with contents, of those only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kids: Option<Vec<KeyId>>,
}

/// What tokens are signed with. It cannot be printed.
pub struct Mint {
    algorithm: Algorithm,
    key: EncodingKey,
    kid: Option<String>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The secret's file.
    #[error(transparent)]
    Secret(#[from] super::super::secret::SecretError),
    /// The key's file.
    #[error(transparent)]
    Storage(#[from] crate::storage::StorageError),
    /// The file holds no private key that can be used.
    #[error("{path} holds no private key in PKCS#8 PEM for EdDSA, ES256, RS256 or PS256")]
    Key {
        /// The file.
        path: String,
    },
    /// The key is of another algorithm.
    #[error("{path} holds no key for {}", wanted.name())]
    Algorithm {
        /// The file.
        path: String,
        /// What was asked for.
        wanted: Algorithm,
    },
    /// The key could not sign.
    #[error("the key does not sign: it is of another curve, or too short")]
    Sign,
}

impl Mint {
    /// Signs with HS256 and the secret of a file.
    ///
    /// # Errors
    /// [`MintError::Secret`].
    pub fn from_secret(path: &Path) -> Result<Self, MintError> {
        let secret = Secret::read(path)?;
        Ok(Self { algorithm: Algorithm::HS256, key: EncodingKey::from_secret(secret.expose()), kid: None })
    }

    /// Signs with the private key of a file. Its kind says the algorithm; for RSA that is RS256 unless PS256 is asked
    /// for.
    ///
    /// # Errors
    /// [`MintError::Storage`], [`MintError::Key`], [`MintError::Algorithm`].
    pub fn from_private_key(path: &Path, wanted: Option<Algorithm>) -> Result<Self, MintError> {
        let shown = || path.display().to_string();
        let pem = zeroize::Zeroizing::new(read_confided(path, limits::TOKEN_FILE_BYTES)?);
        let (found, key) = None
            .or_else(|| EncodingKey::from_ed_pem(&pem).ok().map(|key| (Algorithm::EdDSA, key)))
            .or_else(|| EncodingKey::from_ec_pem(&pem).ok().map(|key| (Algorithm::ES256, key)))
            .or_else(|| EncodingKey::from_rsa_pem(&pem).ok().map(|key| (Algorithm::RS256, key)))
            .ok_or_else(|| MintError::Key { path: shown() })?;
        let algorithm = match (found, wanted) {
            (found, None) => found,
            (Algorithm::RS256, Some(Algorithm::PS256)) => Algorithm::PS256,
            (found, Some(wanted)) if found == wanted => found,
            (_, Some(wanted)) => return Err(MintError::Algorithm { path: shown(), wanted }),
        };
        let mint = Self { algorithm, key, kid: None };
        // A public key, a key of another curve, or one that is too short shows itself in signing alone.
        jsonwebtoken::crypto::sign(b"", &mint.key, algorithm.library())
            .map_err(|_| MintError::Key { path: shown() })?;
        Ok(mint)
    }

    /// With a key id in the tokens' header.
    #[must_use]
    pub fn with_kid(self, kid: Option<String>) -> Self {
        Self { kid, ..self }
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key id.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`MintError::Sign`].
    pub fn sign(&self, claims: &NewClaims) -> Result<String, MintError> {
        let header = Header { kid: self.kid.clone(), ..Header::new(self.algorithm.library()) };
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|_| MintError::Sign)
    }
}
