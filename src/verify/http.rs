//! HTTP for targets that nobody vouches for: addresses are checked after the name is resolved and pinned to the
//! connection, redirects are followed by hand, and everything has an end (reliability 14).

use std::fmt;
use std::io::{self, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use url::Url;

use super::address;

/// Which addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Public ones.
    #[default]
    Public,
    /// Any: loopback, private and link-local too.
    Private,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The name resolves to an address that must not be asked.
    #[error("{0}")]
    Refused(String),
    /// Time ran out.
    #[error("no answer in time")]
    Slow,
    /// Anything else: no such host, no connection, a certificate that is not trusted.
    #[error("{0}")]
    Failed(String),
}

/// An answer to a request; its body is read as it comes.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Content-Type.
    pub content_type: Option<String>,
    /// Content-Encoding.
    pub encoding: Option<String>,
    /// Content-Length.
    pub length: Option<u64>,
    /// Location.
    pub location: Option<String>,
    /// The body.
    pub body: Box<dyn Read + Send>,
}

/// Looks names up: the system's resolver, or a test's.
pub type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// The client.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
}

impl Client {
    /// A client that gives each request, its body included, `timeout`.
    #[must_use]
    pub fn new(reach: Reach, timeout: Duration) -> Self {
        Self::with_lookup(reach, timeout, Arc::new(|name| Ok(name.to_socket_addrs()?.collect())))
    }

    /// The same with another way to look names up.
    #[must_use]
    pub fn with_lookup(reach: Reach, timeout: Duration, lookup: Lookup) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy would resolve names itself, and the check of addresses would check nothing.
            .proxy(None)
            .accept_encoding("identity")
            .user_agent(concat!("keyrung/", env!("CARGO_PKG_VERSION"), " (verify)"))
            .max_response_header_size(64 << 10)
            .timeout_global(Some(timeout))
            .timeout_connect(Some(timeout.min(Duration::from_secs(10))))
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), Checked { reach, lookup });
        Self { agent }
    }

    /// Asks for `url`, or for a part of it.
    ///
    /// # Errors
    /// See [`HttpError`]. A status that says no is an answer.
    pub fn get(&self, url: &Url, range: Option<(u64, u64)>, headers: &[(String, String)]) -> Result<Answer, HttpError> {
        let mut request = self.agent.get(url.as_str());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some((offset, length)) = range {
            let last = offset.saturating_add(length).saturating_sub(1);
            request = request.header("Range", format!("bytes={offset}-{last}"));
        }
        let response = request.call().map_err(failure)?;
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Answer {
            status: response.status().as_u16(),
            content_type: text("content-type"),
            encoding: text("content-encoding").filter(|encoding| encoding != "identity"),
            length: text("content-length").and_then(|length| length.parse().ok()),
            location: text("location"),
            body: Box::new(response.into_body().into_with_config().limit(u64::MAX).reader()),
        })
    }
}

fn failure(error: ureq::Error) -> HttpError {
    match error {
        ureq::Error::Timeout(_) => HttpError::Slow,
        ureq::Error::Io(error) => io_failure(&error),
        other => HttpError::Failed(other.to_string()),
    }
}

/// What an error while reading a body means.
#[must_use]
pub fn io_failure(error: &io::Error) -> HttpError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => HttpError::Slow,
        io::ErrorKind::PermissionDenied => HttpError::Refused(error.to_string()),
        _ if matches!(inner, Some(ureq::Error::Timeout(_))) => HttpError::Slow,
        _ => HttpError::Failed(error.to_string()),
    }
}

/// Resolves a name once for each connection and gives out only addresses that may be asked. What it gives out is what
/// the connection is made to, so a name that resolves differently the second time gains nothing.
struct Checked {
    reach: Reach,
    lookup: Lookup,
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checked({:?})", self.reach)
    }
}

impl Resolver for Checked {
    fn resolve(
        &self,
        uri: &ureq::http::Uri,
        _: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let authority = uri.authority().ok_or(ureq::Error::HostNotFound)?;
        let port = authority.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let name = format!("{}:{port}", authority.host());
        // The system's resolver has no time limit of its own.
        let (send, receive) = std::sync::mpsc::channel();
        let (lookup, asked) = (Arc::clone(&self.lookup), name.clone());
        std::thread::spawn(move || send.send(lookup(&asked)));
        let found = receive.recv_timeout(*timeout.after).map_err(|_| ureq::Error::Timeout(timeout.reason))?;
        let found = found.map_err(|_| ureq::Error::HostNotFound)?;
        let mut addresses = self.empty();
        for address in found.into_iter().take(16) {
            if self.reach == Reach::Public && !address::is_public(address.ip()) {
                let text = format!("{} is at {}, which is not a public address", authority.host(), address.ip());
                return Err(ureq::Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, text)));
            }
            addresses.push(address);
        }
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn answering() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            }
        });
        address
    }

    fn refused(result: Result<Answer, HttpError>) -> bool {
        matches!(result, Err(HttpError::Refused(_)))
    }

    #[test]
    fn private_addresses_are_asked_only_when_they_may_be() {
        let url = Url::parse(&format!("http://{}/", answering())).unwrap();
        let timeout = Duration::from_secs(5);
        assert!(refused(Client::new(Reach::Public, timeout).get(&url, None, &[])));
        let mut text = String::new();
        Client::new(Reach::Private, timeout).get(&url, None, &[]).unwrap().body.read_to_string(&mut text).unwrap();
        assert_eq!(text, "ok");
        for literal in ["http://[::1]/", "http://2130706433/", "http://0x7f.1/", "http://169.254.169.254/latest"] {
            let url = Url::parse(literal).unwrap();
            assert!(refused(Client::new(Reach::Public, timeout).get(&url, None, &[])), "{literal}");
        }
    }

    /// A name that is public when it is first looked up, and private afterwards.
    #[test]
    fn a_rebound_name_is_refused() {
        let (address, count) = (answering(), Arc::new(AtomicUsize::new(0)));
        let asked = Arc::clone(&count);
        let lookup: Lookup = Arc::new(move |_| {
            let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
            Ok(vec![if first { "203.0.114.1:9".parse().unwrap() } else { address }])
        });
        let client = Client::with_lookup(Reach::Public, Duration::from_millis(300), lookup);
        let url = Url::parse("http://rebind.test/").unwrap();
        // The first try goes to the public address, where nobody answers, and never on to another.
        assert!(!refused(client.get(&url, None, &[])));
        assert!(refused(client.get(&url, None, &[])));
        assert_eq!(count.load(Ordering::SeqCst), 2, "one lookup for each connection");
    }

    #[test]
    fn one_private_address_among_public_ones_is_enough_to_refuse() {
        let lookup: Lookup = Arc::new(|_| Ok(vec!["1.1.1.1:80".parse().unwrap(), "10.0.0.1:80".parse().unwrap()]));
        let client = Client::with_lookup(Reach::Public, Duration::from_secs(1), lookup);
        assert!(refused(client.get(&Url::parse("http://two.test/").unwrap(), None, &[])));
    }
}
