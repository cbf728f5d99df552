//! What is known of the leader, and how old that makes the catalogue here.
//!
//! Evidence comes as a time and a revision that includes everything that was acknowledged before it
//! ([`freshness`](super::freshness)). The catalogue here is as fresh as the latest evidence that it has reached: the leader's
//! word alone, without the entries, does not make it look fresh.
//!
//! Evidence is kept at a granularity of [`STEP`], and at most [`POINTS_MAX`] of them; what is dropped makes the answer
//! older, never younger.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Least time between two revisions that wait to be reached.
const STEP: Duration = Duration::from_millis(10);
/// Revisions that wait to be reached.
const POINTS_MAX: usize = 64;

/// The evidence of a node.
#[derive(Debug, Default)]
pub(crate) struct Contact(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    /// The latest time of any evidence.
    last: Option<Instant>,
    /// The latest time before which nothing was acknowledged that the catalogue here does not hold.
    fresh: Option<Instant>,
    /// Later times, oldest first, each with the revision that the catalogue must reach.
    waiting: VecDeque<(Instant, u64)>,
}

impl Heard {
    /// Takes note of what the catalogue here has reached.
    fn reach(&mut self, applied: u64) {
        while let Some((at, _)) = self.waiting.front().filter(|(_, revision)| *revision <= applied) {
            self.fresh = self.fresh.max(Some(*at));
            self.waiting.pop_front();
        }
    }
}

impl Contact {
    /// Notes that whatever was acknowledged before `at` is in the catalogue once that has come to `revision`; it has come to
    /// `applied`. Evidence may come late and in any order.
    pub(crate) fn note(&self, at: Instant, revision: u64, applied: u64) {
        let mut heard = self.heard();
        heard.last = heard.last.max(Some(at));
        heard.reach(applied);
        if revision <= applied {
            heard.fresh = heard.fresh.max(Some(at));
            // What waits for earlier times says nothing new.
            heard.waiting.retain(|(other, _)| *other > at);
        } else if heard.waiting.back().is_none_or(|(last, _)| at.saturating_duration_since(*last) >= STEP)
            && heard.waiting.len() < POINTS_MAX
        {
            heard.waiting.push_back((at, revision));
        }
    }

    /// Age of the latest evidence, reached or not; `None` before the first.
    pub(crate) fn age(&self, now: Instant) -> Option<Duration> {
        self.heard().last.map(|at| now.saturating_duration_since(at))
    }

    /// The time before which nothing was acknowledged that a catalogue at `applied` does not hold; `None` while none is known.
    pub(crate) fn fresh_at(&self, applied: u64) -> Option<Instant> {
        let mut heard = self.heard();
        heard.reach(applied);
        heard.fresh
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
    fn evidence_without_its_entries_does_not_make_a_catalogue_fresh() {
        let contact = Contact::default();
        let start = Instant::now();
        assert_eq!(contact.fresh_at(0), None);
        contact.note(start, 5, 5);
        for second in 1..=4 {
            contact.note(start + SECOND * second, 5 + u64::from(second), 5);
        }
        assert_eq!(contact.age(start + 4 * SECOND), Some(Duration::ZERO));
        assert_eq!(contact.fresh_at(5), Some(start));
        assert_eq!(contact.fresh_at(7), Some(start + 2 * SECOND), "7 was all that was committed two seconds later");
        assert_eq!(contact.fresh_at(9), Some(start + 4 * SECOND));
    }

    #[test]
    fn evidence_that_comes_late_changes_nothing() {
        let contact = Contact::default();
        let start = Instant::now();
        contact.note(start + 3 * SECOND, 5, 5);
        contact.note(start, 5, 5);
        contact.note(start, 4, 5);
        assert_eq!(contact.age(start + 4 * SECOND), Some(SECOND));
        assert_eq!(contact.fresh_at(5), Some(start + 3 * SECOND));
        contact.note(start + SECOND, 6, 5);
        assert_eq!(contact.fresh_at(6), Some(start + 3 * SECOND));
    }

    #[test]
    fn what_a_flood_of_evidence_drops_makes_the_answer_older_not_younger() {
        let contact = Contact::default();
        let start = Instant::now();
        contact.note(start, 0, 0);
        for step in 1..=1_000 {
            contact.note(start + STEP * step, u64::from(step), 0);
        }
        let end = start + STEP * 1_000;
        let known = u32::try_from(POINTS_MAX).unwrap();
        assert_eq!(contact.fresh_at(0), Some(start));
        assert_eq!(contact.fresh_at(900), Some(start + STEP * known));
        contact.note(end, 1_000, 1_000);
        assert_eq!(contact.fresh_at(1_000), Some(end));
    }
}
