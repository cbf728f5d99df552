//! What health counts.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use rollcall_health::DigestKind;

const LOOKED_AT: &str = "rollcall_health_instances_looked_at";
const SHARING: &str = "rollcall_health_nodes_sharing";
const UNDER_WAY: &str = "rollcall_health_probes_under_way";
const BEHIND: &str = "rollcall_health_probes_behind_seconds";
const LEASES: &str = "rollcall_health_leases";
const HEARTBEATS: &str = "rollcall_health_heartbeats_total";
const LEASES_EXPIRED: &str = "rollcall_health_leases_expired_total";
const ENTRIES: &str = "rollcall_journal_entries_total";
const TRANSITIONS: &str = "rollcall_journal_transitions_total";
const WAITING: &str = "rollcall_journal_waiting";
const REAPED: &str = "rollcall_journal_deregistered_total";
const SERIES_BYTES: &str = "rollcall_forecast_series_bytes";
const WITHOUT_ROOM: &str = "rollcall_forecast_without_room_total";
const UNTOLD: &str = "rollcall_forecast_chunks_untold";
const FORECASTS_REFUSED: &str = "rollcall_forecast_values_refused_total";
const CHECK_PAGES_REFUSED: &str = "rollcall_check_values_refused_total";
const CHECK_CHUNKS_UNTOLD: &str = "rollcall_check_chunks_untold";
const PROTECTED: &str = "rollcall_journal_protected_services";

/// Describes the metrics of health.
pub(crate) fn describe() {
    describe_gauge!(
        LOOKED_AT,
        Unit::Count,
        "Instances that this node looks at: those it probes, and those it confirms now"
    );
    describe_gauge!(SHARING, Unit::Count, "Nodes that share the probing, as this node sees it");
    describe_gauge!(UNDER_WAY, Unit::Count, "Probes that run or wait for their turn");
    describe_gauge!(BEHIND, Unit::Seconds, "How long the oldest probe that is due has waited");
    describe_gauge!(LEASES, Unit::Count, "Leases whose heartbeats arrive at this node");
    describe_counter!(HEARTBEATS, Unit::Count, "Heartbeats taken");
    describe_counter!(LEASES_EXPIRED, Unit::Count, "Leases whose heartbeats stopped to arrive at this node");
    describe_counter!(ENTRIES, Unit::Count, "Log entries with transitions of status that this node wrote as leader");
    describe_counter!(TRANSITIONS, Unit::Count, "Transitions of status in those entries");
    describe_gauge!(WAITING, Unit::Count, "Transitions of status that wait to be written by this node as leader");
    describe_counter!(
        REAPED,
        Unit::Count,
        "Instances that this node deregistered as leader because they were critical for long"
    );
    describe_gauge!(SERIES_BYTES, Unit::Bytes, "Memory of the series by which this node predicts failures");
    describe_counter!(
        WITHOUT_ROOM,
        Unit::Count,
        "Samples of instances that have no trend because the series of this node have no more room"
    );
    describe_counter!(
        FORECASTS_REFUSED,
        Unit::Count,
        "Values of others in the place of predictions that are none, by reason"
    );
    describe_counter!(
        CHECK_PAGES_REFUSED,
        Unit::Count,
        "Values of others in the place of statuses of checks that are none, by reason"
    );
    describe_gauge!(
        CHECK_CHUNKS_UNTOLD,
        Unit::Count,
        "Chunks of instances whose checks this node does not tell one by one, since they are too many, by what it says of them"
    );
    describe_gauge!(
        UNTOLD,
        Unit::Count,
        "Chunks of instances about which this node predicts failures whose numbers find no room in gossip"
    );
    describe_gauge!(
        PROTECTED,
        Unit::Count,
        "Services of which nothing is deregistered because too much failed at once"
    );
}

pub(super) fn health(looked_at: usize, sharing: usize, under_way: usize, behind: Duration) {
    gauge!(SHARING).set(sharing as f64);
    gauge!(LOOKED_AT).set(looked_at as f64);
    gauge!(UNDER_WAY).set(under_way as f64);
    gauge!(BEHIND).set(behind.as_secs_f64());
}

pub(super) fn leases(count: usize) {
    gauge!(LEASES).set(count as f64);
}

pub(super) fn heartbeat() {
    counter!(HEARTBEATS).increment(1);
}

pub(super) fn lease_expired() {
    counter!(LEASES_EXPIRED).increment(1);
}

pub(super) fn journaled(transitions: usize) {
    counter!(ENTRIES).increment(1);
    counter!(TRANSITIONS).increment(transitions as u64);
}

pub(super) fn journal_waiting(count: usize) {
    gauge!(WAITING).set(count as f64);
}

pub(super) fn reaped() {
    counter!(REAPED).increment(1);
}

pub(super) fn protected(services: usize) {
    gauge!(PROTECTED).set(services as f64);
}

pub(super) fn series((bytes, without_room): (usize, u64)) {
    gauge!(SERIES_BYTES).set(bytes as f64);
    counter!(WITHOUT_ROOM).absolute(without_room);
}

pub(super) fn untold(chunks: usize) {
    gauge!(UNTOLD).set(chunks as f64);
}

pub(super) fn check_chunks_untold(kind: DigestKind, chunks: usize) {
    gauge!(CHECK_CHUNKS_UNTOLD, "kind" => kind.as_str()).set(chunks as f64);
}

pub(super) fn check_page_refused(reason: &'static str) {
    counter!(CHECK_PAGES_REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn forecasts_refused(reason: &'static str) {
    counter!(FORECASTS_REFUSED, "reason" => reason).increment(1);
}
