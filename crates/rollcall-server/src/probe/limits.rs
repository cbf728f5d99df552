//! How much is probed at once: a few per host, so many in all, and no more than so many a second.
//!
//! A probe waits for its place, and the wait counts neither as latency nor against its timeout: that this node is busy is no
//! evidence against an instance. At most [`HOST_USERS_MAX`] wait for one host, and of those that did not answer last time half as many,
//! or a host that hangs with all its instances would in time hold all that a node may have under way; what is more is put off until
//! its next turn.
//!
//! A host has a place more than it can lose to targets that do not answer: a target whose last probe timed out may only have
//! one of the places of its host, so that instances that hang do not keep the others of their host from being seen.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::metrics;

/// Most probes of one address that run or wait: a small part of those that are under way at most.
const HOST_USERS_MAX: usize = 1_024;
/// Most of them whose targets were silent: the others are seen all the same.
const HOST_SILENT_MAX: usize = HOST_USERS_MAX / 2;
/// Most targets that are remembered as silent.
const SILENT_MAX: usize = 65_536;

/// Bounds of what is probed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Most probes at once. At least 1.
    pub(crate) in_flight_max: usize,
    /// Most probes at once of one address. At least 1.
    pub(crate) per_host_max: usize,
    /// Probes a second. At least 1.
    pub(crate) per_second: u32,
}

/// Hands out places; see the module.
pub(super) struct Places {
    bounds: Bounds,
    all: Arc<Semaphore>,
    rate: Rate,
    hosts: Mutex<Hosts>,
}

#[derive(Default)]
struct Hosts {
    /// Hosts that are probed or waited for now, and no others.
    by_address: HashMap<IpAddr, Host>,
    /// Targets whose last probe timed out.
    silent: HashSet<SocketAddr>,
}

struct Host {
    places: Arc<Semaphore>,
    /// Those that targets which were silent may have.
    doubtful: Arc<Semaphore>,
    /// Probes that run or wait.
    users: usize,
    /// Those of targets that were silent.
    silent: usize,
}

/// The right to one probe; given back when dropped.
pub(super) struct Place {
    _host: OwnedSemaphorePermit,
    _doubtful: Option<OwnedSemaphorePermit>,
    _all: OwnedSemaphorePermit,
    user: User,
}

/// Keeps the entry of a host while somebody needs it.
struct User {
    places: Arc<Places>,
    target: SocketAddr,
    was_silent: bool,
}

impl Places {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            all: Arc::new(Semaphore::new(bounds.in_flight_max)),
            rate: Rate::new(bounds.per_second),
            hosts: Mutex::default(),
            bounds,
        }
    }

    /// Waits until `target` may be probed; `None` when too many wait for its host.
    pub(super) async fn enter(self: &Arc<Self>, target: SocketAddr) -> Option<Place> {
        let _waiting = metrics::waiting();
        let (user, host, doubtful) = self.join(target)?;
        let doubtful = match doubtful {
            Some(places) => Some(permit(places).await),
            None => None,
        };
        let host = permit(host).await;
        self.rate.wait().await;
        let all = permit(self.all.clone()).await;
        Some(Place { _host: host, _doubtful: doubtful, _all: all, user })
    }

    /// Notes whether the probe of `target` ended without an answer.
    fn note(&self, target: SocketAddr, is_silent: bool) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_silent {
            hosts.silent.remove(&target);
        } else if hosts.silent.len() < SILENT_MAX {
            hosts.silent.insert(target);
        }
    }

    fn join(self: &Arc<Self>, target: SocketAddr) -> Option<(User, Arc<Semaphore>, Option<Arc<Semaphore>>)> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_silent = hosts.silent.contains(&target);
        let most = self.bounds.per_host_max;
        let host = hosts.by_address.entry(target.ip()).or_insert_with(|| Host {
            places: Arc::new(Semaphore::new(most)),
            doubtful: Arc::new(Semaphore::new(most.saturating_sub(1).max(1))),
            users: 0,
            silent: 0,
        });
        if host.users >= HOST_USERS_MAX || is_silent && host.silent >= HOST_SILENT_MAX {
            return None;
        }
        host.users += 1;
        host.silent += usize::from(is_silent);
        let user = User { places: self.clone(), target, was_silent: is_silent };
        Some((user, host.places.clone(), is_silent.then(|| host.doubtful.clone())))
    }

    /// Hosts that are probed or waited for.
    #[cfg(test)]
    pub(super) fn hosts(&self) -> usize {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).by_address.len()
    }

    /// Places that are taken, of all.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.bounds.in_flight_max - self.all.available_permits()
    }
}

impl Place {
    /// Gives the place back after a probe that ended, without an answer or with one.
    pub(super) fn ended(self, is_silent: bool) {
        if is_silent != self.user.was_silent {
            self.user.places.note(self.user.target, is_silent);
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut hosts = self.places.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.by_address.get_mut(&self.target.ip()) {
            host.users -= 1;
            host.silent -= usize::from(self.was_silent);
            if host.users == 0 {
                hosts.by_address.remove(&self.target.ip());
            }
        }
    }
}

async fn permit(places: Arc<Semaphore>) -> OwnedSemaphorePermit {
    places.acquire_owned().await.expect("the semaphores of places are never closed")
}

/// A token bucket, kept as the time at which the next token is there (GCRA, ITU-T I.371 Annex A): one number, no refill.
struct Rate {
    /// Time between two probes.
    gap: Duration,
    /// How far probes may run ahead of their time: a quarter of a second's worth.
    burst: Duration,
    next: Mutex<Instant>,
}

impl Rate {
    fn new(per_second: u32) -> Self {
        let gap = Duration::from_secs(1) / per_second.max(1);
        Self { gap, burst: Duration::from_millis(250), next: Mutex::new(Instant::now()) }
    }

    /// Waits for a token. One that is waited for in vain is lost.
    async fn wait(&self) {
        let now = Instant::now();
        let at = self.take(now);
        if at > now {
            sleep_until(at).await;
        }
    }

    /// Takes the next token, and says when it is there.
    fn take(&self, now: Instant) -> Instant {
        let earliest = now.checked_sub(self.burst).unwrap_or(now);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (*next).max(earliest);
        *next = at + self.gap;
        at
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn tokens_come_at_their_rate_after_a_burst() {
        let rate = Rate::new(100);
        let start = Instant::now() + Duration::from_secs(10);
        let waits: Vec<Duration> = (0..100).map(|_| rate.take(start).saturating_duration_since(start)).collect();
        assert_eq!(waits.iter().filter(|wait| wait.is_zero()).count(), 26, "a quarter of a second's worth at once");
        assert_eq!(waits[99], Duration::from_millis(740));
        assert!(rate.take(start + Duration::from_secs(60)) <= start + Duration::from_secs(60), "not more is saved up");
    }

    fn places(bounds: Bounds) -> Arc<Places> {
        Arc::new(Places::new(bounds))
    }

    const BOUNDS: Bounds = Bounds { in_flight_max: 3, per_host_max: 2, per_second: 1_000_000 };

    fn target(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], port))
    }

    /// Whether a place can be had at once.
    fn enter(places: &Arc<Places>, target: SocketAddr) -> Option<Place> {
        places.enter(target).now_or_never().map(|place| place.expect("not many wait"))
    }

    #[test]
    fn a_host_has_two_places_and_all_hosts_three() {
        let places = places(BOUNDS);
        let first = enter(&places, target(1, 80)).unwrap();
        let _second = enter(&places, target(1, 81)).unwrap();
        assert!(enter(&places, target(1, 82)).is_none(), "two of one host");
        let _third = enter(&places, target(2, 80)).unwrap();
        assert!(enter(&places, target(3, 80)).is_none(), "three in all");
        drop(first);
        assert!(enter(&places, target(1, 82)).is_some());
    }

    #[test]
    fn one_place_of_a_host_is_kept_for_targets_that_answer() {
        let places = places(BOUNDS);
        places.note(target(1, 80), true);
        places.note(target(1, 81), true);
        let silent = enter(&places, target(1, 80)).unwrap();
        assert!(enter(&places, target(1, 81)).is_none(), "the other is for one that answers");
        assert!(enter(&places, target(1, 90)).is_some());
        places.note(target(1, 81), false);
        assert!(enter(&places, target(1, 81)).is_some(), "it answered since");
        drop(silent);
    }

    #[test]
    fn nothing_is_left_of_a_host_that_nobody_probes() {
        let places = places(BOUNDS);
        let first = enter(&places, target(1, 80)).unwrap();
        let second = enter(&places, target(1, 80)).unwrap();
        assert!(enter(&places, target(1, 80)).is_none(), "and gives up waiting");
        assert_eq!((places.hosts(), places.taken()), (1, 2));
        drop((first, second));
        assert_eq!((places.hosts(), places.taken()), (0, 0));
    }

    #[tokio::test]
    async fn a_host_that_hangs_holds_a_bounded_part_of_all_that_wait() {
        let places = places(BOUNDS);
        let hung: Vec<_> = (0..2).map(|port| enter(&places, target(1, port)).unwrap()).collect();
        let mut waiting: Vec<_> = (2..HOST_USERS_MAX).map(|_| Box::pin(places.enter(target(1, 80)))).collect();
        for enter in &mut waiting {
            assert!(futures_util::poll!(enter).is_pending());
        }
        assert!(places.enter(target(1, 81)).await.is_none(), "it is put off");
        assert!(places.enter(target(2, 80)).await.is_some(), "nobody else is");
        drop(waiting);
        assert!(places.enter(target(1, 81)).now_or_never().is_none(), "it may wait again");
        drop(hung);
    }

    #[tokio::test]
    async fn targets_that_hang_do_not_take_the_room_of_those_of_their_host_that_answer() {
        let places = places(BOUNDS);
        places.note(target(1, 80), true);
        let mut waiting: Vec<_> = (0..HOST_SILENT_MAX).map(|_| Box::pin(places.enter(target(1, 80)))).collect();
        let running: Vec<_> = waiting.iter_mut().filter_map(|enter| enter.now_or_never()).collect();
        assert_eq!(running.len(), 1);
        // What a task may do at once is bounded by tokio, and done.
        tokio::task::yield_now().await;
        assert!(places.enter(target(1, 80)).await.is_none(), "it is put off");
        assert!(enter(&places, target(1, 90)).is_some(), "its neighbour is asked at once");
    }
}
