//! `rollcall config`: the configuration document of a service.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rollcall_api::client::Precondition;
use rollcall_api::query::ReadQuery;

use crate::commands::input::read;
use crate::failure::Failure;
use crate::server::{Freshness, ServerArgs, explain};
use crate::terminal::print_bytes;

/// Subcommands of `rollcall config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the document of a service
    Get(GetArgs),
    /// Set the document of a service; it must satisfy the service's JSON Schema, if there is one
    Set(SetArgs),
}

/// Arguments of `rollcall config get`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall config get data_analyst_agent > config.json
  rollcall config get data_analyst_agent --output json | jq .version")]
pub(crate) struct GetArgs {
    /// The service
    service: String,
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    consistency: Freshness,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `rollcall config set`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall config set data_analyst_agent config.json
  echo '{\"outlier_threshold\": 2.5}' | rollcall config set data_analyst_agent -
  rollcall config set data_analyst_agent config.json --if-revision 118")]
pub(crate) struct SetArgs {
    /// The service
    service: String,
    /// The JSON document, - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only if the document is still the one of this revision
    #[arg(long, value_name = "REVISION", conflicts_with = "create")]
    if_revision: Option<u64>,
    /// Only if there is no document yet
    #[arg(long)]
    create: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Reads or sets a document.
///
/// # Errors
/// When the file cannot be read, or what the cluster refuses.
pub(crate) async fn run(command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Get(args) => get(args).await,
        ConfigCommand::Set(args) => set(args).await,
    }
}

async fn get(args: GetArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let query = ReadQuery { consistency: args.consistency.into(), min_revision: None };
    let config = session.client.config(&args.service, &query).await.map_err(|error| explain(&error))?.value;
    if session.is_json() {
        return session.say(&config, |_| String::new());
    }
    // The document as it was written, byte for byte, so that `get` and `set` round-trip.
    let mut text = config.document.as_str().to_owned();
    text.push('\n');
    print_bytes(text.as_bytes())
}

async fn set(args: SetArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let document = read(&args.file)?;
    let precondition = match (args.if_revision, args.create) {
        (Some(revision), _) => Precondition::At(revision),
        (None, true) => Precondition::Absent,
        (None, false) => Precondition::None,
    };
    let reply =
        session.client.set_config(&args.service, document, precondition).await.map_err(|error| explain(&error))?;
    session.say(&reply, |reply| format!("set the configuration of {}, revision {}\n", args.service, reply.revision))
}
