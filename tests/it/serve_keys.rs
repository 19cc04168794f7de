//! `keyrung serve` with its keys in S3 and under KMS, while both fail as networks and busy services do. The rules of it are tested
//! in the library; here, that the whole keeps them.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::common::{Check, World, eventually, repository};
use super::moto::moto;
use super::proxy::{Asked, Fault, Proxy};
use super::serve::Server;

/// What is done to every request, one after the other as the test turns the switch.
const FAULTS: [Fault; 4] =
    [Fault::None, Fault::Hangup, Fault::Status(503, "SlowDown"), Fault::Late(Duration::from_secs(3))];

/// A package whose key is in a bucket and under KMS, both behind a proxy, and a server for it.
struct Site {
    world: World,
    proxy: Proxy,
    switch: Arc<AtomicUsize>,
    store: String,
    key_id: String,
    key: Vec<u8>,
}

impl Site {
    fn new(name: &str) -> Check<Self> {
        let switch = Arc::new(AtomicUsize::new(0));
        let turned = Arc::clone(&switch);
        let proxy = Proxy::start(&moto().address, move |_, _| FAULTS[turned.load(Ordering::SeqCst)]);
        let world = World::new(name).with_aws(&proxy.url);
        fs::copy(repository("fixtures/plain.ts"), world.folder.join("in.ts")).map_err(|e| e.to_string())?;
        moto().bucket(name)?;
        let (store, provider) = (format!("s3://{name}/keys"), format!("aws-kms:{}", moto().key()?));
        let package = ["--json", "package", "in.ts", "--out", "out", "--content-id", "film"];
        let run =
            world.run(&[&package[..], &["--key-store", &store, "--key-provider", &provider]].concat()).expect(0)?;
        let key_id = run.json()?["key_id"].as_str().ok_or("no key id")?.to_owned();
        let hex = world.run(&["key", "export", &key_id, "--hex", "--key-store", &store]).expect(0)?.text();
        let key = hex::decode(hex.trim_end()).map_err(|e| e.to_string())?;
        let settings = "[keys]\nlife = \"1s\"\nnegative_life = \"200ms\"\nstale_for = \"1m\"\nwait = \"500ms\"\n";
        fs::write(world.folder.join("serve.toml"), settings).map_err(|e| e.to_string())?;
        Ok(Self { world, proxy, switch, store, key_id, key })
    }

    fn serve(&self) -> Server {
        Server::start(&self.world, &["--config", "serve.toml", "--key-store", &self.store, "out"])
    }

    fn turn(&self, to: usize) {
        self.switch.store(to, Ordering::SeqCst);
    }

    fn get(&self, server: &Server) -> (u16, String, Vec<u8>) {
        server.get(&format!("/v1/keys/{}", self.key_id), "")
    }

    fn opened(&self) -> usize {
        let decrypts = |asked: &Asked| asked.header("x-amz-target").is_some_and(|target| target.ends_with(".Decrypt"));
        self.proxy.count(decrypts)
    }
}

#[test]
fn a_key_is_given_on_while_s3_and_kms_fail_and_no_longer_when_it_was_deleted() -> Check {
    let site = Site::new("serve-keys-fail")?;
    let server = site.serve();
    let (status, _, body) = site.get(&server);
    check!(status == 200 && body == site.key, "{status}");
    for (at, fault) in FAULTS.iter().enumerate().skip(1) {
        site.turn(at);
        let until = Instant::now() + Duration::from_millis(2500);
        let mut longest = Duration::ZERO;
        while Instant::now() < until {
            let began = Instant::now();
            let (status, head, body) = site.get(&server);
            longest = longest.max(began.elapsed());
            check!(status == 200 && body == site.key, "{fault:?}: {head}");
            thread::sleep(Duration::from_millis(20));
        }
        check!(longest < Duration::from_secs(2), "{fault:?}: an answer took {longest:?}");
        site.turn(0);
        // What was under way has to end first, and what failed is left alone for a while.
        eventually("the key is opened anew", Duration::from_secs(15), || {
            let before = site.opened();
            thread::sleep(Duration::from_millis(1100));
            site.get(&server).0 == 200 && site.opened() > before
        })?;
    }
    site.world.run(&["key", "delete", &site.key_id, "--yes", "--key-store", &site.store]).expect(0)?;
    eventually("the key that was deleted is refused", Duration::from_secs(5), || site.get(&server).0 == 403)
}

#[test]
fn many_viewers_of_a_new_key_ask_kms_once_and_are_told_when_it_is_down() -> Check {
    let site = Site::new("serve-keys-cold")?;
    let server = site.serve();
    for (at, fault) in FAULTS.iter().enumerate().skip(1) {
        site.turn(at);
        let began = Instant::now();
        let (status, head, body) = site.get(&server);
        check!(status == 503 && body.len() != 16, "{fault:?}: {head}");
        check!(head.contains("\r\nretry-after: "), "{fault:?}: {head}");
        check!(began.elapsed() < Duration::from_millis(1800), "{fault:?}: {:?}", began.elapsed());
        check!(server.get("/readyz", "").0 == 503, "{fault:?}: it says that it is ready");
        check!(server.get("/livez", "").0 == 200, "{fault:?}");
    }
    site.turn(0);
    // Calls that were late end first.
    thread::sleep(Duration::from_secs(5));
    let before = site.opened();
    let answers: Vec<(u16, Vec<u8>)> = thread::scope(|scope| {
        let viewers: Vec<_> = (0..60)
            .map(|_| {
                scope.spawn(|| {
                    let (status, _, body) = site.get(&server);
                    (status, body)
                })
            })
            .collect();
        viewers.into_iter().map(|viewer| viewer.join().expect("no panic")).collect()
    });
    check!(answers.iter().all(|(status, body)| *status == 200 && *body == site.key), "{:?}", answers[0].0);
    check!(site.opened() == before + 1, "{} calls", site.opened() - before);
    check!(server.get("/readyz", "").0 == 200, "it says that it is not ready");
    Ok(())
}
