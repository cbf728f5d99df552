//! What only the leader does: begun when this node leads and knows all that was committed before, ended when it does not.
//!
//! Two leaders for a moment are possible, and so whatever is done here must be harmless when two do it.

use std::time::Duration;

use rollcall_raft::{Consensus, RaftStatus, Role};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Longest wait for the leader's word.
const BARRIER_DEADLINE: Duration = Duration::from_secs(5);
/// Between two attempts to learn what was committed before this node led.
const RETRY: Duration = Duration::from_millis(100);

/// Runs `lead` anew for each term that this node leads, until `stop`. It is dropped at any `await` when the term ends.
pub(crate) async fn while_leading<F>(consensus: &Consensus, stop: &CancellationToken, mut lead: impl FnMut() -> F)
where
    F: Future<Output = ()>,
{
    let mut roles = consensus.status_changes();
    loop {
        let leads = tokio::select! {
            () = stop.cancelled() => return,
            leads = roles.wait_for(|status| status.role == Role::Leader) => leads.map(|status| status.term),
        };
        let Ok(term) = leads else { return };
        let informed = async {
            catch_up(consensus).await;
            lead().await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = informed => {}
            // Deposed, or elected again: what was under way may be in the log or not.
            _ = roles.wait_for(|status: &RaftStatus| status.role != Role::Leader || status.term != term) => {}
        }
    }
}

/// Waits until the catalogue here holds all that was committed before.
async fn catch_up(consensus: &Consensus) {
    while let Err(error) = consensus.read_barrier(Instant::now() + BARRIER_DEADLINE).await {
        debug!(%error, "the leader waits for what was committed before: {error}");
        sleep(RETRY).await;
    }
}
