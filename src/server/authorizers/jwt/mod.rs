//! JSON Web Tokens (RFC 7519, with the advice of RFC 8725): in `Authorization: Bearer`, in the query parameter `token`, or
//! in a cookie.

mod cache;
mod jwks;
mod key;
pub mod mint;
mod source;
mod token;

#[cfg(test)]
mod jwks_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use crate::limits;

use super::scope::Scope;
use super::settings::{Flaw, JwksSettings, JwtKeySettings, JwtSettings, check_cookie};
use super::{Asked, Carrier, Denied, Grant, Report, Verdict, at, credential, short_hash, unix};
use cache::{Cache, Verified};
pub use key::Algorithm;
use key::{Keys, VerifyingKey};
use source::KeySet;
use token::{Claims, Compact};

/// The query parameter that may carry a token (RFC 6750 section 2.3 has another, which OAuth servers claim).
pub const PARAMETER: &str = "token";

/// The authoriser.
pub(super) struct Jwt {
    issuer: String,
    audience: String,
    /// Seconds.
    maximum_life: u64,
    cookie: String,
    keys: Keys,
    set: Option<Arc<KeySet>>,
    cache: Cache,
}

/// When a token is good, in seconds since 1970.
pub(super) struct Times {
    expires: u64,
    not_before: Option<u64>,
    issued: Option<u64>,
}

impl Jwt {
    /// `kept` gives a key set of the same place that is in use already.
    pub(super) fn new(
        settings: JwtSettings,
        kept: &dyn Fn(&JwksSettings) -> Option<Arc<KeySet>>,
    ) -> Result<Self, Flaw> {
        check_cookie(&settings.cookie)?;
        for (field, text) in [("issuer", &settings.issuer), ("audience", &settings.audience)] {
            if text.is_empty() {
                return Err(Flaw::new(field, "is empty"));
            }
        }
        if settings.maximum_life.get().as_secs() == 0 {
            return Err(Flaw::new("maximum_life", "is less than a second"));
        }
        if settings.key.is_empty() && settings.jwks.is_none() {
            return Err(Flaw::new("key", "is missing: there is neither a key nor a jwks"));
        }
        let set = match settings.jwks {
            None => None,
            Some(wanted) => {
                let old = kept(&wanted);
                let set = KeySet::new(wanted)?;
                old.iter().for_each(|old| set.adopt(old));
                Some(Arc::new(set))
            }
        };
        Ok(Self {
            issuer: settings.issuer,
            audience: settings.audience,
            maximum_life: settings.maximum_life.get().as_secs(),
            cookie: settings.cookie,
            keys: read_keys(settings.key)?,
            set,
            cache: Cache::new(limits::TOKEN_CACHE),
        })
    }

    pub(super) fn key_set(&self, wanted: &JwksSettings) -> Option<Arc<KeySet>> {
        self.set.as_ref().filter(|set| set.is_of(wanted)).map(Arc::clone)
    }

    pub(super) fn report_to(&self, report: &Report) {
        if let Some(set) = &self.set {
            set.report_to(report);
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.set.as_ref().is_none_or(|set| set.is_ready())
    }

    pub(super) async fn refresh(&self) {
        if let Some(set) = &self.set {
            set.refresh().await;
        }
    }

    pub(super) async fn decide(&self, asked: &Asked<'_>, now: SystemTime) -> Verdict {
        let (token, carrier) = match self.find(asked) {
            Ok(Some(found)) => found,
            Ok(None) => return Verdict::Absent,
            Err(denied) => return denied.into(),
        };
        match self.verify(token, unix(now)).await {
            Ok(Some(grant)) => Verdict::Decided(Ok(Grant { carrier, ..grant })),
            Ok(None) => Verdict::Foreign,
            Err(denied) => denied.into(),
        }
    }

    /// The name of the cookie that may carry a token.
    pub(super) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// The token, from the one place that it may be in. A browser sends its cookies unasked: an old one must not stand in
    /// the way of a token that was shown on purpose, and what takes its place comes with the request that still carries it.
    fn find<'a>(&self, asked: &Asked<'a>) -> Result<Option<(&'a str, Carrier)>, Denied> {
        match (credential::bearer(asked.headers)?, credential::in_query(asked.query, PARAMETER)?) {
            (Some(_), Some(_)) => Err(Denied::Repeated),
            (Some(token), None) => Ok(Some((token, Carrier::Itself))),
            (None, Some(token)) => Ok(Some((token, Carrier::Query))),
            (None, None) => {
                let cookie = credential::in_cookies(asked.headers, &self.cookie)?;
                Ok(cookie.map(|token| (token, Carrier::Itself)))
            }
        }
    }

    /// The grant of a good token; `None` when it is of another issuer.
    async fn verify(&self, token: &str, now: u64) -> Result<Option<Grant>, Denied> {
        let hash = cache::hash(token);
        let current = match &self.set {
            // Of a set that was never had nothing is remembered: who needs a key of it waits for it, below, and nobody else.
            Some(set) if set.is_ready() => set.get().await,
            _ => None,
        };
        let generation = |current: &Option<(Arc<Keys>, u64)>| current.as_ref().map_or(0, |(_, generation)| *generation);
        if let Some(verified) = self.cache.get(&hash, generation(&current)) {
            return match verified.times.check(now, self.maximum_life) {
                Ok(()) => Ok(Some(verified.grant.clone())),
                Err(denied) => {
                    self.cache.forget(&hash);
                    Err(denied)
                }
            };
        }
        let token = Compact::parse(token)?;
        if token.claims.iss != self.issuer {
            return Ok(None);
        }
        let used = self.check_signature(&token, current).await?;
        let message = token.message;
        let mut verified = self.read(token.claims, now)?;
        let named = &mut verified.grant;
        if named.subject.is_none() && named.token_id.is_none() {
            // It is its own subject, by what was signed: an ECDSA signature has two spellings.
            named.token_id = Some(short_hash(&[message.as_bytes()]));
        }
        let verified = Arc::new(verified);
        let grant = verified.grant.clone();
        self.cache.put(hash, generation(&used), verified);
        Ok(Some(grant))
    }

    /// Verifies the signature with the key that the token names, and returns the set as it was used.
    async fn check_signature(
        &self,
        token: &Compact<'_>,
        mut current: Option<(Arc<Keys>, u64)>,
    ) -> Result<Option<(Arc<Keys>, u64)>, Denied> {
        let kid = token.header.kid.as_deref();
        if let Some(key) = self.keys.find(kid) {
            check_with(key, token)?;
            return Ok(current);
        }
        let Some(set) = &self.set else { return Err(Denied::JwtKey) };
        let is_known =
            |current: &Option<(Arc<Keys>, u64)>| current.as_ref().is_some_and(|(keys, _)| keys.find(kid).is_some());
        if !is_known(&current) {
            set.retry().await;
            current = set.get().await;
        }
        let Some((keys, _)) = &current else { return Err(Denied::JwksUnavailable) };
        check_with(keys.find(kid).ok_or(Denied::JwtKey)?, token)?;
        Ok(current)
    }

    /// Reads the claims of a token whose signature is good.
    fn read(&self, claims: Claims, now: u64) -> Result<Verified, Denied> {
        if !claims.aud.holds(&self.audience) {
            return Err(Denied::JwtAudience);
        }
        let times = Times { expires: claims.exp, not_before: claims.nbf, issued: claims.iat };
        times.check(now, self.maximum_life)?;
        let scope = Scope::bound(claims.contents, claims.kids).ok_or(Denied::JwtUnbound)?;
        let mut grant = Grant::new("jwt", scope, Carrier::Itself);
        grant.subject = claims.sub.map(|sub| short_hash(&[self.issuer.as_bytes(), sub.as_bytes()]));
        grant.token_id = claims.jti.filter(|jti| is_plain_id(jti));
        grant.expires = Some(at(claims.exp).ok_or(Denied::JwtClaims)?);
        Ok(Verified { times, grant })
    }
}

/// The pinned algorithm decides, and the token has to agree.
fn check_with(key: &VerifyingKey, token: &Compact<'_>) -> Result<(), Denied> {
    if token.header.alg != key.algorithm.name() {
        return Err(Denied::JwtAlgorithm);
    }
    if key.verifies(token.message, token.signature) { Ok(()) } else { Err(Denied::JwtSignature) }
}

impl Times {
    fn check(&self, now: u64, maximum_life: u64) -> Result<(), Denied> {
        let latest = now.saturating_add(limits::TOKEN_LEEWAY);
        if self.expires.saturating_add(limits::TOKEN_LEEWAY) <= now {
            return Err(Denied::JwtExpired);
        }
        if self.not_before.is_some_and(|time| time > latest) || self.issued.is_some_and(|time| time > latest) {
            return Err(Denied::JwtEarly);
        }
        let is_long = |from: u64| self.expires.saturating_sub(from) > maximum_life;
        // Without a time of issue it has to end soon enough from now on.
        if self.issued.is_some_and(is_long) || is_long(latest) { Err(Denied::JwtLife) } else { Ok(()) }
    }
}

fn read_keys(settings: Vec<JwtKeySettings>) -> Result<Keys, Flaw> {
    let read = settings.into_iter().enumerate().map(|(at, key)| {
        if key.kid.as_ref().is_some_and(|kid| kid.is_empty() || kid.len() > limits::TOKEN_KID_BYTES) {
            return Err(Flaw::new(format!("key[{at}].kid"), "is empty, or longer than any token may name"));
        }
        let flaw = |problem: String| Flaw::new(format!("key[{at}].file"), problem);
        Ok((key.kid, VerifyingKey::read(&key.file, key.algorithm).map_err(flaw)?))
    });
    Keys::new(read.collect::<Result<_, _>>()?).ok_or_else(|| Flaw::new("key", "two keys have the same kid, or none"))
}

/// An id that may stand in a log as it is.
fn is_plain_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':');
    (1..=64).contains(&id.len()) && id.bytes().all(is_plain)
}
