//! What has been critical for so long that it is deregistered, and whether enough nodes agree.
//!
//! [`decide`] has the rules. Here are the numbers that it asks for: how many of the service and of the nodes failed at once,
//! and what every living node makes of the instance when it is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rollcall_api::{InstanceHealth, State, paths};
use rollcall_catalog::{Catalog, Instance, Service};
use rollcall_gossip::{MembershipView, State as MemberState};
use rollcall_health::Slot;
use rollcall_health::journal::{AT_ONCE, Case, Census, Decision, Protection, Votes, decide};
use rollcall_raft::RaftStatus;
use rollcall_types::{MonoTime, NodeName, ServiceKey, UnixMillis};
use tracing::{info, warn};

use super::ask;
use super::slots::slot_of;
use super::view::HealthSnapshot;

/// Instances about which the others are asked in one round; the rest waits for the next.
const ASKED_MAX: usize = 32;
/// How long an instance is left alone after the nodes did not agree.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// How many members of the cluster are not alive.
pub(super) fn nodes(view: &MembershipView, status: &RaftStatus) -> Census {
    let members = status.voters.values().chain(status.learners.values());
    let is_down = |name: &NodeName| !matches!(view.state(name), Some(MemberState::Alive | MemberState::Suspect));
    members.fold(Census { failed: 0, total: 0 }, |census, peer| Census {
        failed: census.failed + usize::from(is_down(&peer.name)),
        total: census.total + 1,
    })
}

/// Since when the instances of a service are critical, in order: one count of those that failed at once is a search.
pub(crate) struct Failures {
    since: Vec<UnixMillis>,
    total: usize,
}

impl Failures {
    /// Those of a service. Looks at all of it.
    pub(crate) fn of(catalog: &Catalog, service: &Service) -> Self {
        let since = service.instances.values().filter_map(|instance| catalog.journaled(instance).critical_since);
        let mut since: Vec<_> = since.collect();
        since.sort_unstable();
        Self { since, total: service.instances.len() }
    }

    /// How many failed together with the one that is critical since `around`.
    fn around(&self, around: UnixMillis) -> Census {
        let first = UnixMillis::new(around.get().saturating_sub(AT_ONCE.get()));
        let from = self.since.partition_point(|since| *since < first);
        let to = self.since.partition_point(|since| *since <= around.plus(AT_ONCE));
        Census { failed: to - from, total: self.total }
    }
}

/// What keeps an instance from being deregistered that is due for it; `None` when nothing does, or it is not due. `failures` are
/// those of its service, and asked for only when it is due.
pub(crate) fn protection(
    (catalog, snapshot): (&Catalog, &HealthSnapshot),
    instance: &Instance,
    nodes: Census,
    failures: impl FnOnce(UnixMillis) -> Option<Census>,
    now: UnixMillis,
) -> Option<Protection> {
    match judge((catalog, snapshot), instance, nodes, failures, now) {
        Decision::Protected(protection) => Some(protection),
        _ => None,
    }
}

fn judge(
    (catalog, snapshot): (&Catalog, &HealthSnapshot),
    instance: &Instance,
    nodes: Census,
    failures: impl FnOnce(UnixMillis) -> Option<Census>,
    now: UnixMillis,
) -> Decision {
    let critical_since = catalog.journaled(instance).critical_since;
    let deregister_after = instance.spec.deregister_after;
    // Whoever changes its record, or decides on its life, has seen to it, and it may still be starting.
    let counted_since = critical_since.map(|since| since.max(instance.modified_at));
    // Most instances are not due, and are judged by this alone.
    let due = counted_since.zip(deregister_after).filter(|(since, after)| since.plus(*after) <= now);
    let service = due.and(critical_since).and_then(failures).unwrap_or(Census { failed: 0, total: 0 });
    let health = snapshot.of(catalog, instance);
    let case = Case { status: health.status, flap: health.flap, critical_since: counted_since, deregister_after };
    decide(case, service, nodes, None, now)
}

impl Failures {
    /// Those of the service of an instance around the moment when it failed, remembered in `kept` for the next of its service.
    pub(crate) fn at_once(
        kept: &mut Option<(ServiceKey, Self)>,
        catalog: &Catalog,
        instance: &Instance,
        around: UnixMillis,
    ) -> Option<Census> {
        let key = ServiceKey::from(&instance.service);
        if kept.as_ref().is_none_or(|(known, _)| *known != key) {
            *kept = Some((key, Self::of(catalog, catalog.service(&instance.service)?)));
        }
        kept.as_ref().map(|(_, failures)| failures.around(around))
    }
}

/// An instance that is to be deregistered, and why.
pub(super) struct Sentence {
    pub(super) instance: Arc<Instance>,
    pub(super) reason: String,
}

/// What one round came to.
#[derive(Default)]
pub(super) struct Round {
    /// Instances about which every living node is to be asked, with how long they have been critical.
    pub(super) asked: Vec<(Slot, Arc<Instance>, Duration)>,
    /// Services of which nothing is deregistered because too much failed at once.
    pub(super) protected: usize,
}

/// What the leader remembers between two rounds. Bounded by the instances that are critical.
#[derive(Default)]
pub(super) struct Reaper {
    not_before: BTreeMap<Slot, MonoTime>,
    protected: BTreeMap<ServiceKey, Protection>,
}

impl Reaper {
    /// Looks at all instances that are `critical` by agreement. `now` is the time of the log and the time here.
    pub(super) fn round(
        &mut self,
        catalog: &Catalog,
        snapshot: &HealthSnapshot,
        critical: &BTreeSet<Slot>,
        nodes: Census,
        (wall, now): (UnixMillis, MonoTime),
    ) -> Round {
        self.not_before.retain(|slot, at| critical.contains(slot) && *at > now);
        let (mut round, mut kept) = (Round::default(), None);
        let (mut protected, mut judged) = (BTreeMap::new(), BTreeSet::new());
        for slot in critical.iter().filter(|slot| !self.not_before.contains_key(slot)) {
            let tenant = snapshot.tenant(*slot).and_then(|it| catalog.instance(&it.service, &it.id));
            let Some(instance) = tenant.filter(|it| slot_of(it) == Some(*slot)) else { continue };
            let key = ServiceKey::from(&instance.service);
            // One instance is enough to know that a service is protected, and a judgement looks at the whole service.
            let is_full = round.asked.len() == ASKED_MAX;
            if protected.contains_key(&key) || (is_full && judged.contains(&key)) {
                continue;
            }
            judged.insert(key.clone());
            let failures = |since| Failures::at_once(&mut kept, catalog, instance, since);
            match judge((catalog, snapshot), instance, nodes, failures, wall) {
                Decision::Protected(protection) => {
                    protected.insert(key, protection);
                }
                Decision::Ask if !is_full => {
                    let since = catalog.journaled(instance).critical_since.unwrap_or(wall);
                    let spell = Duration::from_millis(wall.get().saturating_sub(since.get()));
                    round.asked.push((*slot, instance.clone(), spell));
                }
                _ => {}
            }
        }
        round.protected = protected.len();
        self.tell(protected);
        round
    }

    /// Asks every living node, and returns what a majority of them holds for critical.
    pub(super) async fn confirm(
        &mut self,
        (me, members, status): (&NodeName, &MembershipView, &RaftStatus),
        asked: Vec<(Slot, Arc<Instance>, Duration)>,
        now: MonoTime,
    ) -> Vec<Sentence> {
        let votes = join_all(asked.iter().map(|(_, instance, _)| votes(me, members, status, instance))).await;
        let mut sentences = Vec::new();
        for ((slot, instance, spell), votes) in asked.into_iter().zip(votes) {
            let Votes { agreeing, live } = votes;
            if votes.is_majority() {
                let seconds = spell.as_secs();
                let reason = format!("critical for {seconds} s, and {agreeing} of {live} living nodes agree");
                sentences.push(Sentence { instance, reason });
            } else {
                self.not_before.insert(slot, now.plus(ASK_AGAIN));
                info!(
                    service.name = %instance.service, instance.id = %instance.id,
                    "{}/{} is not deregistered: {agreeing} of {live} living nodes hold it for critical",
                    instance.service, instance.id
                );
            }
        }
        sentences
    }

    /// Says once what is protected, and once that it is over.
    fn tell(&mut self, protected: BTreeMap<ServiceKey, Protection>) {
        for (service, protection) in protected.iter().filter(|(service, _)| !self.protected.contains_key(*service)) {
            warn!(service.name = %service, "nothing of {service} is deregistered while {protection}");
        }
        for service in self.protected.keys().filter(|service| !protected.contains_key(*service)) {
            info!(service.name = %service, "{service} is not protected from deregistration any more");
        }
        self.protected = protected;
    }
}

/// What the living nodes hold of an instance, this node (which holds it for critical) among them.
async fn votes(me: &NodeName, members: &MembershipView, status: &RaftStatus, instance: &Instance) -> Votes {
    let path = format!("{}?from=self", paths::instance_health(&instance.service, &instance.id));
    let others = members.members.values().filter(|member| {
        let name = &member.health.name;
        member.health.state == MemberState::Alive && name != me && status.id_of(name).is_some()
    });
    let answers = others.map(|member| {
        let address = member.meta.as_ref().and_then(|meta| meta.http.clone());
        let path = &path;
        async move {
            match address {
                Some(address) => {
                    ask::<InstanceHealth>(&address, path).await.is_ok_and(|it| it.state == State::Critical)
                }
                None => false,
            }
        }
    });
    let answers = join_all(answers).await;
    let agreeing = answers.iter().filter(|agrees| **agrees).count();
    Votes { agreeing: agreeing + 1, live: answers.len() + 1 }
}

#[cfg(test)]
mod tests;
