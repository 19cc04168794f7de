//! The way to a Temporal server.

use std::fmt;
use std::time::Duration;

use temporalio_client::errors::ClientConnectError;
use temporalio_client::tonic::{Code, Status};
use temporalio_client::{
    Client, ClientOptions, ClientTlsOptions, Connection, ConnectionOptions, RetryOptions, TlsOptions,
};
use url::Url;

use super::raw;

/// The port that Temporal servers listen on.
const PORT: u16 = 7233;

/// Where a server is and how to be let in.
pub struct Server {
    /// `HOST:PORT`, `HOST`, or a URL of http or https.
    pub address: String,
    /// The namespace.
    pub namespace: String,
    /// Temporal Cloud's API key. Turns TLS on.
    pub api_key: Option<String>,
    /// TLS, with the system's roots where no CA is given.
    pub tls: bool,
    /// Who signed the server's certificate (PEM).
    pub ca: Option<Vec<u8>>,
    /// This client's certificate and its key (PEM).
    pub client: Option<(Vec<u8>, Vec<u8>)>,
    /// The name in the server's certificate, where it is not the host.
    pub server_name: Option<String>,
    /// How long a connection may take.
    pub patience: Duration,
}

impl fmt::Debug for Server {
    // Two of the fields are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({}, {})", self.address, self.namespace)
    }
}

/// Why there is no way to a server.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address is none.
    #[error("{0} is no address of a Temporal server")]
    Address(String),
    /// Nobody answers.
    #[error("no Temporal server answers at {address}: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// What came instead.
        why: String,
    },
    /// The server refuses us.
    #[error("the Temporal server at {address} does not let us in: {why}")]
    Refused {
        /// Where.
        address: String,
        /// Its answer.
        why: String,
    },
    /// It has no such namespace.
    #[error("the Temporal server at {address} has no namespace {namespace}")]
    Namespace {
        /// Where.
        address: String,
        /// Which.
        namespace: String,
    },
    /// It cannot do what is needed.
    #[error("the Temporal server at {0} has no standalone activities: it is too old, or they are turned off")]
    TooOld(String),
    /// The system gives us no threads.
    #[error("cannot start threads: {0}")]
    Runtime(String),
}

impl Server {
    fn url(&self) -> Result<Url, LinkError> {
        let bad = || LinkError::Address(self.address.clone());
        let text = if self.address.contains("://") {
            self.address.clone()
        } else {
            let tls = self.tls || self.api_key.is_some() || self.client.is_some() || self.ca.is_some();
            format!("{}://{}", if tls { "https" } else { "http" }, self.address)
        };
        let mut url = Url::parse(&text).map_err(|_| bad())?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.path().len() < 2;
        if url.host_str().is_none() || !matches!(url.scheme(), "http" | "https") || !is_plain {
            return Err(bad());
        }
        if url.scheme() == "http" && (self.api_key.is_some() || self.client.is_some()) {
            // A key must not go over the wire in the clear.
            return Err(bad());
        }
        if url.port().is_none()
            && !text.trim_end_matches('/').ends_with(":443")
            && !text.trim_end_matches('/').ends_with(":80")
        {
            url.set_port(Some(PORT)).map_err(|()| bad())?;
        }
        Ok(url)
    }

    fn unreachable(&self, why: impl Into<String>) -> LinkError {
        LinkError::Unreachable { address: self.address.clone(), why: why.into() }
    }

    fn refusal(&self, status: &Status) -> LinkError {
        let (address, why) = (self.address.clone(), status.message().to_owned());
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => LinkError::Refused { address, why },
            Code::NotFound => LinkError::Namespace { address, namespace: self.namespace.clone() },
            _ => LinkError::Unreachable { address, why },
        }
    }
}

/// Connects to a server, and sees that it has the namespace and standalone activities.
pub async fn connect(server: &Server) -> Result<Client, LinkError> {
    let url = server.url()?;
    let tls = (url.scheme() == "https").then(|| {
        let client = server.client.clone().map(|(certificate, key)| {
            ClientTlsOptions::builder().client_cert(certificate).client_private_key(key).build()
        });
        TlsOptions::builder()
            .maybe_server_root_ca_cert(server.ca.clone())
            .maybe_domain(server.server_name.clone())
            .maybe_client_tls_options(client)
            .build()
    });
    let options = ConnectionOptions::new(url)
        .identity(identity())
        .maybe_tls_options(tls)
        .maybe_api_key(server.api_key.clone())
        .connect_timeout(server.patience)
        // A server that is started anew is back within a minute.
        .retry_options(RetryOptions::builder().max_elapsed_time(Some(Duration::from_secs(60))).max_retries(30).build())
        .build();
    let connecting = async {
        let connection = match Connection::connect(options).await {
            Ok(connection) => connection,
            Err(ClientConnectError::SystemInfoCallError(status)) => return Err(server.refusal(&status)),
            Err(error) => return Err(server.unreachable(deepest(&error))),
        };
        Client::new(connection, ClientOptions::new(server.namespace.clone()).build())
            .map_err(|error| server.unreachable(error.to_string()))
    };
    let late = |_| server.unreachable(format!("not within {} seconds", server.patience.as_secs()));
    let client = tokio::time::timeout(server.patience, connecting).await.map_err(late)??;
    match raw::standalone_activities(&client).await {
        Ok(true) => Ok(client),
        Ok(false) => Err(LinkError::TooOld(server.address.clone())),
        // Who may package need not be allowed to ask.
        Err(status) if status.code() == Code::PermissionDenied => Ok(client),
        Err(status) => Err(server.refusal(&status)),
    }
}

/// Who we are on the server's lists: `PID@HOST`, as other clients of Temporal.
fn identity() -> String {
    let system = rustix::system::uname();
    format!("{}@{}", std::process::id(), system.nodename().to_string_lossy())
}

/// The last cause of an error is the one that says something ("Connection refused").
fn deepest(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(address: &str, api_key: Option<&str>, tls: bool) -> Option<String> {
        let server = Server {
            address: address.to_owned(),
            namespace: "default".to_owned(),
            api_key: api_key.map(str::to_owned),
            tls,
            ca: None,
            client: None,
            server_name: None,
            patience: Duration::from_secs(1),
        };
        server.url().ok().map(|url| url.to_string())
    }

    #[test]
    fn addresses() {
        let is = |address, wanted: &str| assert_eq!(url(address, None, false).as_deref(), Some(wanted));
        is("127.0.0.1:7233", "http://127.0.0.1:7233/");
        is("temporal", "http://temporal:7233/");
        is("[::1]:99", "http://[::1]:99/");
        is("https://temporal.example", "https://temporal.example:7233/");
        is("https://temporal.example:443", "https://temporal.example/");
        assert_eq!(url("a.b.tmprl.cloud:7233", Some("k"), false).as_deref(), Some("https://a.b.tmprl.cloud:7233/"));
        assert_eq!(url("temporal:1", None, true).as_deref(), Some("https://temporal:1/"));
        for bad in ["", "ftp://x", "http://x/y", "http://me:pw@x", "a b", "x:99999"] {
            assert_eq!(url(bad, None, false), None, "{bad}");
        }
    }

    /// A key goes nowhere in the clear.
    #[test]
    fn an_api_key_needs_tls() {
        assert_eq!(url("http://temporal:7233", Some("k"), false), None);
        assert_eq!(url("http://temporal:7233", Some("k"), true), None);
    }

    #[test]
    fn secrets_are_not_shown() {
        let server = Server {
            address: "x".to_owned(),
            namespace: "n".to_owned(),
            api_key: Some("secret".to_owned()),
            tls: true,
            ca: None,
            client: Some((b"secret".to_vec(), b"secret".to_vec())),
            server_name: None,
            patience: Duration::ZERO,
        };
        assert_eq!(format!("{server:?}"), "Server(x, n)");
    }
}
