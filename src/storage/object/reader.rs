//! Reading one state of an object at any offset: in blocks, ahead of the one who reads from front to back, within a bound on
//! memory that all readers share.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use object_store::{GetOptions, GetRange};

use crate::aws::runtime::runtime;
use crate::limits::{S3_BLOCK_BYTES, S3_READ_AHEAD};
use crate::storage::StorageError;

use super::client::{Bucket, bucket_of, pause};
use super::location::Location;

/// Blocks of several objects, the least recently used going first.
#[derive(Debug)]
pub struct Blocks {
    state: Mutex<State>,
    arrived: Condvar,
    readers: AtomicU64,
}

#[derive(Debug)]
struct State {
    slots: HashMap<(u64, u64), Slot>,
    tick: u64,
    most: usize,
}

#[derive(Debug)]
struct Slot {
    used: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Coming,
    Here(Bytes),
    Failed(StorageError),
}

impl Blocks {
    /// Room for so many bytes; a few blocks at least.
    #[must_use]
    pub fn new(bytes: u64) -> Arc<Self> {
        let most = (bytes / S3_BLOCK_BYTES).max(4) as usize;
        let state = State { slots: HashMap::new(), tick: 0, most };
        Arc::new(Self { state: Mutex::new(state), arrived: Condvar::new(), readers: AtomicU64::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many blocks are held.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().slots.len()
    }
}

impl State {
    /// Makes room for one more block, if there is one that is not being fetched.
    fn make_room(&mut self) {
        while self.slots.len() >= self.most {
            let idle = self.slots.iter().filter(|(_, slot)| !matches!(slot.content, Content::Coming));
            let Some(oldest) = idle.min_by_key(|(_, slot)| slot.used).map(|(key, _)| *key) else {
                return;
            };
            self.slots.remove(&oldest);
        }
    }
}

/// An object that is open for reading, in the state in which it was opened.
pub struct ObjectReader {
    bucket: Bucket,
    key: String,
    etag: String,
    bytes: u64,
    blocks: Arc<Blocks>,
    number: u64,
    /// The block behind the last that was fetched ahead.
    ahead: AtomicU64,
}

impl fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectReader(s3://{}/{})", self.bucket.name(), self.key)
    }
}

impl ObjectReader {
    /// Opens an object. What is read of it is kept in `blocks`.
    ///
    /// # Errors
    /// [`StorageError::NotFound`]; [`StorageError::Refused`]; [`StorageError::Unavailable`].
    pub fn open(at: &Location, blocks: &Arc<Blocks>) -> Result<Arc<Self>, StorageError> {
        Self::of(bucket_of(at)?, at.key(), blocks)
    }

    pub(super) fn of(bucket: Bucket, key: &str, blocks: &Arc<Blocks>) -> Result<Arc<Self>, StorageError> {
        let head = bucket.head(key)?;
        let Some(etag) = head.etag else {
            return Err(StorageError::Refused {
                operation: "read",
                path: bucket.path(key),
                reason: "the store gives it no ETag, so that a change would not be noticed".to_owned(),
                hint: None,
            });
        };
        Ok(Arc::new(Self {
            bucket,
            key: key.to_owned(),
            etag,
            bytes: head.bytes,
            blocks: Arc::clone(blocks),
            number: blocks.readers.fetch_add(1, Ordering::Relaxed),
            ahead: AtomicU64::new(0),
        }))
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What names its state.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// The region of its bucket, where that is known.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.bucket.region()
    }

    /// Fills `out` with what the object holds from `offset` on.
    ///
    /// # Errors
    /// [`StorageError::Changed`] when it is not what it was; [`StorageError::NotFound`]; whatever the store reports.
    pub fn read_at(self: &Arc<Self>, out: &mut [u8], offset: u64) -> Result<(), StorageError> {
        if offset.saturating_add(out.len() as u64) > self.bytes {
            return Err(StorageError::Changed { path: self.path() });
        }
        let (mut done, mut at) = (0, offset);
        while let Some(room) = out.get_mut(done..).filter(|room| !room.is_empty()) {
            let block = self.block(at / S3_BLOCK_BYTES)?;
            let bytes = block.get((at % S3_BLOCK_BYTES) as usize..).unwrap_or_default();
            let count = bytes.len().min(room.len());
            let (Some(to), Some(from)) = (room.get_mut(..count), bytes.get(..count)) else {
                return Err(StorageError::Changed { path: self.path() });
            };
            if count == 0 {
                return Err(StorageError::Changed { path: self.path() });
            }
            to.copy_from_slice(from);
            done += count;
            at += count as u64;
        }
        Ok(())
    }

    /// Checks that the object is what it was when it was opened.
    ///
    /// # Errors
    /// [`StorageError::Changed`]; [`StorageError::NotFound`]; whatever the store reports.
    pub fn check_unchanged(&self) -> Result<(), StorageError> {
        let now = self.bucket.head(&self.key)?;
        let same = now.bytes == self.bytes && now.etag.as_ref() == Some(&self.etag);
        if same { Ok(()) } else { Err(StorageError::Changed { path: self.path() }) }
    }

    fn path(&self) -> PathBuf {
        self.bucket.path(&self.key)
    }

    fn block(self: &Arc<Self>, number: u64) -> Result<Bytes, StorageError> {
        self.fetch_ahead(number)?;
        let key = (self.number, number);
        let mut state = self.blocks.lock();
        loop {
            state.tick += 1;
            let tick = state.tick;
            match state.slots.get_mut(&key) {
                Some(Slot { used, content: Content::Here(bytes) }) => {
                    *used = tick;
                    return Ok(bytes.clone());
                }
                Some(Slot { content: Content::Coming, .. }) => {
                    state = self.blocks.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Some(Slot { content: Content::Failed(_), .. }) => {
                    if let Some(Slot { content: Content::Failed(error), .. }) = state.slots.remove(&key) {
                        return Err(error);
                    }
                }
                // Never asked for, or gone again.
                None => {
                    drop(state);
                    self.fetch(number)?;
                    state = self.blocks.lock();
                }
            }
        }
    }

    /// It will be read from the front once more.
    pub fn rewind(&self) {
        self.ahead.store(0, Ordering::Relaxed);
    }

    /// Asks for the blocks behind `number` when nobody has yet come so far: whoever reads from front to back.
    fn fetch_ahead(self: &Arc<Self>, number: u64) -> Result<(), StorageError> {
        // Whoever jumps, as to the end for a look at it, does not read from front to back.
        if number > self.ahead.load(Ordering::Relaxed) {
            return Ok(());
        }
        let last = self.bytes.div_ceil(S3_BLOCK_BYTES);
        // Half of the memory at most is for what lies ahead.
        let share = self.blocks.lock().most as u64 / 2 / self.blocks.readers.load(Ordering::Relaxed).max(1);
        let until = (number + 1 + share.clamp(1, S3_READ_AHEAD)).min(last);
        let from = self.ahead.fetch_max(until, Ordering::Relaxed).max(number);
        (from..until).try_for_each(|block| self.fetch(block))
    }

    /// Asks for a block, unless it is here or has been asked for.
    fn fetch(self: &Arc<Self>, number: u64) -> Result<(), StorageError> {
        let key = (self.number, number);
        {
            let mut state = self.blocks.lock();
            if state.slots.contains_key(&key) {
                return Ok(());
            }
            state.make_room();
            state.tick += 1;
            let slot = Slot { used: state.tick, content: Content::Coming };
            state.slots.insert(key, slot);
        }
        let runtime = runtime().map_err(|e| super::error::before("read", &self.path(), &e))?;
        let reader = Arc::clone(self);
        runtime.spawn(async move {
            let content = match reader.get(number).await {
                Ok(bytes) => Content::Here(bytes),
                Err(error) => Content::Failed(error),
            };
            let mut state = reader.blocks.lock();
            if let Some(slot) = state.slots.get_mut(&key) {
                slot.content = content;
            }
            drop(state);
            reader.blocks.arrived.notify_all();
        });
        Ok(())
    }

    async fn get(&self, number: u64) -> Result<Bytes, StorageError> {
        let from = number * S3_BLOCK_BYTES;
        let to = (from + S3_BLOCK_BYTES).min(self.bytes);
        let mut tries = 0;
        loop {
            let options =
                GetOptions::new().with_range(Some(GetRange::Bounded(from..to))).with_if_match(Some(self.etag.as_str()));
            let got = match self.bucket.get_async("read", &self.key, options).await {
                Ok(found) => found.bytes().await,
                // It was there when it was opened.
                Err(StorageError::NotFound { path, .. }) => return Err(StorageError::Changed { path }),
                Err(error) => return Err(error),
            };
            tries += 1;
            match got {
                Ok(bytes) if bytes.len() as u64 == to - from => return Ok(bytes),
                // The connection broke in the middle of the answer, more often than the client tries by itself.
                Err(error) if tries >= self.bucket.attempts() => {
                    return Err(self.bucket.fail("read", &self.key, &error));
                }
                Ok(_) if tries >= self.bucket.attempts() => {
                    let reason = "the answers are cut short".to_owned();
                    return Err(StorageError::Unavailable { operation: "read", path: self.path(), reason });
                }
                Ok(_) | Err(_) => pause(tries).await,
            }
        }
    }
}
