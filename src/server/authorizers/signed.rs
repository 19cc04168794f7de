//! Signed URLs and signed cookies: one value, in the query parameter or in the cookie.
//!
//! `v1.SECRET_ID.TERMS.MAC`, where TERMS is the unpadded base64url of five lines and MAC that of HMAC-SHA256 over all that
//! stands before its full stop. The manual's page on tokens has the lines and a vector.

use std::net::IpAddr;
use std::time::SystemTime;

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use ipnet::IpNet;
use sha2::Sha256;

use crate::keys::ContentId;
use crate::limits;

use super::path::PathPattern;
use super::scope::Scope;
use super::secret::Secret;
use super::settings::{Flaw, SignedSettings, check_cookie};
use super::{Asked, Carrier, Denied, Grant, Verdict, at, credential, short_hash, unix};

/// The query parameter's name, and the cookie's by default. CloudFront claims `Expires`, `Policy`, `Signature`,
/// `Key-Pair-Id` and `Hash-Algorithm` (TOK-02).
pub const PARAMETER: &str = "kr-signed";

const VERSION: &str = "v1";
/// The class of methods: GET and HEAD, which differ in nothing that is given away.
const READ: &str = "read";

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The paths.
    pub path: PathPattern,
    /// The end, in seconds since 1970.
    pub expires: u64,
    /// The content whose keys it opens. Without one it opens what the path names.
    pub content: Option<ContentId>,
    /// Where the viewer has to be.
    pub network: Option<IpNet>,
}

impl Terms {
    /// The five lines. No value can hold a line's end, so no two terms have the same lines.
    fn lines(&self) -> String {
        let content = self.content.as_ref().map(ContentId::as_str).unwrap_or_default();
        let network = self.network.map(|network| network.trunc().to_string()).unwrap_or_default();
        format!("{READ}\n{}\n{}\n{content}\n{network}", self.path, self.expires)
    }

    /// Reads the lines, in the one spelling that [`lines`](Self::lines) has.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let mut line = || lines.next();
        if line()? != READ {
            return None;
        }
        let path = line()?.parse().ok()?;
        let expires = line()?.parse().ok().filter(|seconds| *seconds <= limits::TOKEN_LAST_SECOND)?;
        let content = Some(line()?).filter(|text| !text.is_empty()).map(str::parse).transpose().ok()?;
        let network = Some(line()?).filter(|text| !text.is_empty()).map(str::parse).transpose().ok()?;
        let terms = Self { path, expires, content, network };
        (terms.lines() == text).then_some(terms)
    }

    /// Whether there is anything that the server would give for a signature under these terms.
    #[must_use]
    pub fn opens_something(&self) -> bool {
        self.scope().is_some()
    }

    /// What the terms open. A content that is named and another that the path is of open nothing.
    fn scope(&self) -> Option<Scope> {
        let content = match (&self.content, self.path.content()) {
            (Some(named), Some(of_path)) if *named != of_path => return None,
            (Some(content), _) => Some(content.clone()),
            (None, of_path) => of_path,
        };
        Scope::bound(content.map(|content| vec![content]), self.path.key().map(|key| vec![key]))
    }
}

/// A secret and the id by which signatures name it.
#[derive(Clone)]
pub struct Signer {
    id: String,
    secret: Secret,
}

/// The id of a secret is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a secret is 1 to 32 of A-Z a-z 0-9 _ -")]
pub struct SecretIdError;

impl Signer {
    /// Signs with a secret.
    ///
    /// # Errors
    /// When the id is not one.
    pub fn new(id: String, secret: Secret) -> Result<Self, SecretIdError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !(1..=32).contains(&id.len()) || !id.bytes().all(is_plain) {
            return Err(SecretIdError);
        }
        Ok(Self { id, secret })
    }

    /// The value of the parameter or the cookie.
    #[must_use]
    pub fn sign(&self, terms: &Terms) -> String {
        let signed = format!("{VERSION}.{}.{}", self.id, URL_SAFE_NO_PAD.encode(terms.lines()));
        let mac = self.mac(&signed).map(|mac| URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
        // HMAC takes keys of any length, so there is always one.
        format!("{signed}.{}", mac.unwrap_or_default())
    }

    fn mac(&self, signed: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.expose()).ok()?;
        mac.update(signed.as_bytes());
        Some(mac)
    }

    /// Compares in constant time.
    fn verifies(&self, signed: &str, mac: &[u8]) -> bool {
        self.mac(signed).is_some_and(|expected| expected.verify_slice(mac).is_ok())
    }
}

/// The authoriser.
pub(super) struct Signed {
    signers: Vec<Signer>,
    cookie: String,
    /// Seconds.
    maximum_life: u64,
}

impl Signed {
    pub(super) fn new(settings: SignedSettings) -> Result<Self, Flaw> {
        check_cookie(&settings.cookie)?;
        if settings.maximum_life.get().as_secs() == 0 {
            return Err(Flaw::new("maximum_life", "is less than a second"));
        }
        if !(1..=2).contains(&settings.secret.len()) {
            return Err(Flaw::new("secret", "lists one secret, or two while the first takes the place of the second"));
        }
        let mut signers: Vec<Signer> = Vec::new();
        for (at, one) in settings.secret.into_iter().enumerate() {
            let flaw =
                |field: &str, problem: &dyn std::fmt::Display| Flaw::new(format!("secret[{at}].{field}"), problem);
            let secret = Secret::read(&one.file).map_err(|error| flaw("file", &error))?;
            if signers.iter().any(|other| other.id == one.id) {
                return Err(flaw("id", &"is the other secret's too"));
            }
            signers.push(Signer::new(one.id, secret).map_err(|error| flaw("id", &error))?);
        }
        Ok(Self { signers, cookie: settings.cookie, maximum_life: settings.maximum_life.get().as_secs() })
    }

    pub(super) fn decide(&self, asked: &Asked<'_>, now: SystemTime) -> Verdict {
        let value = match self.find(asked) {
            Ok(Some(value)) => value,
            Ok(None) => return Verdict::Absent,
            Err(denied) => return denied.into(),
        };
        Verdict::Decided(self.verify(value, asked, unix(now)))
    }

    /// The parameter's value, or else the cookie's: where CloudFront finds both, the URL wins too (TOK-02). Then nothing is
    /// asked of the cookies: those for `/*` and for `/film/*` meet below `/film/`.
    fn find<'a>(&self, asked: &Asked<'a>) -> Result<Option<&'a str>, Denied> {
        match credential::in_query(asked.query, PARAMETER)? {
            Some(value) => Ok(Some(value)),
            None => credential::in_cookies(asked.headers, &self.cookie),
        }
    }

    fn verify(&self, value: &str, asked: &Asked<'_>, now: u64) -> Result<Grant, Denied> {
        let (signed, mac) = value.rsplit_once('.').ok_or(Denied::SignedMalformed)?;
        let mut parts = signed.split('.');
        let (version, id, lines, more) = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(VERSION), Some(id), Some(lines), None) = (version, id, lines, more) else {
            return Err(Denied::SignedMalformed);
        };
        // Only the one spelling: no padding, no stray bits at the end.
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| Denied::SignedMalformed)?;
        let signer = self.signers.iter().find(|signer| signer.id == id).ok_or(Denied::SignedSecret)?;
        if !signer.verifies(signed, &mac) {
            return Err(Denied::SignedSignature);
        }
        let lines = URL_SAFE_NO_PAD.decode(lines).ok().and_then(|lines| String::from_utf8(lines).ok());
        let terms = lines.and_then(|lines| Terms::parse(&lines)).ok_or(Denied::SignedMalformed)?;
        let mut grant = self.check(terms, asked, now)?;
        grant.token_id = Some(short_hash(&[value.as_bytes()]));
        Ok(grant)
    }

    /// Whether a request is within terms whose signature is good.
    fn check(&self, terms: Terms, asked: &Asked<'_>, now: u64) -> Result<Grant, Denied> {
        if terms.expires <= now {
            return Err(Denied::SignedExpired);
        }
        // The clock of the one who signed may be a little ahead.
        let farthest = now.saturating_add(self.maximum_life).saturating_add(limits::TOKEN_LEEWAY);
        if terms.expires > farthest {
            return Err(Denied::SignedLife);
        }
        if !matches!(*asked.method, Method::GET | Method::HEAD) {
            return Err(Denied::SignedMethod);
        }
        if !terms.path.holds(asked.path) {
            return Err(Denied::SignedPath);
        }
        // A dual-stack socket has IPv4 addresses in IPv6's clothes.
        if terms.network.is_some_and(|network| !network.contains(&asked.client.to_canonical())) {
            return Err(Denied::SignedNetwork);
        }
        let scope = terms.scope().ok_or(Denied::SignedUnbound)?;
        let expires = at(terms.expires).ok_or(Denied::SignedMalformed)?;
        let mut grant = Grant::new("signed", scope, Carrier::Signed(terms));
        grant.expires = Some(expires);
        Ok(grant)
    }

    /// Parameters for another path, with the same end, network and content. `None` when the cookie that came reaches the
    /// path by itself, or the terms bind no content: a signature for one key is not one for another.
    pub(super) fn pass_on(&self, terms: &Terms, asked: &Asked<'_>, path: &str) -> Option<String> {
        let is_cookie = credential::in_query(asked.query, PARAMETER).ok()?.is_none();
        if is_cookie && terms.path.holds(path) {
            return None;
        }
        let path: PathPattern = path.parse().ok().filter(|pattern| matches!(pattern, PathPattern::Exact(_)))?;
        let content = terms.content.clone().or_else(|| terms.path.content())?;
        let terms = Terms { path, content: Some(content), ..terms.clone() };
        Some(format!("{PARAMETER}={}", self.signers.first()?.sign(&terms)))
    }
}

/// The network of an address that is likely to be one household's or company's: /24 of IPv4, /56 of IPv6.
#[must_use]
pub fn network_of(address: IpAddr) -> IpNet {
    let length = if address.is_ipv4() { 24 } else { 56 };
    IpNet::new(address, length).unwrap_or_else(|_| address.into()).trunc()
}
