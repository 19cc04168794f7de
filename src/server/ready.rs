//! Whether the packages can be read, for `/readyz`: anyone may ask, as often as they like.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::limits::{SERVER_READY_LIFE, SERVER_READY_WAIT};

/// What was seen last. It holds for a moment, and one thread looks at most.
#[derive(Debug)]
pub(super) struct Readable {
    seen: Mutex<Option<(Instant, bool)>>,
    hand: Arc<Semaphore>,
}

impl Readable {
    pub(super) fn new() -> Self {
        Self { seen: Mutex::new(None), hand: Arc::new(Semaphore::new(1)) }
    }

    /// What `look` says, which may block, or what it said a moment ago. A volume that hangs cannot be read: as long as
    /// one look does not come back there is no other.
    pub(super) async fn is_so(&self, look: impl FnOnce() -> bool + Send + 'static) -> bool {
        let mut seen = self.seen.lock().await;
        if let Some((at, is_readable)) = *seen
            && at.elapsed() < SERVER_READY_LIFE
        {
            return is_readable;
        }
        let Ok(hand) = Arc::clone(&self.hand).try_acquire_owned() else { return false };
        let looking = spawn_blocking(move || {
            let is_readable = look();
            drop(hand);
            is_readable
        });
        let is_readable = matches!(timeout(SERVER_READY_WAIT, looking).await, Ok(Ok(true)));
        *seen = Some((Instant::now(), is_readable));
        is_readable
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn a_look_is_shared_for_a_moment() {
        let (readable, looks) = (Readable::new(), Arc::new(AtomicUsize::new(0)));
        let ask = |answer: bool| {
            let looks = Arc::clone(&looks);
            readable.is_so(move || {
                looks.fetch_add(1, Ordering::SeqCst);
                answer
            })
        };
        assert!(ask(true).await);
        for _ in 0..100 {
            assert!(ask(false).await, "it holds still");
        }
        assert_eq!(looks.load(Ordering::SeqCst), 1);
        tokio::time::sleep(SERVER_READY_LIFE).await;
        assert!(!ask(false).await);
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_look_that_hangs_is_the_only_one() {
        let readable = Readable::new();
        let (end, hangs) = channel::<()>();
        assert!(!readable.is_so(move || hangs.recv().is_err()).await);
        for _ in 0..2 {
            tokio::time::sleep(SERVER_READY_LIFE).await;
            assert!(!readable.is_so(|| panic!("a second look")).await);
        }
        drop(end);
        let begun = Instant::now();
        while !readable.is_so(|| true).await {
            assert!(begun.elapsed() < SERVER_READY_WAIT * 4, "it is not looked at again");
            tokio::time::sleep(SERVER_READY_LIFE / 10).await;
        }
    }
}
