//! Against a real moto server, and servers that do not answer.

// The integration tests look at heads too, and the tests of the KMS provider have a server of their own.
#[allow(dead_code, clippy::duplicate_mod)]
#[path = "../../../tests/it/moto_server.rs"]
mod moto_server;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};

use super::client::Settings;
use super::*;
use crate::storage::{Documents, StorageError, documents};

const REGION: &str = "us-east-1";

fn settings(address: &str) -> Settings {
    Settings {
        endpoint: Some(format!("http://{address}")),
        credentials: Some(SharedCredentialsProvider::new(Credentials::new("testing", "testing", None, None, "test"))),
        region: REGION.to_owned(),
        attempts: 2,
        timeout: Duration::from_millis(400),
        retry_time: Duration::from_secs(180),
    }
}

fn bucket(name: &str) -> Bucket {
    let name = format!("{name}-{}", std::process::id());
    let made =
        moto_server::call(moto_server::address(), ("s3", REGION), ("PUT", &format!("/{name}")), &[], b"").unwrap();
    assert_eq!(made.status, 200);
    let settings = Settings { timeout: Duration::from_secs(10), ..settings(moto_server::address()) };
    Bucket::open_with(&name, &Encryption::Bucket, settings).unwrap()
}

#[test]
fn a_bucket_keeps_the_contract_of_documents() {
    let bucket = bucket("contract");
    assert_eq!(bucket.region(), Some(REGION));
    let at: Location = format!("s3://{}/store", bucket.name()).parse().unwrap();
    let store = ObjectDocuments::of(bucket, at);
    store.sweep().unwrap();
    documents::contract(&store);
    documents::contract(&store.inner("inner"));
    assert!(!store.names().unwrap().contains(&"inner".to_owned()));
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let started = Instant::now();
    let address = silent.local_addr().unwrap().to_string();
    let error = Bucket::open_with("films", &Encryption::Bucket, settings(&address)).unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// A store that answers every GET with this status and code.
fn refusing(status: u16, code: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let body = format!("<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>");
            let (status, body) = if first.starts_with("GET") { (status, body) } else { (200, String::new()) };
            let head = format!("HTTP/1.1 {status} So\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    address
}

#[derive(Debug)]
struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::provider_timed_out(Duration::from_secs(1))))
    }
}

#[test]
fn credentials_that_are_not_taken_say_nothing_of_the_object() {
    let read = |settings| {
        let bucket = Bucket::open_with("films", &Encryption::Bucket, settings).unwrap();
        bucket.read("key.json", 1000).unwrap_err()
    };
    for (status, code) in [
        (400, "ExpiredToken"),
        (400, "InvalidToken"),
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (403, "RequestTimeTooSkewed"),
    ] {
        let error = read(settings(&refusing(status, code)));
        assert!(matches!(error, StorageError::Unauthenticated { .. }), "{code}: {error:?}");
        assert!(error.to_string().contains(code) && error.hint().is_some(), "{error}");
    }
    let denied = read(settings(&refusing(403, "AccessDenied")));
    assert!(matches!(denied, StorageError::Refused { .. }), "{denied:?}");
    let credentials = Some(SharedCredentialsProvider::new(NoCredentials));
    let none = read(Settings { credentials, ..settings(&refusing(200, "")) });
    assert!(matches!(none, StorageError::Unauthenticated { .. }), "{none:?}");
}

#[test]
fn an_object_is_read_in_the_state_in_which_it_was_opened() {
    let bucket = bucket("reader");
    let content: Vec<u8> = (0..12_000_000_u32).map(|number| (number % 251) as u8).collect();
    let put = |bytes: &[u8]| {
        let path = format!("/{}/a", bucket.name());
        moto_server::call(moto_server::address(), ("s3", REGION), ("PUT", &path), &[], bytes).unwrap()
    };
    put(&content);
    // Room for fewer blocks than the object has: the first is gone when it is asked for again.
    let blocks = Blocks::new(1);
    let reader = ObjectReader::of(bucket.clone(), "a", &blocks).unwrap();
    assert_eq!(reader.len(), content.len() as u64);
    for (from, len) in [(0, 10), (2_097_150, 4), (11_999_999, 1), (0, 12_000_000), (1, 0), (3_000_000, 1_500_000)] {
        let mut out = vec![0; len];
        reader.read_at(&mut out, from as u64).unwrap();
        assert!(out == content[from..from + len], "{from} {len}");
    }
    assert!(blocks.count() <= 4, "{} blocks are held where there is room for 4", blocks.count());
    reader.check_unchanged().unwrap();
    assert!(matches!(reader.read_at(&mut [0; 2], 11_999_999), Err(StorageError::Changed { .. })));
    put(&content[..11_999_999]);
    assert!(matches!(reader.check_unchanged(), Err(StorageError::Changed { .. })));
    let fresh = ObjectReader::of(bucket.clone(), "a", &blocks).unwrap();
    put(b"other");
    assert!(matches!(fresh.read_at(&mut [0; 2], 0), Err(StorageError::Changed { .. })));
    assert!(matches!(ObjectReader::of(bucket, "none", &blocks), Err(StorageError::NotFound { .. })));
}
