//! Key sets (RFC 7517 section 5): what of them may verify tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::limits;

use super::key::{Algorithm, Keys, VerifyingKey};

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// The parameters of RFC 7517 section 4 and RFC 7518 section 6 that matter here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

/// Reads a key set. Keys that are not for verifying signatures, symmetric and private ones, of other algorithms or too
/// small are passed over, as RFC 7517 section 5 has it for keys that are not understood.
///
/// # Errors
/// When it is no set, holds too many keys or none that can be used, or two of one id: which of the two a token means, would be
/// a matter of luck.
pub(super) fn read(json: &[u8], algorithms: &[Algorithm]) -> Result<Keys, &'static str> {
    let set: Set = serde_json::from_slice(json).map_err(|_| "is not a JSON Web Key Set")?;
    if set.keys.len() > limits::JWKS_KEYS {
        return Err("holds too many keys");
    }
    let read = set.keys.into_iter().filter_map(|value| {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let key = verifying(&jwk, algorithms)?;
        Some((jwk.kid, key))
    });
    let keys = Keys::new(read.collect()).ok_or("holds two keys of one id")?;
    if keys.is_empty() { Err("holds no key that can be used") } else { Ok(keys) }
}

fn verifying(jwk: &Jwk, algorithms: &[Algorithm]) -> Option<VerifyingKey> {
    let is_for_signatures = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
        && jwk.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    let is_named = jwk.kid.as_ref().is_none_or(|kid| kid.len() <= limits::TOKEN_KID_BYTES);
    if !is_for_signatures || !is_named || jwk.d.is_some() {
        return None;
    }
    let algorithm = algorithm(jwk, algorithms)?;
    let octets = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
    match jwk.kty.as_str() {
        "OKP" => VerifyingKey::ed25519(algorithm, &octets(&jwk.x)?),
        "EC" => {
            let (x, y) = (octets(&jwk.x)?, octets(&jwk.y)?);
            let is_whole = x.len() == 32 && y.len() == 32;
            is_whole.then(|| VerifyingKey::p256(algorithm, &[&[4], &x[..], &y].concat()))?
        }
        "RSA" => VerifyingKey::rsa(algorithm, &octets(&jwk.n)?, &octets(&jwk.e)?),
        // "oct" is a secret, and a key set is public.
        _ => None,
    }
}

/// The one algorithm of a key: the one that it names, or else the only one allowed that fits its type. An RSA key that names
/// none where both kinds of RSA signatures are allowed has none (RFC 8725 section 3.1).
fn algorithm(jwk: &Jwk, algorithms: &[Algorithm]) -> Option<Algorithm> {
    let fits = |algorithm: &&Algorithm| match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("OKP", Some("Ed25519")) => **algorithm == Algorithm::EdDSA,
        ("EC", Some("P-256")) => **algorithm == Algorithm::ES256,
        ("RSA", None) => matches!(algorithm, Algorithm::RS256 | Algorithm::PS256),
        _ => false,
    };
    let mut possible = algorithms.iter().filter(fits).filter(|algorithm| match jwk.alg.as_deref() {
        // RFC 9864 gives EdDSA on this curve a name of its own.
        Some("Ed25519") => **algorithm == Algorithm::EdDSA,
        Some(named) => algorithm.name() == named,
        None => true,
    });
    match (possible.next(), possible.next()) {
        (Some(only), None) => Some(*only),
        _ => None,
    }
}
