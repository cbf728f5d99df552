//! The health of services and of everything, counted.
//!
//! Counting takes some 0.1 µs for an instance, so of most catalogues it is done for each question. A large one is counted off
//! the runtime, by one at a time, and for all who ask within a second: a loop around `GET /v1/health` costs a bounded share
//! of one core.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_api::{Overlay, ServiceHealth, State, StateCounts};
use rollcall_catalog::{Catalog, Instance, Service};
use rollcall_types::{Lifecycle, Revision};
use tokio::sync::Mutex;

use super::answer::{Reading, slow_start};
use crate::http::{Failure, Result};

/// Instances from which on a catalogue is large: counting them takes a millisecond.
const LARGE: u64 = 10_000;
/// How long the counts of a large catalogue are good.
const REUSED_FOR: Duration = Duration::from_secs(1);

/// The counts of a whole catalogue.
pub(crate) struct Summary {
    /// The catalogue.
    pub(crate) revision: Revision,
    /// The worst status of the services.
    pub(crate) status: State,
    /// Services by status.
    pub(crate) services: StateCounts,
    /// Instances by state.
    pub(crate) instances: StateCounts,
    /// Instances that can take traffic.
    pub(crate) healthy: u64,
    /// Each service, in key order.
    pub(crate) each: Vec<ServiceHealth>,
    made_at: Instant,
}

/// Makes summaries, and keeps the last one of a large catalogue.
#[derive(Default)]
pub(crate) struct Summaries {
    kept: Mutex<Option<Arc<Summary>>>,
}

impl Summaries {
    /// Counts `catalog`. Of a large one the answer may be a second old, but not older than the catalogue when `must_be_fresh`.
    pub(crate) async fn of(
        &self,
        catalog: &Arc<Catalog>,
        reading: Reading,
        must_be_fresh: bool,
    ) -> Result<Arc<Summary>> {
        if catalog.instance_count() < LARGE {
            return Ok(Arc::new(Summary::of(catalog, &reading)));
        }
        let mut kept = self.kept.lock().await;
        let floor = if must_be_fresh { catalog.revision() } else { Revision::ZERO };
        if let Some(summary) =
            kept.as_ref().filter(|kept| kept.made_at.elapsed() < REUSED_FOR && kept.revision >= floor)
        {
            return Ok(summary.clone());
        }
        let catalog = catalog.clone();
        let counted = rollcall_io::spawn_blocking(move || Arc::new(Summary::of(&catalog, &reading))).await;
        let summary =
            counted.map_err(|error| Failure::internal(format!("counting the health ended badly: {error}")))?;
        *kept = Some(summary.clone());
        Ok(summary)
    }
}

impl Summary {
    fn of(catalog: &Catalog, reading: &Reading) -> Self {
        let each: Vec<_> = catalog.services().map(|service| service_health(service, reading)).collect();
        let mut services = StateCounts::default();
        each.iter().for_each(|service| services.add(service.status));
        Self {
            revision: catalog.revision(),
            status: worst(each.iter().map(|service| service.status)).unwrap_or(State::Passing),
            services,
            instances: each.iter().fold(StateCounts::default(), |sum, service| sum.plus(service.states)),
            healthy: each.iter().map(|service| service.healthy).sum(),
            each,
            made_at: Instant::now(),
        }
    }
}

/// Counts the instances of a service.
pub(crate) fn service_health(service: &Service, reading: &Reading) -> ServiceHealth {
    let mut health = ServiceHealth {
        service: service.name.to_string(),
        status: State::Unknown,
        instances: service.instances.len() as u64,
        ..ServiceHealth::default()
    };
    let mut worst_active: Option<State> = None;
    let slow_start = slow_start(service);
    for instance in service.instances.values() {
        let known = reading.known(slow_start, instance);
        let state = State::from(known.status);
        health.states.add(state);
        health.warming += u64::from(known.overlays.contains(Overlay::Warming));
        health.flapping += u64::from(known.overlays.contains(Overlay::Flapping));
        health.protected += u64::from(known.overlays.contains(Overlay::Protected));
        health.predicted += u64::from(known.forecast.is_some());
        match instance.lifecycle.at(reading.now()) {
            Lifecycle::Draining { .. } => health.draining += 1,
            Lifecycle::Quarantined { .. } => health.quarantined += 1,
            Lifecycle::Active => {
                health.healthy += u64::from(state.is_healthy());
                worst_active = worst(worst_active.into_iter().chain([state]));
            }
        }
    }
    health.status = worst_active.unwrap_or(State::Unknown);
    health
}

/// The state that asks for most attention; `None` of none.
fn worst(states: impl Iterator<Item = State>) -> Option<State> {
    states.max_by_key(|state| state.severity())
}

/// At most `limit` instances of a service, worst first: those that no operator took out, by state, by predicted failure, by
/// score, by time in the state.
pub(crate) fn worst_first<'s>(service: &'s Service, reading: &Reading, limit: usize) -> Vec<&'s Arc<Instance>> {
    let slow_start = slow_start(service);
    let mut ranked: Vec<_> = service
        .instances
        .values()
        .map(|instance| {
            let known = reading.known(slow_start, instance);
            let severity = State::from(known.status).severity();
            let due = known.forecast.map_or(u64::MAX, |forecast| forecast.time_to_failure_ms.unwrap_or(u64::MAX - 1));
            // Scores have 64 steps, so thousandths tell them apart.
            let score = (known.score.unwrap_or(1.0) * 1_000.0) as u64;
            let rank = (!reading.is_active(instance), u8::MAX - severity, due, score, known.since);
            (rank, &instance.id, instance)
        })
        .collect();
    let by_rank = |one: &(_, _, _), other: &(_, _, _)| (&one.0, one.1).cmp(&(&other.0, other.1));
    if limit < ranked.len() {
        ranked.select_nth_unstable_by(limit, by_rank);
        ranked.truncate(limit);
    }
    ranked.sort_unstable_by(by_rank);
    ranked.into_iter().map(|(_, _, instance)| instance).collect()
}
