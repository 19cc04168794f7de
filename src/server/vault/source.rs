//! Asking once, however many want to know, and waiting no longer than a viewer would.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{sleep, timeout};

use crate::keys::KeyId;
use crate::limits;
use crate::server::vault::shelf::{Look, Outcome, Shelf, Terms};
use crate::server::vault::trouble::{Incident, Kind, Stage, Trouble, Unavailable};

/// Who is told of calls that gave nothing.
pub(super) type Report = Arc<dyn Fn(&Incident<'_>) + Send + Sync>;

/// A value, none, or why it is not known.
pub(super) type Given<V> = Result<Option<V>, Unavailable>;

/// What a call gives.
pub(super) type Told<V> = Result<Option<V>, Trouble>;

/// Figures since the start.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) calls: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) turned_away: AtomicU64,
}

/// How patient it is, and with how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manners {
    /// How long one who asks waits.
    pub(super) wait: Duration,
    /// Calls under way at once.
    pub(super) calls: usize,
}

/// One kind of thing that can be asked for by id.
pub(super) struct Source<K, V> {
    stage: Stage,
    wait: Duration,
    state: Mutex<State<K, V>>,
    /// Room for calls, held until the call has really ended.
    room: Arc<Semaphore>,
    /// Of that, for renewals ahead of time: they must never keep a viewer waiting.
    renewals: Arc<Semaphore>,
    waiting: Semaphore,
    report: Report,
    pub(super) tally: Tally,
    swept: AtomicBool,
    began: Instant,
    /// How long a call takes of late, in microseconds.
    typical: AtomicU64,
    /// When last a viewer was turned away because the other side failed, and when it last answered: microseconds since the start.
    failed_at: AtomicU64,
    answered_at: AtomicU64,
}

struct State<K, V> {
    shelf: Shelf<K, V>,
    flights: HashMap<K, Flight<V>>,
    flown: u64,
}

/// A call under way.
struct Flight<V> {
    number: u64,
    told: watch::Receiver<Option<Outcome<V>>>,
}

/// What one who asks does next.
enum Next<'a, V> {
    Take(Given<V>),
    Wait { told: watch::Receiver<Option<Outcome<V>>>, before: Option<V>, _place: SemaphorePermit<'a> },
}

impl<K, V> Source<K, V>
where
    K: Copy + Eq + Hash + Debug + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new(stage: Stage, terms: Terms, manners: Manners, report: Report) -> Self {
        let renewals = manners.calls.div_ceil(4);
        Self {
            stage,
            wait: manners.wait,
            state: Mutex::new(State { shelf: Shelf::new(terms), flights: HashMap::new(), flown: 0 }),
            room: Arc::new(Semaphore::new(manners.calls)),
            renewals: Arc::new(Semaphore::new(renewals)),
            waiting: Semaphore::new(limits::VAULT_WAITING),
            report,
            tally: Tally::default(),
            swept: AtomicBool::new(false),
            began: Instant::now(),
            typical: AtomicU64::new(0),
            failed_at: AtomicU64::new(0),
            answered_at: AtomicU64::new(0),
        }
    }

    /// What is known of `id`, or what `call` tells when it is run, off the runtime's threads, once for all who ask meanwhile.
    /// `prepare` makes the call, and is run only if there is to be one. `key_id` is for reports.
    pub(super) async fn get<C>(self: &Arc<Self>, id: K, key_id: KeyId, prepare: impl FnOnce() -> C) -> Given<V>
    where
        C: FnOnce() -> Told<V> + Send + 'static,
    {
        let (mut told, before) = match self.next(id, key_id, prepare) {
            Next::Take(given) => return given,
            Next::Wait { told, before, _place } => {
                let outcome = self.wait_for(id, told).await;
                (outcome, before)
            }
        };
        // What was replaced is nobody's any more: it is not given for want of better.
        if let (Outcome::Failed(kind, _), Some(value)) = (&told, before)
            && *kind != Kind::Changed
        {
            self.tally.stale.fetch_add(1, Relaxed);
            told = Outcome::Found(value);
        }
        self.given(told)
    }

    fn next<C>(self: &Arc<Self>, id: K, key_id: KeyId, prepare: impl FnOnce() -> C) -> Next<'_, V>
    where
        C: FnOnce() -> Told<V> + Send + 'static,
    {
        let mut state = self.lock();
        let look = state.shelf.look(&id, Instant::now());
        let before = match look {
            Look::Fresh(value) => {
                self.tally.hits.fetch_add(1, Relaxed);
                return Next::Take(Ok(Some(value)));
            }
            Look::Aging(value) => {
                self.tally.hits.fetch_add(1, Relaxed);
                self.renew(&mut state, id, key_id, prepare);
                return Next::Take(Ok(Some(value)));
            }
            Look::Stale { value, due } => {
                self.tally.stale.fetch_add(1, Relaxed);
                if due {
                    self.renew(&mut state, id, key_id, prepare);
                }
                return Next::Take(Ok(Some(value)));
            }
            Look::Nothing => return Next::Take(Ok(None)),
            Look::Refused => return Next::Take(self.given(Outcome::Refused)),
            Look::Later(unavailable) => return Next::Take(Err(self.turn_away(unavailable))),
            Look::Ask { before } => before,
        };
        self.tally.misses.fetch_add(1, Relaxed);
        let busy = |before| match before {
            Some(value) => Ok(Some(value)),
            None => Err(self.turn_away(Unavailable::new(Kind::Busy, limits::VAULT_BUSY_PAUSE))),
        };
        let Ok(place) = self.waiting.try_acquire() else { return Next::Take(busy(before)) };
        let told = match state.flights.get(&id) {
            Some(flight) => flight.told.clone(),
            None if state.flights.len() >= limits::VAULT_WAITING => return Next::Take(busy(before)),
            None => self.start(&mut state, id, key_id, prepare(), None),
        };
        Next::Wait { told, before, _place: place }
    }

    async fn wait_for(&self, id: K, mut told: watch::Receiver<Option<Outcome<V>>>) -> Outcome<V> {
        let outcome = match timeout(self.wait, told.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone(),
            // The runtime is being shut down.
            Ok(Err(_)) => None,
            Err(_) => {
                self.lock().shelf.slow(&id, Instant::now());
                Some(Outcome::Failed(Kind::Slow, None))
            }
        };
        outcome.unwrap_or(Outcome::Failed(Kind::Internal, None))
    }

    fn given(&self, outcome: Outcome<V>) -> Given<V> {
        match outcome {
            Outcome::Found(value) => Ok(Some(value)),
            Outcome::Nothing => Ok(None),
            Outcome::Refused => Err(Unavailable::new(Kind::Refused, Duration::ZERO)),
            Outcome::Failed(kind, pause) => {
                Err(self.turn_away(Unavailable::new(kind, pause.unwrap_or(limits::VAULT_BUSY_PAUSE))))
            }
        }
    }

    fn turn_away(&self, unavailable: Unavailable) -> Unavailable {
        self.tally.turned_away.fetch_add(1, Relaxed);
        self.failed_at.store(self.now(), Relaxed);
        unavailable
    }

    /// Asks again while the value is still given, if there is room to spare.
    fn renew<C>(self: &Arc<Self>, state: &mut State<K, V>, id: K, key_id: KeyId, prepare: impl FnOnce() -> C)
    where
        C: FnOnce() -> Told<V> + Send + 'static,
    {
        if state.flights.contains_key(&id) {
            return;
        }
        if let Ok(spare) = Arc::clone(&self.renewals).try_acquire_owned() {
            self.start(state, id, key_id, prepare(), Some(spare));
        }
    }

    fn start<C>(
        self: &Arc<Self>,
        state: &mut State<K, V>,
        id: K,
        key_id: KeyId,
        call: C,
        spare: Option<OwnedSemaphorePermit>,
    ) -> watch::Receiver<Option<Outcome<V>>>
    where
        C: FnOnce() -> Told<V> + Send + 'static,
    {
        self.sweep_from_now_on();
        let (tell, told) = watch::channel(None);
        state.flown += 1;
        state.flights.insert(id, Flight { number: state.flown, told: told.clone() });
        let pilot = Pilot {
            source: Arc::clone(self),
            id,
            key_id,
            number: state.flown,
            since: Instant::now(),
            tell: Some(tell),
        };
        // A task of its own: whoever asked first may go away.
        tokio::spawn(pilot.fly(call, spare));
        told
    }

    /// Nothing that was learned before now is given again without asking; what is asked now does not count either.
    pub(super) fn forget(&self) {
        let mut state = self.lock();
        state.flights.clear();
        state.shelf.forget(Instant::now());
    }

    pub(super) fn forget_one(&self, id: &K) {
        self.lock().shelf.forget_one(id);
    }

    pub(super) fn kept(&self) -> usize {
        self.lock().shelf.len()
    }

    pub(super) fn waiting(&self) -> usize {
        limits::VAULT_WAITING.saturating_sub(self.waiting.available_permits())
    }

    /// How long a call takes of late.
    pub(super) fn typical(&self) -> Duration {
        Duration::from_micros(self.typical.load(Relaxed))
    }

    /// Whether nobody was turned away of late for the other side's failing, or it has answered since.
    pub(super) fn ready(&self) -> bool {
        let (failed, answered) = (self.failed_at.load(Relaxed), self.answered_at.load(Relaxed));
        failed <= answered || self.now().saturating_sub(failed) > limits::VAULT_TROUBLE_SHOWN.as_micros() as u64
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys that nobody asks for any more are wiped too. Ends with the source.
    fn sweep_from_now_on(self: &Arc<Self>) {
        if self.swept.swap(true, Relaxed) {
            return;
        }
        let source = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                sleep(limits::VAULT_SWEEP).await;
                let Some(source) = source.upgrade() else { break };
                while source.lock().shelf.sweep(Instant::now()) {
                    yield_now().await;
                }
            }
        });
    }
}

/// Brings one call to its end, whatever becomes of it.
struct Pilot<K, V>
where
    K: Copy + Eq + Hash + Debug + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    source: Arc<Source<K, V>>,
    id: K,
    key_id: KeyId,
    number: u64,
    since: Instant,
    tell: Option<watch::Sender<Option<Outcome<V>>>>,
}

impl<K, V> Pilot<K, V>
where
    K: Copy + Eq + Hash + Debug + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    async fn fly<C>(mut self, call: C, spare: Option<OwnedSemaphorePermit>)
    where
        C: FnOnce() -> Told<V> + Send + 'static,
    {
        let room = Arc::clone(&self.source.room);
        let Ok(Ok(place)) = timeout(self.source.wait, room.acquire_owned()).await else {
            self.land(Err(Trouble::of(Kind::Busy, "too many calls are under way")));
            return;
        };
        self.since = Instant::now();
        self.source.tally.calls.fetch_add(1, Relaxed);
        let called = spawn_blocking(move || {
            let told = call();
            drop((place, spare));
            told
        });
        let told = match timeout(limits::VAULT_LONGEST_CALL, called).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) => Err(Trouble::of(Kind::Internal, "the call panicked")),
            // It keeps its place: what hangs for ever must not be multiplied.
            Err(_) => Err(Trouble::of(Kind::Slow, "the call has not ended; it is not waited for any longer")),
        };
        self.land(told);
    }

    fn land(&mut self, told: Told<V>) {
        let Some(tell) = self.tell.take() else { return };
        let source = &self.source;
        let (outcome, reason) = match told {
            Ok(found) => {
                let took = self.since.elapsed().as_micros() as u64;
                let before = source.typical.load(Relaxed);
                source.typical.store(if before == 0 { took } else { (before * 7 + took) / 8 }, Relaxed);
                (found.map_or(Outcome::Nothing, Outcome::Found), None)
            }
            Err(Trouble { kind: Kind::Refused, reason, .. }) => (Outcome::Refused, Some((Kind::Refused, reason))),
            Err(Trouble { kind, reason, retry_after }) => (Outcome::Failed(kind, retry_after), Some((kind, reason))),
        };
        match outcome {
            Outcome::Failed(..) => source.tally.failed.fetch_add(1, Relaxed),
            Outcome::Refused => source.tally.refused.fetch_add(1, Relaxed),
            _ => 0,
        };
        if !matches!(outcome, Outcome::Failed(..)) {
            source.answered_at.store(source.now(), Relaxed);
        }
        let mut state = source.lock();
        // One that was forgotten about tells only those who waited for it.
        if state.flights.get(&self.id).is_some_and(|flight| flight.number == self.number) {
            state.flights.remove(&self.id);
            match outcome {
                Outcome::Failed(Kind::Changed, _) => state.shelf.forget_one(&self.id),
                _ => state.shelf.learn(self.id, &outcome, self.since, Instant::now()),
            }
        }
        drop(state);
        // Nobody may be waiting any more.
        let _ = tell.send(Some(outcome));
        if let Some((kind, reason)) = reason {
            (source.report)(&Incident { key_id: self.key_id, stage: source.stage, kind, reason: &reason });
        }
    }
}

impl<K, V> Drop for Pilot<K, V>
where
    K: Copy + Eq + Hash + Debug + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.land(Err(Trouble::of(Kind::Internal, "the call was given up")));
    }
}
