//! From silence to a verdict: who probes, what a failed probe means, and when two keys are there.

use std::time::Duration;

use rollcall_types::NodeName;

use super::evidence::{Evidence, Heard, Lateness};
use super::message::Message;
use super::record::{Probe, Record};
use super::verdict::{Cause, Event, State};
use super::{Action, CONFIRM_DELAY, Detector, HELPERS, MONITORS, PROBE_DEADLINE};
use crate::hash::{hash_name, mix};

/// Probing begins so long before patience ends that the answer, or its absence, is known then: the first tick at which the
/// deadline of a probe has passed.
const PROBE_LEAD: Duration = Duration::from_millis(300);
/// A suspect is probed again after this: it may only be gossip that stopped.
const PROBE_AGAIN: Duration = Duration::from_secs(1);

/// What silence and so many independent suspicions make of a member; `None`: nothing yet.
fn verdict(silence: Duration, patience: Duration, suspicions: usize) -> Option<(State, Cause)> {
    let (dead_at, cause) = match suspicions {
        0 => (patience * 6, Cause::NoWitness),
        1 => (patience * 3, Cause::OneWitness),
        2 => (patience + CONFIRM_DELAY, Cause::Confirmed),
        _ => (patience, Cause::Confirmed),
    };
    if silence >= dead_at {
        Some((State::Dead, cause))
    } else if silence >= patience && suspicions > 0 {
        Some((State::Suspect, Cause::Accused))
    } else if silence >= patience * 3 {
        Some((State::Suspect, Cause::Silent))
    } else {
        None
    }
}

impl Detector {
    /// Looks at every member that is silent for nearly as long as we are patient with it.
    pub(super) fn judge(&mut self, actions: &mut Vec<Action>) {
        let observed = self.clock.observed();
        let doubtful = self
            .members
            .iter()
            .filter(|(_, record)| record.is_live() && record.silence(observed) + PROBE_LEAD >= self.patience(record));
        let names: Vec<NodeName> = doubtful.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.probe(&name, actions);
            self.conclude(&name, actions);
        }
    }

    /// The silence that is borne from this member.
    pub(super) fn patience(&self, record: &Record) -> Duration {
        self.options.silence * (1 << record.damping.doublings())
    }

    /// Sends a probe if it is our turn, and turns one that was not answered in time into a suspicion.
    fn probe(&mut self, name: &NodeName, actions: &mut Vec<Action>) {
        let observed = self.clock.observed();
        let Some(record) = self.members.get(name) else { return };
        let patience = self.patience(record);
        let is_silent = record.silence(observed) >= patience;
        match record.probe {
            None if self.is_monitor(record) => self.send_probe(name, actions),
            Some(probe) if observed.since(probe.sent_at) >= PROBE_DEADLINE && is_silent => {
                let is_old = observed.since(probe.sent_at) >= PROBE_AGAIN;
                if let Some(record) = self.members.get_mut(name) {
                    record.suspected = Some(record.life);
                }
                self.turn(name, State::Suspect, Cause::Unanswered, actions);
                if is_old {
                    self.send_probe(name, actions);
                }
            }
            _ => {}
        }
    }

    /// Whether this node is one of the [`MONITORS`] of a member: highest random weight (Thaler and Ravishankar 1998) among the
    /// members that are heard and on time. Observers that differ on who is heard make a few more monitors, never none.
    fn is_monitor(&self, record: &Record) -> bool {
        let observed = self.clock.observed();
        let weight = |hash: u64| mix(record.hash ^ mix(hash));
        let own = weight(hash_name(&self.me));
        let fit = self.members.values().filter(|other| {
            other.hash != record.hash
                && other.state == State::Alive
                && other.lateness == Lateness::OnTime
                && other.silence(observed) + PROBE_LEAD < self.patience(other)
        });
        fit.filter(|other| weight(other.hash) > own).take(MONITORS).count() < MONITORS
    }

    /// One direct ping, which also warns the suspect, and [`HELPERS`] requests to ping it for us, all at once.
    fn send_probe(&mut self, name: &NodeName, actions: &mut Vec<Action>) {
        let nonce = self.random.next();
        let others = self.members.iter().filter(|(other, record)| *other != name && record.state == State::Alive);
        let others: Vec<NodeName> = others.map(|(other, _)| other.clone()).collect();
        let helpers = self.random.choose(others, HELPERS);
        let sent_at = self.clock.observed();
        if let Some(record) = self.members.get_mut(name) {
            record.probe = Some(Probe { nonce, sent_at });
        }
        actions.push(Action::Send { to: name.clone(), message: Message::Ping { nonce, suspected: true } });
        actions.extend(helpers.into_iter().map(|to| {
            let message = Message::PingReq { nonce, target: name.clone() };
            Action::Send { to, message }
        }));
    }

    /// Applies [`verdict`]. A suspect whose suspicion nobody upholds stays one until it makes progress.
    fn conclude(&mut self, name: &NodeName, actions: &mut Vec<Action>) {
        let Some(record) = self.members.get(name) else { return };
        let suspicions = self.witnesses_of(record).count() + usize::from(record.suspected.is_some());
        let silence = record.silence(self.clock.observed());
        let is_suspect = record.state == State::Suspect;
        match verdict(silence, self.patience(record), suspicions) {
            Some((State::Suspect, _)) if is_suspect => {}
            Some((state, cause)) => self.turn(name, state, cause, actions),
            None => {}
        }
    }

    /// The others whose suspicion counts: not refuted by what we know, and of a member that is itself alive and on time.
    pub(super) fn witnesses_of<'a>(&'a self, record: &'a Record) -> impl Iterator<Item = &'a NodeName> + 'a {
        let standing = record.witnesses.iter().filter(|(_, heard)| **heard >= record.life);
        standing.map(|(name, _)| name).filter(|name| {
            let origin = self.members.get(*name);
            origin.is_some_and(|origin| origin.state == State::Alive && origin.lateness == Lateness::OnTime)
        })
    }

    /// Puts a member into a state, and says so when it is another one.
    pub(super) fn turn(&mut self, name: &NodeName, to: State, cause: Cause, actions: &mut Vec<Action>) {
        let now = self.clock.now();
        let Some(record) = self.members.get_mut(name) else { return };
        if record.state == to {
            return;
        }
        let from = std::mem::replace(&mut record.state, to);
        (record.since, record.cause) = (now, cause);
        record.is_unheard &= to == State::Alive;
        let generation = record.life.generation;
        actions.push(Action::Event(Event::Changed { member: name.clone(), generation, from: Some(from), to, cause }));
    }

    /// A sign of life that refutes whatever was held against the member, which is told when it was held dead. Of one that left,
    /// it is the last of it.
    pub(super) fn revive(&mut self, name: &NodeName, cause: Cause, actions: &mut Vec<Action>) {
        let observed = self.clock.observed();
        let Some(record) = self.members.get_mut(name).filter(|record| record.state != State::Left) else { return };
        record.progress_at = observed;
        record.has_progressed = true;
        record.probe = None;
        record.suspected = None;
        match record.state {
            State::Dead => {
                record.damping.revived(observed);
                let message = Message::FalseDeath { nonce: self.random.next(), generation: record.life.generation };
                actions.push(Action::Send { to: name.clone(), message });
            }
            State::Suspect => record.damping.refuted(observed),
            State::Alive | State::Left => {}
        }
        self.turn(name, State::Alive, cause, actions);
    }

    /// Publishes what we hold, when it is not what we published. Suspects go before the dead when there is no room for all.
    pub(super) fn publish(&mut self, actions: &mut Vec<Action>) {
        let own = |state: State| {
            let records = self.members.iter().filter(move |(_, record)| record.state == state);
            records.filter_map(|(name, record)| Some((name.clone(), record.suspected?)))
        };
        let suspicions: Vec<(NodeName, Heard)> =
            own(State::Suspect).chain(own(State::Dead)).take(Evidence::SUSPICIONS_MAX).collect();
        let unheard = self.members.iter().filter(|(_, record)| record.is_unheard);
        let evidence = Evidence {
            lateness: self.clock.lateness(),
            suspicions: suspicions.into_iter().collect(),
            unheard: unheard.map(|(name, _)| name.clone()).take(Evidence::UNHEARD_MAX).collect(),
        };
        if evidence != self.published {
            self.published = evidence.clone();
            actions.push(Action::Publish(evidence));
        }
    }
}
