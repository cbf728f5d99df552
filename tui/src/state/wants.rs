//! What is to be asked for, and when: once for each event, never twice at a time, and not more than once a second.
//!
//! An event is followed by two reads: one at once, and one after what the answering node counts in the background has
//! settled. There is no timer behind this: without events nothing is asked.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_api::Timestamp;

use crate::message::{Request, Subject};

/// Least time between two reads of one subject.
const PAUSE_MS: u64 = 1_000;
/// From an event until all counts have followed it.
const SETTLED_AFTER_MS: u64 = 1_500;
/// Most subjects that wait; what comes on top is dropped, and comes again with the next event.
const WAITING_MAX: usize = 128;
/// Most reads under way.
const ASKED_MAX: usize = 8;

/// Reads that are due, under way, and done.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    /// When each is due, and maybe due again.
    due: BTreeMap<Subject, (u64, Option<u64>)>,
    asked: BTreeSet<Subject>,
    asked_at: BTreeMap<Subject, u64>,
}

impl Wants {
    /// Asks for `subject` as soon as it may be asked for.
    pub(crate) fn want(&mut self, subject: Subject, now: Timestamp) {
        self.put(subject, now.millis(), None);
    }

    /// Asks for `subject` because something happened: now, and again when it has settled.
    pub(crate) fn want_settled(&mut self, subject: Subject, now: Timestamp) {
        self.put(subject, now.millis(), Some(now.millis() + SETTLED_AFTER_MS));
    }

    fn put(&mut self, subject: Subject, at: u64, again: Option<u64>) {
        if self.due.len() >= WAITING_MAX && !self.due.contains_key(&subject) {
            return;
        }
        let entry = self.due.entry(subject).or_insert((at, None));
        *entry = (entry.0.min(at), again.or(entry.1));
    }

    /// The reads to send now.
    pub(crate) fn take(&mut self, now: Timestamp) -> Vec<Request> {
        let now = now.millis();
        let may_ask = |(subject, (at, _)): &(&Subject, &(u64, Option<u64>))| {
            let asked_at = self.asked_at.get(subject).copied().unwrap_or_default();
            *at <= now && !self.asked.contains(*subject) && asked_at + PAUSE_MS <= now
        };
        let room = ASKED_MAX.saturating_sub(self.asked.len());
        let ready: Vec<Subject> = self.due.iter().filter(may_ask).map(|(it, _)| it.clone()).take(room).collect();
        for subject in &ready {
            match self.due.get(subject).and_then(|(_, again)| *again).filter(|again| *again > now) {
                Some(again) => drop(self.due.insert(subject.clone(), (again, None))),
                None => drop(self.due.remove(subject)),
            }
            self.asked.insert(subject.clone());
            self.asked_at.insert(subject.clone(), now);
        }
        self.asked_at.retain(|_, at| *at + PAUSE_MS > now);
        ready.into_iter().map(Request::Read).collect()
    }

    /// The answer to `subject` is there.
    pub(crate) fn answered(&mut self, subject: &Subject) {
        self.asked.remove(subject);
    }

    /// Nobody answers any more.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether nothing is under way or due, but for second looks.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        self.asked.is_empty() && self.due.values().all(|(at, _)| *at > now.millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn an_event_is_followed_by_two_reads_and_many_events_by_no_more() {
        let mut wants = Wants::default();
        for _ in 0..1_000 {
            wants.want_settled(Subject::Health, at(10_000));
        }
        assert_eq!(wants.take(at(10_000)), [Request::Read(Subject::Health)]);
        assert_eq!(wants.take(at(12_000)), [], "the first is still under way");
        wants.answered(&Subject::Health);
        assert_eq!(wants.take(at(12_000)), [Request::Read(Subject::Health)]);
        wants.answered(&Subject::Health);
        assert_eq!(wants.take(at(60_000)), [], "nothing happened since");
    }

    #[test]
    fn a_subject_is_read_once_a_second_at_most() {
        let mut wants = Wants::default();
        wants.want(Subject::Cluster, at(10_000));
        assert_eq!(wants.take(at(10_000)).len(), 1);
        wants.answered(&Subject::Cluster);
        wants.want(Subject::Cluster, at(10_400));
        assert_eq!(wants.take(at(10_400)), []);
        assert_eq!(wants.take(at(11_000)).len(), 1);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut wants = Wants::default();
        for index in 0..10_000 {
            wants.want(Subject::Service(index.to_string()), at(10_000));
        }
        assert_eq!((wants.due.len(), wants.take(at(10_000)).len()), (WAITING_MAX, ASKED_MAX));
    }
}
