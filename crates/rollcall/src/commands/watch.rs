//! `rollcall watch`: changes as they happen, across the loss of nodes.

use std::pin::pin;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt as _;
use rollcall_api::WatchEvent;
use rollcall_api::client::ClientError;

use crate::failure::{Exit, Failure};
use crate::narrative::{address, event_line};
use crate::server::{ServerArgs, Session, explain};
use crate::terminal::{print, printable, remark};

/// Before a stream that broke is opened again, when no node could be reached.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// Arguments of `rollcall watch`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without --since, a snapshot of what is there comes first. When a node goes
away, the watch goes on at the next one of --server, with no change lost and
none told twice.

Examples:
  rollcall watch
  rollcall watch web billing
  rollcall watch --since 1200 --server 127.0.0.1:7400,127.0.0.1:7410
  rollcall watch web --output json      one event per line, as the API has it")]
pub(crate) struct WatchArgs {
    /// Only these services
    services: Vec<String>,
    /// Begin after this revision, without a snapshot
    #[arg(long, value_name = "REVISION")]
    since: Option<u64>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Prints events until it is stopped.
///
/// # Errors
/// When no node can be reached at first, or the revision is compacted.
pub(crate) async fn run(args: WatchArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let services: Vec<&str> = args.services.iter().map(String::as_str).collect();
    let mut since = args.since;
    let mut was_connected = false;
    loop {
        let mut stream = pin!(session.client.watch(&services, since));
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => {
                    was_connected = true;
                    since = event.resume_from().or(since);
                    show(&session, &event)?;
                }
                Err(error) => bear(&error, was_connected)?,
            }
        }
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
}

/// Tells about a loss that may pass, and fails on any other.
fn bear(error: &ClientError, was_connected: bool) -> Result<(), Failure> {
    let failure = explain(error);
    if !was_connected || failure.exit() != Exit::Unavailable {
        return Err(failure);
    }
    remark(&format!("the watch is interrupted, trying again: {}\n", printable(&error.to_string())));
    Ok(())
}

fn show(session: &Session, event: &WatchEvent) -> Result<(), Failure> {
    if session.is_json() {
        let json = serde_json::to_string(event)
            .map_err(|error| Failure::failed("the event cannot be written as JSON").because(&error))?;
        return print(&format!("{json}\n"));
    }
    if let WatchEvent::Snapshot(part) = event {
        for instance in &part.items {
            let at = address(instance).unwrap_or_default();
            let line = format!("{}/{}  {at}", instance.service, instance.id);
            print(&format!("{} {}\n", session.paint.dim("there:"), printable(&line)))?;
        }
    }
    match event_line(event, session.paint) {
        Some(line) => print(&format!("{line}\n")),
        None => Ok(()),
    }
}
