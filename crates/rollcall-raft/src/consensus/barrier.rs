//! Read barriers: up to which entry must a node have applied to answer a read that begins now?
//!
//! The leader knows, once a majority has confirmed that it still leads (`ReadIndex`). One round is under way at a time, and
//! all who come meanwhile share the next: a round that began before a read must not serve it. A follower asks the leader,
//! once for all who wait on it. Leases are not used: a paused process would answer from the past. For the same reason
//! openraft's word that a majority has confirmed is checked against [`Acks`](crate::transport::acks::Acks).

use std::sync::Arc;
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use rollcall_types::Revision;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::Core;
use super::propose::{OUTAGE, jitter};
use crate::error::Error;
use crate::planted::{Bug, is_planted};
use crate::transport::link::CallError;
use crate::transport::message::{ControlReply, ControlRequest, NotLeading};

/// Reads that wait for the next round; more wait to wait.
pub(super) const WAITERS_MAX: usize = 4_096;
/// Longest wait of one round.
const ROUND_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before another attempt.
const PAUSE: Duration = Duration::from_millis(20);

/// Someone who waits for a round.
pub(crate) struct Waiter(oneshot::Sender<Result<u64, NotLeading>>);

impl Core {
    /// The revision that a read beginning now must see.
    pub(super) async fn read_index(&self, deadline: Instant) -> Result<Revision, Error> {
        let mut why = Error::NoLeader;
        let attempts = async {
            loop {
                if self.has_stopped() {
                    return Err(self.fatal(&openraft::errors::Fatal::Stopped));
                }
                match self.share_round().await {
                    Ok(index) => return Ok(Revision::new(index)),
                    Err(NotLeading::NoQuorum) => why = Error::NoQuorum,
                    Err(NotLeading::NotLeader) => why = Error::NoLeader,
                }
                sleep(jitter(PAUSE)).await;
            }
        };
        let outage = Instant::now() + OUTAGE;
        match timeout_at(deadline.min(outage), attempts).await {
            Ok(result) => result,
            Err(_) => Err(why),
        }
    }

    async fn share_round(&self) -> Result<u64, NotLeading> {
        let (tx, rx) = oneshot::channel();
        self.barriers.send(Waiter(tx)).await.map_err(|_| NotLeading::NotLeader)?;
        rx.await.unwrap_or(Err(NotLeading::NotLeader))
    }

    /// For a follower that asks: only a leader may answer, or questions would go in circles.
    pub(super) async fn read_index_for_peer(&self) -> Result<u64, NotLeading> {
        if self.is_leader() { self.share_round().await } else { Err(NotLeading::NotLeader) }
    }

    async fn round(&self) -> Result<u64, NotLeading> {
        let deadline = Instant::now() + ROUND_TIMEOUT;
        let leader = self.wait_for_leader(deadline).await.ok_or(NotLeading::NotLeader)?;
        if leader == self.node && is_planted(Bug::StaleLeaderRead) {
            return Ok(0);
        }
        if leader == self.node {
            let began = Instant::now();
            let read = timeout_at(deadline, self.raft.get_read_log_id(ReadPolicy::ReadIndex)).await;
            return match read.map_err(|_| NotLeading::NoQuorum)? {
                Ok((read_log_id, _)) => {
                    // What confirms a later term says nothing of what was committed between that and this one's.
                    let led = timeout_at(deadline, self.led_since(began, read_log_id.committed_leader_id().term)).await;
                    led.map_err(|_| NotLeading::NoQuorum)?.map(|()| read_log_id.index())
                }
                Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(NotLeading::NoQuorum),
                Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_)) | RaftError::Fatal(_)) => {
                    Err(NotLeading::NotLeader)
                }
            };
        }
        let link = self.link(leader).ok_or(NotLeading::NotLeader)?;
        // The leader may have to end the round under way before it begins the one for us.
        let reply = tokio::select! {
            reply = link.call(&ControlRequest::ReadIndex, deadline + ROUND_TIMEOUT) => reply,
            () = self.leader_changed(leader) => Err(CallError::Lost),
        };
        match reply {
            Ok(ControlReply::ReadIndex(result)) => result,
            Ok(_) => Err(NotLeading::NotLeader),
            Err(CallError::Timeout) => Err(NotLeading::NoQuorum),
            Err(_) => Err(NotLeading::NotLeader),
        }
    }
}

impl Core {
    /// Waits until this node surely led in `term` at `time` or later.
    async fn led_since(&self, time: Instant, term: u64) -> Result<(), NotLeading> {
        loop {
            let mut noted = std::pin::pin!(self.acks.noted());
            noted.as_mut().enable();
            if self.led().is_some_and(|(of, at)| of == term && at >= time) {
                return Ok(());
            }
            if !self.is_leader() || self.server.borrow_watched().vote.leader_id.term != term {
                return Err(NotLeading::NotLeader);
            }
            noted.await;
        }
    }
}

/// Runs rounds until the node stops.
pub(super) async fn run(core: Arc<Core>, mut queue: mpsc::Receiver<Waiter>) {
    let mut waiters = Vec::new();
    while queue.recv_many(&mut waiters, WAITERS_MAX).await > 0 {
        let result = core.round().await;
        for Waiter(tx) in waiters.drain(..) {
            // A reader that is gone does not wait any more.
            let _ = tx.send(result);
        }
    }
}
