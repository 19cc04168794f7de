//! Pages of other origins (Fetch standard, PLY-021): who may read an answer from a script.

use std::fmt;
use std::str::FromStr;

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN,
};
use axum::http::{HeaderMap, HeaderValue};
use url::Url;

use crate::server::local;
use crate::server::respond::METHODS;

/// An origin as browsers write it (RFC 6454 section 6.2): scheme, host, and a port that is not the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AllowedOrigin(String);

/// The text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no origin: one is http:// or https://, a host in lower case and, where it is not the usual one, a port"
)]
pub struct OriginError(String);

impl FromStr for AllowedOrigin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let origin = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https")).map(|u| u.origin());
        // Only the spelling that browsers send: it is compared byte for byte.
        match origin {
            Some(origin) if origin.ascii_serialization() == text => Ok(Self(text.to_owned())),
            _ => Err(OriginError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for AllowedOrigin {
    type Error = OriginError;

    fn try_from(text: String) -> Result<Self, OriginError> {
        text.parse()
    }
}

impl From<AllowedOrigin> for String {
    fn from(origin: AllowedOrigin) -> Self {
        origin.0
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which pages may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cors {
    /// Those of this machine, without credentials: there are none.
    Loopback,
    /// Those of these origins, with credentials.
    Listed(Vec<AllowedOrigin>),
}

/// The page that makes a request, if its answer may be read by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reader {
    origin: Option<HeaderValue>,
    credentials: bool,
}

const CREDENTIALS: HeaderValue = HeaderValue::from_static("true");
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Accept-Ranges, Content-Length, Content-Range, ETag, Retry-After, X-Request-Id");
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");
const LOOPBACK_FIELDS: HeaderValue = HeaderValue::from_static("Range");
const LISTED_FIELDS: HeaderValue = HeaderValue::from_static("Authorization, Range");

impl Cors {
    /// Who reads the answer to a request with these fields.
    pub(super) fn reader(&self, headers: &HeaderMap) -> Reader {
        match self {
            Self::Loopback => match local::caller(headers) {
                local::Caller::Loopback(origin) => Reader { origin: Some(origin.clone()), credentials: false },
                local::Caller::Unnamed | local::Caller::Foreign => Reader::NONE,
            },
            Self::Listed(listed) => {
                let mut origins = headers.get_all(ORIGIN).iter();
                match (origins.next(), origins.next()) {
                    (Some(origin), None) if listed.iter().any(|o| o.0.as_bytes() == origin.as_bytes()) => {
                        Reader { origin: Some(origin.clone()), credentials: true }
                    }
                    _ => Reader::NONE,
                }
            }
        }
    }
}

impl Reader {
    /// Nobody but whoever has sent the request.
    pub(super) const NONE: Self = Self { origin: None, credentials: false };

    /// What lets the page read an answer.
    pub(super) fn allow(&self, headers: &mut HeaderMap) {
        let Some(origin) = &self.origin else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, CREDENTIALS);
        }
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }

    /// What lets the page ask, for a day.
    pub(super) fn allow_preflight(&self, headers: &mut HeaderMap) {
        if self.origin.is_none() {
            return;
        }
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, if self.credentials { LISTED_FIELDS } else { LOOPBACK_FIELDS });
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_spelling_of_browsers_is_an_origin() {
        for text in ["https://example.com", "http://localhost:3000", "https://xn--bcher-kva.example", "http://[::1]:81"]
        {
            assert_eq!(text.parse::<AllowedOrigin>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "*",
            "null",
            "example.com",
            "https://",
            "https://example.com/",
            "https://Example.com",
            "https://example.com:443",
            "http://example.com:80",
            "https://example.com/path",
            "https://u@example.com",
            "https://example.com?x",
            "ftp://example.com",
            "file://",
            "https://bücher.example",
            " https://example.com",
            "https://*.example.com/",
        ] {
            assert_eq!(text.parse::<AllowedOrigin>(), Err(OriginError(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn an_origin_is_listed_byte_for_byte_or_not() {
        let cors = Cors::Listed(vec!["https://example.com".parse().unwrap(), "http://localhost:3000".parse().unwrap()]);
        let reader = |origins: &[&str]| {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            cors.reader(&headers)
        };
        let mut fields = HeaderMap::new();
        reader(&["https://example.com"]).allow(&mut fields);
        assert_eq!(fields[ACCESS_CONTROL_ALLOW_ORIGIN], "https://example.com");
        assert_eq!(fields[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        for other in [
            &["http://example.com"][..],
            &["https://example.com."],
            &["https://example.com:443"],
            &["https://EXAMPLE.com"],
            &["https://example.com.evil.example"],
            &["https://evil.example/https://example.com"],
            &["https://sub.example.com"],
            &["null"],
            &["*"],
            &[""],
            &[],
            &["https://example.com", "https://example.com"],
            &["https://example.com, https://evil.example"],
            &["http://127.0.0.1:3000"],
        ] {
            assert_eq!(reader(other), Reader::NONE, "{other:?}");
        }
        let mut fields = HeaderMap::new();
        Reader::NONE.allow(&mut fields);
        Reader::NONE.allow_preflight(&mut fields);
        assert!(fields.is_empty());
    }
}
