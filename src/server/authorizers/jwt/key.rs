//! Keys that tokens are verified with. Each is good for one algorithm, whatever a token says of itself.

use std::path::Path;

use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::limits;
use crate::storage::durable::read_limited;

use super::super::secret::Secret;

/// The algorithms of RFC 7518 and RFC 8037 that tokens may be signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum Algorithm {
    /// Ed25519.
    EdDSA,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// HMAC with SHA-256: who can verify can sign.
    HS256,
}

impl Algorithm {
    /// The name in a token's header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::RS256 => "RS256",
            Self::PS256 => "PS256",
            Self::HS256 => "HS256",
        }
    }

    pub(super) fn library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDSA => jsonwebtoken::Algorithm::EdDSA,
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::PS256 => jsonwebtoken::Algorithm::PS256,
            Self::HS256 => jsonwebtoken::Algorithm::HS256,
        }
    }
}

impl std::str::FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::EdDSA, Self::ES256, Self::RS256, Self::PS256, Self::HS256];
        let found = all.into_iter().find(|algorithm| algorithm.name() == text);
        found.ok_or_else(|| "an algorithm is EdDSA, ES256, RS256, PS256 or HS256".to_owned())
    }
}

/// A key and its algorithm.
pub(super) struct VerifyingKey {
    pub(super) algorithm: Algorithm,
    key: DecodingKey,
}

impl VerifyingKey {
    /// Reads a key: for HS256 a secret, else a public key in PEM (`-----BEGIN PUBLIC KEY-----`, RFC 7468 section 13).
    pub(super) fn read(path: &Path, algorithm: Algorithm) -> Result<Self, String> {
        if algorithm == Algorithm::HS256 {
            let secret = Secret::read(path).map_err(|error| error.to_string())?;
            return Ok(Self { algorithm, key: DecodingKey::from_secret(secret.expose()) });
        }
        let pem = read_limited(path, limits::TOKEN_FILE_BYTES).map_err(|error| error.to_string())?;
        Self::from_pem(&pem, algorithm).map_err(|problem| format!("{} {problem}", path.display()))
    }

    pub(super) fn from_pem(pem: &[u8], algorithm: Algorithm) -> Result<Self, String> {
        let no_key = || "holds no public key in PEM; openssl pkey -in PRIVATE -pubout makes one".to_owned();
        let (_, pem) = parse_x509_pem(pem).map_err(|_| no_key())?;
        if pem.label != "PUBLIC KEY" {
            return Err(no_key());
        }
        let (rest, info) = SubjectPublicKeyInfo::from_der(&pem.contents).map_err(|_| no_key())?;
        if !rest.is_empty() {
            return Err(no_key());
        }
        let kind = info.algorithm.algorithm.to_id_string();
        let bits = info.subject_public_key.data.as_ref();
        let key = match kind.as_str() {
            "1.3.101.112" => Self::ed25519(algorithm, bits),
            "1.2.840.10045.2.1" => Self::p256(algorithm, bits),
            "1.2.840.113549.1.1.1" => match info.parsed() {
                Ok(PublicKey::RSA(rsa)) => Self::rsa(algorithm, rsa.modulus, rsa.exponent),
                _ => None,
            },
            _ => None,
        };
        key.ok_or_else(|| format!("holds no key for {}", algorithm.name()))
    }

    /// An Ed25519 key of 32 bytes.
    pub(super) fn ed25519(algorithm: Algorithm, point: &[u8]) -> Option<Self> {
        let fits = algorithm == Algorithm::EdDSA && point.len() == 32;
        fits.then(|| Self { algorithm, key: DecodingKey::from_ed_der(point) })
    }

    /// A point of P-256, not compressed. Points of the other curves have other lengths; a point that is not on the curve
    /// verifies nothing.
    pub(super) fn p256(algorithm: Algorithm, point: &[u8]) -> Option<Self> {
        let fits = algorithm == Algorithm::ES256 && point.len() == 65 && point.first() == Some(&4);
        fits.then(|| Self { algorithm, key: DecodingKey::from_ec_der(point) })
    }

    /// An RSA key. Short ones are broken; very long ones cost the server seconds for each token.
    pub(super) fn rsa(algorithm: Algorithm, modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let modulus = modulus.get(zeros..)?;
        let first = modulus.first()?;
        let bits = modulus.len().saturating_mul(8).saturating_sub(first.leading_zeros() as usize);
        let zeros = exponent.iter().take_while(|byte| **byte == 0).count();
        let exponent = exponent.get(zeros..)?;
        let fits = matches!(algorithm, Algorithm::RS256 | Algorithm::PS256)
            && limits::TOKEN_RSA_BITS.contains(&bits)
            && (1..=4).contains(&exponent.len())
            && exponent != [1];
        fits.then(|| Self { algorithm, key: DecodingKey::from_rsa_raw_components(modulus, exponent) })
    }

    /// Whether `signature`, in unpadded base64url, is of `message` under this key.
    pub(super) fn verifies(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, self.algorithm.library())
            .unwrap_or(false)
    }
}

/// Keys by their ids.
pub(in super::super) struct Keys(Vec<(Option<String>, VerifyingKey)>);

impl Keys {
    /// `None` when two have the same id, or two have none.
    pub(super) fn new(keys: Vec<(Option<String>, VerifyingKey)>) -> Option<Self> {
        let mut ids: Vec<_> = keys.iter().map(|(kid, _)| kid).collect();
        ids.sort_unstable();
        let is_unique = ids.windows(2).all(|pair| pair.first() != pair.last());
        is_unique.then_some(Self(keys))
    }

    /// The key of exactly this id. A token without one has the key without one, or the only one that there is.
    pub(super) fn find(&self, kid: Option<&str>) -> Option<&VerifyingKey> {
        let named = self.0.iter().find(|(id, _)| id.as_deref() == kid);
        let only = || if kid.is_none() && self.0.len() == 1 { self.0.first() } else { None };
        named.or_else(only).map(|(_, key)| key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
