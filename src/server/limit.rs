//! How often a client and a token's subject may ask, and how many connections one client may hold.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::server::peer;

/// Requests of each key at a steady rate, with a burst (GCRA).
struct Rate<K: Hash + Eq + Clone> {
    limiter: Option<DefaultKeyedRateLimiter<K>>,
    clock: DefaultClock,
}

impl<K: Hash + Eq + Clone> Rate<K> {
    /// So many a second, and so many at once; a rate of 0 is no limit.
    fn new(rate: u32, burst: u32) -> Self {
        let quota = NonZeroU32::new(rate).zip(NonZeroU32::new(burst));
        let limiter = quota.map(|(rate, burst)| RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst)));
        Self { limiter, clock: DefaultClock::default() }
    }

    /// Counts a request.
    fn check(&self, key: &K) -> Result<(), Wait> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.check_key(key).map_err(|not_until| Wait(not_until.wait_time_from(self.clock.now())))
    }

    /// Forgets those who could ask at full burst again.
    fn sweep(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    fn len(&self) -> usize {
        self.limiter.as_ref().map_or(0, DefaultKeyedRateLimiter::len)
    }
}

/// Too many: how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait(pub(super) Duration);

/// The rates of both kinds.
pub(super) struct Rates {
    clients: Rate<IpAddr>,
    subjects: Rate<String>,
}

impl Rates {
    /// Rates a second and bursts, of client addresses and of subjects.
    pub(super) fn new(client: (u32, u32), subject: (u32, u32)) -> Self {
        Self { clients: Rate::new(client.0, client.1), subjects: Rate::new(subject.0, subject.1) }
    }

    /// Before it is known who the viewer is.
    pub(super) fn client(&self, address: IpAddr) -> Result<(), Wait> {
        self.clients.check(&peer::network(address))
    }

    /// After. Subjects come from credentials that were found good, so nobody can make them up; but whoever asks an endpoint
    /// (`forward`) is known by all cookies that were sent, and has as many subjects as sets of them that the endpoint takes.
    pub(super) fn subject(&self, subject: &String) -> Result<(), Wait> {
        self.subjects.check(subject)
    }

    /// To be called every few seconds: an attacker with many addresses must not fill the memory.
    pub(super) fn sweep(&self) {
        self.clients.sweep();
        self.subjects.sweep();
    }

    /// Clients and subjects that are remembered.
    pub(super) fn len(&self) -> usize {
        self.clients.len() + self.subjects.len()
    }
}

/// Connections of each client.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Connections,
    client: IpAddr,
}

impl Connections {
    /// A place for one more from this address, if fewer than `most` are taken; 0 is no limit.
    pub(super) fn take(&self, address: IpAddr, most: usize) -> Option<Place> {
        let client = peer::network(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client).or_default();
        if most > 0 && *count >= most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Place { of: self.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = open.entry(self.client) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let rates = Rates::new((1, 3), (0, 0));
        let client: IpAddr = "2001:db8::1".parse().unwrap();
        for _ in 0..3 {
            assert_eq!(rates.client(client), Ok(()));
        }
        let Wait(wait) = rates.client(client).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert!(rates.client("2001:db8::2".parse().unwrap()).is_err(), "the same customer");
        assert!(rates.client("2001:db8:0:1::1".parse().unwrap()).is_ok(), "another");
        for _ in 0..100 {
            assert_eq!(rates.subject(&"anyone".to_owned()), Ok(()));
        }
    }

    #[test]
    fn who_has_not_asked_for_long_is_forgotten() {
        let rates = Rates::new((1_000, 1), (1, 1));
        for n in 0..1_000_u32 {
            let _ = rates.client(IpAddr::V4(n.into()));
        }
        rates.subject(&"viewer".to_owned()).unwrap();
        assert!(rates.len() > 1);
        std::thread::sleep(Duration::from_millis(50));
        rates.sweep();
        assert_eq!(rates.len(), 1, "the subject's second has not passed");
    }

    #[test]
    fn places_are_given_back() {
        let connections = Connections::default();
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let held: Vec<_> = (0..2).map(|_| connections.take(one, 2).unwrap()).collect();
        assert!(connections.take(one, 2).is_none());
        assert!(connections.take(other, 2).is_some());
        drop(held);
        assert!(connections.take(one, 2).is_some());
        assert!(connections.0.lock().unwrap().is_empty());
    }
}
