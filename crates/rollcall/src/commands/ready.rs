//! `rollcall ready`: whether a node serves, for whoever supervises it.

use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::server::{ServerArgs, explain};
use crate::terminal::print;

/// Arguments of `rollcall ready`.
#[derive(Debug, Args)]
#[command(after_help = "\
A node is ready when it knows a leader and has caught up. The exit code says it:
0 for ready, 3 for not ready or not there. Asks again until --timeout is over.

Examples:
  rollcall ready
  rollcall ready --server http://10.0.0.2:7400 --timeout 30s")]
pub(crate) struct ReadyArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// Asks.
///
/// # Errors
/// When no node that was named is ready in time.
pub(crate) async fn run(args: ReadyArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    session.client.ready().await.map_err(|error| explain(&error))?;
    if session.is_json() { print(&format!("{}\n", json!({ "ready": true }))) } else { print("ready\n") }
}
