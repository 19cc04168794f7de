//! The provider against a real moto server, and against a server that goes wrong on the wire where moto cannot.

// The integration tests look at heads too.
#[allow(dead_code)]
#[path = "../../../tests/it/moto_server.rs"]
mod moto_server;
#[path = "../../../tests/it/wire.rs"]
mod wire;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use base64::Engine;
use serde_json::{Value, json};

use super::*;
use crate::keys::{ContextPreset, provider};
use crate::limits::{AWS_VIEWER_ATTEMPTS, AWS_VIEWER_CALL_TIMEOUT};
use wire::{Reply, Wire};

const REGION: &str = "us-east-1";
const ARN: &str = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// A configuration that asks no file and no environment, and does not wait long.
fn config(address: &str) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_millis(1500))
        .operation_timeout(Duration::from_secs(5))
        .build();
    let retry = RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(10));
    let credentials = Credentials::new("testing", "testing", None, None, "test");
    let read = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(format!("http://{address}"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(timeouts)
        .retry_config(retry);
    aws::block_on(read.load()).unwrap()
}

fn kms(address: &str, key: &str) -> AwsKms {
    AwsKms::new(key.parse().unwrap(), Vec::new()).unwrap().with_config(config(address))
}

fn moto(region: &str, operation: &str, body: &Value) -> Value {
    let answer = moto_server::kms(moto_server::address(), region, operation, &body.to_string()).unwrap();
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{operation}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

fn new_key(body: &Value) -> String {
    moto(REGION, "CreateKey", body)["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
}

fn context() -> EncryptionContext {
    EncryptionContext::of_content(&"film".parse().unwrap())
}

fn record(ciphertext: Ciphertext) -> SealedKey {
    SealedKey::new("film".parse().unwrap(), PROVIDER, context(), ciphertext).unwrap()
}

#[test]
fn kms_keeps_the_contract() {
    provider::contract(&kms(moto_server::address(), &new_key(&json!({}))));
}

#[test]
fn an_alias_may_come_to_mean_another_key() {
    let (first, second) = (new_key(&json!({})), new_key(&json!({})));
    moto(REGION, "CreateAlias", &json!({ "AliasName": "alias/moves", "TargetKeyId": first }));
    let provider = kms(moto_server::address(), "alias/moves");
    let (key, sealed) = provider.generate(&context()).unwrap();
    assert_eq!(sealed.key, first, "the ARN is recorded, not the alias");
    moto(REGION, "UpdateAlias", &json!({ "AliasName": "alias/moves", "TargetKeyId": second }));
    assert_eq!(provider.generate(&context()).unwrap().1.key, second);
    assert_eq!(provider.unseal(&record(sealed)).unwrap().expose(), key.expose());
}

/// moto cuts the id of a multi-Region key and opens nothing that it sealed under one, so the wire carries the answer.
#[test]
fn a_multi_region_key_opens_in_each_of_its_regions() {
    let here = ARN.replace("key/", "key/mrk-");
    let there = here.replace(REGION, "eu-west-1");
    let answer = format!(r#"{{"KeyId":"{there}","Plaintext":"AQIDBAUGBwgJCgsMDQ4PEA=="}}"#);
    let sealed = record(Ciphertext { key: here.clone(), blob: vec![1] });
    for (named, asked) in [(&there, &there), (&here, &here), (&ARN.replace(REGION, "eu-west-1"), &here)] {
        let wire = Wire::new(vec![Reply::Json(answer.clone())]);
        assert_eq!(kms(&wire.address, named).unseal(&sealed).unwrap().expose()[15], 16);
        assert!(wire.asked()[0].body.contains(&format!(r#""KeyId":"{asked}""#)), "{:?}", wire.asked());
    }
}

#[test]
fn kms_reseals_what_it_has_sealed_without_showing_it() {
    let (a, b) = (new_key(&json!({})), new_key(&json!({})));
    let wire = Wire::new(vec![Reply::Forward(moto_server::address().to_owned())]);
    let (from, to) = (kms(&wire.address, &a), kms(&wire.address, &b));
    let (key, sealed) = from.generate(&context()).unwrap();
    let old = record(sealed).bound(&key);
    let preset = ContextPreset::ElasticTranscoder.context();
    let (new, how) = crate::keys::rewrap::rewrap(&old, &from, &to, preset.clone()).unwrap();
    assert_eq!(how, crate::keys::rewrap::Rewrapped::Inside);
    assert_eq!(wire.operations(), ["GenerateDataKey", "ReEncrypt"], "the plaintext was never asked for");
    assert_eq!((new.key.as_str(), &new.context, new.key_id), (b.as_str(), &preset, old.key_id));
    assert_eq!(to.unseal(&new).unwrap().expose(), key.expose());
    // In another region KMS cannot do it by itself.
    let elsewhere = kms(&wire.address, &b.replace(REGION, "eu-west-1"));
    assert_eq!(elsewhere.reseal(&old, &preset).unwrap(), None);
    // A key that nobody has seen is opened once to be bound when its context does not name its content any more.
    let unseen = record(from.generate_sealed(&context()).unwrap());
    let (bound, how) = crate::keys::rewrap::rewrap(&unseen, &from, &to, preset).unwrap();
    assert_eq!(how, crate::keys::rewrap::Rewrapped::Here);
    to.unseal(&bound).unwrap();
}

#[test]
fn a_file_key_of_each_length_is_asked_for_in_kms_terms() {
    let wire = Wire::new(vec![Reply::Forward(moto_server::address().to_owned())]);
    let provider = kms(&wire.address, &new_key(&json!({})));
    for length in [FileKeyLength::Aes128, FileKeyLength::Aes192, FileKeyLength::Aes256] {
        provider.generate_file_key(length, &context()).unwrap();
    }
    let asked = wire.asked();
    let wanted = [r#""KeySpec":"AES_128""#, r#""NumberOfBytes":24"#, r#""KeySpec":"AES_256""#];
    for (asked, wanted) in asked.iter().zip(wanted) {
        assert!(asked.body.contains(wanted), "{}", asked.body);
        assert!(asked.body.contains("KeySpec") != asked.body.contains("NumberOfBytes"), "{}", asked.body);
    }
}

#[test]
fn grant_tokens_go_with_every_call() {
    let wire = Wire::new(vec![Reply::Forward(moto_server::address().to_owned())]);
    let key = new_key(&json!({}));
    let provider = AwsKms::new(key.parse().unwrap(), vec!["token-1".into(), "token-2".into()]).unwrap();
    let provider = provider.with_config(config(&wire.address));
    let (key, sealed) = provider.generate(&context()).unwrap();
    provider.seal(&key, &context()).unwrap();
    provider.generate_sealed(&context()).unwrap();
    let sealed = record(sealed);
    provider.unseal(&sealed).unwrap();
    provider.reseal(&sealed, &EncryptionContext::default()).unwrap().unwrap();
    assert_eq!(wire.asked().len(), 5);
    for asked in wire.asked() {
        assert!(asked.body.contains(r#""GrantTokens":["token-1","token-2"]"#), "{asked:?}");
    }
    assert!(AwsKms::new(ARN.parse().unwrap(), vec![String::new(); 11]).is_err());
}

/// moto enforces none of these states, so the wire carries what AWS documents.
#[test]
fn what_stays_is_refused_at_once_each_with_its_own_hint() {
    let cases = [
        (400, "DisabledException", "x is disabled.", "the key is disabled", "enable-key"),
        (
            409,
            "KMSInvalidStateException",
            "x is pending deletion.",
            "the key is pending deletion",
            "cancel-key-deletion",
        ),
        (409, "KMSInvalidStateException", "x is pending import.", "x is pending import.", "describe-key"),
        (400, "NotFoundException", "no x", "there is no such key in us-east-1", "AWS_REGION"),
        (400, "IncorrectKeyException", "no", "not the key that it was sealed under", "by its ARN"),
        (400, "InvalidKeyUsageException", "no", "not a symmetric encryption key", "create-key"),
        (400, "UnsupportedOperationException", "no", "not a symmetric encryption key", "create-key"),
        (400, "InvalidGrantTokenException", "no", "a grant token is not valid", "--grant-token"),
        (400, "AccessDeniedException", "User x is not authorized", "User x is not authorized", "--grant-token"),
        (
            400,
            "UnrecognizedClientException",
            "The security token is invalid",
            "no usable credentials",
            "get-caller-identity",
        ),
        (400, "ExpiredTokenException", "The token is expired", "no usable credentials", "sso login"),
        (400, "LimitExceededException", "a limit", "LimitExceededException: a limit", ""),
        (400, "ValidationException", "a value", "ValidationException: a value", ""),
        // Whatever the HTTP status says (KER-10).
        (500, "DisabledException", "x is disabled.", "the key is disabled", "enable-key"),
        (500, "AccessDeniedException", "not authorized", "not authorized", "--grant-token"),
    ];
    for (status, code, message, text, hint) in cases {
        let wire = Wire::new(vec![Reply::Error(status, code, message)]);
        let error = kms(&wire.address, ARN).generate(&context()).err().unwrap();
        assert!(matches!(error, KeyError::Refused { .. } | KeyError::Denied { .. }), "{code}: {error}");
        assert!(error.to_string().contains(text), "{code}: {error}");
        assert!(error.to_string().contains(ARN), "{code}: {error}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{code}: {:?}", error.hint());
        assert_eq!(wire.asked().len(), 1, "{code} is not tried again");
    }
    let wire = Wire::new(vec![Reply::Error(400, "InvalidCiphertextException", "no")]);
    let sealed = record(Ciphertext { key: ARN.into(), blob: vec![1] });
    let error = kms(&wire.address, ARN).unseal(&sealed).err().unwrap();
    assert!(error.to_string().contains("its ciphertext or its encryption context was changed"), "{error}");
    assert_eq!(wire.asked().len(), 1);
}

/// What a job waits out is not waited for by a viewer, or calls that nobody wants any more pile up.
#[test]
fn a_viewer_is_gone_sooner_than_a_job() {
    let patient = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(60))
        .operation_timeout(Duration::from_secs(120))
        .build();
    let often = RetryConfig::standard().with_max_attempts(5).with_initial_backoff(Duration::from_millis(10));
    let ask = |reply: Reply, patience: Patience| {
        let wire = Wire::new(vec![reply]);
        let config =
            config(&wire.address).to_builder().timeout_config(patient.clone()).retry_config(often.clone()).build();
        let kms = AwsKms::new(ARN.parse().unwrap(), Vec::new()).unwrap().with_config(config).with_patience(patience);
        let begun = Instant::now();
        let error = kms.unseal(&record(Ciphertext { key: ARN.into(), blob: vec![1] })).err().unwrap();
        assert!(matches!(error, KeyError::Unavailable { .. }), "{error}");
        (wire.asked().len(), begun.elapsed())
    };
    let throttled = || Reply::Error(400, "ThrottlingException", "Rate exceeded");
    assert_eq!(ask(throttled(), Patience::Job).0, 5);
    assert_eq!(ask(throttled(), Patience::Viewer).0, AWS_VIEWER_ATTEMPTS as usize);
    let (asked, took) = ask(Reply::Stall, Patience::Viewer);
    assert!(asked <= AWS_VIEWER_ATTEMPTS as usize && took < AWS_VIEWER_CALL_TIMEOUT * 2, "{asked}, {took:?}");
}

/// Throttling, faults and lost answers cannot be asked of moto; it answers in the end.
#[test]
fn what_passes_is_tried_again() {
    let behind = moto_server::address().to_owned();
    let key = new_key(&json!({}));
    let faults = [
        Reply::Error(400, "ThrottlingException", "Rate exceeded"),
        Reply::Error(500, "KMSInternalException", "no"),
        Reply::Error(400, "KMSInternalException", "no"),
        Reply::Error(503, "DependencyTimeoutException", "no"),
        Reply::Error(400, "KeyUnavailableException", "no"),
        Reply::Error(500, "InternalFailure", "no"),
        Reply::Drop,
        Reply::Cut(format!(r#"{{"KeyId":"{key}"}}"#)),
        Reply::Lose(behind.clone()),
        Reply::Stall,
    ];
    for fault in faults {
        let wire = Wire::new(vec![fault.clone(), Reply::Forward(behind.clone())]);
        let (made, sealed) = kms(&wire.address, &key).generate(&context()).unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        assert_eq!(wire.operations(), ["GenerateDataKey"; 2], "{fault:?}");
        let opened = kms(&behind, &key).unseal(&record(sealed)).unwrap();
        assert_eq!(opened.expose(), made.expose(), "{fault:?}");
    }
}

#[test]
fn what_does_not_pass_is_given_up_in_time() {
    let faults = [
        (Reply::Error(400, "ThrottlingException", "Rate exceeded"), "ThrottlingException: Rate exceeded"),
        (Reply::Error(500, "KMSInternalException", "no"), "KMSInternalException: no"),
        (Reply::Cut(r#"{"KeyId":"k"}"#.into()), "cut short"),
        (Reply::Stall, "no answer in time"),
    ];
    for (fault, text) in faults {
        let wire = Wire::new(vec![fault.clone()]);
        let started = Instant::now();
        let error = kms(&wire.address, ARN).generate(&context()).err().unwrap();
        assert!(matches!(error, KeyError::Unavailable { .. }), "{fault:?}: {error}");
        assert!(error.to_string().contains(text) && error.is_transient(), "{fault:?}: {error}");
        assert_eq!(wire.asked().len(), 3, "{fault:?}");
        assert!(started.elapsed() < Duration::from_secs(8), "{fault:?}");
    }
    let error = kms("127.0.0.1:1", ARN).generate(&context()).err().unwrap();
    assert!(error.to_string().starts_with("aws-kms cannot be reached: "), "{error}");
}

#[test]
fn an_answer_that_is_not_what_was_asked_for_is_refused() {
    let answers = [
        format!(r#"{{"KeyId":"{ARN}","Plaintext":"AAAAAAAAAAAAAAAAAAAA","CiphertextBlob":"AAAA"}}"#),
        format!(r#"{{"KeyId":"{ARN}","CiphertextBlob":"AAAA"}}"#),
        format!(r#"{{"KeyId":"{ARN}","Plaintext":"AAAAAAAAAAAAAAAAAAAAAA=="}}"#),
        r#"{"KeyId":"alias/a","Plaintext":"AAAAAAAAAAAAAAAAAAAAAA==","CiphertextBlob":"AAAA"}"#.to_owned(),
        r#"{"Plaintext":"AAAAAAAAAAAAAAAAAAAAAA==","CiphertextBlob":"AAAA"}"#.to_owned(),
        "{}".to_owned(),
    ];
    for answer in answers {
        let wire = Wire::new(vec![Reply::Json(answer.clone())]);
        let error = kms(&wire.address, ARN).generate(&context()).err().unwrap();
        assert!(error.to_string().starts_with("the answer of AWS KMS is damaged"), "{answer}: {error}");
    }
    let right = format!(r#"{{"KeyId":"{ARN}","Plaintext":"AQIDBAUGBwgJCgsMDQ4PEA==","CiphertextBlob":"AAAA"}}"#);
    let (key, sealed) = kms(&Wire::new(vec![Reply::Json(right)]).address, ARN).generate(&context()).unwrap();
    assert_eq!((key.expose()[15], sealed.key.as_str()), (16, ARN));
    let short = format!(r#"{{"KeyId":"{ARN}","Plaintext":"AQIDBAUGBwgJCgsMDQ4PEA==","CiphertextBlob":"AAAA"}}"#);
    let wire = Wire::new(vec![Reply::Json(short)]);
    let error = kms(&wire.address, ARN).generate_file_key(FileKeyLength::Aes256, &context()).err().unwrap();
    assert!(error.to_string().contains("another length"), "{error}");
    let long = record(Ciphertext { key: ARN.into(), blob: vec![1; KMS_CIPHERTEXT_BYTES + 1] });
    assert!(matches!(kms(&wire.address, ARN).unseal(&long), Err(KeyError::Unsealable { .. })));
    assert_eq!(wire.asked().len(), 1, "nobody is asked about what cannot be a ciphertext");
}

#[test]
fn without_credentials_the_hint_says_how_to_get_some() {
    let bare = config("127.0.0.1:1").to_builder().credentials_provider(none()).build();
    let error = AwsKms::new(ARN.parse().unwrap(), Vec::new()).unwrap().with_config(bare).generate(&context()).err();
    let error = error.unwrap();
    assert!(error.to_string().contains("no usable credentials"), "{error}");
    assert!(error.hint().unwrap().contains("aws sso login"), "{:?}", error.hint());
}

/// Credentials that expired long ago, as a provider without any gives them.
fn none() -> SharedCredentialsProvider {
    #[derive(Debug)]
    struct None;
    impl aws_credential_types::provider::ProvideCredentials for None {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let error = aws_credential_types::provider::error::CredentialsError::not_loaded("no providers in chain");
            aws_credential_types::provider::future::ProvideCredentials::ready(Err(error))
        }
    }
    SharedCredentialsProvider::new(None)
}

#[test]
fn every_call_is_recorded_with_its_request_id() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit");
    let audited = |address: &str, key: &str| kms(address, key).with_audit(Audit::file(&path).unwrap());
    let key = new_key(&json!({}));
    let provider = audited(moto_server::address(), &key);
    let (opened, sealed) = provider.generate(&context()).unwrap();
    provider.seal(&opened, &context()).unwrap();
    provider.generate_sealed(&context()).unwrap();
    let sealed = record(sealed);
    provider.unseal(&sealed).unwrap();
    provider.reseal(&sealed, &EncryptionContext::default()).unwrap();
    let (_, file) = provider.generate_file_key(FileKeyLength::Aes128, &context()).unwrap();
    provider.unseal_file_key(&file, &context()).unwrap();
    provider.adopt(&file.blob, &context()).unwrap();
    let wire = Wire::new(vec![Reply::Error(400, "DisabledException", "x is disabled.")]);
    audited(&wire.address, &key).unseal(&sealed).err().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = lines.iter().map(|line| line["eventName"].as_str().unwrap()).collect();
    let content = ["GenerateDataKey", "Encrypt", "GenerateDataKeyWithoutPlaintext", "Decrypt", "ReEncrypt"];
    assert_eq!(names, [&content[..], &["GenerateDataKey", "Decrypt", "Decrypt", "Decrypt"]].concat());
    for line in &lines {
        assert!(line["requestID"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
        assert_eq!(line["resources"][0]["ARN"], key.as_str());
        assert_eq!(line["awsRegion"], REGION);
    }
    assert_eq!(lines[3]["additionalEventData"]["dataKeyId"], sealed.key_id.to_string());
    assert_eq!((&lines[8]["errorCode"], &lines[8]["requestID"]), (&json!("DisabledException"), &json!("wire-1")));
    // What cannot be recorded is not handed out.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let unseen = kms(moto_server::address(), &key).with_audit(Audit::to(full)).unseal(&sealed);
    assert!(matches!(unseen, Err(KeyError::Audit(_))));
}

/// keyrung logs nothing; whoever builds on the library may. The SDK must then show no key, at whatever level.
#[test]
fn the_sdk_logs_no_key() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let level = tracing_subscriber::fmt::format::FmtSpan::FULL;
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_span_events(level)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let provider = kms(moto_server::address(), &new_key(&json!({})));
    let (key, sealed) = provider.generate(&context()).unwrap();
    provider.unseal(&record(sealed)).unwrap();
    let logged = log.0.lock().unwrap().clone();
    let text = String::from_utf8_lossy(&logged);
    assert!(text.contains("TRACE") && text.contains("GenerateDataKey"), "nothing was logged");
    let raw = key.expose().as_slice();
    let base64 = base64::engine::general_purpose::STANDARD.encode(raw);
    let listed = format!("{raw:?}");
    for needle in [raw, hex::encode(raw).as_bytes(), base64.as_bytes(), listed.as_bytes()] {
        let found = logged.windows(needle.len()).position(|window| window == needle);
        let near = found.map(|at| String::from_utf8_lossy(&logged[at.saturating_sub(300)..at]).into_owned());
        assert!(near.is_none(), "a key is logged after {near:?}");
    }
}
