//! Services and their instances: registrations and journaled states from the watch, what the connected node sees now from
//! its answers. Whichever came last is shown.

use std::collections::BTreeMap;

use rollcall_api::{
    Forecast, HealthReport, Instance, LifecycleState, ServiceHealth, ServiceHealthReport, SnapshotPart, State,
    StateChange, StateCounts, Timestamp, Trend,
};

use super::Trace;

/// Instances that are held; what comes on top is counted and not shown.
pub const INSTANCES_MAX: usize = 100_000;
/// Entries of the metadata of an instance that are held, and characters of each.
const METADATA_MAX: usize = 16;
const TEXT_MAX: usize = 256;

/// An instance, and when its health was told by an answer.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) instance: Instance,
    /// When its forecast was told: its times count from then.
    pub(crate) told_at: Option<Timestamp>,
    pub(crate) scores: Trace,
    /// Values of the signal whose forecast it has.
    pub(crate) signal: Trace,
}

/// A service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Service {
    pub(crate) health: ServiceHealth,
    pub(crate) instances: BTreeMap<String, Seen>,
    /// Mean score of its instances, as far as it was seen.
    pub(crate) scores: Trace,
    pub(crate) detail_at: Option<Timestamp>,
    pub(crate) protection: Option<String>,
    /// Whether the last report had it.
    is_reported: bool,
}

/// A failure that is predicted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prediction<'a> {
    pub(crate) instance: &'a Instance,
    /// As of now.
    pub(crate) forecast: Forecast,
}

/// All services.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) services: BTreeMap<String, Service>,
    /// A snapshot of which more parts are to come.
    incoming: Vec<Instance>,
    is_complete: bool,
    held: usize,
    /// Instances beyond [`INSTANCES_MAX`].
    pub(crate) omitted: usize,
    pub(crate) reported_at: Option<Timestamp>,
    pub(crate) revision: u64,
}

impl Catalog {
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The service as it is written here: the graph has names in lower case.
    pub(crate) fn spelled(&self, service: String) -> String {
        if self.services.contains_key(&service) {
            return service;
        }
        let same = self.services.keys().find(|name| name.eq_ignore_ascii_case(&service));
        same.cloned().unwrap_or(service)
    }

    pub(crate) fn seen(&self, service: &str, id: &str) -> Option<&Seen> {
        self.services.get(service)?.instances.get(id)
    }

    /// Takes a part of a snapshot; the last replaces everything.
    pub(crate) fn snapshot(&mut self, part: SnapshotPart) {
        if part.part == 0 {
            self.incoming.clear();
            self.omitted = 0;
        }
        let room = INSTANCES_MAX.saturating_sub(self.incoming.len());
        self.omitted += part.items.len().saturating_sub(room);
        self.incoming.extend(part.items.into_iter().take(room));
        if !part.last {
            return;
        }
        let mut before = std::mem::take(&mut self.services);
        self.held = 0;
        for instance in std::mem::take(&mut self.incoming) {
            let old = before.get_mut(&instance.service).and_then(|service| service.instances.remove(&instance.id));
            self.insert(instance, old);
        }
        for (name, old) in before {
            let service = self.services.entry(name).or_default();
            let health = std::mem::take(&mut service.health);
            *service = Service { instances: std::mem::take(&mut service.instances), health, ..old };
        }
        let names: Vec<String> = self.services.keys().cloned().collect();
        names.iter().for_each(|name| self.recount(name));
        self.is_complete = true;
    }

    /// Takes a registration as the watch tells it.
    pub(crate) fn put(&mut self, instance: Instance) {
        let service = instance.service.clone();
        let old = self.services.get_mut(&service).and_then(|service| service.instances.remove(&instance.id));
        self.held -= usize::from(old.is_some());
        self.insert(instance, old);
        self.recount(&service);
    }

    fn insert(&mut self, mut instance: Instance, old: Option<Seen>) {
        if self.held >= INSTANCES_MAX {
            self.omitted += 1;
            return;
        }
        trim(&mut instance);
        let mut seen = Seen { instance, told_at: None, scores: Trace::default(), signal: Trace::default() };
        if let Some(old) = old {
            let new = &mut seen.instance;
            // What the journal does not know stays as it was told.
            (new.score, new.trend) = (old.instance.score, old.instance.trend);
            (new.forecast, new.looking, new.failing) =
                (old.instance.forecast, old.instance.looking, old.instance.failing);
            (seen.told_at, seen.scores, seen.signal) = (old.told_at, old.scores, old.signal);
        }
        self.held += 1;
        let service = self.services.entry(seen.instance.service.clone()).or_default();
        service.instances.insert(seen.instance.id.clone(), seen);
    }

    /// Forgets an instance, or with `None` the whole service.
    pub(crate) fn delete(&mut self, service: &str, id: Option<&str>) {
        match id {
            Some(id) => {
                let gone = self.services.get_mut(service).and_then(|service| service.instances.remove(id));
                self.held -= usize::from(gone.is_some());
                self.recount(service);
            }
            None => self.held -= self.services.remove(service).map_or(0, |gone| gone.instances.len()),
        }
    }

    /// Takes a transition as the journal tells it.
    pub(crate) fn transition(&mut self, change: &StateChange) {
        let Some(service) = self.services.get_mut(&change.service) else { return };
        let Some(seen) = service.instances.get_mut(&change.id) else { return };
        seen.instance.state = change.state;
        seen.instance.since = change.since;
        seen.instance.cause.clone_from(&change.cause);
    }

    /// Counts the instances of a service anew, after the watch changed them.
    pub(crate) fn recount(&mut self, name: &str) {
        let Some(service) = self.services.get_mut(name) else { return };
        if service.instances.is_empty() && !service.is_reported {
            self.services.remove(name);
            return;
        }
        let (mut states, mut healthy, mut status) = (StateCounts::default(), 0, None::<State>);
        let (mut draining, mut quarantined) = (0, 0);
        for Seen { instance, .. } in service.instances.values() {
            states.add(instance.state);
            match instance.lifecycle {
                LifecycleState::Active => {
                    healthy += u64::from(instance.state.is_healthy());
                    let worse = status.is_none_or(|status| status.severity() < instance.state.severity());
                    status = if worse { Some(instance.state) } else { status };
                }
                LifecycleState::Draining { .. } => draining += 1,
                LifecycleState::Quarantined { .. } => quarantined += 1,
            }
        }
        let health = &mut service.health;
        name.clone_into(&mut health.service);
        health.status = status.unwrap_or_default();
        health.instances = service.instances.len() as u64;
        (health.healthy, health.states) = (healthy, states);
        (health.draining, health.quarantined) = (draining, quarantined);
        health.predicted = health.predicted.min(health.instances);
    }

    /// Takes what the connected node sees of everything.
    pub(crate) fn report(&mut self, report: HealthReport, now: Timestamp) {
        self.services.values_mut().for_each(|service| service.is_reported = false);
        let is_whole = report.next_cursor.is_none();
        for health in report.items {
            let service = self.services.entry(health.service.clone()).or_default();
            service.health = health;
            service.is_reported = true;
            if service.health.predicted == 0 {
                // None is left, whatever an older answer said of one.
                service.instances.values_mut().for_each(|seen| seen.instance.forecast = None);
            }
        }
        if is_whole {
            self.services.retain(|_, service| service.is_reported || !service.instances.is_empty());
        }
        self.reported_at = Some(now);
        self.revision = self.revision.max(report.revision);
    }

    /// Takes what the connected node sees of one service.
    pub(crate) fn detail(&mut self, name: &str, report: ServiceHealthReport, now: Timestamp) {
        let Some(service) = self.services.get_mut(name) else { return };
        service.health = report.health;
        service.protection = report.protection;
        service.detail_at = Some(now);
        let is_whole = report.omitted == 0;
        if is_whole {
            service.instances.values_mut().for_each(|seen| seen.instance.forecast = None);
        }
        let (mut sum, mut scored) = (0.0, 0_u32);
        for mut instance in report.items {
            // Only the watch says what is there: an answer may be older than a deletion.
            let Some(seen) = service.instances.get_mut(&instance.id) else { continue };
            trim(&mut instance);
            if let Some(score) = instance.score {
                seen.scores.push(now, score);
                (sum, scored) = (sum + score, scored + 1);
            }
            if let Some(value) = instance.forecast.and_then(|forecast| forecast.now) {
                seen.signal.push(now, value);
            }
            (seen.instance, seen.told_at) = (instance, Some(now));
        }
        if scored > 0 {
            service.scores.push(now, sum / f64::from(scored));
        }
    }

    /// Takes what is expected of one instance now. Whether that is another outlook than was known.
    pub(crate) fn expect(&mut self, (service, id): (&str, &str), forecast: Option<Forecast>, now: Timestamp) -> bool {
        let Some(service) = self.services.get_mut(service) else { return false };
        let Some(seen) = service.instances.get_mut(id) else { return false };
        let before = std::mem::replace(&mut seen.instance.forecast, forecast);
        seen.told_at = Some(now);
        if let Some(value) = forecast.and_then(|forecast| forecast.now) {
            seen.signal.push(now, value);
        }
        let predicted = &mut service.health.predicted;
        match (before.is_some(), forecast.is_some()) {
            (false, true) => *predicted += 1,
            (true, false) => *predicted = predicted.saturating_sub(1),
            _ => {}
        }
        before.map(|it| it.outlook) != forecast.map(|it| it.outlook)
    }

    /// All predicted failures, soonest first. What fails already is none.
    pub(crate) fn predictions(&self, now: Timestamp) -> Vec<Prediction<'_>> {
        let services = self.services.values().filter(|service| service.health.predicted > 0);
        let all = services.flat_map(|service| service.instances.values());
        let mut found: Vec<Prediction<'_>> = all.filter_map(|seen| seen.prediction(now)).collect();
        found.sort_by_key(|it| (it.soonness(), it.instance.service.as_str(), it.instance.id.as_str()));
        found
    }

    /// Instances by state, and how many of them can take traffic.
    pub(crate) fn totals(&self) -> (StateCounts, u64) {
        let healths = self.services.values().map(|service| &service.health);
        healths.fold((StateCounts::default(), 0), |(states, healthy), health| {
            (states.plus(health.states), healthy + health.healthy)
        })
    }
}

impl Service {
    /// How much it asks for attention.
    pub(crate) fn trouble(&self) -> u8 {
        let health = &self.health;
        match (health.instances, health.healthy) {
            // Nothing is registered, so nothing is wrong.
            (0, _) => return 0,
            (_, 0) => return 9,
            _ => {}
        }
        health.status.severity() * 2 + u8::from(health.predicted > 0)
    }
}

impl Seen {
    /// The failure that is predicted, as of `now`.
    pub(crate) fn prediction(&self, now: Timestamp) -> Option<Prediction<'_>> {
        let told = self.instance.forecast.filter(|_| self.instance.state != State::Critical)?;
        Some(Prediction { instance: &self.instance, forecast: as_of(now, told, self.told_at.unwrap_or(now)) })
    }

    /// Whether it gets worse.
    pub(crate) fn is_degrading(&self) -> bool {
        self.instance.trend == Trend::Degrading
    }
}

/// A forecast that was told then, as it is now: less time is left.
pub(super) fn as_of(now: Timestamp, told: Forecast, then: Timestamp) -> Forecast {
    let gone = now.millis().saturating_sub(then.millis());
    let later = |time: Option<u64>| time.map(|time| time.saturating_sub(gone));
    Forecast {
        time_to_failure_ms: later(told.time_to_failure_ms),
        likely_ms: later(told.likely_ms),
        earliest_ms: later(told.earliest_ms),
        latest_ms: later(told.latest_ms),
        ..told
    }
}

impl Prediction<'_> {
    /// Time until it is expected; without any, later than all others.
    pub(crate) fn soonness(&self) -> u64 {
        self.forecast.likely_ms.or(self.forecast.time_to_failure_ms).unwrap_or(u64::MAX)
    }
}

/// Keeps what is shown, however much was sent.
fn trim(instance: &mut Instance) {
    let cut = |text: &mut String| {
        if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
            text.truncate(end);
        }
    };
    while instance.metadata.len() > METADATA_MAX {
        instance.metadata.pop_last();
    }
    instance.metadata.values_mut().for_each(cut);
    instance.tags.truncate(METADATA_MAX);
    instance.tags.iter_mut().for_each(cut);
    instance.endpoints.truncate(METADATA_MAX);
    instance.checks.truncate(METADATA_MAX);
    cut(&mut instance.cause);
}
