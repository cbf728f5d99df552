//! Heartbeats of instances, and callers that select.

use std::time::Duration;

use rollcall_catalog::Instance;
use rollcall_health::Slot;
use rollcall_health::lease::Grant;
use rollcall_types::{Revision, ServiceName};

use super::client::{Kind, Owned, SERVICES};
use super::health::tenancy_of;
use super::schedule::SECOND;
use super::{Cluster, Next, Planted, micros};
use crate::world::mono;

/// How long an instance waits for the answer to a heartbeat before it goes to another node.
const PATIENCE: u64 = 300_000;
/// Between two selections.
const SELECT: u64 = 50_000;
/// Heartbeats that are remembered of an instance.
const HEARD_MAX: usize = 64;

/// A heartbeat that a node took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) at: u64,
    pub(super) node: usize,
    pub(super) created: Revision,
}

/// Whether an instance answers no probes now.
pub(super) fn fails(owned: &[Owned], instance: &Instance, now: u64) -> bool {
    let of = owned.iter().find(|it| it.id == instance.id && it.service == instance.service);
    of.is_some_and(|it| it.fails_from.is_some_and(|from| from <= now))
}

impl Cluster {
    /// An instance sends a heartbeat, if it has to.
    pub(super) fn beat(&mut self, instance: usize) {
        let now = self.now();
        let own = &mut self.owned[instance];
        if !matches!(own.kind, Kind::Lease(_)) || own.fails_from.is_some_and(|from| from <= now) {
            return;
        }
        if own.state.is_none() {
            self.queue.push(now + SECOND / 2, Next::Beat { instance });
            return;
        }
        own.beat += 1;
        let (beat, to) = (own.beat, own.node);
        self.queue.push(now + PATIENCE, Next::BeatLate { instance, beat });
        if let Some(at) = self.arrives() {
            self.queue.push(at, Next::BeatArrives { to, instance, beat });
        }
    }

    pub(super) fn beat_arrives(&mut self, to: usize, instance: usize, beat: u64) {
        let (now, own) = (self.now(), &self.owned[instance]);
        let node = &mut self.nodes[to];
        let found = node.catalog.instance(&own.service, &own.id).cloned();
        let granted = found.as_ref().and_then(|it| Some((Slot::new(it.slot)?, it.spec.lease?.ttl.duration(), it)));
        let Some((slot, ttl, found)) = granted else { return self.answer_beat(instance, beat, None) };
        let ttl = if self.options.planted == Some(Planted::EarlyExpiry) { ttl / 4 } else { ttl };
        let grant = Grant { tenancy: tenancy_of(found), ttl };
        let renewal = node.health.renew(slot, Some(grant), mono(now));
        self.figures.heartbeats += 1;
        let heard = &mut self.heard[instance];
        heard.push(Heard { at: now, node: to, created: found.created });
        if heard.len() > HEARD_MAX {
            heard.remove(0);
        }
        self.trace.add(now, &[12, to as u64, instance as u64], || format!("n{to} hears i{instance}"));
        self.answer_beat(instance, beat, renewal.ok().map(|renewal| renewal.next_heartbeat));
    }

    fn answer_beat(&mut self, instance: usize, beat: u64, next: Option<Duration>) {
        if let Some(at) = self.arrives() {
            self.queue.push(at, Next::BeatAnswered { instance, beat, next: next.map(micros) });
        }
    }

    pub(super) fn beat_answered(&mut self, instance: usize, beat: u64, next: Option<u64>) {
        if self.owned[instance].beat != beat {
            return;
        }
        // What is planted must not make instances send more often.
        let Kind::Lease(ttl) = self.owned[instance].kind else { return };
        let asked = if self.options.planted.is_some() { next.map(|_| ttl * 1_000 / 3) } else { next };
        // Some wait for as long as they may, and go from node to node.
        let waits = instance.is_multiple_of(4);
        let next = if waits { asked.map(|_| ttl * 1_000 - SECOND / 25) } else { asked };
        self.owned[instance].beat += 1;
        if next.is_none() || self.dice.chance(if waits { 0.5 } else { 0.1 }) {
            self.owned[instance].node = self.any_node();
        }
        self.queue.push(self.now() + next.unwrap_or(PATIENCE), Next::Beat { instance });
    }

    /// Nobody answered in time, so the instance goes to another node.
    pub(super) fn beat_late(&mut self, instance: usize, beat: u64) {
        if self.owned[instance].beat == beat {
            self.owned[instance].node = self.any_node();
            self.beat(instance);
        }
    }

    /// Somebody selects an instance at some node.
    pub(super) fn select(&mut self) {
        let now = self.now();
        self.queue.push(now + self.dice.below(2 * SELECT), Next::Select);
        let node = self.any_node();
        let service = SERVICES[self.dice.below(SERVICES.len() as u64) as usize];
        if let Ok(service) = ServiceName::try_from(service)
            && self.world.is_running(node)
        {
            self.select_at(node, &service);
        }
    }

    /// Selects at a node, and looks whether that is right. Whether somebody was picked.
    pub(super) fn select_at(&mut self, node: usize, service: &ServiceName) -> bool {
        let (now, asked) = (self.now(), &mut self.nodes[node]);
        let picked = asked.selector.select(&asked.catalog, &asked.health, service);
        self.figures.selections += 1;
        match picked {
            Ok(picked) => {
                let created = picked.instance.created.get();
                self.trace.add(now, &[13, node as u64, created], || format!("n{node} picks {}", picked.instance.id));
                self.judge_pick(node, &picked.instance);
                true
            }
            Err(refusal) => {
                self.trace.add(now, &[14, node as u64], || format!("n{node} picks nobody of {service}: {refusal}"));
                false
            }
        }
    }
}
