//! What this node knows of the health of instances, in the words of the API.
//!
//! Two sources, never mixed: a [`Reading`] is this node's view of now, for whoever asks; [`journaled`] is what the log has, the
//! same for everybody who watches.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rollcall_api::{
    CommonCause, Forecast, ForecastSignal, InstanceRef, KnownHealth, Outlook, Overlay, Overlays, Trend, WarmUp,
};
use rollcall_catalog::{Catalog, Instance, Service};
use rollcall_health as health;
use rollcall_health::agreement::Cause;
use rollcall_health::forecast::{self as predicted, Quantity};
use rollcall_health::journal::{Census, Protection};
use rollcall_health::{Flap, Status, TimeToFailure};
use rollcall_raft::planted::{Bug, is_planted};
use rollcall_types::{CapabilityName, CheckSpec, Lifecycle, Millis, ServiceKey, UnixMillis};

use super::reaper::{self, Failures};
use super::slots::is_watched;
use super::view::{HealthSnapshot, InstanceHealth};
use crate::app::App;
use crate::clock;

/// The health of all instances at one moment, for one answer.
pub(crate) struct Reading {
    snapshot: Arc<HealthSnapshot>,
    catalog: Arc<Catalog>,
    now: UnixMillis,
    /// Nodes that are not alive.
    nodes: Census,
    /// Of the service that was asked for last, which instances failed when: answers go service by service.
    failures: Mutex<Option<(ServiceKey, Failures)>>,
}

impl Reading {
    /// What this node knows now, beside `catalog`.
    pub(crate) fn of(app: &App, catalog: &Arc<Catalog>) -> Self {
        Self::by(app, catalog, app.health.reader().load())
    }

    /// What this `snapshot` says, beside `catalog`.
    pub(crate) fn by(app: &App, catalog: &Arc<Catalog>, snapshot: Arc<HealthSnapshot>) -> Self {
        Self {
            snapshot,
            catalog: catalog.clone(),
            now: clock::now(catalog),
            nodes: reaper::nodes(&app.gossip.view(), &app.consensus.status()),
            failures: Mutex::default(),
        }
    }

    /// An instance of `service` as an answer shows it.
    pub(crate) fn wire<'i>(&self, service: &Service, instance: &'i Instance) -> InstanceRef<'i> {
        wire(instance, self.known(slow_start(service), instance), Some(self.now))
    }

    /// Whether the instance can take traffic: it is healthy, and no operator took it out.
    pub(crate) fn takes_traffic(&self, instance: &Instance) -> bool {
        self.is_active(instance) && is_healthy(self.snapshot.of(&self.catalog, instance).status)
    }

    /// Whether the capability, which its service has, works on this instance, as far as checks of it say.
    pub(crate) fn offers(&self, instance: &Instance, capability: &CapabilityName) -> bool {
        let checks = self.snapshot.of(&self.catalog, instance).checks;
        checks.failed_capabilities(&instance.spec.checks).all(|failed| failed != capability)
    }

    /// Whether no operator took it out.
    pub(crate) fn is_active(&self, instance: &Instance) -> bool {
        matches!(instance.lifecycle.at(self.now), Lifecycle::Active)
    }

    /// What is known of an instance of a service with this slow start.
    pub(crate) fn known(&self, slow_start: Option<Millis>, instance: &Instance) -> KnownHealth {
        let seen = self.snapshot.of(&self.catalog, instance);
        let mut known = known(seen, &instance.spec.checks, slow_start, self.now);
        if self.protection(instance).is_some() {
            known.overlays = known.overlays.with(Overlay::Protected);
        }
        known
    }

    /// Why an instance is not deregistered that is due for it.
    pub(crate) fn protection(&self, instance: &Instance) -> Option<Protection> {
        let failures = |since| {
            let mut kept = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            Failures::at_once(&mut kept, &self.catalog, instance, since)
        };
        reaper::protection((&self.catalog, &self.snapshot), instance, self.nodes, failures, self.now)
    }

    /// When it is read.
    pub(crate) fn now(&self) -> UnixMillis {
        self.now
    }
}

/// An instance, of now or of the past, as the log has it.
pub(crate) fn journaled<'i>(catalog: &Catalog, instance: &'i Instance) -> InstanceRef<'i> {
    wire(instance, journal_of(catalog, instance), None)
}

/// What the log says of the health of an instance: that nobody looks at it, or what the journal of `catalog` has. Of one that
/// is gone there is nothing: its slot may be another's.
pub(crate) fn journal_of(catalog: &Catalog, instance: &Instance) -> KnownHealth {
    let present = catalog.instance(&instance.service, &instance.id);
    let kept = present.filter(|present| present.created == instance.created).map(|present| catalog.journaled(present));
    let unseen = (Status::Unknown, Cause::Unseen, instance.registered_at);
    let (status, cause, since) = kept.map_or(unseen, |kept| (kept.status, kept.cause, kept.since));
    if is_watched(instance) {
        KnownHealth::journaled(status, cause, since)
    } else {
        let since = if status == Status::Passing { since } else { instance.registered_at };
        KnownHealth::journaled(Status::Passing, Cause::Unchecked, since)
    }
}

/// Whether an instance with this status can take traffic, as far as its checks say.
pub(crate) fn is_healthy(status: Status) -> bool {
    rollcall_api::State::from(status).is_healthy()
}

/// How long instances of a service warm up.
pub(crate) fn slow_start(service: &Service) -> Option<Millis> {
    service.definition.as_ref().and_then(|definition| definition.slow_start)
}

fn wire(instance: &Instance, health: KnownHealth, at: Option<UnixMillis>) -> InstanceRef<'_> {
    InstanceRef {
        service: &instance.service,
        id: &instance.id,
        spec: &instance.spec,
        lifecycle: &instance.lifecycle,
        health,
        at,
        registered_at: instance.registered_at,
        modified_at: instance.modified_at,
        registered_by: &instance.registered_by.name,
        created_revision: instance.created,
        revision: instance.modified,
    }
}

fn known(seen: InstanceHealth, checks: &[CheckSpec], slow_start: Option<Millis>, now: UnixMillis) -> KnownHealth {
    let warm_up = slow_start
        .filter(|_| seen.status == Status::Passing)
        .and_then(|slow_start| WarmUp::at(now, seen.since, slow_start));
    let mut overlays = Overlays::default();
    if warm_up.is_some() {
        overlays = overlays.with(Overlay::Warming);
    }
    if seen.flap == Flap::Flapping {
        overlays = overlays.with(Overlay::Flapping);
    }
    let is_accused = is_planted(Bug::FalseAccusation) && rand::random_ratio(1, 100);
    KnownHealth {
        status: if is_accused { Status::Critical } else { seen.status },
        cause: seen.cause,
        since: seen.since,
        score: seen.score,
        trend: match seen.trend {
            health::Trend::Unknown => Trend::Unknown,
            health::Trend::Improving => Trend::Improving,
            health::Trend::Stable => Trend::Stable,
            health::Trend::Degrading => Trend::Degrading,
        },
        forecast: forecast(&seen, now),
        failed_checks: seen.checks.critical(checks),
        overlays,
        warm_up,
        observers: Some((seen.looking, seen.failing)),
    }
}

/// What is expected: by its class, with the numbers if they are known here.
pub(crate) fn forecast(seen: &InstanceHealth, now: UnixMillis) -> Option<Forecast> {
    let class = seen.time_to_failure;
    if class == TimeToFailure::NotPredicted && seen.told.is_none() {
        return None;
    }
    let common_cause = seen
        .common_cause
        .map(|common| CommonCause { degrading: common.degrading as u64, compared: common.compared as u64 });
    let numbers = seen.told.map_or_else(Forecast::default, |told| numbers(&told.now(now)));
    Some(Forecast { time_to_failure_ms: class.at_most().map(millis), common_cause, ..numbers })
}

/// The numbers of a forecast, on the wire.
pub(crate) fn numbers(forecast: &predicted::Forecast) -> Forecast {
    let due = forecast.due();
    Forecast {
        outlook: outlook(forecast.outlook()),
        time_to_failure_ms: None,
        likely_ms: due.map(|due| millis(due.likely())),
        earliest_ms: due.map(|due| millis(due.earliest())),
        latest_ms: due.and_then(|due| due.latest()).map(millis),
        confidence: Some(forecast.confidence()),
        signal: Some(signal(forecast.quantity())),
        now: Some(short(forecast.level())),
        threshold: Some(short(forecast.threshold())),
        slope_per_minute: forecast.slope_per_minute().map(short),
        growth_per_minute: forecast.growth_per_minute().map(short),
        common_cause: None,
    }
}

/// What is expected, on the wire.
pub(crate) fn outlook(outlook: predicted::Outlook) -> Option<Outlook> {
    match outlook {
        predicted::Outlook::Calm => None,
        predicted::Outlook::Degrading => Some(Outlook::Degrading),
        predicted::Outlook::FailurePredicted => Some(Outlook::PredictedFailure),
    }
}

/// What is measured, on the wire.
pub(crate) fn signal(quantity: Quantity) -> ForecastSignal {
    match quantity {
        Quantity::Latency => ForecastSignal::Latency,
        Quantity::ErrorRate => ForecastSignal::ErrorRate,
        Quantity::Cpu => ForecastSignal::Cpu,
        Quantity::Memory => ForecastSignal::Memory,
        Quantity::InFlight => ForecastSignal::InFlight,
        Quantity::Fsync => ForecastSignal::Fsync,
        Quantity::ApplyLag => ForecastSignal::ApplyLag,
        Quantity::Lateness => ForecastSignal::Lateness,
        Quantity::DiskFree => ForecastSignal::DiskFree,
    }
}

/// In four decimals: no more is known.
fn short(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: Status) -> InstanceHealth {
        InstanceHealth {
            status,
            cause: Cause::Observed,
            since: UnixMillis::new(10_000),
            score: Some(0.9),
            trend: health::Trend::Degrading,
            time_to_failure: TimeToFailure::Within2Min,
            told: None,
            checks: rollcall_types::CheckStatuses::default(),
            common_cause: None,
            flap: Flap::Calm,
            looking: 2,
            failing: 0,
        }
    }

    #[test]
    fn only_what_passes_warms_up_and_only_for_a_while() {
        let slow_start = Some(Millis::new(60_000));
        let is_warming = |status: Status, now: u64| {
            let known = known(seen(status), &[], slow_start, UnixMillis::new(now));
            assert_eq!(known.overlays.contains(Overlay::Warming), known.warm_up.is_some());
            known.warm_up.is_some()
        };
        assert!(is_warming(Status::Passing, 10_000) && is_warming(Status::Passing, 69_999));
        assert!(!is_warming(Status::Passing, 70_000));
        assert!(!is_warming(Status::Warning, 10_000) && !is_warming(Status::Critical, 10_000));
        assert!(known(seen(Status::Passing), &[], None, UnixMillis::new(10_000)).warm_up.is_none());
    }

    #[test]
    fn a_prediction_is_shown_by_its_class() {
        let shown = |time_to_failure| {
            let seen = InstanceHealth { time_to_failure, ..seen(Status::Passing) };
            forecast(&seen, UnixMillis::new(0)).map(|forecast| forecast.time_to_failure_ms)
        };
        assert_eq!(shown(TimeToFailure::NotPredicted), None);
        assert_eq!(shown(TimeToFailure::Within2Min), Some(Some(120_000)));
        assert_eq!(shown(TimeToFailure::Later), Some(None));
    }

    #[test]
    fn what_changes_too_often_is_shown_as_flapping() {
        let unsteady = InstanceHealth { flap: Flap::Flapping, ..seen(Status::Critical) };
        assert!(known(unsteady, &[], None, UnixMillis::new(10_000)).overlays.contains(Overlay::Flapping));
        assert!(
            !known(seen(Status::Critical), &[], None, UnixMillis::new(10_000)).overlays.contains(Overlay::Flapping)
        );
    }
}
