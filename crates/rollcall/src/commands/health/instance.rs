//! One instance, in full: what is agreed on, what an operator decided, and what each observer sees.

use rollcall_api::{CheckSeen, HealthObserver, HealthSeen, Instance, InstanceHealth, State, Timestamp};

use crate::narrative::address;
use crate::states::{age, lifecycle_line, outlook, seen_line, tone};
use crate::terminal::{Paint, printable};

/// Characters of what a check said that are shown: its first line, mostly.
const OUTPUT_SHOWN: usize = 160;

/// The text.
pub(super) fn text(instance: &Instance, health: &InstanceHealth, paint: Paint, now: Timestamp) -> String {
    let mut text = format!(
        "{} is {} for {}: {}\n\n",
        printable(&format!("{}/{}", health.service, health.id)),
        paint.tone(tone(health.state), health.state.as_str()),
        age(health.since, now),
        printable(&explanation(health)),
    );
    for (name, value) in facts(instance, health) {
        text.push_str(&format!("  {name:<10}{}\n", printable(&value)));
    }
    if !health.observers.is_empty() {
        text.push_str(&format!("\nWho sees what, asked of {}:\n", printable(&health.node)));
    }
    for observer in &health.observers {
        text.push_str(&observer_text(observer, paint, now));
    }
    for voucher in &health.vouching {
        let state = paint.tone(tone(voucher.says.state), voucher.says.state.as_str());
        text.push_str(&format!("  {} hears its heartbeats: it says {state}\n", printable(&voucher.node)));
    }
    text
}

/// Why it is in its state. Of what all who look see alike, their own words say more.
fn explanation(health: &InstanceHealth) -> String {
    let reason = reason(health).filter(|_| health.cause == "observed");
    reason.unwrap_or_else(|| health.explanation.clone())
}

/// What is wrong, in the words of the observer who sees the worst: `check http: no answer within the timeout`.
pub(super) fn reason(health: &InstanceHealth) -> Option<String> {
    let seen = health.observers.iter().filter_map(|observer| observer.sees.as_ref());
    let worst = seen.max_by_key(|seen| seen.state.severity()).filter(|seen| seen.state != State::Passing)?;
    let check = worst.checks.iter().find(|check| worst.check.as_ref() == Some(&check.id));
    Some(check.map_or_else(|| worst.explanation.clone(), |check| format!("check {}: {}", check.id, check.explanation)))
}

fn facts(instance: &Instance, health: &InstanceHealth) -> Vec<(&'static str, String)> {
    let facts = [
        ("since", Some(health.since.to_string())),
        ("seen", seen_line(Some(health.looking), Some(health.failing))),
        ("score", health.score.map(|score| format!("{score:.2} of 1"))),
        ("trend", Some(health.trend.clone())),
        ("outlook", outlook(instance)),
        ("operator", lifecycle_line(instance)),
        (
            "warming",
            instance.warm_up.map(|it| format!("{:.0} % of its weight, all of it at {}", it.share * 100.0, it.until)),
        ),
        ("address", address(instance)),
        ("zone", instance.zone.clone()),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn observer_text(observer: &HealthObserver, paint: Paint, now: Timestamp) -> String {
    let mut line = format!("  {}, {}: ", printable(&observer.node), printable(&observer.duty));
    match (&observer.sees, &observer.says) {
        (Some(seen), _) => line.push_str(&seen_text(seen, paint, now)),
        (None, Some(said)) => {
            let counts = if said.counts { "" } else { ", which does not count: it is not known to be alive" };
            line.push_str(&format!("says {}{counts}\n", paint.tone(tone(said.state), said.state.as_str())));
        }
        (None, None) => line.push_str("says nothing\n"),
    }
    if let Some(error) = &observer.error {
        line.push_str(&format!("    could not be asked what it sees: {}\n", printable(error)));
    }
    line
}

fn seen_text(seen: &HealthSeen, paint: Paint, now: Timestamp) -> String {
    let state = paint.tone(tone(seen.state), seen.state.as_str());
    let mut text = format!("{state} for {}: {}\n", age(seen.since, now), printable(&seen.explanation));
    let lowered = seen.terms.iter().filter_map(|term| {
        let value = term.value.filter(|value| *value < 1.0)?;
        Some(format!("{} {value:.2}", term.signal))
    });
    let lowered: Vec<_> = lowered.collect();
    if !lowered.is_empty() {
        text.push_str(&format!("    score {:.2}, lowered by {}\n", seen.score, printable(&lowered.join(", "))));
    }
    if let Some(lease) = &seen.lease {
        text.push_str(&format!("    lease {}\n", printable(lease)));
    }
    for check in &seen.checks {
        text.push_str(&check_text(check, paint, now));
    }
    text
}

fn check_text(check: &CheckSeen, paint: Paint, now: Timestamp) -> String {
    let state = paint.tone(tone(check.state), check.state.as_str());
    let mut text = format!("    check {}: {state}, {}", printable(&check.id), printable(&check.explanation));
    if let Some(mean) = check.latency_ms {
        text.push_str(&format!(", {mean:.1} ms on average"));
    }
    text.push('\n');
    if let Some(run) = &check.last {
        // What went wrong is often said twice: as what it means for the state, and as what was seen.
        let output = run.output.lines().next().unwrap_or_default();
        let output = output.strip_prefix(check.explanation.as_str()).unwrap_or(output).trim_start_matches(": ");
        let output: String = output.chars().take(OUTPUT_SHOWN).collect();
        let said = if output.is_empty() { String::new() } else { format!(": {output}") };
        let (ago, outcome) = (age(run.at, now), &run.outcome);
        let last = format!("last run {ago} ago: {outcome} after {:.1} ms{said}", run.latency_ms);
        text.push_str(&format!("      {}\n", printable(&last)));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::health::tests::{instance, now};

    #[track_caller]
    fn check_run(output: &str, expected: &str) {
        let check: CheckSeen = serde_json::from_value(json!({
            "id": "http", "capability": null, "state": "critical", "cause": "timeout",
            "explanation": "no answer within the timeout", "since": "2026-11-21T03:00:00.000Z", "latency_ms": 684.21,
            "error_rate": 1.0, "next_probe_in_ms": 900,
            "last": { "at": "2026-11-21T03:04:10.000Z", "outcome": "timeout", "latency_ms": 1000.0, "output": output }
        }))
        .unwrap();
        let text = check_text(&check, Paint::plain(), now());
        let first = "    check http: critical, no answer within the timeout, 684.2 ms on average\n";
        assert_eq!(text, format!("{first}      last run 2s ago: timeout after 1000.0 ms{expected}\n"));
    }

    #[test]
    fn what_a_check_said_is_told_once() {
        check_run("no answer within the timeout: connected, and no head came", ": connected, and no head came");
        check_run("no answer within the timeout", "");
        check_run("", "");
        check_run("something else", ": something else");
    }

    #[test]
    fn an_instance_is_told_with_what_each_observer_sees() {
        let more = json!({
            "lifecycle": { "state": "draining", "deadline": "2026-11-21T03:01:00.000Z", "deadline_passed": true, "reason": "deploy 42" },
            "overlays": ["draining"], "failing": 1
        });
        let instance: Instance = serde_json::from_value(instance("web-1", "warning", "path", more)).unwrap();
        let since = "2026-11-21T03:00:00.000Z";
        let check = json!({
            "id": "http", "capability": null, "state": "critical", "cause": "failures", "explanation": "it failed 3 times",
            "since": since, "latency_ms": null, "error_rate": 1.0, "next_probe_in_ms": 900,
            "last": { "at": "2026-11-21T03:04:10.000Z", "outcome": "refused", "latency_ms": 0.31, "output": "port closed\nmore" }
        });
        let seen = json!({
            "state": "critical", "cause": "check", "explanation": "a check fails", "since": since, "check": "http", "score": 0.0,
            "terms": [{ "signal": "connectivity", "value": 0.0, "weight": 1.0 }, { "signal": "errors", "value": null, "weight": 0.35 }],
            "lease": null, "checks": [check]
        });
        let said = json!({
            "state": "passing", "counts": false, "score": 1.0, "trend": "stable", "time_to_failure_ms": null, "flap": "calm"
        });
        let health: InstanceHealth = serde_json::from_value(json!({
            "service": "web", "id": "web-1", "node": "n1", "state": "warning", "cause": "path", "explanation": "the path is broken",
            "since": since, "score": 0.5, "trend": "stable", "time_to_failure_ms": null, "flap": "calm", "looking": 2, "failing": 1,
            "observers": [
                { "node": "n1", "duty": "prober", "says": null, "sees": seen },
                { "node": "n2", "duty": "prober", "says": said, "sees": null, "error": "no answer in time" },
                { "node": "n3", "duty": "confirmer", "says": null, "sees": null },
            ],
            "vouching": [{ "node": "n3", "says": said }]
        }))
        .unwrap();
        assert_eq!(
            text(&instance, &health, Paint::plain(), now()),
            "web/web-1 is warning for 4m12s: the path is broken\n\n  \
             since     2026-11-21T03:00:00.000Z\n  \
             seen      by 2 nodes, 1 of them sees it failing\n  \
             score     0.50 of 1\n  \
             trend     stable\n  \
             operator  draining: deploy 42 (should be done since 2026-11-21T03:01:00.000Z)\n  \
             address   http=10.0.0.7:80\n  \
             zone      a\n\n\
             Who sees what, asked of n1:\n  \
             n1, prober: critical for 4m12s: a check fails\n    \
             score 0.00, lowered by connectivity 0.00\n    \
             check http: critical, it failed 3 times\n      \
             last run 2s ago: refused after 0.3 ms: port closed\n  \
             n2, prober: says passing, which does not count: it is not known to be alive\n    \
             could not be asked what it sees: no answer in time\n  \
             n3, confirmer: says nothing\n  \
             n3 hears its heartbeats: it says passing\n"
        );
    }
}
