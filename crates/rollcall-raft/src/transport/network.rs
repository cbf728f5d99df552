//! openraft's view of the peers: which connection takes which message.
//!
//! Traps of openraft that are handled here: `pre_vote` is granted by default when not forwarded; `transfer_leader` and the
//! `leadership_transfer` mark of a vote must be forwarded whole; openraft enforces no deadline of its own (its `hard_ttl`),
//! so every call has one; and a peer that cannot be reached must be reported `Unreachable`, which backs off.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::v2::RaftNetworkV2;
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use rollcall_types::NodeId;
use tokio::time::Instant;

use super::acks::Acks;
use super::hub::Hub;
use super::link::{CallError, Link};
use super::message::{Append, ControlReply, ControlRequest};
use super::replication::Pipeline;
use super::transfer;
use crate::planted::{Bug, is_planted};
use crate::snapshot::SnapshotFile;
use crate::types::{LogId, PeerNode, TypeConfig, Vote};

/// Longest wait for a vote or a transfer.
const CONTROL_TIMEOUT: Duration = Duration::from_millis(500);
/// Pauses between attempts on a peer that cannot be reached.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>;
type Rpc<T> = Result<T, RPCError<TypeConfig>>;

/// Makes the networks of one node.
pub(crate) struct Networks {
    pub(crate) hub: Arc<Hub>,
    pub(crate) links: Arc<super::link::Links>,
    pub(crate) acks: Arc<Acks>,
}

impl Networks {
    fn network(&self, target: u64, node: &PeerNode, is_pipelined: bool) -> Network {
        let target = NodeId::new(target);
        let link = self.links.get(&self.hub, target, &node.peer_addr);
        Network {
            hub: self.hub.clone(),
            acks: self.acks.clone(),
            target,
            address: node.peer_addr.clone(),
            link,
            is_pipelined,
            pipeline: None,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Networks {
    type Network = Network;

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> Network {
        self.network(target, node, true)
    }

    /// Heartbeats go by the control connection, where no entries are in their way.
    async fn new_heartbeat_client(&mut self, target: u64, node: &PeerNode) -> Network {
        self.network(target, node, false)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &PeerNode) -> Network {
        self.network(target, node, false)
    }
}

/// The way to one peer.
pub(crate) struct Network {
    hub: Arc<Hub>,
    acks: Arc<Acks>,
    target: NodeId,
    address: String,
    link: Arc<Link>,
    /// Entries go by a replication connection of its own, else by the control connection.
    is_pipelined: bool,
    pipeline: Option<Pipeline>,
}

fn unreachable(error: &(impl std::error::Error + 'static)) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(error))
}

fn network_error(error: &(impl std::error::Error + 'static)) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(error))
}

fn failed_call(error: CallError) -> RPCError<TypeConfig> {
    match error {
        CallError::NotConnected => unreachable(&error),
        CallError::Lost | CallError::Timeout | CallError::TooLarge => network_error(&error),
    }
}

fn unexpected() -> RPCError<TypeConfig> {
    network_error(&io::Error::other("the peer answered something else than it was asked, or has stopped"))
}

impl Network {
    async fn call(&self, request: ControlRequest, timeout: Duration) -> Rpc<ControlReply> {
        self.link.call(&request, Instant::now() + timeout).await.map_err(failed_call)
    }

    async fn append_by_control(&self, request: Append, timeout: Duration) -> Rpc<AppendEntriesResponse<TypeConfig>> {
        let (term, sent) = (request.vote.leader_id.term, Instant::now());
        match self.call(ControlRequest::Append(request), timeout).await? {
            ControlReply::Append(response) => {
                if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                    self.acks.note(self.target, term, sent);
                }
                Ok(response)
            }
            _ => Err(unexpected()),
        }
    }
}

/// What openraft concludes from an answer to a request that is known only by its ends.
pub(crate) fn ends(request: &Append) -> (Option<LogId>, Option<LogId>) {
    (request.prev_log_id, request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id))
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = SnapshotFile;

    async fn append_entries(&mut self, rpc: Append, option: RPCOption) -> Rpc<AppendEntriesResponse<TypeConfig>> {
        self.append_by_control(rpc, option.hard_ttl()).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = Append> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            if !self.is_pipelined {
                let network = &*self;
                let timeout = option.hard_ttl();
                let answers = input.then(move |request| async move {
                    let (prev, last) = ends(&request);
                    let response = network.append_by_control(request, timeout).await?;
                    Ok(response.into_stream_result(prev, last))
                });
                return Ok(Box::pin(answers) as BoxStream<'s, _>);
            }
            // openraft waits out its backoff while the *requests* are polled, so one must be asked for before a connection is:
            // else a peer that cannot be reached is dialled again without a pause, for ever.
            let Some(first) = input.next().await else {
                return Ok(Box::pin(stream::empty()) as BoxStream<'s, _>);
            };
            let input = stream::iter([first]).chain(input);
            if self.pipeline.as_ref().is_none_or(Pipeline::is_broken) {
                self.pipeline = None;
                let pipeline = Pipeline::open(&self.hub, &self.acks, self.target, &self.address).await;
                if pipeline.is_err() && is_planted(Bug::AckBeforeQuorum) {
                    let last_sent = input.map(|request| ends(&request).1);
                    return Ok(Box::pin(last_sent.map(Ok).map(Ok)) as BoxStream<'s, _>);
                }
                self.pipeline = Some(pipeline.map_err(|error| unreachable(&error))?);
            }
            match &mut self.pipeline {
                Some(pipeline) => Ok(Box::pin(pipeline.run(input)) as BoxStream<'s, _>),
                None => Ok(Box::pin(stream::empty()) as BoxStream<'s, _>),
            }
        })
    }

    async fn vote(&mut self, rpc: VoteRequest<TypeConfig>, _: RPCOption) -> Rpc<VoteResponse<TypeConfig>> {
        match self.call(ControlRequest::Vote(rpc), CONTROL_TIMEOUT).await? {
            ControlReply::Vote(response) => Ok(response),
            _ => Err(unexpected()),
        }
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<TypeConfig>, _: RPCOption) -> Rpc<VoteResponse<TypeConfig>> {
        match self.call(ControlRequest::PreVote(rpc), CONTROL_TIMEOUT).await? {
            ControlReply::PreVote(response) => Ok(response),
            _ => Err(unexpected()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let send = transfer::send(&self.hub, self.target, &self.address, vote, &snapshot, option.hard_ttl());
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = send => sent.map_err(|error| match error {
                transfer::SendError::Dial(error) => StreamingError::Unreachable(Unreachable::new(&error)),
                // The peer is busy or refuses: try again, but not at once.
                transfer::SendError::Declined(_) => StreamingError::Unreachable(Unreachable::new(&error)),
                transfer::SendError::Io(error) => StreamingError::Network(NetworkError::new(&error)),
            }),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _: RPCOption,
    ) -> Rpc<TransferLeaderResponse<TypeConfig>> {
        match self.call(ControlRequest::TransferLeader(request), CONTROL_TIMEOUT).await? {
            ControlReply::TransferLeader(response) => Ok(response),
            _ => Err(unexpected()),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let doubling = std::iter::successors(Some(BACKOFF.0), |pause| Some(BACKOFF.1.min(*pause * 2)));
        Some(Backoff::new(doubling))
    }
}
