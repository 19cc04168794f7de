//! A bounded queue between the scan and the workers that make segments.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue that makes its producer wait when it is full and its consumers when it is empty.
#[derive(Debug)]
pub struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    /// An empty queue that holds at most `capacity` items.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let state = State { items: VecDeque::new(), closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item, waiting for room. False when the queue has been closed: then the item is dropped.
    #[must_use]
    pub fn push(&self, item: T) -> bool {
        let mut state = self.lock();
        while state.items.len() >= self.capacity && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return false;
        }
        state.items.push_back(item);
        drop(state);
        self.changed.notify_all();
        true
    }

    /// Takes up to a fair `share` (one in so many) of the waiting items, at most `most` and at least one when there is
    /// one. With nothing waiting it waits when `wait` says so; an empty answer to that means that nothing will come.
    pub fn take(&self, most: usize, share: usize, wait: Wait) -> Vec<T> {
        let mut state = self.lock();
        while state.items.is_empty() && !state.closed && wait == Wait::ForItems {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let count = state.items.len().div_ceil(share.max(1)).min(most);
        let items = state.items.drain(..count).collect();
        drop(state);
        self.changed.notify_all();
        items
    }

    /// Says that nothing more will come, or that nobody will take what is there.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

/// Whether to wait for items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until there is one, or none will come.
    ForItems,
    /// Not at all.
    Never,
}
