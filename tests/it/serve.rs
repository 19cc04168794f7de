//! `keyrung serve`: what was packaged can be watched at once, by those on this machine.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::common::{Check, Run, World, repository, tool};
use super::package::{self, Package, path_text};
use super::refusals::refuse;

/// A server that is ended when it is dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    json: Value,
}

impl Server {
    /// Serves these folders.
    pub fn start(world: &World, folders: &[&str]) -> Self {
        let arguments = [&["--json", "serve", "--listen", "127.0.0.1:0"], folders].concat();
        let mut command = world.command(&arguments);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut text = String::new();
        let mut lines = BufReader::new(child.stdout.as_mut().expect("a pipe"));
        let json: Value = loop {
            assert!(lines.read_line(&mut text).expect("a line") > 0, "it ended: {text}");
            if let Ok(json) = serde_json::from_str(&text) {
                break json;
            }
        };
        let address = json["address"].as_str().expect("an address").parse().expect("an address");
        Self { child, address, json }
    }

    /// Sends a signal and waits for the end.
    fn stop(mut self, signal: Signal) -> Run {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
        let until = Instant::now() + Duration::from_secs(10);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its end") {
                break status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut stderr = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("its words");
        Run { code: status.code(), stdout: Vec::new(), stderr }
    }

    /// One request of a raw client: the status, the head in lower case, and the body.
    pub fn get(&self, path: &str, fields: &str) -> (u16, String, Vec<u8>) {
        answer(&self.address.to_string(), path, fields)
    }
}

/// One request of a raw client, fields with their ends of line: the status, the head in lower case, and the body.
pub fn answer(address: &str, target: &str, fields: &str) -> (u16, String, Vec<u8>) {
    let host = if fields.contains("Host:") { String::new() } else { format!("Host: {address}\r\n") };
    let mut stream = TcpStream::connect(address).expect("a connection");
    let request = format!("GET {target} HTTP/1.1\r\n{host}{fields}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head, answer[end + 4..].to_vec())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn packaged(name: &str) -> Package {
    let world = World::new(name);
    let input = repository("fixtures/plain.ts");
    let arguments = ["--json", "package", path_text(&input), "--out", "out", "--segment-duration", "2"];
    let run = world.run(&arguments);
    package::read(world, run).expect("a package")
}

#[test]
fn a_raw_client_gets_playlists_segments_ranges_and_the_key() {
    let package = packaged("serve");
    let server = Server::start(&package.world, &["out"]);
    let id = package.json["content_id"].as_str().expect("an id");
    let key_id = package.json["key_id"].as_str().expect("an id");
    assert_eq!(server.json["url"], format!("http://{}/", server.address));
    let listed = &server.json["packages"][0];
    assert_eq!(listed["url"], format!("http://{}/{id}/master.m3u8", server.address));
    assert_eq!(listed["key_id"], key_id);

    let (status, head, body) = server.get(&format!("/{id}/master.m3u8"), "");
    assert_eq!((status, body), (200, package.master.clone().into_bytes()));
    assert!(head.contains("content-type: application/vnd.apple.mpegurl"), "{head}");
    let rendition = &package.renditions[0];
    let segment = &rendition.segments[0];
    let path = format!("/{id}/{}/{}", rendition.name, segment.uri);
    let (status, _, body) = server.get(&path, "");
    assert!(status == 200 && body == segment.stored, "{path} differs");
    let (status, head, body) = server.get(&path, "Range: bytes=16-47\r\n");
    assert!(status == 206 && body == segment.stored[16..48], "{head}");
    assert!(head.contains(&format!("content-range: bytes 16-47/{}", segment.stored.len())), "{head}");

    let (status, head, body) = server.get(&format!("/v1/keys/{key_id}"), "");
    assert_eq!((status, hex::encode(body)), (200, package.key.clone()));
    assert!(head.contains("cache-control: private"), "{head}");
    let other = package.world.run(&["key", "generate", "--content-id", "other"]).expect(0).expect("a key").text();
    for wrong in [other.trim_end(), "00000000-0000-4000-8000-000000000000", "..%2f..%2fkeyring.json"] {
        let (status, _, body) = server.get(&format!("/v1/keys/{wrong}"), "");
        assert!(matches!(status, 403 | 404) && body.len() != 16, "{wrong}: {status}");
    }
    for secret in ["keyrung.json", "../home/keyring.json", "%2e%2e/home/keyring.json"] {
        let (status, _, _) = server.get(&format!("/{id}/{secret}"), "");
        assert_eq!(status, 404, "{secret}");
    }
    let run = server.stop(Signal::TERM).expect(0).expect("SIGTERM ends it well");
    assert!(!run.stderr.contains("error"), "{}", run.stderr);
}

#[test]
fn strangers_are_refused() {
    let package = packaged("serve-strangers");
    let server = Server::start(&package.world, &["out"]);
    let key = format!("/v1/keys/{}", package.json["key_id"].as_str().expect("an id"));
    for fields in ["Host: evil.example\r\n", "X-Forwarded-For: 192.0.2.1\r\n", "Forwarded: for=192.0.2.1\r\n"] {
        for path in ["/", &key, "/livez"] {
            let (status, _, body) = server.get(path, fields);
            assert!((400..500).contains(&status) && body.len() != 16, "{path} with {fields}: {status}");
        }
    }
    let (status, _, body) = server.get(&key, "Origin: https://evil.example\r\n");
    assert!((400..500).contains(&status) && body.len() != 16, "{status}");
    server.stop(Signal::INT).expect(0).expect("SIGINT ends it well");
}

#[test]
fn ffmpeg_plays_what_was_packaged() -> Check {
    let package = packaged("serve-ffmpeg");
    let server = Server::start(&package.world, &["out"]);
    let url = server.json["packages"][0]["url"].as_str().ok_or("no URL")?.to_owned();
    let frames = |input: &str| -> Check<Vec<String>> {
        let maps = ["-map", "0:v:0", "-map", "0:a:0"];
        let arguments = [&["-v", "warning", "-nostdin", "-i", input], &maps[..], &["-f", "framemd5", "-"]].concat();
        let run = tool("ffmpeg", &arguments).expect(0)?;
        check!(!run.stderr.to_lowercase().contains("error"), "ffmpeg complains: {}", run.stderr);
        let hash = |line: &str| {
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            format!("{} {}", cells.first().unwrap_or(&""), cells.last().unwrap_or(&""))
        };
        let mut hashes: Vec<String> = run.text().lines().filter(|l| !l.starts_with('#')).map(hash).collect();
        // Each stream's frames are in order; how the streams interleave is the demuxer's affair.
        hashes.sort_by_key(|line| line.starts_with('1'));
        Ok(hashes)
    };
    let (played, input) = (frames(&url)?, frames(path_text(&repository("fixtures/plain.ts")))?);
    check!(!input.is_empty(), "ffmpeg decoded nothing");
    check!(played.len() == input.len(), "{} frames of {} were played", played.len(), input.len());
    check!(played == input, "other frames were played");
    server.stop(Signal::TERM).expect(0)?;
    Ok(())
}

#[test]
fn what_cannot_be_served_is_refused() {
    let package = packaged("serve-refused");
    let world = &package.world;
    refuse(world, &["serve"], 2).expect("no folder");
    refuse(world, &["serve", "nowhere"], 3).expect("no package");
    refuse(world, &["serve", "home"], 3).expect("no package");
    refuse(world, &["serve", "out", "--listen", "0.0.0.0:0"], 2).expect("not loopback");
    refuse(world, &["serve", "out", "--listen", "somewhere"], 2).expect("no address");
    refuse(world, &["serve", "out", "out"], 2).expect("twice the same");
    let server = Server::start(world, &["out"]);
    let run = refuse(world, &["serve", "out", "--listen", &server.address.to_string()], 2).expect("in use");
    assert!(run.stderr.contains("port 0"), "{}", run.stderr);
    drop(server);

    let record = world.folder.join("out/keyrung.json");
    let text = fs::read_to_string(&record).expect("the record");
    fs::write(&record, text.replacen("\"version\": 1", "\"version\": 2", 1)).expect("the record");
    let run = refuse(world, &["serve", "out"], 3).expect("a later version");
    assert!(run.stderr.contains("version 2"), "{}", run.stderr);
    // Someone else's key must not be had by naming it in a folder of one's own.
    let id = package.json["content_id"].as_str().expect("an id");
    fs::write(&record, text.replace(id, "other")).expect("the record");
    refuse(world, &["serve", "out"], 4).expect("a key of other content");
    fs::write(&record, text).expect("the record");
    let key_id = package.json["key_id"].as_str().expect("an id");
    world.run(&["key", "delete", key_id, "--yes"]).expect(0).expect("deleted");
    refuse(world, &["serve", "out"], 4).expect("no key");
    let fresh = World::new("serve-fresh");
    refuse(&fresh, &["serve", path_text(&package.folder)], 4).expect("no keyring");
    assert!(!fresh.folder.join("home").exists(), "a keyring was made for nothing");
}

#[test]
fn clear_packages_need_no_key() {
    let world = World::new("serve-clear");
    let input = repository("fixtures/plain.ts");
    world.run(&["package", path_text(&input), "--out", "out", "--protection", "none"]).expect(0).expect("a package");
    let server = Server::start(&world, &["out"]);
    assert!(server.json["packages"][0]["key_id"].is_null());
    let url = server.json["packages"][0]["url"].as_str().expect("a URL").to_owned();
    let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).expect("a path");
    assert_eq!(server.get(&path, "").0, 200);
    assert!(!world.folder.join("home").exists(), "a keyring was made for nothing");
}
