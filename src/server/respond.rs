//! Answers: the header fields that every one of them carries, and refusals with a fixed text each.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPIRES, REFERRER_POLICY,
    RETRY_AFTER, STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use crate::server::audit::RequestId;
use crate::server::cookie::Transport;
use crate::server::cors::Reader;
use crate::server::vault::Held;

/// What is answered at all.
pub(super) const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Everything that is refused, as the client is told it. The texts are fixed: nothing of the request or of an internal
/// error comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    ForeignHost,
    Forwarded,
    /// RFC 9112 section 3.2: a request of HTTP/1.1 has one `Host` field.
    Host,
    Method,
    NotFound,
    /// Unknown keys, keys that are for others and those that cannot be had are told the same, so that nobody learns
    /// which ids exist.
    KeyRefused,
    RangeNotSatisfiable,
    UriTooLong,
    BodyRefused,
    /// Too many requests; the time until one more is answered.
    TooMany(Duration),
    /// It cannot be had now; when it is worth another try.
    Unavailable(Duration),
    NotReady,
    Internal,
}

impl Problem {
    fn parts(self) -> (StatusCode, &'static str) {
        match self {
            Self::ForeignHost => (StatusCode::FORBIDDEN, "This server answers to localhost names only."),
            Self::Forwarded => (StatusCode::FORBIDDEN, "This server does not answer through a proxy."),
            Self::Host => (StatusCode::BAD_REQUEST, "A request names one host."),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "Only GET, HEAD and OPTIONS are answered."),
            Self::NotFound => (StatusCode::NOT_FOUND, "There is nothing here."),
            Self::KeyRefused => (StatusCode::FORBIDDEN, "This key is not given out."),
            Self::RangeNotSatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, "The file has no byte of this range."),
            Self::UriTooLong => (StatusCode::URI_TOO_LONG, "The address is too long."),
            Self::BodyRefused => (StatusCode::PAYLOAD_TOO_LARGE, "Requests have no body here."),
            Self::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "Too many requests."),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "This cannot be had now. Try again."),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "The server is not ready."),
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
        match self {
            Self::Method => {
                response.headers_mut().insert(ALLOW, METHODS);
            }
            Self::TooMany(wait) | Self::Unavailable(wait) => {
                // Whole seconds (RFC 9110 section 10.2.3); none would be an invitation.
                let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            // What follows on the connection is not to be read as a request.
            Self::BodyRefused => {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
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
/// answered by their own cache, for `max_age` at most; nobody else's may hold it. The memory that the answer is sent from
/// is the vault's, which is wiped.
pub(super) fn key(key: Held, max_age: Duration, now: SystemTime) -> Response {
    let mut response = Response::new(Body::from(Bytes::from_owner(key)));
    let headers = response.headers_mut();
    // Room for all that follow: they would not fit the first allocation.
    headers.reserve(12);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("16"));
    let seconds = max_age.as_secs();
    let caching = match seconds {
        0 => HeaderValue::from_static("no-store, no-transform"),
        300 => HeaderValue::from_static("private, max-age=300, no-transform"),
        seconds => HeaderValue::try_from(format!("private, max-age={seconds}, no-transform"))
            .unwrap_or(HeaderValue::from_static("no-store")),
    };
    headers.insert(CACHE_CONTROL, caching);
    if let Some(expires) = http_date(now.checked_add(Duration::from_secs(seconds))) {
        headers.insert(EXPIRES, expires);
    }
    response
}

/// A date as RFC 9110 section 5.6.7 has it. Most answers of a second have the same: the last one is kept.
fn http_date(time: Option<SystemTime>) -> Option<HeaderValue> {
    thread_local! {
        static LAST: RefCell<(i64, HeaderValue)> = const { RefCell::new((i64::MIN, HeaderValue::from_static(""))) };
    }
    let second = i64::try_from(time?.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    LAST.with_borrow_mut(|last| {
        if last.0 != second {
            let time = Timestamp::from_second(second).ok()?;
            let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()?;
            *last = (second, HeaderValue::try_from(text).ok()?);
        }
        Some(last.1.clone())
    })
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
pub(super) fn options(reader: &Reader) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, METHODS);
    reader.allow_preflight(headers);
    response
}

/// What an answer depends on besides the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vary {
    /// The page that asks.
    Origin,
    /// The viewer as well.
    Viewer,
}

/// What every answer carries. Only the page that CORS has let may read an answer from a script (PLY-021, S3-015).
pub(super) fn finish(reader: &Reader, vary: Vary, transport: Transport, request: RequestId, response: &mut Response) {
    let failed = response.status().is_client_error() || response.status().is_server_error();
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let vary = match (vary, headers.get(VARY).and_then(|names| names.to_str().ok())) {
        (Vary::Viewer, _) => HeaderValue::from_static("Authorization, Cookie, Origin"),
        (Vary::Origin, None) => HeaderValue::from_static("Origin"),
        // What the answer depends on besides stands there already.
        (Vary::Origin, Some(names)) => {
            HeaderValue::try_from(format!("{names}, Origin")).unwrap_or(HeaderValue::from_static("*"))
        }
    };
    headers.insert(VARY, vary);
    if transport == Transport::Tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    if failed && let Ok(id) = HeaderValue::try_from(request.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    reader.allow(headers);
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
