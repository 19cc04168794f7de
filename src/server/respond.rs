//! Answers: the header fields that every one of them carries, and refusals with a fixed text each.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ORIGIN, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use crate::server::KeyBytes;
use crate::server::authorize::Caller;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Everything that is refused, as the client is told it. The texts are fixed: nothing of the request or of an internal
/// error comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    ForeignHost,
    Forwarded,
    Method,
    NotFound,
    /// Unknown keys and keys that cannot be had are told the same, so that nobody learns which ids exist.
    KeyRefused,
    RangeNotSatisfiable,
    NotReady,
    Internal,
}

impl Problem {
    fn parts(self) -> (StatusCode, &'static str) {
        match self {
            Self::ForeignHost => (StatusCode::FORBIDDEN, "This server answers to localhost names only."),
            Self::Forwarded => (StatusCode::FORBIDDEN, "This server does not answer through a proxy."),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "Only GET, HEAD and OPTIONS are answered."),
            Self::NotFound => (StatusCode::NOT_FOUND, "There is nothing here."),
            Self::KeyRefused => (StatusCode::FORBIDDEN, "This key is not given out."),
            Self::RangeNotSatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, "The file has no byte of this range."),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "A package cannot be read."),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "The server failed."),
        }
    }

    /// The problem document of RFC 9457.
    pub(super) fn response(self) -> Response {
        let (status, detail) = self.parts();
        let title = status.canonical_reason().unwrap_or_default();
        let document =
            serde_json::json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
        let mut response = of(status, "application/problem+json", "no-store", document.to_string().into());
        if self == Self::Method {
            response.headers_mut().insert(ALLOW, METHODS);
        }
        response
    }
}

/// An answer of a media type under a caching rule.
pub(super) fn of(status: StatusCode, media_type: &'static str, caching: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}

/// The 16 octets of a key file (RFC 8216 section 5, PLY-024). Players that ask again for every segment (PLY-003) are
/// answered by their own cache; nobody else's may hold it.
pub(super) fn key(key: KeyBytes) -> Response {
    // from_owner: the allocation that the answer is sent from is the one that is zeroed on drop.
    let body = Body::from(axum::body::Bytes::from_owner(key));
    let mut response = of(StatusCode::OK, "application/octet-stream", "private, max-age=300", body);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("16"));
    response
}

/// 416, with the length that the range should have kept to (RFC 9110 section 15.5.17).
pub(super) fn unsatisfiable(file_length: u64) -> Response {
    let mut response = Problem::RangeNotSatisfiable.response();
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{file_length}")) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

/// The answer to OPTIONS, to a preflight of the Fetch standard as well.
pub(super) fn options(caller: Caller<'_>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, METHODS);
    if let Caller::Loopback(_) = caller {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Range"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
    response
}

/// What every answer carries. Only a page from this machine may read an answer from a script (PLY-021, S3-015).
pub(super) fn finish(caller: Caller<'_>, headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(VARY, ORIGIN.into());
    if let Caller::Loopback(origin) = caller {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Accept-Ranges, Content-Length, Content-Range"),
        );
    }
}

/// The media type of a file by its name (SEG-009).
pub(super) fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "m3u8" => "application/vnd.apple.mpegurl",
        "ts" => "video/mp2t",
        "m4s" => "video/iso.segment",
        "mp4" => "video/mp4",
        "aac" => "audio/aac",
        "mp3" => "audio/mpeg",
        "ac3" => "audio/ac3",
        "ec3" => "audio/eac3",
        "vtt" => "text/vtt",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}
