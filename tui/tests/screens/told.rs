//! What is asked for only where it is shown: why instances are picked, which services need which, what happened before.

use rollcall_tui::{Answer, Message};
use serde_json::{Value, json};

use crate::story::{Story, at};

fn explained(id: &str, is_in: bool, share: f64, reasons: Value) -> Value {
    let load = json!({"factor": "load", "signal": "20 of 100 in flight", "value": 0.8, "weight": 0.4, "product": 0.32});
    let performance = json!({"factor": "performance", "signal": "42 ms, expected 50 ms", "value": 1.0, "weight": 0.6, "product": 0.6});
    json!({
        "service": "web", "id": id, "is_in": is_in, "reasons": reasons, "state": "passing", "since": at(90), "weight": 10,
        "share": share, "score": 0.92, "rank": 0.92, "sum": 0.92, "terms": [load, performance], "health": 1.0,
        "forecast": 1.0, "ramp": 1.0, "gap": 0.0, "weakest": "load",
    })
}

fn reason(code: &str, side: &str, why: &str, change: &str) -> Value {
    json!({"code": code, "side": side, "why": why, "change": change})
}

/// How `web` is answered: two in, of which one is predicted to fail, and one out.
pub(crate) fn explain(story: &mut Story) {
    let near = reason("near_best", "in", "its rank is near the best", "a better instance");
    let drained = reason("draining", "out", "an operator drains it", "`rollcall undrain`");
    let predicted = reason("predicted", "note", "its failure is predicted", "a trend that ends");
    let mut failing = explained("web-2", true, 0.094, json!([near, predicted]));
    failing["time_to_failure_ms"] = json!(80_000);
    (failing["forecast"], failing["score"], failing["gap"]) = (json!(0.1), json!(0.092), json!(0.01));
    let mut out = explained("web-3", false, 0.0, json!([drained]));
    out["until"] = json!(at(0));
    let told = json!({
        "strategy": "weighted_random", "decided_by": {"strategy": "default"}, "fail_open": false,
        "instances": [explained("web-1", true, 0.906, json!([near])), failing, out], "omitted": 0, "revision": 40,
    });
    let told = serde_json::from_value(told).unwrap();
    story.hear(Message::Answer(Answer::Explanation("web".to_owned(), Ok(Box::new(told)))));
}

/// A shop that needs what `web`, `search` and nobody offer, and two that need each other.
pub(crate) fn graph(story: &mut Story) {
    let node = |service: &str, instances: u64, healthy: u64| json!({"service": service, "offers": [], "requires": [], "instances": instances, "healthy": healthy});
    let edge = |caller: &str, callee: &str, capability: &str| json!({"caller": caller, "callee": callee, "capability": capability});
    let told = json!({
        "nodes": [node("billing", 2, 2), node("lone", 1, 1), node("search", 1, 0), node("shop", 3, 3), node("web", 3, 2)],
        "edges": [edge("billing", "web", "render"), edge("shop", "billing", "charge"), edge("shop", "search", "find"),
            edge("web", "billing", "charge")],
        "cycles": [["billing", "web"]],
        "missing": [{"capability": "find", "callers": ["shop"], "sick": ["search"]},
            {"capability": "mail", "callers": ["shop"], "sick": []}],
        "revision": 40,
    });
    let told = serde_json::from_value(told).unwrap();
    story.hear(Message::Answer(Answer::Graph(Ok(Box::new(told)))));
}

/// What happened before, newest first: today, and the day before.
pub(crate) fn history(story: &mut Story) {
    let record = |revision: u64, ago: u64, action: &str| {
        json!({"revision": revision, "at": at(ago), "actor": "ann", "via": "node-a",
        "service": "web", "instance": "web-1", "action": action, "cause": null})
    };
    let mut transition = record(42, 7, "state");
    (transition["from"], transition["state"], transition["cause"]) =
        (json!("passing"), json!("critical"), json!("confirmed"));
    let mut key = record(39, 500, "kv_put");
    (key["service"], key["instance"]) = (Value::Null, Value::Null);
    let records = json!([transition, record(40, 60, "deregistered"), key, record(7, 90_000, "registered")]);
    let records = serde_json::from_value(records).unwrap();
    story.hear(Message::Answer(Answer::History(Ok(records))));
}
