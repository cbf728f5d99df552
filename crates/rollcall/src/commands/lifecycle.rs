//! `rollcall drain`, `undrain`, `quarantine` and `release`: what operators decide about an instance.

use std::time::Duration;

use clap::Args;
use rollcall_api::client::ClientError;
use rollcall_api::{ActivateRequest, DrainRequest, QuarantineRequest, WriteReply};

use crate::duration::{millis, parse_duration};
use crate::failure::Failure;
use crate::server::{ServerArgs, Session, explain};
use crate::terminal::printable;

/// Arguments of `rollcall drain`.
#[derive(Debug, Args)]
#[command(after_help = "\
A draining instance finishes what it has and takes nothing new. It stays so
until `rollcall undrain`, or until it is deregistered: nothing happens by itself
at the deadline, but every answer then says that it has passed.

Examples:
  rollcall drain web web-1
  rollcall drain web web-1 --deadline 5m --reason 'deploy 42'")]
pub(crate) struct DrainArgs {
    #[command(flatten)]
    target: Target,
    /// Time in which it should be done, 1s to 168h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    deadline: Option<Duration>,
}

/// Arguments of `rollcall undrain`.
#[derive(Debug, Args)]
#[command(after_help = "\
An instance that does not drain is no error: afterwards it does not drain. One
that is quarantined is: `rollcall release`.

Examples:
  rollcall undrain web web-1
  rollcall undrain web web-1 --reason 'deploy 42 is done'")]
pub(crate) struct UndrainArgs {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `rollcall quarantine`.
#[derive(Debug, Args)]
#[command(after_help = "\
A quarantined instance takes no traffic until the time is over; then it is
active again by itself. Quarantine it again for more time.

Examples:
  rollcall quarantine web web-1 --reason 'wrong answers since 14:20'
  rollcall quarantine web web-1 --ttl 15m")]
pub(crate) struct QuarantineArgs {
    #[command(flatten)]
    target: Target,
    /// Time until it is active again by itself, 1s to 168h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    ttl: Duration,
}

/// Arguments of `rollcall release`.
#[derive(Debug, Args)]
#[command(after_help = "\
An instance that is not quarantined is no error: afterwards it is not. One that
drains is: `rollcall undrain`.

Examples:
  rollcall release web web-1
  rollcall release web web-1 --reason 'it was the disk'")]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    target: Target,
}

/// About which instance, and why.
#[derive(Debug, Args)]
struct Target {
    /// The service
    service: String,
    /// Id of the instance
    instance: String,
    /// Why, for answers and history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Lets an instance finish what it has.
///
/// # Errors
/// What the cluster refuses.
pub(crate) async fn drain(args: DrainArgs) -> Result<(), Failure> {
    let (session, target) = args.target.connect()?;
    let deadline_ms = args.deadline.map(|deadline| millis(deadline).into()).unwrap_or_default();
    let request = DrainRequest { deadline_ms, reason: target.reason.clone() };
    let reply = session.client.drain(&target.service, &target.instance, &request).await;
    target.tell(&session, reply, "draining")
}

/// Ends a drain.
///
/// # Errors
/// What the cluster refuses.
pub(crate) async fn undrain(args: UndrainArgs) -> Result<(), Failure> {
    let (session, target) = args.target.connect()?;
    let request = ActivateRequest { reason: target.reason.clone() };
    let reply = session.client.undrain(&target.service, &target.instance, &request).await;
    target.tell(&session, reply, "active")
}

/// Keeps an instance out of selection for a time.
///
/// # Errors
/// What the cluster refuses.
pub(crate) async fn quarantine(args: QuarantineArgs) -> Result<(), Failure> {
    let (session, target) = args.target.connect()?;
    let request = QuarantineRequest { ttl_ms: millis(args.ttl).into(), reason: target.reason.clone() };
    let reply = session.client.quarantine(&target.service, &target.instance, &request).await;
    target.tell(&session, reply, "quarantined")
}

/// Ends a quarantine.
///
/// # Errors
/// What the cluster refuses.
pub(crate) async fn release(args: ReleaseArgs) -> Result<(), Failure> {
    let (session, target) = args.target.connect()?;
    let request = ActivateRequest { reason: target.reason.clone() };
    let reply = session.client.release(&target.service, &target.instance, &request).await;
    target.tell(&session, reply, "active")
}

impl Target {
    fn connect(self) -> Result<(Session, Self), Failure> {
        Ok((self.server.connect()?, self))
    }

    fn tell(&self, session: &Session, reply: Result<WriteReply, ClientError>, word: &str) -> Result<(), Failure> {
        let reply = reply.map_err(|error| explain(&error))?;
        session.say(&reply, |reply| {
            let already = if reply.changed == Some(false) { "already " } else { "" };
            let what = printable(&format!("{}/{}", self.service, self.instance)).into_owned();
            format!("{what} is {already}{word}, revision {}\n", reply.modified_revision.unwrap_or(reply.revision))
        })
    }
}
