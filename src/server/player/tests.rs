use std::io::Read;

use axum::body::to_bytes;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_SECURITY_POLICY, IF_MATCH, IF_NONE_MATCH};

use super::*;
use crate::server::package::ServedPackage;

fn text(response: Response) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(to_bytes(response.into_body(), 16 << 20)).unwrap().to_vec()
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_runs_nothing_of_its_own() {
    let response = page(&HeaderMap::new());
    let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    let html = String::from_utf8(text(response)).unwrap();
    assert!(!html.contains("://") && !html.contains("style=") && !html.contains("<style"), "inline, or from elsewhere");
    assert!(!html.split_whitespace().any(|word| word.starts_with("on") && word.contains('=')), "a handler in the page");
    for script in html.split("<script").skip(1) {
        assert!(script.starts_with(" src=\"/v1/player/"), "{script}");
    }
    let mut named = html.split("/v1/player/").skip(1).map(|rest| rest.split('"').next().unwrap());
    assert!(named.all(|name| asset(name, &HeaderMap::new()).status() == StatusCode::OK));
    for name in ["page.js", "playback.js"] {
        let script = String::from_utf8(text(asset(name, &HeaderMap::new()))).unwrap();
        for import in script.lines().filter(|line| line.starts_with("import ")) {
            let file = import.split("'./").nth(1).and_then(|rest| rest.split('\'').next()).expect("a file beside it");
            assert_eq!(asset(file, &HeaderMap::new()).status(), StatusCode::OK, "{file}");
        }
        assert!(!script.contains("innerHTML") && !script.contains("document.write"), "{name} writes markup");
    }
    assert_eq!(asset("mod.rs", &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
}

#[test]
fn assets_are_coded_and_validated() {
    let plain = asset("page.js", &HeaderMap::new());
    assert_eq!(plain.headers()[CONTENT_TYPE], SCRIPT);
    let tag = plain.headers()[ETAG].clone();
    let bytes = text(plain);

    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let coded = asset("page.js", &headers);
    assert_eq!(
        (&coded.headers()[CONTENT_ENCODING], &coded.headers()[VARY]),
        (&"gzip".parse().unwrap(), &"Accept-Encoding".parse().unwrap())
    );
    let coded_tag = coded.headers()[ETAG].clone();
    assert_ne!(coded_tag, tag);
    let mut again = Vec::new();
    flate2::read::GzDecoder::new(text(coded).as_slice()).read_to_end(&mut again).unwrap();
    assert_eq!(again, bytes);

    headers.insert(IF_NONE_MATCH, coded_tag);
    let unchanged = asset("page.js", &headers);
    assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED);
    assert!(text(unchanged).is_empty());
    headers.insert(IF_NONE_MATCH, tag);
    assert_eq!(asset("page.js", &headers).status(), StatusCode::OK, "the tag of the other coding");

    let headers = HeaderMap::from_iter([(IF_MATCH, HeaderValue::from_static("\"another\""))]);
    let failed = asset("page.js", &headers);
    assert_eq!(failed.status(), StatusCode::PRECONDITION_FAILED, "RFC 9110 section 13.1.1");
    assert!(text(failed).is_empty());
}

#[test]
fn packages_are_listed_for_those_who_may_see_them() {
    struct FilmAlone;
    impl crate::server::viewer::Viewer for FilmAlone {
        fn covers(&self, content_id: &str) -> bool {
            content_id == "film"
        }
        fn query(&self, _: &str) -> Option<String> {
            None
        }
        fn cookie(&self) -> Option<crate::server::cookie::NewCookie> {
            None
        }
        fn expires(&self) -> Option<std::time::SystemTime> {
            Some(UNIX_EPOCH + std::time::Duration::from_secs(7))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut opened = Vec::new();
    for id in ["film", "My <Film> & more"] {
        let folder = dir.path().join(if id == "film" { "a" } else { "b" });
        std::fs::create_dir(&folder).unwrap();
        let record = json!({"format": "keyrung.package", "version": 1, "content_id": id, "key_id": null,
            "master": "master.m3u8", "files": [{"path": "master.m3u8", "bytes": 9}],
            "renditions": [{"name": "720p", "resolution": "1280x720", "bandwidth": 5, "codecs": "avc1",
                "segments": [{"duration_us": 1_500_000}]}]});
        std::fs::write(folder.join("keyrung.json"), record.to_string()).unwrap();
        opened.push(ServedPackage::open(&folder).unwrap());
    }
    let generation = opened[1].generation.clone();
    let catalog = Catalog::new(opened).unwrap();
    let all = document(&catalog, &Audience::Everyone);
    assert_eq!((&all["audience"], &all["expires"]), (&json!("everyone"), &Value::Null));
    let [odd, film] = all["packages"].as_array().unwrap().as_slice() else { panic!("{all}") };
    assert_eq!((&film["seconds"], &film["bytes"], &film["key_ids"]), (&json!(1.5), &json!(9), &json!([])));
    assert_eq!(film["renditions"][0]["resolution"], "1280x720");
    assert_eq!(odd["url"], "/My%20%3CFilm%3E%20%26%20more/master.m3u8");
    assert_eq!(odd["generation_url"], format!("/My%20%3CFilm%3E%20%26%20more/~{generation}/master.m3u8"));

    let stranger = document(&catalog, &Audience::Stranger);
    assert_eq!((&stranger["audience"], &stranger["packages"]), (&json!("stranger"), &json!([])));
    let known = document(&catalog, &Audience::Known(Box::new(FilmAlone)));
    assert_eq!((&known["audience"], &known["expires"]), (&json!("known"), &json!(7)));
    assert_eq!(known["packages"].as_array().unwrap().len(), 1);
    assert_eq!(known["packages"][0]["content_id"], "film");
}
