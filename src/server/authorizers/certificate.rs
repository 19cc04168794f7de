//! A client certificate that the TLS handshake verified: what of it authorisers compare.

use std::time::SystemTime;

use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::at;

/// The leaf of a verified chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    subject: String,
    dns: Vec<String>,
    uris: Vec<String>,
    sha256: [u8; 32],
    not_before: Option<SystemTime>,
    not_after: Option<SystemTime>,
}

/// The certificate is not one of RFC 5280.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client certificate is malformed")]
pub struct CertificateError;

impl ClientCertificate {
    /// Reads a certificate in DER. Nothing is verified here: that is the handshake's.
    ///
    /// # Errors
    /// When it is not a certificate, or has two lists of alternative names.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError)?;
        if !rest.is_empty() {
            return Err(CertificateError);
        }
        let (mut dns, mut uris) = (Vec::new(), Vec::new());
        let names = certificate.subject_alternative_name().map_err(|_| CertificateError)?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => dns.push(name.to_ascii_lowercase()),
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                _ => {}
            }
        }
        let time = |seconds: i64| u64::try_from(seconds).ok().and_then(at);
        Ok(Self {
            subject: certificate.subject().to_string(),
            dns,
            uris,
            sha256: Sha256::digest(der).into(),
            not_before: time(certificate.validity().not_before.timestamp()),
            not_after: time(certificate.validity().not_after.timestamp()),
        })
    }

    /// The subject's distinguished name, as text for logs. Nothing is decided by it.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// SHA-256 of the certificate.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Whether a subject alternative name is this DNS name.
    #[must_use]
    pub fn has_dns(&self, name: &str) -> bool {
        self.dns.iter().any(|one| one.eq_ignore_ascii_case(name))
    }

    /// Whether a subject alternative name is this URI.
    #[must_use]
    pub fn has_uri(&self, uri: &str) -> bool {
        self.uris.iter().any(|one| one == uri)
    }

    /// Whether its time has come and is not over: connections may live longer than certificates.
    #[must_use]
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        // A time before 1970, or beyond the clock, is none that can be checked.
        self.not_before.is_some_and(|from| from <= now) && self.not_after.is_some_and(|to| now <= to)
    }

    pub(super) fn expires(&self) -> Option<SystemTime> {
        self.not_after
    }
}
