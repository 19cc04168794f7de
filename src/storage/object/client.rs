//! A bucket: the few operations that keyrung needs, each with its retries, and with what is to be done when the answer to a
//! request was lost.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::SharedCredentialsProvider;
use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum, S3ConditionalPut};
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, Error, GetOptions, GetResult, HeaderValue, ObjectStore,
    ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig, UpdateVersion,
};

use crate::aws::{AwsError, Patience, block_on, client_region, endpoint, load};
use crate::limits;
use crate::storage::StorageError;

use super::credentials::Chain;
use super::encryption::Encryption;
use super::error::{before, is_broken_off, is_unclear, sort};
use super::location::Location;

/// How often a question is put whose answer breaks off; each time the client has tried what it does by itself.
const BROKEN_OFF: u32 = 3;

/// The metadata under which an object of a package carries its checksum, and the run that made it.
pub(super) const DIGEST: &str = "keyrung-digest";
pub(super) const RUN: &str = "keyrung-run";

/// A bucket that can be read and written.
#[derive(Debug, Clone)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    name: String,
    region: Option<String>,
    attempts: u32,
}

/// How a store is reached.
pub(super) struct Settings {
    /// Its address; none for Amazon's own.
    pub endpoint: Option<String>,
    /// Who asks.
    pub credentials: Option<SharedCredentialsProvider>,
    /// The client's region.
    pub region: String,
    /// How often a request is tried.
    pub attempts: u32,
    /// How long a try may take.
    pub timeout: Duration,
    /// How long it may be tried again.
    pub retry_time: Duration,
}

/// An object as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was written.
    pub modified: SystemTime,
}

/// What an object says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its length in bytes.
    pub bytes: u64,
    /// Names this state of it.
    pub etag: Option<String>,
    /// The checksum that keyrung wrote with it.
    pub digest: Option<String>,
    /// The run that made it.
    pub run: Option<String>,
}

/// How a put ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landed {
    /// It was stored now.
    Now,
    /// The same had been there before.
    Before,
}

/// What an object that is there already must be to count as the one that is being put.
#[derive(Debug, Clone)]
pub(super) enum Same {
    /// These bytes.
    Bytes(Bytes),
    /// One with this length and checksum.
    Digest(u64, String),
}

impl Bucket {
    /// Opens a bucket; it is asked in which region it lies. What is put is encrypted as `encryption` says.
    ///
    /// # Errors
    /// [`StorageError::Refused`] when it is not there or no region is known; [`StorageError::Unavailable`].
    pub fn open(name: &str, encryption: &Encryption) -> Result<Self, StorageError> {
        Self::open_for(Patience::Job, name, encryption)
    }

    /// The same, for someone who waits so long.
    ///
    /// # Errors
    /// As [`Bucket::open`].
    pub(super) fn open_for(patience: Patience, name: &str, encryption: &Encryption) -> Result<Self, StorageError> {
        let path = PathBuf::from(format!("s3://{name}"));
        let fail = |error: &AwsError| before("open", &path, error);
        let client = client_region().map_err(|e| fail(&e))?;
        // A bucket says where it is to anyone who knows any region; without one the oldest answers.
        let region = client.unwrap_or_else(|| "us-east-1".to_owned());
        let config = load(Some(&region)).map_err(|e| fail(&e))?;
        let settings = Settings {
            endpoint: endpoint(&config, "S3"),
            credentials: config.credentials_provider(),
            region,
            attempts: patience.attempts(attempts()),
            timeout: patience.attempt(limits::S3_REQUEST_TIMEOUT),
            retry_time: patience.call(limits::S3_RETRY_TIME),
        };
        Self::open_with(name, encryption, settings)
    }

    /// Opens a bucket with settings other than those of the environment.
    pub(super) fn open_with(name: &str, encryption: &Encryption, settings: Settings) -> Result<Self, StorageError> {
        let path = PathBuf::from(format!("s3://{name}"));
        let Settings { endpoint: own, credentials, region: known, attempts, timeout, retry_time } = settings;
        let options = client_options(own.as_deref(), timeout);
        let retry = RetryConfig {
            backoff: BackoffConfig { max_backoff: limits::S3_LONGEST_WAIT, ..Default::default() },
            max_retries: attempts.saturating_sub(1) as usize,
            retry_timeout: retry_time,
        };
        let place = own.clone().unwrap_or_else(|| service(&known));
        let region = bucket_region(name, &place, &options, attempts)?;
        let signed = region.clone().unwrap_or(known);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(&signed)
            .with_endpoint(own.unwrap_or_else(|| service(&signed)))
            .with_client_options(options)
            .with_retry(retry)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // The checksum is in a signed header and covers the body: to sign the body too would cost a SHA-256 of it.
            .with_checksum_algorithm(Checksum::CRC64NVME)
            .with_unsigned_payload(true);
        if place.starts_with("http://") {
            builder = builder.with_allow_http(true);
        }
        if let Some(provider) = credentials {
            builder = builder.with_credentials(Arc::new(Chain::new(provider)));
        }
        let store = encryption.apply(builder).build().map_err(|e| sort("open", &path, &e))?;
        Ok(Self { store: Arc::new(store), name: name.to_owned(), region, attempts })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The region that it says it lies in; stores that are not Amazon's need not say.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    pub(super) fn store(&self) -> &AmazonS3 {
        &self.store
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The name of an object, for messages.
    pub(super) fn path(&self, key: &str) -> PathBuf {
        PathBuf::from(format!("s3://{}/{key}", self.name))
    }

    pub(super) fn key(&self, key: &str) -> Result<Key, StorageError> {
        Key::parse(key).map_err(|_| StorageError::BadName { path: self.path(""), name: key.to_owned() })
    }

    pub(super) fn fail(&self, operation: &'static str, key: &str, error: &Error) -> StorageError {
        sort(operation, &self.path(key), error)
    }

    pub(super) fn wait<T>(&self, future: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        block_on(future).map_err(|e| before("reach", &self.path(""), &e))?
    }

    /// What an object says of itself.
    ///
    /// # Errors
    /// [`StorageError::NotFound`]; whatever the store reports.
    pub fn head(&self, key: &str) -> Result<Head, StorageError> {
        self.wait(self.head_async(key))
    }

    /// Asks for an object, again where the answer broke off in a way that `object_store` does not try again by itself.
    pub(super) async fn get_async(
        &self,
        operation: &'static str,
        key: &str,
        options: GetOptions,
    ) -> Result<GetResult, StorageError> {
        let path = self.key(key)?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.store.get_opts(&path, options.clone()).await {
                Ok(found) => return Ok(found),
                Err(error) if is_broken_off(&error) && tries < self.attempts.min(BROKEN_OFF) => pause(tries).await,
                Err(error) => return Err(self.fail(operation, key, &error)),
            }
        }
    }

    pub(super) async fn head_async(&self, key: &str) -> Result<Head, StorageError> {
        let found = self.get_async("look at", key, GetOptions::new().with_head(true)).await?;
        let own = |name: &'static str| {
            found.attributes.get(&Attribute::Metadata(name.into())).map(|value| value.as_ref().to_owned())
        };
        Ok(Head { bytes: found.meta.size, etag: found.meta.e_tag.clone(), digest: own(DIGEST), run: own(RUN) })
    }

    /// A small object's content, and what names this state of it.
    ///
    /// # Errors
    /// [`StorageError::NotFound`]; [`StorageError::TooLarge`] beyond `limit` bytes; whatever the store reports.
    pub fn read(&self, key: &str, limit: u64) -> Result<(Bytes, Option<String>), StorageError> {
        self.wait(self.read_async(key, limit))
    }

    pub(super) async fn read_async(&self, key: &str, limit: u64) -> Result<(Bytes, Option<String>), StorageError> {
        let fail = |e: Error| self.fail("read", key, &e);
        let mut tries = 0;
        loop {
            let found = self.get_async("read", key, GetOptions::default()).await?;
            if found.meta.size > limit {
                return Err(StorageError::TooLarge { path: self.path(key), limit });
            }
            let (size, etag) = (found.meta.size, found.meta.e_tag.clone());
            match found.bytes().await {
                Ok(bytes) if bytes.len() as u64 == size => return Ok((bytes, etag)),
                Ok(_) if tries + 1 >= self.attempts => {
                    let reason = "the answer was cut short".to_owned();
                    return Err(StorageError::Unavailable { operation: "read", path: self.path(key), reason });
                }
                Err(e) if tries + 1 >= self.attempts => return Err(fail(e)),
                Ok(_) | Err(_) => {}
            }
            tries += 1;
            pause(tries).await;
        }
    }

    /// Stores an object where there is none of this key. When one is there that is the `same`, because an earlier run or a
    /// request whose answer was lost stored it, that counts.
    ///
    /// # Errors
    /// [`StorageError::Exists`] when another is there; whatever the store reports.
    pub(super) async fn create_async(
        &self,
        key: &str,
        payload: PutPayload,
        attributes: Attributes,
        same: &Same,
    ) -> Result<Landed, StorageError> {
        let path = self.key(key)?;
        let mut tries = 0;
        loop {
            let options = PutOptions { mode: PutMode::Create, attributes: attributes.clone(), ..Default::default() };
            let error = match self.store.put_opts(&path, payload.clone(), options).await {
                Ok(_) => return Ok(Landed::Now),
                Err(error) => error,
            };
            match &error {
                // S3 says so too when another request for the same key has just failed (spec S3-010): then nothing is there.
                Error::AlreadyExists { .. } => match self.compare(key, same).await? {
                    Some(true) => return Ok(Landed::Before),
                    Some(false) => return Err(StorageError::Exists { operation: "write", path: self.path(key) }),
                    None => {}
                },
                // It may have landed: the next try tells.
                error if is_unclear(error) => {}
                error => return Err(self.fail("write", key, error)),
            }
            tries += 1;
            if tries >= self.attempts {
                return Err(match self.fail("write", key, &error) {
                    StorageError::Exists { operation, path } => {
                        let reason = "other requests for it go on".to_owned();
                        StorageError::Unavailable { operation, path, reason }
                    }
                    other => other,
                });
            }
            pause(tries).await;
        }
    }

    /// Stores an object in the place of the one that `etag` names. When these very bytes are there, that counts: the answer
    /// to a request may have been lost.
    ///
    /// # Errors
    /// [`StorageError::Changed`] when another is there; [`StorageError::NotFound`] when none is; whatever the store reports.
    pub(super) async fn replace_async(
        &self,
        key: &str,
        etag: &str,
        bytes: Bytes,
        attributes: Attributes,
    ) -> Result<Landed, StorageError> {
        let path = self.key(key)?;
        let mut tries = 0;
        loop {
            let version = UpdateVersion { e_tag: Some(etag.to_owned()), version: None };
            let mode = PutMode::Update(version);
            let options = PutOptions { mode, attributes: attributes.clone(), ..Default::default() };
            let error = match self.store.put_opts(&path, bytes.clone().into(), options).await {
                Ok(_) => return Ok(Landed::Now),
                Err(error) => error,
            };
            match &error {
                Error::Precondition { .. } | Error::AlreadyExists { .. } => {
                    return match self.compare(key, &Same::Bytes(bytes)).await? {
                        Some(true) => Ok(Landed::Before),
                        Some(false) => Err(StorageError::Changed { path: self.path(key) }),
                        None => Err(StorageError::NotFound { operation: "replace", path: self.path(key) }),
                    };
                }
                error if is_unclear(error) && tries + 1 < self.attempts => {}
                error => return Err(self.fail("replace", key, error)),
            }
            tries += 1;
            pause(tries).await;
        }
    }

    /// Whether what is there is the same; none when nothing is.
    async fn compare(&self, key: &str, same: &Same) -> Result<Option<bool>, StorageError> {
        let is_same = match same {
            Same::Bytes(bytes) => match self.read_async(key, bytes.len() as u64).await {
                Ok((found, _)) => Ok(found == *bytes),
                Err(StorageError::TooLarge { .. }) => Ok(false),
                Err(error) => Err(error),
            },
            Same::Digest(bytes, digest) => {
                self.head_async(key).await.map(|head| head.bytes == *bytes && head.digest.as_ref() == Some(digest))
            }
        };
        match is_same {
            Ok(is_same) => Ok(Some(is_same)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects whose keys begin with `prefix` and a slash, or all, in no order.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        let key = if prefix.is_empty() { None } else { Some(self.key(prefix)?) };
        self.wait(async {
            let mut tries = 0;
            let found: Vec<_> = loop {
                tries += 1;
                match self.store.list(key.as_ref()).try_collect().await {
                    Ok(found) => break found,
                    Err(e) if is_broken_off(&e) && tries < self.attempts.min(BROKEN_OFF) => pause(tries).await,
                    Err(e) => return Err(self.fail("list", prefix, &e)),
                }
            };
            let listed = found.into_iter().map(|meta| Listed {
                key: meta.location.as_ref().to_owned(),
                bytes: meta.size,
                modified: meta.last_modified.into(),
            });
            Ok(listed.collect())
        })
    }

    /// The names of the objects whose keys are `prefix`, a slash and a name without one.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let key = if prefix.is_empty() { None } else { Some(self.key(prefix)?) };
        self.wait(async {
            let mut tries = 0;
            let found = loop {
                tries += 1;
                match self.store.list_with_delimiter(key.as_ref()).await {
                    Ok(found) => break found,
                    Err(e) if is_broken_off(&e) && tries < self.attempts.min(BROKEN_OFF) => pause(tries).await,
                    Err(e) => return Err(self.fail("list", prefix, &e)),
                }
            };
            Ok(found.objects.iter().filter_map(|meta| meta.location.filename().map(str::to_owned)).collect())
        })
    }

    /// Removes an object; that it is not there is no error.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub fn delete(&self, key: &str) -> Result<(), StorageError> {
        let path = self.key(key)?;
        self.wait(async {
            match self.store.delete(&path).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(e) => Err(self.fail("delete", key, &e)),
            }
        })
    }
}

/// The bucket at a location, opened once for the process, for what needs no customer key.
///
/// # Errors
/// As [`Bucket::open`].
pub fn bucket_of(location: &Location) -> Result<Bucket, StorageError> {
    static OPEN: Mutex<Option<HashMap<String, Bucket>>> = Mutex::new(None);
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let open = open.get_or_insert_default();
    if let Some(bucket) = open.get(location.bucket()) {
        return Ok(bucket.clone());
    }
    let bucket = Bucket::open(location.bucket(), &Encryption::Bucket)?;
    open.insert(location.bucket().to_owned(), bucket.clone());
    Ok(bucket)
}

/// Waits before another try: twice as long each time.
pub(super) async fn pause(tries: u32) {
    let wait = Duration::from_millis(50).saturating_mul(1 << tries.min(10));
    tokio::time::sleep(wait.min(limits::S3_LONGEST_WAIT)).await;
}

/// How often a request is tried: what the user has set for all AWS tools, or our own.
fn attempts() -> u32 {
    let set = std::env::var("AWS_MAX_ATTEMPTS").ok().and_then(|text| text.parse().ok());
    set.unwrap_or(limits::S3_ATTEMPTS).clamp(1, 100)
}

/// The address of Amazon's S3 in a region.
fn service(region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://s3.{region}.{domain}")
}

fn client_options(endpoint: Option<&str>, timeout: Duration) -> ClientOptions {
    let options = ClientOptions::new()
        .with_user_agent(HeaderValue::from_static(concat!("keyrung/", env!("CARGO_PKG_VERSION"))))
        .with_connect_timeout(limits::AWS_CONNECT_TIMEOUT)
        .with_timeout(timeout)
        .with_pool_max_idle_per_host(limits::S3_CONNECTIONS);
    let clear = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    if clear { options.with_allow_http(true) } else { options }
}

/// The region that a bucket says it lies in, which it tells anyone.
fn bucket_region(
    name: &str,
    place: &str,
    options: &ClientOptions,
    attempts: u32,
) -> Result<Option<String>, StorageError> {
    let path = PathBuf::from(format!("s3://{name}"));
    let unavailable = |reason: String| StorageError::Unavailable { operation: "reach", path: path.clone(), reason };
    let client = ReqwestConnector::default().connect(options).map_err(|e| sort("reach", &path, &e))?;
    let url = format!("{}/{name}", place.trim_end_matches('/'));
    let answer = block_on(async {
        let mut tries = 0;
        loop {
            let mut request = HttpRequest::new(HttpRequestBody::empty());
            *request.method_mut() = "HEAD".parse().map_err(|_| unavailable("no HEAD".to_owned()))?;
            *request.uri_mut() = url.parse().map_err(|_| unavailable(format!("{url} is no URL")))?;
            tries += 1;
            match client.execute(request).await {
                Ok(answer) if answer.status().is_server_error() && tries < attempts => {}
                Ok(answer) => return Ok(answer),
                Err(e) if tries >= attempts => return Err(unavailable(innermost(&e))),
                Err(_) => {}
            }
            pause(tries).await;
        }
    });
    let answer = answer.map_err(|e| before("reach", &path, &e))??;
    if answer.status() == 404 {
        let reason = "there is no such bucket".to_owned();
        let hint = Some("create the bucket, or mend its name".to_owned());
        return Err(StorageError::Refused { operation: "open", path, reason, hint });
    }
    let region = answer.headers().get("x-amz-bucket-region").and_then(|value| value.to_str().ok());
    Ok(region.filter(|region| crate::aws::region::is_name(region)).map(str::to_owned))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
