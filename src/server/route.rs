//! Which request is answered with what.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, HOST};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use rustix::io::Errno;
use tokio::task::spawn_blocking;

use crate::server::authorize::{self, Refusal};
use crate::server::file::{FileBody, open_beneath};
use crate::server::package::{Catalog, ServedPackage};
use crate::server::page;
use crate::server::range::{self, Selection};
use crate::server::respond::{self, Problem};
use crate::server::{KeyBytes, KeySource};

/// What the handlers share.
struct Shared<K> {
    catalog: Catalog,
    keys: K,
}

/// The whole server as a service.
pub(super) fn router<K: KeySource>(catalog: Catalog, keys: K) -> Router {
    Router::new()
        .route("/", get(player::<K>))
        .route("/livez", get(alive))
        .route("/readyz", get(ready::<K>))
        .route("/v1/keys/{key_id}", get(key::<K>))
        .fallback(file::<K>)
        .layer(from_fn(guard))
        .with_state(Arc::new(Shared { catalog, keys }))
}

/// Stands before every handler: refuses strangers and methods, and gives every answer the fields that all carry.
async fn guard(request: Request, next: Next) -> Response {
    if let Err(refusal) = authorize::admit(request.uri(), request.headers()) {
        let problem = match refusal {
            Refusal::ForeignHost => Problem::ForeignHost,
            Refusal::Forwarded => Problem::Forwarded,
        };
        let mut response = problem.response();
        respond::finish(authorize::Caller::Foreign, response.headers_mut());
        return response;
    }
    let asked_by = request.headers().clone();
    let caller = authorize::caller(&asked_by);
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => next.run(request).await,
        Method::OPTIONS => respond::options(caller),
        _ => Problem::Method.response(),
    };
    respond::finish(caller, response.headers_mut());
    response
}

async fn player<K: KeySource>(State(shared): State<Arc<Shared<K>>>, headers: HeaderMap) -> Response {
    // The guard has seen that it is there and a loopback name.
    let authority = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let html = page::render(shared.catalog.packages(), authority);
    let mut response = respond::of(StatusCode::OK, "text/html; charset=utf-8", "no-store", html.into());
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
    response
}

/// The process runs.
async fn alive() -> Response {
    respond::of(StatusCode::OK, "text/plain; charset=utf-8", "no-store", "alive\n".into())
}

/// The packages can be read: a volume that went away shows here.
async fn ready<K: KeySource>(State(shared): State<Arc<Shared<K>>>) -> Response {
    let readable =
        spawn_blocking(move || shared.catalog.packages().all(|p| open_beneath(&p.folder, &p.master).is_ok()));
    match readable.await {
        Ok(true) => respond::of(StatusCode::OK, "text/plain; charset=utf-8", "no-store", "ready\n".into()),
        Ok(false) | Err(_) => Problem::NotReady.response(),
    }
}

async fn key<K: KeySource>(
    State(shared): State<Arc<Shared<K>>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let authorized = path.ok().and_then(|Path(key_id)| authorize::authorize(&shared.catalog, &headers, key_id));
    let Some(authorized) = authorized else {
        return Problem::KeyRefused.response();
    };
    // Key providers read files or ask the network.
    let key: Result<Option<KeyBytes>, _> = spawn_blocking(move || shared.keys.key(authorized.key_id())).await;
    match key {
        Ok(Some(key)) => respond::key(key),
        Ok(None) => Problem::KeyRefused.response(),
        Err(_) => Problem::Internal.response(),
    }
}

async fn file<K: KeySource>(
    State(shared): State<Arc<Shared<K>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some((package, path)) = locate(&shared.catalog, uri.path()) else {
        return Problem::NotFound.response();
    };
    let (folder, path) = (package.folder.clone(), path.to_owned());
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
        let body = Body::new(FileBody::new(file, start, part)?);
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
