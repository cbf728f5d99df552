//! The health of instances at one node: what the shell does with leases, duties, records, digests and agreement.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollcall_catalog::{Catalog, Instance};
use rollcall_health::agreement::{Agreed, agree};
use rollcall_health::assignment::{Candidate, Roster, Watch, probers_for};
use rollcall_health::check::{Answer, Failure, Outcome};
use rollcall_health::lease::{Grant, LeaseTable, Renewal, UnknownLease};
use rollcall_health::{
    ChunkId, Digest, Freshness, HealthView, Observer, Publication, Publisher, Reading, RunClock, Slot, Status, Tenancy,
};
use rollcall_types::{MonoTime, NodeName};

use super::tracked::{Begun, Duty, Tracked};
use crate::dice::Dice;
use crate::gossip::Digests;

/// Longest wait of a node that started for the members it has not heard of, as in the shell.
const GATHER: Duration = Duration::from_secs(3);

/// The members as one node sees them.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// Who is fit to look, this node among them.
    pub(crate) fit: Vec<Candidate>,
    /// How many there are.
    pub(crate) all: usize,
    /// This node takes itself for cut off.
    pub(crate) is_isolated: bool,
}

/// The health of instances at one node.
#[derive(Debug)]
pub(crate) struct Health {
    me: Observer,
    /// The wall clock when time began, in milliseconds.
    epoch: u64,
    started: MonoTime,
    has_begun: bool,
    clock: RunClock,
    dice: Dice,
    /// The leases whose heartbeats arrive here.
    table: LeaseTable,
    heard: Publisher,
    seen: Publisher,
    sightings: HealthView,
    vouchers: HealthView,
    roster: Roster,
    watch: Watch,
    tenants: BTreeMap<Slot, Arc<Instance>>,
    tracked: BTreeMap<Slot, Tracked>,
    digests: Digests,
    version: u64,
    /// Of each member, the generation and version that were taken in last.
    received: BTreeMap<NodeName, (u64, u64)>,
    /// What was said of each member last.
    marked: BTreeMap<NodeName, (u64, Freshness)>,
}

impl Health {
    /// Of a node that starts now, whose wall clock was at `epoch` when time began.
    pub(crate) fn new(me: NodeName, generation: u64, epoch: u64, now: MonoTime, dice: Dice) -> Self {
        let me = Observer { name: me, generation };
        let mut health = Self {
            epoch,
            started: now,
            has_begun: false,
            clock: RunClock::new(now),
            dice,
            table: LeaseTable::new(),
            heard: Publisher::new(),
            seen: Publisher::new(),
            sightings: HealthView::new(),
            vouchers: HealthView::new(),
            roster: Roster::new(),
            watch: Watch::default(),
            tenants: BTreeMap::new(),
            tracked: BTreeMap::new(),
            digests: Digests::default(),
            version: 0,
            received: BTreeMap::new(),
            marked: BTreeMap::new(),
            me: me.clone(),
        };
        health.mark(&me, Freshness::Fresh);
        health
    }

    /// Whether the evidence of a member counts.
    pub(crate) fn mark(&mut self, observer: &Observer, freshness: Freshness) {
        if self.marked.get(&observer.name) == Some(&(observer.generation, freshness)) {
            return;
        }
        self.marked.insert(observer.name.clone(), (observer.generation, freshness));
        // There are never too many observers here.
        let _ = self.sightings.mark_observer(observer, freshness);
        let _ = self.vouchers.mark_observer(observer, freshness);
    }

    /// Takes in what a member tells, if it is news.
    pub(crate) fn receive(
        &mut self,
        member: &NodeName,
        (generation, version): (u64, u64),
        told: &Digests,
        now: MonoTime,
    ) {
        if self.received.get(member) == Some(&(generation, version)) || *member == self.me.name {
            return;
        }
        self.received.insert(member.clone(), (generation, version));
        take_in(&mut self.sightings, &Observer { name: member.clone(), generation }, version, &told.health, now);
        take_in(&mut self.vouchers, &Observer { name: member.clone(), generation }, version, &told.leases, now);
    }

    /// A heartbeat of an instance arrives; `granted` is what is registered of it here.
    pub(crate) fn renew(&mut self, slot: Slot, granted: Option<Grant>, now: MonoTime) -> Result<Renewal, UnknownLease> {
        let at = self.clock.read(now);
        let renewal = self.table.renew(slot, granted, at, self.dice.roll())?;
        if let Some(Grant { tenancy, .. }) = granted.filter(|_| renewal.is_new) {
            let observation = rollcall_health::Observation::of(Status::Passing);
            self.heard.observe(slot, tenancy, observation, Duration::MAX, now);
        }
        Ok(renewal)
    }

    /// Takes in what is registered.
    pub(crate) fn follow(&mut self, catalog: &Catalog, now: MonoTime) {
        let present: BTreeMap<Slot, Arc<Instance>> =
            instances(catalog).filter_map(|instance| Some((Slot::new(instance.slot)?, instance.clone()))).collect();
        let before = std::mem::replace(&mut self.tenants, present);
        for (slot, old) in before {
            let is_same = self.tenants.get(&slot).is_some_and(|new| tenancy_of(new) == tenancy_of(&old));
            if !is_same {
                self.tracked.remove(&slot);
                self.seen.withdraw(slot, tenancy_of(&old), now);
                if self.table.tenancy(slot) == Some(tenancy_of(&old)) {
                    self.table.revoke(slot);
                    self.heard.withdraw(slot, tenancy_of(&old), now);
                }
            }
        }
        self.take_up(catalog, now);
    }

    /// Lets time pass; `passes` says how an instance answers a probe. Returns what to tell, if that is news.
    pub(crate) fn tick(
        &mut self,
        catalog: &Catalog,
        members: &Members,
        forgets_leases: bool,
        passes: impl Fn(&Instance) -> bool,
        now: MonoTime,
    ) -> Option<Digests> {
        let at = self.clock.tick(now);
        if !forgets_leases {
            for lost in self.table.tick(at) {
                self.heard.withdraw(lost.slot, lost.tenancy, now);
            }
        }
        self.follow_members(members, now);
        self.take_up(catalog, now);
        self.look(at, passes);
        self.publish(now)
    }

    /// What all observers make of an instance, as this node sees it.
    pub(crate) fn agreed(&self, instance: &Instance) -> Agreed {
        let watch = is_watched(instance).then_some(&self.watch);
        match Slot::new(instance.slot) {
            Some(slot) => agree(watch, self.sightings.sightings(slot, tenancy_of(instance))),
            None => agree(watch, []),
        }
    }

    /// Who looks at instances, as this node sees it.
    pub(crate) fn lookers(&self) -> &[NodeName] {
        self.watch.lookers()
    }

    /// What is seen of an instance here, in words.
    pub(crate) fn describe(&self, instance: &Instance) -> String {
        let Some(slot) = Slot::new(instance.slot) else { return String::new() };
        let said = self.sightings.sightings(slot, tenancy_of(instance));
        let said: Vec<String> =
            said.map(|it| format!("{} says {} ({:?})", it.observer, it.said, it.freshness)).collect();
        let heard = self.vouchers.sightings(slot, tenancy_of(instance));
        let heard: Vec<String> = heard.map(|it| format!("{} ({:?})", it.observer, it.freshness)).collect();
        let cause = self.agreed(instance).cause;
        format!("{cause:?} by {:?}: {}; heard by {}", self.watch.lookers(), said.join(", "), heard.join(", "))
    }

    fn follow_members(&mut self, members: &Members, now: MonoTime) {
        if !self.has_begun && members.fit.len() < members.all && now.since(self.started) < GATHER {
            return;
        }
        self.has_begun = true;
        if !members.is_isolated && self.roster.update(&self.me.name, &members.fit, now) {
            self.watch = self.roster.watch(first_chunk(), probers_for(self.tenants.len()));
        }
    }

    fn duty(&self) -> Duty {
        match () {
            () if self.watch.is_prober(&self.me.name) => Duty::Probe,
            () if self.watch.lookers().contains(&self.me.name) => Duty::Confirm,
            () => Duty::Idle,
        }
    }

    /// Looks at what it has to, and away from the rest.
    fn take_up(&mut self, catalog: &Catalog, now: MonoTime) {
        let duty = self.duty();
        let tenants = std::mem::take(&mut self.tenants);
        for (slot, instance) in tenants.iter().filter(|(_, instance)| is_watched(instance)) {
            let doubts = duty == Duty::Confirm && self.is_doubted(*slot, instance);
            let is_wanted = match (duty, self.tracked.get_mut(slot)) {
                (Duty::Probe, Some(tracked)) => !tracked.adopt(instance, duty),
                (Duty::Probe, None) => true,
                (Duty::Confirm, Some(tracked)) if tracked.duty == Duty::Confirm => {
                    tracked.heed(doubts, now);
                    false
                }
                (Duty::Confirm, None) => doubts,
                (Duty::Confirm | Duty::Idle, Some(tracked)) => {
                    tracked.say_last(*slot, &mut self.seen, now);
                    self.tracked.remove(slot);
                    false
                }
                (Duty::Idle, None) => false,
            };
            if is_wanted {
                let agreed = self.agreed(instance).status;
                let journaled = catalog.journaled(instance).status;
                let known = if agreed == Status::Critical { agreed } else { journaled };
                let is_new = [agreed, journaled].iter().all(|status| *status <= Status::Starting);
                let wall = Duration::from_millis(self.epoch) + now.since(MonoTime::default());
                let age = wall.saturating_sub(Duration::from_millis(instance.registered_at.get()));
                let begun = Begun { known, is_new, age };
                let at = self.clock.read(now);
                self.tracked.insert(*slot, Tracked::new(instance, duty, begun, at, &mut self.dice));
            }
        }
        self.tenants = tenants;
    }

    /// Whether another looker sees an instance failing.
    fn is_doubted(&self, slot: Slot, instance: &Instance) -> bool {
        self.sightings.sightings(slot, tenancy_of(instance)).any(|sighting| {
            sighting.freshness == Freshness::Fresh
                && *sighting.observer != self.me.name
                && self.watch.lookers().contains(sighting.observer)
                && sighting.said == Status::Critical
        })
    }

    fn look(&mut self, at: Reading, passes: impl Fn(&Instance) -> bool) {
        let mut calm = Vec::new();
        for (slot, tracked) in &mut self.tracked {
            tracked.look_at_lease(*slot, &self.vouchers, at);
            let answer = match passes(&tracked.instance) {
                true => Answer::Passed,
                false => Answer::Failed(Failure::Refused),
            };
            tracked.probe(Outcome { answer, latency: Duration::from_millis(1) }, at.now, &mut self.dice);
            if tracked.is_calm(at.now) {
                calm.push(*slot);
            } else {
                tracked.say(*slot, &mut self.seen, at.now);
            }
        }
        for slot in calm {
            if let Some(tracked) = self.tracked.remove(&slot) {
                self.seen.withdraw(slot, tenancy_of(&tracked.instance), at.now);
            }
        }
    }

    fn publish(&mut self, now: MonoTime) -> Option<Digests> {
        let (seen, heard) = (self.seen.tick(now), self.heard.tick(now));
        if seen.is_empty() && heard.is_empty() {
            return None;
        }
        // There is one chunk, so there is one publication at most.
        seen.into_iter().for_each(|publication| self.digests.health = text_of(publication));
        heard.into_iter().for_each(|publication| self.digests.leases = text_of(publication));
        self.version += 1;
        take_in(&mut self.sightings, &self.me, self.version, &self.digests.health, now);
        take_in(&mut self.vouchers, &self.me, self.version, &self.digests.leases, now);
        Some(self.digests.clone())
    }
}

/// All instances of a catalogue.
pub(crate) fn instances(catalog: &Catalog) -> impl Iterator<Item = &Arc<Instance>> {
    catalog.services().flat_map(|service| service.instances.values())
}

/// Which of the tenants of its slot an instance is.
pub(crate) fn tenancy_of(instance: &Instance) -> Tenancy {
    Tenancy::began_at(instance.created)
}

/// Whether anybody looks at an instance.
pub(crate) fn is_watched(instance: &Instance) -> bool {
    !instance.spec.checks.is_empty() || instance.spec.lease.is_some()
}

/// The chunk of all instances here.
fn first_chunk() -> ChunkId {
    ChunkId::new(0).expect("there is a first chunk")
}

fn text_of(publication: Publication) -> Option<String> {
    match publication {
        Publication::Put { digest, .. } => Some(digest.encode()),
        Publication::Delete { .. } => None,
    }
}

fn take_in(view: &mut HealthView, observer: &Observer, version: u64, text: &Option<String>, now: MonoTime) {
    debug_assert!(text.as_deref().is_none_or(|text| Digest::decode(text).is_ok()), "what was encoded is decoded");
    // There are never too many observers or digests here.
    let _ = view.receive(observer.clone(), first_chunk(), version, text.as_deref(), now);
}
