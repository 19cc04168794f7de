//! Targets that mean harm, on servers of their own: bounded, and reported.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::{Check, World};
use super::verify_mutant::{Base, Mutant, findings};

/// A request's path and its head.
struct Asked {
    path: String,
    head: String,
}

/// Serves with `answer` on a port of its own; gives its URL and what it was asked.
fn serve(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let log = Arc::new(Mutex::new(Vec::new()));
    let (asked, answer) = (Arc::clone(&log), Arc::new(answer));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, asked, answer) = (stream.expect("a connection"), Arc::clone(&asked), Arc::clone(&answer));
            thread::spawn(move || {
                let mut head = String::new();
                let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
                while let Ok(count) = reader.read_line(&mut head) {
                    if count == 0 || head.ends_with("\r\n\r\n") {
                        break;
                    }
                }
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                asked.lock().expect("no panic").push(head.clone());
                answer(&Asked { path, head }, &mut stream);
            });
        }
    });
    (base, log)
}

fn reply(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    // The other side may have had enough.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

const MASTER: &str = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"avc1.4d401e\"\n";
const MEDIA: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PLAYLIST-TYPE:VOD\n";

fn verify(url: &str, options: &[&str]) -> Check<(Option<i32>, Value)> {
    let world = World::new("verify-hostile");
    let run = world.run(&[&["--json", "verify", url, "--timeout", "3"], options].concat());
    Ok((run.code, run.json()?))
}

fn codes(report: &Value) -> Vec<String> {
    findings(report).into_iter().map(|finding| finding.0).collect()
}

fn found(report: &Value, code: &str) -> Check {
    check!(codes(report).iter().any(|known| known == code), "{code} is not in {:?}: {report}", codes(report));
    Ok(())
}

#[test]
fn private_addresses_are_not_asked() -> Check {
    let (base, log) = serve(|_, stream| reply(stream, "200 OK", "", MEDIA.as_bytes()));
    let (code, report) = verify(&format!("{base}/a.m3u8"), &[])?;
    check!(
        code == Some(3) && report["error"].as_str().is_some_and(|text| text.contains("not a public address")),
        "{report}"
    );
    check!(report["hint"].as_str().is_some_and(|hint| hint.contains("--allow-private")), "{report}");
    check!(log.lock().expect("no panic").is_empty(), "it was asked");
    for url in [
        "http://169.254.169.254/latest.m3u8",
        "http://[::1]:1/a.m3u8",
        "http://localhost:1/a.m3u8",
        "http://0x7f000001:1/a.m3u8",
    ] {
        let (code, report) = verify(url, &[])?;
        check!(
            code == Some(3) && report["error"].as_str().is_some_and(|text| text.contains("not a public")),
            "{url}: {report}"
        );
    }
    Ok(())
}

#[test]
fn redirects_are_followed_by_the_rules() -> Check {
    let (base, _) = serve(|asked, stream| match asked.path.as_str() {
        "/meta.m3u8" => reply(stream, "302 Found", "Location: http://169.254.169.254/latest/meta-data/\r\n", b""),
        "/file.m3u8" => reply(stream, "302 Found", "Location: file:///etc/passwd\r\n", b""),
        "/round.m3u8" => reply(stream, "302 Found", "Location: /round.m3u8\r\n", b""),
        _ => reply(stream, "404 Not Found", "", b""),
    });
    for (path, wanted) in [("file", "file: URI"), ("round", "redirects")] {
        let (code, report) = verify(&format!("{base}/{path}.m3u8"), &["--allow-private"])?;
        check!(
            code == Some(3) && report["error"].as_str().is_some_and(|text| text.contains(wanted)),
            "{path}: {report}"
        );
    }
    // The address that a redirect leads to is checked like the first: here none is asked, whatever answers there.
    let (code, report) = verify(&format!("{base}/meta.m3u8"), &[])?;
    check!(code == Some(3) && report["error"].as_str().is_some_and(|text| text.contains("not a public")), "{report}");
    Ok(())
}

#[test]
fn playlists_lead_nowhere_but_the_web() -> Check {
    let (base, log) = serve(|asked, stream| {
        let list = match asked.path.as_str() {
            "/self.m3u8" => format!("{MASTER}self.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\ndeep.m3u8\n"),
            "/deep.m3u8" => format!("{MASTER}self.m3u8\n"),
            "/files.m3u8" => {
                format!(
                    "{MEDIA}#EXT-X-KEY:METHOD=AES-128,URI=\"file:///etc/hostname\"\n#EXTINF:4,\nfile:///etc/passwd\n#EXTINF:4,\ngopher://x/1\n#EXT-X-ENDLIST\n"
                )
            }
            _ => return reply(stream, "404 Not Found", "", b""),
        };
        reply(stream, "200 OK", "", list.as_bytes());
    });
    let (code, report) = verify(&format!("{base}/self.m3u8"), &["--allow-private"])?;
    check!(code == Some(6), "exit {code:?}");
    found(&report, "playlist-nested")?;
    let asked = log.lock().expect("no panic").len();
    check!(asked <= 3, "{asked} requests");
    let (_, report) = verify(&format!("{base}/files.m3u8"), &["--allow-private"])?;
    found(&report, "uri-unsafe")?;
    let unsafe_ones = codes(&report).iter().filter(|code| *code == "uri-unsafe").count();
    check!(unsafe_ones >= 3, "{unsafe_ones} of 3: {report}");
    Ok(())
}

#[test]
fn slow_servers_are_given_up() -> Check {
    let (base, log) = serve(|asked, stream| {
        if asked.path == "/a.m3u8" {
            let segments: String = (0..500).map(|n| format!("#EXTINF:4,\n{n}.ts\n")).collect();
            return reply(stream, "200 OK", "", format!("{MEDIA}{segments}#EXT-X-ENDLIST\n").as_bytes());
        }
        // A byte now and then, for ever.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        while stream.write_all(b"G").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let started = Instant::now();
    let (code, report) = verify(&format!("{base}/a.m3u8"), &["--allow-private"])?;
    check!(code == Some(6), "exit {code:?}: {report}");
    found(&report, "too-slow")?;
    check!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let asked = log.lock().expect("no panic").len();
    check!(asked < 40, "{asked} requests to a server that does not answer");
    Ok(())
}

#[test]
fn endless_answers_are_cut_off() -> Check {
    let (base, _) = serve(|asked, stream| {
        if asked.path == "/a.m3u8" {
            let list = format!(
                "{MEDIA}#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x{:032}\n#EXTINF:4,\n0.ts\n#EXT-X-ENDLIST\n",
                1
            );
            return reply(stream, "200 OK", "", list.as_bytes());
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n#EXTM3U\n");
        let line = "#EXTINF:1,\nx.ts\n".repeat(4096);
        while stream.write_all(line.as_bytes()).is_ok() {}
    });
    let (code, report) = verify(&format!("{base}/endless.m3u8"), &["--allow-private"])?;
    check!(matches!(code, Some(3 | 7)), "exit {code:?}: {report}");
    // An endless key is no key.
    let (_, report) = verify(&format!("{base}/a.m3u8"), &["--allow-private"])?;
    found(&report, "key-length")?;
    Ok(())
}

#[test]
fn a_million_tags_are_read_in_bounds() -> Check {
    let (base, _) = serve(|_, stream| {
        let tags = "#EXT-X-DATERANGE:ID=\"a\",X-A=\"b\"\n".repeat(1_100_000);
        reply(stream, "200 OK", "", format!("{MEDIA}{tags}").as_bytes());
    });
    let started = Instant::now();
    let (code, report) = verify(&format!("{base}/a.m3u8"), &["--allow-private"])?;
    check!(code == Some(6), "exit {code:?}");
    found(&report, "playlist-size")?;
    check!(report["findings"].as_array().is_some_and(|list| list.len() < 100), "the report is as long as the playlist");
    check!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    Ok(())
}

/// A good package behind a server that is not: redirects, compression, ranges, tokens.
#[test]
fn what_the_server_does_wrong_is_found() -> Check {
    let mutant = Mutant::of(Base::Sealed);
    let text = std::fs::read_to_string(mutant.folder.join("master.m3u8")).map_err(|error| error.to_string())?;
    let id = text.split("/v1/keys/").nth(1).and_then(|rest| rest.split('"').next()).ok_or("no key")?.to_owned();
    let key = mutant.world.run(&["key", "export", &id, "--hex"]).expect(0)?.text();
    let key = hex::decode(key.trim()).map_err(|error| error.to_string())?;
    let folder = mutant.folder.clone();
    let (base, log) = serve(move |asked, stream| {
        let file = || std::fs::read(folder.join(asked.path.trim_start_matches('/'))).unwrap_or_default();
        let allowed =
            asked.head.contains("authorization: Bearer secret") || asked.head.contains("Authorization: Bearer secret");
        match asked.path.as_str() {
            path if path.starts_with("/v1/keys/") => reply(stream, "302 Found", "Location: /there\r\n", b""),
            "/there" if allowed => reply(stream, "200 OK", "", &key),
            "/there" => reply(stream, "403 Forbidden", "", b""),
            "/360p/00001.ts" => reply(stream, "302 Found", "Location: /360p/moved.ts\r\n", b""),
            "/360p/moved.ts" => {
                let bytes = std::fs::read(folder.join("360p/00001.ts")).unwrap_or_default();
                reply(stream, "200 OK", "", &bytes);
            }
            "/360p/00002.ts" => reply(stream, "200 OK", "Content-Encoding: gzip\r\n", &file()),
            path if folder.join(path.trim_start_matches('/')).is_file() => reply(stream, "200 OK", "", &file()),
            _ => reply(stream, "404 Not Found", "", b""),
        }
    });
    let url = format!("{base}/master.m3u8");
    let token = ["--allow-private", "--header", "Authorization: Bearer secret", "--cookie", "a=b", "--cookie", "c=d"];
    let (code, report) = verify(&url, &token)?;
    for wanted in ["segment-redirected", "key-redirected", "content-encoding", "key-insecure"] {
        found(&report, wanted)?;
    }
    check!(code == Some(6), "exit {code:?}");
    check!(report["segments_decoded"] == 11, "{} of 11 decoded", report["segments_decoded"]);
    check!(
        log.lock().expect("no panic").iter().all(|head| head.to_lowercase().contains("cookie: a=b; c=d")),
        "a request without cookies"
    );
    let (_, report) = verify(&url, &["--allow-private"])?;
    found(&report, "key-unreachable")?;
    check!(!report.to_string().contains("secret"), "the token is told");
    Ok(())
}

/// What the user shows to the target's server is shown to no other, unless it is named.
#[test]
fn credentials_stay_with_their_origin() -> Check {
    let (other, log) = serve(|_, stream| reply(stream, "200 OK", "", &[7; 16]));
    let list = format!(
        "{MEDIA}#EXT-X-KEY:METHOD=AES-128,URI=\"{other}/k\",IV=0x{:032}\n#EXTINF:4,\n{other}/0.ts\n#EXT-X-ENDLIST\n",
        1
    );
    let (base, _) = serve(move |_, stream| reply(stream, "200 OK", "", list.as_bytes()));
    let url = format!("{base}/a.m3u8");
    let shown = || log.lock().expect("no panic").drain(..).any(|head| head.to_lowercase().contains("x-token"));
    verify(&url, &["--allow-private", "--header", "X-Token: t"])?;
    check!(!shown(), "another server saw the token");
    verify(&url, &["--allow-private", "--header", "X-Token: t", "--key-origin", &other])?;
    check!(shown(), "the named server did not see the token");
    Ok(())
}

/// The key server of a local playlist sees what it is shown, and nobody that it leads on to.
#[test]
fn a_key_server_does_not_pass_credentials_on() -> Check {
    let (evil, seen) = serve(|_, stream| reply(stream, "200 OK", "", &[7; 16]));
    let there = format!("Location: {evil}/k\r\n");
    let (keys, asked) = serve(move |_, stream| reply(stream, "302 Found", &there, b""));
    let (media, shown) = serve(|_, stream| reply(stream, "404 Not Found", "", b""));
    let world = World::new("verify-passed-on");
    let list = format!(
        "{MEDIA}#EXT-X-KEY:METHOD=AES-128,URI=\"{keys}/k\",IV=0x{:032}\n#EXTINF:4,\n{media}/0.ts\n#EXT-X-ENDLIST\n",
        1
    );
    std::fs::write(world.folder.join("a.m3u8"), list).map_err(|error| error.to_string())?;
    let options = ["--allow-private", "--timeout", "3", "--header", "X-Token: t"];
    world.run(&[&["--json", "verify", "a.m3u8"], &options[..]].concat());
    let tokens = |log: &Mutex<Vec<String>>| {
        let log = log.lock().expect("no panic");
        (log.len(), log.iter().filter(|head| head.to_lowercase().contains("x-token")).count())
    };
    check!(tokens(&asked) == (1, 1), "the key server: {:?}", tokens(&asked));
    check!(tokens(&seen) == (1, 0), "whom it leads on to: {:?}", tokens(&seen));
    check!(tokens(&shown).0 > 0 && tokens(&shown).1 == 0, "the segments' server: {:?}", tokens(&shown));
    Ok(())
}

/// Playlists are often led on to where a session lies: what the master says of them holds all the same.
#[test]
fn a_playlist_that_is_led_on_is_compared_with_the_master() -> Check {
    let mutant = Mutant::of(Base::Clear);
    mutant.master("BANDWIDTH=", "BANDWIDTH=1,X-WAS=");
    let folder = mutant.folder.clone();
    let (base, _) = serve(move |asked, stream| match asked.path.as_str() {
        "/360p/index.m3u8" => reply(stream, "302 Found", "Location: /360p/index.m3u8?session=1\r\n", b""),
        path => {
            let path = path.trim_start_matches('/').split('?').next().unwrap_or_default();
            match std::fs::read(folder.join(path)) {
                Ok(bytes) => reply(stream, "200 OK", "", &bytes),
                Err(_) => reply(stream, "404 Not Found", "", b""),
            }
        }
    });
    let (_, report) = verify(&format!("{base}/master.m3u8"), &["--allow-private"])?;
    found(&report, "bandwidth-low")
}

/// A playlist that is larger than any that is read, and a key that is.
#[test]
fn what_is_too_large_is_left_out() -> Check {
    let (base, _) = serve(|asked, stream| match asked.path.as_str() {
        "/a.m3u8" => {
            let list = format!("{MEDIA}#EXTINF:4,\n0.ts\n#EXT-X-ENDLIST\n");
            reply(stream, "200 OK", "", list.as_bytes());
        }
        _ => {
            // More than is read of a segment, as fast as it goes, is stopped by time or by size.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            let zeros = vec![0x47; 1 << 20];
            while stream.write_all(&zeros).is_ok() {}
            let _ = stream.read(&mut [0; 1]);
        }
    });
    let (code, report) = verify(&format!("{base}/a.m3u8"), &["--allow-private"])?;
    let codes = codes(&report);
    check!(code == Some(6) && codes.iter().any(|code| code == "too-slow" || code == "too-large"), "{codes:?}");
    Ok(())
}
