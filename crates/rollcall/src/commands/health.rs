//! `rollcall health`: what is wrong, worst first, in words.
//!
//! The exit code is the answer for scripts: [`Exit::Warning`] and [`Exit::Critical`] are verdicts and no failures, and differ
//! from the code of a cluster that cannot be asked.

mod instance;

use std::collections::BTreeMap;

use clap::Args;
use futures_util::future::join_all;
use rollcall_api::client::Answer;
use rollcall_api::query::{HealthQuery, HealthReportQuery, ReadQuery, ServiceHealthQuery};
use rollcall_api::{HealthReport, Instance, List, ServiceHealth, ServiceHealthReport, State, Timestamp};

use crate::commands::pages::read_all;
use crate::failure::{Exit, Failure};
use crate::server::{Freshness, ServerArgs, Session, explain};
use crate::states::{self, now, outlook, state_cell, states_cell, why};
use crate::table::{Cell, Table};
use crate::terminal::{Paint, Tone, printable};

/// Services whose instances are told one by one.
const SERVICES_TOLD: usize = 20;
/// Instances that are told of each of them.
const INSTANCES_TOLD: u32 = 10;

/// Instances of which the observers are asked what they see.
const REASONS_MAX: usize = 10;

/// What is wrong with an instance, in the words of who looks, by service and id.
type Reasons = BTreeMap<(String, String), String>;

/// Arguments of `rollcall health`.
#[derive(Debug, Args)]
#[command(after_help = "\
As the asked node sees it. What an operator drains or quarantines does not
count.

Exit codes, beside those of every command:
  0  all of it passes
  4  something is warning, starting or unknown
  5  something is critical

Examples:
  rollcall health                   what is wrong anywhere
  rollcall health web               every instance of web, worst first
  rollcall health web web-1         one of them: since when, and why
  rollcall health web -o json | jq '.states'
  rollcall health web >/dev/null || echo \"web needs a look, code $?\"")]
pub(crate) struct HealthArgs {
    /// Only this service
    service: Option<String>,
    /// Only this instance
    #[arg(requires = "service")]
    instance: Option<String>,
    /// Most instances of a service to show
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// How fresh the catalogue must be
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    consistency: Freshness,
    #[command(flatten)]
    server: ServerArgs,
}

/// Tells what is wrong.
///
/// # Errors
/// What the cluster refuses; [`Exit::Warning`] or [`Exit::Critical`] without a word when not all of it passes.
pub(crate) async fn run(args: HealthArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let state = match (&args.service, &args.instance) {
        (None, _) => everything(&session, &args).await?,
        (Some(service), None) => one_service(&session, &args, service).await?,
        (Some(service), Some(id)) => one_instance(&session, &args, service, id).await?,
    };
    match state {
        State::Passing => Ok(()),
        State::Critical => Err(Failure::verdict(Exit::Critical)),
        State::Warning | State::Starting | State::Unknown => Err(Failure::verdict(Exit::Warning)),
    }
}

async fn everything(session: &Session, args: &HealthArgs) -> Result<State, Failure> {
    let report = whole_report(session, args.consistency).await?;
    let mut services: Vec<_> = report.items.iter().filter(|service| needs_a_look(service)).collect();
    services.sort_by_key(|service| (std::cmp::Reverse(service.status.severity()), service.service.clone()));
    let (mut told, mut reasons) = (Vec::new(), Reasons::new());
    if !session.is_json() {
        for service in services.iter().take(SERVICES_TOLD) {
            told.push(service_report(session, args, &service.service, Some(INSTANCES_TOLD)).await?);
        }
        reasons = ask_reasons(session, &told).await;
    }
    session.say(&report, |report| overview(report, &services, &told, &reasons, session.paint, now()))?;
    Ok(report.status)
}

/// What the observers see of the first that do not pass. One that cannot be asked for has no reason.
async fn ask_reasons(session: &Session, told: &[ServiceHealthReport]) -> Reasons {
    let instances = told.iter().flat_map(|report| &report.items);
    let troubled = instances.filter(|it| is_trouble(it) && it.state != State::Passing).take(REASONS_MAX);
    let asked = troubled.map(async |it| {
        let health = session.client.instance_health(&it.service, &it.id, &HealthQuery::default()).await.ok()?.value;
        Some(((it.service.clone(), it.id.clone()), instance::reason(&health)?))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

async fn one_service(session: &Session, args: &HealthArgs, service: &str) -> Result<State, Failure> {
    let report = service_report(session, args, service, args.limit).await?;
    session.say(&report, |report| service_text(report, session.paint, now()))?;
    Ok(report.health.status)
}

async fn one_instance(session: &Session, args: &HealthArgs, service: &str, id: &str) -> Result<State, Failure> {
    let query = ReadQuery { consistency: args.consistency.into(), min_revision: None };
    let read = session.client.instance(service, id, &query).await.map_err(|error| explain(&error))?;
    // Another node may be asked now: it must know the instance too.
    let query = HealthQuery { from: None, min_revision: read.revision };
    let health = session.client.instance_health(service, id, &query).await.map_err(|error| explain(&error))?.value;
    session.say(&health, |health| instance::text(&read.value, health, session.paint, now()))?;
    Ok(health.state)
}

/// The report with the services of all pages.
pub(crate) async fn whole_report(session: &Session, consistency: Freshness) -> Result<HealthReport, Failure> {
    let mut first: Option<HealthReport> = None;
    let list = read_all(None, async |limit, cursor| {
        let query =
            HealthReportQuery { limit, cursor, consistency: consistency.into(), ..HealthReportQuery::default() };
        let Answer { mut value, revision, staleness_ms } = session.client.health(&query).await?;
        let page = List {
            items: std::mem::take(&mut value.items),
            revision: value.revision,
            next_cursor: value.next_cursor.take(),
        };
        first.get_or_insert(value);
        Ok(Answer { value: page, revision, staleness_ms })
    });
    let items = list.await?.items;
    let report = first.ok_or_else(|| Failure::failed("the cluster gave no report"))?;
    Ok(HealthReport { items, ..report })
}

async fn service_report(
    session: &Session,
    args: &HealthArgs,
    service: &str,
    limit: Option<u32>,
) -> Result<ServiceHealthReport, Failure> {
    let query = ServiceHealthQuery { limit, consistency: args.consistency.into(), min_revision: None };
    Ok(session.client.service_health(service, &query).await.map_err(|error| explain(&error))?.value)
}

fn needs_a_look(service: &ServiceHealth) -> bool {
    service.status != State::Passing || service.predicted > 0
}

fn overview(
    report: &HealthReport,
    services: &[&ServiceHealth],
    told: &[ServiceHealthReport],
    reasons: &Reasons,
    paint: Paint,
    now: Timestamp,
) -> String {
    let word = paint.tone(states::tone(report.status), report.status.as_str());
    let (total, instances) = (report.services.total(), report.instances.total());
    let mut text = format!(
        "{word}: {} of {total} services need a look, {} of {instances} instances can take traffic\n",
        services.len(),
        report.healthy,
    );
    if services.is_empty() {
        return text;
    }
    let mut table = Table::new(["SERVICE", "STATE", "HEALTHY", "INSTANCES"]).numeric(&["HEALTHY"]);
    for service in services {
        table.row([
            service.service.as_str().into(),
            Cell::toned(states::tone(service.status), service.status.as_str()),
            service.healthy.into(),
            states_cell(&service.states),
        ]);
    }
    text.push_str(&format!("\n{}\n", table.render(paint)));
    for report in told {
        for instance in report.items.iter().filter(|instance| is_trouble(instance)) {
            let reason = reasons.get(&(instance.service.clone(), instance.id.clone()));
            text.push_str(&trouble_line(instance, reason, paint, now));
        }
        if report.omitted > 0 {
            let service = printable(&report.health.service);
            text.push_str(&format!("{service}: {} more, see `rollcall health {service}`\n", report.omitted));
        }
    }
    text
}

/// Whether an instance is worth a line: it does not pass, or is predicted not to, and no operator took it out.
fn is_trouble(instance: &Instance) -> bool {
    !states::is_taken_out(instance) && (instance.state != State::Passing || instance.forecast.is_some())
}

fn trouble_line(instance: &Instance, reason: Option<&String>, paint: Paint, now: Timestamp) -> String {
    let name = printable(&format!("{}/{}", instance.service, instance.id)).into_owned();
    let state = paint.tone(states::tone(instance.state), instance.state.as_str());
    let mut line = format!("{name}  {state} for {}: {}", states::age(instance.since, now), printable(&why(instance)));
    if let Some(reason) = reason {
        line.push_str(&format!("; {}", printable(reason)));
    }
    if let Some(outlook) = outlook(instance) {
        line.push_str(&format!("; {}", paint.tone(Tone::Warn, outlook)));
    }
    line.push('\n');
    line
}

fn service_text(report: &ServiceHealthReport, paint: Paint, now: Timestamp) -> String {
    let health = &report.health;
    let mut text = format!(
        "{} is {}: {} of {} instances can take traffic\n",
        printable(&health.service),
        paint.tone(states::tone(health.status), health.status.as_str()),
        health.healthy,
        health.instances,
    );
    if report.items.is_empty() {
        return text;
    }
    let mut table = Table::new(["ID", "STATE", "FOR", "SCORE", "TREND", "WHY"]).numeric(&["FOR", "SCORE"]);
    for instance in &report.items {
        table.row([
            instance.id.as_str().into(),
            state_cell(instance),
            states::age(instance.since, now).into(),
            states::score_cell(instance.score),
            states::trend_cell(instance),
            why(instance).into(),
        ]);
    }
    text.push_str(&format!("\n{}", table.render(paint)));
    if report.omitted > 0 {
        text.push_str(&format!("\n{} more, better than these: --limit\n", report.omitted));
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    const NOW: &str = "2026-11-21T03:04:12.000Z";

    pub(in crate::commands::health) fn instance(
        id: &str,
        state: &str,
        cause: &str,
        more: serde_json::Value,
    ) -> serde_json::Value {
        let mut instance = json!({
            "service": "web", "id": id, "endpoints": [{ "name": "http", "protocol": "http", "host": "10.0.0.7", "port": 80 }],
            "zone": "a", "region": null, "version": null, "tags": [], "metadata": {}, "weight": 1, "lease": null, "checks": [],
            "deregister_after_ms": null, "lifecycle": { "state": "active" }, "state": state,
            "since": "2026-11-21T03:00:00.000Z", "cause": cause, "score": 0.5, "trend": "stable", "forecast": null,
            "overlays": [], "looking": 2, "failing": 0, "registered_at": "2026-11-21T02:00:00.000Z",
            "modified_at": "2026-11-21T02:00:00.000Z", "registered_by": "ann", "created_revision": 1, "revision": 1
        });
        more.as_object().unwrap().iter().for_each(|(name, value)| instance[name] = value.clone());
        instance
    }

    fn report(status: &str, items: Vec<serde_json::Value>) -> ServiceHealthReport {
        serde_json::from_value(json!({
            "service": "web", "status": status, "instances": 3, "healthy": 2, "states": { "passing": 2, "critical": 1 },
            "predicted": 1, "items": items, "omitted": 0, "revision": 9
        }))
        .unwrap()
    }

    fn troubled() -> ServiceHealthReport {
        let failing = instance("web-2", "critical", "confirmed", json!({ "score": 0.0, "failing": 2 }));
        let ramping = json!({ "trend": "degrading", "forecast": { "time_to_failure_ms": 120_000 } });
        let drained = json!({ "lifecycle": { "state": "draining", "reason": "deploy 42" }, "overlays": ["draining"] });
        report(
            "critical",
            vec![
                failing,
                instance("web-1", "passing", "observed", ramping),
                instance("web-3", "critical", "confirmed", drained),
            ],
        )
    }

    pub(in crate::commands::health) fn now() -> Timestamp {
        Timestamp::parse(NOW).unwrap()
    }

    #[test]
    fn what_is_wrong_is_told_worst_first_and_in_words() {
        let service = troubled();
        let everything = HealthReport {
            status: State::Critical,
            services: serde_json::from_value(json!({ "critical": 1, "passing": 3 })).unwrap(),
            instances: serde_json::from_value(json!({ "critical": 1, "passing": 11 })).unwrap(),
            healthy: 10,
            items: vec![service.health.clone()],
            revision: 9,
            next_cursor: None,
        };
        let services: Vec<_> = everything.items.iter().collect();
        let reasons =
            Reasons::from([(("web".into(), "web-2".into()), "check http: the connection was refused".into())]);
        assert_eq!(
            overview(&everything, &services, std::slice::from_ref(&service), &reasons, Paint::plain(), now()),
            "critical: 1 of 4 services need a look, 10 of 12 instances can take traffic\n\n\
             SERVICE  STATE     HEALTHY  INSTANCES\n\
             web      critical        2  1 critical, 2 passing\n\n\
             web/web-2  critical for 4m12s: everybody who looks sees it failing (2 of 2); check http: the connection was refused\n\
             web/web-1  passing for 4m12s: seen so by 2 nodes; predicted to fail within 2m\n"
        );
    }

    #[test]
    fn when_all_is_well_one_line_says_so() {
        let everything = HealthReport {
            status: State::Passing,
            services: serde_json::from_value(json!({ "passing": 3 })).unwrap(),
            instances: serde_json::from_value(json!({ "passing": 7 })).unwrap(),
            healthy: 7,
            items: Vec::new(),
            revision: 9,
            next_cursor: None,
        };
        assert_eq!(
            overview(&everything, &[], &[], &Reasons::new(), Paint::plain(), now()),
            "passing: 0 of 3 services need a look, 7 of 7 instances can take traffic\n"
        );
    }

    #[test]
    fn a_service_is_a_table_of_its_instances() {
        assert_eq!(
            service_text(&troubled(), Paint::plain(), now()),
            "web is critical: 2 of 3 instances can take traffic\n\n\
             ID     STATE                FOR  SCORE  TREND                 WHY\n\
             web-2  critical           4m12s   0.00  stable                everybody who looks sees it failing (2 of 2)\n\
             web-1  passing            4m12s   0.50  degrading, within 2m  seen so by 2 nodes\n\
             web-3  critical,draining  4m12s   0.50  stable                draining: deploy 42\n"
        );
    }
}
