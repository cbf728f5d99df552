//! The metrics of probing, each declared once.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use rollcall_health::check::{Answer, Failure};

const PROBES: &str = "rollcall_probe_probes_total";
const LATENCY: &str = "rollcall_probe_duration_seconds";
const SCRAPES: &str = "rollcall_probe_scrapes_total";
const WAITING: &str = "rollcall_probe_waiting";
const CONNECTIONS: &str = "rollcall_probe_connections_total";
const IDLE: &str = "rollcall_probe_connections_idle";
const CLOSED: &str = "rollcall_probe_connections_closed_total";

/// A probe ended.
pub(super) fn ended(kind: &'static str, answer: Answer, latency: Duration) {
    counter!(PROBES, "type" => kind, "outcome" => outcome(answer)).increment(1);
    histogram!(LATENCY, "type" => kind).record(latency.as_secs_f64());
}

/// The label value of an outcome.
fn outcome(answer: Answer) -> &'static str {
    match answer {
        Answer::Passed => "passed",
        Answer::Strained => "strained",
        Answer::Failed(Failure::Refused) => "refused",
        Answer::Failed(Failure::Timeout) => "timeout",
        Answer::Failed(Failure::Status) => "status",
        Answer::Failed(Failure::Protocol) => "protocol",
        Answer::Failed(Failure::Resolve) => "resolve",
        Answer::Failed(Failure::Forbidden) => "forbidden",
        Answer::PutOff => "put_off",
    }
}

/// A metrics page was asked for.
pub(super) fn scraped(is_of_use: bool) {
    counter!(SCRAPES, "result" => if is_of_use { "ok" } else { "failed" }).increment(1);
}

/// A connection was made.
pub(super) fn connected() {
    counter!(CONNECTIONS).increment(1);
}

/// So many connections are kept for the next probe.
pub(super) fn idle(count: usize) {
    gauge!(IDLE).set(count as f64);
}

/// A connection that could have been kept was closed, since there were too many.
pub(super) fn pool_full() {
    counter!(CLOSED, "reason" => "full").increment(1);
}

/// Connections that were kept and not used for too long, or closed by the target.
pub(super) fn expired(count: usize) {
    counter!(CLOSED, "reason" => "idle").increment(count as u64);
}

/// A probe that waits for its place, until the value is dropped.
pub(super) struct Waiting;

/// Counts a probe among those that wait.
pub(super) fn waiting() -> Waiting {
    gauge!(WAITING).increment(1.0);
    Waiting
}

impl Drop for Waiting {
    fn drop(&mut self) {
        gauge!(WAITING).decrement(1.0);
    }
}

/// Says what the metrics mean.
pub(crate) fn describe() {
    describe_counter!(PROBES, "Probes that ended, by type of check and outcome");
    describe_histogram!(
        LATENCY,
        "Time from the first packet of a probe to its answer, or to giving up, by type of check"
    );
    describe_counter!(
        SCRAPES,
        "Metrics pages of instances asked for, by result: failed is also a page that says nothing of load"
    );
    describe_gauge!(WAITING, "Probes that wait for their place: of the host, of the node, in the rate");
    describe_counter!(CONNECTIONS, "Connections made to probe");
    describe_gauge!(IDLE, "Connections kept for the next probe");
    describe_counter!(CLOSED, "Connections that were kept, or could have been, and were closed, by reason");
}
