//! What the layer counts.

use std::sync::OnceLock;

use axum::http::StatusCode;
use metrics::{Counter, counter, describe_counter, describe_gauge};

/// Open connections.
pub(super) const CONNECTIONS: &str = "rollcall_consul_connections";
/// Connections closed because of a cap.
pub(super) const CONNECTIONS_REFUSED: &str = "rollcall_consul_connections_refused_total";
/// Connections that ended with an error.
pub(super) const CONNECTION_ERRORS: &str = "rollcall_consul_connection_errors_total";
/// Queries that wait.
pub(super) const BLOCKING: &str = "rollcall_consul_blocking_queries";
/// Queries that were refused because too many wait.
pub(super) const BLOCKING_REFUSED: &str = "rollcall_consul_blocking_queries_refused_total";
/// Answers that were refused because others take their memory.
pub(super) const LARGE_REFUSED: &str = "rollcall_consul_large_answers_refused_total";
/// Wakes of queries that wait.
pub(super) const WAKES: &str = "rollcall_consul_wakes_total";
const REQUESTS: &str = "rollcall_consul_requests_total";

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Describes the metrics.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, "Requests to Consul's API answered, by class of status");
    describe_gauge!(CONNECTIONS, "Open connections to Consul's API");
    describe_counter!(CONNECTIONS_REFUSED, "Connections to Consul's API closed because of a cap");
    describe_counter!(CONNECTION_ERRORS, "Connections to Consul's API that ended with an error");
    describe_gauge!(BLOCKING, "Blocking queries that wait");
    describe_counter!(BLOCKING_REFUSED, "Blocking queries refused because as many wait as may");
    describe_counter!(LARGE_REFUSED, "Lists of keys refused because other large answers take the memory");
    describe_counter!(WAKES, "Times that a blocking query was woken to look again");
}

/// Counts answers by class of status; each counter is looked up once.
#[derive(Default)]
pub(super) struct Meter([OnceLock<Counter>; CLASSES.len()]);

impl Meter {
    pub(super) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.0[class].get_or_init(|| counter!(REQUESTS, "status" => CLASSES[class])).increment(1);
    }
}
