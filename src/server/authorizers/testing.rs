//! What the tests of several authorisers need: requests, keys made by openssl, and servers that answer as they are told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;

use super::{Asked, Authorizers, ClientCertificate, Denied, Grant, Report, Settings};
use crate::keys::{ContentId, KeyId};

pub(super) const KEY: &str = "3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f";
pub(super) const OTHER_KEY: &str = "00000000-0000-4000-8000-000000000000";
/// The time of most tests, in seconds since 1970.
pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const SECRET: &[u8] = b"not a secret but 32 bytes of text";

pub(super) fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(super) fn key(text: &str) -> KeyId {
    text.parse().unwrap()
}

pub(super) fn content(text: &str) -> ContentId {
    text.parse().unwrap()
}

/// A new file that only its owner can read.
pub(super) fn secret_file(dir: &Path, bytes: &[u8]) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let path = dir.join(format!("secret-{}", COUNT.fetch_add(1, Ordering::SeqCst)));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    path
}

/// A request for the key [`KEY`], to be changed.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) client: IpAddr,
    pub(super) certificate: Option<ClientCertificate>,
}

impl Request {
    pub(super) fn new() -> Self {
        Self {
            method: Method::GET,
            path: format!("/v1/keys/{KEY}"),
            query: None,
            headers: HeaderMap::new(),
            client: Ipv4Addr::new(203, 0, 113, 7).into(),
            certificate: None,
        }
    }

    pub(super) fn bearer(token: &str) -> Self {
        Self::new().field("authorization", &format!("Bearer {token}"))
    }

    pub(super) fn field(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    pub(super) fn query(self, query: &str) -> Self {
        Self { query: Some(query.to_owned()), ..self }
    }

    pub(super) fn path(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    pub(super) fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
            client: self.client,
            certificate: self.certificate.as_ref(),
        }
    }

    pub(super) async fn decide(&self, authorizers: &Authorizers) -> Result<Grant, Denied> {
        authorizers.decide(&self.asked(), time(NOW)).await
    }
}

/// Authorisers of settings in TOML.
pub(super) fn authorizers(toml: &str) -> Authorizers {
    try_authorizers(toml).unwrap()
}

pub(super) fn try_authorizers(toml: &str) -> Result<Authorizers, String> {
    #[derive(serde::Deserialize)]
    struct Config {
        authorizer: Vec<Settings>,
    }
    let config: Config = toml::from_str(toml).map_err(|error| error.message().to_owned())?;
    Authorizers::new(config.authorizer).map_err(|error| error.to_string())
}

/// A private key and its public one, in PEM, made by openssl.
pub(super) struct Pair {
    pub(super) private: Vec<u8>,
    pub(super) public: Vec<u8>,
}

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write;
    use std::process::Stdio;
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("openssl is there; apt-get install openssl");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}

pub(super) fn pair(options: &[&str]) -> Pair {
    let private = openssl(&[&["genpkey"], options].concat(), b"");
    let public = openssl(&["pkey", "-pubout"], &private);
    Pair { private, public }
}

const P256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const RSA: [&str; 4] = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

pub(super) static ED25519: LazyLock<Pair> = LazyLock::new(|| pair(&["-algorithm", "ED25519"]));
pub(super) static EC: LazyLock<Pair> = LazyLock::new(|| pair(&P256));
pub(super) static RSA2048: LazyLock<Pair> = LazyLock::new(|| pair(&RSA));

pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Signs what stands before the last full stop.
pub(super) type Sign<'a> = &'a dyn Fn(&str) -> String;

/// A token of any header and claims.
pub(super) fn token(header: &Value, claims: &Value, sign: Sign<'_>) -> String {
    signed(&format!("{}.{}", b64(header.to_string()), b64(claims.to_string())), sign)
}

pub(super) fn signed(message: &str, sign: Sign<'_>) -> String {
    format!("{message}.{}", sign(message))
}

pub(super) fn hs256(secret: &[u8]) -> impl Fn(&str) -> String {
    let key = EncodingKey::from_secret(secret);
    move |message| jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap()
}

pub(super) fn es256(pair: &Pair) -> impl Fn(&str) -> String {
    let key = EncodingKey::from_ec_pem(&pair.private).unwrap();
    move |message| jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::ES256).unwrap()
}

pub(super) fn eddsa(pair: &Pair) -> impl Fn(&str) -> String {
    let key = EncodingKey::from_ed_pem(&pair.private).unwrap();
    move |message| jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::EdDSA).unwrap()
}

pub(super) fn rsa(pair: &Pair, algorithm: jsonwebtoken::Algorithm) -> impl Fn(&str) -> String {
    let key = EncodingKey::from_rsa_pem(&pair.private).unwrap();
    move |message| jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap()
}

/// Claims that are good now.
pub(super) fn claims() -> Value {
    json!({"iss": "https://id.example", "aud": "keyrung", "iat": NOW - 10, "exp": NOW + 600, "contents": ["film"]})
}

/// The claims with some of them changed; `null` takes one away.
pub(super) fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

/// The public key of a pair as a JWK, its octets taken from the DER that openssl writes.
pub(super) fn jwk(pair: &Pair, kid: &str) -> Value {
    use x509_parser::prelude::FromDer;
    use x509_parser::public_key::PublicKey;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pair.public).unwrap();
    let (_, info) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&pem.contents).unwrap();
    match info.parsed().unwrap() {
        PublicKey::RSA(rsa) => {
            let modulus = rsa.modulus.strip_prefix(&[0]).unwrap_or(rsa.modulus);
            json!({"kty": "RSA", "kid": kid, "n": b64(modulus), "e": b64(rsa.exponent)})
        }
        PublicKey::EC(point) => {
            let (x, y) = point.data()[1..].split_at(32);
            json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": b64(x), "y": b64(y)})
        }
        _ => json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(&info.subject_public_key.data)}),
    }
}

/// What authorisers tell of their trouble from now on.
pub(super) fn told(authorizers: &Authorizers) -> Arc<Mutex<Vec<String>>> {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let lines = Arc::clone(&told);
    let report: Report = Arc::new(move |line| lines.lock().unwrap().push(line));
    authorizers.report_to(&report);
    told
}

/// Makes requests all at once.
pub(super) async fn together(authorizers: Authorizers, requests: Vec<Request>) -> Vec<Result<Grant, Denied>> {
    let authorizers = Arc::new(authorizers);
    let mut tasks = tokio::task::JoinSet::new();
    for request in requests {
        let authorizers = Arc::clone(&authorizers);
        tasks.spawn(async move { request.decide(&authorizers).await });
    }
    tasks.join_all().await
}

/// An answer of a test's server, after a delay.
#[derive(Clone)]
pub(super) struct Reply {
    pub(super) delay: Duration,
    pub(super) status: &'static str,
    pub(super) fields: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn new(status: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { delay: Duration::ZERO, status, fields: String::new(), body: body.into() }
    }
}

/// An HTTP server on loopback that keeps the heads of the requests that it got.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Mutex<Vec<String>>>,
    reply: Arc<Mutex<Reply>>,
    /// The certificate that its clients have to trust, where it speaks TLS.
    pub(super) ca: String,
}

impl Server {
    pub(super) async fn plain(reply: Reply) -> Self {
        Self::start(reply, None, String::new()).await
    }

    pub(super) async fn tls(reply: Reply) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = rustls::ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self::start(reply, Some(TlsAcceptor::from(Arc::new(config))), made.cert.pem()).await
    }

    async fn start(reply: Reply, tls: Option<TlsAcceptor>, ca: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, reply) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(reply)));
        let (heads, answer) = (Arc::clone(&seen), Arc::clone(&reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (heads, answer, tls) = (Arc::clone(&heads), Arc::clone(&answer), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &heads, &answer).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &heads, &answer).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, seen, reply, ca }
    }

    pub(super) fn replies(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    pub(super) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// Answers one request and closes.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, heads: &Mutex<Vec<String>>, reply: &Mutex<Reply>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    heads.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
    let reply = reply.lock().unwrap().clone();
    tokio::time::sleep(reply.delay).await;
    let Reply { status, fields, body, .. } = reply;
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{fields}\r\n");
    let _ = stream.write_all(&[head.into_bytes(), body].concat()).await;
    let _ = stream.shutdown().await;
}
