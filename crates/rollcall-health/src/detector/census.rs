//! Doubt about ourselves: stalls, and silence of so many that it must be us.

use std::time::Duration;

use rollcall_types::{MonoTime, NodeName};

use super::verdict::{Event, State};
use super::{Action, Detector, MEMBERS_MAX};

impl Detector {
    /// Takes the time of an input, before anything else about it.
    ///
    /// After a stall all probes are void, all suspicions of living members are taken back, and nobody is judged for twice its
    /// length, at most two patiences: what waited in the receive buffer is old, and fresh heartbeats need a few rounds.
    pub(super) fn arrive(&mut self, now: MonoTime) -> Vec<Action> {
        let Some(late) = self.clock.arrive(now) else { return Vec::new() };
        self.clock.abstain((late * 2).min(self.options.silence * 2));
        for record in self.members.values_mut() {
            record.probe = None;
            record.unanswered = 0;
            if record.state == State::Suspect {
                record.suspected = None;
            }
        }
        vec![Action::Event(Event::Stalled { late })]
    }

    /// Neither suspects nor declares anyone: after a stall, and while more than half of the members are about to be silent.
    pub(super) fn is_abstaining(&self) -> bool {
        self.clock.is_abstaining()
            || self.isolated_since.is_some()
            || self.is_majority_silent(self.options.silence * 2 / 5)
    }

    /// Whether more than half of the live members, this node counted as one that is heard, are silent for `span` or longer.
    ///
    /// Members that never progressed are left out: they may have died before we came, however many they are.
    fn is_majority_silent(&self, span: Duration) -> bool {
        let (heard, silent) = self.count(span);
        silent > 1 + heard
    }

    /// How many of the others are heard, and how many are silent for `span` or longer. Who was forgotten during an isolation
    /// is silent until its heartbeat is seen to advance, or it says that it left.
    fn count(&self, span: Duration) -> (usize, usize) {
        let observed = self.clock.observed();
        let live = self.members.values().filter(|record| record.is_live() && record.has_progressed);
        let (silent, heard): (Vec<_>, Vec<_>) = live.partition(|record| record.silence(observed) >= span);
        let is_back =
            |name| self.members.get(name).is_some_and(|record| record.has_progressed || record.state == State::Left);
        let missed = self.missed.iter().filter(|name| !is_back(*name));
        (heard.len(), silent.len() + missed.count())
    }

    /// Notes that `name` is about to be forgotten, if it is missed because this node is isolated.
    pub(super) fn miss(&mut self, name: &NodeName) {
        let is_missed = self.members.get(name).is_some_and(|record| record.is_live() && record.has_progressed);
        if self.isolated_since.is_some() && is_missed && self.missed.len() < MEMBERS_MAX {
            self.missed.insert(name.clone());
        }
    }

    /// Finds out whether this node is cut off, or no longer is. It is no longer when enough others are heard, and at least
    /// one: that the silent ones are gone from the table, forgotten or by their own word, says nothing of this node.
    ///
    /// When it ends, silence starts anew for all: those whose heartbeats did not come yet were not silent, we were deaf.
    pub(super) fn take_census(&mut self, actions: &mut Vec<Action>) {
        let (heard, silent) = self.count(self.options.silence);
        let is_cut_off = silent > 1 + heard;
        match self.isolated_since {
            None if is_cut_off && !self.clock.is_abstaining() => {
                self.isolated_since = Some(self.clock.now());
                self.pardon_probes();
                actions.push(Action::Event(Event::Isolated));
            }
            Some(_) if !is_cut_off && heard > 0 => {
                self.isolated_since = None;
                self.missed.clear();
                self.pardon_all(self.clock.observed());
                self.clock.abstain(self.options.silence);
                actions.push(Action::Event(Event::Reconnected));
            }
            _ => {}
        }
    }

    fn pardon_probes(&mut self) {
        for record in self.members.values_mut() {
            record.probe = None;
            if record.state == State::Suspect {
                record.suspected = None;
            }
        }
    }

    fn pardon_all(&mut self, observed: MonoTime) {
        for record in self.members.values_mut() {
            record.pardon(observed);
        }
    }

    /// Patience grows back to normal, calm minute by calm minute.
    pub(super) fn soothe(&mut self) {
        let observed = self.clock.observed();
        for record in self.members.values_mut() {
            let silence = record.silence(observed);
            record.damping.soothe(silence, self.options.silence, observed);
        }
    }
}
