//! Which request is answered with what.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::http::header::{CONNECTION, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, StatusCode, Version};
use axum::response::Response;
use tokio::time::timeout;

use crate::limits::SERVER_RETRY_AFTER;
use crate::server::audience::{self, audience};
use crate::server::audit::RequestId;
use crate::server::connection::Client;
use crate::server::cors::Reader;
use crate::server::generation::{Gate, Generation};
use crate::server::local::{self, Refusal};
use crate::server::place::Place;
use crate::server::respond::{self, Problem, Vary};
use crate::server::running::Running;
use crate::server::viewer::Visit;
use crate::server::{key, origin, player};

/// A request, and what it is answered from.
pub(super) struct Asking<'a> {
    pub(super) running: &'a Running,
    pub(super) generation: &'a Arc<Generation>,
    pub(super) client: &'a Client,
    pub(super) request: &'a Parts,
    pub(super) id: RequestId,
    /// When its head was there.
    pub(super) begun: Instant,
}

/// What is asked for, as far as it matters for how it is answered. The names are labels of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route<'a> {
    Page,
    /// The name of a part of the page.
    Asset(&'a str),
    Packages,
    Livez,
    Readyz,
    /// The key id as it was sent.
    Key(&'a str),
    File,
}

impl<'a> Route<'a> {
    /// `path` is compared as it was sent: nothing is decoded that could turn into another path.
    fn of(path: &'a str) -> Self {
        match path {
            "/" => Self::Page,
            "/livez" => Self::Livez,
            "/readyz" => Self::Readyz,
            "/v1/packages" => Self::Packages,
            _ => match (path.strip_prefix("/v1/keys/"), path.strip_prefix("/v1/player/")) {
                (Some(name), _) if !name.is_empty() && !name.contains('/') => Self::Key(name),
                (_, Some(name)) => Self::Asset(name),
                _ => Self::File,
            },
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Page | Self::Asset(_) => "page",
            Self::Packages => "packages",
            Self::Livez => "livez",
            Self::Readyz => "readyz",
            Self::Key(_) => "key",
            Self::File => "file",
        }
    }
}

/// Answers a request: refuses what is not for this server, and gives every answer the fields that all carry.
pub(super) async fn answer<B: HttpBody>(running: &Running, client: &Client, request: Request<B>) -> Response {
    let begun = Instant::now();
    let generation = running.generation();
    let (request, body) = request.into_parts();
    let id = running.next_request();
    let asking = Asking { running, generation: &generation, client, request: &request, id, begun };
    let route = Route::of(request.uri.path());
    let (reader, mut response) = match stranger(&asking) {
        Some(problem) => (Reader::NONE, problem.response()),
        None => {
            let reader = generation.cors.reader(&request.headers);
            let response = match unfit(&asking, body.is_end_stream()) {
                Some(problem) => problem.response(),
                None if request.method == Method::OPTIONS => respond::options(&reader),
                // Keys watch their time themselves: their log tells of it.
                None if matches!(route, Route::Key(_)) => dispatch(&asking, route).await,
                None => match timeout(generation.limits.request_timeout, dispatch(&asking, route)).await {
                    Ok(response) => response,
                    Err(_) => Problem::Unavailable(SERVER_RETRY_AFTER).response(),
                },
            };
            (reader, response)
        }
    };
    let vary = if matches!(route, Route::Key(_)) { Vary::Viewer } else { Vary::Origin };
    respond::finish(&reader, vary, client.transport, id, &mut response);
    if running.is_draining() && request.version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if request.method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    running.metrics.answered(route.label(), response.status().as_u16());
    response
}

/// Without an authoriser, whoever is not on this machine.
fn stranger(asking: &Asking<'_>) -> Option<Problem> {
    match asking.generation.gate {
        Gate::Authorizers(_) => None,
        Gate::Local => local::admit(asking.request, asking.client.address).err().map(|refusal| match refusal {
            Refusal::ForeignAddress | Refusal::ForeignHost => Problem::ForeignHost,
            Refusal::Forwarded => Problem::Forwarded,
        }),
    }
}

/// What is wrong with a request, whatever it is for.
fn unfit(asking: &Asking<'_>, is_bodiless: bool) -> Option<Problem> {
    let request = asking.request;
    let uri_bytes = request.uri.path_and_query().map_or(0, |text| text.as_str().len());
    let mut hosts = request.headers.get_all(HOST).iter();
    let has_one_host = hosts.next().is_some() && hosts.next().is_none();
    if request.version == Version::HTTP_11 && !has_one_host {
        Some(Problem::Host)
    } else if !is_bodiless {
        Some(Problem::BodyRefused)
    } else if uri_bytes > asking.generation.limits.uri_bytes {
        Some(Problem::UriTooLong)
    } else if !matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        Some(Problem::Method)
    } else {
        None
    }
}

async fn dispatch(asking: &Asking<'_>, route: Route<'_>) -> Response {
    match route {
        Route::Key(name) => key::answer(asking, name).await,
        Route::Livez => health("alive\n"),
        Route::Readyz if asking.running.is_ready().await => health("ready\n"),
        Route::Readyz => Problem::NotReady.response(),
        Route::Page => player::page(&asking.request.headers),
        Route::Asset(name) => player::asset(name, &asking.request.headers),
        Route::Packages => packages(asking).await,
        Route::File => file(asking).await,
    }
}

/// All is well.
pub(super) fn health(text: &'static str) -> Response {
    respond::of(StatusCode::OK, "text/plain; charset=utf-8", "no-store", text.into())
}

/// A file of a package; a playlist with the viewer's token in it, where there is one.
async fn file(asking: &Asking<'_>) -> Response {
    let request = asking.request;
    let audience = match request.uri.path().ends_with(".m3u8") {
        true => audience(asking).await,
        // Segments are encrypted: they are the same for everyone.
        false => Ok(audience::of_nobody(asking.generation)),
    };
    let audience = match audience {
        Ok(audience) => audience,
        Err(problem) => return problem.response(),
    };
    let visit = Visit {
        method: request.method.clone(),
        uri: request.uri.clone(),
        headers: request.headers.clone(),
        transport: asking.generation.proxies.transport(
            asking.client.address,
            asking.client.transport,
            &request.headers,
        ),
        audience,
        same_site: asking.generation.same_site,
    };
    let place = match place(asking).await {
        Ok(place) => place,
        Err(problem) => return problem.response(),
    };
    match origin::answer(Arc::clone(&asking.generation.catalog), visit, place).await {
        Ok(response) => response,
        Err(error) => {
            // It is of a package that is served, or the path would lead nowhere.
            let package = request.uri.path().split('/').nth(1).unwrap_or_default();
            asking
                .running
                .file_failed(format_args!("request {}: a file of {package} cannot be given: {error}", asking.id));
            Problem::Internal.response()
        }
    }
}

async fn packages(asking: &Asking<'_>) -> Response {
    let audience = match audience(asking).await {
        Ok(audience) => audience,
        Err(problem) => return problem.response(),
    };
    match place(asking).await {
        Ok(place) => player::packages(Arc::clone(&asking.generation.catalog), audience, place).await,
        Err(problem) => problem.response(),
    }
}

/// A place for an answer that is read from packages. It is waited for, as long as a request may take.
///
/// # Errors
/// When the client has as many as it may have connections.
async fn place(asking: &Asking<'_>) -> Result<Place, Problem> {
    let generation = asking.generation;
    let client = generation.proxies.client(asking.client.address, &asking.request.headers);
    let most = match generation.gate {
        Gate::Local => 0,
        Gate::Authorizers(_) => generation.limits.connections_per_client,
    };
    asking.running.places.take(client, most).await.ok_or_else(|| {
        asking.running.metrics.limited("client");
        Problem::TooMany(SERVER_RETRY_AFTER)
    })
}
