//! When the leader was heard, and how old that makes the catalogue here.
//!
//! A leader that is heard says how far it has committed. The catalogue here is as fresh as the latest such word that it has
//! reached: heartbeats that arrive while the entries do not must not make it look fresh.
//!
//! Readings are kept at a granularity of [`STEP`], and at most [`POINTS_MAX`] of them; what is dropped makes the answer
//! older, never younger.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Least time between two readings that wait to be reached.
const STEP: Duration = Duration::from_millis(10);
/// Readings that wait to be reached.
const POINTS_MAX: usize = 64;

/// What was heard of the leader.
#[derive(Debug, Default)]
pub(crate) struct Contact(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    last: Option<Instant>,
    /// The latest time at which the leader had committed no more than the catalogue here holds.
    fresh: Option<Instant>,
    /// Later times, oldest first, each with what the leader had committed then.
    waiting: VecDeque<(Instant, u64)>,
}

impl Heard {
    /// Takes note of what the catalogue here has reached.
    fn reach(&mut self, applied: u64) {
        while let Some((at, _)) = self.waiting.front().filter(|(_, committed)| *committed <= applied) {
            self.fresh = Some(*at);
            self.waiting.pop_front();
        }
    }
}

impl Contact {
    /// Notes that the leader was heard at `now` and had committed up to `committed`.
    pub(crate) fn note(&self, now: Instant, committed: u64, applied: u64) {
        let mut heard = self.heard();
        heard.last = Some(now);
        heard.reach(applied);
        if committed <= applied {
            heard.fresh = Some(now);
            // Whatever waits was said earlier by another leader, and is not waited for.
            heard.waiting.clear();
        } else if heard.waiting.back().is_none_or(|(at, _)| now - *at >= STEP) && heard.waiting.len() < POINTS_MAX {
            heard.waiting.push_back((now, committed));
        }
    }

    /// Time since the leader was last heard; `None` before the first time.
    pub(crate) fn age(&self, now: Instant) -> Option<Duration> {
        self.heard().last.map(|at| now - at)
    }

    /// How old a catalogue that has come to `applied` may be; `None` while that is not known.
    pub(crate) fn staleness(&self, now: Instant, applied: u64) -> Option<Duration> {
        let mut heard = self.heard();
        heard.reach(applied);
        heard.fresh.map(|at| now - at)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn heartbeats_without_their_entries_do_not_make_a_catalogue_fresh() {
        let contact = Contact::default();
        let start = Instant::now();
        assert_eq!(contact.staleness(start, 0), None);
        contact.note(start, 5, 5);
        for second in 1..=4 {
            contact.note(start + SECOND * second, 5 + u64::from(second), 5);
        }
        let now = start + 4 * SECOND;
        assert_eq!(contact.age(now), Some(Duration::ZERO));
        assert_eq!(contact.staleness(now, 5), Some(4 * SECOND));
        assert_eq!(contact.staleness(now, 7), Some(2 * SECOND), "7 was all that was committed two seconds ago");
        assert_eq!(contact.staleness(now, 9), Some(Duration::ZERO));
    }

    #[test]
    fn what_a_flood_of_readings_drops_makes_the_answer_older_not_younger() {
        let contact = Contact::default();
        let start = Instant::now();
        contact.note(start, 0, 0);
        for step in 1..=1_000 {
            contact.note(start + STEP * step, u64::from(step), 0);
        }
        let now = start + STEP * 1_000;
        let known = u32::try_from(POINTS_MAX).unwrap();
        assert_eq!(contact.staleness(now, 0), Some(STEP * 1_000));
        assert_eq!(contact.staleness(now, 900), Some(STEP * (1_000 - known)));
        contact.note(now, 1_000, 1_000);
        assert_eq!(contact.staleness(now, 1_000), Some(Duration::ZERO));
    }
}
