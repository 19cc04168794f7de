//! Who asks for what is not a key: playlists carry a viewer's token on, and the page lists what a viewer may have.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::{HeaderMap, Method, Uri};

use crate::limits::SERVER_RETRY_AFTER;
use crate::server::authorizers::{Asked, Authorizers, ClientCertificate, Grant};
use crate::server::cookie::NewCookie;
use crate::server::generation::{Gate, Generation};
use crate::server::limit::Wait;
use crate::server::respond::Problem;
use crate::server::route::Asking;
use crate::server::viewer::{Audience, Viewer, asks_for_cookie};

/// Whom the server knows by this request. Whoever has no good token is a stranger, whatever is wrong with it.
///
/// # Errors
/// When the client's address has asked too often, or nobody can say now who it is.
pub(super) async fn audience(asking: &Asking<'_>) -> Result<Audience, Problem> {
    let Gate::Authorizers(authorizers) = &asking.generation.gate else { return Ok(Audience::Everyone) };
    let client = asking.generation.proxies.client(asking.client.address, &asking.request.headers);
    asking.generation.rates.client(client).map_err(|Wait(wait)| {
        asking.running.metrics.limited("client");
        Problem::TooMany(wait)
    })?;
    let grant = match authorizers.decide(&asking.asked(client), SystemTime::now()).await {
        Ok(grant) => grant,
        // With a playlist that has no token in it the player would be refused for good.
        Err(denied) if denied.is_temporary() => return Err(Problem::Unavailable(SERVER_RETRY_AFTER)),
        Err(_) => return Ok(Audience::Stranger),
    };
    let request = asking.request;
    Ok(Audience::Known(Box::new(Known {
        generation: Arc::clone(asking.generation),
        grant,
        method: request.method.clone(),
        uri: request.uri.clone(),
        headers: request.headers.clone(),
        client,
        certificate: asking.client.certificate.clone(),
    })))
}

/// Whoever has not said who it is.
pub(super) fn of_nobody(generation: &Generation) -> Audience {
    match generation.gate {
        Gate::Local => Audience::Everyone,
        Gate::Authorizers(_) => Audience::Stranger,
    }
}

impl<'a> Asking<'a> {
    /// The request as authorisers see it.
    pub(super) fn asked(&self, client: IpAddr) -> Asked<'a> {
        Asked {
            method: &self.request.method,
            path: self.request.uri.path(),
            query: self.request.uri.query(),
            headers: &self.request.headers,
            client,
            certificate: self.client.certificate.as_deref(),
        }
    }
}

/// A viewer with a good token, and the request that it came with.
struct Known {
    generation: Arc<Generation>,
    grant: Grant,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    client: IpAddr,
    certificate: Option<Arc<ClientCertificate>>,
}

impl Known {
    fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            path: self.uri.path(),
            query: self.uri.query(),
            headers: &self.headers,
            client: self.client,
            certificate: self.certificate.as_deref(),
        }
    }

    fn authorizers(&self) -> Option<&Authorizers> {
        match &self.generation.gate {
            Gate::Local => None,
            Gate::Authorizers(authorizers) => Some(authorizers),
        }
    }
}

impl Viewer for Known {
    fn covers(&self, content_id: &str) -> bool {
        content_id.parse().is_ok_and(|content_id| self.grant.covers_content(&content_id))
    }

    fn query(&self, path: &str) -> Option<String> {
        // The cookie goes along from now on, and says the same.
        if asks_for_cookie(&self.uri) && self.cookie().is_some() {
            return None;
        }
        self.authorizers()?.key_query(&self.grant, &self.asked(), path)
    }

    fn cookie(&self) -> Option<NewCookie> {
        let (name, value) = self.authorizers()?.cookie(&self.grant, &self.asked())?;
        Some(NewCookie { name, value })
    }

    fn expires(&self) -> Option<SystemTime> {
        self.grant.expires
    }
}
