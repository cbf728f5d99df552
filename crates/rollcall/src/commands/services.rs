//! `rollcall services`.

use std::collections::BTreeMap;

use clap::Args;
use rollcall_api::query::ServicesQuery;
use rollcall_api::{List, Service, ServiceHealth};
use serde::Serialize;

use crate::commands::health::whole_report;
use crate::commands::pages::read_all;
use crate::failure::Failure;
use crate::server::{Freshness, ServerArgs};
use crate::states::states_cell;
use crate::table::Table;

/// Arguments of `rollcall services`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall services
  rollcall services --capability web_scraping
  rollcall services --tag agent --output json | jq -r '.items[].name'")]
pub(crate) struct ServicesArgs {
    /// Only services with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only services that offer this capability
    #[arg(long)]
    capability: Option<String>,
    /// Most services to show
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    consistency: Freshness,
    #[command(flatten)]
    server: ServerArgs,
}

/// Lists the services.
///
/// # Errors
/// What the cluster refuses.
pub(crate) async fn run(args: ServicesArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let list = read_all(args.limit, async |limit, cursor| {
        let query = ServicesQuery {
            tag: args.tag.clone(),
            capability: args.capability.clone(),
            limit,
            cursor,
            consistency: args.consistency.into(),
            min_revision: None,
        };
        session.client.services(&query).await
    });
    let list = list.await?;
    let health = whole_report(&session, args.consistency).await?;
    session.answer(&joined(list, health.items), table)
}

/// A service and its health; `None` when it came or went between the two answers.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    service: Service,
    health: Option<ServiceHealth>,
}

fn joined(list: List<Service>, health: Vec<ServiceHealth>) -> List<Row> {
    let mut health: BTreeMap<String, ServiceHealth> =
        health.into_iter().map(|health| (health.service.clone(), health)).collect();
    let row = |service: Service| {
        let health = health.remove(&service.name);
        Row { service, health }
    };
    List { items: list.items.into_iter().map(row).collect(), revision: list.revision, next_cursor: list.next_cursor }
}

fn table(list: &List<Row>) -> Table {
    let mut table = Table::new(["NAME", "INSTANCES", "STATES", "VERSION", "CAPABILITIES", "OWNER", "REVISION"])
        .numeric(&["INSTANCES", "REVISION"]);
    for Row { service, health } in &list.items {
        let definition = service.definition.as_ref();
        let capabilities = definition.map(|definition| definition.capabilities.join(","));
        table.row([
            service.name.as_str().into(),
            service.instance_count.into(),
            health.as_ref().map_or_else(|| None::<&str>.into(), |health| states_cell(&health.states)),
            definition.and_then(|definition| definition.version.as_deref()).into(),
            capabilities.filter(|text| !text.is_empty()).into(),
            definition.and_then(|definition| definition.owner.as_deref()).into(),
            service.revision.into(),
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
    fn services_are_a_table() {
        let list: List<Service> = serde_json::from_value(json!({
            "items": [
                { "name": "web", "definition": null, "instance_count": 12, "config_version": null, "created_revision": 3, "revision": 120 },
            ],
            "revision": 120, "next_cursor": null
        }))
        .unwrap();
        let states = json!({ "passing": 10, "warning": 1, "critical": 1 });
        let health =
            json!({ "service": "web", "status": "critical", "instances": 12, "healthy": 11, "states": states });
        assert_eq!(
            table(&joined(list, vec![serde_json::from_value(health).unwrap()])).render(Paint::plain()),
            "NAME  INSTANCES  STATES                             VERSION  CAPABILITIES  OWNER  REVISION\n\
             web          12  1 critical, 1 warning, 10 passing  -        -             -           120\n"
        );
    }

    #[test]
    fn a_definition_fills_its_columns() {
        let service = r#"{"items":[{"name":"web","definition":{"version":"2.0","capabilities":["a","b"],"owner":"me"},
            "instance_count":0,"config_version":1,"created_revision":3,"revision":4}],"revision":4,"next_cursor":null}"#;
        let list: List<Service> = serde_json::from_str(service).unwrap();
        assert_eq!(
            table(&joined(list, Vec::new())).render(Paint::plain()),
            "NAME  INSTANCES  STATES  VERSION  CAPABILITIES  OWNER  REVISION\n\
             web           0  -       2.0      a,b           me            4\n"
        );
    }
}
