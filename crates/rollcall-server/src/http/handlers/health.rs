//! The health of one instance in full, asked of all who look at it.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State as Extract;
use axum::response::Response;
use rollcall_api::query::{HealthQuery, HealthSource};
use rollcall_api::{
    CheckSeen, Code, HealthObserver, HealthSeen, HealthSighting, HealthVoucher, InstanceHealth, PROBLEM_JSON, ProbeRun,
    Problem, ScoreTerm, State, paths,
};
use rollcall_catalog::{Instance, Refusal};
use rollcall_health::Status;
use rollcall_health::check::{Answer, Cause};
use rollcall_types::{InstanceId, NodeName, ServiceName};

use crate::app::{App, Shared};
use crate::health::answer::Reading;
use crate::health::{Detail, Heard, Run, Seen, SeenCheck, ask};
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::extract::{PathValues, Query};
use crate::http::failure::{Failure, Result};

/// `GET …/instances/{id}/health`.
#[utoipa::path(
    get,
    path = paths::INSTANCE_HEALTH,
    params(("service" = String, Path, description = "Name of the service"), ("id" = String, Path, description = "Id of the instance, percent-encoded"), HealthQuery),
    responses((status = 200, description = "", body = InstanceHealth), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn read(
    Extract(app): Extract<Shared>,
    path: PathValues,
    Query(query): Query<HealthQuery>,
) -> Result<Response> {
    let (service, id): (ServiceName, InstanceId) = (path.get("service")?, path.get("id")?);
    let view = View::obtain(&app, None, query.min_revision, None).await?;
    let entry = view.catalog.service(&service).ok_or_else(|| view.lacks(Refusal::ServiceNotFound))?;
    let instance = entry.instances.get(&id).ok_or_else(|| view.lacks(Refusal::InstanceNotFound))?;
    let busy =
        || Failure::new(Code::TooManyRequests, "this node has too much to do to say; ask again, or another node");
    let detail = app.health.detail(instance).await.ok_or_else(busy)?;
    let mut observers = observers(&app, instance, detail);
    if query.from.unwrap_or_default() == HealthSource::All {
        ask_others(&app, instance, &mut observers).await;
    }
    answer::read(&view, None, &body(&app, &view, instance, observers))
}

fn body(app: &App, view: &View, instance: &Instance, observers: Vec<HealthObserver>) -> InstanceHealth {
    let health = app.health.reader().load().of(&view.catalog, instance);
    let reading = Reading::of(app, &view.catalog);
    InstanceHealth {
        service: instance.service.to_string(),
        id: instance.id.to_string(),
        node: app.name.to_string(),
        state: wire_state(health.status),
        cause: health.cause.as_str().to_owned(),
        explanation: health.cause.phrase().to_owned(),
        since: health.since.into(),
        score: health.score,
        trend: health.trend.as_str().to_owned(),
        time_to_failure_ms: health.time_to_failure.at_most().map(millis),
        forecast: reading.known(None, instance).forecast,
        protection: reading.protection(instance).map(|protection| protection.to_string()),
        flap: health.flap.as_str().to_owned(),
        looking: health.looking,
        failing: health.failing,
        observers,
        vouching: app.health.vouching(instance).iter().map(voucher_on_wire).collect(),
    }
}

/// All who look, and who else has something to say; with what this node sees itself.
fn observers(app: &App, instance: &Instance, detail: Detail) -> Vec<HealthObserver> {
    let mut observers: BTreeMap<NodeName, HealthObserver> = BTreeMap::new();
    let observer = |node: &NodeName, duty: &str| HealthObserver {
        node: node.to_string(),
        duty: duty.to_owned(),
        says: None,
        sees: None,
        error: None,
    };
    for looker in detail.watch.lookers() {
        let duty = if detail.watch.is_prober(looker) { "prober" } else { "confirmer" };
        observers.insert(looker.clone(), observer(looker, duty));
    }
    for heard in app.health.heard(instance) {
        let entry = observers.entry(heard.observer.clone());
        entry.or_insert_with(|| observer(&heard.observer, "former")).says = Some(said_on_wire(&heard));
    }
    let own = observers.get_mut(&app.name);
    if let (Some(own), Some(seen)) = (own, detail.seen) {
        own.sees = Some(seen_on_wire(seen));
    }
    observers.into_values().collect()
}

/// Asks the others who look what they see.
async fn ask_others(app: &App, instance: &Instance, observers: &mut [HealthObserver]) {
    let path = format!("{}?from=self", paths::instance_health(&instance.service, &instance.id));
    let members = app.gossip.view();
    let others = observers.iter_mut().filter(|observer| observer.node != *app.name && observer.duty != "former");
    let asked = others.map(|observer| {
        let member = members.members.values().find(|member| member.health.name.as_str() == observer.node);
        let address = member.and_then(|member| member.meta.as_ref()?.http.clone());
        let path = &path;
        async move {
            let answer = match address {
                Some(address) => ask::<InstanceHealth>(&address, path).await,
                None => Err("its address is not known".to_owned()),
            };
            match answer {
                Ok(answer) => {
                    let own = answer.observers.into_iter().find(|it| it.node == observer.node);
                    observer.sees = own.and_then(|own| own.sees);
                }
                Err(problem) => observer.error = Some(problem),
            }
        }
    });
    futures_util::future::join_all(asked).await;
}

fn voucher_on_wire(heard: &Heard) -> HealthVoucher {
    HealthVoucher { node: heard.observer.to_string(), says: said_on_wire(heard) }
}

fn said_on_wire(heard: &Heard) -> HealthSighting {
    let observation = heard.observation;
    HealthSighting {
        state: wire_state(heard.said),
        counts: heard.counts,
        score: observation.score.score(),
        trend: observation.trend.as_str().to_owned(),
        time_to_failure_ms: observation.time_to_failure.at_most().map(millis),
        flap: observation.flap.as_str().to_owned(),
    }
}

fn seen_on_wire(seen: Seen) -> HealthSeen {
    let term = |term: rollcall_health::check::Term| ScoreTerm {
        signal: term.signal.as_str().to_owned(),
        value: term.value,
        weight: term.signal.weight(),
    };
    HealthSeen {
        state: wire_state(seen.state.status),
        cause: seen.state.cause.as_str().to_owned(),
        explanation: seen.state.cause.phrase().to_owned(),
        since: seen.since.into(),
        check: seen.state.check.map(|check| check.to_string()),
        score: seen.score.value,
        terms: seen.score.terms.into_iter().map(term).collect(),
        lease: seen.lease.map(|lease| lease.as_str().to_owned()),
        checks: seen.checks.into_iter().map(check_on_wire).collect(),
    }
}

fn check_on_wire(check: SeenCheck) -> CheckSeen {
    CheckSeen {
        id: check.id.to_string(),
        capability: check.capability.map(|capability| capability.to_string()),
        state: wire_state(check.verdict.status),
        cause: check.verdict.cause.as_str().to_owned(),
        explanation: check.verdict.cause.phrase().to_owned(),
        since: check.since.into(),
        latency_ms: check.latency.map(fractional_millis),
        error_rate: check.error_rate,
        next_probe_in_ms: check.next_in.map(millis),
        last: check.last.map(run_on_wire),
    }
}

fn run_on_wire(run: Run) -> ProbeRun {
    let outcome = match run.outcome.answer {
        Answer::Passed => "passed",
        Answer::Strained => "strained",
        Answer::Failed(failure) => Cause::from(failure).as_str(),
        Answer::PutOff => "put_off",
    };
    ProbeRun {
        at: run.at.into(),
        outcome: outcome.to_owned(),
        latency_ms: fractional_millis(run.outcome.latency),
        output: run.output.into(),
    }
}

fn wire_state(status: Status) -> State {
    match status {
        Status::Unknown => State::Unknown,
        Status::Starting => State::Starting,
        Status::Passing => State::Passing,
        Status::Warning => State::Warning,
        Status::Critical => State::Critical,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// In milliseconds with three decimals.
fn fractional_millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}
