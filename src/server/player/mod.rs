//! The page at `/`: what is served, a player, and what the player does. It is made of files that are built in, and of
//! one document, `/v1/packages`.
//!
//! hls.js comes from npm: `scripts/build-player` fetches it, and the build takes it in when it is there. Without it the page
//! says so, and plays where the browser has HLS of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::UNIX_EPOCH;

use axum::body::Bytes;
use axum::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use flate2::Compression;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use crate::server::catalog::Catalog;
use crate::server::encoding::{self, Coding};
use crate::server::package::ServedPackage;
use crate::server::percent;
use crate::server::place::Place;
use crate::server::respond::{self, Problem};
use crate::server::validator::{EntityTag, Verdict, evaluate};
use crate::server::viewer::Audience;

/// Scripts and styles are files of this server, and nothing is asked of any other. Media comes from scripts, as `blob:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

#[cfg(keyrung_hls)]
const HLS: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/player/vendor/hls.min.js"));
/// The page finds no `Hls`, and says that this build has none.
#[cfg(not(keyrung_hls))]
const HLS: &[u8] = b"// This build has no hls.js: scripts/build-player, then build again.\n";

/// A file of the page, plain and in gzip.
struct Asset {
    media_type: &'static str,
    plain: Bytes,
    gzip: Option<Bytes>,
    /// 16 digits of its SHA-256.
    hash: String,
}

impl Asset {
    fn new(media_type: &'static str, bytes: &'static [u8]) -> Self {
        let hash = Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        // Once for the whole run: as small as it gets.
        let gzip = encoding::gzip(bytes, Compression::best()).ok().map(Bytes::from);
        Self { media_type, plain: Bytes::from_static(bytes), gzip, hash }
    }
}

static PAGE: LazyLock<Asset> = LazyLock::new(|| Asset::new("text/html; charset=utf-8", include_bytes!("page.html")));

static ASSETS: LazyLock<BTreeMap<&'static str, Asset>> = LazyLock::new(|| {
    BTreeMap::from([
        ("page.css", Asset::new("text/css; charset=utf-8", include_bytes!("page.css"))),
        ("page.js", Asset::new(SCRIPT, include_bytes!("page.js"))),
        ("playback.js", Asset::new(SCRIPT, include_bytes!("playback.js"))),
        ("token.js", Asset::new(SCRIPT, include_bytes!("token.js"))),
        ("words.js", Asset::new(SCRIPT, include_bytes!("words.js"))),
        ("icon.svg", Asset::new("image/svg+xml", include_bytes!("icon.svg"))),
        ("hls.js", Asset::new(SCRIPT, HLS)),
    ])
});

/// The page: `/`.
pub(super) fn page(headers: &HeaderMap) -> Response {
    let mut response = send(&PAGE, headers);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// What the page is made of: `/v1/player/{name}`.
pub(super) fn asset(name: &str, headers: &HeaderMap) -> Response {
    ASSETS.get(name).map_or_else(|| Problem::NotFound.response(), |asset| send(asset, headers))
}

fn send(asset: &Asset, headers: &HeaderMap) -> Response {
    let (body, coding, suffix) = match (&asset.gzip, encoding::choose(headers)) {
        (Some(gzip), Coding::Gzip) => (gzip, Some("gzip"), ".gzip"),
        _ => (&asset.plain, None, ""),
    };
    let tag = EntityTag::strong(&format!("{}{suffix}", asset.hash));
    // The next release has other bytes under the same names.
    let mut response = respond::of(StatusCode::OK, asset.media_type, "no-cache", body.clone().into());
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(ETAG, &tag.to_string());
    set(VARY, "Accept-Encoding");
    set(CONTENT_LENGTH, &body.len().to_string());
    if let Some(coding) = coding {
        set(CONTENT_ENCODING, coding);
    }
    *response.status_mut() = match evaluate(headers, Some(&tag)) {
        Verdict::Go => return response,
        Verdict::NotModified => StatusCode::NOT_MODIFIED,
        Verdict::Failed => StatusCode::PRECONDITION_FAILED,
    };
    *response.body_mut() = axum::body::Body::empty();
    for name in [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_TYPE] {
        response.headers_mut().remove(name);
    }
    response
}

/// The packages that whoever asks may see: `/v1/packages`.
/// `place` is kept until the answer is taken, and while folders are looked at.
pub(super) async fn packages(catalog: Arc<Catalog>, audience: Audience, place: Place) -> Response {
    let looked = spawn_blocking(move || (document(&catalog, &audience).to_string(), place));
    let Ok((document, place)) = looked.await else {
        return Problem::Internal.response();
    };
    let body = place.of(document.into());
    let mut response = respond::of(StatusCode::OK, "application/json", "private, no-store", body);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Authorization, Cookie"));
    response
}

fn document(catalog: &Catalog, audience: &Audience) -> Value {
    let (known, expires) = match audience {
        Audience::Everyone => ("everyone", None),
        Audience::Stranger => ("stranger", None),
        Audience::Known(viewer) => ("known", viewer.expires()),
    };
    let expires = expires.and_then(|end| end.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
    let seen = catalog.current().into_iter().filter(|package| audience.sees(&package.content_id));
    json!({"audience": known, "expires": expires, "packages": seen.map(|package| entry(&package)).collect::<Vec<_>>()})
}

fn entry(package: &ServedPackage) -> Value {
    let ServedPackage { content_id, master, generation, key_ids, .. } = package;
    let rendition = |one: &crate::server::package::Rendition| {
        json!({"name": one.name, "resolution": one.resolution, "bandwidth": one.bandwidth, "codecs": one.codecs,
            "segments": one.length.segments})
    };
    let place = percent::encode(content_id);
    json!({
        "content_id": content_id,
        "url": format!("/{place}/{master}"),
        "generation_url": format!("/{place}/~{generation}/{master}"),
        "key_ids": key_ids,
        "seconds": package.micros() as f64 / 1e6,
        "bytes": package.bytes(),
        "renditions": package.renditions.iter().map(rendition).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
