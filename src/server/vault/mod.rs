//! From a key id to the sealed record in the key store, and from the record to its key, opened by its provider.
//!
//! Two stages, so that who may have a key is decided between them: [`Vault::record`] reads what the key belongs to,
//! [`Vault::key`] opens it. Both remember what they were told for a life, ask again before it is over, ask once however
//! many viewers want the same, and wait no longer than a viewer would:
//!
//! | | while it lives | after its life | the store or the provider fails |
//! |---|---|---|---|
//! | there, and opens | given, renewed ahead | asked for again | given for [`Settings::stale_for`] longer |
//! | not there, or refused | refused for [`Settings::negative_life`] | asked for again | told to come again |
//!
//! So a key that was taken out of the store, or whose wrapping key was disabled, is given for a life at most, and no longer
//! than the store or the provider can be asked; [`Vault::forget`] has all of it asked again at once.
//!
//! What is asked blocks (files, S3, KMS) and is done on threads that may, a bounded number of them at once. A viewer who
//! goes away takes nothing with them: a call belongs to the key, not to who asked first.

mod record;
mod shelf;
mod source;
#[cfg(test)]
mod tests;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::crypto::key::ContentKey;
use crate::keys::{KeyId, SealedKey};
use crate::limits;
use record::Seal;
use shelf::Terms;
use source::{Manners, Report, Source, Told};

pub use record::{Held, Record};
pub use trouble::{Incident, Kind, Stage, Trouble, Unavailable};

/// Where sealed keys are, and who opens them. Both calls may block, and come from several threads.
pub trait Open: Send + Sync + 'static {
    /// The sealed key of this id as the key store has it now; none when it has none.
    ///
    /// # Errors
    /// [`Trouble`].
    fn sealed(&self, key_id: &KeyId) -> Result<Option<SealedKey>, Trouble>;

    /// The key, opened under the context that is stored with it.
    ///
    /// # Errors
    /// [`Trouble`].
    fn unseal(&self, sealed: &SealedKey) -> Result<ContentKey, Trouble>;
}

/// How long things hold, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a record or a key is given without asking again.
    pub life: Duration,
    /// How long it is remembered that a key is not there, or was refused: a new key is there at the latest after this.
    pub negative_life: Duration,
    /// How much longer a record or a key is given when store or provider cannot be asked; zero: not at all.
    pub stale_for: Duration,
    /// How long a viewer waits for store and provider, each.
    pub wait: Duration,
    /// Keys that are kept open, one at least; records likewise.
    pub capacity: usize,
    /// Calls to the store under way at once, one at least; to providers likewise.
    pub calls: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            life: limits::VAULT_LIFE,
            negative_life: limits::VAULT_NEGATIVE_LIFE,
            stale_for: limits::VAULT_STALE_FOR,
            wait: limits::VAULT_WAIT,
            capacity: limits::VAULT_CAPACITY,
            calls: limits::VAULT_CALLS,
        }
    }
}

/// Figures: counts since the start, but for the last three, which are as of now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys given from memory.
    pub hits: u64,
    /// Keys asked for that were not in memory.
    pub misses: u64,
    /// Records read from the key store.
    pub read: u64,
    /// Calls to providers to open a key.
    pub opened: u64,
    /// Calls to store and providers that failed, in a way that may pass.
    pub failed: u64,
    /// Calls to store and providers that were answered with a refusal.
    pub refused: u64,
    /// Records and keys given beyond their life, because store or provider failed.
    pub stale: u64,
    /// Times that a viewer was told to come again.
    pub turned_away: u64,
    /// Viewers who wait for a call.
    pub waiting: u64,
    /// Records in memory.
    pub records: u64,
    /// Opened keys in memory.
    pub keys: u64,
}

/// The keys of a key store, opened as they are asked for. To be used inside a tokio runtime.
pub struct Vault {
    open: Arc<dyn Open>,
    settings: Settings,
    records: Arc<Source<KeyId, Arc<Record>>>,
    keys: Arc<Source<Seal, Held>>,
}

impl Vault {
    /// A vault with nothing in it.
    #[must_use]
    pub fn new(open: Arc<dyn Open>, settings: Settings) -> Self {
        Self::reporting(open, settings, |_| {})
    }

    /// The same; `on_trouble` is told of every call that gave nothing, once for a call, for the log. It must not block.
    #[must_use]
    pub fn reporting(
        open: Arc<dyn Open>,
        settings: Settings,
        on_trouble: impl Fn(&Incident<'_>) + Send + Sync + 'static,
    ) -> Self {
        let terms = Terms {
            life: settings.life,
            negative_life: settings.negative_life,
            stale_for: settings.stale_for,
            capacity: settings.capacity,
            strangers: limits::VAULT_STRANGERS,
        };
        let manners = Manners { wait: settings.wait, calls: settings.calls.max(1) };
        let report: Report = Arc::new(on_trouble);
        let records = Arc::new(Source::new(Stage::Read, terms, manners, Arc::clone(&report)));
        let keys = Arc::new(Source::new(Stage::Open, terms, manners, report));
        Self { open, settings, records, keys }
    }

    /// What is known of a key without opening it; none when there is no such key. Viewers must not learn which.
    ///
    /// # Errors
    /// [`Unavailable`]; when it [is a refusal](Unavailable::is_refusal), the record is not one that can be used.
    pub async fn record(&self, key_id: &KeyId) -> Result<Option<Arc<Record>>, Unavailable> {
        let key_id = *key_id;
        let prepare = || {
            let open = Arc::clone(&self.open);
            move || read(&*open, &key_id).map(|sealed| sealed.map(|sealed| Arc::new(Record::new(sealed))))
        };
        self.records.get(key_id, key_id, prepare).await
    }

    /// The key of a record, for a viewer who may have it.
    ///
    /// # Errors
    /// [`Unavailable`]; when it [is a refusal](Unavailable::is_refusal), the provider does not open the key.
    pub async fn key(&self, record: &Arc<Record>) -> Result<Held, Unavailable> {
        let prepare = || {
            let (open, record) = (Arc::clone(&self.open), Arc::clone(record));
            move || open_key(&*open, &record).map(Some)
        };
        match self.keys.get(record.seal, record.key_id, prepare).await {
            Ok(Some(held)) => Ok(held),
            Ok(None) => Err(Unavailable::new(Kind::Internal, Duration::ZERO)),
            Err(unavailable) => {
                if unavailable.kind == Kind::Changed {
                    self.records.forget_one(&record.key_id);
                }
                Err(unavailable)
            }
        }
    }

    /// Waits before a refusal is answered, so that its time does not tell whether there is such a key: a record that is in
    /// memory is refused no sooner than one that has to be looked for. `arrived` is when the request came.
    pub async fn before_refusal(&self, arrived: Instant) {
        let usual = self.records.typical().saturating_mul(2);
        let until = arrived + usual.clamp(limits::VAULT_REFUSAL, self.settings.wait.max(limits::VAULT_REFUSAL));
        tokio::time::sleep_until(until.into()).await;
    }

    /// Has everything asked for again before it is given again: keys may have gone, or not be for this server any more. What
    /// cannot be asked then is given for [`Settings::stale_for`] from now.
    pub fn forget(&self) {
        self.records.forget();
        self.keys.forget();
    }

    /// Figures for metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (records, keys) = (&self.records.tally, &self.keys.tally);
        Counts {
            hits: keys.hits.load(Relaxed),
            misses: keys.misses.load(Relaxed),
            read: records.calls.load(Relaxed),
            opened: keys.calls.load(Relaxed),
            failed: records.failed.load(Relaxed) + keys.failed.load(Relaxed),
            refused: records.refused.load(Relaxed) + keys.refused.load(Relaxed),
            stale: records.stale.load(Relaxed) + keys.stale.load(Relaxed),
            turned_away: records.turned_away.load(Relaxed) + keys.turned_away.load(Relaxed),
            waiting: (self.records.waiting() + self.keys.waiting()) as u64,
            records: self.records.kept() as u64,
            keys: self.keys.kept() as u64,
        }
    }

    /// Whether keys can be had: false for a while after viewers were turned away and neither store nor provider has answered since.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.records.ready() && self.keys.ready()
    }
}

/// Reads a record, and believes neither store nor `open` that it is the one that was asked for.
fn read(open: &dyn Open, key_id: &KeyId) -> Told<SealedKey> {
    match open.sealed(key_id)? {
        Some(sealed) if sealed.key_id != *key_id => {
            Err(Trouble::refused(format!("key {key_id} has the record of key {}", sealed.key_id)))
        }
        found => Ok(found),
    }
}

fn open_key(open: &dyn Open, record: &Record) -> Result<Held, Trouble> {
    let sealed = match record.take() {
        Some(sealed) => sealed,
        None => match read(open, &record.key_id)? {
            Some(sealed) if Seal::of(&sealed) == record.seal => Box::new(sealed),
            _ => return Err(Trouble::of(Kind::Changed, format!("the record of key {} was changed", record.key_id))),
        },
    };
    match open.unseal(&sealed) {
        Ok(key) => Ok(Held::new(key)),
        Err(trouble) => {
            record.put_back(sealed);
            Err(trouble)
        }
    }
}
