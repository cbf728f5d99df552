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
        let deadline = Instant::now() + READ_DEADLINE;
        match consistency {
            Consistency::Stale => {}
            Consistency::Leader if app.consensus.is_leader() => {}
            Consistency::Leader | Consistency::Linearizable => {
                app.consensus.read_barrier(deadline).await?;
            }
        }
        if let Some(revision) = min_revision {
            app.consensus.wait_for(Revision::new(revision), deadline).await?;
        }
        let mut catalog = app.consensus.catalog();
        if let Some(revision) = at {
            catalog = at_revision(app, &catalog, Revision::new(revision))?;
        }
        let staleness_ms = match consistency {
            Consistency::Linearizable => Some(0),
            Consistency::Leader | Consistency::Stale => staleness_ms(app),
        };
        Ok(Self { catalog, consistency, staleness_ms })
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

/// How old this node's view may be; `None` when it has heard of no leader since it started.
fn staleness_ms(app: &App) -> Option<u64> {
    app.consensus.staleness().map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

/// The catalogue at exactly `revision`.
fn at_revision(app: &App, present: &Arc<Catalog>, revision: Revision) -> Result<Arc<Catalog>> {
    app.pinned.at(revision, present, std::time::Instant::now()).ok_or_else(|| {
        let detail = format!("this node does not hold revision {revision} any more, or not yet; list again");
        Failure::new(Code::RevisionCompacted, detail)
    })
}
