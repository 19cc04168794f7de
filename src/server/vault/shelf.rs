//! What was learned, and for how long it holds. No clock and no waiting: the time comes in with every question.

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::limits;
use crate::server::vault::trouble::{Kind, Unavailable};

/// For how long, and for how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) life: Duration,
    pub(super) negative_life: Duration,
    pub(super) stale_for: Duration,
    pub(super) capacity: usize,
    /// How many ids without a value are remembered. Ids that viewers make up push out only one another.
    pub(super) strangers: usize,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome<V> {
    Found(V),
    Nothing,
    Refused,
    /// It failed in a way that may pass, and whoever was asked may have named a pause.
    Failed(Kind, Option<Duration>),
}

/// What can be said at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look<V> {
    /// Good.
    Fresh(V),
    /// Good, and time to ask again so that it stays so.
    Aging(V),
    /// Its life is over, and asking again has failed: good for want of better. `due` says whether to ask again.
    Stale {
        value: V,
        due: bool,
    },
    Nothing,
    Refused,
    /// It has just failed; not to be asked again before this.
    Later(Unavailable),
    /// To be asked, and waited for. What was known before may be given if that fails.
    Ask {
        before: Option<V>,
    },
}

/// How often in a row asking has failed, and when to ask again.
#[derive(Debug, Clone, Copy)]
struct Failing {
    times: u32,
    until: Instant,
    kind: Kind,
    generation: u64,
}

struct Kept<V> {
    value: V,
    since: Instant,
    renew: Instant,
    generation: u64,
    failing: Option<Failing>,
}

enum Bar {
    Nothing { until: Instant },
    Refused { until: Instant },
    Failing(Failing),
}

/// Values by id, least recently used first to go, and ids without a value.
pub(super) struct Shelf<K, V> {
    terms: Terms,
    kept: LruCache<K, Kept<V>, RandomState>,
    barred: LruCache<K, Bar, RandomState>,
    hash: RandomState,
    /// Counts the calls of [`Shelf::forget`]; what was learned before the last of them is past its life since then.
    generation: u64,
    forgotten: Option<Instant>,
}

impl<K: Copy + Eq + Hash, V: Clone> Shelf<K, V> {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            kept: bounded(terms.capacity),
            barred: bounded(terms.strangers),
            hash: RandomState::new(),
            generation: 0,
            forgotten: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn look(&mut self, id: &K, now: Instant) -> Look<V> {
        if let Some(kept) = self.kept.get(id) {
            let mut end = kept.since + self.terms.life;
            if let Some(forgotten) = self.forgotten.filter(|_| kept.generation < self.generation) {
                end = end.min(forgotten);
            }
            let failing = kept.failing.filter(|failing| failing.generation == self.generation);
            let due = failing.is_none_or(|failing| failing.until <= now);
            if now < end {
                let value = kept.value.clone();
                return if kept.renew <= now && due { Look::Aging(value) } else { Look::Fresh(value) };
            }
            if now < end + self.terms.stale_for {
                let value = kept.value.clone();
                return if failing.is_some() { Look::Stale { value, due } } else { Look::Ask { before: Some(value) } };
            }
            self.kept.pop(id);
        }
        match self.barred.get(id) {
            Some(Bar::Nothing { until }) if now < *until => Look::Nothing,
            Some(Bar::Refused { until }) if now < *until => Look::Refused,
            Some(Bar::Failing(failing)) if now < failing.until => {
                Look::Later(Unavailable::new(failing.kind, failing.until.duration_since(now)))
            }
            _ => Look::Ask { before: None },
        }
    }

    /// Takes in what came of a call that began at `since`; what it tells was so then, and may have changed meanwhile.
    pub(super) fn learn(&mut self, id: K, outcome: &Outcome<V>, since: Instant, now: Instant) {
        let until = now + self.terms.negative_life;
        match outcome {
            Outcome::Found(value) => {
                self.barred.pop(&id);
                let renew = since + self.renewal(&id);
                let generation = self.generation;
                self.kept.put(id, Kept { value: value.clone(), since, renew, generation, failing: None });
            }
            Outcome::Nothing => self.bar(id, Bar::Nothing { until }),
            Outcome::Refused => self.bar(id, Bar::Refused { until }),
            Outcome::Failed(kind, pause) => {
                let generation = self.generation;
                let again = |before: Option<Failing>| {
                    let times = before.map_or(0, |failing| failing.times.saturating_add(1));
                    let pause = pause.unwrap_or_default().min(limits::VAULT_LONGEST_PAUSE).max(backoff(times));
                    Failing { times, until: now + pause, kind: *kind, generation }
                };
                if let Some(kept) = self.kept.peek_mut(&id) {
                    kept.failing = Some(again(kept.failing));
                    return;
                }
                let before = match self.barred.peek(&id) {
                    Some(Bar::Failing(failing)) => Some(*failing),
                    _ => None,
                };
                self.barred.put(id, Bar::Failing(again(before)));
            }
        }
        self.sweep(now);
    }

    /// A viewer has waited for this in vain, and the call goes on: who comes now need not wait too if there is a value.
    pub(super) fn slow(&mut self, id: &K, now: Instant) {
        let generation = self.generation;
        if let Some(kept) = self.kept.peek_mut(id)
            && kept.failing.is_none_or(|failing| failing.generation < generation)
        {
            kept.failing = Some(Failing { times: 0, until: now, kind: Kind::Slow, generation });
        }
    }

    /// Nothing that was learned before now is given again without asking.
    pub(super) fn forget(&mut self, now: Instant) {
        self.barred.clear();
        if self.terms.stale_for.is_zero() {
            self.kept.clear();
        }
        self.generation = self.generation.saturating_add(1);
        self.forgotten = Some(now);
    }

    /// Forgets one id, whatever is known of it.
    pub(super) fn forget_one(&mut self, id: &K) {
        self.kept.pop(id);
        self.barred.pop(id);
    }

    /// Drops what nobody has asked for since it came to its end; a few of them, so that nobody waits for it. Whether there may be
    /// more.
    pub(super) fn sweep(&mut self, now: Instant) -> bool {
        let longest = self.terms.life + self.terms.stale_for;
        for _ in 0..limits::VAULT_SWEPT_AT_ONCE {
            match self.kept.peek_lru() {
                Some((_, kept)) if kept.since + longest <= now => drop(self.kept.pop_lru()),
                _ => return false,
            }
        }
        true
    }

    fn bar(&mut self, id: K, bar: Bar) {
        self.kept.pop(&id);
        self.barred.put(id, bar);
    }

    /// When to ask again ahead of the end: between 60 and 95 per cent of the life, another time for every id, so that what
    /// was asked for in one rush is not asked for in one rush ever after.
    fn renewal(&self, id: &K) -> Duration {
        let share = 600 + self.hash.hash_one(id) % 350;
        self.terms.life.mul_f64(share as f64 / 1000.0)
    }
}

/// A quarter of a second, twice as long each time.
fn backoff(times: u32) -> Duration {
    (limits::VAULT_FIRST_PAUSE * (1 << times.min(16))).min(limits::VAULT_LONGEST_BACKOFF)
}

/// A cache that takes memory only as it fills.
fn bounded<K: Eq + Hash, V>(capacity: usize) -> LruCache<K, V, RandomState> {
    let mut cache = LruCache::unbounded_with_hasher(RandomState::new());
    cache.resize(NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN));
    cache
}
