//! How long until the cluster accepts writes again.
//!
//! A new attempt starts every 10 ms on the given nodes in turn, each on a connection of its own, whatever became of the ones
//! before: so an attempt that hangs on a lost leader does not hide that the next would succeed, and the resolution is 10 ms.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::client::{Operation, connect};
use crate::load::Numbers;
use crate::results::Subject;

/// Time between two attempts.
const EVERY: Duration = Duration::from_millis(10);
/// Longest life of one attempt.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(2);
/// When to give up.
const DEADLINE: Duration = Duration::from_secs(60);

/// Time from `since` to the first acknowledged write.
pub(crate) async fn first_accepted_write(
    subject: Subject,
    addresses: &[SocketAddr],
    numbers: &Numbers,
    since: Instant,
) -> Result<Duration> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turns = addresses.iter().copied().cycle();
    let mut attempts = JoinSet::new();
    loop {
        tokio::select! {
            Some(finished) = attempts.join_next() => {
                if let Ok(Some(answered)) = finished {
                    let answered: Instant = answered;
                    return Ok(answered - since);
                }
            }
            _ = ticks.tick() => {
                if since.elapsed() > DEADLINE {
                    bail!("{subject} accepted no write within {DEADLINE:?}");
                }
                let address = turns.next().context("no node to write to")?;
                attempts.spawn(attempt(subject, address, numbers.clone()));
            }
        }
    }
}

/// When the write was acknowledged; `None` when it was not.
async fn attempt(subject: Subject, address: SocketAddr, numbers: Numbers) -> Option<Instant> {
    let write = async {
        let mut caller = connect(subject, &[address], 1).await?.remove(0);
        caller.call(Operation::Write { bytes: 256, lease: false }, numbers.next()).await
    };
    timeout(ATTEMPT_DEADLINE, write).await.ok()?.ok()?;
    Some(Instant::now())
}
