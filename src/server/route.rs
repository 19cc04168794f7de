//! Which request is answered with what.

use std::io;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::http::header::{ACCEPT_RANGES, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, StatusCode, Version};
use axum::response::Response;
use rustix::io::Errno;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::limits::SERVER_RETRY_AFTER;
use crate::server::audit::RequestId;
use crate::server::connection::Client;
use crate::server::cors::Reader;
use crate::server::file::{FileBody, open_beneath};
use crate::server::generation::{Gate, Generation};
use crate::server::local::{self, Refusal};
use crate::server::package::{Catalog, ServedPackage};
use crate::server::range::{self, Selection};
use crate::server::respond::{self, Problem, Vary};
use crate::server::running::Running;
use crate::server::{key, page};

/// A request, and what it is answered from.
pub(super) struct Asking<'a> {
    pub(super) running: &'a Running,
    pub(super) generation: &'a Generation,
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
            _ => match path.strip_prefix("/v1/keys/") {
                Some(name) if !name.is_empty() && !name.contains('/') => Self::Key(name),
                _ => Self::File,
            },
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Page => "page",
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
    running.metrics.answered(route.label(), response.status().as_u16());
    response
}

/// Without an authoriser, whoever is not on this machine.
fn stranger(asking: &Asking<'_>) -> Option<Problem> {
    match asking.generation.gate {
        Gate::Authorizers(_) => None,
        Gate::Local => local::admit(asking.request).err().map(|refusal| match refusal {
            Refusal::ForeignHost => Problem::ForeignHost,
            Refusal::Forwarded => Problem::Forwarded,
        }),
    }
}

/// What is wrong with a request, whatever it is for.
fn unfit(asking: &Asking<'_>, is_bodiless: bool) -> Option<Problem> {
    let request = asking.request;
    let uri_bytes = request.uri.path_and_query().map_or(0, |text| text.as_str().len());
    if !is_bodiless {
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
        Route::Page => player(asking),
        Route::File => file(asking).await,
    }
}

/// All is well.
pub(super) fn health(text: &'static str) -> Response {
    respond::of(StatusCode::OK, "text/plain; charset=utf-8", "no-store", text.into())
}

fn player(asking: &Asking<'_>) -> Response {
    // HTTP/2 has it in the request's target.
    let host = asking.request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = host.or_else(|| asking.request.uri.authority().map(|a| a.as_str())).unwrap_or("localhost");
    let html = page::render(asking.generation.catalog.packages(), authority);
    let mut response = respond::of(StatusCode::OK, "text/html; charset=utf-8", "no-store", html.into());
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
    response
}

async fn file(asking: &Asking<'_>) -> Response {
    let request = asking.request;
    let Some((package, path)) = locate(&asking.generation.catalog, request.uri.path()) else {
        return Problem::NotFound.response();
    };
    let (folder, path) = (package.folder.clone(), path.to_owned());
    let (method, headers) = (request.method.clone(), request.headers.clone());
    let answer = spawn_blocking(move || {
        let file = open_beneath(&folder, &path)?;
        let length = file.metadata()?.len();
        // RFC 9110 section 14.2: a range means something in GET alone.
        let selection = if method == Method::GET { range::select(&headers, length) } else { Selection::Whole };
        let (start, part) = match selection {
            Selection::Unsatisfiable => return Ok(respond::unsatisfiable(length)),
            Selection::Part { start, length } => (start, length),
            Selection::Whole => (0, length),
        };
        // A package that is made anew has the same names with other keys, and there are no validators: nothing is kept.
        let body = if method == Method::HEAD { Body::empty() } else { Body::new(FileBody::new(file, start, part)?) };
        let mut response = respond::of(StatusCode::OK, respond::media_type(&path), "private, no-cache", body);
        let fields = response.headers_mut();
        fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        fields.insert(CONTENT_LENGTH, part.into());
        if let Selection::Part { .. } = selection {
            let last = start.saturating_add(part).saturating_sub(1);
            let range = HeaderValue::try_from(format!("bytes {start}-{last}/{length}")).map_err(io::Error::other)?;
            fields.insert(CONTENT_RANGE, range);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Ok(response)
    });
    match answer.await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) if is_absent(&error) => Problem::NotFound.response(),
        Ok(Err(_)) | Err(_) => Problem::Internal.response(),
    }
}

/// The package and the file that a path names. The file's part is compared as it was sent: its names need no
/// percent-encoding, so nothing is decoded that could turn into another path.
fn locate<'a>(catalog: &'a Catalog, path: &str) -> Option<(&'a ServedPackage, &'a str)> {
    let (content_id, rest) = path.strip_prefix('/')?.split_once('/')?;
    let package = catalog.package(&page::percent_decode(content_id)?)?;
    package.files.get(rest).map(|file| (package, file.as_str()))
}

/// The file is not there, or what is there is not a file of the package: a link, a folder, a pipe.
fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
        || matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO))
}
