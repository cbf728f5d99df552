//! `rollcall kv`: keys and values, raw bytes both ways.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rollcall_api::client::Precondition;
use rollcall_api::query::{KeysQuery, ReadQuery};
use rollcall_api::{Key, List};
use serde_json::json;

use crate::commands::input::read;
use crate::commands::pages::read_all;
use crate::failure::Failure;
use crate::server::{Freshness, ServerArgs, explain};
use crate::table::Table;
use crate::terminal::{print_bytes, printable};

/// Subcommands of `rollcall kv`.
#[derive(Debug, Subcommand)]
pub(crate) enum KvCommand {
    /// List keys, with who holds them
    List(ListArgs),
    /// Print the value of a key as it is
    Get(GetArgs),
    /// Set a key
    Put(PutArgs),
    /// Remove a key; one that is not there is no error
    Delete(DeleteArgs),
}

/// Arguments of `rollcall kv list`.
#[derive(Debug, Args)]
#[command(after_help = "\
LOCKED counts how often a key was locked; HOLDER is the session that holds it.

Examples:
  rollcall kv list
  rollcall kv list deploy/
  rollcall kv list deploy/ --output json")]
pub(crate) struct ListArgs {
    /// Only keys that begin so
    prefix: Option<String>,
    /// Most keys to show
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    consistency: Freshness,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `rollcall kv get`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall kv get deploy/web/current
  rollcall kv get deploy/web/current --consistency linearizable")]
pub(crate) struct GetArgs {
    /// The key
    key: String,
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    consistency: Freshness,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `rollcall kv put`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall kv put deploy/web/current 1.4.2
  rollcall kv put logo --file logo.png
  date | rollcall kv put now --file -
  rollcall kv put lock me --create            fails if somebody was first")]
pub(crate) struct PutArgs {
    /// The key
    key: String,
    /// The value
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    value: Option<String>,
    /// The value is what this file holds, - for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only if the key was last changed at this revision
    #[arg(long, value_name = "REVISION", conflicts_with = "create")]
    if_revision: Option<u64>,
    /// Only if the key is not there yet
    #[arg(long)]
    create: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `rollcall kv delete`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall kv delete deploy/web/current
  rollcall kv delete lock --if-revision 118")]
pub(crate) struct DeleteArgs {
    /// The key
    key: String,
    /// Only if the key was last changed at this revision
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Lists, reads, sets or removes keys.
///
/// # Errors
/// When the key is not there, the file cannot be read, or what the cluster refuses.
pub(crate) async fn run(command: KvCommand) -> Result<(), Failure> {
    match command {
        KvCommand::List(args) => list(args).await,
        KvCommand::Get(args) => get(args).await,
        KvCommand::Put(args) => put(args).await,
        KvCommand::Delete(args) => delete(args).await,
    }
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let list = read_all(args.limit, async |limit, cursor| {
        let (prefix, consistency) = (args.prefix.clone(), args.consistency.into());
        session.client.keys(&KeysQuery { prefix, limit, cursor, consistency, min_revision: None }).await
    });
    session.answer(&list.await?, table)
}

fn table(list: &List<Key>) -> Table {
    let mut table =
        Table::new(["KEY", "BYTES", "REVISION", "LOCKED", "HOLDER"]).numeric(&["BYTES", "REVISION", "LOCKED"]);
    for key in &list.items {
        table.row([
            key.key.as_str().into(),
            key.bytes.into(),
            key.revision.into(),
            key.lock_index.into(),
            key.session.as_deref().into(),
        ]);
    }
    table
}

async fn get(args: GetArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let query = ReadQuery { consistency: args.consistency.into(), min_revision: None };
    let found = session.client.get_key(&args.key, &query).await.map_err(|error| explain(&error))?;
    let found = found.ok_or_else(|| Failure::failed(format!("there is no key {:?}", args.key)))?;
    if !session.is_json() {
        return print_bytes(&found.value);
    }
    let text = String::from_utf8(found.value.to_vec()).map_err(|_| {
        Failure::failed(format!("the value of {:?} is not text", args.key))
            .hint("without --output json it is printed as it is")
    })?;
    session.say(&json!({ "key": args.key, "value": text, "revision": found.revision, "lock_index": found.lock_index, "session": found.session }), |_| String::new())
}

async fn put(args: PutArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let value = match (args.value, &args.file) {
        (Some(value), _) => value.into_bytes(),
        (None, Some(path)) => read(path)?,
        (None, None) => Vec::new(),
    };
    let precondition = match (args.if_revision, args.create) {
        (Some(revision), _) => Precondition::At(revision),
        (None, true) => Precondition::Absent,
        (None, false) => Precondition::None,
    };
    let reply = session.client.put_key(&args.key, value, precondition).await.map_err(|error| explain(&error))?;
    session.say(&reply, |reply| format!("set {}, revision {}\n", printable(&args.key), reply.revision))
}

async fn delete(args: DeleteArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let precondition = args.if_revision.map_or(Precondition::None, Precondition::At);
    session.client.delete_key(&args.key, precondition).await.map_err(|error| explain(&error))?;
    session.say(&json!({ "key": args.key, "exists": false }), |_| format!("deleted {}\n", printable(&args.key)))
}
