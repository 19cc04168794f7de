//! Reloads, and TLS, whose certificate is what is reloaded most.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::harness::{
    Answer, FILM_KEY, KEY, Running, SECRET, refused, request, signed_by, signed_key, start_authorized,
};
use crate::server::config::{Config, Tls};
use crate::server::{Control, ServeError, Settings};

/// A certificate authority, which also signs for clients.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key, in PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

fn write_pair(folder: &Path, pair: &(String, String)) -> Tls {
    let tls = Tls { certificate: folder.join("cert.pem"), key: folder.join("key.pem"), client_ca: None };
    fs::write(&tls.certificate, &pair.0).unwrap();
    fs::write(&tls.key, &pair.1).unwrap();
    tls
}

/// A connection over TLS; the server's certificate in DER.
fn connect(
    server: &Running,
    authority: &Authority,
    client: Option<&(String, String)>,
    protocol: &[u8],
) -> std::io::Result<(StreamOwned<ClientConnection, TcpStream>, Vec<u8>)> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("keys.example").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
    let mut stream = server.connect();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    assert_eq!(connection.alpn_protocol(), Some(protocol));
    let leaf = connection.peer_certificates().unwrap()[0].to_vec();
    Ok((StreamOwned::new(connection, stream), leaf))
}

fn get(server: &Running, authority: &Authority, client: Option<&(String, String)>, target: &str) -> Answer {
    let (mut stream, _) = connect(server, authority, client, b"http/1.1").unwrap();
    stream.write_all(&request(server.addr, "GET", target, &[])).unwrap();
    Answer::read(stream)
}

fn reload(server: &Running, change: impl FnOnce(&mut Config), notice: &str) -> String {
    let mut settings: Settings = server.settings.clone();
    change(&mut settings.config);
    *server.world.next.lock().unwrap() = Some(settings);
    server.world.notices.lock().unwrap().clear();
    server.control.send(Control::Reload).unwrap();
    server.wait_for(notice)
}

#[test]
fn a_certificate_is_renewed_and_a_bad_one_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let first = authority.sign("keys.example");
    let server = start_authorized(|config| config.tls = Some(write_pair(folder.path(), &first)));
    let target = signed_key(FILM_KEY, "film", 600);
    let answer = get(&server, &authority, None, &target);
    assert_eq!((answer.status, answer.body.as_slice()), (200, &KEY[..]));
    assert!(answer.field("strict-transport-security").starts_with("max-age="));
    let leaf = || connect(&server, &authority, None, b"h2").unwrap().1;
    let before = leaf();
    let mut kept = connect(&server, &authority, None, b"http/1.1").unwrap().0;

    // Of another key, then not even PEM, then not there.
    fs::write(folder.path().join("cert.pem"), authority.sign("keys.example").0).unwrap();
    let said = reload(&server, |_| {}, "not reloaded");
    assert!(said.contains("cert.pem") && said.contains("stays as it was"), "{said}");
    assert_eq!(leaf(), before);
    fs::write(folder.path().join("cert.pem"), "no certificate").unwrap();
    reload(&server, |_| {}, "there is no certificate in it");
    fs::remove_file(folder.path().join("key.pem")).unwrap();
    reload(&server, |_| {}, "not reloaded");
    reload(&server, |config| config.tls = None, "no certificate any more");
    assert_eq!(leaf(), before);

    write_pair(folder.path(), &authority.sign("keys.example"));
    reload(&server, |_| {}, "reloaded");
    assert_ne!(leaf(), before);
    // Connections go on as they began.
    kept.write_all(&request(server.addr, "GET", &target, &[])).unwrap();
    assert_eq!(Answer::read(kept).status, 200);
}

#[test]
fn client_certificates_are_verified_and_handed_on() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let pair = authority.sign("keys.example");
    let client_ca = folder.path().join("ca.pem");
    fs::write(&client_ca, authority.pem()).unwrap();
    let server = start_authorized(|config| {
        config.tls = Some(Tls { client_ca: Some(client_ca), ..write_pair(folder.path(), &pair) });
        let text = "type = \"mtls\"\nclient = [{ dns = \"edge.example\", contents = [\"film\"] }]\n";
        config.authorizer.push(toml::from_str(text).unwrap());
        (config.limits.subject_rate, config.limits.subject_burst) = (1, 1);
    });
    let target = format!("/v1/keys/{FILM_KEY}");
    let edge = authority.sign("edge.example");
    for _ in 0..3 {
        assert_eq!(get(&server, &authority, Some(&edge), &target).body, KEY, "an edge asks for many viewers");
    }
    assert_eq!(get(&server, &authority, Some(&authority.sign("other.example")), &target).status, 403);
    assert_eq!(get(&server, &authority, None, &target).status, 403);
    // A token serves without a certificate.
    assert_eq!(get(&server, &authority, None, &signed_key(FILM_KEY, "film", 60)).status, 200);
    let forged = stranger.sign("edge.example");
    let answer = connect(&server, &authority, Some(&forged), b"http/1.1").map(|(mut stream, _)| {
        // In TLS 1.3 the client has done its part before the server says no.
        let _ = stream.write_all(&request(server.addr, "GET", &target, &[]));
        let mut bytes = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut bytes);
        bytes
    });
    assert!(answer.is_err() || answer.as_ref().is_ok_and(Vec::is_empty), "{answer:?}");
}

#[test]
fn what_is_not_tls_gets_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let pair = authority.sign("keys.example");
    let server = start_authorized(|config| {
        config.tls = Some(write_pair(folder.path(), &pair));
        config.limits.header_timeout = Duration::from_millis(300);
    });
    assert_eq!(server.get("/livez").status, 0);
    // Nor does one who says nothing hold a place.
    let _ = std::io::Read::read_to_end(&mut server.connect(), &mut Vec::new());
    assert_eq!(get(&server, &authority, None, "/livez").status, 200);
}

#[test]
fn secrets_are_renewed_and_what_cannot_be_used_changes_nothing() {
    let server = start_authorized(|_| {});
    let old = signed_key(FILM_KEY, "film", 600);
    let secret = server.folder.path().join("secret");
    fs::write(&secret, "short\n").unwrap();
    let said = reload(&server, |_| {}, "not reloaded");
    assert!(said.contains("secret") && !said.contains("short\n"), "{said}");
    assert_eq!(server.get(&old).status, 200);
    for (change, what) in [
        (|config: &mut Config| {
            config.tls = Some(Tls { certificate: "/none".into(), key: "/none".into(), client_ca: None })
        }) as fn(&mut Config),
        |config| config.audit.file = Some("/not/to/be/written".into()),
        |config| {
            config.authorizer.clear();
            config.listen = "0.0.0.0:1".parse().unwrap();
        },
        // As an emptied file has it: the socket may be one that everybody reaches.
        |config| config.authorizer.clear(),
        |config| *config = Config::default(),
    ]
    .into_iter()
    .zip(["/none", "/not/to/be/written", "no authoriser", "no authoriser any more", "no authoriser any more"])
    {
        fs::write(&secret, SECRET).unwrap();
        reload(&server, change, what);
        assert_eq!(server.get(&old).status, 200, "{what}");
        assert_eq!(server.get(&format!("/v1/keys/{FILM_KEY}")).status, 403, "{what}: everybody has the key");
    }
    fs::write(&secret, "another secret, and long enough to be one\n").unwrap();
    reload(&server, |_| {}, "reloaded");
    server.get(&old).assert_problem(403, "the old secret");
    let said = reload(&server, |config| config.listen = "127.0.0.1:1".parse().unwrap(), "restart");
    assert!(said.starts_with("listen"), "{said}");
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn keys_are_asked_for_again_after_a_reload() {
    let server = start_authorized(|_| {});
    let target = signed_key(FILM_KEY, "film", 600);
    let asked = || {
        assert_eq!(server.get(&target).body, KEY);
        server.keys.asked.load(Ordering::SeqCst)
    };
    assert_eq!((asked(), asked()), (1, 1));
    reload(&server, |config| config.audit.file = Some("/not/to/be/written".into()), "not reloaded");
    assert_eq!(asked(), 1, "nothing was changed");
    reload(&server, |_| {}, "reloaded");
    assert_eq!((asked(), asked()), (2, 2));
    // What cannot be asked for now serves on.
    server.keys.is_down.store(true, Ordering::SeqCst);
    reload(&server, |_| {}, "reloaded");
    assert!(asked() > 2);
}

#[test]
fn what_cannot_be_used_keeps_it_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let authorizer = vec![signed_by(&folder.path().join("missing"))];
    let result = refused(Config { authorizer, ..Config::default() });
    assert!(matches!(result, ServeError::Authorizers(_)) && result.to_string().contains("missing"), "{result}");
    let tls = Tls { certificate: folder.path().join("none.pem"), key: folder.path().join("none.pem"), client_ca: None };
    let result = refused(Config { tls: Some(tls), listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() });
    assert!(matches!(result, ServeError::Tls(_)) && result.to_string().contains("none.pem"), "{result}");
}
