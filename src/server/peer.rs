//! Who the client is: the connection's other end, or whom trusted proxies name.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;
use ipnet::IpNet;

use crate::server::config::TrustedHeader;
use crate::server::cookie::Transport;

/// The proxies that are believed, and where they say it.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    networks: Vec<IpNet>,
    header: TrustedHeader,
}

impl Proxies {
    pub(super) fn new(networks: Vec<IpNet>, header: TrustedHeader) -> Self {
        Self { networks, header }
    }

    /// Whether this is one of them.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// What lies between the client and the server: a trusted proxy in between says it, for the hop that it took.
    pub(super) fn transport(&self, peer: IpAddr, own: Transport, headers: &HeaderMap) -> Transport {
        if own == Transport::Tls || !self.trusts(peer.to_canonical()) {
            return own;
        }
        let last = |name: &str| headers.get_all(name).iter().next_back()?.to_str().ok()?.rsplit(',').next();
        let scheme = match self.header {
            TrustedHeader::XForwardedFor => last("x-forwarded-proto").map(str::trim),
            TrustedHeader::Forwarded => last("forwarded").and_then(|element| {
                let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
                pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("proto")).map(|(_, value)| value.trim())
            }),
        };
        if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) { Transport::Tls } else { own }
    }

    /// The client behind the connection from `peer`: the last hop, from the server's side, that is no trusted proxy.
    ///
    /// What stands further to the left was written by that client and is not looked at. Where a proxy has written what
    /// is no address, it stands for its client itself.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if self.networks.is_empty() || !self.trusts(client) {
            return client;
        }
        let name = match self.header {
            TrustedHeader::XForwardedFor => "x-forwarded-for",
            TrustedHeader::Forwarded => "forwarded",
        };
        // Several fields are one list, in their order (RFC 9110 section 5.3).
        let fields: Vec<_> = headers.get_all(name).iter().collect();
        for field in fields.into_iter().rev() {
            let Ok(text) = field.to_str() else { return client };
            for hop in text.rsplit(',') {
                let address = match self.header {
                    TrustedHeader::XForwardedFor => address(hop.trim()),
                    TrustedHeader::Forwarded => forwarded_for(hop),
                };
                let Some(address) = address else { return client };
                client = address.to_canonical();
                if !self.trusts(client) {
                    return client;
                }
            }
        }
        client
    }
}

/// The `for` of one element of `Forwarded` (RFC 7239 section 4). Quoted texts with commas come apart before this, and
/// then are no addresses, so nothing is believed that was not written by the proxy itself.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut nodes = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    });
    let (Some(node), None) = (nodes.next(), nodes.next()) else { return None };
    let node = match node.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => node,
    };
    address(node)
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let port = |rest: &str| rest.is_empty() || rest.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok());
    if let Some((v6, rest)) = text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        return v6.parse::<Ipv6Addr>().ok().filter(|_| port(rest)).map(IpAddr::V6);
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (v4, rest) = text.split_at(text.find(':')?);
    v4.parse().ok().filter(|_| port(rest)).map(IpAddr::V4)
}

/// What a limit counts by: an IPv4 address, or the /64 that one IPv6 customer has at least.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (!0 << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn proxies(header: TrustedHeader) -> Proxies {
        Proxies::new(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()], header)
    }

    fn client(proxies: &Proxies, peer: &str, name: &'static str, fields: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(name, HeaderValue::from_str(field).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_rightmost_hop_that_is_no_proxy_is_the_client() {
        let proxies = proxies(TrustedHeader::XForwardedFor);
        for (peer, fields, expected) in [
            // Nobody else is believed.
            ("192.0.2.9", &["203.0.113.1"][..], "192.0.2.9"),
            ("::ffff:192.0.2.9", &["203.0.113.1"], "192.0.2.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.1"], "203.0.113.1"),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.1"], "203.0.113.1"),
            // What the client wrote itself is to the left.
            ("10.0.0.1", &["127.0.0.1, 203.0.113.1"], "203.0.113.1"),
            ("10.0.0.1", &["127.0.0.1", "203.0.113.1"], "203.0.113.1"),
            ("10.0.0.1", &["127.0.0.1,10.9.9.9, 203.0.113.1 ,10.1.2.3", "10.0.0.2"], "203.0.113.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // No address: the proxy answers for it.
            ("10.0.0.1", &["203.0.113.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.1, "], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.1, 10.0.0.2, x, 10.0.0.3"], "10.0.0.3"),
            ("10.0.0.1", &["203.0.113.1:4711"], "203.0.113.1"),
            ("2001:db8:1::1", &["[2001:db8:2::7]:4711"], "2001:db8:2::7"),
            ("2001:db8:1::1", &["2001:db8:2::7"], "2001:db8:2::7"),
            ("10.0.0.1", &["203.0.113.1:99999"], "10.0.0.1"),
            ("10.0.0.1", &["[203.0.113.1]"], "10.0.0.1"),
            ("10.0.0.1", &["0xcb.0.113.1"], "10.0.0.1"),
        ] {
            assert_eq!(client(&proxies, peer, "x-forwarded-for", fields), expected, "{peer} {fields:?}");
        }
        assert_eq!(client(&proxies, "10.0.0.1", "forwarded", &["for=203.0.113.1"]), "10.0.0.1", "the other field");
        assert_eq!(client(&Proxies::default(), "10.0.0.1", "x-forwarded-for", &["203.0.113.1"]), "10.0.0.1");
    }

    #[test]
    fn forwarded() {
        let proxies = proxies(TrustedHeader::Forwarded);
        for (field, expected) in [
            ("for=203.0.113.1", "203.0.113.1"),
            ("For=\"203.0.113.1:80\";proto=https;by=10.0.0.1", "203.0.113.1"),
            ("for=127.0.0.1, proto=http; for=203.0.113.1", "203.0.113.1"),
            ("for=\"[2001:db8:2::7]:4711\"", "2001:db8:2::7"),
            ("for=203.0.113.1;for=203.0.113.2", "10.0.0.1"),
            ("for=_hidden", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
            ("for=\"203.0.113.1", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
            ("for=\"x, for=203.0.113.9\"", "10.0.0.1"),
        ] {
            assert_eq!(client(&proxies, "10.0.0.1", "forwarded", &[field]), expected, "{field}");
        }
        assert_eq!(client(&proxies, "10.0.0.1", "x-forwarded-for", &["203.0.113.1"]), "10.0.0.1", "the other field");
    }

    #[test]
    fn tls_in_front_is_a_proxys_word() {
        let of = |header, peer: &str, name: &'static str, field: &'static str| {
            let headers = HeaderMap::from_iter([(axum::http::HeaderName::from_static(name), field.parse().unwrap())]);
            proxies(header).transport(peer.parse().unwrap(), Transport::Plain, &headers)
        };
        let forwarded_for = TrustedHeader::XForwardedFor;
        assert_eq!(of(forwarded_for, "10.0.0.1", "x-forwarded-proto", "https"), Transport::Tls);
        assert_eq!(of(forwarded_for, "10.0.0.1", "x-forwarded-proto", "https, http"), Transport::Plain);
        assert_eq!(of(forwarded_for, "192.0.2.1", "x-forwarded-proto", "https"), Transport::Plain);
        assert_eq!(of(forwarded_for, "10.0.0.1", "forwarded", "for=a;proto=https"), Transport::Plain);
        let forwarded = TrustedHeader::Forwarded;
        assert_eq!(of(forwarded, "10.0.0.1", "forwarded", "proto=http, for=a;proto=https"), Transport::Tls);
        assert_eq!(of(forwarded, "10.0.0.1", "x-forwarded-proto", "https"), Transport::Plain);
    }

    #[test]
    fn addresses_are_counted_by_customer() {
        for (address, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ] {
            assert_eq!(network(address.parse().unwrap()).to_string(), expected);
        }
    }
}
