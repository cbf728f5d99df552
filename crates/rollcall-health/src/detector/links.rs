//! Links in one direction: whose packets do not arrive here though others hear them.
//!
//! Gossip goes around a broken link, so nobody falls silent. Every member is pinged now and then, for the round-trip time;
//! one from whom nothing came straight for [`DOUBT`] is pinged every tick. When its heartbeat goes on advancing and none of
//! [`UNANSWERED_MIN`] pings was answered, nothing from it reaches us: at 30 % loss in both directions that many fail by
//! chance once in a million times. Only who does not hear can know, so the receiver reports. A link that is broken in
//! both directions is reported by both ends.

use std::time::Duration;

use rollcall_types::NodeName;

use super::message::Message;
use super::record::{Ping, Record};
use super::verdict::{Event, LinkFault, State};
use super::{Action, Detector};

/// Nothing came straight from a member for so long: ping it every tick.
const DOUBT: Duration = Duration::from_secs(2);
/// Nothing came straight for so long: a fault, if enough pings went unanswered.
const FAULT_AFTER: Duration = Duration::from_millis(4_500);
const UNANSWERED_MIN: u32 = 20;
/// A member that is heard is pinged so often on average.
const PING_EVERY: Duration = Duration::from_secs(5);
/// Most pings in one tick, suspicions apart. From about 250 members on, link faults take longer to find.
const PINGS_PER_TICK: usize = 8;

impl Detector {
    /// Pings who is due, and reports who stays unheard.
    pub(super) fn check_links(&mut self, actions: &mut Vec<Action>) {
        let observed = self.clock.observed();
        let is_due = |record: &Record| {
            record.state == State::Alive && (observed.since(record.heard_at) >= DOUBT || observed >= record.ping_at)
        };
        let due: Vec<NodeName> =
            self.members.iter().filter(|(_, record)| is_due(record)).map(|(name, _)| name.clone()).collect();
        // Rounds begin where the last one ended, so that the budget is shared fairly.
        let start = due.partition_point(|name| self.link_cursor.as_ref().is_some_and(|cursor| name <= cursor));
        let (before, after) = due.split_at(start);
        for name in after.iter().chain(before).take(PINGS_PER_TICK) {
            self.ping(name, actions);
            self.link_cursor = Some(name.clone());
        }
        self.report_unheard(actions);
    }

    fn ping(&mut self, name: &NodeName, actions: &mut Vec<Action>) {
        let (nonce, jitter) = (self.random.next(), self.random.below(1000));
        let (sent_at, observed) = (self.clock.now(), self.clock.observed());
        let Some(record) = self.members.get_mut(name) else { return };
        record.ping = Some(Ping { nonce, sent_at });
        record.unanswered = record.unanswered.saturating_add(1);
        // Half to one and a half of the interval.
        record.ping_at = observed.plus(PING_EVERY / 2 + PING_EVERY * jitter as u32 / 1000);
        actions.push(Action::Send { to: name.clone(), message: Message::Ping { nonce, suspected: false } });
    }

    fn report_unheard(&mut self, actions: &mut Vec<Action>) {
        let observed = self.clock.observed();
        let patience = self.options.silence;
        for (name, record) in &mut self.members {
            let is_progressing = record.state == State::Alive && record.silence(observed) < patience;
            let is_unheard =
                observed.since(record.heard_at) >= FAULT_AFTER && record.unanswered >= UNANSWERED_MIN && is_progressing;
            if is_unheard && !record.is_unheard {
                record.is_unheard = true;
                let fault = LinkFault { from: name.clone(), to: self.me.clone() };
                actions.push(Action::Event(Event::LinkFault(fault)));
            }
        }
    }

    /// Something came straight from `name`.
    pub(super) fn hear(&mut self, name: &NodeName, actions: &mut Vec<Action>) {
        let observed = self.clock.observed();
        let Some(record) = self.members.get_mut(name) else { return };
        record.heard_at = observed;
        record.unanswered = 0;
        if std::mem::take(&mut record.is_unheard) {
            let link = LinkFault { from: name.clone(), to: self.me.clone() };
            actions.push(Action::Event(Event::LinkRepaired(link)));
        }
    }

    /// RFC 6298 §2: seven eighths of the old value, one eighth of the new.
    pub(super) fn measure_round_trip(&mut self, name: &NodeName, nonce: u64) {
        let now = self.clock.now();
        let Some(record) = self.members.get_mut(name) else { return };
        if let Some(ping) = record.ping.take_if(|ping| ping.nonce == nonce) {
            let sample = now.since(ping.sent_at);
            record.rtt = Some(record.rtt.map_or(sample, |old| (old * 7 + sample) / 8));
        }
    }
}
