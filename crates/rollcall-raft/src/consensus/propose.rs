//! Writes: to the log here when this node leads, else to the leader, many in one message when they queue up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader, RaftError};
use rollcall_catalog::{Command, KvOp, Outcome, Refusal, Reply, Request, RequestId};
use rollcall_types::{NodeId, UnixMillis};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::field::Empty;
use tracing::{Instrument as _, Span, debug_span};

use super::Core;
use crate::error::Error;
use crate::metrics;
use crate::proposal::Proposal;
use crate::traces::{self, TraceParent};
use crate::transport::link::CallError;
use crate::transport::message::{ControlReply, ControlRequest, NotLeading, Proposals, ProposeRefusal};

/// Writes under way on one node, its own and forwarded ones alike; beyond it they are refused. Below the number of
/// answers that the catalogue keeps for one session.
pub(super) const PROPOSALS_MAX: usize = 8_192;
/// Writes in one message to the leader.
const BATCH_MAX: usize = 256;
/// Encoded bytes in one message to the leader, and so of one write: all that is taken from clients is smaller.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Messages with writes under way to the leader. Few, so that writes gather in a message when they come fast.
const BATCHES_UNDER_WAY: usize = 4;
/// Longest wait for the leader's answer to a message; callers have earlier deadlines of their own.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest value of a key, or of all keys in one transaction. All other parts of a request are bounded by their types.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// A cluster that has accepted nothing for so long will not do so within a caller's patience: twice the longest time that
/// the loss of a leader takes to mend.
pub(super) const OUTAGE: Duration = Duration::from_secs(2);
/// Pause before another attempt, half of it at random.
const PAUSE: Duration = Duration::from_millis(20);

/// What the longest answers count in a message to the leader, bytes: those to a transaction, of 1 MiB or 4,096 entries. So 32 of
/// them fit into one message back, and into what the codec lets that claim.
const LONG_ANSWER: usize = BATCH_BYTES_MAX / 32;

/// A write on its way to the leader.
pub(crate) struct Forward {
    proposal: Proposal,
    /// What it and its answer count in a message.
    weight: usize,
    trace: Option<TraceParent>,
    reply: oneshot::Sender<Attempt>,
}

/// What one attempt came to.
#[derive(Debug, Clone)]
pub(crate) enum Attempt {
    Done(Outcome),
    NotAccepted(NotLeading),
    /// It may have been accepted.
    Unknown,
    TooLarge,
    Overloaded,
}

impl From<Result<Outcome, ProposeRefusal>> for Attempt {
    fn from(result: Result<Outcome, ProposeRefusal>) -> Self {
        match result {
            Ok(outcome) => Self::Done(outcome),
            Err(ProposeRefusal::NotAccepted(why)) => Self::NotAccepted(why),
            Err(ProposeRefusal::Unknown) => Self::Unknown,
            Err(ProposeRefusal::TooLarge) => Self::TooLarge,
            Err(ProposeRefusal::Overloaded) => Self::Overloaded,
        }
    }
}

/// A random part of `pause` and half of it.
pub(crate) fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn is_too_large(request: &Request) -> bool {
    let written = |op: &KvOp| match op {
        KvOp::Put { write, .. } | KvOp::Acquire { write, .. } | KvOp::Release { write, .. } => write.value.len(),
        _ => 0,
    };
    match &request.command {
        Command::KvPut { value, .. } => value.len() > VALUE_BYTES_MAX,
        Command::KvTransact { ops } => ops.iter().map(written).sum::<usize>() > VALUE_BYTES_MAX,
        Command::FireEvent { event } => event.payload.len() > VALUE_BYTES_MAX,
        _ => false,
    }
}

fn weight(command: &Command, proposal: &Proposal) -> usize {
    match command {
        Command::KvTransact { .. } => proposal.len().max(LONG_ANSWER),
        _ => proposal.len(),
    }
}

fn not_leading(forward: &ForwardToLeader<crate::types::TypeConfig>) -> NotLeading {
    match forward.reason {
        ForwardReason::LeaseExpired => NotLeading::NoQuorum,
        _ => NotLeading::NotLeader,
    }
}

fn refusal(error: &ClientWriteError<crate::types::TypeConfig>) -> ProposeRefusal {
    match error {
        ClientWriteError::ForwardToLeader(forward) => ProposeRefusal::NotAccepted(not_leading(forward)),
        ClientWriteError::LogEntryDiscarded(_) => ProposeRefusal::Unknown,
        // Not for plain writes.
        ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_) => ProposeRefusal::Unknown,
    }
}

/// Gives a request of this process's session back when its caller has an answer, or waits no more.
struct Ticket<'a> {
    core: &'a Core,
    id: RequestId,
    is_answered: bool,
}

impl<'a> Ticket<'a> {
    fn draw(core: &'a Core) -> Self {
        let id = core.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner).begin();
        Self { core, id, is_answered: false }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut session = self.core.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        session.end(&self.id, self.is_answered);
    }
}

impl Core {
    /// See [`super::Consensus::propose`].
    pub(super) async fn propose(&self, request: Request, deadline: Instant) -> Result<Outcome, Error> {
        let span = debug_span!("raft.propose", raft.index = Empty, error = Empty);
        let proposed = self.propose_once(request, deadline).instrument(span.clone()).await;
        match &proposed {
            Ok(outcome) => span.record("raft.index", outcome.revision.get()),
            Err(error) => span.record("error", tracing::field::display(error)),
        };
        proposed
    }

    /// Gets a request done once, in however many attempts.
    async fn propose_once(&self, mut request: Request, deadline: Instant) -> Result<Outcome, Error> {
        if is_too_large(&request) {
            return Err(Error::TooLarge);
        }
        let _place = self.proposals.try_acquire().map_err(|_| Error::Overloaded)?;
        if request.id.is_some() {
            return self.attempt_until(&request, deadline).await.0;
        }
        loop {
            let mut ticket = Ticket::draw(self);
            request.id = Some(ticket.id.clone());
            let (result, is_unknown) = self.attempt_until(&request, deadline).await;
            match result {
                // The catalogue has forgotten our session, so it did not do the request, unless an earlier attempt did; or the
                // earlier attempt did it, and its answer was too long to be kept.
                Ok(Outcome { reply: Reply::Refused(Refusal::SessionExpired | Refusal::AnswerForgotten), .. })
                    if is_unknown =>
                {
                    return Err(Error::Timeout { outcome_unknown: true });
                }
                Ok(Outcome { reply: Reply::Refused(Refusal::SessionExpired), .. }) => {
                    self.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner).renew(&ticket.id);
                }
                result => {
                    ticket.is_answered = result.is_ok();
                    return result;
                }
            }
        }
    }

    /// Tries until there is an outcome, the deadline passes, or nobody took the request for [`OUTAGE`]. Also says whether some attempt may have gone through.
    async fn attempt_until(&self, request: &Request, deadline: Instant) -> (Result<Outcome, Error>, bool) {
        let mut is_unknown = false;
        let Ok(proposal) = Proposal::new(request) else { return (Err(Error::TooLarge), false) };
        let weight = weight(&request.command, &proposal);
        let mut server = self.server.clone();
        let mut why = Error::NoLeader;
        let outage = Instant::now() + OUTAGE;
        loop {
            server.borrow_and_update();
            let attempt = match self.leader() {
                None => None,
                // Alone, a write is quickest by itself; in company it is cheapest in a batch.
                Some(leader) if leader == self.node && self.is_lone() => {
                    let write = self.raft.client_write(proposal.clone().dated(now()));
                    match timeout_at(deadline, write).await {
                        Err(_) => return (Err(Error::Timeout { outcome_unknown: true }), true),
                        Ok(Ok(written)) => match written.data {
                            Some(outcome) => Some(Attempt::Done(outcome)),
                            None => Some(Attempt::Unknown),
                        },
                        Ok(Err(RaftError::APIError(error))) => Some(Attempt::from(Err(refusal(&error)))),
                        Ok(Err(RaftError::Fatal(fatal))) => return (Err(unknown_if_stopped(self.fatal(&fatal))), true),
                    }
                }
                Some(_) => match timeout_at(deadline, self.forward(proposal.clone(), weight)).await {
                    Err(_) => return (Err(Error::Timeout { outcome_unknown: true }), true),
                    Ok(attempt) => Some(attempt),
                },
            };
            match attempt {
                Some(Attempt::Done(outcome)) => return (Ok(outcome), is_unknown),
                Some(Attempt::TooLarge) => return (Err(Error::TooLarge), is_unknown),
                Some(Attempt::Unknown) => is_unknown = true,
                Some(Attempt::NotAccepted(NotLeading::NoQuorum)) => why = Error::NoQuorum,
                Some(Attempt::NotAccepted(NotLeading::NotLeader)) => why = Error::NoLeader,
                Some(Attempt::Overloaded) => why = Error::Overloaded,
                None => {}
            }
            if self.has_stopped() {
                let stopped = self.fatal(&openraft::errors::Fatal::Stopped);
                return (Err(if is_unknown { unknown_if_stopped(stopped) } else { stopped }), is_unknown);
            }
            // A change of leader is the best time for another attempt; else a little later.
            let pause = Instant::now() + jitter(PAUSE);
            if pause >= deadline || pause >= outage && !is_unknown {
                let why = if is_unknown { Error::Timeout { outcome_unknown: true } } else { why };
                return (Err(why), is_unknown);
            }
            let changed = timeout_at(pause, server.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                let stopped = Error::ShuttingDown;
                return (Err(if is_unknown { unknown_if_stopped(stopped) } else { stopped }), is_unknown);
            }
        }
    }

    /// Whether at most one write of a caller here is under way.
    fn is_lone(&self) -> bool {
        self.proposals.available_permits() + 1 >= PROPOSALS_MAX
    }

    async fn forward(&self, proposal: Proposal, weight: usize) -> Attempt {
        let (reply, answer) = oneshot::channel();
        if self.forwards.send(Forward { proposal, weight, trace: traces::current(), reply }).await.is_err() {
            return Attempt::NotAccepted(NotLeading::NotLeader);
        }
        answer.await.unwrap_or(Attempt::Unknown)
    }

    /// Proposes what another node forwarded, in its order.
    pub(super) async fn propose_batch(
        &self,
        from: NodeId,
        Proposals { requests, traces }: Proposals,
    ) -> Vec<Result<Outcome, ProposeRefusal>> {
        let count = requests.len();
        let all = |refusal| vec![Err(refusal); count];
        if requests.iter().any(|proposal| proposal.len() > BATCH_BYTES_MAX) {
            return all(ProposeRefusal::TooLarge);
        }
        let Ok(_places) = self.proposals.try_acquire_many(count as u32) else {
            return all(ProposeRefusal::Overloaded);
        };
        let spans = traces.into_iter().take(count).map(|(place, parent)| (place as usize, forwarded(from, parent)));
        self.write_batch(requests, spans.collect()).await
    }

    /// Writes to the log here, as leader. Each of `spans`, by the place of its request, ends when that has its outcome.
    async fn write_batch(
        &self,
        requests: Vec<Proposal>,
        mut spans: BTreeMap<usize, Span>,
    ) -> Vec<Result<Outcome, ProposeRefusal>> {
        let count = requests.len();
        let all = |refusal| vec![Err(refusal); count];
        let at = now();
        let requests = requests.into_iter().map(|proposal| proposal.dated(at));
        let Ok(mut results) = self.raft.client_write_many(requests).await else {
            return all(ProposeRefusal::Unknown);
        };
        let mut outcomes = Vec::with_capacity(count);
        while let Some(result) = results.next().await {
            let outcome = match result {
                Ok(Ok(written)) => written.response.ok_or(ProposeRefusal::Unknown),
                Ok(Err(error)) => Err(refusal(&error)),
                Err(_) => Err(ProposeRefusal::Unknown),
            };
            if let (Some(span), Ok(outcome)) = (spans.remove(&outcomes.len()), &outcome) {
                span.record("raft.index", outcome.revision.get());
            }
            outcomes.push(outcome);
        }
        outcomes.resize(count, Err(ProposeRefusal::Unknown));
        outcomes
    }
}

/// The span of a write that `from` forwarded as part of a trace.
fn forwarded(from: NodeId, parent: TraceParent) -> Span {
    let span =
        debug_span!(target: traces::TARGET, "raft.propose", otel.kind = "server", peer.id = %from, raft.index = Empty);
    traces::adopt(&span, parent);
    span
}

/// A write that was handed over before the node stopped may yet happen, so its caller must not hear that it did not.
fn unknown_if_stopped(error: Error) -> Error {
    match error {
        Error::ShuttingDown => Error::Timeout { outcome_unknown: true },
        error => error,
    }
}

/// Passes writes to the leader, in batches, until the node stops.
pub(super) async fn forward_all(core: Arc<Core>, mut queue: mpsc::Receiver<Forward>) {
    let places = Arc::new(Semaphore::new(BATCHES_UNDER_WAY));
    let mut carried = None;
    while let Ok(place) = places.clone().acquire_owned().await {
        let first = match carried.take() {
            Some(first) => first,
            None => match queue.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let mut bytes = 0;
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(forward) = next {
            // A caller that is gone was told that it may have been done; by now it would be a surprise.
            if !forward.reply.is_closed() {
                bytes += forward.weight;
                if bytes > BATCH_BYTES_MAX && !batch.is_empty() {
                    carried = Some(forward);
                    break;
                }
                batch.push(forward);
            }
            next = if batch.len() < BATCH_MAX { queue.try_recv().ok() } else { None };
        }
        metrics::proposals_waiting(queue.len());
        if batch.is_empty() {
            continue;
        }
        let core_of_batch = core.clone();
        core.hub.tasks.spawn(async move {
            let _place = place;
            core_of_batch.pass_on(batch).await;
        });
    }
}

/// Ends when nobody waits for any of these any more.
async fn all_gone(replies: &mut [oneshot::Sender<Attempt>]) {
    for reply in replies {
        reply.closed().await;
    }
}

impl Core {
    /// Gets a batch to the leader and its answers to those who wait for them; ends when they are gone.
    async fn pass_on(&self, batch: Vec<Forward>) {
        let traces = (0..).zip(&batch).filter_map(|(place, forward)| Some((place, forward.trace?))).collect();
        let (requests, mut replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|f| (f.proposal, f.reply)).unzip();
        let attempts = tokio::select! {
            attempts = self.send_batch(Proposals { requests, traces }) => attempts,
            () = all_gone(&mut replies) => return,
        };
        for (reply, attempt) in replies.into_iter().zip(attempts) {
            // A caller that is gone does not wait any more.
            drop(reply.send(attempt));
        }
    }

    async fn send_batch(&self, proposals: Proposals) -> Vec<Attempt> {
        let count = proposals.requests.len();
        let Some(leader) = self.leader() else {
            return vec![Attempt::NotAccepted(NotLeading::NotLeader); count];
        };
        if leader == self.node {
            return tokio::select! {
                // Here the span of the proposal itself is open.
                written = self.write_batch(proposals.requests, BTreeMap::new()) => {
                    written.into_iter().map(Attempt::from).collect()
                }
                // A leader without a quorum commits nothing and discards nothing, until it hears of another one.
                () = self.leader_changed(leader) => vec![Attempt::Unknown; count],
                () = self.out_of_touch() => vec![Attempt::Unknown; count],
            };
        }
        let Some(link) = self.link(leader) else { return vec![Attempt::NotAccepted(NotLeading::NotLeader); count] };
        let request = ControlRequest::Propose(proposals);
        let deadline = Instant::now() + FORWARD_TIMEOUT;
        let reply = tokio::select! {
            reply = link.call(&request, deadline) => reply,
            // It will not answer, or not as leader; the next one may.
            () = self.leader_changed(leader) => Err(CallError::Lost),
        };
        match reply {
            Ok(ControlReply::Proposed(results)) if results.len() == count => {
                results.into_iter().map(Attempt::from).collect()
            }
            Ok(_) | Err(CallError::Lost | CallError::Timeout) => vec![Attempt::Unknown; count],
            Err(CallError::NotConnected) => vec![Attempt::NotAccepted(NotLeading::NotLeader); count],
            Err(CallError::TooLarge) => vec![Attempt::TooLarge; count],
        }
    }

    /// Ends when `leader` does not lead any more, as far as this node knows.
    pub(super) async fn leader_changed(&self, leader: NodeId) {
        let mut server = self.server.clone();
        while server.borrow_and_update().current_leader == Some(leader.get()) {
            if server.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ends when no majority has confirmed for [`OUTAGE`] that this node leads. One whose disk is slow is in touch.
    pub(super) async fn out_of_touch(&self) {
        let began = Instant::now();
        loop {
            let confirmed = self.led_at().map_or(began, |at| at.max(began));
            if confirmed.elapsed() >= OUTAGE {
                return;
            }
            sleep_until(confirmed + OUTAGE).await;
        }
    }

    /// Waits for a leader until `deadline`.
    pub(super) async fn wait_for_leader(&self, deadline: Instant) -> Option<NodeId> {
        let mut server = self.server.clone();
        loop {
            if let Some(leader) = server.borrow_and_update().current_leader {
                return Some(NodeId::new(leader));
            }
            tokio::select! {
                changed = server.changed() => changed.ok()?,
                () = sleep_until(deadline) => return None,
            }
        }
    }
}
