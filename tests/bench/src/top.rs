//! What a frame of the dashboard costs with many instances. No processes, no peers, no terminal: a screen in memory,
//! drawn anew each time and read as text. What is timed is the processor's work for it: other programs of a busy machine would
//! be found in every hundredth frame.
//!
//! Expected: the screen itself has 3,000 cells, about 0.25 ms; the list of services sorts 500 names, 0.15 ms more; the overview
//! looks at every service and at the instances of those with predictions, 1 ms.

use std::time::Duration;

use anyhow::Result;
use rollcall_api::{Timestamp, WatchEvent};
use rollcall_tui::{Answer, LinkEvent, Look, Message, State, View, picture, update};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

const SIZE: (u16, u16) = (100, 30);
/// Frames that are timed of each view.
const FRAMES: usize = 500;
/// Most time for the slowest frame of a hundred.
const GOAL: Duration = Duration::from_millis(8);

/// Draws every view with `services` of `instances_each` and returns the report.
pub(crate) fn measure(services: usize, instances_each: usize) -> Result<String> {
    let mut state = State::new(Look { is_ascii: false, has_color: true }, SIZE, Timestamp::from_millis(1_000_000));
    update(&mut state, Message::Link(LinkEvent::Connected { node: "http://127.0.0.1:7400".to_owned() }));
    fill(&mut state, services, instances_each)?;
    let mut text = format!(
        "A frame of {} × {} with {} instances in {services} services:\n\n| View | Median | 99 of 100 | ≤ {} ms |\n|---|---|---|---|\n",
        SIZE.0,
        SIZE.1,
        services * instances_each,
        GOAL.as_millis()
    );
    let views = [
        ("overview", View::Overview),
        ("services", View::Services),
        ("service", View::Service(name(0))),
        ("instance", View::Instance(name(0), "i-0".to_owned())),
        ("cluster", View::Cluster),
        ("events", View::Events),
    ];
    for (title, view) in views {
        state.open(view);
        let mut times = Vec::with_capacity(FRAMES);
        for _ in 0..FRAMES {
            let start = worked();
            std::hint::black_box(picture(&state));
            times.push(worked() - start);
        }
        times.sort_unstable();
        let (median, slow) = (times[FRAMES / 2], times[FRAMES * 99 / 100]);
        let met = if slow <= GOAL { "yes" } else { "no" };
        text.push_str(&format!("| {title} | {median:.2?} | {slow:.2?} | {met} |\n"));
    }
    Ok(text)
}

/// Processor time of this thread so far.
fn worked() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a thread's time does not run before its start")
}

fn name(service: usize) -> String {
    format!("service-{service:03}")
}

fn fill(state: &mut State, services: usize, instances_each: usize) -> Result<()> {
    let mut reports = Vec::new();
    let mut items = Vec::new();
    for service in 0..services {
        let health = json!({"service": name(service), "status": "critical", "instances": instances_each,
            "healthy": instances_each - 1, "states": {"passing": instances_each - 1, "critical": 1}, "predicted": 1});
        items.extend((0..instances_each).map(|index| instance(&name(service), index)));
        reports.push(health);
    }
    for (part, chunk) in items.chunks(500).enumerate() {
        let last = (part + 1) * 500 >= items.len();
        let event = json!({"event": "snapshot", "revision": 9, "items": chunk, "part": part, "last": last});
        let event: WatchEvent = serde_json::from_value(event)?;
        update(state, Message::Watch(Box::new(event)));
    }
    let report = json!({"status": "critical", "services": {}, "instances": {}, "healthy": 0, "items": reports,
        "revision": 9, "next_cursor": null});
    update(state, Message::Answer(Answer::Health(Ok(serde_json::from_value(report)?))));
    for (service, mut report) in reports.into_iter().enumerate() {
        let of_it = &items[service * instances_each..(service + 1) * instances_each];
        report["items"] = Value::Array(of_it.to_vec());
        report["omitted"] = json!(0);
        report["revision"] = json!(9);
        update(state, Message::Answer(Answer::Service(name(service), Ok(serde_json::from_value(report)?))));
    }
    Ok(())
}

/// The first is critical, and the second is predicted to fail.
fn instance(service: &str, index: usize) -> Value {
    let forecast = json!({"time_to_failure_ms": 120_000, "earliest_ms": 60_000, "likely_ms": 80_000 + index,
        "latest_ms": 125_000, "confidence": 0.8, "signal": "latency", "now": 700.0, "threshold": 2_000.0});
    json!({
        "service": service, "id": format!("i-{index}"),
        "endpoints": [{"name": "http", "protocol": "http", "host": "10.0.1.7", "port": 8080}],
        "zone": "a", "region": null, "version": "1.4.2", "tags": ["api"], "metadata": {}, "weight": 10, "lease": null,
        "checks": [], "deregister_after_ms": null, "lifecycle": {"state": "active"},
        "state": if index == 0 { "critical" } else { "passing" }, "since": "1970-01-01T00:00:00Z", "cause": "observed",
        "score": 0.98, "trend": "stable", "forecast": if index == 1 { forecast } else { Value::Null }, "overlays": [],
        "looking": 2, "failing": 0, "registered_at": "1970-01-01T00:00:00Z", "modified_at": "1970-01-01T00:00:00Z",
        "registered_by": "bench", "created_revision": 1, "revision": 1,
    })
}
