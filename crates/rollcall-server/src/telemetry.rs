//! The process's metrics: one recorder, rendered by `/metrics` in the Prometheus text format.
//!
//! `docs/metrics.md` is made from the descriptions here and in the crates below: see the tests.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::app::App;

#[cfg(test)]
mod page;
mod process;
mod sampled;

/// Bounds of the buckets of durations, in seconds.
const DURATION_BUCKETS: [f64; 12] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];
/// How often what was recorded is put into its buckets: a busy node records a million durations in this time, 8 MB.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Installs the recorder on the first call; every call gives the same handle.
///
/// # Errors
/// When another recorder was installed in this process, or the buckets are refused.
pub(crate) fn install() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new().set_buckets(&DURATION_BUCKETS)?.install_recorder()?;
    describe();
    Ok(HANDLE.get_or_init(|| handle).clone())
}

/// Puts durations into their buckets until `stop`. The recorder keeps each one until somebody does, and a node may be
/// scraped by nobody.
pub(crate) async fn tidy(recorder: PrometheusHandle, stop: CancellationToken) {
    let mut ticks = interval(UPKEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        recorder.run_upkeep();
    }
}

/// The page of metrics.
pub(crate) async fn page(app: &App) -> String {
    sampled::sample(app).await;
    let mut page = app.metrics.render();
    process::render(&mut page);
    page
}

fn describe() {
    describe_counter!("rollcall_http_requests_total", "HTTP requests answered, by method and class of status");
    describe_histogram!(
        "rollcall_http_request_duration_seconds",
        Unit::Seconds,
        "Time from a request's head to its answer's head"
    );
    describe_gauge!("rollcall_http_connections", "Open HTTP connections");
    describe_counter!("rollcall_http_connections_refused_total", "HTTP connections closed because of a cap");
    describe_counter!("rollcall_http_connection_errors_total", "HTTP connections that ended with an error");
    describe_gauge!("rollcall_watch_streams", "Open watch streams and long polls");
    describe_counter!(
        "rollcall_watch_begun_anew_total",
        "Followers of the cluster's events that fell behind and began anew"
    );
    describe_counter!("rollcall_watch_cut_off_total", "Subscribers sent back to the event ring for falling behind");
    rollcall_raft::describe_metrics();
    rollcall_gossip::describe_metrics();
    crate::health::metrics::describe();
    crate::selection::describe_metrics();
    crate::probe::describe_metrics();
    crate::dns::metrics::describe();
    crate::consul::metrics::describe();
    crate::locks::describe();
    sampled::describe();
    crate::reports::describe_metrics();
    crate::traces::metrics::describe();
}
