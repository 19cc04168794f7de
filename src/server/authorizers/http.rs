//! Asking another server: no redirects, no proxies, an end to every wait, and no more bytes than are wanted.

use std::path::Path;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, Url};

use super::settings::Flaw;
use crate::limits;
use crate::storage::durable::read_limited;

/// Which schemes a URL may be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schemes {
    Https,
    HttpToo,
}

/// Reads a URL of the settings.
pub(super) fn url(field: &str, text: &str, schemes: Schemes) -> Result<Url, Flaw> {
    let url: Url = text.parse().map_err(|_| Flaw::new(field, "is not a URL"))?;
    let fits = matches!((url.scheme(), schemes), ("https", _) | ("http", Schemes::HttpToo));
    if !fits {
        let wanted = if schemes == Schemes::Https { "is not an https URL" } else { "is not an http or https URL" };
        return Err(Flaw::new(field, wanted));
    }
    // What stands in a URL stands in logs.
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Flaw::new(field, "has a user or a password in it"));
    }
    Ok(url)
}

/// A client. `timeout` is for a whole request with its body.
pub(super) fn client(timeout: Duration, ca: Option<&Path>) -> Result<Client, Flaw> {
    let builder = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent(concat!("keyrung/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .connect_timeout(timeout);
    let builder = match ca {
        None => builder,
        Some(path) => {
            let bad = |problem: String| Flaw::new("ca", problem);
            let pem = read_limited(path, limits::TOKEN_FILE_BYTES).map_err(|error| bad(error.to_string()))?;
            let certificates = Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|all| !all.is_empty())
                .ok_or_else(|| bad(format!("{} holds no certificate in PEM", path.display())))?;
            builder.tls_certs_only(certificates)
        }
    };
    builder.build().map_err(|_| Flaw::new("url", "no client can be made for it"))
}

/// A URL as logs show it: what follows the `?` may be a secret of whoever is asked.
pub(super) fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// What went wrong, with its causes, on one line.
pub(super) fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut at = std::error::Error::source(&error);
    while let Some(cause) = at {
        text = format!("{text}: {cause}");
        at = cause.source();
    }
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The body, when it has no more than `limit` bytes.
pub(super) async fn body(mut response: Response, limit: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len().saturating_add(chunk.len()) > limit {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}
