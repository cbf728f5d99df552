//! Reads: from which catalogue, whether to wait for another one, and what the answer says of itself.
//!
//! | flag | the answer holds | without a leader |
//! |---|---|---|
//! | none, `leader` | at least what the leader had applied when asked | 500 |
//! | `consistent` | every write acknowledged anywhere before | 500 |
//! | `stale` | what this node has applied | answered |
//!
//! `index=` waits until the index of *what was asked for* is above it, for at most `wait=` (5 min, at most 10) and a sixteenth of
//! that by chance, so that those who began together do not return together. A node that is behind the index that a client got
//! elsewhere first catches up: an older state is no change. An index about nodes ([`index::with_nodes`]) has no order, and a wait
//! for it is over when it is another one.
//!
//! What an agent says of one of its services has no index but a digest, and `hash=` waits until that is another one
//! ([`wait_until`]).

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use metrics::counter;
use rand::RngExt as _;
use rollcall_catalog::Catalog;
use rollcall_types::Revision;
use tokio::time::{Instant, timeout_at};

use super::Layer;
use super::call::Call;
use super::duration;
use super::failure::{Failure, Result};
use super::index;
use super::metrics::BLOCKING_REFUSED;
use super::render::Views;
use super::wake::{Topic, Waiter};
use crate::app::App;

/// Wait of a blocking query that does not say for how long.
const WAIT_DEFAULT: Duration = Duration::from_secs(300);
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Part of the wait that is added by chance, at most.
const WAIT_JITTER: u32 = 16;
/// Longest wait for the leader's word: as long as Consul holds a request while another leader is elected.
pub(super) const READ_DEADLINE: Duration = Duration::from_secs(7);
/// Between two questions while nobody leads.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// When what was asked for last changed.
pub(crate) const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
const LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
const EFFECTIVE_CONSISTENCY: HeaderName = HeaderName::from_static("x-consul-effective-consistency");

/// What an answer must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consistency {
    Leader,
    Consistent,
    Stale,
}

impl Consistency {
    fn of(call: &Call) -> Result<Self> {
        let (stale, consistent) = (call.params.has("stale"), call.params.has("consistent"));
        match (stale, consistent) {
            (true, true) => Err(Failure::bad_request("Cannot specify ?stale with ?consistent, conflicting semantics.")),
            _ if call.params.has("leader") => Ok(Self::Leader),
            (true, false) => Ok(Self::Stale),
            (false, true) => Ok(Self::Consistent),
            (false, false) => Ok(Self::Leader),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Consistent => "consistent",
            Self::Stale => "stale",
        }
    }
}

/// For how long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait {
    above: Revision,
    at_most: Duration,
}

impl Wait {
    /// The wait that a query asks for; `None` when it wants an answer at once.
    fn of(call: &Call) -> Result<Option<Self>> {
        let above = match call.params.text("index") {
            Some(text) => text.parse().map_err(|_| Failure::bad_request("Invalid index"))?,
            None => Revision::ZERO,
        };
        let at_most = patience(call)?;
        Ok((above > Revision::ZERO).then_some(Self { above, at_most }))
    }

    /// Whether an index is one to tell: a higher one, and of nodes any other.
    fn is_over(self, index: Revision, is_of_nodes: bool) -> bool {
        if is_of_nodes { index != self.above } else { index > self.above }
    }

    /// The revision that the client has seen, which a node must have reached before it knows better.
    fn revision(self, is_of_nodes: bool) -> Revision {
        if is_of_nodes { index::without_nodes(self.above) } else { self.above }
    }
}

/// For how long a query is ready to wait, at most.
fn patience(call: &Call) -> Result<Duration> {
    let wait = match call.params.text("wait") {
        Some(text) => duration::parse(text).map_err(|_| Failure::bad_request("Invalid wait time"))?,
        None => Duration::ZERO,
    };
    let wait = if wait.is_zero() { WAIT_DEFAULT } else { wait.min(WAIT_MAX) };
    Ok(wait + rand::rng().random_range(Duration::ZERO..=wait / WAIT_JITTER))
}

/// Answers a read: `index` says when what was asked for last changed, `render` shows it. Both look at the catalogue they are
/// given and at nothing that a waiter of `topics` would not be woken for.
///
/// # Errors
/// Those of `render`; 400 for parameters that are wrong, 500 without a leader, 429 when too many wait.
pub(crate) async fn blocking(
    call: &Call,
    topics: &[Topic],
    index: impl Fn(&Arc<Catalog>) -> Revision,
    render: impl Fn(&Arc<Catalog>) -> Result<Response>,
) -> Result<Response> {
    blocking_on(call, |_| topics.to_vec(), index, render).await
}

/// [`blocking`], where what to wait for depends on what there is. It is asked when the wait begins: a change that would make it
/// another answer must be one that it waits for.
///
/// # Errors
/// As [`blocking`].
pub(crate) async fn blocking_on(
    call: &Call,
    topics: impl Fn(&Catalog) -> Vec<Topic>,
    index: impl Fn(&Arc<Catalog>) -> Revision,
    render: impl Fn(&Arc<Catalog>) -> Result<Response>,
) -> Result<Response> {
    answered(call, topics, || call.app.consensus.catalog(), index, render).await
}

/// [`blocking`] for answers about nodes: `registered` says when what is registered last changed, and which nodes there are is part of
/// the index besides. A waiter of `topics`, which has [`Topic::Nodes`], must be woken for all that `render` shows.
///
/// # Errors
/// As [`blocking`].
pub(crate) async fn blocking_on_nodes(
    call: &Call,
    topics: &[Topic],
    registered: impl Fn(&Catalog) -> Revision,
    render: impl Fn(&Views) -> Result<Response>,
) -> Result<Response> {
    let look = || Views::of(call, &call.app.consensus.catalog());
    let index = |views: &Views| index::with_nodes(registered(&views.catalog), &views.nodes);
    answered(call, |_| topics.to_vec(), look, index, render).await
}

/// Waits as the call asks for, then answers: `look` takes what is there now, and index and body are of the same look.
async fn answered<T>(
    call: &Call,
    topics: impl Fn(&Catalog) -> Vec<Topic>,
    look: impl Fn() -> T,
    index: impl Fn(&T) -> Revision,
    render: impl Fn(&T) -> Result<Response>,
) -> Result<Response> {
    let consistency = Consistency::of(call)?;
    let wait = Wait::of(call)?;
    match consistency {
        Consistency::Stale => {}
        Consistency::Leader if call.app.consensus.is_leader() => {}
        Consistency::Leader | Consistency::Consistent => {
            await_leader(call, Instant::now() + READ_DEADLINE).await?;
        }
    }
    if let Some(wait) = wait {
        wait_for(call, wait, &topics, &|| index(&look())).await?;
    }
    let seen = look();
    let mut response = render(&seen)?;
    describe(&call.app, &call.layer, consistency, index(&seen), response.headers_mut());
    Ok(response)
}

/// Waits until this node holds what the leader had when asked. While nobody leads it asks again.
pub(super) async fn await_leader(call: &Call, deadline: Instant) -> Result<()> {
    loop {
        match call.app.consensus.read_barrier(deadline).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() + ASK_AGAIN >= deadline || call.app.shutdown.is_cancelled() => {
                return Err(error.into());
            }
            Err(_) => tokio::time::sleep(ASK_AGAIN).await,
        }
    }
}

/// Returns when the index is another one than was asked for, or it is time to answer anyway.
async fn wait_for(
    call: &Call,
    wait: Wait,
    topics: &impl Fn(&Catalog) -> Vec<Topic>,
    index: &impl Fn() -> Revision,
) -> Result<()> {
    let (catalog, deadline) = (call.app.consensus.catalog(), Instant::now() + wait.at_most);
    let awaited = topics(&catalog);
    let mut waiter = begin_to_wait(call, &awaited)?;
    let is_of_nodes = awaited.contains(&Topic::Nodes);
    let known = wait.revision(is_of_nodes);
    if catalog.revision() < known {
        if !has_reached(call, known, deadline).await {
            return Ok(());
        }
        // What came meanwhile may be something else to wait for. What comes from here on ends the wait by its index.
        drop(waiter);
        waiter = begin_to_wait(call, &topics(&call.app.consensus.catalog()))?;
    }
    sleep_until(call, &waiter, deadline, || wait.is_over(index(), is_of_nodes)).await;
    Ok(())
}

/// Waits until something holds of the catalogue that is decided by `topics`, for as long as `wait=` says at most.
///
/// # Errors
/// 400 for a wait that is none, 429 when too many wait.
pub(super) async fn wait_until(call: &Call, topics: &[Topic], holds: impl Fn(&Arc<Catalog>) -> bool) -> Result<()> {
    let (waiter, deadline) = (begin_to_wait(call, topics)?, Instant::now() + patience(call)?);
    sleep_until(call, &waiter, deadline, || holds(&call.app.consensus.catalog())).await;
    Ok(())
}

fn begin_to_wait(call: &Call, topics: &[Topic]) -> Result<Waiter> {
    call.layer.wakes.wait_for(topics, call.app.consensus.catalog().revision()).ok_or_else(|| {
        counter!(BLOCKING_REFUSED).increment(1);
        Failure::too_many("this node has its most blocking queries; ask another node")
    })
}

/// Returns when `holds` does, when history is another one, at `deadline`, or when the node stops.
async fn sleep_until(call: &Call, waiter: &Waiter, deadline: Instant, holds: impl Fn() -> bool) {
    while !holds() && !waiter.is_abandoned() {
        tokio::select! {
            () = waiter.woken() => {}
            () = call.app.shutdown.cancelled() => return,
            () = tokio::time::sleep_until(deadline) => return,
        }
    }
}

/// Waits until this node is as far as the client was elsewhere. `false` when it has no such state to wait for: the index is
/// from another history, or the time is over.
async fn has_reached(call: &Call, index: Revision, deadline: Instant) -> bool {
    let consensus = &call.app.consensus;
    if consensus.catalog().revision() >= index {
        return true;
    }
    let newest = async {
        // Whoever holds all that was acknowledged before the question and not the index never will.
        while consensus.read_barrier(deadline).await.is_err() {
            tokio::task::yield_now().await;
            let mut roles = consensus.status_changes();
            // An error: the node stops, and the wait with it.
            if roles.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        reached = consensus.wait_for(index, deadline) => reached.is_ok(),
        _ = timeout_at(deadline, newest) => consensus.catalog().revision() >= index,
        () = call.app.shutdown.cancelled() => false,
    }
}

/// Says of an answer that was made without waiting what it says of itself: it holds what this node has applied, which on the
/// leader is what a read without a flag asks for.
pub(super) fn describe_present(app: &App, layer: &Layer, is_stale: bool, index: Revision, headers: &mut HeaderMap) {
    describe(app, layer, if is_stale { Consistency::Stale } else { Consistency::Leader }, index, headers);
}

/// What the answer says of itself. An index is never 0, which clients take for none.
fn describe(app: &App, layer: &Layer, consistency: Consistency, index: Revision, headers: &mut HeaderMap) {
    headers.insert(INDEX, HeaderValue::from(index.get().max(1)));
    let consensus = &app.consensus;
    let has_leader = consensus.is_leader() || layer.knows_leader();
    headers.insert(KNOWN_LEADER, HeaderValue::from_static(if has_leader { "true" } else { "false" }));
    let contact = match consensus.is_leader() {
        true => 0,
        false => consensus
            .fresh_at(Instant::now())
            .map_or(0, |at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)),
    };
    headers.insert(LAST_CONTACT, HeaderValue::from(contact));
    headers.insert(EFFECTIVE_CONSISTENCY, HeaderValue::from_static(consistency.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_over_above_its_index_and_of_nodes_below_it_too_since_that_one_has_no_order() {
        let wait = Wait { above: Revision::new(7), at_most: WAIT_DEFAULT };
        let is_over = |index, is_of_nodes| wait.is_over(Revision::new(index), is_of_nodes);
        assert_eq!([6, 7, 8].map(|index| is_over(index, false)), [false, false, true]);
        assert_eq!([6, 7, 8].map(|index| is_over(index, true)), [true, false, true]);
    }
}
