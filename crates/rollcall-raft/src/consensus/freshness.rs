//! How old this node's catalogue may be: an upper bound, whatever waited wherever for however long.
//!
//! Evidence is a pair: a time, and a revision that includes everything that was acknowledged anywhere before that time. It
//! stays true for ever, so it can be kept, passed on, and compared ([`Contact`](super::contact::Contact)).
//!
//! - **The leader** has it by itself once an entry of its term is committed. At the time at which it sent what a majority
//!   has answered since ([`Acks`](crate::transport::acks::Acks)), no later leader had been elected. So what was acknowledged
//!   before was acknowledged by an earlier leader, and lies before that entry, or by itself, which it does after applying it.
//! - **The others** ask it, every heartbeat interval. The answer says how long ago the leader's time was. It was given
//!   after the question was asked, so on the follower's clock the leader's time is not before *asked − ago*. No clocks are
//!   compared, and a message that waits makes the evidence older, never newer.
//!
//! Rejected: the arrival of appends, which may have waited in the socket of a paused process, or come from a leader that does
//! not know yet that it was replaced. Rejected: an echo of a follower's clock in each append. It would widen four formats,
//! two of them openraft's, and still needs the leader's word on how long ago a majority answered.
//!
//! Limit: time is `CLOCK_MONOTONIC`, which stands still while a whole machine is suspended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use rollcall_types::NodeId;
use tokio::time::{Instant, timeout};

use super::Core;
use crate::transport::message::{ControlReply, ControlRequest, Freshness};

/// Longest wait for the leader's word.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long what was found is not looked for again.
const KEPT: Duration = Duration::from_millis(1);

/// What was found last, for readers that come within [`KEPT`] of each other: without a lock, in microseconds after `base`. Of two
/// that keep something at once, either may stay: both are true.
#[derive(Debug)]
pub(super) struct Found {
    base: Instant,
    fresh: AtomicU64,
    looked: AtomicU64,
}

impl Found {
    pub(super) fn nothing() -> Self {
        Self { base: Instant::now(), fresh: AtomicU64::new(0), looked: AtomicU64::new(0) }
    }

    /// What was found at `now` or up to [`KEPT`] before; `None` when that was nothing, or a reader was ahead of `now`.
    fn since(&self, now: Instant) -> Option<Instant> {
        let looked = Duration::from_micros(self.looked.load(Ordering::Acquire));
        let is_recent = now.checked_duration_since(self.base + looked).is_some_and(|age| age < KEPT);
        let fresh = self.fresh.load(Ordering::Acquire);
        (is_recent && fresh > 0).then(|| self.base + Duration::from_micros(fresh))
    }

    fn keep(&self, fresh: Instant, now: Instant) {
        // Rounded down: earlier is true as well. What lies before the base is not kept.
        let micros = |at: Instant| u64::try_from(at.saturating_duration_since(self.base).as_micros()).unwrap_or(0);
        self.fresh.store(micros(fresh), Ordering::Release);
        self.looked.store(micros(now), Ordering::Release);
    }
}

impl Core {
    /// When this node surely led, in its present term; `None` when it does not lead or no majority has answered yet.
    pub(super) fn led_at(&self) -> Option<Instant> {
        self.led().map(|(_, at)| at)
    }

    /// The term in which this node leads, and the latest time at which it surely did.
    pub(super) fn led(&self) -> Option<(u64, Instant)> {
        let now = Instant::now();
        let server = self.server.borrow_watched();
        if server.state != ServerState::Leader || self.has_stopped() {
            return None;
        }
        let term = server.vote.leader_id.term;
        let configs = server.membership_config.membership().get_joint_config();
        self.acks.majority(configs, self.node, term, now).map(|at| (term, at))
    }

    /// The leader's evidence: a time, and a revision that includes everything acknowledged before it.
    fn evidence(&self) -> Option<(Instant, u64)> {
        let (term, led_at) = self.led()?;
        let committed = self.data.borrow_watched().local_committed.filter(|id| id.leader_id.term == term)?;
        // Read after `led_at`: openraft publishes what is committed a little later than it is applied and acknowledged.
        Some((led_at, self.catalog().revision().get().max(committed.index)))
    }

    /// The latest time that is known to be such that everything acknowledged anywhere before it is in this node's
    /// catalogue: in the one of this moment and in all later ones. `None` while no time is known.
    ///
    /// It is asked for with every read, so what was found within the last [`KEPT`] before `now` is as good: it stays true.
    pub(super) fn fresh_at(&self, now: Instant) -> Option<Instant> {
        if let Some(at) = self.found.since(now) {
            return Some(at);
        }
        let applied = self.catalog().revision().get();
        if let Some((at, revision)) = self.evidence() {
            self.contact.note(at, revision, applied);
        }
        let fresh = self.contact.fresh_at(applied)?;
        self.found.keep(fresh, now);
        Some(fresh)
    }

    /// For a member that asks. Who was removed is told nothing, so that it notices.
    pub(super) fn freshness_for(&self, peer: NodeId) -> Option<Freshness> {
        self.member(peer)?;
        let (at, revision) = self.evidence()?;
        let micros_ago = u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_add(1);
        Some(Freshness { revision, micros_ago })
    }

    async fn ask_for_freshness(&self, leader: NodeId) {
        let Some(link) = self.link(leader) else { return };
        let asked = Instant::now();
        let reply = tokio::select! {
            reply = link.call(&ControlRequest::Freshness, asked + ANSWER_TIMEOUT) => reply,
            () = self.leader_changed(leader) => return,
        };
        if let Ok(ControlReply::Freshness(Some(answer))) = reply {
            self.note_freshness(asked, answer);
        }
    }

    /// Takes the leader's answer to a question that was asked at `asked`.
    fn note_freshness(&self, asked: Instant, Freshness { revision, micros_ago }: Freshness) {
        if let Some(at) = asked.checked_sub(Duration::from_micros(micros_ago)) {
            self.contact.note(at, revision, self.catalog().revision().get());
        }
    }
}

/// Asks the leader, whoever it is, until the node stops: every `interval`, and a new one at once.
pub(super) async fn run(core: Arc<Core>, interval: Duration) {
    let mut server = core.server.clone();
    loop {
        let leader = server.borrow_and_update().current_leader.map(NodeId::new);
        if let Some(leader) = leader.filter(|leader| *leader != core.node) {
            core.ask_for_freshness(leader).await;
        }
        let changed = async {
            while server.changed().await.is_ok() {
                if server.borrow_and_update().current_leader.map(NodeId::new) != leader {
                    return;
                }
            }
            // openraft has stopped; there is nothing to ask about any more.
            std::future::pending().await
        };
        // Either way it is time to ask.
        let _ = timeout(interval, changed).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_as_good_for_a_moment_and_never_younger_than_it_was() {
        let found = Found::nothing();
        let (start, micro) = (found.base, Duration::from_micros(1));
        assert_eq!(found.since(start), None);
        let fresh = start + micro * 300 + Duration::from_nanos(999);
        found.keep(fresh, start + micro * 500);
        assert_eq!(found.since(start + micro * 500), Some(start + micro * 300));
        assert_eq!(found.since(start + micro * 1_499), Some(start + micro * 300));
        assert_eq!(found.since(start + micro * 1_500), None, "it is looked for again");
        assert_eq!(found.since(start + micro * 499), None, "for a reader of before");
        found.keep(start - micro, start + micro * 2_000);
        assert_eq!(found.since(start + micro * 2_000), None, "from before the node began");
    }
}
