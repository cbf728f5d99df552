//! `rollcall lock`: a command that runs at one place at a time.
//!
//! ```text
//! open a session ─► lock the key for it ─► run the command ─► release the key ─► close the session
//!         └────────── renew the session every third of its time to live ──────────┘
//! ```
//! The lock is taken for lost as soon as the cluster may have ended the session: a time to live after the latest renewal that
//! succeeded *was sent*, which is before the cluster began to measure. The lock delay is the time in which a command that
//! lost it is stopped before anybody else gets the key.
//!
//! Limits: the clock that measures stands still while the whole machine is suspended, and nobody stops the command when
//! this process is killed with SIGKILL. Whoever must be safe from a holder that does not know of its loss compares
//! `ROLLCALL_LOCK_INDEX`, which rises with each new holder.

mod command;
mod holding;
mod signals;

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use rollcall_api::client::{Client, ClientError};
use rollcall_api::query::ReadQuery;
use rollcall_api::{Code, Problem, Retry};
use tokio::time::{Instant, sleep};

use self::command::{Ended, Running, not_started};
use self::holding::{Holding, Lost, jittered};
use self::signals::Signals;
use crate::duration::parse_duration;
use crate::failure::{Exit, Failure};
use crate::server::{ServerArgs, explain};
use crate::terminal::{printable, remark};

/// One node may take this part of the time to live to answer, so that others can be asked within a third of it.
const ATTEMPTS_PER_TTL: u32 = 6;
/// Longest wait for one node.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);
/// Between two looks at a lock that is held, when the cluster does not say; and the longest that it may say.
const LOOK_MIN: Duration = Duration::from_millis(500);
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Arguments of `rollcall lock`.
#[derive(Debug, Args)]
#[command(after_help = "\
The command gets ROLLCALL_LOCK_KEY, ROLLCALL_LOCK_SESSION, and in
ROLLCALL_LOCK_INDEX a number that rises with each new holder: what it writes
to can refuse a smaller one than it has seen. Signals are passed on. When the
lock is lost the command gets SIGTERM, and SIGKILL 5 s later: keep the lock
delay at or above that.

Exit codes: what the command exits with (128+N when signal N ended it), or
  1, 2, 3  as for every command, before it ran
  124      somebody else held the lock all the time; it did not run
  125      the lock was lost while it ran
  126      it cannot be started
  127      there is no such command

Examples:
  rollcall lock jobs/backup -- ./backup.sh --full
  rollcall lock jobs/nightly --try -- ./nightly.sh     elsewhere? then not here
  rollcall lock deploy/web --wait 10m --name 'web 1.4.2' -- make deploy")]
pub(crate) struct LockArgs {
    /// The key that is locked. Its value becomes the name, and stays
    key: String,
    /// Longest silence after which the lock is lost, 10s to 24h
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_duration)]
    ttl: Duration,
    /// How long nobody gets a lock that was lost, at most 60s
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    lock_delay: Duration,
    /// How long to wait while somebody else holds it
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    wait: Duration,
    /// Do not wait
    #[arg(long = "try", conflicts_with = "wait")]
    try_once: bool,
    /// What others see of who holds it; default: the command
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs a command while holding a lock.
///
/// # Errors
/// When the lock is not got or gets lost, and what the command exits with.
pub(crate) async fn run(args: LockArgs) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let attempt = (args.ttl / ATTEMPTS_PER_TTL).min(ATTEMPT_MAX);
    let client = args.server.connect_within(attempt)?.client;
    let name = args.name.clone().unwrap_or_else(|| holding::default_name(&args.command));
    let mut holding = Holding::open(client, &name, args.ttl, args.lock_delay).await.map_err(|it| explain(&it))?;
    let result = match wait(&args, &mut holding, &mut signals).await {
        Ok(index) => work(&args, &mut holding, &mut signals, index).await,
        Err(failure) => Err(failure),
    };
    holding.close().await;
    result
}

/// Waits for the lock and returns its number.
async fn wait(args: &LockArgs, holding: &mut Holding, signals: &mut Signals) -> Result<u64, Failure> {
    let (client, session, name) = holding.parts();
    let deadline = Instant::now() + if args.try_once { Duration::ZERO } else { args.wait };
    tokio::select! {
        // A lock that was got counts, whatever else happened at the same moment.
        biased;
        got = acquire(&client, &args.key, &name, &session, deadline) => got,
        lost = holding.keep(false) => Err(lost_while(&args.key, "waiting for it", &lost)),
        signal = signals.next() => Err(Failure::passed_on(signal.exit_code())),
    }
}

/// Asks for the lock until it is there or `deadline` has passed; once at least.
async fn acquire(client: &Client, key: &str, name: &str, session: &str, deadline: Instant) -> Result<u64, Failure> {
    let mut told = String::new();
    loop {
        let error = match client.acquire_key(key, name.to_owned(), session).await {
            Ok(reply) => return Ok(reply.lock_index.unwrap_or_default()),
            Err(error) => error,
        };
        let held = error.problem().filter(|problem| problem.code == Code::LockHeld);
        if error.retry() == Retry::Never {
            return Err(explain(&error));
        }
        let why = held.map_or_else(|| error.to_string(), |problem| problem.detail.clone());
        let is_over = Instant::now() >= deadline;
        if is_over {
            return Err(held.map_or_else(|| explain(&error), |_| not_got(key, &why)));
        }
        if why != told {
            remark(&format!("waiting for {}: {}\n", printable(key), printable(&why)));
            told = why;
        }
        until_it_changes(client, key, held, &error, deadline).await;
    }
}

/// Waits until the lock may be free. Asking for it is a write to the log; looking who has it is not.
async fn until_it_changes(client: &Client, key: &str, held: Option<&Problem>, error: &ClientError, deadline: Instant) {
    let said = error.problem().and_then(|problem| problem.retry_after_ms).map(Duration::from_millis);
    let pause = said.unwrap_or(LOOK_MIN).clamp(LOOK_MIN, LOOK_MAX);
    let holder = held.and_then(|problem| problem.holder.as_deref());
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        sleep(jittered(pause).min(left)).await;
        let Some(holder) = holder.filter(|_| Instant::now() < deadline) else { return };
        let seen = client.get_key(key, &ReadQuery::default()).await.ok().flatten();
        if seen.and_then(|value| value.session).as_deref() != Some(holder) {
            return;
        }
    }
}

fn not_got(key: &str, why: &str) -> Failure {
    Failure::new(Exit::LockHeld, format!("{key:?} could not be locked: {why}"))
        .hint("wait longer with --wait; `rollcall kv list` shows who holds what")
}

fn lost_while(key: &str, doing: &str, lost: &Lost) -> Failure {
    Failure::new(Exit::LockLost, format!("the lock of {key:?} was lost while {doing}")).cause(lost.to_string())
}

/// Runs the command, and releases the lock.
async fn work(args: &LockArgs, holding: &mut Holding, signals: &mut Signals, index: u64) -> Result<(), Failure> {
    let (_, session, _) = holding.parts();
    let environment = [
        ("ROLLCALL_LOCK_KEY", args.key.clone()),
        ("ROLLCALL_LOCK_INDEX", index.to_string()),
        ("ROLLCALL_LOCK_SESSION", session),
    ];
    let ended = match Running::start(&args.command, environment) {
        Ok(running) => running.run(signals, holding.keep(true)).await,
        Err(error) => {
            holding.release(&args.key).await.ok();
            return Err(not_started(&args.command, &error));
        }
    };
    let released = match ended {
        Ended::Lost(lost) => return Err(lost_while(&args.key, "the command ran, which was stopped", &lost)),
        Ended::Unknown(error) => {
            holding.release(&args.key).await.ok();
            return Err(Failure::failed("it is not known how the command ended").because(&error));
        }
        Ended::With(code) => holding.release(&args.key).await.map(|()| code),
    };
    match released {
        Ok(0) => Ok(()),
        Ok(code) => Err(Failure::passed_on(code)),
        Err(lost) => Err(lost_while(&args.key, "the command ran, which has ended", &lost)),
    }
}
