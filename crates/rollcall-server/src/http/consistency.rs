//! Which catalogue a read sees, and what its answer says about that.
//!
//! | `consistency=` | the answer holds | costs |
//! |---|---|---|
//! | `stale` (default) | what this node has applied | nothing |
//! | `leader` | at least what the leader had applied when asked | nothing on the leader, a round trip elsewhere |
//! | `linearizable` | every write acknowledged anywhere before the read began | one quorum round, shared by all who wait |
//!
//! `min_revision=` waits until this node is that far: read your own writes. `at=` asks for exactly one revision, which
//! is there while it is the present one or a listing at it is under way.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use rollcall_api::query::Consistency;
use rollcall_api::{Code, headers};
use rollcall_catalog::Catalog;
use rollcall_raft as raft;
use rollcall_raft::planted::{Bug, is_planted};
use rollcall_types::Revision;
use tokio::time::Instant;

use super::failure::{Failure, Result};
use crate::app::App;

/// Longest wait of a read for a quorum or for a revision.
const READ_DEADLINE: Duration = Duration::from_secs(5);

/// The catalogue of one read.
pub(crate) struct View {
    /// The catalogue.
    pub(crate) catalog: Arc<Catalog>,
    consistency: Consistency,
    staleness_ms: Option<u64>,
}

impl View {
    /// Waits for what the read asked for.
    pub(crate) async fn obtain(
        app: &App,
        consistency: Option<Consistency>,
        min_revision: Option<u64>,
        at: Option<u64>,
    ) -> Result<Self> {
        let consistency = consistency.unwrap_or(Consistency::Stale);
        if (consistency, min_revision, at) == (Consistency::Stale, None, None) {
            return Ok(Self::present(app, Instant::now()));
        }
        let deadline = Instant::now() + READ_DEADLINE;
        match consistency {
            Consistency::Stale => {}
            Consistency::Leader if app.consensus.is_leader() => {}
            Consistency::Leader | Consistency::Linearizable => {
                app.consensus.read_barrier(deadline).await?;
            }
        }
        if let Some(revision) = min_revision {
            reach(app, Revision::new(revision), deadline).await?;
        }
        // Before the catalogue is taken: what is true of the one of now is true of the one that is taken next.
        let now = Instant::now();
        let fresh_at = app.consensus.fresh_at(now);
        let mut catalog = app.consensus.catalog();
        if let Some(revision) = at {
            catalog = at_revision(app, &catalog, Revision::new(revision))?;
        }
        // A catalogue of the past is as old as it is, however it was asked for.
        let is_past = at.is_some_and(|at| app.consensus.catalog().revision().get() != at);
        let (consistency, staleness_ms) = match consistency {
            _ if is_past => (Consistency::Stale, None),
            Consistency::Linearizable => (consistency, Some(0)),
            Consistency::Leader | Consistency::Stale => (consistency, staleness_ms(app, fresh_at, now)),
        };
        Ok(Self { catalog, consistency, staleness_ms })
    }

    /// The catalogue as this node has it `now`, for a read that asked for nothing else.
    pub(crate) fn present(app: &App, now: Instant) -> Self {
        // In this order: what is true of the catalogue of now is true of the one that is taken next.
        let fresh_at = app.consensus.fresh_at(now);
        let catalog = app.consensus.catalog();
        Self { catalog, consistency: Consistency::Stale, staleness_ms: staleness_ms(app, fresh_at, now) }
    }

    /// The answer of a read that did not find here what it asked for: it says, as any other, at which revision.
    pub(crate) fn lacks(&self, failure: impl Into<Failure>) -> Failure {
        failure.into().with_headers(self.headers())
    }

    /// What the answer says about itself.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut answer = HeaderMap::with_capacity(4);
        answer.insert(headers::REVISION, HeaderValue::from(self.catalog.revision().get()));
        answer.insert(headers::CONSISTENCY, HeaderValue::from_static(self.consistency.as_str()));
        if let Some(staleness) = self.staleness_ms {
            answer.insert(headers::STALENESS_MS, HeaderValue::from(staleness));
        }
        answer
    }
}

/// Waits until this node has applied `revision`.
///
/// # Errors
/// `revision_unavailable` when it has not until `deadline`: the node is behind, or no node has got there at all.
pub(crate) async fn reach(app: &App, revision: Revision, deadline: Instant) -> Result<()> {
    if is_planted(Bug::IgnoredMinRevision) {
        return Ok(());
    }
    match app.consensus.wait_for(revision, deadline).await {
        Ok(_) => Ok(()),
        Err(raft::Error::Timeout { .. }) => {
            let present = app.consensus.catalog().revision();
            let detail = format!("this node is at revision {present} and did not reach {revision} in time");
            Err(Failure::new(Code::RevisionUnavailable, detail))
        }
        Err(error) => Err(error.into()),
    }
}

/// How old a catalogue may be `now` that is known to hold whatever was acknowledged before `fresh_at`, in whole milliseconds that
/// are not fewer than there were. `None` when no such time is known, or the node is still catching up.
fn staleness_ms(app: &App, fresh_at: Option<Instant>, now: Instant) -> Option<u64> {
    let age = now.saturating_duration_since(fresh_at.filter(|_| app.consensus.is_caught_up())?);
    Some(u64::try_from(age.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX))
}

/// The catalogue at exactly `revision`.
fn at_revision(app: &App, present: &Arc<Catalog>, revision: Revision) -> Result<Arc<Catalog>> {
    app.pinned.at(revision, present, std::time::Instant::now()).ok_or_else(|| {
        let detail = format!("this node does not hold revision {revision} any more, or not yet; list again");
        Failure::new(Code::RevisionCompacted, detail)
    })
}
