//! Packages titles side by side, the largest first, within a budget of threads and memory. What fails in a way that may
//! pass is tried again, and no failure stops another title.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A title that is to be packaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Title {
    /// The line of the jobs file that it begins on.
    pub line: u64,
    /// Identifies its content.
    pub content_id: String,
    /// Where its package is to be.
    pub out: String,
    /// Bytes of its inputs, where they are known.
    pub bytes: Option<u64>,
    /// Bytes of memory that it takes.
    pub memory: u64,
    /// The title as one JSON object.
    pub json: String,
}

/// What a title may take while it is packaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Worker threads.
    pub threads: usize,
}

/// What is to be thought of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// It will be the same the next time.
    Permanent,
    /// It may pass: a network, a store that is busy, a full disk, another run at work there.
    Transient,
    /// The run was told to stop.
    Interrupted,
}

/// Packages one title.
pub trait Packager: Sync {
    /// What is told of a title that is packaged.
    type Done: Send;
    /// Why one is not.
    type Failure: Send;

    /// Packages `title`. `number` is that of its place among those that run at once.
    ///
    /// # Errors
    /// Whatever stands against it.
    fn package(&self, title: &Title, share: Share, number: usize) -> Result<Self::Done, Self::Failure>;

    /// What is to be thought of a failure.
    fn class(&self, failure: &Self::Failure) -> Class;

    /// The failure that a panic is, which is a bug.
    fn panicked(&self) -> Self::Failure;
}

/// Is told how the titles go. Calls come from several threads, but one at a time for each place.
pub trait Watcher<P: Packager>: Sync {
    /// A title begins in a place.
    fn begins(&self, title: &Title, number: usize);
    /// It failed and will be tried again after so long.
    fn waits(&self, title: &Title, failure: &P::Failure, wait: Duration, number: usize);
    /// It has ended.
    fn ends(&self, title: &Title, ended: &Ended<P>, number: usize);
    /// The run stopped before it was begun, or tried again.
    fn leaves(&self, title: &Title);
}

/// How a title ended.
#[derive(Debug)]
pub struct Ended<P: Packager> {
    /// What was made, or why not.
    pub result: Result<P::Done, P::Failure>,
    /// How often it was tried.
    pub attempts: u32,
    /// How long the last try took.
    pub elapsed: Duration,
}

/// What all titles together may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Titles at once.
    pub at_once: usize,
    /// Worker threads of all titles that run.
    pub threads: usize,
    /// Bytes of memory of all titles that run. A title that takes more runs alone.
    pub memory: u64,
    /// How often a title whose failure may pass is tried again.
    pub retries: u32,
    /// How long before the first of them; each next one waits twice as long, up to [`LONGEST_WAIT`].
    pub first_wait: Duration,
}

/// The longest that a title waits to be tried again.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How many titles ended in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packaged, or found packaged.
    pub done: u64,
    /// Failed for good.
    pub permanent: u64,
    /// Failed to the last try in a way that may pass.
    pub transient: u64,
    /// Stopped before their end, or not begun.
    pub interrupted: u64,
}

/// How often those who wait look whether the run is to stop.
const LOOK: Duration = Duration::from_millis(100);

struct Waiting {
    title: Title,
    attempts: u32,
    due: Instant,
}

#[derive(Default)]
struct State {
    fresh: VecDeque<Title>,
    later: Vec<Waiting>,
    running: usize,
    threads: usize,
    memory: u64,
    tally: Tally,
}

/// Packages all titles. Returns when each has ended, or those that run have stopped after `cancel` was set; titles that
/// were not begun are then told as interrupted.
pub fn run<P: Packager>(
    mut titles: Vec<Title>,
    limits: &Limits,
    packager: &P,
    watcher: &impl Watcher<P>,
    cancel: &AtomicBool,
) -> Tally {
    // A long one that begins last would leave the other cores idle. Those of unknown size come first, in their order.
    titles.sort_by_key(|title| Reverse(title.bytes.unwrap_or(u64::MAX)));
    let at_once = limits.at_once.clamp(1, titles.len().max(1));
    let state = Mutex::new(State { fresh: titles.into(), ..State::default() });
    let crew = Crew { limits, state: &state, changed: &Condvar::new(), cancel };
    thread::scope(|scope| {
        for number in 0..at_once {
            let crew = &crew;
            scope.spawn(move || {
                while let Some((title, attempts, share)) = crew.next() {
                    crew.package(title, attempts, share, packager, watcher, number);
                }
            });
        }
    });
    let State { fresh, later, mut tally, .. } = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    for title in fresh.iter().chain(later.iter().map(|waiting| &waiting.title)) {
        watcher.leaves(title);
        tally.interrupted += 1;
    }
    tally
}

struct Crew<'a> {
    limits: &'a Limits,
    state: &'a Mutex<State>,
    changed: &'a Condvar,
    cancel: &'a AtomicBool,
}

impl Crew<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next title, when there is room for it. None when there will be no more.
    fn next(&self) -> Option<(Title, u32, Share)> {
        let mut state = self.lock();
        loop {
            if self.cancel.load(Ordering::SeqCst) || (state.fresh.is_empty() && state.later.is_empty()) {
                // A title that runs may come back to be tried again; whoever runs it takes it up.
                return None;
            }
            let now = Instant::now();
            let due = state.later.iter().position(|waiting| waiting.due <= now);
            let memory = match due {
                Some(place) => state.later.get(place).map(|waiting| waiting.title.memory),
                None => state.fresh.front().map(|title| title.memory),
            };
            let fits = |memory: u64| state.running == 0 || state.memory.saturating_add(memory) <= self.limits.memory;
            if memory.is_some_and(fits) {
                let (title, attempts) = match due {
                    Some(place) => {
                        let waiting = state.later.swap_remove(place);
                        (waiting.title, waiting.attempts)
                    }
                    None => (state.fresh.pop_front()?, 0),
                };
                return Some((title.clone(), attempts, self.take(&mut state, &title)));
            }
            let next_due = state.later.iter().map(|waiting| waiting.due.saturating_duration_since(now)).min();
            let wait = next_due.unwrap_or(LOOK).clamp(Duration::from_millis(1), LOOK);
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Threads for a title: a part of all for each that will run beside it, and what nobody else uses.
    fn take(&self, state: &mut State, title: &Title) -> Share {
        let fit = usize::try_from(self.limits.memory / title.memory.max(1)).unwrap_or(usize::MAX).max(1);
        let most = self.limits.at_once.min(fit) - 1;
        let beside = (state.running + state.fresh.len() + state.later.len()).min(most);
        let free = self.limits.threads.saturating_sub(state.threads);
        let threads = (self.limits.threads / (beside + 1)).min(free).max(1);
        state.running += 1;
        state.threads += threads;
        state.memory = state.memory.saturating_add(title.memory);
        Share { threads }
    }

    fn package<P: Packager>(
        &self,
        title: Title,
        attempts: u32,
        share: Share,
        packager: &P,
        watcher: &impl Watcher<P>,
        number: usize,
    ) {
        watcher.begins(&title, number);
        let started = Instant::now();
        // A bug that one title meets must not stop the others.
        let packaged = catch_unwind(AssertUnwindSafe(|| packager.package(&title, share, number)));
        let result = packaged.unwrap_or_else(|_| Err(packager.panicked()));
        let attempts = attempts + 1;
        let class = result.as_ref().err().map(|failure| packager.class(failure));
        let again = class == Some(Class::Transient) && attempts <= self.limits.retries;
        let stopped = self.cancel.load(Ordering::SeqCst);
        let wait = self.wait(attempts, &title);
        match &result {
            Err(failure) if again && !stopped => watcher.waits(&title, failure, wait, number),
            _ => watcher.ends(&title, &Ended { result, attempts, elapsed: started.elapsed() }, number),
        }
        let mut state = self.lock();
        state.running -= 1;
        state.threads = state.threads.saturating_sub(share.threads);
        state.memory = state.memory.saturating_sub(title.memory);
        match class {
            Some(Class::Transient) if again && !stopped => {
                state.later.push(Waiting { title, attempts, due: Instant::now() + wait });
            }
            None => state.tally.done += 1,
            Some(Class::Permanent) => state.tally.permanent += 1,
            Some(Class::Transient) => state.tally.transient += 1,
            Some(Class::Interrupted) => state.tally.interrupted += 1,
        }
        drop(state);
        self.changed.notify_all();
    }

    /// How long a title waits that failed so often: twice as long each time, and up to a quarter less, so that titles which
    /// failed together do not come back together.
    fn wait(&self, attempts: u32, title: &Title) -> Duration {
        let doubled = self.limits.first_wait.saturating_mul(1 << (attempts.saturating_sub(1)).min(16));
        let wait = doubled.min(LONGEST_WAIT);
        let spread =
            title.content_id.bytes().fold(title.line, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
                % 64;
        wait - wait.mul_f64(spread as f64 / 256.0)
    }
}

#[cfg(test)]
mod tests;
