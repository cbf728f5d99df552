//! What arrives: heartbeats, evidence, messages, farewells.

use rollcall_types::NodeName;

use super::evidence::{Evidence, Heard};
use super::message::Message;
use super::record::Record;
use super::relays::Relay;
use super::rivals::Rivals;
use super::verdict::{Cause, Event, State};
use super::{Action, Detector, MEMBERS_MAX, WITNESSES_MAX};
use crate::hash::hash_name;

impl Detector {
    pub(super) fn see_heartbeat(&mut self, name: &NodeName, seen: Heard, actions: &mut Vec<Action>) {
        let observed = self.clock.observed();
        if *name == self.me {
            return self.see_own_name(seen, actions);
        }
        let Some(record) = self.members.get_mut(name) else { return self.discover(name, seen, actions) };
        if seen.generation > record.life.generation {
            self.succeed(name, seen, actions);
        } else if seen.generation < record.life.generation {
            if record.rivals.see(seen, observed) {
                let newer = record.life.generation;
                let member = name.clone();
                actions.push(Action::Event(Event::NameShared { member, older: seen.generation, newer }));
            }
        } else if seen.heartbeat > record.life.heartbeat {
            record.life = seen;
            self.revive(name, Cause::Refuted, actions);
        }
    }

    /// Another process with this node's name: a newer one is told at once, an older one when it is seen to run.
    fn see_own_name(&mut self, seen: Heard, actions: &mut Vec<Action>) {
        let (member, own) = (self.me.clone(), self.generation);
        let is_news = match seen.generation.cmp(&own) {
            std::cmp::Ordering::Equal => false,
            std::cmp::Ordering::Less => self.rivals.see(seen, self.clock.observed()),
            std::cmp::Ordering::Greater => self.rivals.supplanted_by(seen.generation),
        };
        if is_news {
            let (older, newer) = (own.min(seen.generation), own.max(seen.generation));
            actions.push(Action::Event(Event::NameShared { member, older, newer }));
        }
    }

    fn discover(&mut self, name: &NodeName, seen: Heard, actions: &mut Vec<Action>) {
        if self.members.len() >= MEMBERS_MAX {
            self.refused += 1;
            return;
        }
        let record = Record::discovered(seen, hash_name(name), self.clock.now(), self.clock.observed());
        self.members.insert(name.clone(), record);
        let (member, generation) = (name.clone(), seen.generation);
        let (to, cause) = (State::Alive, Cause::Discovered);
        actions.push(Action::Event(Event::Changed { member, generation, from: None, to, cause }));
    }

    /// A newer process took the name. What was held against the older one says nothing about it, and what the older one said
    /// about others is void; only the flaps are kept.
    fn succeed(&mut self, name: &NodeName, seen: Heard, actions: &mut Vec<Action>) {
        let (now, observed) = (self.clock.now(), self.clock.observed());
        let Some(record) = self.members.get_mut(name) else { return };
        let mut record_of_new = Record::discovered(seen, record.hash, now, observed);
        record_of_new.cause = Cause::Restarted;
        record_of_new.damping = record.damping;
        record_of_new.rivals = Rivals::succeeded(record.life, observed);
        let from = Some(record.state);
        *record = record_of_new;
        self.disregard(name);
        let (member, generation) = (name.clone(), seen.generation);
        let (to, cause) = (State::Alive, Cause::Restarted);
        actions.push(Action::Event(Event::Changed { member, generation, from, to, cause }));
    }

    /// Takes back everything that `name` published.
    pub(super) fn disregard(&mut self, name: &NodeName) {
        self.accusers.remove(name);
        for record in self.members.values_mut() {
            record.witnesses.remove(name);
        }
    }

    pub(super) fn see_evidence(&mut self, from: &NodeName, evidence: &Evidence, actions: &mut Vec<Action>) {
        let Some(record) = self.members.get_mut(from) else { return };
        record.lateness = evidence.lateness;
        record.unheard_by_it = evidence.unheard.iter().take(Evidence::UNHEARD_MAX).cloned().collect();
        for (name, record) in &mut self.members {
            match evidence.suspicions.get(name) {
                Some(heard) if record.witnesses.len() < WITNESSES_MAX || record.witnesses.contains_key(from) => {
                    record.witnesses.insert(from.clone(), *heard);
                }
                Some(_) => {}
                None => {
                    record.witnesses.remove(from);
                }
            }
        }
        let is_against_us = evidence.suspicions.get(&self.me).is_some_and(|heard| heard.generation == self.generation);
        if !is_against_us {
            self.accusers.remove(from);
        } else if self.accusers.insert(from.clone()) {
            actions.push(Action::Event(Event::Accused { by: from.clone() }));
            actions.push(Action::Gossip { with: from.clone() });
        }
    }

    pub(super) fn see_message(&mut self, from: &NodeName, message: Message, actions: &mut Vec<Action>) {
        match message {
            Message::Ping { nonce, suspected } => {
                let message = Message::Ack { nonce, generation: self.generation };
                actions.push(Action::Send { to: from.clone(), message });
                if suspected {
                    actions.push(Action::Gossip { with: from.clone() });
                }
            }
            Message::Ack { nonce, generation } => match self.relays.take(nonce, from) {
                Some(relay) => {
                    let message = Message::RelayedAck { nonce: relay.nonce, generation, target: relay.target };
                    actions.push(Action::Send { to: relay.origin, message });
                }
                None => {
                    self.measure_round_trip(from, nonce);
                    self.see_answer(from, nonce, generation, actions);
                }
            },
            Message::PingReq { nonce, target } => self.ping_for(from, nonce, target, actions),
            Message::RelayedAck { nonce, generation, target } => self.see_answer(&target, nonce, generation, actions),
            Message::FalseDeath { generation, .. } => self.false_deaths += u64::from(generation == self.generation),
        }
    }

    /// Passes a ping on, to members that we know only.
    fn ping_for(&mut self, origin: &NodeName, nonce: u64, target: NodeName, actions: &mut Vec<Action>) {
        if !self.members.contains_key(&target) || target == *origin {
            return;
        }
        let own_nonce = self.random.next();
        let at = self.clock.observed();
        if self.relays.insert(own_nonce, Relay { origin: origin.clone(), nonce, target: target.clone(), at }) {
            let message = Message::Ping { nonce: own_nonce, suspected: false };
            actions.push(Action::Send { to: target, message });
        }
    }

    /// An answer shows life if it is to our latest probe and from the process that we know; a late one too.
    fn see_answer(&mut self, name: &NodeName, nonce: u64, generation: u64, actions: &mut Vec<Action>) {
        let Some(record) = self.members.get(name) else { return };
        let is_asked = record.probe.is_some_and(|probe| probe.nonce == nonce);
        if is_asked && record.life.generation == generation {
            self.revive(name, Cause::Answered, actions);
        }
    }

    /// Takes `name` and what it said out of the table.
    pub(super) fn drop_member(&mut self, name: &NodeName) -> Vec<Action> {
        let is_known = self.members.remove(name).is_some();
        self.disregard(name);
        let event = is_known.then(|| Action::Event(Event::Forgotten { member: name.clone() }));
        event.into_iter().collect()
    }

    pub(super) fn see_leave(&mut self, name: &NodeName, actions: &mut Vec<Action>) {
        if let Some(record) = self.members.get_mut(name) {
            record.probe = None;
            record.suspected = None;
            record.is_unheard = false;
            self.turn(name, State::Left, Cause::Announced, actions);
        }
    }
}
