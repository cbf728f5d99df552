//! What DNS counts. Handles are taken once: looking one up costs as much as an answer.

use hickory_proto::op::ResponseCode;
use metrics::{Counter, Unit, counter, describe_counter, describe_gauge};

use super::message::Transport;

const QUERIES: &str = "rollcall_dns_queries_total";
const TRUNCATED: &str = "rollcall_dns_truncated_total";
const LIMITED: &str = "rollcall_dns_limited_total";
const PREPARED: &str = "rollcall_dns_prepared_total";
/// Open connections.
pub(super) const CONNECTIONS: &str = "rollcall_dns_connections";
/// Connections closed because of a cap.
pub(super) const CONNECTIONS_REFUSED: &str = "rollcall_dns_connections_refused_total";

/// How queries end.
const OUTCOMES: [&str; 8] = ["answered", "empty", "nxdomain", "refused", "formerr", "notimp", "failed", "silence"];

/// Describes the metrics.
pub(crate) fn describe() {
    describe_counter!(QUERIES, Unit::Count, "DNS queries, by transport and by how they ended");
    describe_counter!(TRUNCATED, Unit::Count, "DNS answers over UDP that did not hold everything");
    describe_counter!(LIMITED, Unit::Count, "DNS queries sent to TCP because their network had its share");
    describe_counter!(PREPARED, Unit::Count, "DNS queries answered with bytes that were prepared");
    describe_gauge!(CONNECTIONS, Unit::Count, "Open DNS connections");
    describe_counter!(CONNECTIONS_REFUSED, Unit::Count, "DNS connections closed because of a cap");
}

/// How a query ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    Empty,
    NxDomain,
    Refused,
    FormErr,
    NotImp,
    Failed,
    Silence,
}

impl Outcome {
    /// The outcome of an answer with this code, with records or without.
    pub(super) fn of(code: ResponseCode, is_empty: bool) -> Self {
        match code {
            ResponseCode::NoError if is_empty => Self::Empty,
            ResponseCode::NoError => Self::Answered,
            ResponseCode::NXDomain => Self::NxDomain,
            ResponseCode::Refused => Self::Refused,
            ResponseCode::FormErr => Self::FormErr,
            ResponseCode::NotImp | ResponseCode::BADVERS => Self::NotImp,
            _ => Self::Failed,
        }
    }
}

/// The counters of one transport.
#[derive(Clone)]
pub(super) struct Counters {
    outcomes: [Counter; OUTCOMES.len()],
    pub(super) truncated: Counter,
    pub(super) limited: Counter,
    pub(super) prepared: Counter,
}

impl Counters {
    /// Those of a transport.
    pub(super) fn of(transport: Transport) -> Self {
        let transport = transport.word();
        Self {
            outcomes: OUTCOMES.map(|outcome| counter!(QUERIES, "transport" => transport, "outcome" => outcome)),
            truncated: counter!(TRUNCATED),
            limited: counter!(LIMITED),
            prepared: counter!(PREPARED),
        }
    }

    /// Counts a query.
    pub(super) fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].increment(1);
    }
}
