//! A bound on the memory of what is on its way to a network, or from it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// So many bytes, lent out in pieces.
#[derive(Debug)]
pub struct Budget {
    used: Mutex<u64>,
    freed: Condvar,
    total: u64,
}

/// Bytes of a budget; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    /// A budget of `total` bytes.
    #[must_use]
    pub fn new(total: u64) -> Arc<Self> {
        Arc::new(Self { used: Mutex::new(0), freed: Condvar::new(), total })
    }

    /// Takes `bytes`, waiting until they are free; one piece may be larger than the whole, when nothing else is taken. None
    /// when `stop` says, meanwhile, that nobody wants them any more.
    pub fn take(self: &Arc<Self>, bytes: u64, stop: impl Fn() -> bool) -> Option<Permit> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while *used > 0 && used.saturating_add(bytes) > self.total {
            if stop() {
                return None;
            }
            let waited = self.freed.wait_timeout(used, Duration::from_millis(50));
            used = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *used = used.saturating_add(bytes);
        Some(Permit { budget: Arc::clone(self), bytes })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut used = self.budget.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_sub(self.bytes);
        drop(used);
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn no_more_is_lent_than_there_is() {
        let budget = Budget::new(100);
        let (out, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for bytes in [10, 30, 60, 100, 45, 55] {
                let (budget, out, most) = (&budget, &out, &most);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let permit = budget.take(bytes, || false).unwrap();
                        most.fetch_max(out.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                        out.fetch_sub(bytes, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert!((60..=100).contains(&most.into_inner()));
    }

    #[test]
    fn what_is_larger_than_all_goes_alone_and_who_stops_goes_without() {
        let budget = Budget::new(100);
        let large = budget.take(500, || false).unwrap();
        assert!(budget.take(1, || true).is_none());
        drop(large);
        assert!(budget.take(1, || true).is_some());
    }
}
