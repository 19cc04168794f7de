//! `keyrung submit`, `worker` and `status` against a real Temporal server. Killed workers: `temporal_kills`.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::common::{Check, World, repository, started, tool};
use super::temporal_server::{Worker, run_status, server, status, wait, world};

/// Short times: nobody waits for a test.
pub const HASTY: [&str; 4] = ["--heartbeat-timeout", "2", "--longest-wait", "1"];

/// A title of two renditions, made in some 20 ms.
pub fn title(name: &str) -> Value {
    let sample = |size: &str| repository(&format!("samples/ladder/{size}.ts"));
    json!({"content_id": name, "inputs": [sample("1080p"), sample("360p")], "out": format!("out/{name}")})
}

pub fn write(world: &World, batch: &str, titles: &[Value]) {
    let lines: String = titles.iter().map(|title| format!("{title}\n")).collect();
    fs::write(world.folder.join(format!("{batch}.jsonl")), lines).expect("a jobs file");
}

/// Submits `BATCH.jsonl` to the task queue of the same name.
pub fn submit(world: &World, batch: &str, more: &[&str]) -> Check<Value> {
    let jobs = format!("{batch}.jsonl");
    world.run(&[&["--json", "submit", &jobs, "--task-queue", batch], &HASTY[..], more].concat()).expect(0)?.json()
}

fn counts(seen: &Value) -> [u64; 4] {
    ["complete", "open", "failed", "cancelled"].map(|name| seen[name].as_u64().unwrap_or(u64::MAX))
}

#[test]
fn submitting_twice_does_nothing_twice() {
    let world = world("temporal-submit");
    write(&world, "twice", &["a", "b", "c"].map(title));
    let started = |told: &Value| ["started", "open", "complete", "workers"].map(|name| told[name].as_u64().unwrap());
    // No more than two are open at once: there is nobody to package them, so that the third does not get in.
    let submit_all = ["submit", "twice.jsonl", "--task-queue", "twice", "--open", "2", "--progress", "json"];
    let mut waits = world.command(&submit_all).stderr(Stdio::piped()).spawn().expect("keyrung starts");
    wait(&world, "twice", 20, |seen| seen["open"] == 2).expect("two titles");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(counts(&status(&world, "twice", &[]).expect("a status")), [0, 2, 0, 0]);
    let _ = waits.kill();
    let said = waits.wait_with_output().expect("its words").stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("\"waits\":true"), "{said}");
    // The same command goes on.
    assert_eq!(started(&submit(&world, "twice", &[]).expect("submitted")), [1, 2, 0, 0]);
    assert_eq!(started(&submit(&world, "twice", &[]).expect("submitted")), [0, 3, 0, 0]);
    assert_eq!(run_status(&world, "twice", &[]).code, Some(11));
    let worker = Worker::start(&world, "twice", &[]);
    wait(&world, "twice", 30, |seen| seen["open"] == 0).expect("all are packaged");
    assert_eq!(started(&submit(&world, "twice", &[]).expect("submitted")), [0, 0, 3, 1]);
    let seen = run_status(&world, "twice", &[]).expect(0).expect("all complete").json().expect("JSON");
    assert_eq!(counts(&seen), [3, 0, 0, 0]);
    let text = world.run(&["status", "--batch", "twice"]).text();
    assert_eq!(text, "3 titles: 3 complete\n");
    // What the server has forgotten is found where it lies.
    write(&world, "again", &["a", "b", "c"].map(title));
    let run = world.run(&["submit", "again.jsonl", "--task-queue", "twice"]).expect(0).expect("submitted");
    assert_eq!(run.text(), "batch again: 3 titles: 3 started\n");
    wait(&world, "again", 30, |seen| seen["complete"] == 3).expect("found");
    let (code, words, _) = worker.drain(Duration::from_secs(10)).expect("it ends");
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("drained: 3 packaged, 3 found packaged, 0 failed, 0 handed back"), "{words}");
}

#[test]
fn where_there_is_no_server_it_is_said_at_once() {
    let world = world("temporal-nobody");
    write(&world, "jobs", &[title("a")]);
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").to_string();
    let calls: [&[&str]; 3] = [&["submit", "jobs.jsonl"], &["worker"], &["status"]];
    for arguments in calls {
        let began = Instant::now();
        let run = world.run(&[arguments, &["--address", &free]].concat()).expect(7).expect("an error");
        assert!(
            run.stderr.starts_with(&format!("error: no Temporal server answers at {free}: Connection refused")),
            "{}",
            run.stderr
        );
        assert!(began.elapsed() < Duration::from_secs(5) && run.stderr.lines().count() == 2, "{}", run.stderr);
        let run = world.run(&[arguments, &["--namespace", "nobody"]].concat()).expect(2).expect("an error");
        assert!(run.stderr.contains("has no namespace nobody"), "{}", run.stderr);
        // A key that would go over the wire in the clear.
        let mut keyed = world.clone();
        keyed.environment.push(("TEMPORAL_API_KEY", "a-secret-of-mine".to_owned()));
        let run = keyed.run(&[arguments, &["--address", "http://127.0.0.1:9"]].concat()).expect(2).expect("an error");
        assert!(run.stderr.contains("need TLS") && !run.stderr.contains("a-secret-of-mine"), "{}", run.stderr);
    }
    // One that accepts and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let began = Instant::now();
    let run = world.run(&["status", "--address", &silent.local_addr().expect("its number").to_string()]);
    assert!(run.code == Some(7) && began.elapsed() < Duration::from_secs(15), "{:?} {}", run.code, run.stderr);
    // Another namespace has titles of its own.
    let run = world.run(&["status", "--namespace", "other"]).expect(2).expect("no titles");
    assert!(run.stderr.starts_with("error: the Temporal server has no titles\n"), "{}", run.stderr);
}

#[test]
fn a_jobs_file_is_refused_as_a_whole() {
    let world = World::new("temporal-check");
    let lines = [
        title("a").to_string(),
        r#"{"inputs":["a.ts"],"out":"b","grant_token":["xyzzy"],"iv":"derived"}"#.to_owned(),
        r#"{"inputs":["a.ts"],"out":"c","segment-duration":2}"#.to_owned(),
        title("a").to_string(),
        r#"{"inputs":["a.ts"],"out":"out/a/b"}"#.to_owned(),
        r#"{"inputs":["a.ts"],"out":"out"}"#.to_owned(),
    ];
    fs::write(world.folder.join("jobs.jsonl"), lines.join("\n")).expect("a jobs file");
    // The server is not asked.
    let run = world.run(&["submit", "jobs.jsonl", "--address", "127.0.0.1:1"]).expect(2).expect("a refusal");
    for wanted in [
        "error: jobs.jsonl:2:30: grant_token: a submitted title is kept on the server",
        "warning: jobs.jsonl:3:30: segment-duration: there is no such field, did you mean segment_duration?",
        "warning: jobs.jsonl:4:15: content_id: a title before this one has a too",
        "out: a title before this one has ",
        "warning: jobs.jsonl:5:26: out: ",
        "warning: jobs.jsonl:6:26: out: ",
    ] {
        assert!(run.stderr.contains(wanted), "{wanted}: {}", run.stderr);
    }
    assert!(!run.stderr.contains("xyzzy"), "{}", run.stderr);
    fs::write(world.folder.join("good one.jsonl"), title("a").to_string()).expect("a jobs file");
    let run = world.run(&["submit", "good one.jsonl", "--dry-run"]).expect(2).expect("a refusal");
    assert!(run.stderr.contains("hint: --batch NAME"), "{}", run.stderr);
    let run = world.run(&["submit", "good one.jsonl", "--dry-run", "--batch", "june"]).expect(0).expect("checked");
    assert_eq!(run.text(), "1 title of batch june can be submitted; nothing was\n");
}

/// What cannot work fails once and says why; what was mended works the next time.
#[test]
fn what_fails_for_good_is_told_and_tried_again_on_request() {
    let world = world("temporal-fails");
    let at = |name: &str| world.folder.join(name);
    fs::write(at("text.ts"), "no transport stream\n".repeat(100)).expect("a file");
    let home = at("home");
    world
        .run(&["package", repository("fixtures/plain.ts").to_str().expect("a path"), "--out", "first"])
        .expect(0)
        .expect("a keyring");
    let sealed = world.run(&["--json", "key", "list"]).json().expect("JSON");
    assert!(sealed.to_string().contains("key_id"), "{sealed}");
    let bad = |name: &str, field: &str, value: Value| {
        let mut title = title(name);
        title[field] = value;
        title
    };
    let titles = [
        title("good"),
        bad("missing", "inputs", json!(["missing.ts"])),
        bad("text", "inputs", json!(["text.ts"])),
        bad("key", "key", json!("3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f")),
    ];
    write(&world, "fails", &titles);
    submit(&world, "fails", &[]).expect("submitted");
    let worker = Worker::start(&world, "fails", &[]);
    wait(&world, "fails", 30, |seen| seen["open"] == 0).expect("all end");
    let seen = run_status(&world, "fails", &[]).expect(10).expect("some have failed").json().expect("JSON");
    assert_eq!(counts(&seen), [1, 0, 3, 0]);
    let failures = seen["failures"].as_array().expect("failures");
    let told: Vec<_> =
        failures.iter().map(|f| (&f["content_id"], &f["line"], &f["kind"], &f["code"], &f["attempts"])).collect();
    assert_eq!(
        told,
        [
            (&json!("missing"), &json!(2), &json!("Input"), &json!(3), &json!(1)),
            (&json!("text"), &json!(3), &json!("Input"), &json!(3), &json!(1)),
            (&json!("key"), &json!(4), &json!("Key"), &json!(4), &json!(1)),
        ]
    );
    assert!(failures[0]["message"].as_str().is_some_and(|text| text.contains("missing.ts")), "{seen:#}");
    assert!(failures[2]["hint"].as_str().is_some_and(|text| text.contains("keyrung key list")), "{seen:#}");
    let text = world.run(&["status", "--batch", "fails", "--failed"]).text();
    assert!(text.starts_with("failed  missing (line 2): ") && text.contains("        hint: "), "{text}");
    // Two are mended where they lie; one has to be submitted anew.
    for name in ["missing.ts", "text.ts"] {
        fs::copy(repository("fixtures/plain.ts"), at(name)).expect("a file");
    }
    let told = run_status(&world, "fails", &["--retry-failed"]).expect(0).expect("retried").json().expect("JSON");
    assert_eq!(told, json!({"batch": "fails", "retried": 3}));
    let seen = wait(&world, "fails", 30, |seen| seen["open"] == 0 && seen["titles"] == 4).expect("all end");
    assert_eq!(counts(&seen), [3, 0, 1, 0]);
    write(&world, "fails", &[titles[0].clone(), titles[1].clone(), titles[2].clone(), title("key")]);
    let told = submit(&world, "fails", &[]).expect("submitted");
    assert_eq!((&told["started"], &told["complete"]), (&json!(1), &json!(3)));
    wait(&world, "fails", 30, |seen| counts(seen) == [4, 0, 0, 0])
        .expect("all are packaged, and none is counted twice");
    drop(worker);
    assert!(home.join("keys").exists());
}

/// A key store that cannot be opened for now fails in a way that may pass: it is tried again, and given up in the end.
#[test]
fn what_may_pass_is_tried_again_and_given_up() {
    let world = world("temporal-passes");
    // Another run is at work there, for ever.
    fs::create_dir(world.folder.join("out")).expect("a folder");
    let title = title("a");
    write(&world, "passes", std::slice::from_ref(&title));
    let lock = world.folder.join("out/.a.keyrung-staging");
    fs::create_dir(&lock).expect("a folder");
    let hold = ["--exclusive", "--no-fork", lock.to_str().expect("a path"), "sleep", "60"];
    let mut holder = started(Command::new("flock").args(hold).spawn(), "flock");
    std::thread::sleep(Duration::from_millis(300));
    submit(&world, "passes", &["--tries", "3"]).expect("submitted");
    let _worker = Worker::start(&world, "passes", &[]);
    let seen = wait(&world, "passes", 30, |seen| seen["waiting"][0]["attempt"].as_u64() > Some(1)).expect("it waits");
    assert_eq!(seen["waiting"][0]["last_failure"]["kind"], "Temporary", "{seen:#}");
    let seen = wait(&world, "passes", 30, |seen| seen["failed"] == 1).expect("it is given up");
    assert_eq!((&seen["failures"][0]["attempts"], &seen["failures"][0]["code"]), (&json!(3), &json!(7)), "{seen:#}");
    let _ = holder.kill();
    let _ = holder.wait();
    run_status(&world, "passes", &["--retry-failed"]).expect(0).expect("retried");
    wait(&world, "passes", 30, |seen| counts(seen) == [1, 0, 0, 0]).expect("it is packaged");
}

#[test]
fn a_worker_drains_when_it_is_told_to_stop() {
    let world = world("temporal-drain");
    write(&world, "drain", &["a", "b", "c", "d"].map(title));
    submit(&world, "drain", &[]).expect("submitted");
    let running = |count: usize| move |seen: &Value| seen["running"].as_array().is_some_and(|all| all.len() == count);
    // Enough time: what runs is finished, and nothing else is begun.
    let patient = Worker::slow(&world, "drain", 30, &["--titles", "2", "--grace", "30"]);
    wait(&world, "drain", 20, running(2)).expect("two run");
    let (code, words, _) = patient.drain(Duration::from_secs(30)).expect("it ends");
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("drained: 2 packaged, 0 found packaged, 0 failed, 0 handed back"), "{words}");
    assert_eq!(counts(&status(&world, "drain", &[]).expect("a status")), [2, 2, 0, 0]);
    // No time: what runs is handed back, at once and not when its heartbeat fails.
    let hasty = Worker::slow(&world, "drain", 60, &["--titles", "2", "--grace", "0"]);
    let seen = wait(&world, "drain", 20, |seen| seen["running"][1]["written"].as_u64() > Some(0)).expect("two run");
    assert!(
        seen["running"][0]["worker"].as_str().is_some_and(|worker| worker.starts_with(&format!("{}@", hasty.id()))),
        "{seen:#}"
    );
    assert!(seen["running"][0]["percent"].is_u64() && seen["running"][0]["attempt"] == 1, "{seen:#}");
    let (code, words, took) = hasty.drain(Duration::from_secs(10)).expect("it ends");
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("drained: 0 packaged, 0 found packaged, 0 failed, 2 handed back"), "{words}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(counts(&status(&world, "drain", &[]).expect("a status")), [2, 2, 0, 0]);
    let _worker = Worker::start(&world, "drain", &[]);
    wait(&world, "drain", 20, |seen| counts(seen) == [4, 0, 0, 0]).expect("all are packaged");
}

#[test]
fn a_batch_is_cancelled() {
    let world = world("temporal-cancel");
    write(&world, "cancel", &["a", "b", "c"].map(title));
    submit(&world, "cancel", &[]).expect("submitted");
    let worker = Worker::slow(&world, "cancel", 200, &["--titles", "1"]);
    wait(&world, "cancel", 20, |seen| seen["running"][0]["written"].as_u64() > Some(0)).expect("one runs");
    run_status(&World::clone(&world), "cancel", &["--cancel", "--retry-failed"]).expect(2).expect("one or the other");
    world.run(&["status", "--cancel"]).expect(2).expect("the batch has to be named");
    let told = run_status(&world, "cancel", &["--cancel"]).expect(0).expect("cancelled").json().expect("JSON");
    assert_eq!(told["cancelled"], 3);
    wait(&world, "cancel", 10, |seen| counts(seen) == [0, 0, 0, 3]).expect("all are cancelled, the one that ran too");
    assert_eq!(run_status(&world, "cancel", &[]).code, Some(10));
    assert!(
        !world.folder.join("out/a/keyrung.json").exists() && worker.words().contains("stopped"),
        "{}",
        worker.words()
    );
    assert_eq!(submit(&world, "cancel", &[]).expect("submitted")["started"], 3);
    drop(worker);
    let _worker = Worker::start(&world, "cancel", &[]);
    wait(&world, "cancel", 30, |seen| counts(seen) == [3, 0, 0, 0])
        .expect("all are packaged, and none is counted twice");
}

/// Nothing that opens a segment goes through the server: its database holds no key, however written.
#[test]
fn the_server_sees_no_key() {
    let world = world("temporal-keys");
    write(&world, "secret", &[title("quite-a-secret"), json!({"inputs": ["none.ts"], "out": "out/none"})]);
    submit(&world, "secret", &[]).expect("submitted");
    let worker = Worker::start(&world, "secret", &[]);
    wait(&world, "secret", 30, |seen| seen["open"] == 0).expect("it is packaged");
    drop(worker);
    let record: Value =
        serde_json::from_slice(&fs::read(world.folder.join("out/quite-a-secret/keyrung.json")).expect("a record"))
            .expect("JSON");
    let key_id = record["key_id"].as_str().expect("a key");
    let key = world.run(&["key", "export", key_id, "--hex"]).expect(0).expect("the key").text();
    let mut keys = vec![hex::decode(key.trim()).expect("hex")];
    let keyring: Value =
        serde_json::from_slice(&fs::read(world.folder.join("home/keyring.json")).expect("a keyring")).expect("JSON");
    keys.extend(secrets(&keyring));
    assert!(keys.len() > 1, "no secret in the keyring: {keyring}");
    let mut stored = Vec::new();
    for entry in fs::read_dir(&server().folder).expect("a folder") {
        stored.extend(fs::read(entry.expect("an entry").path()).expect("a file"));
    }
    let has = |text: &[u8]| stored.windows(text.len()).any(|window| window == text);
    // It would be found: other things about the title are.
    assert!(has(b"quite-a-secret") && has(key_id.as_bytes()), "the database is not what it was taken for");
    for key in keys {
        use base64::Engine;
        let hex = hex::encode(&key);
        let standard = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&key);
        let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&key);
        for form in
            [key.clone(), hex.clone().into_bytes(), hex.to_uppercase().into_bytes(), standard.into(), url.into()]
        {
            assert!(!has(&form), "the server has a key");
        }
    }
}

/// Everything in a keyring that may be a key: texts of 32 bytes in base64 or hex.
fn secrets(value: &Value) -> Vec<Vec<u8>> {
    use base64::Engine;
    match value {
        Value::String(text) => {
            let decoded =
                hex::decode(text).ok().or_else(|| base64::engine::general_purpose::STANDARD.decode(text).ok());
            decoded.filter(|bytes| bytes.len() >= 16).into_iter().collect()
        }
        Value::Array(values) => values.iter().flat_map(secrets).collect(),
        Value::Object(values) => values.values().flat_map(secrets).collect(),
        _ => Vec::new(),
    }
}

/// A TLS server in front of another one. It is killed when it is dropped.
struct Proxy {
    child: Child,
    address: String,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PROXY: &str = r#"
import socket, ssl, sys, threading
folder, host, port = sys.argv[1], *sys.argv[2].rsplit(":", 1)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/server.pem", folder + "/server.key")
context.load_verify_locations(folder + "/ca.pem")
context.verify_mode = ssl.CERT_REQUIRED if sys.argv[3] == "mutual" else ssl.CERT_NONE
context.set_alpn_protocols(["h2"])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def pump(a, b):
    try:
        while data := a.recv(65536): b.sendall(data)
    except OSError: pass
    for s in (a, b):
        try: s.shutdown(socket.SHUT_RDWR)
        except OSError: pass
def serve(plain):
    try: tls = context.wrap_socket(plain, server_side=True)
    except OSError: return plain.close()
    upstream = socket.create_connection((host, int(port)))
    threading.Thread(target=pump, args=(tls, upstream), daemon=True).start()
    pump(upstream, tls)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

impl Proxy {
    fn start(folder: &Path, kind: &str) -> Self {
        use std::io::{BufRead, BufReader};
        let mut command = Command::new("python3");
        command.args(["-c", PROXY]).arg(folder).args([&server().address, kind]).stdout(Stdio::piped());
        let mut child = started(command.spawn(), "python3");
        let mut port = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut port).expect("a line");
        Self { child, address: format!("127.0.0.1:{}", port.trim()) }
    }
}

fn certificates(folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use std::os::unix::fs::PermissionsExt;
    let pair = || KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, pair()).expect("a certificate");
    let put = |name: &str, text: String| {
        fs::write(folder.join(name), text).expect("a file");
        fs::set_permissions(folder.join(name), PermissionsExt::from_mode(0o600)).expect("a mode");
    };
    put("ca.pem", ca.pem());
    for (name, host) in [("server", "temporal.example"), ("client", "worker.example")] {
        let key = pair();
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        // OpenSSL takes a certificate with its issuer's name for one that signed itself.
        params.distinguished_name.push(DnType::CommonName, host);
        put(&format!("{name}.pem"), params.signed_by(&key, &ca).expect("a certificate").pem());
        put(&format!("{name}.key"), key.serialize_pem());
    }
}

#[test]
fn over_tls_with_certificates_and_api_keys() {
    let world = World::new("temporal-tls");
    certificates(&world.folder);
    let plain = Proxy::start(&world.folder, "plain");
    let of = |proxy: &Proxy, more: &[&str]| {
        let address = proxy.address.clone();
        world.run(&[&["status", "--address", &address, "--namespace", "other"], more].concat())
    };
    let trusted = ["--tls-ca", "ca.pem", "--tls-server-name", "temporal.example"];
    let is_in =
        |run: super::common::Run| assert!(run.stderr.contains("has no titles"), "{:?} {}", run.code, run.stderr);
    is_in(of(&plain, &trusted));
    // Nobody that the CA vouches for, or another name than the certificate's.
    for (more, why) in [(&["--tls"][..], "certificate"), (&trusted[..2], "certificate")] {
        let run = of(&plain, more).expect(7).expect("an error");
        assert!(run.stderr.contains(why), "{}", run.stderr);
    }
    fs::write(world.folder.join("api"), "a-secret-of-mine\n").expect("a file");
    tool("chmod", &["644", world.folder.join("api").to_str().expect("a path")]).expect(0).expect("a mode");
    let run = of(&plain, &[&trusted[..], &["--api-key-file", "api"]].concat()).expect(4).expect("open to others");
    assert!(run.stderr.contains("hint: chmod "), "{}", run.stderr);
    tool("chmod", &["600", world.folder.join("api").to_str().expect("a path")]).expect(0).expect("a mode");
    is_in(of(&plain, &[&trusted[..], &["--api-key-file", "api"]].concat()));
    let mutual = Proxy::start(&world.folder, "mutual");
    let run = of(&mutual, &trusted).expect(7).expect("an error");
    assert!(run.stderr.contains("no Temporal server answers"), "{}", run.stderr);
    is_in(of(&mutual, &[&trusted[..], &["--tls-certificate", "client.pem", "--tls-key", "client.key"]].concat()));
}
