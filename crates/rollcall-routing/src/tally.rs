//! Picks of this node that no load report tells of yet.
//!
//! Load comes with heartbeats, seconds apart. Without a count of its own a node would send everything to whoever was idle
//! in the last heartbeat, until the next. The counts are atomic, so that requests need no lock; a count that is a moment old
//! does no harm. Other nodes' picks show in the next heartbeat only.

use std::sync::atomic::{AtomicU32, Ordering};

use rollcall_types::UnixMillis;

use crate::index::ServiceIndex;
use crate::resolve::Answer;

/// Span after which older picks are forgotten by halves, in milliseconds.
const FORGET_AFTER: u64 = 10_000;

/// Counts of picks, in the order of an index.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Box<[Count]>,
}

#[derive(Debug)]
struct Count {
    picks: AtomicU32,
    since: UnixMillis,
}

impl Tally {
    /// No picks yet, for the instances of `index`.
    pub fn new(index: &ServiceIndex, now: UnixMillis) -> Self {
        let counts = index.candidates().iter().map(|_| Count { picks: AtomicU32::new(0), since: now });
        Self { counts: counts.collect() }
    }

    /// The counts of `before`, for an index that takes the place of `index_before`. An instance whose load report is a new
    /// one begins at 0, since the report tells of the picks. Counts that go on for long are halved together with their span:
    /// the rate stays, old times fade. To be called when an index is rebuilt; a pick made meanwhile may be lost.
    pub fn carried(index: &ServiceIndex, now: UnixMillis, index_before: &ServiceIndex, before: &Self) -> Self {
        let counts = index.candidates().iter().map(|candidate| {
            let fresh = || Count { picks: AtomicU32::new(0), since: now };
            let Some(position) = index_before.position(&candidate.service, &candidate.instance) else { return fresh() };
            let reported = |load: Option<crate::LoadReport>| load.map(|load| load.at);
            let is_same = reported(index_before.candidates()[position].load) == reported(candidate.load);
            before.counts.get(position).filter(|_| is_same).map_or_else(fresh, |count| count.carried(now))
        });
        Self { counts: counts.collect() }
    }

    /// Counts what was picked.
    pub fn add(&self, answer: &Answer) {
        for pick in &answer.picks {
            if let Some(count) = self.counts.get(pick.position) {
                count.picks.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Picks of the instance at `position`, and since when they are counted.
    #[inline]
    pub(crate) fn get(&self, position: usize) -> Option<(f64, UnixMillis)> {
        self.counts.get(position).map(|count| (f64::from(count.picks.load(Ordering::Relaxed)), count.since))
    }
}

impl Count {
    fn carried(&self, now: UnixMillis) -> Self {
        let (mut picks, mut span) = (self.picks.load(Ordering::Relaxed), now.get().saturating_sub(self.since.get()));
        while span > FORGET_AFTER {
            (picks, span) = (picks / 2, span / 2);
        }
        Self { picks: AtomicU32::new(picks), since: UnixMillis::new(now.get() - span.min(now.get())) }
    }
}
