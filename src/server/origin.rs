//! The files of packages: which request is answered with what, and who may keep it.
//!
//! A package that is made anew with `--force` has the same names, other bytes and another key. Under
//! `/{content_id}/...` a URL therefore can come to mean other bytes: it may be stored, and is asked about each time
//! (`no-cache`), which a tag answers without the bytes. Under `/{content_id}/~{generation}/...` the same files have
//! URLs that never mean anything else; what is not a playlist is `immutable` there. Playlists name files by relative
//! URIs, so a player that begins with either master playlist stays below it.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, RANGE, SET_COOKIE, VARY,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use flate2::Compression;
use rustix::io::Errno;
use tokio::task::spawn_blocking;

use crate::keys::KeyId;
use crate::limits::{PLAYLIST_BYTES, SERVER_GZIP_LEAST_BYTES};
use crate::playlist::rewrite::{Target, rewrite};
use crate::server::catalog::Catalog;
use crate::server::cookie;
use crate::server::encoding::{self, Coding};
use crate::server::file::FileBody;
use crate::server::package::PackageFile;
use crate::server::percent;
use crate::server::place::Place;
use crate::server::range::{self, Selection};
use crate::server::respond::{self, Problem};
use crate::server::validator::{EntityTag, Verdict, evaluate};
use crate::server::viewer::{Audience, Viewer, Visit};

/// To be stored, and to be asked about before each use.
const REVALIDATE: &str = "no-cache";
/// To be kept for good: the URL has the generation in it.
const FOREVER: &str = "public, max-age=31536000, immutable";
/// One viewer's.
const NOBODY_ELSE: &str = "private, no-store";
/// The server's own keys.
const KEYS: &str = "/v1/keys/";

/// Answers a GET or HEAD request whose path is none of the server's own. `place` is kept until the answer is taken; by a
/// volume that hangs for as long as it does, also when the request is given up.
///
/// # Errors
/// Why a file that is there cannot be given, for the log.
pub(super) async fn answer(catalog: Arc<Catalog>, visit: Visit, place: Place) -> io::Result<Response> {
    let is_head = visit.method == Method::HEAD;
    let (answered, place) =
        spawn_blocking(move || (blocking(&catalog, &visit), place)).await.map_err(io::Error::other)?;
    match answered {
        // The fields are those of the GET; over HTTP/2 nobody else would leave the bytes out.
        Ok(response) if is_head => Ok(response.map(|_| Body::empty())),
        Ok(response) => Ok(response.map(|body| place.of(body))),
        Err(error) if is_absent(&error) => Ok(Problem::NotFound.response()),
        Err(error) => Err(error),
    }
}

/// A file of a package, and how long its URL means it.
struct Found {
    content_id: String,
    name: String,
    described: PackageFile,
    caching: &'static str,
    file: std::fs::File,
    length: u64,
    /// Of its last change, in seconds and nanoseconds.
    changed: (i64, i64),
}

impl Found {
    fn is_playlist(&self) -> bool {
        self.name.ends_with(".m3u8")
    }

    /// The record's checksum, when the file has the length that it had then; else its length and its last change, which
    /// tell less.
    fn tag(&self) -> EntityTag {
        let plain = |digest: &str| digest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b':') && digest.len() < 100;
        let PackageFile { bytes, digest } = &self.described;
        if *bytes == self.length && !digest.is_empty() && plain(digest) {
            EntityTag::strong(digest)
        } else {
            EntityTag::weak(&format!("{:x}-{:x}.{:x}", self.length, self.changed.0, self.changed.1))
        }
    }
}

fn blocking(catalog: &Catalog, visit: &Visit) -> io::Result<Response> {
    let found = find(catalog, visit.uri.path())?.ok_or(io::ErrorKind::NotFound)?;
    if !found.is_playlist() {
        return whole_or_part(visit, &found, found.caching);
    }
    let mut response = match &visit.audience {
        Audience::Known(viewer) if viewer.covers(&found.content_id) => for_viewer(visit, &found, viewer.as_ref())?,
        _ => playlist(visit, &found)?,
    };
    let fields = response.headers_mut();
    vary(fields, "Accept-Encoding");
    if !matches!(visit.audience, Audience::Everyone) {
        // The same URL has another answer for who is known by a header field or a cookie.
        vary(fields, "Authorization, Cookie");
    }
    Ok(response)
}

/// The file that a path names, open. Its part of the path is compared as it was sent: names need no percent-encoding, so
/// nothing is decoded that could turn into another path.
fn find(catalog: &Catalog, path: &str) -> io::Result<Option<Found>> {
    let place = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let Some((content_id, rest)) = place.and_then(|(id, rest)| Some((percent::decode(id)?, rest))) else {
        return Ok(None);
    };
    let Some((folder, package)) = catalog.open(&content_id)? else { return Ok(None) };
    let (name, caching) = match rest.strip_prefix('~').and_then(|rest| rest.split_once('/')) {
        Some((generation, name)) if generation == package.generation => (name, FOREVER),
        Some(_) => return Ok(None),
        None => (rest, REVALIDATE),
    };
    let Some(described) = package.files.get(name) else { return Ok(None) };
    let file = folder.file(name)?;
    let stat = rustix::fs::fstat(&file)?;
    let length = u64::try_from(stat.st_size).map_err(io::Error::other)?;
    #[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap)] // The widths of these fields differ between systems.
    let changed = (stat.st_mtime as i64, stat.st_mtime_nsec as i64);
    Ok(Some(Found { content_id, name: name.to_owned(), described: described.clone(), caching, file, length, changed }))
}

/// A playlist as it is, in gzip for who takes it.
fn playlist(visit: &Visit, found: &Found) -> io::Result<Response> {
    let worth = (SERVER_GZIP_LEAST_BYTES..=PLAYLIST_BYTES as u64).contains(&found.length);
    // A range is of the coded bytes; who wants one is better served with the bytes that are there (RFC 9110 section 14.2).
    if !worth || visit.headers.contains_key(RANGE) || encoding::choose(&visit.headers) == Coding::Identity {
        return whole_or_part(visit, found, REVALIDATE);
    }
    // The coded bytes are another representation, and so is their tag. It is weak: another release may code otherwise.
    let tag = EntityTag::weak(&format!("{}.gzip", found.tag().opaque()));
    if let Some(response) = precondition(visit, &tag, REVALIDATE) {
        return Ok(response);
    }
    let text = read(found)?;
    let mut response = coded(found, &text, Coding::Gzip, REVALIDATE)?;
    insert(&mut response, ETAG, &tag.to_string())?;
    Ok(response)
}

/// A playlist with the viewer's token in the URIs of this server's keys, and of the media playlists that lead to them.
fn for_viewer(visit: &Visit, found: &Found, viewer: &dyn Viewer) -> io::Result<Response> {
    let text = read(found)?;
    let text = match visit.base() {
        Some(base) => {
            let package = first_part(base.path()).to_owned();
            let query = |target: Target<'_>| match target {
                Target::Key(path) => path.strip_prefix(KEYS)?.parse::<KeyId>().ok().and_then(|_| viewer.query(path)),
                Target::Playlist(path) => (first_part(path) == package).then(|| viewer.query(path))?,
            };
            rewrite(&text, &base, &query).map_err(io::Error::other)?.into_bytes()
        }
        None => text,
    };
    let coding = match found.length < SERVER_GZIP_LEAST_BYTES {
        true => Coding::Identity,
        false => encoding::choose(&visit.headers),
    };
    let mut response = coded(found, &text, coding, NOBODY_ELSE)?;
    if visit.asks_for_cookie()
        && let Some(new) = viewer.cookie()
        && let Some(field) = cookie::field(&new, visit.same_site, visit.transport, viewer.expires(), SystemTime::now())
    {
        response.headers_mut().insert(SET_COOKIE, field);
    }
    Ok(response)
}

/// `/film/720p/index.m3u8` is of `film`.
fn first_part(path: &str) -> &str {
    path.strip_prefix('/').and_then(|path| path.split('/').next()).unwrap_or_default()
}

/// A playlist's bytes, at most as many as a playlist may have.
fn read(found: &Found) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    (&found.file).take(PLAYLIST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > PLAYLIST_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

fn coded(found: &Found, bytes: &[u8], coding: Coding, caching: &'static str) -> io::Result<Response> {
    let (body, name) = match coding {
        Coding::Identity => (bytes.to_vec(), None),
        Coding::Gzip => (encoding::gzip(bytes, Compression::fast())?, Some("gzip")),
    };
    let length = body.len();
    let mut response = respond::of(StatusCode::OK, respond::media_type(&found.name), caching, body.into());
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    if let Some(name) = name {
        insert(&mut response, CONTENT_ENCODING, name)?;
    }
    Ok(response)
}

/// The bytes of a file as they are, or the range of them that was asked for.
fn whole_or_part(visit: &Visit, found: &Found, caching: &'static str) -> io::Result<Response> {
    let tag = found.tag();
    if let Some(response) = precondition(visit, &tag, caching) {
        return Ok(response);
    }
    let length = found.length;
    // RFC 9110 section 14.2: a range means something in GET alone.
    let selection = match visit.method {
        Method::GET => range::select(&visit.headers, length, Some(&tag)),
        _ => Selection::Whole,
    };
    let (start, part) = match selection {
        Selection::Unsatisfiable => return Ok(respond::unsatisfiable(length)),
        Selection::Part { start, length } => (start, length),
        Selection::Whole => (0, length),
    };
    let body = Body::new(FileBody::new(found.file.try_clone()?, start, part)?);
    let mut response = respond::of(StatusCode::OK, respond::media_type(&found.name), caching, body);
    insert(&mut response, ETAG, &tag.to_string())?;
    insert(&mut response, ACCEPT_RANGES, "bytes")?;
    response.headers_mut().insert(CONTENT_LENGTH, part.into());
    if let Selection::Part { .. } = selection {
        let last = start.saturating_add(part).saturating_sub(1);
        insert(&mut response, CONTENT_RANGE, &format!("bytes {start}-{last}/{length}"))?;
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// The answer that a precondition leads to, without the bytes.
fn precondition(visit: &Visit, tag: &EntityTag, caching: &'static str) -> Option<Response> {
    let (status, caching) = match evaluate(&visit.headers, Some(tag)) {
        Verdict::Go => return None,
        Verdict::NotModified => (StatusCode::NOT_MODIFIED, caching),
        Verdict::Failed => (StatusCode::PRECONDITION_FAILED, "no-store"),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    insert(&mut response, ETAG, &tag.to_string()).ok()?;
    Some(response)
}

fn insert(response: &mut Response, name: HeaderName, value: &str) -> io::Result<()> {
    response.headers_mut().insert(name, HeaderValue::try_from(value).map_err(io::Error::other)?);
    Ok(())
}

/// Adds to the one `Vary` field.
fn vary(fields: &mut axum::http::HeaderMap, names: &str) {
    let text = match fields.get(VARY).and_then(|before| before.to_str().ok()) {
        Some(before) => format!("{before}, {names}"),
        None => names.to_owned(),
    };
    if let Ok(value) = HeaderValue::try_from(text) {
        fields.insert(VARY, value);
    }
}

/// The file is not there, or what is there is not a file of the package: a link, a folder, a pipe.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound)
        || matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO))
}

#[cfg(test)]
mod tests;
