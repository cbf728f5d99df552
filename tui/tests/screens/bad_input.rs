//! What is hostile, unknown or too much is shown harmlessly or left out, on terminals of any size.

use rollcall_tui::{Answer, Message, View};
use serde_json::json;

use crate::story::{STORIES, Story, calm, detail, health, instance, views};
use crate::told::{explain, graph, history};

const SIZE: (u16, u16) = (100, 30);

#[test]
fn names_and_metadata_cannot_steer_the_terminal() {
    let hostile = ["\u{1b}[2J\u{1b}]0;owned\u{7}", "a\u{202e}b\u{200f}c", "line\r\nbreak", &"x".repeat(10_000)];
    for name in hostile {
        let mut story = Story::new(SIZE);
        story.connect();
        let mut bad = instance(name, name, "critical");
        bad["zone"] = json!(name);
        bad["version"] = json!(name);
        bad["cause"] = json!(name);
        bad["tags"] = json!([name]);
        bad["metadata"] = json!({name: name});
        bad["lifecycle"] = json!({"state": "draining", "reason": name});
        story.watch(json!({"event": "put", "revision": 1, "at": "2026-11-21T00:00:00Z", "service": name,
            "instance": bad, "cause": name, "actor": name}));
        story.health(vec![health(name, "critical", 0, json!({"critical": 1}), 0)]);
        let reason = json!({"code": name, "side": "out", "why": name, "change": name});
        let explained = json!({"strategy": name, "decided_by": {"strategy": name}, "fail_open": false, "omitted": 0, "revision": 1,
            "instances": [{"service": name, "id": name, "is_in": false, "reasons": [reason], "state": "critical", "since": "2026-11-21T00:00:00Z",
                "weight": 1, "share": 0.0, "score": 0.1, "rank": 0.1, "sum": 0.1, "terms": [{"factor": name, "signal": name,
                    "value": 7.0, "weight": -1e300, "product": 1e300}], "health": 1.0, "forecast": 1.0, "ramp": 1.0, "gap": 0.5,
                "weakest": name}]});
        let explained = serde_json::from_value(explained).unwrap();
        story.state.open(View::Explain(name.to_owned()));
        story.hear(Message::Answer(Answer::Explanation(name.to_owned(), Ok(Box::new(explained)))));
        let graph = json!({"nodes": [{"service": name, "instances": 1}], "revision": 1, "cycles": [[name]],
            "edges": [{"caller": name, "callee": name, "capability": name}],
            "missing": [{"capability": name, "callers": [name], "sick": [name]}]});
        let graph = serde_json::from_value(graph).unwrap();
        story.hear(Message::Answer(Answer::Graph(Ok(Box::new(graph)))));
        let record = json!({"revision": 1, "at": "2026-11-20T00:00:00Z", "actor": name, "via": name, "service": name, "instance": name,
            "action": name, "cause": name});
        story.hear(Message::Answer(Answer::History(Ok(vec![serde_json::from_value(record).unwrap()]))));
        let forecast = json!({"event": "forecast", "at": "2026-11-21T00:00:00Z", "items": [{"service": name, "id": name,
            "outlook": "degrading", "forecast": {"outlook": "degrading"}}, {"member": name, "outlook": "degrading"}]});
        story.cluster(forecast);
        let views = [
            View::Overview,
            View::Services,
            View::Explain(name.to_owned()),
            View::Graph,
            View::Service(name.to_owned()),
            View::Instance(name.to_owned(), name.to_owned()),
            View::Events,
        ];
        for view in views {
            story.state.open(view);
            let screen = story.screen(SIZE);
            let is_harmful = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{200f}' | '\u{202e}');
            assert!(!screen.contains(is_harmful), "{screen:?}");
            assert_eq!(screen.lines().count(), 30, "{screen}");
        }
    }
}

#[test]
fn every_view_fits_every_terminal() {
    for size in [(1, 1), (3, 2), (20, 5), (49, 12), (50, 12), (60, 13), (80, 24), (300, 100)] {
        for (_, tell) in STORIES {
            for (_, view) in views() {
                let mut story = tell(size);
                story.state.open(view);
                detail(&mut story);
                explain(&mut story);
                graph(&mut story);
                history(&mut story);
                story.screen(size);
                story.type_in("?");
                story.screen(size);
                // The terminal has another size before the dashboard hears of it.
                story.screen((size.0.min(7), size.1.min(3)));
            }
        }
    }
}

#[test]
fn on_a_tiny_terminal_the_verdict_is_left() {
    let mut story = crate::story::failing(SIZE);
    story.hear(Message::Resize(20, 5));
    let screen = story.screen((20, 5));
    assert!(screen.contains("✗"), "{screen}");
}

#[test]
fn states_that_are_not_known_are_unknown() {
    let mut story = Story::new(SIZE);
    story.connect();
    let mut strange = instance("web", "web-1", "levitating");
    strange["trend"] = json!("spiralling");
    strange["overlays"] = json!(["glowing"]);
    strange["forecast"] =
        json!({"outlook": "doom", "signal": "entropy", "likely_ms": 5_000, "now": 1.0, "threshold": 2.0});
    story.snapshot(vec![strange.clone()]);
    story.health(vec![health("web", "levitating", 0, json!({"unknown": 1}), 1)]);
    story.service(health("web", "levitating", 0, json!({"unknown": 1}), 1), vec![strange]);
    for (_, view) in views() {
        story.state.open(view);
        story.screen(SIZE);
    }
    story.state.open(View::Service("web".to_owned()));
    assert!(story.screen(SIZE).contains("unknown"));
}

#[test]
fn numbers_that_are_none_draw_nothing_wrong() {
    for (now, threshold, likely) in [(0.0, 0.0, 0), (1e308, 1e308, u64::MAX), (-5.0, 5.0, 1)] {
        let mut story = calm(SIZE);
        let mut web = instance("web", "web-2", "passing");
        web["forecast"] = json!({"signal": "latency", "likely_ms": likely, "earliest_ms": u64::MAX, "latest_ms": 0,
            "now": now, "threshold": threshold});
        story.service(health("web", "passing", 3, json!({"passing": 3}), 1), vec![web]);
        story.state.open(View::Service("web".to_owned()));
        story.screen(SIZE);
    }
}

#[test]
fn thousands_of_transitions_at_once_do_not_flood_the_events() {
    let mut story = calm(SIZE);
    let change = json!({"service": "web", "id": "web-1", "from": "passing", "state": "critical", "cause": "confirmed",
        "since": "2026-11-21T00:00:00Z"});
    let items = vec![change; 4_096];
    story.watch(json!({"event": "state", "revision": 50, "at": "2026-11-21T00:00:00Z", "items": items}));
    story.state.open(View::Events);
    assert!(story.screen(SIZE).contains("4046 more instances changed at once"));
}
