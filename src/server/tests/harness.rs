//! A server on a port of its own, with keys that are made up, and clients.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::crypto::key::ContentKey;
use crate::keys::{Ciphertext, EncryptionContext, KeyId, SealedKey};
use crate::limits::SERVER_CHUNK_BYTES;
use crate::server::config::Config;
use crate::server::vault::{Open, Trouble};
use crate::server::{Control, Notice, Outside, ServeError, ServedPackage, Settings, run};

/// The key of everything.
pub(super) const KEY: [u8; 16] = *b"0123456789abcdef";
pub(super) const PLAYLIST: &str = "#EXTM3U\n";
const JSON: &str = "application/problem+json";

/// The key of `film`.
pub(super) const FILM_KEY: &str = "00000000-0000-4000-8000-000000000001";
/// One that is in the store, and no package names it: it is of `other`.
pub(super) const OTHER_KEY: &str = "00000000-0000-4000-8000-000000000002";
/// One that a package names, and the store has it not.
const LOST_KEY: &str = "00000000-0000-4000-8000-000000000003";
/// One at which the store fails badly.
const PANIC_KEY: &str = "00000000-0000-4000-8000-000000000004";

/// A segment longer than two chunks and not a multiple of one, every byte telling its place.
pub(super) fn segment() -> Vec<u8> {
    (0..SERVER_CHUNK_BYTES * 2 + 77).map(|i| (i % 251) as u8).collect()
}

/// A key store and a provider, to be asked and to be put out of order.
#[derive(Clone, Default)]
pub(super) struct Keys {
    pub(super) asked: Arc<AtomicUsize>,
    pub(super) is_down: Arc<AtomicBool>,
    /// How long it takes to open a key, in milliseconds.
    pub(super) millis: Arc<AtomicU64>,
}

impl Open for Keys {
    fn sealed(&self, key_id: &KeyId) -> Result<Option<SealedKey>, Trouble> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_down.load(Ordering::SeqCst) {
            return Err(Trouble::passing("the store is down"));
        }
        let content_id = match key_id.to_string().as_str() {
            FILM_KEY => "film",
            OTHER_KEY => "other",
            PANIC_KEY => panic!("a key store that fails badly"),
            _ => return Ok(None),
        };
        let content_id = content_id.parse().unwrap();
        let context = EncryptionContext::of_content(&content_id);
        let sealed = Ciphertext { key: "k".into(), blob: b"sealed".to_vec() };
        let mut sealed = SealedKey::new(content_id, "local", context, sealed).unwrap();
        sealed.key_id = *key_id;
        Ok(Some(sealed))
    }

    fn unseal(&self, _: &SealedKey) -> Result<ContentKey, Trouble> {
        std::thread::sleep(Duration::from_millis(self.millis.load(Ordering::SeqCst)));
        let mut key = KEY;
        Ok(ContentKey::from_bytes(&mut key))
    }
}

/// A package's folder as `package` leaves it, and beside its files what must not be served.
fn write_package(folder: &Path, content_id: &str, key_id: &str) -> ServedPackage {
    fs::create_dir_all(folder.join("720p")).unwrap();
    fs::write(folder.join("master.m3u8"), PLAYLIST).unwrap();
    fs::write(folder.join("720p/00000.ts"), segment()).unwrap();
    fs::write(folder.join("720p/empty.ts"), "").unwrap();
    fs::write(folder.join("unnamed.txt"), "not in the record").unwrap();
    symlink("/etc/hostname", folder.join("720p/link.ts")).unwrap();
    symlink("/etc", folder.join("etc")).unwrap();
    let files: Vec<_> =
        ["master.m3u8", "720p/00000.ts", "720p/empty.ts", "720p/link.ts", "etc/hostname", "720p/gone.ts"]
            .map(|path| serde_json::json!({"path": path, "bytes": 1}))
            .into();
    let record = serde_json::json!({"format": "keyrung.package", "version": 1, "content_id": content_id,
        "key_id": key_id, "master": "master.m3u8", "files": files});
    fs::write(folder.join("keyrung.json"), record.to_string()).unwrap();
    ServedPackage::open(folder).unwrap()
}

/// What a server says, and what it is told at a reload.
pub(super) struct World {
    ready: Mutex<mpsc::Sender<(SocketAddr, Option<SocketAddr>)>>,
    pub(super) notices: Mutex<Vec<String>>,
    pub(super) next: Mutex<Option<Settings>>,
    pub(super) audit: Mutex<Vec<u8>>,
    /// Writing to the audit log fails.
    pub(super) is_full: AtomicBool,
}

/// The audit log in memory.
struct Log(Arc<World>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.is_full.load(Ordering::SeqCst) {
            return Err(ErrorKind::StorageFull.into());
        }
        self.0.audit.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Handle(Arc<World>);

impl Outside for Handle {
    fn ready(&self, address: SocketAddr, metrics: Option<SocketAddr>) {
        self.0.ready.lock().unwrap().send((address, metrics)).unwrap();
    }

    fn notice(&self, notice: Notice) {
        self.0.notices.lock().unwrap().push(notice.to_string());
    }

    fn reload(&self) -> Result<Settings, String> {
        self.0.next.lock().unwrap().clone().ok_or_else(|| "there is nothing new".to_owned())
    }

    fn audit(&self, file: &Path) -> io::Result<Box<dyn Write + Send>> {
        match file.to_str() {
            Some("-") => Ok(Box::new(Log(Arc::clone(&self.0)))),
            _ => Err(ErrorKind::PermissionDenied.into()),
        }
    }
}

pub(super) struct Running {
    pub(super) addr: SocketAddr,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) keys: Keys,
    pub(super) folder: TempDir,
    pub(super) world: Arc<World>,
    pub(super) settings: Settings,
    pub(super) control: UnboundedSender<Control>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

/// Without an authoriser.
pub(super) fn start() -> Running {
    start_with(|_| {})
}

/// The same with other settings.
pub(super) fn start_with(change: impl FnOnce(&mut Config)) -> Running {
    start_in(tempfile::tempdir().unwrap(), change)
}

/// With signed URLs under [`SECRET`]; `change` may add to it.
pub(super) fn start_authorized(change: impl FnOnce(&mut Config)) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    private(&secret);
    start_in(folder, |config| {
        config.authorizer = vec![tokens_by(&secret), signed_by(&secret)];
        config.shutdown.delay = Duration::ZERO;
        change(config);
    })
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The authoriser of signed URLs under the secret in a file.
pub(super) fn signed_by(secret: &Path) -> crate::server::authorizers::Settings {
    let text = format!("type = \"signed\"\nsecret = [{{ file = {:?} }}]\n", secret.to_str().unwrap());
    toml::from_str(&text).unwrap()
}

/// The authoriser of tokens under the secret in a file.
pub(super) fn tokens_by(secret: &Path) -> crate::server::authorizers::Settings {
    let secret = secret.to_str().unwrap();
    let text = format!(
        "type = \"jwt\"\nissuer = \"test\"\naudience = \"keyrung\"\nkey = [{{ algorithm = \"HS256\", file = {secret:?} }}]\n"
    );
    toml::from_str(&text).unwrap()
}

/// A path with a signature for it, good for so many seconds.
pub(super) fn signed(path: &str, content: &str, seconds: u64) -> String {
    let expires = now() + seconds;
    let terms = format!("read\n{path}\n{expires}\n{content}\n");
    let signed = format!("v1.1.{}", URL_SAFE_NO_PAD.encode(terms));
    format!("{path}?kr-signed={signed}.{}", mac(&signed))
}

/// A signature for a key's path.
pub(super) fn signed_key(key_id: &str, content: &str, seconds: u64) -> String {
    signed(&format!("/v1/keys/{key_id}"), content, seconds)
}

/// A token for content as a header field.
pub(super) fn bearer(subject: &str, content: &str, seconds: u64) -> String {
    let claims = serde_json::json!({"iss": "test", "aud": "keyrung", "sub": subject, "jti": format!("id-of-{subject}"),
        "iat": now(), "exp": now() + seconds, "contents": [content]});
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    format!("Authorization: Bearer {signed}.{}", mac(&signed))
}

fn mac(text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.trim_end().as_bytes()).unwrap();
    mac.update(text.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

fn start_in(folder: TempDir, change: impl FnOnce(&mut Config)) -> Running {
    let packages = vec![
        write_package(&folder.path().join("film"), "film", FILM_KEY),
        write_package(&folder.path().join("odd"), "My <Film> & more", LOST_KEY),
        write_package(&folder.path().join("bad"), "bad", PANIC_KEY),
    ];
    let mut config = Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
    change(&mut config);
    let settings = Settings { config, packages };
    let keys = Keys::default();
    let (control, controls) = unbounded_channel();
    let (ready, addr) = mpsc::channel();
    let world = Arc::new(World {
        ready: Mutex::new(ready),
        notices: Mutex::default(),
        next: Mutex::default(),
        audit: Mutex::default(),
        is_full: AtomicBool::new(false),
    });
    let (given, open, outside) = (settings.clone(), keys.clone(), Handle(Arc::clone(&world)));
    let thread = std::thread::spawn(move || run(given, Arc::new(open), Arc::new(outside), controls));
    let Ok((addr, metrics)) = addr.recv_timeout(Duration::from_secs(10)) else {
        panic!("it does not start: {:?}", thread.join().unwrap());
    };
    Running { addr, metrics, keys, folder, world, settings, control, thread: Some(thread) }
}

/// Why a server does not start.
pub(super) fn refused(config: Config) -> ServeError {
    let (_control, controls) = unbounded_channel();
    let (ready, _never) = mpsc::channel();
    let world = World {
        ready: Mutex::new(ready),
        notices: Mutex::default(),
        next: Mutex::default(),
        audit: Mutex::default(),
        is_full: AtomicBool::new(false),
    };
    let outside = Arc::new(Handle(Arc::new(world)));
    run(Settings { config, packages: Vec::new() }, Arc::new(Keys::default()), outside, controls).unwrap_err()
}

/// What signed URLs are signed with.
pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Running {
    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends these bytes alone and reads until the server closes.
    pub(super) fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        // The server may answer and close before all of a hostile request is written.
        let _ = stream.write_all(request);
        Answer::read(stream)
    }

    /// A request as a player on this machine sends it. `fields` are whole lines.
    pub(super) fn ask(&self, method: &str, target: &str, fields: &[&str]) -> Answer {
        self.raw(&request(self.addr, method, target, fields))
    }

    pub(super) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[])
    }

    /// A request to the listener of figures.
    pub(super) fn figures(&self, target: &str) -> Answer {
        let mut stream = TcpStream::connect(self.metrics.unwrap()).unwrap();
        stream.write_all(&request(self.addr, "GET", target, &[])).unwrap();
        Answer::read(stream)
    }

    /// The audit lines, once there are as many.
    pub(super) fn audit(&self, count: usize) -> Vec<serde_json::Value> {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let text = String::from_utf8(self.world.audit.lock().unwrap().clone()).unwrap();
            if text.lines().count() >= count || Instant::now() > until {
                assert_eq!(text.lines().count(), count, "{text}");
                return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has said something like this.
    pub(super) fn wait_for(&self, notice: &str) -> String {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let notices = self.world.notices.lock().unwrap().clone();
            if let Some(found) = notices.iter().find(|text| text.contains(notice)) {
                return found.clone();
            }
            assert!(Instant::now() < until, "no {notice:?} among {notices:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn stop(&mut self) -> Result<(), ServeError> {
        let _ = self.control.send(Control::Stop);
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// The bytes of a request.
pub(super) fn request(addr: SocketAddr, method: &str, target: &str, fields: &[&str]) -> Vec<u8> {
    let mut lines = vec![format!("{method} {target} HTTP/1.1"), "Connection: close".to_owned()];
    if !fields.iter().any(|f| f.to_ascii_lowercase().starts_with("host:")) {
        lines.push(format!("Host: {addr}"));
    }
    lines.extend(fields.iter().map(|&f| f.to_owned()));
    (lines.join("\r\n") + "\r\n\r\n").into_bytes()
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn read(mut stream: impl Read) -> Self {
        let mut bytes = Vec::new();
        if let Err(error) = stream.read_to_end(&mut bytes) {
            assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof), "{error}");
        }
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|l| l.split(' ').nth(1)).map_or(0, |s| s.parse().unwrap());
        let mut fields = BTreeMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            assert!(fields.insert(name.to_ascii_lowercase(), value.to_owned()).is_none(), "{name} twice");
        }
        Self { status, fields, body: bytes.get(end + 4..).unwrap_or_default().to_vec() }
    }

    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub(super) fn assert_problem(&self, status: u16, what: &str) {
        assert_eq!((self.status, self.field("content-type")), (status, JSON), "{what}: {self:?}");
        let document: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(document["status"], status, "{what}");
        assert_eq!(self.field("cache-control"), "no-store", "{what}");
    }
}
