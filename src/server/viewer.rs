//! Who asks for a file, as far as the answer depends on it.

use std::time::SystemTime;

use axum::http::header::HOST;
use axum::http::{HeaderMap, Method, Uri};
use url::Url;

use crate::server::cookie::{NewCookie, SameSite, Transport};

/// A viewer whose token was found good. `route` makes one of a grant and the request that it was given for.
pub(super) trait Viewer: Send + Sync {
    /// Whether the viewer may have this content, as its package names it.
    fn covers(&self, content_id: &str) -> bool;
    /// What the URI at `path`, of a key or a playlist of this server, has to carry so that the viewer is known there
    /// too; `None` when the viewer's credential comes along by itself or cannot be passed on.
    fn query(&self, path: &str) -> Option<String>;
    /// The cookie that says the same, where the viewer's token can be one.
    fn cookie(&self) -> Option<NewCookie>;
    /// When the token ends.
    fn expires(&self) -> Option<SystemTime>;
}

/// Whom the server knows.
pub(super) enum Audience {
    /// There is no authoriser: all are the same.
    Everyone,
    /// There is one, and it does not know who asks.
    Stranger,
    /// It does.
    Known(Box<dyn Viewer>),
}

impl Audience {
    /// Whether a package is to be listed for whoever asks.
    pub(super) fn sees(&self, content_id: &str) -> bool {
        match self {
            Self::Everyone => true,
            Self::Stranger => false,
            Self::Known(viewer) => viewer.covers(content_id),
        }
    }
}

/// Whether the query asks for a cookie: `?cookie=1`.
pub(super) fn asks_for_cookie(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|parameter| parameter == "cookie=1")
}

/// A request for a file of a package.
pub(super) struct Visit {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// Between the viewer and the server, proxies that are trusted among the latter.
    pub(super) transport: Transport,
    pub(super) audience: Audience,
    /// The `SameSite` of cookies that are asked for.
    pub(super) same_site: SameSite,
}

impl Visit {
    /// Where the viewer asked: what relative URIs are resolved against, and whose origin is this server's.
    pub(super) fn base(&self) -> Option<Url> {
        let scheme = match self.transport {
            Transport::Plain => "http",
            Transport::Tls => "https",
        };
        // RFC 9112 section 3.2.2: an authority in the target is above the field. HTTP/2 has it there alone.
        let host = || self.headers.get(HOST).and_then(|host| host.to_str().ok());
        let authority = self.uri.authority().map(|authority| authority.as_str()).or_else(host)?;
        let base = Url::parse(&format!("{scheme}://{authority}{}", self.uri.path())).ok()?;
        // What reads as more than an authority is none.
        (base.path() == self.uri.path() && base.username().is_empty() && base.password().is_none()).then_some(base)
    }

    /// Whether the query asks for a cookie.
    pub(super) fn asks_for_cookie(&self) -> bool {
        asks_for_cookie(&self.uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn base(uri: &str, host: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        }
        let visit = Visit {
            method: Method::GET,
            uri: uri.parse().unwrap(),
            headers,
            transport: Transport::Tls,
            audience: Audience::Everyone,
            same_site: SameSite::Lax,
        };
        visit.base().map(|base| base.to_string())
    }

    #[test]
    fn the_base_is_where_the_viewer_asked() {
        let expected = Some("https://a.example:8443/film/m.m3u8".to_owned());
        assert_eq!(base("/film/m.m3u8?token=x", Some("a.example:8443")), expected);
        assert_eq!(base("https://a.example:8443/film/m.m3u8", Some("b.example")), expected);
        for host in ["", "a.example/x", "user@a.example", "a.example?x", "a.example#x", "a b", "[::1"] {
            assert_eq!(base("/film/m.m3u8", Some(host)), None, "{host:?}");
        }
        assert_eq!(base("/film/m.m3u8", None), None);
        assert_eq!(base("/film/../m.m3u8", Some("a.example")), None, "it would be another path");
    }
}
