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

    /// Whether nobody will take what is put in.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
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

/// Closes its queue when the thread that holds it panics: nobody must wait for the dead.
#[derive(Debug)]
pub struct ClosesOnPanic<'a, T>(pub &'a Queue<T>);

impl<T> Drop for ClosesOnPanic<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_share_is_taken_in_order_and_never_nothing_of_something() {
        let queue = Queue::new(16);
        (0..7).for_each(|item| assert!(queue.push(item)));
        assert_eq!(queue.take(64, 2, Wait::Never), [0, 1, 2, 3]);
        assert_eq!(queue.take(2, 1, Wait::Never), [4, 5]);
        assert_eq!(queue.take(64, 9, Wait::ForItems), [6]);
        assert_eq!(queue.take(64, 1, Wait::Never), [0; 0]);
        assert!(queue.push(7));
        assert_eq!(queue.take(0, 1, Wait::Never), [0; 0]);
    }

    #[test]
    fn a_full_queue_makes_its_producer_wait() {
        let queue = Queue::new(1);
        thread::scope(|scope| {
            let producer = scope.spawn(|| (0..100).all(|item| queue.push(item)));
            let taken: Vec<i32> = (0..100).flat_map(|_| queue.take(1, 1, Wait::ForItems)).collect();
            assert_eq!(taken, (0..100).collect::<Vec<_>>());
            assert!(producer.join().unwrap());
        });
        assert!(queue.lock().items.is_empty());
    }

    #[test]
    fn what_is_closed_takes_nothing_and_gives_the_rest() {
        let queue = Queue::new(2);
        assert!(queue.push(1));
        queue.close();
        assert!(!queue.push(2));
        assert_eq!(queue.take(8, 1, Wait::ForItems), [1]);
        assert_eq!(queue.take(8, 1, Wait::ForItems), [0; 0]);
    }

    #[test]
    fn a_worker_that_panics_sets_its_producer_free() {
        let queue = Queue::new(1);
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let _guard = ClosesOnPanic(&queue);
                panic!("as a bug would");
            });
            // Without a worker the second item would wait for ever.
            while queue.push(0) {}
            assert!(worker.join().is_err());
        });
    }
}
