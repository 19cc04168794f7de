//! A shared cache before `keyrung serve`: nginx, set up as carelessly as caches are, which leaves the query out of what it
//! knows an answer by. What it may keep is what everybody may have.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::common::{Check, World, repository};
use super::serve::answer;
use super::serve_config::secret;
use super::serve_run::{SECRET, Service};

struct Cache {
    child: Child,
    address: String,
}

impl Cache {
    fn start(world: &World, origin: &str) -> Check<Self> {
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(|e| e.to_string())?.port();
        let folder = world.folder.join("nginx");
        fs::create_dir(&folder).map_err(|e| e.to_string())?;
        let at = folder.display();
        let text = format!(
            "pid {at}/pid;\nerror_log {at}/error.log;\nevents {{}}\nhttp {{\n\
             access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/temp; fastcgi_temp_path {at}/fastcgi;\n\
             uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
             proxy_cache_path {at}/cache keys_zone=all:1m;\n\
             server {{ listen 127.0.0.1:{port};\n\
             location / {{ proxy_pass http://{origin}; proxy_cache all; proxy_cache_key $uri; proxy_http_version 1.1;\n\
             add_header X-Cache $upstream_cache_status always; }} }} }}\n"
        );
        fs::write(folder.join("nginx.conf"), text).map_err(|e| e.to_string())?;
        let child = Command::new("nginx")
            .env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin")
            .args(["-e", "stderr", "-g", "daemon off; user root;", "-c"])
            .arg(folder.join("nginx.conf"))
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("nginx, which this test needs, does not start: {error}"))?;
        let cache = Self { child, address: format!("127.0.0.1:{port}") };
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(&cache.address).is_err() {
            check!(Instant::now() < until, "nginx does not listen: {:?}", fs::read_to_string(folder.join("error.log")));
            thread::sleep(Duration::from_millis(20));
        }
        Ok(cache)
    }

    fn get(&self, target: &str, fields: &str) -> (u16, String, Vec<u8>) {
        answer(&self.address, target, fields)
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signed(world: &World, path: &str) -> Check<String> {
    let arguments = ["token", "url", "--secret-file", "secret", "--life", "10m", "--content", "film", path];
    Ok(world.run(&arguments).expect(0)?.text().trim_end().to_owned())
}

#[test]
fn a_shared_cache_keeps_segments_and_gives_no_key_or_token_to_others() -> Check {
    let world = World::new("serve-cache");
    fs::copy(repository("fixtures/plain.ts"), world.folder.join("in.ts")).map_err(|e| e.to_string())?;
    let run = world.run(&["--json", "package", "in.ts", "--out", "out", "--content-id", "film"]).expect(0)?;
    let key_id = run.json()?["key_id"].as_str().ok_or("no key id")?.to_owned();
    let rendition = run.json()?["renditions"][0]["playlist"].as_str().ok_or("no playlist")?.to_owned();
    let hex = world.run(&["key", "export", &key_id, "--hex"]).expect(0)?.text();
    let key = hex::decode(hex.trim_end()).map_err(|e| e.to_string())?;
    secret(&world.folder.join("secret"), SECRET);
    let settings = "listen = \"127.0.0.1:0\"\nkey_store = \"home/keys\"\n\
        [[authorizer]]\ntype = \"signed\"\nsecret = [{ file = \"secret\" }]\n";
    fs::write(world.folder.join("serve.toml"), settings).map_err(|e| e.to_string())?;
    let service = Service::started(world.command(&["--json", "serve", "--config", "serve.toml", "out"]));
    let cache = Cache::start(&world, &service.address)?;

    // It caches: a segment comes from it the second time, to anybody, below the URL that never means anything else.
    let record = fs::read(world.folder.join("out/keyrung.json")).map_err(|e| e.to_string())?;
    let generation = hex::encode(&Sha256::digest(record)[..8]);
    let file = rendition.replace("index.m3u8", "00000.ts");
    let segment = format!("/film/~{generation}/{file}");
    let stored = fs::read(world.folder.join("out").join(file)).map_err(|e| e.to_string())?;
    for expected in ["x-cache: miss", "x-cache: hit"] {
        let (status, head, body) = cache.get(&segment, "");
        check!(status == 200 && head.contains(expected) && body == stored, "{expected}: {head}");
    }

    // A key never does, whoever came before.
    let path = format!("/v1/keys/{key_id}");
    let target = signed(&world, &path)?;
    for round in 0..3 {
        let (status, head, body) = cache.get(&path, "");
        check!(status == 403 && !head.contains("x-cache: hit"), "round {round}, a stranger: {head}");
        check!(!body.windows(16).any(|window| window == key), "round {round}: a stranger has the key");
        let (status, head, body) = cache.get(&target, "");
        check!(status == 200 && !head.contains("x-cache: hit") && body == key, "round {round}, a viewer: {head}");
    }

    // Nor does a playlist with a viewer's token in it.
    let playlist = format!("/film/{rendition}");
    let plain = String::from_utf8(cache.get(&playlist, "").2).map_err(|e| e.to_string())?;
    let viewer = signed(&world, "/film/*")?;
    let query = format!("{playlist}?{viewer}");
    for _ in 0..2 {
        let (status, head, body) = cache.get(&query, "");
        let text = String::from_utf8_lossy(&body).into_owned();
        check!(status == 200 && !head.contains("x-cache: hit"), "{head}");
        check!(text.contains("kr-signed="), "the viewer's token is not carried on: {text}");
        let again = String::from_utf8_lossy(&cache.get(&playlist, "").2).into_owned();
        check!(again == plain && !again.contains("kr-signed="), "a stranger has the viewer's playlist: {again}");
    }

    // What a client says of itself changes nothing that others get.
    let master = "/film/master.m3u8";
    let before = cache.get(master, "").2;
    let lies = "Host: evil.example\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: ftp\r\nX-Original-URL: /v1/keys/x\r\n\
        X-HTTP-Method-Override: DELETE\r\nOrigin: https://evil.example\r\nRange: bytes=0-3\r\n";
    for target in [master.to_owned(), format!("{master}?evil=1"), format!("{segment}?evil=1")] {
        let (_, head, body) = cache.get(&target, lies);
        let said = head + &String::from_utf8_lossy(&body);
        check!(!said.contains("evil.example"), "{target}: {said}");
    }
    check!(cache.get(master, "").2 == before, "the multivariant playlist has changed");
    check!(cache.get(&segment, "").2 == stored, "the segment has changed");
    Ok(())
}
