use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use axum::http::HeaderMap;
use tempfile::TempDir;

use super::*;
use crate::server::cookie::{NewCookie, SameSite, Transport};
use crate::server::package::ServedPackage;
use crate::server::place::Places;

const KEY_ID: &str = "3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f";
const TOKEN: &str = "aaa.bbb-ccc.ddd_eee";

fn media(segments: usize) -> String {
    let key = format!("#EXT-X-KEY:METHOD=AES-128,URI=\"/v1/keys/{KEY_ID}\",IV=0x0000000000000000000000000000000A\n");
    let mut text = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:6\n".to_owned();
    for n in 0..segments {
        text.push_str(&key);
        text.push_str(&format!("#EXTINF:6.000,\n{n:05}.ts\n"));
    }
    text + "#EXT-X-ENDLIST\n"
}

fn master() -> String {
    format!(
        "#EXTM3U\n#EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"/v1/keys/{KEY_ID}\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\n\
         720p/index.m3u8\n"
    )
}

fn write(folder: &Path, content_id: &str, segment: &[u8]) {
    let files = [
        ("master.m3u8", master().into_bytes()),
        ("720p/index.m3u8", media(200).into_bytes()),
        ("720p/00000.ts", segment.to_vec()),
    ];
    fs::create_dir_all(folder.join("720p")).unwrap();
    let named: Vec<_> = files
        .iter()
        .map(|(path, bytes)| {
            fs::write(folder.join(path), bytes).unwrap();
            let digest = format!("crc64nvme:{:016x}", bytes.iter().map(|b| u64::from(*b)).sum::<u64>());
            serde_json::json!({"path": path, "bytes": bytes.len(), "digest": digest})
        })
        .collect();
    let record = serde_json::json!({"format": "keyrung.package", "version": 1, "content_id": content_id,
        "key_id": KEY_ID, "master": "master.m3u8", "files": named});
    fs::write(folder.join("keyrung.json"), record.to_string()).unwrap();
}

struct World {
    dir: TempDir,
    catalog: Arc<Catalog>,
    generation: String,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("film"), "film", b"0123456789");
    let package = ServedPackage::open(&dir.path().join("film")).unwrap();
    let generation = package.generation.clone();
    World { dir, catalog: Arc::new(Catalog::new(vec![package]).unwrap()), generation }
}

/// Has a token for one content; it came in the query.
struct Known(&'static str);

impl Viewer for Known {
    fn covers(&self, content_id: &str) -> bool {
        content_id == self.0
    }
    fn query(&self, _path: &str) -> Option<String> {
        Some(format!("token={TOKEN}"))
    }
    fn cookie(&self) -> Option<NewCookie> {
        Some(NewCookie { name: "keyrung".into(), value: TOKEN.into() })
    }
    fn expires(&self) -> Option<SystemTime> {
        SystemTime::now().checked_add(Duration::from_secs(100))
    }
}

struct Answer {
    status: u16,
    fields: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> &str {
        let mut all = self.fields.get_all(name).iter();
        let field = all.next().map_or("", |value| value.to_str().unwrap());
        assert!(all.next().is_none(), "{name} twice");
        field
    }
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
    fn unzipped(&self) -> String {
        let mut text = String::new();
        flate2::read::GzDecoder::new(self.body.as_slice()).read_to_string(&mut text).unwrap();
        text
    }
}

impl World {
    fn ask(&self, uri: &str, fields: &[(&'static str, &str)], audience: Audience) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("media.example"));
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let visit = Visit {
            method: Method::GET,
            uri: uri.parse().unwrap(),
            headers,
            transport: Transport::Tls,
            audience,
            same_site: SameSite::None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let place = Places::new(1).take([127, 0, 0, 1].into(), 0).await.unwrap();
            let response = answer(Arc::clone(&self.catalog), visit, place).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = axum::body::to_bytes(body, 64 << 20).await.unwrap().to_vec();
            Answer { status: parts.status.as_u16(), fields: parts.headers, body }
        })
    }

    fn get(&self, uri: &str) -> Answer {
        self.ask(uri, &[], Audience::Everyone)
    }

    fn known(&self, uri: &str, fields: &[(&'static str, &str)]) -> Answer {
        self.ask(uri, fields, Audience::Known(Box::new(Known("film"))))
    }
}

#[test]
fn only_urls_that_mean_the_same_for_good_are_kept_for_good() {
    let world = world();
    let plain = world.get("/film/720p/00000.ts");
    assert_eq!((plain.status, plain.field("cache-control")), (200, "no-cache"));
    let pinned = format!("/film/~{}", world.generation);
    let kept = world.get(&format!("{pinned}/720p/00000.ts"));
    assert_eq!(kept.field("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!((kept.body.as_slice(), kept.field("etag")), (&b"0123456789"[..], plain.field("etag")));
    for playlist in
        ["/film/master.m3u8".to_owned(), format!("{pinned}/master.m3u8"), format!("{pinned}/720p/index.m3u8")]
    {
        assert_eq!(world.get(&playlist).field("cache-control"), "no-cache", "{playlist}");
    }

    // Made anew: the same names, other bytes.
    write(&world.dir.path().join("next"), "film", b"abcdefghij");
    fs::rename(world.dir.path().join("film"), world.dir.path().join("old")).unwrap();
    fs::rename(world.dir.path().join("next"), world.dir.path().join("film")).unwrap();
    assert_eq!(world.get(&format!("{pinned}/720p/00000.ts")).status, 404, "the old URL never has the new bytes");
    let asked_again = world.ask("/film/720p/00000.ts", &[("if-none-match", plain.field("etag"))], Audience::Everyone);
    assert_eq!((asked_again.status, asked_again.body.as_slice()), (200, &b"abcdefghij"[..]));
    for other in ["/film/~/master.m3u8", "/film/~0000000000000000/master.m3u8", "/film/~x", "/~film/master.m3u8"] {
        assert_eq!(world.get(other).status, 404, "{other}");
    }
}

#[test]
fn what_a_client_has_already_is_not_sent_again() {
    let world = world();
    for path in ["/film/720p/00000.ts", "/film/720p/index.m3u8"] {
        for coding in ["identity", "gzip"] {
            let fields = [("accept-encoding", coding)];
            let first = world.ask(path, &fields, Audience::Everyone);
            let tag = first.field("etag").to_owned();
            let again = world.ask(path, &[fields[0], ("if-none-match", &tag)], Audience::Everyone);
            assert_eq!(
                (again.status, again.body.len(), again.field("etag")),
                (304, 0, tag.as_str()),
                "{path} {coding}"
            );
            for name in ["cache-control", "vary"] {
                assert_eq!(again.field(name), first.field(name), "{path} {coding} {name}");
            }
            assert_eq!((again.field("content-length"), again.field("content-type")), ("", ""));
        }
    }
    let part = [("range", "bytes=2-3"), ("if-range", "\"other\"")];
    assert_eq!(world.ask("/film/720p/00000.ts", &part, Audience::Everyone).status, 200);
    let tag = world.get("/film/720p/00000.ts").field("etag").to_owned();
    assert!(!tag.starts_with("W/"), "{tag}");
    let part = world.ask("/film/720p/00000.ts", &[("range", "bytes=2-3"), ("if-range", &tag)], Audience::Everyone);
    assert_eq!((part.status, part.body.as_slice(), part.field("content-range")), (206, &b"23"[..], "bytes 2-3/10"));
    let failed = world.ask("/film/720p/00000.ts", &[("if-match", "\"other\"")], Audience::Everyone);
    assert_eq!((failed.status, failed.field("cache-control")), (412, "no-store"));

    // A file that is not as the record has it: the record's checksum is not its tag.
    fs::write(world.dir.path().join("film/720p/00000.ts"), "0123").unwrap();
    assert!(world.get("/film/720p/00000.ts").field("etag").starts_with("W/"));
}

#[test]
fn playlists_come_in_gzip_for_who_takes_it() {
    let world = world();
    let path = "/film/720p/index.m3u8";
    let (plain, coded) = (world.get(path), world.ask(path, &[("accept-encoding", "gzip")], Audience::Everyone));
    assert_eq!((plain.text(), plain.field("content-encoding")), (media(200).as_str(), ""));
    assert_eq!((coded.unzipped().as_str(), coded.field("content-encoding")), (media(200).as_str(), "gzip"));
    assert_eq!(coded.field("content-length"), coded.body.len().to_string());
    assert!(coded.body.len() * 10 < plain.body.len());
    assert_ne!(plain.field("etag"), coded.field("etag"));
    for answer in [&plain, &coded] {
        assert_eq!(answer.field("vary"), "Accept-Encoding");
    }
    let part = world.ask(path, &[("accept-encoding", "gzip"), ("range", "bytes=0-6")], Audience::Everyone);
    assert_eq!((part.status, part.text(), part.field("content-encoding")), (206, "#EXTM3U", ""));
    for path in ["/film/master.m3u8", "/film/720p/00000.ts"] {
        let small = world.ask(path, &[("accept-encoding", "gzip")], Audience::Everyone);
        assert_eq!(small.field("content-encoding"), "", "{path}");
    }
}

#[test]
fn a_known_viewer_is_given_the_token_for_keys_and_playlists() {
    let world = world();
    let answer = world.known("/film/master.m3u8?token=x", &[]);
    let expected = master()
        .replace("720p/index.m3u8", &format!("720p/index.m3u8?token={TOKEN}"))
        .replace(KEY_ID, &format!("{KEY_ID}?token={TOKEN}"));
    assert_eq!(answer.text(), expected);
    assert_eq!((answer.field("cache-control"), answer.field("etag")), ("private, no-store", ""));
    assert_eq!(answer.field("vary"), "Accept-Encoding, Authorization, Cookie");
    assert_eq!((answer.field("set-cookie"), answer.field("accept-ranges")), ("", ""));
    for path in ["/film/720p/index.m3u8".to_owned(), format!("/film/~{}/720p/index.m3u8", world.generation)] {
        let answer = world.known(&path, &[("accept-encoding", "gzip"), ("range", "bytes=0-1"), ("if-none-match", "*")]);
        assert_eq!((answer.status, answer.field("cache-control")), (200, "private, no-store"));
        assert_eq!(answer.unzipped(), media(200).replace(KEY_ID, &format!("{KEY_ID}?token={TOKEN}")));
    }
    // Segments are the same for all.
    let segment = world.known("/film/720p/00000.ts", &[]);
    assert_eq!((segment.field("cache-control"), segment.field("vary")), ("no-cache", ""));
}

#[test]
fn nobody_else_is_given_a_token() {
    let world = world();
    let other = Audience::Known(Box::new(Known("other")));
    for (audience, vary) in [
        (Audience::Everyone, "Accept-Encoding"),
        (Audience::Stranger, "Accept-Encoding, Authorization, Cookie"),
        (other, "Accept-Encoding, Authorization, Cookie"),
    ] {
        let answer = world.ask("/film/master.m3u8?token=x&cookie=1", &[], audience);
        assert_eq!((answer.text(), answer.field("set-cookie")), (master().as_str(), ""));
        assert_eq!((answer.field("vary"), answer.field("cache-control")), (vary, "no-cache"));
    }
}

#[test]
fn a_cookie_is_set_for_who_asks() {
    let world = world();
    let answer = world.known("/film/master.m3u8?a=b&cookie=1", &[]);
    let cookie = answer.field("set-cookie");
    let (start, rest) = cookie.split_once("Max-Age=").unwrap();
    let (age, rest) = rest.split_once("; ").unwrap();
    assert_eq!((start, rest), (format!("keyrung={TOKEN}; Path=/; ").as_str(), "HttpOnly; SameSite=None; Secure"));
    assert!((95..=100).contains(&age.parse::<u64>().unwrap()), "{age}");
    for query in ["cookie=0", "cookie=11", "xcookie=1", "cookie"] {
        assert_eq!(world.known(&format!("/film/master.m3u8?{query}"), &[]).field("set-cookie"), "", "{query}");
    }
}
