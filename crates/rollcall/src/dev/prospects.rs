//! What is expected of instances, as lines: who gets worse, whose failure is predicted, who is well again.
//!
//! Forecasts are not written to the log, so no watch tells of them: this looks at the health of every service once a second, as
//! a person would with `rollcall health`.

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_api::client::{Client, ClientError, Options};
use rollcall_api::query::{HealthReportQuery, ServiceHealthQuery};
use rollcall_api::{Instance, State, Trend};
use tokio::sync::mpsc::Sender;
use tokio::time::{MissedTickBehavior, interval};

use crate::dev::plan::Plan;
use crate::narrative::prospect_line;
use crate::states::{now, outlook};
use crate::terminal::{Paint, Tone};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for one answer.
const LOOK_TIMEOUT: Duration = Duration::from_millis(800);
/// Services that are looked at: a development cluster has few, and each costs a request a second.
const SERVICES_MAX: u32 = 32;
/// Instances of each of them, the worst.
const INSTANCES_MAX: u32 = 32;

/// What is expected of an instance, the worse the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Prospect {
    /// Nothing bad.
    Well,
    /// It gets worse.
    Degrading,
    /// Its failure is predicted.
    Predicted,
    /// It fails.
    Failing,
}

/// What was told last of each instance that is not well, by service and id.
type Told = BTreeMap<(String, String), Prospect>;

/// Looks once a second and tells what changed, until nobody reads `lines`.
pub(crate) async fn follow(plan: Plan, paint: Paint, lines: Sender<String>) {
    let options = Options { attempt_timeout: LOOK_TIMEOUT, ..Options::default() };
    let Ok(client) = Client::with_options(plan.urls_from(0), options) else {
        // The addresses are our own and were used before.
        return;
    };
    let mut told = Told::new();
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The other observers tell about nodes that do not answer.
        let Ok(seen) = look(&client).await else { continue };
        for (tone, verb, what) in news(&mut told, &seen) {
            if lines.send(prospect_line(now(), tone, verb, &what, paint)).await.is_err() {
                return;
            }
        }
    }
}

async fn look(client: &Client) -> Result<Vec<Instance>, ClientError> {
    let query = HealthReportQuery { limit: Some(SERVICES_MAX), ..HealthReportQuery::default() };
    let mut seen = Vec::new();
    for service in client.health(&query).await?.value.items {
        let query = ServiceHealthQuery { limit: Some(INSTANCES_MAX), ..ServiceHealthQuery::default() };
        seen.extend(client.service_health(&service.service, &query).await?.value.items);
    }
    Ok(seen)
}

/// What is to be told of `seen`, which is then `told`.
fn news(told: &mut Told, seen: &[Instance]) -> Vec<(Tone, &'static str, String)> {
    let before = std::mem::take(told);
    let mut news = Vec::new();
    for instance in seen {
        let name = (instance.service.clone(), instance.id.clone());
        let was = before.get(&name).copied().unwrap_or(Prospect::Well);
        // A prediction that is softened is not taken back. Failure and recovery from it are told by the watch.
        let is = match prospect(instance) {
            Prospect::Degrading if was == Prospect::Predicted => was,
            is => is,
        };
        let text = format!("{}/{}", instance.service, instance.id);
        let score = instance.score.map(|score| format!(", score {score:.2}")).unwrap_or_default();
        match is {
            Prospect::Degrading if was == Prospect::Well => {
                news.push((Tone::Warn, "↘ degrading", format!("{text}  gets worse{score}")));
            }
            Prospect::Predicted if was < is => {
                let outlook = outlook(instance).unwrap_or_default();
                news.push((Tone::Warn, "↘ predicted", format!("{text}  is {outlook}{score}")));
            }
            Prospect::Well if matches!(was, Prospect::Degrading | Prospect::Predicted) => {
                news.push((Tone::Good, "↗ recovered", format!("{text}  gets worse no more{score}")));
            }
            _ => {}
        }
        if is != Prospect::Well {
            told.insert(name, is);
        }
    }
    news
}

fn prospect(instance: &Instance) -> Prospect {
    match (&instance.forecast, instance.trend) {
        _ if instance.state == State::Critical => Prospect::Failing,
        (Some(forecast), _) if forecast.time_to_failure_ms.is_some() => Prospect::Predicted,
        (Some(_), _) | (None, Trend::Degrading) => Prospect::Degrading,
        (None, _) => Prospect::Well,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(state: &str, trend: &str, time_to_failure_ms: Option<u64>) -> Instance {
        let forecast = time_to_failure_ms.map(|time| json!({ "time_to_failure_ms": time }));
        serde_json::from_value(json!({
            "service": "web", "id": "web-1", "endpoints": [], "zone": null, "region": null, "version": null, "tags": [],
            "metadata": {}, "weight": 1, "lease": null, "checks": [], "deregister_after_ms": null,
            "lifecycle": { "state": "active" }, "state": state, "since": "2026-11-21T03:00:00.000Z", "cause": "observed",
            "score": 0.5, "trend": trend, "forecast": forecast, "overlays": [], "looking": 2, "failing": 0,
            "registered_at": "2026-11-21T03:00:00.000Z", "modified_at": "2026-11-21T03:00:00.000Z",
            "registered_by": "n1", "created_revision": 1, "revision": 1
        }))
        .unwrap()
    }

    #[test]
    fn each_step_of_a_failure_is_told_once() {
        let mut told = Told::new();
        let mut tell = |instance| news(&mut told, &[instance]).into_iter().map(|it| (it.1, it.2)).collect::<Vec<_>>();
        let said = |verb, what: &str| vec![(verb, format!("web/web-1  {what}"))];
        assert_eq!(tell(seen("passing", "stable", None)), []);
        assert_eq!(tell(seen("passing", "degrading", None)), said("↘ degrading", "gets worse, score 0.50"));
        assert_eq!(tell(seen("passing", "degrading", None)), []);
        assert_eq!(
            tell(seen("passing", "degrading", Some(60_000))),
            said("↘ predicted", "is predicted to fail within 1m, score 0.50")
        );
        assert_eq!(tell(seen("warning", "degrading", Some(30_000))), []);
        assert_eq!(tell(seen("warning", "degrading", None)), [], "softened");
        assert_eq!(tell(seen("critical", "stable", None)), [], "the watch tells that");
        assert_eq!(tell(seen("passing", "stable", None)), [], "and that too");
        assert_eq!(tell(seen("passing", "degrading", None)), said("↘ degrading", "gets worse, score 0.50"));
        assert_eq!(tell(seen("passing", "stable", None)), said("↗ recovered", "gets worse no more, score 0.50"));
    }
}
