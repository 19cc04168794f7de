//! A token in compact form (RFC 7515 section 7.1), taken apart before anything in it is believed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};

use crate::keys::{ContentId, KeyId};
use crate::limits;

use super::super::Denied;

/// The three parts.
pub(super) struct Compact<'a> {
    /// What is signed: header, full stop, claims.
    pub(super) message: &'a str,
    pub(super) signature: &'a str,
    pub(super) header: Header,
    pub(super) claims: Claims,
}

/// The header's parameters that mean something here (RFC 7515 section 4.1). Others are ignored, as section 4 says.
#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    #[serde(default)]
    pub(super) kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default, deserialize_with = "there")]
    cty: bool,
    #[serde(default, deserialize_with = "there")]
    jku: bool,
    #[serde(default, deserialize_with = "there")]
    jwk: bool,
    #[serde(default, deserialize_with = "there")]
    x5u: bool,
    #[serde(default, deserialize_with = "there")]
    x5c: bool,
    #[serde(default, deserialize_with = "there")]
    crit: bool,
    #[serde(default, deserialize_with = "there")]
    b64: bool,
    #[serde(default, deserialize_with = "there")]
    enc: bool,
    #[serde(default, deserialize_with = "there")]
    zip: bool,
}

impl Header {
    /// A key by URL or by value, a nested or compressed token, an extension that must be understood, another kind of
    /// token (RFC 8725 section 3.11).
    fn asks_too_much(&self) -> bool {
        let unknown_type = self.typ.as_deref().is_some_and(|typ| {
            let short = typ.strip_prefix("application/").unwrap_or(typ);
            !short.eq_ignore_ascii_case("JWT") && !short.eq_ignore_ascii_case("at+jwt")
        });
        let asks = [self.cty, self.jku, self.jwk, self.x5u, self.x5c, self.crit, self.b64, self.enc, self.zip];
        unknown_type || asks.contains(&true)
    }
}

/// The claims that mean something here: RFC 7519 section 4.1, and what a token opens.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) aud: Audience,
    #[serde(deserialize_with = "date")]
    pub(super) exp: u64,
    #[serde(default, deserialize_with = "some_date")]
    pub(super) nbf: Option<u64>,
    #[serde(default, deserialize_with = "some_date")]
    pub(super) iat: Option<u64>,
    #[serde(default)]
    pub(super) sub: Option<String>,
    #[serde(default)]
    pub(super) jti: Option<String>,
    #[serde(default, deserialize_with = "ids")]
    pub(super) contents: Option<Vec<ContentId>>,
    #[serde(default, deserialize_with = "ids")]
    pub(super) kids: Option<Vec<KeyId>>,
}

/// One audience or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    pub(super) fn holds(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

impl<'a> Compact<'a> {
    /// Takes a token apart. Nothing is verified.
    pub(super) fn parse(token: &'a str) -> Result<Self, Denied> {
        let (message, signature) = token.rsplit_once('.').ok_or(Denied::JwtMalformed)?;
        let (header, claims) = message.split_once('.').ok_or(Denied::JwtMalformed)?;
        // One spelling of every part: another one of a verified token would be another name in the cache.
        if claims.contains('.') || signature.is_empty() || URL_SAFE_NO_PAD.decode(signature).is_err() {
            return Err(Denied::JwtMalformed);
        }
        let header: Header = json(header).ok_or(Denied::JwtMalformed)?;
        if header.asks_too_much() {
            return Err(Denied::JwtHeader);
        }
        if header.kid.as_ref().is_some_and(|kid| kid.len() > limits::TOKEN_KID_BYTES) {
            return Err(Denied::JwtKey);
        }
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| Denied::JwtMalformed)?;
        let claims = serde_json::from_slice(&claims)
            .map_err(|error| if error.is_data() { Denied::JwtClaims } else { Denied::JwtMalformed })?;
        Ok(Self { message, signature, header, claims })
    }
}

fn json<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Whether the parameter is there, whatever its value: `null` too.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// A NumericDate (RFC 7519 section 2): seconds, of which some issuers write fractions.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let fraction = || number.as_f64().filter(|seconds| (0.0..limits::TOKEN_LAST_SECOND as f64).contains(seconds));
    let seconds = number.as_u64().or_else(|| fraction().map(|seconds| seconds as u64));
    seconds.filter(|seconds| *seconds <= limits::TOKEN_LAST_SECOND).ok_or_else(|| D::Error::custom("not a date"))
}

fn some_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    date(deserializer).map(Some)
}

/// Ids, not too many. `null` is not a list.
fn ids<'de, D: Deserializer<'de>, T: std::str::FromStr>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.len() > limits::TOKEN_IDS {
        return Err(D::Error::custom("too many ids"));
    }
    let ids = texts.iter().map(|text| text.parse().map_err(|_| D::Error::custom("not an id")));
    ids.collect::<Result<_, _>>().map(Some)
}
