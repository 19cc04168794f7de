//! The cookie that carries a viewer's token where no header and no query can (RFC 6265).

use std::time::{Duration, SystemTime};

use axum::http::HeaderValue;

/// Whether other sites' pages may have the cookie sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// Pages of the same site, and links to it.
    #[default]
    Lax,
    /// Pages of the same site alone.
    Strict,
    /// All pages: for players on another site. Browsers take it over TLS alone; without TLS it is `Lax`.
    None,
}

/// What lies between the viewer and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// HTTP in clear.
    Plain,
    /// TLS, of the server itself or of a proxy that is trusted.
    Tls,
}

/// A name and a value to be set, such as an authoriser reads them again.
#[derive(Clone, PartialEq, Eq)]
pub struct NewCookie {
    /// The name: an RFC 9110 token.
    pub name: String,
    /// The value: the token, unquoted.
    pub value: String,
}

/// The `Set-Cookie` field: for scripts it is not there, it goes to every path of the server, and it ends with the token.
/// `None` when the token has ended, has no end, or holds what a cookie cannot (RFC 6265 section 4.1.1).
pub(super) fn field(
    cookie: &NewCookie,
    same_site: SameSite,
    transport: Transport,
    expires: Option<SystemTime>,
    now: SystemTime,
) -> Option<HeaderValue> {
    let left = expires?.duration_since(now).ok().filter(|left| *left >= Duration::from_secs(1))?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_octet = |byte: u8| matches!(byte, 0x21 | 0x23..=0x2B | 0x2D..=0x3A | 0x3C..=0x5B | 0x5D..=0x7E);
    let named = !cookie.name.is_empty() && cookie.name.bytes().all(is_token);
    if !named || cookie.value.is_empty() || !cookie.value.bytes().all(is_octet) {
        return None;
    }
    let (same_site, secure) = match (same_site, transport) {
        (SameSite::Strict, Transport::Plain) => ("Strict", ""),
        (SameSite::Strict, Transport::Tls) => ("Strict", "; Secure"),
        (SameSite::Lax | SameSite::None, Transport::Plain) => ("Lax", ""),
        (SameSite::Lax, Transport::Tls) => ("Lax", "; Secure"),
        (SameSite::None, Transport::Tls) => ("None", "; Secure"),
    };
    let NewCookie { name, value } = cookie;
    let text = format!("{name}={value}; Path=/; Max-Age={}; HttpOnly; SameSite={same_site}{secure}", left.as_secs());
    let mut field = HeaderValue::try_from(text).ok()?;
    field.set_sensitive(true);
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str, same_site: SameSite, transport: Transport, seconds: i64) -> Option<String> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let expires = SystemTime::UNIX_EPOCH + Duration::from_secs((1_000_000 + seconds) as u64);
        let cookie = NewCookie { name: name.to_owned(), value: value.to_owned() };
        field(&cookie, same_site, transport, Some(expires), now).map(|field| field.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_cookie_ends_with_its_token() {
        let of = |same_site, transport| of("keyrung", "a.b-c_d", same_site, transport, 3600).unwrap();
        let start = "keyrung=a.b-c_d; Path=/; Max-Age=3600; HttpOnly; SameSite=";
        assert_eq!(of(SameSite::Lax, Transport::Plain), format!("{start}Lax"));
        assert_eq!(of(SameSite::Lax, Transport::Tls), format!("{start}Lax; Secure"));
        assert_eq!(of(SameSite::Strict, Transport::Tls), format!("{start}Strict; Secure"));
        assert_eq!(of(SameSite::None, Transport::Tls), format!("{start}None; Secure"));
        assert_eq!(of(SameSite::None, Transport::Plain), format!("{start}Lax"));
    }

    #[test]
    fn what_cannot_be_a_cookie_is_none() {
        for (name, value, seconds) in [
            ("k", "v", 0),
            ("k", "v", -5),
            ("", "v", 9),
            ("k", "", 9),
            ("k=", "v", 9),
            ("k;", "v", 9),
            ("k", "a; Path=/x", 9),
            ("k", "a,b", 9),
            ("k", "a\"b", 9),
            ("k", "a b", 9),
            ("k", "a\r\nSet-Cookie: b=c", 9),
            ("k", "é", 9),
        ] {
            assert_eq!(of(name, value, SameSite::Lax, Transport::Tls, seconds), None, "{name:?} {value:?}");
        }
        let cookie = NewCookie { name: "k".into(), value: "v".into() };
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(field(&cookie, SameSite::Lax, Transport::Tls, None, now), None, "a token without an end");
    }
}
