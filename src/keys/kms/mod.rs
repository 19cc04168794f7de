//! AWS KMS as a provider of keys: data keys are made and opened by KMS, under a key that never leaves it.
//!
//! Plaintext keys come in over TLS, are copied into their final place at once and overwritten where the SDK had put them. What
//! hyper and rustls have buffered, and the request in which a given key is sealed (Encrypt), cannot be reached and is not
//! wiped.

mod failure;
mod name;
mod permissions;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use zeroize::Zeroizing;

use crate::aws::{self, AwsError, Patience};
use crate::crypto::key::{ContentKey, FileKey, FileKeyLength};
use crate::keys::audit::{Audit, Entry, Operation};
use crate::keys::provider::{self, FILE_KEY};
use crate::keys::{Ciphertext, EncryptionContext, KeyError, KeyId, KeyProvider, Refusal, SealedKey};
use crate::limits::{AWS_ATTEMPT_TIMEOUT, AWS_CALL_TIMEOUT, KMS_CIPHERTEXT_BYTES, KMS_GRANT_TOKENS};
use failure::{Failure, KmsRetry, PROVIDER, Subject, failure, refused};

pub use name::KmsKeyName;

/// Seals under one KMS key, and opens what any KMS key sealed that the caller may use.
pub struct AwsKms {
    key: KmsKeyName,
    grant_tokens: Vec<String>,
    config: Option<SdkConfig>,
    patience: Patience,
    audit: Audit,
}

/// What a call gave.
struct Done<T> {
    value: T,
    /// The ARN of the key that did it.
    key: String,
    request_id: Option<String>,
}

impl<T> Done<T> {
    /// What `f` makes of it; its failure keeps the id of the call.
    fn and_then<U>(self, f: impl FnOnce(T) -> Result<U, KeyError>) -> Result<Done<U>, Failure> {
        match f(self.value) {
            Ok(value) => Ok(Done { value, key: self.key, request_id: self.request_id }),
            Err(error) => Err(Failure { request_id: self.request_id, ..error.into() }),
        }
    }
}

/// A new key as KMS gave it.
type ClearAndSealed = (Zeroizing<Vec<u8>>, Ciphertext);

/// What a call is about, for the audit log.
#[derive(Clone, Copy)]
struct About<'a> {
    operation: Operation,
    key: &'a KmsKeyName,
    key_id: Option<KeyId>,
    context: &'a EncryptionContext,
    source: Option<(&'a str, &'a EncryptionContext)>,
}

impl AwsKms {
    /// The provider that seals under `key`.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] when there are more grant tokens than KMS takes (spec KMS-012).
    pub fn new(key: KmsKeyName, grant_tokens: Vec<String>) -> Result<Self, KeyError> {
        if grant_tokens.len() > KMS_GRANT_TOKENS {
            let given = format!("{} of them", grant_tokens.len());
            return Err(KeyError::Invalid { wanted: "at most 10 grant tokens", given });
        }
        Ok(Self { key, grant_tokens, config: None, patience: Patience::Job, audit: Audit::default() })
    }

    /// With every operation recorded.
    #[must_use]
    pub fn with_audit(mut self, audit: Audit) -> Self {
        self.audit = audit;
        self
    }

    /// For someone who waits so long.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// With a configuration of its own instead of what environment and profile say. Its region is replaced where a key's ARN
    /// names one.
    #[must_use]
    pub fn with_config(mut self, config: SdkConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// The key that it seals under, as it was named.
    #[must_use]
    pub fn key(&self) -> &KmsKeyName {
        &self.key
    }

    /// A client of the region that `key` names, or else of the client's own.
    fn client(&self, key: &KmsKeyName) -> Result<(Client, String), KeyError> {
        // Each client has connections of its own: all calls to a region go over one's.
        static SHARED: Mutex<BTreeMap<(String, Patience), Client>> = Mutex::new(BTreeMap::new());
        let config = match (&self.config, key.region()) {
            (Some(config), Some(region)) => {
                config.to_builder().region(aws_config::Region::new(region.to_owned())).build()
            }
            (Some(config), None) => config.clone(),
            (None, region) => aws::load(region).map_err(|error| not_started(key, &error))?,
        };
        let region = config.region().map(ToString::to_string).unwrap_or_default();
        let new = || {
            let mut client = aws_sdk_kms::config::Builder::from(&config).retry_classifier(KmsRetry);
            if self.patience != Patience::Job {
                let retry = config.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
                let attempts = self.patience.attempts(retry.max_attempts());
                client = client.retry_config(retry.with_max_attempts(attempts)).timeout_config(self.timeouts(&config));
            }
            Client::from_conf(client.build())
        };
        let client = match self.config {
            Some(_) => new(),
            None => {
                let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
                shared.entry((region.clone(), self.patience)).or_insert_with(new).clone()
            }
        };
        Ok((client, region))
    }

    fn timeouts(&self, config: &SdkConfig) -> TimeoutConfig {
        let set = config.timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled);
        let attempt = self.patience.attempt(set.operation_attempt_timeout().unwrap_or(AWS_ATTEMPT_TIMEOUT));
        let call = self.patience.call(set.operation_timeout().unwrap_or(AWS_CALL_TIMEOUT));
        set.to_builder().connect_timeout(attempt).operation_attempt_timeout(attempt).operation_timeout(call).build()
    }

    fn grants(&self) -> Option<Vec<String>> {
        (!self.grant_tokens.is_empty()).then(|| self.grant_tokens.clone())
    }

    /// Records how a call went. What it gave is handed on only when it could be recorded.
    fn audited<T>(&self, about: About<'_>, result: Result<Done<T>, Failure>) -> Result<T, KeyError> {
        let entry = Entry {
            operation: about.operation,
            provider: PROVIDER,
            key: about.key.as_str(),
            key_id: about.key_id,
            context: about.context,
            source: about.source,
            request_id: None,
            failure: None,
        };
        match result {
            Ok(done) => {
                let request_id = done.request_id.as_deref();
                self.audit.record(&Entry { key: &done.key, request_id, ..entry })?;
                Ok(done.value)
            }
            Err(Failure { code, request_id, error }) => {
                let request_id = request_id.as_deref();
                self.audit.record(&Entry { request_id, failure: Some((&code, &error)), ..entry })?;
                Err(*error)
            }
        }
    }

    fn make(&self, spec: DataKeyLength, context: &EncryptionContext) -> Result<Done<ClearAndSealed>, Failure> {
        let (client, region) = self.client(&self.key)?;
        let subject = Subject { key: self.key.as_str(), region: &region, data_key: "" };
        let call = client
            .generate_data_key()
            .key_id(self.key.as_str())
            .set_encryption_context(pairs(context))
            .set_grant_tokens(self.grants());
        let call = match spec {
            DataKeyLength::Spec(spec) => call.key_spec(spec),
            DataKeyLength::Bytes(count) => call.number_of_bytes(count),
        };
        let mut output = run(call.send(), subject)?;
        let request_id = output.request_id().map(str::to_owned);
        let plaintext = Zeroizing::new(output.plaintext.take().map(Blob::into_inner).unwrap_or_default());
        to_store(output.key_id, output.ciphertext_blob, request_id)?.and_then(|sealed| Ok((plaintext, sealed)))
    }

    fn make_sealed(&self, context: &EncryptionContext) -> Result<Done<Ciphertext>, Failure> {
        let (client, region) = self.client(&self.key)?;
        let subject = Subject { key: self.key.as_str(), region: &region, data_key: "" };
        let call = client
            .generate_data_key_without_plaintext()
            .key_id(self.key.as_str())
            .key_spec(DataKeySpec::Aes128)
            .set_encryption_context(pairs(context))
            .set_grant_tokens(self.grants());
        let output = run(call.send(), subject)?;
        let request_id = output.request_id().map(str::to_owned);
        to_store(output.key_id, output.ciphertext_blob, request_id)
    }

    fn encrypt(&self, key: &ContentKey, context: &EncryptionContext) -> Result<Done<Ciphertext>, Failure> {
        let (client, region) = self.client(&self.key)?;
        let subject = Subject { key: self.key.as_str(), region: &region, data_key: "" };
        let call = client
            .encrypt()
            .key_id(self.key.as_str())
            .plaintext(Blob::new(key.expose()))
            .set_encryption_context(pairs(context))
            .set_grant_tokens(self.grants());
        let output = run(call.send(), subject)?;
        let request_id = output.request_id().map(str::to_owned);
        to_store(output.key_id, output.ciphertext_blob, request_id)
    }

    fn decrypt(
        &self,
        key: &KmsKeyName,
        blob: &[u8],
        context: &EncryptionContext,
        data_key: &str,
    ) -> Result<Done<Zeroizing<Vec<u8>>>, Failure> {
        // KMS would say only that a parameter is out of range.
        if blob.is_empty() || blob.len() > KMS_CIPHERTEXT_BYTES {
            return Err(KeyError::Unsealable { key_id: data_key.to_owned() }.into());
        }
        let (client, region) = self.client(key)?;
        let call = client
            .decrypt()
            .key_id(key.as_str())
            .ciphertext_blob(Blob::new(blob))
            .set_encryption_context(pairs(context))
            .set_grant_tokens(self.grants());
        let mut output = run(call.send(), Subject { key: key.as_str(), region: &region, data_key })?;
        let request_id = output.request_id().map(str::to_owned);
        let value = Zeroizing::new(output.plaintext.take().map(Blob::into_inner).unwrap_or_default());
        Ok(Done { value, key: output.key_id.unwrap_or_else(|| key.to_string()), request_id })
    }

    fn open(&self, key: &KmsKeyName, sealed: &SealedKey) -> Result<Done<ContentKey>, Failure> {
        let data_key = sealed.key_id.to_string();
        self.decrypt(key, &sealed.ciphertext, &sealed.context, &data_key)?
            .and_then(|mut clear| content_key(&mut clear).and_then(|key| sealed.opened(key)))
    }

    fn re_encrypt(&self, sealed: &SealedKey, context: &EncryptionContext) -> Result<Done<Ciphertext>, Failure> {
        let (client, region) = self.client(&self.key)?;
        let data_key = sealed.key_id.to_string();
        let call = client
            .re_encrypt()
            .ciphertext_blob(Blob::new(sealed.ciphertext.as_slice()))
            .source_key_id(&sealed.key)
            .set_source_encryption_context(pairs(&sealed.context))
            .destination_key_id(self.key.as_str())
            .set_destination_encryption_context(pairs(context))
            .set_grant_tokens(self.grants());
        let output = run(call.send(), Subject { key: self.key.as_str(), region: &region, data_key: &data_key })?;
        let request_id = output.request_id().map(str::to_owned);
        to_store(output.key_id, output.ciphertext_blob, request_id)
    }

    /// The KMS key that a ciphertext names, or the replica of it that this provider was given.
    fn recorded(&self, key: &str) -> Option<KmsKeyName> {
        let recorded: KmsKeyName = key.parse().ok()?;
        if self.key.is_replica_of(&recorded) {
            return Some(self.key.clone());
        }
        recorded.is_key_arn().then_some(recorded)
    }
}

impl KeyProvider for AwsKms {
    fn name(&self) -> &'static str {
        PROVIDER
    }

    fn generate(&self, context: &EncryptionContext) -> Result<(ContentKey, Ciphertext), KeyError> {
        let about = About { operation: Operation::Generate, key: &self.key, key_id: None, context, source: None };
        let made = self
            .make(DataKeyLength::Spec(DataKeySpec::Aes128), context)
            .and_then(|done| done.and_then(|(mut clear, sealed)| Ok((content_key(&mut clear)?, sealed))));
        self.audited(about, made)
    }

    fn generate_sealed(&self, context: &EncryptionContext) -> Result<Ciphertext, KeyError> {
        let operation = Operation::GenerateSealed;
        let about = About { operation, key: &self.key, key_id: None, context, source: None };
        self.audited(about, self.make_sealed(context))
    }

    fn seal(&self, key: &ContentKey, context: &EncryptionContext) -> Result<Ciphertext, KeyError> {
        let about = About { operation: Operation::Seal, key: &self.key, key_id: None, context, source: None };
        self.audited(about, self.encrypt(key, context))
    }

    fn unseal(&self, sealed: &SealedKey) -> Result<ContentKey, KeyError> {
        let Some(key) = self.recorded(&sealed.key).filter(|_| sealed.provider == PROVIDER) else {
            return Err(KeyError::NotMine {
                key_id: sealed.key_id.to_string(),
                provider: sealed.provider.clone(),
                key: sealed.key.clone(),
            });
        };
        let (operation, key_id, context) = (Operation::Unseal, Some(sealed.key_id), &sealed.context);
        self.audited(About { operation, key: &key, key_id, context, source: None }, self.open(&key, sealed))
    }

    fn reseal(&self, sealed: &SealedKey, context: &EncryptionContext) -> Result<Option<Ciphertext>, KeyError> {
        let Some(source) = sealed.key.parse::<KmsKeyName>().ok().filter(KmsKeyName::is_key_arn) else {
            return Ok(None);
        };
        // KMS re-encrypts within one region.
        if sealed.provider != PROVIDER || source.region() != Some(self.client(&self.key)?.1.as_str()) {
            return Ok(None);
        }
        let (operation, key_id, key) = (Operation::Reseal, Some(sealed.key_id), &self.key);
        let about = About { operation, key, key_id, context, source: Some((&sealed.key, &sealed.context)) };
        self.audited(about, self.re_encrypt(sealed, context)).map(Some)
    }

    fn generate_file_key(
        &self,
        length: FileKeyLength,
        context: &EncryptionContext,
    ) -> Result<(FileKey, Ciphertext), KeyError> {
        let spec = match length {
            FileKeyLength::Aes128 => DataKeyLength::Spec(DataKeySpec::Aes128),
            // KMS has no name for it (spec KMS-001).
            FileKeyLength::Aes192 => DataKeyLength::Bytes(24),
            FileKeyLength::Aes256 => DataKeyLength::Spec(DataKeySpec::Aes256),
        };
        let about = About { operation: Operation::Generate, key: &self.key, key_id: None, context, source: None };
        let made = self.make(spec, context).and_then(|done| {
            done.and_then(|(mut clear, sealed)| match FileKey::from_bytes(&mut clear) {
                Ok(key) if key.length() == length => Ok((key, sealed)),
                _ => Err(bad_answer("a key of another length than was asked for")),
            })
        });
        self.audited(about, made)
    }

    fn unseal_file_key(&self, sealed: &Ciphertext, context: &EncryptionContext) -> Result<FileKey, KeyError> {
        let key = if sealed.key.is_empty() { Some(self.key.clone()) } else { self.recorded(&sealed.key) };
        let Some(key) = key else {
            return Err(KeyError::NotMine {
                key_id: FILE_KEY.into(),
                provider: PROVIDER.into(),
                key: sealed.key.clone(),
            });
        };
        let about = About { operation: Operation::Unseal, key: &key, key_id: None, context, source: None };
        let opened = self
            .decrypt(&key, &sealed.blob, context, FILE_KEY)
            .and_then(|done| done.and_then(|mut clear| file_key(&mut clear)));
        self.audited(about, opened)
    }

    /// The answer names the key (spec KMS-002), so that the blob can be recorded as it came.
    fn adopt(&self, blob: &[u8], context: &EncryptionContext) -> Result<(ContentKey, Ciphertext), KeyError> {
        let key = &self.key;
        let opened = self.decrypt(key, blob, context, FILE_KEY).and_then(|done| {
            let sealed = to_store(Some(done.key.clone()), Some(Blob::new(blob)), done.request_id.clone())?.value;
            done.and_then(|mut clear| Ok((provider::content_key(&file_key(&mut clear)?)?, sealed)))
        });
        self.audited(About { operation: Operation::Unseal, key, key_id: None, context, source: None }, opened)
    }
}

/// How long a data key is to be, as KMS wants to be told: exactly one of both (spec KMS-001).
enum DataKeyLength {
    Spec(DataKeySpec),
    Bytes(i32),
}

/// Waits for a call and says what its failure means.
fn run<T, E>(call: impl Future<Output = Result<T, SdkError<E>>>, subject: Subject<'_>) -> Result<T, Failure>
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    SdkError<E>: RequestId,
{
    let reason = |error: AwsError| KeyError::Unavailable { provider: PROVIDER, reason: error.to_string() };
    aws::block_on(call).map_err(reason)?.map_err(|error| failure(&error, subject))
}

/// Moves 16 bytes of plaintext to their place and wipes where they were.
fn content_key(plaintext: &mut Zeroizing<Vec<u8>>) -> Result<ContentKey, KeyError> {
    let bytes: &mut [u8; ContentKey::LEN] =
        plaintext.as_mut_slice().try_into().map_err(|_| bad_answer("a key that has not 16 bytes"))?;
    Ok(ContentKey::from_bytes(bytes))
}

/// What KMS gave to be stored. The key's ARN is stored, never an alias (spec KMS-002, KMS-006).
fn to_store(key: Option<String>, blob: Option<Blob>, request_id: Option<String>) -> Result<Done<Ciphertext>, Failure> {
    let blob = blob.map(Blob::into_inner).unwrap_or_default();
    let key = key.unwrap_or_default();
    let named = key.parse::<KmsKeyName>().is_ok_and(|name| name.is_key_arn());
    if named && !blob.is_empty() && blob.len() <= KMS_CIPHERTEXT_BYTES {
        return Ok(Done { key: key.clone(), value: Ciphertext { key, blob }, request_id });
    }
    let what = if named { "a ciphertext of no possible length" } else { "no ARN of the key" };
    Err(Failure { request_id, ..bad_answer(what).into() })
}

fn file_key(plaintext: &mut Zeroizing<Vec<u8>>) -> Result<FileKey, KeyError> {
    FileKey::from_bytes(plaintext).map_err(|_| KeyError::Unsealable { key_id: FILE_KEY.into() })
}

fn bad_answer(reason: &str) -> KeyError {
    KeyError::Malformed { what: "the answer of AWS KMS".into(), reason: format!("it has {reason}") }
}

/// Why no call could be made at all.
fn not_started(key: &KmsKeyName, error: &AwsError) -> KeyError {
    match error {
        AwsError::NoRegion => refused(Subject { key: key.as_str(), region: "", data_key: "" }, Refusal::NoRegion),
        other => KeyError::Unavailable { provider: PROVIDER, reason: other.to_string() },
    }
}

fn pairs(context: &EncryptionContext) -> Option<HashMap<String, String>> {
    let pairs: HashMap<_, _> = context.pairs().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    (!pairs.is_empty()).then_some(pairs)
}

impl From<KeyError> for Failure {
    /// A failure that KMS did not report.
    fn from(error: KeyError) -> Self {
        Self { code: error.code().to_owned(), request_id: None, error: Box::new(error) }
    }
}
