//! `rollcall services`.

use clap::Args;
use rollcall_api::query::ServicesQuery;
use rollcall_api::{List, Service};

use crate::commands::pages::read_all;
use crate::failure::Failure;
use crate::server::{Freshness, ServerArgs};
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
    session.answer(&list.await?, table)
}

fn table(list: &List<Service>) -> Table {
    let mut table = Table::new(["NAME", "INSTANCES", "VERSION", "CAPABILITIES", "OWNER", "REVISION"])
        .numeric(&["INSTANCES", "REVISION"]);
    for service in &list.items {
        let definition = service.definition.as_ref();
        let capabilities = definition.map(|definition| definition.capabilities.join(","));
        table.row([
            service.name.as_str().into(),
            service.instance_count.into(),
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
        assert_eq!(
            table(&list).render(Paint::plain()),
            "NAME  INSTANCES  VERSION  CAPABILITIES  OWNER  REVISION\n\
             web          12  -        -             -           120\n"
        );
    }

    #[test]
    fn a_definition_fills_its_columns() {
        let service = r#"{"items":[{"name":"web","definition":{"version":"2.0","capabilities":["a","b"],"owner":"me"},
            "instance_count":0,"config_version":1,"created_revision":3,"revision":4}],"revision":4,"next_cursor":null}"#;
        let list: List<Service> = serde_json::from_str(service).unwrap();
        assert_eq!(
            table(&list).render(Paint::plain()),
            "NAME  INSTANCES  VERSION  CAPABILITIES  OWNER  REVISION\n\
             web           0  2.0      a,b           me            4\n"
        );
    }
}
