//! The vault over a real folder, a real keyring, a real moto, and a server that goes wrong as KMS does.

// The KMS provider's own tests have a server of their own.
#[allow(dead_code, clippy::duplicate_mod)]
#[path = "../../../../tests/it/moto_server.rs"]
mod moto_server;
#[allow(dead_code, clippy::duplicate_mod)]
#[path = "../../../../tests/it/wire.rs"]
mod wire;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use super::*;
use crate::keys::kms::AwsKms;
use crate::keys::{ContentId, EncryptionContext, KeyError, KeyProvider, KeyStore, LocalKeyring};
use wire::{Reply, Wire};

const REGION: &str = "us-east-1";

/// A key store in a folder, with the providers of its keys.
struct Real {
    dir: tempfile::TempDir,
    store: KeyStore,
    keyring: LocalKeyring,
    kms: AwsKms,
    opens: std::sync::atomic::AtomicUsize,
}

fn config(address: &str) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(2)).build();
    let credentials = Credentials::new("testing", "testing", None, None, "test");
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(format!("http://{address}"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled());
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(loader.load())
}

/// A key of moto's.
fn kms_key() -> String {
    let made = moto_server::kms(moto_server::address(), REGION, "CreateKey", "{}").unwrap();
    let made: serde_json::Value = serde_json::from_slice(&made.body).unwrap();
    made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
}

impl Real {
    /// With KMS at `address`. To be made outside of a runtime.
    fn with_kms(address: &str, key: &str) -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let store = KeyStore::open(&dir.path().join("keys")).unwrap();
        let (keyring, _) = LocalKeyring::open_or_create(&dir.path().join("home")).unwrap();
        let kms = AwsKms::new(key.parse().unwrap(), Vec::new()).unwrap().with_config(config(address));
        Arc::new(Self { dir, store, keyring, kms, opens: Default::default() })
    }

    fn local() -> Arc<Self> {
        Self::with_kms("127.0.0.1:1", "alias/none")
    }

    /// A new key, sealed by this provider and not stored.
    fn sealed(&self, provider: &dyn KeyProvider) -> (SealedKey, [u8; 16]) {
        let content_id: ContentId = "film".parse().unwrap();
        let context = EncryptionContext::of_content(&content_id);
        let (key, sealed) = provider.generate(&context).unwrap();
        (SealedKey::new(content_id, provider.name(), context, sealed).unwrap().bound(&key), *key.expose())
    }

    fn stored(&self, provider: &dyn KeyProvider) -> (KeyId, [u8; 16]) {
        let (sealed, key) = self.sealed(provider);
        self.store.put(&sealed).unwrap();
        (sealed.key_id, key)
    }

    fn file(&self, key_id: &KeyId) -> PathBuf {
        self.dir.path().join(format!("keys/{key_id}.json"))
    }
}

impl Open for Real {
    fn sealed(&self, key_id: &KeyId) -> Result<Option<SealedKey>, Trouble> {
        match self.store.get(key_id) {
            Err(KeyError::NotFound { .. }) => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    fn unseal(&self, sealed: &SealedKey) -> Result<ContentKey, Trouble> {
        self.opens.fetch_add(1, SeqCst);
        let provider: &dyn KeyProvider = if sealed.provider == "local" { &self.keyring } else { &self.kms };
        Ok(provider.unseal(sealed)?)
    }
}

/// The providers block, and are not to be used on the runtime's own threads: so the runtime is made here.
fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

fn blocking<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

#[test]
fn keys_in_a_folder_come_and_go() {
    let real = Real::local();
    let (key_id, secret) = real.stored(&real.keyring);
    let settings = Settings { negative_life: millis(100), ..settings() };
    let vault = Vault::new(Arc::clone(&real) as Arc<dyn Open>, settings);
    run(async {
        assert_eq!(*key(&vault, &key_id).await.unwrap(), secret);
        let (later, later_secret) = real.sealed(&real.keyring);
        assert!(vault.record(&later.key_id).await.unwrap().is_none());
        real.store.put(&later).unwrap();
        tokio::time::sleep(millis(110)).await;
        assert_eq!(*key(&vault, &later.key_id).await.unwrap(), later_secret);
        real.store.delete(&key_id).unwrap();
        vault.forget();
        assert!(vault.record(&key_id).await.unwrap().is_none());
        assert_eq!(*key(&vault, &later.key_id).await.unwrap(), later_secret);
    });
}

/// Whoever can write to the key store, but has no keyring, gets no key by what is put there.
#[test]
fn records_that_were_tampered_with_are_refused() {
    let real = Real::local();
    let secrets: Vec<(KeyId, [u8; 16])> = (0..5).map(|_| real.stored(&real.keyring)).collect();
    let [renamed, linked, near, changed, moved] = [0, 1, 2, 3, 4].map(|at: usize| real.file(&secrets[at].0));
    let elsewhere = real.dir.path().join("elsewhere.json");
    let other = KeyId::generate().unwrap();
    fs::rename(&renamed, real.file(&other)).unwrap();
    fs::rename(&linked, &elsewhere).unwrap();
    symlink(&elsewhere, &linked).unwrap();
    fs::remove_file(&near).unwrap();
    symlink(moved.file_name().unwrap(), &near).unwrap();
    let text = fs::read_to_string(&changed).unwrap().replace("\"created\": \"20", "\"created\": \"19");
    fs::write(&changed, text.replace("film", "soap")).unwrap();
    let vault = Vault::new(Arc::clone(&real) as Arc<dyn Open>, settings());
    run(async {
        assert!(vault.record(&secrets[0].0).await.unwrap().is_none());
        assert!(vault.record(&other).await.unwrap_err().is_refusal(), "a file under another's name");
        assert!(vault.record(&secrets[1].0).await.unwrap_err().is_refusal(), "a link that leads elsewhere");
        assert!(vault.record(&secrets[2].0).await.unwrap_err().is_refusal(), "a link to another's record");
        assert!(key(&vault, &secrets[3].0).await.unwrap_err().is_refusal(), "a record for other content");
        assert_eq!(*key(&vault, &secrets[4].0).await.unwrap(), secrets[4].1);
        assert!(vault.ready());
    });
    for kind in ["folder", "pipe"] {
        let key_id = KeyId::generate().unwrap();
        match kind {
            "folder" => fs::create_dir(real.file(&key_id)).unwrap(),
            _ => rustix::fs::mkfifoat(rustix::fs::CWD, real.file(&key_id), rustix::fs::Mode::RUSR).unwrap(),
        }
        let refused = run(async { vault.record(&key_id).await });
        assert!(refused.unwrap_err().is_refusal(), "a {kind}");
    }
}

#[test]
fn a_thousand_viewers_ask_kms_once() {
    let wire = Wire::new(vec![Reply::Forward(moto_server::address().to_owned())]);
    let real = Real::with_kms(&wire.address, &kms_key());
    let (key_id, secret) = real.stored(&real.kms);
    let vault = Arc::new(Vault::new(Arc::clone(&real) as Arc<dyn Open>, settings()));
    run(async {
        let viewers: Vec<_> = (0..1000)
            .map(|_| {
                let vault = Arc::clone(&vault);
                tokio::spawn(async move { *key(&vault, &key_id).await.unwrap() })
            })
            .collect();
        for viewer in viewers {
            assert_eq!(viewer.await.unwrap(), secret);
        }
    });
    assert_eq!(wire.operations(), ["GenerateDataKey", "Decrypt"]);
}

#[test]
fn what_kms_says_of_the_key_is_a_refusal_and_what_it_says_of_itself_passes() {
    let forward = Reply::Forward(moto_server::address().to_owned());
    let cases = [
        (Reply::Error(400, "AccessDeniedException", "no kms:Decrypt"), true),
        (Reply::Error(400, "DisabledException", "x is disabled."), true),
        (Reply::Error(400, "KMSInvalidStateException", "x is pending deletion."), true),
        (Reply::Error(400, "InvalidCiphertextException", ""), true),
        (Reply::Error(400, "NotFoundException", "no such key"), true),
        (Reply::Error(400, "ThrottlingException", "Rate exceeded"), false),
        (Reply::Error(500, "KMSInternalException", "no"), false),
        (Reply::Error(400, "ExpiredTokenException", "the server's own credentials"), false),
        (Reply::Drop, false),
        (Reply::Cut(r#"{"KeyId":"k"}"#.to_owned()), false),
    ];
    for (reply, refusal) in cases {
        let wire = Wire::new(vec![forward.clone(), reply.clone(), reply.clone(), forward.clone()]);
        let real = Real::with_kms(&wire.address, &kms_key());
        let (key_id, secret) = real.stored(&real.kms);
        let settings = Settings { negative_life: millis(100), ..settings() };
        let vault = Vault::new(Arc::clone(&real) as Arc<dyn Open>, settings);
        run(async {
            for _ in 0..2 {
                let found = record(&vault, &key_id).await;
                let mut refused = vault.key(&found).await.unwrap_err();
                assert_eq!(refused.is_refusal(), refusal, "{reply:?}: {refused:?}");
                // At once again: nobody is asked.
                refused = vault.key(&found).await.unwrap_err();
                assert_eq!(refused.is_refusal(), refusal, "{reply:?}: {refused:?}");
                assert_eq!(vault.ready(), refusal, "{reply:?}");
                tokio::time::sleep(limits::VAULT_FIRST_PAUSE * 3).await;
            }
            assert_eq!(*key(&vault, &key_id).await.unwrap(), secret, "{reply:?}");
        });
        assert_eq!(real.opens.load(SeqCst), 3, "{reply:?}");
    }
}

#[test]
fn a_key_stays_while_kms_is_throttled_or_gone_or_hangs() {
    for reply in [Reply::Error(400, "ThrottlingException", "Rate exceeded"), Reply::Drop, Reply::Stall] {
        let forward = Reply::Forward(moto_server::address().to_owned());
        // It is made, it is opened, and then nothing more.
        let wire = Wire::new(vec![forward.clone(), forward.clone(), forward, reply.clone()]);
        let real = Real::with_kms(&wire.address, &kms_key());
        let ((warm, secret), (cold, _)) = (real.stored(&real.kms), real.stored(&real.kms));
        let settings = Settings { life: millis(200), wait: millis(300), ..settings() };
        let vault = Vault::new(Arc::clone(&real) as Arc<dyn Open>, settings);
        run(async {
            let found = record(&vault, &warm).await;
            assert_eq!(*vault.key(&found).await.unwrap(), secret);
            let mut longest = Duration::ZERO;
            let until = Instant::now() + millis(1200);
            let mut waits = 0;
            while Instant::now() < until {
                let began = Instant::now();
                assert_eq!(*key(&vault, &warm).await.unwrap(), secret, "{reply:?}");
                longest = longest.max(began.elapsed());
                waits += usize::from(began.elapsed() > millis(150));
                tokio::time::sleep(millis(5)).await;
            }
            assert!(longest < millis(900) && waits <= 2, "{reply:?}: {longest:?}, {waits} waited");
            let began = Instant::now();
            let found = record(&vault, &cold).await;
            let kind = vault.key(&found).await.unwrap_err().kind;
            assert!(matches!(kind, Kind::Unreachable | Kind::Slow), "{reply:?}: {kind:?}");
            assert!(began.elapsed() < millis(1500), "{reply:?}: {:?}", began.elapsed());
        });
    }
}

#[test]
fn a_context_that_was_changed_does_not_open_at_kms() {
    let real = Real::with_kms(moto_server::address(), &kms_key());
    let (mut sealed, _) = blocking(|| real.sealed(&real.kms));
    sealed.context.insert("title=b".parse().unwrap()).unwrap();
    real.store.put(&sealed).unwrap();
    let vault = Vault::new(Arc::clone(&real) as Arc<dyn Open>, settings());
    run(async { assert!(key(&vault, &sealed.key_id).await.unwrap_err().is_refusal()) });
}
