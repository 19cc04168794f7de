//! Publishing a package to an object store: the counterpart of [`crate::storage::Staging`].
//!
//! A store has no rename. What makes a package appear in one step is its master playlist: everything that it leads to is
//! stored before it. Segments and media playlists are created and never overwritten; a package that replaces another lies in
//! a group of its own (a generation) below DEST, so that the old one stays whole. The protocol is in `manual/formats.md`.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use object_store::{
    Attribute, Attributes, GetOptions, ObjectStore, PutMultipartOptions, PutPayloadMut, WriteMultipart,
};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::aws::runtime::runtime;
use crate::limits::{self, MAX_COMMIT_RECORD_BYTES};
use crate::storage::budget::Permit;
use crate::storage::documents::is_plain;
use crate::storage::{Replace, StorageError};

use super::client::{Bucket, DIGEST, Landed, RUN, Same};
use super::encryption::Encryption;
use super::error::before;
use super::location::Location;

/// The names of what makes a package visible, and of its commit record.
const MASTER: &str = "master.m3u8";
const RECORD: &str = "keyrung.json";
/// Held by the run that stores master and record, so that the two are of one run.
const LOCK: &str = "keyrung.lock";
/// How long another run may take to store these two, and how long its lock is believed in.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);
const LOCK_LIFE: Duration = Duration::from_secs(10 * 60);
/// Bytes of memory that an open segment grows by.
const GROWTH: usize = 256 * 1024;
/// The largest playlist that is stored or compared.
const PLAYLIST_BYTES: u64 = limits::PLAYLIST_BYTES as u64;

/// What an object of a package is, which decides how long it may be kept by those who got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Segment,
    Playlist,
    Record,
}

impl Kind {
    fn attributes(self) -> Attributes {
        let (content, cache) = match self {
            // Never overwritten: under the same name there is never anything else.
            Self::Segment => ("video/mp2t", "public, max-age=31536000, immutable"),
            // The master changes when a package is replaced.
            Self::Playlist => ("application/vnd.apple.mpegurl", "public, max-age=30"),
            Self::Record => ("application/json", "no-cache"),
        };
        Attributes::from_iter([(Attribute::ContentType, content), (Attribute::CacheControl, cache)])
    }
}

/// The name of a generation below DEST. A rendition cannot be called so: its name holds no full stop.
#[must_use]
pub fn generation_name(run: &str) -> String {
    format!("g.{}", run.get(..16).unwrap_or(run))
}

/// Whether a part of a key is the name of a generation.
#[must_use]
pub fn is_generation(part: &str) -> bool {
    part.strip_prefix("g.").is_some_and(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A package that is being stored.
pub struct Upload {
    bucket: Bucket,
    at: Location,
    /// States of the objects that will be replaced.
    old_record: Option<(Bytes, Option<String>)>,
    old_master: Option<String>,
    generation: Option<String>,
    run: String,
    is_locked: AtomicBool,
    /// Keys of the segments that an earlier run of the same claim has stored.
    there: HashSet<String>,
    flights: Arc<Flights>,
    handle: Handle,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({})", self.at)
    }
}

/// Segments on their way.
#[derive(Debug)]
struct Flights {
    slots: Semaphore,
    state: Mutex<Pending>,
    landed: Condvar,
    stored: AtomicU64,
    found: AtomicU64,
}

#[derive(Debug, Default)]
struct Pending {
    count: usize,
    failed: Option<StorageError>,
    stopped: bool,
}

/// A segment that is being made.
pub struct ObjectFile {
    key: String,
    content: Body,
    bytes: u64,
    permit: Option<Permit>,
}

impl fmt::Debug for ObjectFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectFile({})", self.key)
    }
}

impl ObjectFile {
    /// Holds a permit until it is stored.
    pub fn hold(&mut self, permit: Option<Permit>) {
        self.permit = permit;
    }
}

enum Body {
    /// All of it, so far.
    Whole(PutPayloadMut),
    /// It is large: the parts before are on their way.
    Parts(WriteMultipart),
    /// It is large, and an earlier run has stored it.
    There,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: String,
}

fn if_there<T>(found: Result<T, StorageError>) -> Result<Option<T>, StorageError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

impl Upload {
    /// Looks at DEST.
    ///
    /// # Errors
    /// [`StorageError::Exists`] when there is a package and `replace` refuses; [`StorageError::Foreign`] when what is there is
    /// not a package's record; whatever the store reports.
    pub fn open(at: &Location, encryption: &Encryption, replace: Replace) -> Result<Self, StorageError> {
        let bucket = Bucket::open(at.bucket(), encryption)?;
        let old_record = if_there(bucket.read(&at.below(RECORD), MAX_COMMIT_RECORD_BYTES))?;
        let old_master = if_there(bucket.head(&at.below(MASTER)))?.and_then(|head| head.etag);
        if let Some((bytes, _)) = &old_record {
            if replace == Replace::Refuse {
                return Err(StorageError::Exists { operation: "write to", path: at.to_path() });
            }
            let format = serde_json::from_slice::<FormatOnly>(bytes).map(|record| record.format);
            if !format.is_ok_and(|format| format == "keyrung.package") {
                return Err(StorageError::Foreign { path: at.to_path(), what: RECORD.to_owned() });
            }
        }
        let runtime = runtime().map_err(|e| before("reach", &at.to_path(), &e))?;
        Ok(Self {
            bucket,
            at: at.clone(),
            old_record,
            old_master,
            generation: None,
            run: String::new(),
            is_locked: AtomicBool::new(false),
            there: HashSet::new(),
            flights: Arc::new(Flights {
                slots: Semaphore::new(limits::S3_CONNECTIONS),
                state: Mutex::default(),
                landed: Condvar::new(),
                stored: AtomicU64::new(0),
                found: AtomicU64::new(0),
            }),
            handle: runtime.handle().clone(),
        })
    }

    /// Whether nothing of a package can be seen at DEST.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        self.old_record.is_none()
    }

    /// The region of the bucket, where that is known.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.bucket.region()
    }

    /// Begins to store what `run` makes, in a generation of its own or at DEST itself. `run` must be another for every claim. A run that goes on with an earlier
    /// one's claim finds what that has stored.
    ///
    /// # Errors
    /// [`StorageError::Foreign`] when someone else's playlist has the master's name; whatever the store reports.
    pub fn begin(
        &mut self,
        run: &str,
        generation: Option<String>,
        renditions: &[String],
        first: FirstRun,
    ) -> Result<(), StorageError> {
        self.run = run.to_owned();
        self.generation = generation;
        if first == FirstRun::No {
            for rendition in renditions {
                let found = self.bucket.list(&self.at.below(&self.folder(rendition)))?;
                self.there.extend(found.into_iter().map(|found| found.key));
            }
        }
        // Whoever has stored a master here had stored segments before it.
        if self.there.is_empty() && self.has_foreign_master() {
            return Err(self.foreign_master());
        }
        Ok(())
    }

    /// Whether there is a master without a record: of a run that was killed between the two, or a stranger's.
    fn has_foreign_master(&self) -> bool {
        self.old_record.is_none() && self.old_master.is_some()
    }

    fn foreign_master(&self) -> StorageError {
        StorageError::Foreign { path: self.at.to_path(), what: MASTER.to_owned() }
    }

    /// The folder of a rendition below DEST.
    #[must_use]
    pub fn folder(&self, rendition: &str) -> String {
        match &self.generation {
            Some(generation) => format!("{generation}/{rendition}"),
            None => rendition.to_owned(),
        }
    }

    fn key(&self, relative: &str) -> Result<String, StorageError> {
        if !relative.split('/').all(is_plain) {
            return Err(StorageError::BadName { path: self.at.to_path(), name: relative.into() });
        }
        Ok(self.at.below(relative))
    }

    /// Begins a segment. `permit` is given back when it is stored.
    ///
    /// # Errors
    /// [`StorageError::BadName`]; the failure of an earlier segment.
    pub fn create(&self, relative: &str, permit: Option<Permit>) -> Result<ObjectFile, StorageError> {
        self.check()?;
        let content = Body::Whole(PutPayloadMut::new().with_block_size(GROWTH));
        Ok(ObjectFile { key: self.key(relative)?, content, bytes: 0, permit })
    }

    /// Adds bytes to a segment. A large one is sent in parts, and waits here when too many of them are on their way.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub fn write(&self, file: &mut ObjectFile, bytes: &[u8]) -> Result<(), StorageError> {
        file.bytes += bytes.len() as u64;
        match &mut file.content {
            Body::Whole(whole) => {
                whole.extend_from_slice(bytes);
                if whole.content_length() as u64 > limits::S3_SINGLE_PUT_BYTES {
                    let whole = std::mem::take(whole);
                    file.content = self.in_parts(&file.key, whole)?;
                }
            }
            Body::Parts(parts) => self.handle.block_on(async {
                parts
                    .wait_for_capacity(limits::S3_PARTS)
                    .await
                    .map_err(|e| self.bucket.fail("write", &file.key, &e))?;
                parts.write(bytes);
                Ok::<_, StorageError>(())
            })?,
            Body::There => {}
        }
        Ok(())
    }

    fn in_parts(&self, key: &str, whole: PutPayloadMut) -> Result<Body, StorageError> {
        if self.there.contains(key) {
            return Ok(Body::There);
        }
        let path = self.bucket.key(key)?;
        let mut attributes = Kind::Segment.attributes();
        attributes.insert(Attribute::Metadata(RUN.into()), self.run.clone().into());
        let options = PutMultipartOptions { attributes, ..Default::default() };
        let fail = |e| self.bucket.fail("write", key, &e);
        self.bucket.wait(async {
            let upload = self.bucket.store().put_multipart_opts(&path, options).await.map_err(fail)?;
            let mut parts = WriteMultipart::new_with_chunk_size(upload, limits::S3_PART_BYTES);
            for bytes in &whole.freeze() {
                parts.wait_for_capacity(limits::S3_PARTS).await.map_err(fail)?;
                parts.put(bytes.clone());
            }
            Ok(Body::Parts(parts))
        })
    }

    /// Ends a segment and sends it on its way. Whether it arrives is told by [`Upload::check`] and [`Upload::land`].
    pub fn finish(&self, file: ObjectFile, digest: &str) {
        let flights = Arc::clone(&self.flights);
        flights.lock().count += 1;
        let (bucket, run, digest) = (self.bucket.clone(), self.run.clone(), digest.to_owned());
        let there = self.there.contains(&file.key);
        self.handle.spawn(async move {
            let done = {
                // The semaphore is never closed.
                let _slot = flights.slots.acquire().await;
                if flights.lock().stopped { None } else { Some(send(&bucket, file, run, digest, there).await) }
            };
            let mut state = flights.lock();
            state.count -= 1;
            match done {
                Some(Ok(Landed::Now)) => drop(flights.stored.fetch_add(1, Ordering::Relaxed)),
                Some(Ok(Landed::Before)) => drop(flights.found.fetch_add(1, Ordering::Relaxed)),
                Some(Err(error)) => {
                    state.failed.get_or_insert(error);
                    state.stopped = true;
                }
                None => {}
            }
            drop(state);
            flights.landed.notify_all();
        });
    }

    /// Whether a segment has failed.
    ///
    /// # Errors
    /// Its failure, once.
    pub fn check(&self) -> Result<(), StorageError> {
        match self.flights.lock().failed.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Waits until all segments are stored, or `cancel` is set.
    ///
    /// # Errors
    /// The first failure.
    pub fn land(&self, cancel: &AtomicBool) -> Result<(), StorageError> {
        let mut state = self.flights.lock();
        while state.count > 0 && !cancel.load(Ordering::Relaxed) {
            let waited = self.flights.landed.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        self.check()
    }

    /// How many segments were stored, and how many an earlier run had stored.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.flights.stored.load(Ordering::Relaxed), self.flights.found.load(Ordering::Relaxed))
    }

    /// Stores a media playlist, or the master, which makes the package visible. All that it names must be stored.
    ///
    /// # Errors
    /// [`StorageError::Changed`] when another run has published here; whatever the store reports.
    pub fn playlist(&self, relative: &str, bytes: &[u8]) -> Result<(), StorageError> {
        // Without a record a master that is there is replaced by nobody: it is these very bytes, or a stranger's.
        let old = if relative == MASTER && self.old_record.is_some() { self.old_master.as_deref() } else { None };
        if bytes.len() as u64 > PLAYLIST_BYTES {
            return Err(StorageError::TooLarge { path: self.at.child(relative).to_path(), limit: PLAYLIST_BYTES });
        }
        if relative == MASTER {
            self.lock()?;
        }
        match self.put(relative, Kind::Playlist, old, bytes) {
            Err(StorageError::Changed { .. }) if relative == MASTER && self.has_foreign_master() => {
                Err(self.foreign_master())
            }
            done => done,
        }
    }

    /// Keeps other runs from storing a master or a record, and looks that none has since this one began: each of the two
    /// conditional puts may succeed where both together would be of two runs.
    fn lock(&self) -> Result<(), StorageError> {
        let (key, token) = (self.key(LOCK)?, Bytes::from(self.run.clone()));
        let since = Instant::now();
        self.bucket.wait(async {
            loop {
                let same = Same::Bytes(token.clone());
                let kind = Kind::Record.attributes();
                match self.bucket.create_async(&key, token.clone().into(), kind.clone(), &same).await {
                    Err(StorageError::Exists { .. }) => {}
                    done => break done.map(|_| ()),
                }
                let found = match self.bucket.get_async("look at", &key, GetOptions::new().with_head(true)).await {
                    Ok(found) => found.meta,
                    Err(error) if error.is_not_found() => continue,
                    Err(error) => return Err(error),
                };
                let age = SystemTime::now().duration_since(found.last_modified.into()).unwrap_or_default();
                match found.e_tag {
                    // Whoever held it was killed; when it was not, its next put finds what this run has stored.
                    Some(etag) if age > LOCK_LIFE => {
                        match self.bucket.replace_async(&key, &etag, token.clone(), kind).await {
                            Err(StorageError::Changed { .. } | StorageError::NotFound { .. }) => {}
                            done => break done.map(|_| ()),
                        }
                    }
                    _ if since.elapsed() > LOCK_PATIENCE => {
                        return Err(StorageError::Locked { path: self.at.to_path() });
                    }
                    _ => tokio::time::sleep(Duration::from_millis(300)).await,
                }
            }
        })?;
        self.is_locked.store(true, Ordering::Relaxed);
        let record = if_there(self.bucket.head(&self.key(RECORD)?))?.and_then(|head| head.etag);
        let master = if_there(self.bucket.head(&self.key(MASTER)?))?.and_then(|head| head.etag);
        let old_record = self.old_record.as_ref().and_then(|(_, etag)| etag.clone());
        // A record or master that was not there is compared by its bytes when it is put.
        let is_new = |old: &Option<String>, now: &Option<String>| old.is_some() && old != now;
        if is_new(&old_record, &record) || is_new(&self.old_master, &master) {
            return Err(StorageError::Changed { path: self.at.to_path() });
        }
        Ok(())
    }

    /// Stores the commit record, which ends the publication.
    ///
    /// # Errors
    /// [`StorageError::Changed`] when another run has published here; whatever the store reports.
    pub fn publish(&self, record: &[u8]) -> Result<(), StorageError> {
        let old = self.old_record.as_ref().and_then(|(_, etag)| etag.as_deref());
        let done = self.put(RECORD, Kind::Record, old, record);
        self.unlock();
        done
    }

    /// Lets other runs go on. Should this fail they wait until the lock is old.
    fn unlock(&self) {
        if self.is_locked.swap(false, Ordering::Relaxed)
            && let Ok(key) = self.key(LOCK)
        {
            let _ = self.bucket.delete(&key);
        }
    }

    fn put(&self, relative: &str, kind: Kind, old: Option<&str>, bytes: &[u8]) -> Result<(), StorageError> {
        let (key, bytes) = (self.key(relative)?, Bytes::copy_from_slice(bytes));
        let done = self.bucket.wait(async {
            match old {
                Some(etag) => self.bucket.replace_async(&key, etag, bytes, kind.attributes()).await,
                None => {
                    let same = Same::Bytes(bytes.clone());
                    self.bucket.create_async(&key, bytes.into(), kind.attributes(), &same).await
                }
            }
        });
        match done {
            Ok(_) => Ok(()),
            // What was not there when this run began is there now, or is gone.
            Err(StorageError::Exists { path, .. } | StorageError::NotFound { path, .. }) => {
                Err(StorageError::Changed { path })
            }
            Err(error) => Err(error),
        }
    }

    /// The commit record that is at DEST, encrypted in this way.
    ///
    /// # Errors
    /// Whatever the store reports; that there is none is no error.
    pub fn record_at(at: &Location, encryption: &Encryption) -> Result<Option<Bytes>, StorageError> {
        let bucket = match encryption {
            // Without the key it is refused.
            Encryption::Customer(_) => Bucket::open(at.bucket(), encryption)?,
            _ => super::client::bucket_of(at)?,
        };
        let read = bucket.read(&at.below(RECORD), MAX_COMMIT_RECORD_BYTES);
        Ok(if_there(read)?.map(|(bytes, _)| bytes))
    }
}

/// Whether a run is the first under its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstRun {
    /// Nothing can be there.
    Yes,
    /// An earlier one was stopped.
    No,
}

impl Flights {
    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // What has not begun does not begin; what is under way may land, for the run that goes on.
        self.flights.lock().stopped = true;
        self.unlock();
    }
}

async fn send(
    bucket: &Bucket,
    file: ObjectFile,
    run: String,
    digest: String,
    there: bool,
) -> Result<Landed, StorageError> {
    let ObjectFile { key, content, bytes, permit } = file;
    let exists = || StorageError::Exists { operation: "write", path: bucket.path(&key) };
    let landed = match content {
        Body::Whole(whole) => {
            let same = Same::Digest(bytes, digest.clone());
            if there {
                let head = bucket.head_async(&key).await?;
                if head.bytes == bytes && head.digest.as_ref() == Some(&digest) {
                    return Ok(Landed::Before);
                }
                return Err(exists());
            }
            let mut attributes = Kind::Segment.attributes();
            attributes.insert(Attribute::Metadata(DIGEST.into()), digest.into());
            attributes.insert(Attribute::Metadata(RUN.into()), run.into());
            bucket.create_async(&key, whole.freeze(), attributes, &same).await?
        }
        Body::Parts(parts) => {
            parts.finish().await.map_err(|e| bucket.fail("write", &key, &e))?;
            Landed::Now
        }
        // Its checksum could not be known when it was begun; that the same claim made it says the same.
        Body::There => {
            let head = bucket.head_async(&key).await?;
            if head.bytes != bytes || head.run.as_ref() != Some(&run) {
                return Err(exists());
            }
            Landed::Before
        }
    };
    drop(permit);
    Ok(landed)
}
