//! `rollcall event`: what people and programs tell each other through the cluster.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rollcall_api::query::EventsQuery;
use rollcall_api::{EventRequest, List, UserEvent, base64_text};

use crate::commands::input::read;
use crate::failure::Failure;
use crate::server::{Freshness, ServerArgs, explain};
use crate::table::Table;
use crate::terminal::printable;

/// Longest piece of a payload that a table shows, in characters.
const PAYLOAD_SHOWN: usize = 60;

/// Subcommands of `rollcall event`.
#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// Fire an event
    Fire(FireArgs),
    /// List the latest events, oldest first
    List(ListArgs),
}

/// Arguments of `rollcall event fire`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every node keeps the latest 256 events, in the same order.

Examples:
  rollcall event fire deploy 'web 1.4.2'
  rollcall event fire reload
  rollcall event fire state --file state.bin      at most 512 bytes")]
pub(crate) struct FireArgs {
    /// What it is about
    name: String,
    /// What it says
    #[arg(conflicts_with = "file")]
    payload: Option<String>,
    /// It says what this file holds, - for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `rollcall event list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall event list
  rollcall event list deploy
  rollcall event list deploy --output json      with whole payloads")]
pub(crate) struct ListArgs {
    /// Only events of this name
    name: Option<String>,
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    consistency: Freshness,
    #[command(flatten)]
    server: ServerArgs,
}

/// Fires or lists events.
///
/// # Errors
/// When the file cannot be read, or what the cluster refuses.
pub(crate) async fn run(command: EventCommand) -> Result<(), Failure> {
    match command {
        EventCommand::Fire(args) => fire(args).await,
        EventCommand::List(args) => list(args).await,
    }
}

async fn fire(args: FireArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let payload_base64 = args.file.as_deref().map(read).transpose()?.map(|bytes| base64_text(&bytes));
    let request = EventRequest { name: args.name, payload: args.payload, payload_base64 };
    let fired = session.client.fire_event(&request).await.map_err(|error| explain(&error))?;
    session.say(&fired, |fired| format!("fired {}, revision {}\n", printable(&fired.name), fired.revision))
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let query = EventsQuery { name: args.name, consistency: args.consistency.into(), min_revision: None };
    let list = session.client.events(&query).await.map_err(|error| explain(&error))?;
    session.answer(&list.value, table)
}

fn table(list: &List<UserEvent>) -> Table {
    let mut table = Table::new(["REVISION", "AT", "NAME", "PAYLOAD"]).numeric(&["REVISION"]);
    for event in &list.items {
        let payload = match &event.payload {
            Some(text) => rollcall_api::words::one_line(text, PAYLOAD_SHOWN).into_owned(),
            None => format!("base64:{}", rollcall_api::words::one_line(&event.payload_base64, PAYLOAD_SHOWN)),
        };
        table.row([
            event.revision.into(),
            event.at.to_string().into(),
            event.name.as_str().into(),
            Some(payload).filter(|payload| !payload.is_empty()).into(),
        ]);
    }
    table
}
