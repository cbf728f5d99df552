//! `rollcall history`: who, what, when, why.

use clap::Args;
use rollcall_api::query::HistoryQuery;
use rollcall_api::{HistoryRecord, List};

use crate::commands::pages::read_all;
use crate::failure::Failure;
use crate::narrative::transition;
use crate::server::ServerArgs;
use crate::table::Table;

/// Arguments of `rollcall history`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall history
  rollcall history web web-1
  rollcall history web --from 2026-11-21T00:00:00Z --output json")]
pub(crate) struct HistoryArgs {
    /// Only this service
    service: Option<String>,
    /// Only this instance
    #[arg(requires = "service")]
    instance: Option<String>,
    /// From this time on, RFC 3339
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Up to this time, RFC 3339
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Most records to show
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Lists what happened.
///
/// # Errors
/// What the cluster refuses.
pub(crate) async fn run(args: HistoryArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let list = read_all(args.limit, async |limit, cursor| {
        let query = HistoryQuery {
            service: args.service.clone(),
            instance: args.instance.clone(),
            from: args.from.clone(),
            to: args.to.clone(),
            limit,
            cursor,
        };
        session.client.history(&query).await
    });
    session.answer(&list.await?, table)
}

fn table(list: &List<HistoryRecord>) -> Table {
    let mut table = Table::new(["REVISION", "AT", "ACTION", "SERVICE", "INSTANCE/KEY", "ACTOR", "VIA", "CAUSE"])
        .numeric(&["REVISION"]);
    for record in &list.items {
        table.row([
            record.revision.into(),
            record.at.to_string().into(),
            record.action.as_str().into(),
            record.service.as_deref().into(),
            record.key.as_deref().or(record.instance.as_deref()).or(record.session.as_deref()).into(),
            record.actor.as_str().into(),
            record.via.as_str().into(),
            cause(record).into(),
        ]);
    }
    table
}

/// Why; of a transition also what it was.
fn cause(record: &HistoryRecord) -> Option<String> {
    match (record.from, record.state) {
        (Some(from), Some(to)) => Some(transition(from, to, record.cause.as_deref().unwrap_or_default())),
        _ => record.cause.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terminal::Paint;

    #[test]
    fn history_is_a_table() {
        let list: List<HistoryRecord> = serde_json::from_value(json!({
            "items": [{ "revision": 10, "at": "2026-11-21T03:59:11.000Z", "actor": "rollcall", "via": "node-1",
                        "service": "web", "instance": "web-1", "action": "state", "cause": "confirmed",
                        "from": "passing", "state": "critical" },
                      { "revision": 9, "at": "2026-11-21T03:59:10.250Z", "actor": "alice", "via": "node-2",
                        "service": "web", "instance": null, "action": "defined", "cause": null }],
            "revision": 10, "next_cursor": null
        }))
        .unwrap();
        assert_eq!(
            table(&list).render(Paint::plain()),
            "REVISION  AT                        ACTION   SERVICE  INSTANCE/KEY  ACTOR     VIA     CAUSE\n      \
             10  2026-11-21T03:59:11.000Z  state    web      web-1         rollcall  node-1  passing → critical, confirmed\n       \
             9  2026-11-21T03:59:10.250Z  defined  web      -             alice     node-2  -\n"
        );
    }
}
