//! Who is answered where there is no authoriser: this machine, directly.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri, Version};

/// Why a request is not answered at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It came from another machine: the listener is not on loopback, which is never meant.
    ForeignAddress,
    /// The request was made to a name that is not this machine's own: DNS rebinding, or a tunnel.
    ForeignHost,
    /// The request carries a proxy's mark: whoever is behind it is not on this machine.
    Forwarded,
}

/// Refuses what did not come straight from this machine. Every request passes here first, health checks too.
pub(super) fn admit(request: &Parts, peer: IpAddr) -> Result<(), Refusal> {
    if !peer.to_canonical().is_loopback() {
        return Err(Refusal::ForeignAddress);
    }
    match request.version {
        // HTTP/2 has the host in the target, and a field only if the client adds one (RFC 9113 section 8.3.1).
        Version::HTTP_2 if request.uri.authority().is_some() && !request.headers.contains_key(HOST) => {
            check_target(&request.uri).and_then(|()| check_proxies(&request.headers))
        }
        _ => check(&request.uri, &request.headers),
    }
}

fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let one_local_host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(is_loopback_authority),
        _ => false,
    };
    if !one_local_host {
        return Err(Refusal::ForeignHost);
    }
    check_target(uri)?;
    check_proxies(headers)
}

/// An absolute request target names a host too, and RFC 9112 section 3.2.2 puts it above the field.
fn check_target(uri: &Uri) -> Result<(), Refusal> {
    match uri.authority() {
        Some(authority) if !is_loopback_authority(authority.as_str()) => Err(Refusal::ForeignHost),
        _ => Ok(()),
    }
}

fn check_proxies(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.keys().any(|name| is_forwarding_field(name.as_str())) {
        true => Err(Refusal::Forwarded),
        false => Ok(()),
    }
}

/// What the `Origin` field says about the page that makes the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller<'a> {
    /// No field: not a script of another origin.
    Unnamed,
    /// A page served from this machine; the field is to be echoed.
    Loopback(&'a HeaderValue),
    /// A page from elsewhere, or of an opaque origin.
    Foreign,
}

/// Reads the `Origin` field (Fetch standard, PLY-021).
pub(super) fn caller(headers: &HeaderMap) -> Caller<'_> {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => Caller::Unnamed,
        (Some(origin), None) if origin.to_str().is_ok_and(is_loopback_origin) => Caller::Loopback(origin),
        _ => Caller::Foreign,
    }
}

/// Names are as `http` gives them, in lower case.
fn is_forwarding_field(name: &str) -> bool {
    matches!(name, "forwarded" | "x-real-ip" | "via") || name.starts_with("x-forwarded-")
}

fn is_loopback_origin(origin: &str) -> bool {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).is_some_and(is_loopback_authority)
}

/// `host` or `host:port`. A user part is never there in a `Host` or `Origin` field, and refused by the host's own form.
fn is_loopback_authority(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, port)) => return v6.parse::<Ipv6Addr>().is_ok_and(|a| a.is_loopback()) && is_port(port),
        None => authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon)),
    };
    (host.eq_ignore_ascii_case("localhost") || host.parse::<Ipv4Addr>().is_ok_and(|a| a.is_loopback())) && is_port(port)
}

/// Nothing, or a colon and a port.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;
    use proptest::prelude::*;

    const LOCAL: [&str; 9] = [
        "localhost",
        "LocalHost:8484",
        "127.0.0.1",
        "127.0.0.1:8484",
        "127.255.0.9:1",
        "[::1]",
        "[::1]:8484",
        "[0:0:0:0:0:0:0:1]:80",
        "localhost:65535",
    ];
    const FOREIGN: [&str; 24] = [
        "",
        "example.com",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "127.0.0.1.nip.io:8484",
        "example.com:8484",
        "192.168.0.1",
        "0.0.0.0",
        "128.0.0.1",
        "[::]",
        "[::2]:8484",
        "::1",
        "[::1",
        "[::1]x",
        "127.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "user@127.0.0.1",
        "127.0.0.1@example.com",
        "localhost:",
        "localhost:99999",
        "localhost:80:80",
        "localhost example.com",
    ];

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn hosts() {
        let uri = Uri::from_static("/");
        for host in LOCAL {
            assert_eq!(check(&uri, &headers(&[("host", host)])), Ok(()), "{host:?}");
        }
        for host in FOREIGN {
            assert_eq!(check(&uri, &headers(&[("host", host)])), Err(Refusal::ForeignHost), "{host:?}");
        }
        assert_eq!(check(&uri, &headers(&[])), Err(Refusal::ForeignHost));
        let mut twice = headers(&[("host", "localhost")]);
        twice.append(HOST, HeaderValue::from_static("localhost"));
        assert_eq!(check(&uri, &twice), Err(Refusal::ForeignHost));
    }

    #[test]
    fn other_machines_are_refused_whatever_they_say() {
        let (request, ()) = axum::http::Request::builder().header(HOST, "localhost").body(()).unwrap().into_parts();
        for peer in ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(admit(&request, peer.parse().unwrap()), Ok(()), "{peer}");
        }
        for peer in ["192.0.2.1", "10.0.0.1", "0.0.0.0", "::", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert_eq!(admit(&request, peer.parse().unwrap()), Err(Refusal::ForeignAddress), "{peer}");
        }
    }

    #[test]
    fn an_absolute_target_is_a_host_too() {
        let local = headers(&[("host", "localhost")]);
        assert_eq!(check(&Uri::from_static("http://example.com/"), &local), Err(Refusal::ForeignHost));
        assert_eq!(check(&Uri::from_static("http://127.0.0.1:8484/"), &local), Ok(()));
    }

    #[test]
    fn proxies_are_refused() {
        for name in ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-made-up", "x-real-ip", "via"] {
            let request = headers(&[("host", "localhost"), (name, "127.0.0.1")]);
            assert_eq!(check(&Uri::from_static("/"), &request), Err(Refusal::Forwarded), "{name}");
        }
    }

    #[test]
    fn origins() {
        assert_eq!(caller(&headers(&[])), Caller::Unnamed);
        for host in LOCAL {
            for scheme in ["http", "https"] {
                let request = headers(&[("origin", &format!("{scheme}://{host}"))]);
                assert!(matches!(caller(&request), Caller::Loopback(_)), "{host:?}");
            }
        }
        for host in FOREIGN {
            assert_eq!(caller(&headers(&[("origin", &format!("http://{host}"))])), Caller::Foreign, "{host:?}");
        }
        for origin in ["null", "", "*", "localhost", "file://localhost", "http://localhost/", "http://http://localhost"]
        {
            assert_eq!(caller(&headers(&[("origin", origin)])), Caller::Foreign, "{origin:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_with_a_letter_is_local_only_as_localhost(host in "[a-z0-9.]{0,16}") {
            if host.bytes().any(|b| b.is_ascii_alphabetic()) {
                prop_assert_eq!(is_loopback_authority(&host), host == "localhost");
            }
        }
    }
}
