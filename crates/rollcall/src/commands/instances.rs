//! `rollcall instances`.

use clap::Args;
use rollcall_api::query::{HealthFilter, InstancesQuery};
use rollcall_api::{Instance, List, Timestamp};

use crate::commands::pages::read_all;
use crate::failure::Failure;
use crate::narrative::address;
use crate::server::{Freshness, ServerArgs};
use crate::states::{age, now, score_cell, state_cell, trend_cell};
use crate::table::Table;

/// Arguments of `rollcall instances`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall instances web
  rollcall instances web --zone a --tag api --consistency linearizable
  rollcall instances --capability web_scraping
  rollcall instances web --output json | jq -r '.items[].endpoints[0].host'")]
pub(crate) struct InstancesArgs {
    /// The service
    #[arg(required_unless_present = "capability", conflicts_with = "capability")]
    service: Option<String>,
    /// Instances of every service that offers this capability
    #[arg(long)]
    capability: Option<String>,
    /// Only instances with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only instances in this zone
    #[arg(long)]
    zone: Option<String>,
    /// Only instances that can take traffic
    #[arg(long)]
    healthy: bool,
    /// Most instances to show
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    consistency: Freshness,
    /// Wait until the asked node has this revision: read your own writes
    #[arg(long, value_name = "REVISION")]
    min_revision: Option<u64>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Lists instances of a service or with a capability.
///
/// # Errors
/// What the cluster refuses.
pub(crate) async fn run(args: InstancesArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let list = read_all(args.limit, async |limit, cursor| {
        let query = InstancesQuery {
            health: args.healthy.then_some(HealthFilter::Healthy),
            tag: args.tag.clone(),
            zone: args.zone.clone(),
            limit,
            cursor,
            consistency: args.consistency.into(),
            min_revision: args.min_revision,
            ..InstancesQuery::default()
        };
        match (&args.service, &args.capability) {
            (_, Some(capability)) => session.client.instances_by_capability(capability, &query).await,
            (service, None) => session.client.instances(service.as_deref().unwrap_or_default(), &query).await,
        }
    });
    session.answer(&list.await?, |list| table(list, now()))
}

fn table(list: &List<Instance>, now: Timestamp) -> Table {
    let heads =
        ["SERVICE", "ID", "STATE", "FOR", "SCORE", "TREND", "ADDRESS", "ZONE", "VERSION", "WEIGHT", "TAGS", "REVISION"];
    let mut table = Table::new(heads).numeric(&["FOR", "SCORE", "WEIGHT", "REVISION"]);
    for instance in &list.items {
        table.row([
            instance.service.as_str().into(),
            instance.id.as_str().into(),
            state_cell(instance),
            age(instance.since, now).into(),
            score_cell(instance.score),
            trend_cell(instance),
            address(instance).into(),
            instance.zone.as_deref().into(),
            instance.version.as_deref().into(),
            u64::from(instance.weight).into(),
            Some(instance.tags.join(",")).filter(|text| !text.is_empty()).into(),
            instance.revision.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terminal::Paint;

    #[test]
    fn instances_are_a_table_that_lines_up() {
        let instance = |id: &str, host: &str, lifecycle: serde_json::Value| {
            json!({
                "service": "web", "id": id, "endpoints": [{ "name": "http", "protocol": "http", "host": host, "port": 8080 }],
                "zone": "a", "region": null, "version": null, "tags": ["api", "v2"], "metadata": {}, "weight": 10,
                "lease": null, "checks": [], "deregister_after_ms": null, "lifecycle": lifecycle, "state": "passing",
                "since": "2026-11-21T03:59:10.250Z", "cause": "observed", "score": 0.968, "trend": "degrading",
                "forecast": { "time_to_failure_ms": 120_000 }, "overlays": [], "looking": 2, "failing": 0, "registered_at": "2026-11-21T03:59:10.250Z",
                "modified_at": "2026-11-21T03:59:10.250Z", "registered_by": "alice", "created_revision": 1, "revision": 1
            })
        };
        let list: List<Instance> = serde_json::from_value(json!({
            "items": [
                instance("web-1", "10.0.0.7", json!({ "state": "active" })),
                instance("10.0.0.8:80/a#b", "::1", json!({ "state": "draining", "reason": "upgrade" })),
            ],
            "revision": 1, "next_cursor": null
        }))
        .unwrap();
        assert_eq!(
            table(&list, Timestamp::parse("2026-11-21T04:03:22.250Z").unwrap()).render(Paint::plain()),
            "SERVICE  ID               STATE               FOR  SCORE  TREND                 ADDRESS             ZONE  VERSION  WEIGHT  TAGS    REVISION\n\
             web      web-1            passing           4m12s   0.97  degrading, within 2m  http=10.0.0.7:8080  a     -            10  api,v2         1\n\
             web      10.0.0.8:80/a#b  passing,draining  4m12s   0.97  degrading, within 2m  http=[::1]:8080     a     -            10  api,v2         1\n"
        );
    }
}
