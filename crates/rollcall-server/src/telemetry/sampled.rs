//! What is measured by looking, when the page is asked for: Raft, the catalogue, and the health of instances as this node
//! sees it.

use metrics::{Unit, describe_gauge, gauge};
use rollcall_api::StateCounts;
use rollcall_raft::RaftStatus;

use crate::app::App;
use crate::health::answer::Reading;
use crate::health::summary::Summary;

const BUILD: &str = "rollcall_build_info";
const QUORUM: &str = "rollcall_raft_has_quorum";
const VOTERS: &str = "rollcall_raft_voters";
const LEARNERS: &str = "rollcall_raft_learners";
const LAST: &str = "rollcall_raft_last_log_index";
const COMMITTED: &str = "rollcall_raft_commit_index";
const APPLIED: &str = "rollcall_raft_applied_index";
const SNAPSHOT: &str = "rollcall_raft_snapshot_index";
const FOLLOWER_LAG: &str = "rollcall_raft_follower_lag_entries";
const SERVICES: &str = "rollcall_catalog_services";
const INSTANCES: &str = "rollcall_catalog_instances";
const SERVICES_BY_STATE: &str = "rollcall_health_services";
const INSTANCES_BY_STATE: &str = "rollcall_health_instances";
const OVERLAID: &str = "rollcall_health_instances_overlaid";
const HEALTHY: &str = "rollcall_health_instances_healthy";
const WITHOUT_HEALTHY: &str = "rollcall_health_services_without_healthy";
const PREDICTED: &str = "rollcall_forecast_instances_predicted";

/// Describes them.
pub(super) fn describe() {
    describe_gauge!(BUILD, Unit::Count, "1, with the version of the program");
    describe_gauge!(QUORUM, Unit::Count, "1 while this node hears a leader that has a majority, else 0");
    describe_gauge!(VOTERS, Unit::Count, "Nodes with a vote");
    describe_gauge!(LEARNERS, Unit::Count, "Nodes that copy the log without a vote");
    describe_gauge!(LAST, Unit::Count, "Index of the last entry of the log");
    describe_gauge!(COMMITTED, Unit::Count, "Index up to which this node knows the log to be committed");
    describe_gauge!(APPLIED, Unit::Count, "Index up to which this node applied the log: the revision it answers with");
    describe_gauge!(SNAPSHOT, Unit::Count, "Index up to which the latest snapshot goes");
    describe_gauge!(FOLLOWER_LAG, Unit::Count, "Entries that the slowest other node lacks; 0 on who does not lead");
    describe_gauge!(SERVICES, Unit::Count, "Services in the catalogue");
    describe_gauge!(INSTANCES, Unit::Count, "Instances in the catalogue");
    describe_gauge!(SERVICES_BY_STATE, Unit::Count, "Services by state, that of their worst active instance");
    describe_gauge!(INSTANCES_BY_STATE, Unit::Count, "Instances by state, as this node sees them");
    describe_gauge!(
        OVERLAID,
        Unit::Count,
        "Instances by what holds beside their state: draining, quarantined, warming, flapping, protected"
    );
    describe_gauge!(HEALTHY, Unit::Count, "Instances that can take traffic");
    describe_gauge!(WITHOUT_HEALTHY, Unit::Count, "Services that have instances, none of which can take traffic");
    describe_gauge!(PREDICTED, Unit::Count, "Instances that are predicted to fail");
}

/// Looks.
pub(super) async fn sample(app: &App) {
    raft(&app.consensus.status());
    let catalog = app.consensus.catalog();
    gauge!(SERVICES).set(catalog.service_count() as f64);
    gauge!(INSTANCES).set(catalog.instance_count() as f64);
    // Fails only when counting panicked, which the log tells; the counts then stay what they were.
    if let Ok(summary) = app.summaries.of(&catalog, Reading::of(app, &catalog), false).await {
        health(&summary);
    }
}

fn raft(status: &RaftStatus) {
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!(QUORUM).set(f64::from(u8::from(status.has_quorum())));
    gauge!(VOTERS).set(status.voters.len() as f64);
    gauge!(LEARNERS).set(status.learners.len() as f64);
    gauge!(LAST).set(status.last_log_index as f64);
    gauge!(COMMITTED).set(status.commit_index as f64);
    gauge!(APPLIED).set(status.applied_index as f64);
    gauge!(SNAPSHOT).set(status.snapshot_index as f64);
    let slowest = status.followers.iter().map(|follower| follower.lag).max();
    gauge!(FOLLOWER_LAG).set(slowest.unwrap_or(0) as f64);
}

fn health(summary: &Summary) {
    let by_state = |name: &'static str, counts: StateCounts| {
        for (state, count) in counts.each() {
            gauge!(name, "state" => state.as_str()).set(count as f64);
        }
    };
    by_state(SERVICES_BY_STATE, summary.services);
    by_state(INSTANCES_BY_STATE, summary.instances);
    gauge!(HEALTHY).set(summary.healthy as f64);
    let without = summary.each.iter().filter(|service| service.instances > 0 && service.healthy == 0);
    gauge!(WITHOUT_HEALTHY).set(without.count() as f64);
    let mut overlaid = [0; 5];
    let mut predicted = 0;
    for service in &summary.each {
        let own = [service.draining, service.quarantined, service.warming, service.flapping, service.protected];
        overlaid.iter_mut().zip(own).for_each(|(sum, count)| *sum += count);
        predicted += service.predicted;
    }
    for (overlay, count) in ["draining", "quarantined", "warming", "flapping", "protected"].into_iter().zip(overlaid) {
        gauge!(OVERLAID, "overlay" => overlay).set(count as f64);
    }
    gauge!(PREDICTED).set(predicted as f64);
}
