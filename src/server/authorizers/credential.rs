//! Where credentials are on a request. A place that is there twice is refused: two readers might take different ones.

use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{HeaderMap, HeaderName};

use super::Denied;
use crate::limits;

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1). Another scheme is another kind of credential.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Denied> {
    let Some(value) = single(headers, &AUTHORIZATION)? else { return Ok(None) };
    let Some((scheme, rest)) = value.split_at_checked(7) else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Ok(None);
    }
    readable(rest).map(Some)
}

/// The value of a field that may be there once.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Denied> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value.as_bytes())),
        (Some(_), Some(_)) => Err(Denied::Repeated),
    }
}

/// The value of a query parameter, as it was sent: the names and values that are looked for here need no escapes.
pub(super) fn in_query<'a>(query: Option<&'a str>, name: &str) -> Result<Option<&'a str>, Denied> {
    let pairs = query.unwrap_or_default().split('&');
    let found = pairs.filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value.as_bytes())
    });
    only(found)
}

/// The value of a cookie (RFC 6265 section 4.2). HTTP/2 may bring the cookies in several fields (RFC 9113 section 8.2.3).
pub(super) fn in_cookies<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Denied> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    let found = pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                pair.split_at_checked(at).filter(|(key, _)| *key == name.as_bytes()).map(|(_, rest)| &rest[1..])
            }
            None => (pair == name.as_bytes()).then_some(&[][..]),
        }
    });
    only(found)
}

fn only<'a>(mut found: impl Iterator<Item = &'a [u8]>) -> Result<Option<&'a str>, Denied> {
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => readable(value).map(Some),
        (Some(_), Some(_)) => Err(Denied::Repeated),
    }
}

fn readable(value: &[u8]) -> Result<&str, Denied> {
    let is_readable = (1..=limits::TOKEN_BYTES).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    match std::str::from_utf8(value) {
        Ok(text) if is_readable => Ok(text),
        _ => Err(Denied::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(fields: &[(HeaderName, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn bearers() {
        let one = |value: &[u8]| bearer(&headers(&[(AUTHORIZATION, value)])).map(|token| token.map(str::to_owned));
        assert_eq!(one(b"Bearer a.b.c"), Ok(Some("a.b.c".into())));
        assert_eq!(one(b"bEARER a.b.c"), Ok(Some("a.b.c".into())));
        for other in [&b"Basic YTpi"[..], b"", b"Bearer", b"Bearera.b.c", b"Bearer\ta.b.c", b"Token a.b.c"] {
            assert_eq!(one(other), Ok(None), "{other:?}");
        }
        for bad in [&b"Bearer "[..], b"Bearer  a.b.c", b"Bearer a.b.c d", b"Bearer a.b.c,Bearer d", b"Bearer \xe4"] {
            assert_eq!(one(bad), Err(Denied::Unreadable), "{bad:?}");
        }
        let twice = headers(&[(AUTHORIZATION, b"Bearer a"), (AUTHORIZATION, b"Basic b")]);
        assert_eq!(bearer(&twice), Err(Denied::Repeated));
        let long = format!("Bearer {}", "a".repeat(limits::TOKEN_BYTES + 1));
        assert_eq!(one(long.as_bytes()), Err(Denied::Unreadable));
    }

    #[test]
    fn query_parameters() {
        assert_eq!(in_query(None, "token"), Ok(None));
        assert_eq!(in_query(Some("a=b&token=x.y&c"), "token"), Ok(Some("x.y")));
        assert_eq!(in_query(Some("token=x=y"), "token"), Ok(Some("x=y")));
        for absent in ["", "Token=x", "%74oken=x", "tokens=x", "xtoken=x", "a=token=x", "a;token=x", "token[]=x"] {
            assert_eq!(in_query(Some(absent), "token"), Ok(None), "{absent}");
        }
        for twice in ["token=x&token=x", "token=x&token", "token&token=", "token=x&a=b&token=y"] {
            assert_eq!(in_query(Some(twice), "token"), Err(Denied::Repeated), "{twice}");
        }
        for bad in ["token", "token=", "token=a b", "token=\u{e4}"] {
            assert_eq!(in_query(Some(bad), "token"), Err(Denied::Unreadable), "{bad}");
        }
    }

    #[test]
    fn cookies() {
        let one = |value: &[u8]| in_cookies(&headers(&[(COOKIE, value)]), "kt").map(|v| v.map(str::to_owned));
        assert_eq!(one(b"a=b; kt=x.y; c=d"), Ok(Some("x.y".into())));
        assert_eq!(one(b"kt=x=y"), Ok(Some("x=y".into())));
        // Other cookies are the site's own business, whatever they hold.
        assert_eq!(one(b"a=\xe4\xff;kt=x"), Ok(Some("x".into())));
        for absent in [&b""[..], b"KT=x", b"xkt=y", b"a=kt=x", b"kt2=x"] {
            assert_eq!(one(absent), Ok(None), "{absent:?}");
        }
        for twice in [&b"kt=x; kt=x"[..], b"kt=x;kt", b"kt=;kt=x"] {
            assert_eq!(one(twice), Err(Denied::Repeated), "{twice:?}");
        }
        for bad in [&b"kt"[..], b"kt=", b"kt=\xe4", b"kt=a b"] {
            assert_eq!(one(bad), Err(Denied::Unreadable), "{bad:?}");
        }
        let fields = headers(&[(COOKIE, b"a=b"), (COOKIE, b"kt=x")]);
        assert_eq!(in_cookies(&fields, "kt"), Ok(Some("x")));
        let twice = headers(&[(COOKIE, b"kt=x"), (COOKIE, b"kt=x")]);
        assert_eq!(in_cookies(&twice, "kt"), Err(Denied::Repeated));
    }
}
