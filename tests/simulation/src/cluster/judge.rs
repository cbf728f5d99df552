//! What must hold, while a cluster lives and when all is healed.

use rollcall_catalog::{Applied, Instance};
use rollcall_health::Status;
use rollcall_health::assignment::RETURN_AFTER;
use rollcall_health::check::STARTUP_MAX;
use rollcall_health::detector::State;
use rollcall_health::lease::HEARSAY;
use rollcall_types::{KvKey, Lifecycle, ServiceName};

use super::beats::Heard;
use super::client::{Kind, SERVICES, SHARED, count_of};
use super::health::instances;
use super::schedule::{SECOND, Schedule};
use super::{Cluster, Next, micros};

/// Between two looks at everything.
const SWEEP: u64 = SECOND / 5;
/// Time after a change of the network by when members, views and duties have followed.
const SETTLE: u64 = 5 * SECOND;
/// How long a write may take in a healthy cluster.
const WRITE: u64 = 4 * SECOND;
/// Longest time to live of a lease here.
const TTL_MAX: u64 = 8 * SECOND;
/// A healed cluster holds its living members for alive by then.
const ALIVE: u64 = 5 * SECOND;
/// It agrees on who looks by then: a node that was dropped shares the work again after [`RETURN_AFTER`].
const AGREED: u64 = ALIVE + micros(RETURN_AFTER) + SECOND;
/// A member that flaps is given at most sixteen times the patience, and three times that with one witness.
const DEAD: u64 = 3 * 16 * SECOND + 5 * SECOND;
/// A node's whole catalogue is compared with that of others once in so many revisions.
const COMPARED: u64 = 16;

/// Which nodes reach each other, and since when.
#[derive(Debug)]
pub(super) struct Components {
    /// Of each node the nodes that it reaches in both directions, in their generations, itself among them.
    reached: Vec<Vec<(usize, u64)>>,
    since: Vec<u64>,
}

impl Components {
    pub(super) fn new(nodes: usize) -> Self {
        Self { reached: vec![Vec::new(); nodes], since: vec![0; nodes] }
    }

    fn holds(&self, node: usize, other: usize) -> bool {
        self.reached[node].iter().any(|(reached, _)| *reached == other)
    }
}

/// How long after the heal the last bound ends.
pub(super) fn longest_bound(schedule: &Schedule) -> u64 {
    let has_dead = schedule.faults.iter().any(|planned| planned.until.is_none());
    (AGREED + silent_bound()).max(if has_dead { DEAD } else { 0 }) + SECOND
}

/// How long after its last heartbeat a silent instance is critical everywhere, in a healed cluster that agrees on who looks: the
/// documented time of grace (a time to live and [`HEARSAY`]), begun anew by who came to look last.
fn silent_bound() -> u64 {
    SETTLE + TTL_MAX + micros(HEARSAY) + 2 * SECOND
}

impl Cluster {
    /// Nodes that applied the same entry gave the same answer, and at times are compared as a whole.
    pub(super) fn judge_applied(&mut self, node: usize, revision: u64, applied: &Applied) {
        let expected = self.log.at(revision).1;
        if expected != applied {
            let what = format!("n{node} answers {revision} with {applied:?}, others with {expected:?}");
            return self.violate("nodes at the same revision hold the same", what);
        }
        if revision % COMPARED == node as u64 {
            self.judge_catalog(node);
        }
    }

    /// A node holds what all hold that are as far.
    pub(super) fn judge_catalog(&mut self, node: usize) {
        let catalog = &self.nodes[node].catalog;
        let revision = catalog.revision().get();
        if revision > 0 && self.log.at(revision).2 != catalog {
            self.violate("nodes at the same revision hold the same", format!("n{node} does not at {revision}"));
        }
        if revision == self.log.end()
            && let Some(wrong) = self.reference.difference(&self.nodes[node].catalog)
        {
            self.violate("the catalogue says what was written", format!("n{node} at {revision}: {wrong}"));
        }
    }

    /// Whom a node picks is registered, in service, and not failing, as that node sees it.
    pub(super) fn judge_pick(&mut self, node: usize, picked: &Instance) {
        let (catalog, health) = (&self.nodes[node].catalog, &self.nodes[node].health);
        let revision = catalog.revision().get();
        let wrong = match catalog.instance(&picked.service, &picked.id) {
            _ if self.reference.removed_at(picked.created).is_some_and(|at| at <= revision) => "removed".to_owned(),
            None => "not registered".to_owned(),
            Some(present) if present.created != picked.created => "another one by now".to_owned(),
            Some(present) if present.lifecycle != Lifecycle::Active => "draining".to_owned(),
            Some(present) => match health.agreed(present).status {
                status @ (Status::Critical | Status::Starting) => status.as_str().to_owned(),
                _ => return,
            },
        };
        let what = format!("n{node} at {revision} picks {}/{}, which is {wrong}", picked.service, picked.id);
        self.violate("who is picked may be picked", what);
    }

    /// Looks who reaches whom. To be called at every change.
    pub(super) fn look_at_components(&mut self) {
        let now = self.now();
        for node in 0..self.nodes.len() {
            let reached = self.reached_from(node);
            if self.components.reached[node] != reached {
                self.components.reached[node] = reached;
                self.components.since[node] = now;
            }
        }
    }

    fn reached_from(&self, node: usize) -> Vec<(usize, u64)> {
        let mut reached: Vec<usize> =
            (0..self.nodes.len()).filter(|it| *it == node && self.world.is_running(*it)).collect();
        let mut next = 0;
        while let Some(from) = reached.get(next).copied() {
            let more = (0..self.nodes.len())
                .filter(|to| self.world.is_running(*to) && self.is_linked(from, *to) && !reached.contains(to));
            let more: Vec<usize> = more.collect();
            reached.extend(more);
            next += 1;
        }
        reached.sort_unstable();
        reached.into_iter().map(|node| (node, self.world.generation(node))).collect()
    }

    /// Looks at everything.
    pub(super) fn sweep(&mut self) {
        let now = self.now();
        self.queue.push(now + SWEEP, Next::Sweep);
        self.look_at_components();
        self.look_at_lookers();
        for node in 0..self.nodes.len() {
            if self.world.is_running(node) && now >= self.components.since[node] + SETTLE {
                self.judge_statuses(node);
            }
        }
        if now > self.schedule.heal_at + ALIVE {
            self.judge_members();
        }
        let healthy_from = self.schedule.heal_at + SETTLE;
        let late = self.clients.iter().filter_map(|client| client.pending.as_ref());
        let late =
            late.filter(|pending| now > pending.began.max(healthy_from) + WRITE).map(|it| it.request.to_string());
        if let Some(late) = late.into_iter().next() {
            self.violate("a healed cluster serves", format!("`{late}` is not answered"));
        }
    }

    /// Looks whether all agree on who looks at instances.
    fn look_at_lookers(&mut self) {
        let now = self.now();
        let running = || self.nodes.iter().enumerate().filter(|(node, _)| self.world.is_running(*node));
        let lookers = running().next().map(|(_, node)| node.health.lookers().to_vec()).unwrap_or_default();
        let is_agreed = running().all(|(_, node)| node.health.lookers() == lookers);
        if !is_agreed || lookers != self.lookers {
            self.lookers_since = now;
        }
        self.lookers = lookers;
        if !is_agreed && now > self.schedule.heal_at + AGREED {
            self.violate("a healed cluster agrees on who looks at instances", format!("{:?}, say some", self.lookers));
        }
    }

    /// Nobody holds an instance for critical that is well, nor for anything else, once healed, that is silent.
    fn judge_statuses(&mut self, node: usize) {
        let held: Vec<_> = instances(&self.nodes[node].catalog).cloned().collect();
        for instance in held {
            let Some(index) = self.position(&instance) else { continue };
            let status = self.nodes[node].health.agreed(&instance).status;
            self.figures.judged += 1;
            let name = || format!("n{node} holds {}/{} for {status}", instance.service, instance.id);
            if status == Status::Critical && self.is_well(node, index, &instance) {
                let what = format!("{}, which is well: {}", name(), self.nodes[node].health.describe(&instance));
                return self.violate("an instance whose heartbeats arrive is not critical", what);
            }
            if !matches!(status, Status::Critical | Status::Starting) && self.is_long_silent(index, &instance) {
                let what = format!("{}, which is silent: {}", name(), self.nodes[node].health.describe(&instance));
                return self.violate("a silent instance is critical on all nodes in time", what);
            }
        }
    }

    /// Whether an instance is well as everybody must know whom `node` reaches.
    fn is_well(&self, node: usize, index: usize, instance: &Instance) -> bool {
        let (now, own) = (self.now(), &self.owned[index]);
        // Others may know already that it was removed, and look at it no more.
        if self.reference.removed_at(instance.created).is_some() {
            return false;
        }
        match own.kind {
            Kind::Unchecked => true,
            Kind::Probed => own.fails_from.is_none_or(|from| now < from),
            Kind::Lease(ttl) => {
                let in_time = ttl * 1_000;
                let since = self.components.since[node];
                let counts = |it: &&Heard| {
                    it.created == instance.created && it.at >= since && self.components.holds(node, it.node)
                };
                // Back through all heartbeats that came in time, one after the other.
                let mut first = now;
                for heard in self.heard[index].iter().rev().filter(counts) {
                    if first - heard.at > in_time {
                        break;
                    }
                    first = heard.at;
                }
                now - first >= SETTLE
            }
        }
    }

    /// Whether an instance failed so long ago, in a healed cluster, that all must know.
    fn is_long_silent(&self, index: usize, instance: &Instance) -> bool {
        let own = &self.owned[index];
        // Some of those who probe may hold it for starting, and that is no verdict.
        let starts_for = match own.kind {
            Kind::Unchecked => return false,
            Kind::Lease(_) => 0,
            Kind::Probed => micros(STARTUP_MAX),
        };
        let Some(failed) = own.fails_from else { return false };
        let heard = self.heard[index].iter().rev().find(|it| it.created == instance.created).map_or(0, |it| it.at);
        // By the wall clock of some node, which may be ahead.
        let registered = instance.registered_at.get().saturating_sub(super::WALL) * 1_000;
        // Before, one that looked and does not any more may be counted by some, and its last word holds for half a minute.
        let from = self.schedule.heal_at.max(self.lookers_since).max(failed).max(heard).max(registered + starts_for);
        self.now() > from + silent_bound()
    }

    /// Whoever lives is alive for all, and whoever does not is dead.
    fn judge_members(&mut self) {
        let now = self.now();
        let all = 0..self.nodes.len();
        for observer in all.clone().filter(|node| self.world.is_running(*node)) {
            for member in all.clone().filter(|member| *member != observer) {
                let state = self.world.state(observer, member);
                let is_down = self.schedule.is_down(member, now);
                let is_right = match is_down {
                    false => state == Some(State::Alive),
                    // One that was never heard of is not known.
                    true => now <= self.schedule.heal_at + DEAD || matches!(state, Some(State::Dead) | None),
                };
                if !is_right {
                    let is = if is_down { "down" } else { "up" };
                    let what = format!("n{observer} holds n{member} for {state:?}, which is {is}");
                    return self.violate("members are held for what they are", what);
                }
            }
        }
    }

    /// What must hold when everything is over.
    pub(super) fn judge_end(&mut self) {
        for node in (0..self.nodes.len()).filter(|node| self.world.is_running(*node)).collect::<Vec<_>>() {
            if self.nodes[node].revision() != self.log.end() {
                let what = format!("n{node} is at {}, the log at {}", self.nodes[node].revision(), self.log.end());
                return self.violate("a healed cluster serves", what);
            }
            self.judge_catalog(node);
            self.judge_service(node);
            self.judge_journal(node);
        }
        self.judge_writes();
    }

    /// A node picks somebody where somebody can be picked.
    fn judge_service(&mut self, node: usize) {
        for service in SERVICES {
            let Ok(name) = ServiceName::try_from(service) else { continue };
            let present = self.nodes[node].catalog.service(&name).cloned();
            let is_fit = |instance: &Instance| {
                instance.lifecycle == Lifecycle::Active
                    && self.position(instance).is_some_and(|it| self.is_well(node, it, instance))
            };
            let is_served = present.iter().flat_map(|it| it.instances.values()).any(|it| is_fit(it));
            if is_served && !self.select_at(node, &name) {
                return self.violate("a healed cluster serves", format!("n{node} picks nobody of {service}"));
            }
        }
    }

    /// The journal says of each instance what is agreed on.
    fn judge_journal(&mut self, node: usize) {
        let catalog = &self.nodes[node].catalog;
        let wrong = instances(catalog).find(|instance| {
            let Some(index) = self.position(instance) else { return false };
            let is_critical = catalog.journaled(instance).status == Status::Critical;
            let is_watched = self.owned[index].kind != Kind::Unchecked;
            is_watched
                && match is_critical {
                    true => self.is_well(node, index, instance),
                    false => self.is_long_silent(index, instance),
                }
        });
        let wrong = wrong.map(|it| format!("n{node}: {}/{} is {}", it.service, it.id, catalog.journaled(it).status));
        if let Some(wrong) = wrong {
            self.violate("the journal follows what is agreed on", wrong);
        }
    }

    /// Which of the instances of clients one is.
    fn position(&self, instance: &Instance) -> Option<usize> {
        self.owned.iter().position(|it| it.service == instance.service && it.id == instance.id)
    }

    /// What clients were told is what is there.
    fn judge_writes(&mut self) {
        let mut wrong = Vec::new();
        for own in &self.owned {
            let present = self.reference.registered(&(own.service.clone(), own.id.clone()));
            let present = present.map(|it| (it.weight, it.is_draining));
            if present != own.state {
                wrong.push(format!(
                    "{}/{} is {present:?}, and its client was told {:?}",
                    own.service, own.id, own.state
                ));
            }
        }
        for client in &self.clients {
            let document = self.reference.document(&client.service).map_or(0, |(_, version)| version);
            if (self.reference.value(&client.key), document) != (client.value.as_ref(), client.documents) {
                wrong.push(format!("{} was written {document} times, and {:?}", client.service, client.documents));
            }
        }
        let counted: u64 = self.clients.iter().map(|client| client.counted).sum();
        let shared = KvKey::try_from(SHARED).ok().and_then(|key| self.reference.value(&key)).map_or(0, count_of);
        if counted != shared {
            wrong.push(format!("counted up {counted} times, and it says {shared}"));
        }
        if let Some(first) = wrong.into_iter().next() {
            self.violate("what was acknowledged stays, and what was asked twice happens once", first);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_run_lasts_as_long_as_its_longest_bound() {
        assert!(Duration::from_micros(longest_bound(&Schedule::default())) >= Duration::from_secs(50));
    }
}
