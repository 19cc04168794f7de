//! `keyrung serve` with an authoriser, as a service manager runs it: signals, logs, reloads, keys of a key store.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::common::{Check, World};
use super::serve::answer;
use super::serve_config::secret;

/// A secret that is long enough.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";

const ARGUMENTS: [&str; 4] = ["--json", "serve", "--config", "serve.toml"];

/// The server as a service. It is ended when it is dropped.
pub struct Service {
    child: Child,
    pub address: String,
    stderr: Option<JoinHandle<String>>,
}

impl Service {
    pub fn start(world: &World) -> Self {
        Self::started(world.command(&ARGUMENTS))
    }

    pub fn started(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut stderr = child.stderr.take().expect("a pipe");
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let mut text = String::new();
        let json: Value = loop {
            let count = lines.read_line(&mut text).expect("a line");
            assert!(count > 0, "it ended: {text}{}", stderr.join().expect("its words"));
            if let Ok(json) = serde_json::from_str(&text) {
                break json;
            }
        };
        Self { child, address: json["address"].as_str().expect("an address").to_owned(), stderr: Some(stderr) }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    fn get(&self, target: &str) -> (u16, Vec<u8>) {
        let (status, _, body) = answer(&self.address, target, "");
        (status, body)
    }

    /// Waits for the end: its exit code and what it has said.
    fn end(mut self) -> (Option<i32>, String) {
        let until = Instant::now() + Duration::from_secs(15);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its end") {
                break status;
            }
            assert!(Instant::now() < until, "it does not end");
            thread::sleep(Duration::from_millis(10));
        };
        (status.code(), self.stderr.take().expect("once").join().expect("its words"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) -> Check {
    let until = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        check!(Instant::now() < until, "{what} does not come");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn config(world: &World, more: &str) {
    let text = format!(
        "listen = \"127.0.0.1:0\"\nkey_store = \"home/keys\"\naudit.file = \"audit.jsonl\"\n[shutdown]\ndelay = \"300ms\"\n\
         {more}\n[[authorizer]]\ntype = \"signed\"\nsecret = [{{ file = \"secret\" }}]\n"
    );
    fs::write(world.folder.join("serve.toml"), text).expect("settings");
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// The path of a key, signed by the command that sites call.
fn signed(world: &World, key_id: &str) -> Check<String> {
    let arguments = ["token", "url", "--secret-file", "secret", "--life", "10m", "--content", "film"];
    let path = format!("/v1/keys/{key_id}");
    let text = world.run(&[&arguments[..], &[&path]].concat()).expect(0)?.text();
    Ok(text.trim_end().to_owned())
}

#[test]
fn a_service_from_start_to_end() -> Check {
    let world = World::new("serve-service");
    let key_id = world.run(&["key", "generate", "--content-id", "film"]).expect(0)?.text().trim_end().to_owned();
    let key = world.run(&["key", "export", &key_id, "--hex"]).expect(0)?.text().trim_end().to_owned();
    secret(&world.folder.join("secret"), SECRET);
    config(&world, "");
    let service = Service::start(&world);
    let target = signed(&world, &key_id)?;
    let (status, body) = service.get(&target);
    check!(status == 200 && hex::encode(&body) == key, "{status} {body:?}");
    check!(service.get(&format!("/v1/keys/{key_id}")).0 == 403, "without a token");

    // A key that is made while it runs.
    let later = world.run(&["key", "generate", "--content-id", "film"]).expect(0)?.text().trim_end().to_owned();
    check!(service.get(&signed(&world, &later)?).0 == 200, "a new key is not found");

    // Settings that cannot be used, then others that can, and the log is opened anew.
    let log = world.folder.join("audit.jsonl");
    wait("the log", || lines(&log).len() == 3)?;
    config(&world, "oops = 1");
    service.signal(Signal::HUP);
    thread::sleep(Duration::from_millis(300));
    check!(service.get(&target).0 == 200, "a bad reload changes something");
    wait("the log", || lines(&log).len() == 4)?;
    fs::rename(&log, world.folder.join("audit.1")).expect("rotated");
    config(&world, "");
    service.signal(Signal::HUP);
    wait("the new log", || log.exists())?;
    check!(service.get(&target).0 == 200, "after a reload");
    wait("a line in the new log", || lines(&log).len() == 1)?;
    check!(lines(&world.folder.join("audit.1")).len() == 4, "the old log has changed");

    service.signal(Signal::TERM);
    wait("the drain", || service.get("/readyz").0 == 503)?;
    let (code, said) = service.end();
    check!(code == Some(0), "{code:?}: {said}");
    check!(said.contains("not reloaded") && said.contains("reloaded") && said.contains("stopped"), "{said}");
    let all = fs::read_to_string(&log).expect("the log") + &said;
    let (_, signature) = target.split_once('=').ok_or("no signature")?;
    for secret in [SECRET, &key, signature, "kr-signed"] {
        check!(!all.contains(secret), "{secret} is in the logs: {all}");
    }
    Ok(())
}

#[test]
fn a_second_signal_ends_it_at_once() -> Check {
    let world = World::new("serve-twice");
    world.run(&["key", "generate", "--content-id", "film"]).expect(0)?;
    secret(&world.folder.join("secret"), SECRET);
    config(&world, "deadline = \"60s\"");
    let text = fs::read_to_string(world.folder.join("serve.toml")).expect("settings").replace("300ms", "60s");
    fs::write(world.folder.join("serve.toml"), text).expect("settings");
    let service = Service::start(&world);
    service.signal(Signal::TERM);
    wait("the drain", || service.get("/readyz").0 == 503)?;
    service.signal(Signal::TERM);
    let (code, said) = service.end();
    check!(code == Some(143), "{code:?}: {said}");
    Ok(())
}

#[test]
fn few_open_files_are_said_once() -> Check {
    let world = World::new("serve-few");
    world.run(&["key", "generate", "--content-id", "film"]).expect(0)?;
    secret(&world.folder.join("secret"), SECRET);
    config(&world, "");
    let service = Service::started(world.wrapped("prlimit", &["--nofile=300:300"], &ARGUMENTS));
    let log = world.folder.join("audit.jsonl");
    wait("the log", || log.exists())?;
    fs::rename(&log, world.folder.join("audit.1")).expect("rotated");
    service.signal(Signal::HUP);
    wait("the reload", || log.exists())?;
    service.signal(Signal::TERM);
    let (code, said) = service.end();
    check!(code == Some(0), "{code:?}: {said}");
    check!(said.contains("300 open files are allowed: that is enough for 78 connections"), "{said}");
    check!(said.contains("reloaded") && !said.contains("restart"), "nothing was changed: {said}");
    Ok(())
}
