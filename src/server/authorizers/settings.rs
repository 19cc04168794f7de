//! What the configuration says of authorisers: `[[authorizer]]`, one table each. Every field is explained in the manual's page on
//! tokens.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Life;
use super::jwt::Algorithm;

/// One authoriser.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Settings {
    /// JSON Web Tokens (RFC 7519).
    Jwt(JwtSettings),
    /// Signed URLs and cookies.
    Signed(SignedSettings),
    /// Client certificates.
    Mtls(MtlsSettings),
    /// An endpoint that is asked for each key.
    Forward(ForwardSettings),
}

/// `type = "jwt"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSettings {
    /// What `iss` has to be.
    pub issuer: String,
    /// What `aud` has to be, or hold.
    pub audience: String,
    /// The longest that a token may live.
    #[serde(default = "day")]
    pub maximum_life: Life,
    /// The name of the cookie that may carry a token.
    #[serde(default = "jwt_cookie")]
    pub cookie: String,
    /// Keys in files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<JwtKeySettings>,
    /// A key set (RFC 7517).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<JwksSettings>,
}

/// `[[authorizer.key]]`: one key, and the one algorithm that it is good for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JwtKeySettings {
    /// What the token's `kid` has to be; a key without one is for tokens without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// A public key in PEM; for HS256 a secret.
    pub file: PathBuf,
}

/// `[authorizer.jwks]`: a key set in a file or at a URL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JwksSettings {
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The URL, of https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Certificates in PEM that the URL's server is checked against, in place of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The algorithms that its keys may be used with.
    pub algorithms: Vec<Algorithm>,
    /// How old the set may grow before it is read again.
    #[serde(default = "ten_minutes")]
    pub refresh: Life,
}

/// `type = "signed"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SignedSettings {
    /// How far ahead the end of a signed URL or cookie may be.
    #[serde(default = "day")]
    pub maximum_life: Life,
    /// The cookie's name.
    #[serde(default = "signed_cookie")]
    pub cookie: String,
    /// The secrets, two at most. The first signs what this server signs itself.
    pub secret: Vec<SignedSecretSettings>,
}

/// `[[authorizer.secret]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SignedSecretSettings {
    /// Its id, by which a signature names it.
    #[serde(default = "first")]
    pub id: String,
    /// The secret.
    pub file: PathBuf,
}

/// `type = "mtls"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MtlsSettings {
    /// Who may have what.
    pub client: Vec<MtlsClientSettings>,
}

/// `[[authorizer.client]]`: exactly one of `dns`, `uri` and `sha256`, and contents.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MtlsClientSettings {
    /// A DNS name among the certificate's subject alternative names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<String>,
    /// A URI among the certificate's subject alternative names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// SHA-256 of the certificate, 64 hex digits, with or without colons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The contents that it may have.
    pub contents: Contents,
}

/// Contents, or the word `all`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Contents {
    /// These content ids.
    These(Vec<String>),
    /// `"all"`.
    All(All),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    /// `"all"`.
    All,
}

/// `type = "forward"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardSettings {
    /// Where to ask, over http or https.
    pub url: String,
    /// Certificates in PEM that the server is checked against, in place of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// How long an answer may take, waiting for a turn included.
    #[serde(default = "two_seconds")]
    pub timeout: Life,
    /// How long an answer is used again for the same question; `0s` not at all.
    #[serde(default = "five_seconds")]
    pub cache: Life,
    /// Questions under way at once.
    #[serde(default = "sixty_four")]
    pub concurrency: usize,
}

fn day() -> Life {
    Life::seconds(86_400)
}

fn ten_minutes() -> Life {
    Life::seconds(600)
}

fn two_seconds() -> Life {
    Life::seconds(2)
}

fn five_seconds() -> Life {
    Life::seconds(5)
}

fn sixty_four() -> usize {
    64
}

fn first() -> String {
    "1".to_owned()
}

fn jwt_cookie() -> String {
    "keyrung_token".to_owned()
}

fn signed_cookie() -> String {
    super::signed::PARAMETER.to_owned()
}

impl Settings {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Jwt(_) => "jwt",
            Self::Signed(_) => "signed",
            Self::Mtls(_) => "mtls",
            Self::Forward(_) => "forward",
        }
    }

    /// Relative paths become relative to `folder`.
    pub(super) fn beneath(mut self, folder: &Path) -> Self {
        // An absolute path stays as it is.
        let put = |path: &mut PathBuf| *path = folder.join(&*path);
        match &mut self {
            Self::Jwt(jwt) => {
                jwt.key.iter_mut().for_each(|key| put(&mut key.file));
                let jwks = jwt.jwks.iter_mut();
                jwks.for_each(|jwks| jwks.file.iter_mut().chain(&mut jwks.ca).for_each(put));
            }
            Self::Signed(signed) => signed.secret.iter_mut().for_each(|secret| put(&mut secret.file)),
            Self::Mtls(_) => {}
            Self::Forward(forward) => forward.ca.iter_mut().for_each(put),
        }
        self
    }
}

/// Settings that authorisers cannot be made from.
#[derive(Debug, thiserror::Error)]
#[error("authorizer {number} ({kind}): {field}: {problem}")]
pub struct SettingsError {
    /// Which one, counted from 1.
    number: usize,
    kind: &'static str,
    field: String,
    problem: String,
}

impl SettingsError {
    /// The field of the authoriser's table.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

/// What is wrong with a field of one authoriser. The text may name a file, and never what is in it.
#[derive(Debug)]
pub(super) struct Flaw {
    field: String,
    problem: String,
}

impl Flaw {
    pub(super) fn new(field: impl Into<String>, problem: impl ToString) -> Self {
        Self { field: field.into(), problem: problem.to_string() }
    }

    pub(super) fn of(self, at: usize, kind: &'static str) -> SettingsError {
        SettingsError { number: at.saturating_add(1), kind, field: self.field, problem: self.problem }
    }
}

/// A cookie's name is a token (RFC 6265 section 4.1.1); a narrow form of it, which no reader takes in another way.
pub(super) fn check_cookie(name: &str) -> Result<(), Flaw> {
    let is_plain = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if is_plain { Ok(()) } else { Err(Flaw::new("cookie", "is not 1 to 64 of A-Z a-z 0-9 _ - .")) }
}
