//! The instances of a service, joined from all views and prepared for selection.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::HeaderValue;
use rollcall_catalog::{Catalog, Instance, Journaled, Service};
use rollcall_gossip::MembershipView;
use rollcall_health::Trend;
use rollcall_raft::planted::{Bug, is_planted};
use rollcall_routing::{Candidate, Forecast, RoundTrip, ServiceIndex, Tally};
use rollcall_types::{
    CapabilityName, Label, Lifecycle, Millis, Revision, SelectionPolicy, ServiceDefinition, ServiceKey, SortedSet,
    Status, UnixMillis,
};

use super::past::Past;
use super::policy::policy;
use super::reported::{Feedback, Reported};
use crate::health::{HealthSnapshot, InstanceHealth};

/// Instances, prepared.
///
/// Invariant: `instances` are in the order of the candidates of `index`.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What `resolve` reads.
    pub(crate) index: ServiceIndex,
    /// What its services say of how to choose, all of them the same.
    pub(crate) said: SelectionPolicy,
    /// Picks that no load report tells of yet.
    pub(crate) tally: Tally,
    instances: Box<[Arc<Instance>]>,
    /// What the journal said of them, in the order of `instances`, and the latest revision at which it said the same.
    journaled: Box<[Journaled]>,
    seen_at: AtomicU64,
    /// Whether nothing that an answer says of these instances changes by time alone.
    is_timeless: bool,
    /// By [`Listing`], the list as it was answered last.
    listings: [ArcSwapOption<Listed>; 2],
    /// What it was made from.
    services: Box<[Source]>,
    /// The health that it was made from, or a later one that says the same of these instances.
    health: ArcSwap<HealthSnapshot>,
}

/// Which instances a plain list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    /// All of them.
    All,
    /// Those that can take traffic.
    Healthy,
}

/// A list as it is answered at one revision; at another one, only what stands behind the items differs.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) revision: Revision,
    /// The whole body.
    pub(crate) body: Bytes,
    /// Where the items end in it.
    pub(crate) items_end: usize,
    /// The entity tag.
    pub(crate) tag: HeaderValue,
}

/// A service that it was made from, with the version of what was reported on it.
#[derive(Debug)]
struct Source {
    service: Arc<Service>,
    key: ServiceKey,
    feedback: u64,
}

/// What a node knows at one moment.
#[derive(Clone, Copy)]
pub(super) struct Views<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) health: &'a Arc<HealthSnapshot>,
    pub(super) feedback: &'a dyn Feedback,
    pub(super) members: &'a MembershipView,
}

impl Prepared {
    /// The instances of `services` as the `views` show them. The tally goes on where that of `before` was.
    pub(super) fn of(services: &[Arc<Service>], views: Views<'_>, before: Option<&Self>, now: UnixMillis) -> Self {
        let near = RoundTrips::of(views.members);
        // Before what is reported is read: what comes meanwhile is another version.
        let sources: Box<[Source]> = services.iter().map(|service| Source::of(service, views.feedback)).collect();
        let candidates = sources.iter().flat_map(|Source { service, key, .. }| {
            let near = &near;
            service.instances.values().map(move |instance| {
                let health = views.health.of(views.catalog, instance);
                let reported = views.feedback.of(key, &instance.id);
                candidate(key, service.definition.as_deref(), instance, health, reported, near, now)
            })
        });
        let (said, policy) = policy(services);
        let index = ServiceIndex::build(candidates.collect(), policy);
        let journal = |instance: &Instance| views.catalog.journaled(instance);
        let is_timeless = sources.iter().all(|Source { service, .. }| {
            service.instances.values().all(|instance| {
                let health = views.health.of(views.catalog, instance);
                is_timeless(instance, &health, journal(instance), service.definition.as_deref(), now)
            })
        });
        let made = Self::assembled(index, said, sources, journal, before, now);
        made.seen_at.store(views.catalog.revision().get(), Ordering::Relaxed);
        Self { health: ArcSwap::new(views.health.clone()), is_timeless, ..made }
    }

    /// The instances of a service as they were at `past`, by the journal.
    pub(super) fn of_past(past: &Past) -> Self {
        let key = ServiceKey::from(&past.service.name);
        let near = RoundTrips { by_address: HashMap::new(), from_zone: None };
        let candidates = past.service.instances.values().map(|instance| {
            let health = InstanceHealth::journaled(past.journaled(instance));
            let definition = past.service.definition.as_deref();
            candidate(&key, definition, instance, health, Reported::default(), &near, past.at)
        });
        let (said, policy) = policy(std::slice::from_ref(&past.service));
        let index = ServiceIndex::build(candidates.collect(), policy);
        let source = Source { service: past.service.clone(), key, feedback: 0 };
        Self::assembled(index, said, Box::new([source]), |instance| past.journaled(instance), None, past.at)
    }

    fn assembled(
        index: ServiceIndex,
        said: SelectionPolicy,
        sources: Box<[Source]>,
        journal: impl Fn(&Instance) -> Journaled,
        before: Option<&Self>,
        now: UnixMillis,
    ) -> Self {
        let tally = match before {
            Some(before) => Tally::carried(&index, now, &before.index, &before.tally),
            None => Tally::new(&index, now),
        };
        let by_key: HashMap<&ServiceKey, &Service> = sources.iter().map(|it| (&it.key, &*it.service)).collect();
        let instances = index
            .candidates()
            .iter()
            .filter_map(|candidate| by_key.get(&candidate.service)?.instances.get(&candidate.instance).cloned());
        let instances: Box<[Arc<Instance>]> = instances.collect();
        Self {
            journaled: instances.iter().map(|instance| journal(instance)).collect(),
            seen_at: AtomicU64::new(0),
            is_timeless: false,
            listings: Default::default(),
            instances,
            index,
            said,
            tally,
            health: ArcSwap::default(),
            services: sources,
        }
    }

    /// Whether it is what these services and views would be prepared as.
    pub(super) fn is_current(
        &self,
        services: &[Arc<Service>],
        catalog: &Catalog,
        health: &Arc<HealthSnapshot>,
        feedback: &dyn Feedback,
    ) -> bool {
        if is_planted(Bug::StaleSelection) {
            return true;
        }
        let is_same = self.services.len() == services.len()
            && self.services.iter().zip(services).all(|(source, service)| {
                Arc::ptr_eq(&source.service, service) && source.feedback == feedback.version(&source.key)
            });
        is_same && self.has_health(health) && self.has_journal(catalog)
    }

    /// Whether the journal says of these instances what it said.
    fn has_journal(&self, catalog: &Catalog) -> bool {
        let revision = catalog.revision().get();
        if self.seen_at.load(Ordering::Relaxed) == revision {
            return true;
        }
        let is_same = self.instances.iter().zip(&self.journaled).all(|(it, before)| catalog.journaled(it) == *before);
        if is_same {
            self.seen_at.store(revision, Ordering::Relaxed);
        }
        is_same
    }

    /// Whether `health` says of these instances what it was made from.
    fn has_health(&self, health: &Arc<HealthSnapshot>) -> bool {
        let seen = self.health.load();
        if Arc::ptr_eq(&seen, health) {
            return true;
        }
        let instances = self.services.iter().flat_map(|source| source.service.instances.values());
        let is_same = self.services.iter().all(|source| health.has_same_cause(&seen, &source.key))
            && instances.into_iter().all(|instance| health.says_the_same(&seen, instance));
        if is_same {
            self.health.store(health.clone());
        }
        is_same
    }

    /// The health that it was made from, or a later one that says the same.
    pub(crate) fn health(&self) -> Arc<HealthSnapshot> {
        self.health.load_full()
    }

    /// The service that was prepared; `None` of several.
    pub(crate) fn service(&self) -> Option<&Service> {
        match &*self.services {
            [source] => Some(&source.service),
            _ => None,
        }
    }

    /// A list at `revision`: as it was answered last, or as `render` makes it, from that if it is there. `None` when it would
    /// not be true for long.
    pub(crate) fn listing(
        &self,
        listing: Listing,
        revision: Revision,
        render: impl FnOnce(Option<&Listed>) -> Option<Listed>,
    ) -> Option<Arc<Listed>> {
        if !self.is_timeless {
            return None;
        }
        let kept = &self.listings[listing as usize];
        let before = kept.load();
        match &*before {
            Some(listed) if listed.revision == revision => Some(listed.clone()),
            before => {
                let listed = Arc::new(render(before.as_deref())?);
                kept.store(Some(listed.clone()));
                Some(listed)
            }
        }
    }

    /// The instance at a position of the index.
    pub(crate) fn instance(&self, position: usize) -> &Arc<Instance> {
        &self.instances[position]
    }
}

impl Source {
    fn of(service: &Arc<Service>, feedback: &dyn Feedback) -> Self {
        let key = ServiceKey::from(&service.name);
        Self { service: service.clone(), feedback: feedback.version(&key), key }
    }
}

/// Whether all that an answer says of an instance stays true until something is observed or written.
fn is_timeless(
    instance: &Instance,
    health: &InstanceHealth,
    journaled: Journaled,
    definition: Option<&ServiceDefinition>,
    now: UnixMillis,
) -> bool {
    let warms_up = definition.and_then(|it| it.slow_start).is_some_and(|span| health.since.plus(span) > now);
    let may_be_deregistered = instance.spec.deregister_after.is_some() && journaled.critical_since.is_some();
    let is_decided = match instance.lifecycle {
        Lifecycle::Active | Lifecycle::Draining { deadline: None, .. } => false,
        Lifecycle::Draining { deadline: Some(_), .. } | Lifecycle::Quarantined { .. } => true,
    };
    health.told.is_none() && !warms_up && !may_be_deregistered && !is_decided
}

fn candidate(
    key: &ServiceKey,
    definition: Option<&ServiceDefinition>,
    instance: &Instance,
    health: InstanceHealth,
    reported: Reported,
    near: &RoundTrips<'_>,
    now: UnixMillis,
) -> Candidate {
    let spec = &instance.spec;
    let host = spec.endpoints.first().map(|endpoint| &endpoint.host);
    let is_warming = definition.is_some_and(|it| it.slow_start.is_some_and(|span| span > Millis::default()));
    let tags = spec.tags.iter().chain(definition.iter().flat_map(|definition| definition.tags.iter()));
    Candidate {
        host: host.cloned(),
        zone: spec.zone.clone(),
        region: spec.region.clone(),
        version: spec.version.clone().or_else(|| definition?.version.clone()),
        tags: tags.cloned().collect(),
        capabilities: working(definition, instance, &health),
        weight: spec.weight,
        lifecycle: if is_planted(Bug::IgnoredDrain) { Lifecycle::Active } else { instance.lifecycle.clone() },
        status: health.status,
        since: health.since,
        health: health.score,
        forecast: forecast(&health, now),
        warming_since: (is_warming && health.status == Status::Passing).then_some(health.since),
        ejected_until: reported.ejected_until,
        load: reported.load,
        max_concurrent: reported.max_concurrent.or_else(|| definition?.max_concurrent_requests),
        expected_response: definition.and_then(|it| it.expected_response_time).map(Millis::duration),
        performance: reported.performance,
        contexts: reported.contexts,
        round_trip: host.and_then(|host| near.to(host.ip()?)),
        cost_micros: definition.and_then(|it| it.cost_micros),
        ..Candidate::new(key.clone(), instance.id.clone())
    }
}

/// The capabilities of a service that work on an instance: those without a check that fails.
fn working(
    definition: Option<&ServiceDefinition>,
    instance: &Instance,
    health: &InstanceHealth,
) -> SortedSet<CapabilityName> {
    let Some(definition) = definition else { return SortedSet::new() };
    if health.checks.is_empty() {
        return definition.capabilities.clone();
    }
    let is_down =
        |name: &&CapabilityName| health.checks.failed_capabilities(&instance.spec.checks).any(|down| down == *name);
    definition.capabilities.iter().filter(|name| !is_down(name)).cloned().collect()
}

/// What is expected of an instance, as selection counts it: nothing, when most of its service is on the same way.
fn forecast(health: &InstanceHealth, now: UnixMillis) -> Forecast {
    if health.common_cause.is_some() {
        return Forecast::default();
    }
    let is_degrading = health.trend == Trend::Degrading;
    match health.told.map(|told| told.now(now)) {
        Some(told) => Forecast {
            is_degrading: true,
            time_to_failure: told.due().map(|due| due.likely()),
            confidence: told.confidence(),
        },
        // The class of time without the numbers: others know more, and half of it is believed.
        None => Forecast { is_degrading, time_to_failure: health.time_to_failure.at_most(), confidence: 0.5 },
    }
}

/// How far the hosts of other nodes are from this one, as gossip measures it.
struct RoundTrips<'a> {
    by_address: HashMap<IpAddr, Duration>,
    from_zone: Option<&'a Label>,
}

impl<'a> RoundTrips<'a> {
    /// Those of members that answer. What is reached on the loopback is on this host, which says nothing of where callers are.
    fn of(members: &'a MembershipView) -> Self {
        let measured = members.members.values().filter(|member| member.is_present());
        let by_address = measured.filter_map(|member| {
            let address = member.address?.ip();
            (!address.is_loopback()).then_some((address, member.health.rtt?))
        });
        let this = members.members.get(&members.this).and_then(|member| member.meta.as_deref());
        Self { by_address: by_address.collect(), from_zone: this.and_then(|meta| meta.zone.as_ref()) }
    }

    fn to(&self, address: IpAddr) -> Option<RoundTrip> {
        let time = *self.by_address.get(&address)?;
        Some(RoundTrip { from_zone: self.from_zone.cloned(), time })
    }
}
