//! The pipeline of log entries to one follower: requests are written as they come, replies are read in their order.
//!
//! openraft opens many short streams over the life of one connection. Each is a *session*: the upper half of the request
//! id. A session that ends early (a conflict, a new leader's payload) leaves replies under way; they carry the old session
//! and are skipped. The follower, in turn, starts over with openraft when a new session begins.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::SplitStream;
use futures_util::{Stream, StreamExt, stream};
use openraft::errors::{NetworkError, RPCError};
use openraft::raft::{StreamAppendError, StreamAppendResult};
use rollcall_types::NodeId;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::acks::Acks;
use super::dial::{self, DialError};
use super::handshake::Purpose;
use super::hub::Hub;
use super::message::{Append, Appended};
use super::server::frame_of;
use super::{Frames, frame, split_frame, write_frames};
use crate::codec::{self, Kind};
use crate::consensus::Core;
use crate::types::{TypeConfig, voted_for};

/// Requests under way to one follower. Each is at most 2 MiB of entries.
const WINDOW: usize = 32;
/// A follower that owes a reply for so long is hung: the connection is closed.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(crate) enum PipelineError {
    #[error("connection lost")]
    Lost,
    #[error("no reply for {REPLY_TIMEOUT:?}")]
    Silent,
    #[error("a request has no encoding")]
    Codec(#[from] codec::CodecError),
}

/// One replication connection.
pub(crate) struct Pipeline {
    hub: Arc<Hub>,
    acks: Arc<Acks>,
    target: NodeId,
    write: mpsc::Sender<Vec<u8>>,
    replies: SplitStream<Frames>,
    session: u32,
    is_broken: bool,
    _writer: AbortOnDropHandle<std::io::Result<()>>,
}

impl Pipeline {
    pub(crate) async fn open(
        hub: &Arc<Hub>,
        acks: &Arc<Acks>,
        target: NodeId,
        address: &str,
    ) -> Result<Self, DialError> {
        let frames = dial::member(hub, target, address, Purpose::Replication).await?;
        Ok(Self::over(frames, hub, acks, target))
    }

    /// A pipeline over a connection that is open.
    fn over(frames: Frames, hub: &Arc<Hub>, acks: &Arc<Acks>, target: NodeId) -> Self {
        let (sink, replies) = frames.split();
        let (write, queue) = mpsc::channel(WINDOW);
        let writer = AbortOnDropHandle::new(hub.tasks.spawn(write_frames(sink, queue)));
        let (hub, acks) = (hub.clone(), acks.clone());
        Self { hub, acks, target, write, replies, session: 0, is_broken: false, _writer: writer }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken || self.hub.is_blocked(self.target) || self.write.is_closed()
    }

    /// Sends what `input` gives, and yields the replies.
    pub(crate) fn run<'s, S>(
        &'s mut self,
        input: S,
    ) -> impl Stream<Item = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>> + Send + 's
    where
        S: Stream<Item = Append> + Send + Unpin + 'static,
    {
        self.session = self.session.wrapping_add(1);
        let session = Session { pipeline: self, input, input_ended: false, owed: VecDeque::new(), sent: 0 };
        stream::unfold(Some(session), |session| async move {
            let mut session = session?;
            match session.next().await {
                Ok(Some(reply)) => Some((Ok(reply), Some(session))),
                Ok(None) => None,
                Err(error) => {
                    session.pipeline.is_broken = true;
                    Some((Err(RPCError::Network(NetworkError::new(&error))), None))
                }
            }
        })
    }
}

struct Session<'s, S> {
    pipeline: &'s mut Pipeline,
    input: S,
    input_ended: bool,
    /// Of each request that has no reply yet, when it was sent and the term of its leader.
    owed: VecDeque<(Instant, u64)>,
    sent: u32,
}

impl<S: Stream<Item = Append> + Send + Unpin> Session<'_, S> {
    /// The next reply; `None` when all requests were answered and no more come.
    async fn next(&mut self) -> Result<Option<Appended>, PipelineError> {
        let hub = self.pipeline.hub.clone();
        let mut cut_off = std::pin::pin!(hub.cut_off(self.pipeline.target));
        loop {
            if self.input_ended && self.owed.is_empty() {
                return Ok(None);
            }
            let oldest = self.owed.front().map(|(sent, _)| *sent);
            tokio::select! {
                biased;
                reply = self.pipeline.replies.next() => {
                    let Some(Ok(bytes)) = reply else { return Err(PipelineError::Lost) };
                    let (id, message) = split_frame(&bytes).ok_or(PipelineError::Lost)?;
                    if (id >> 32) as u32 == self.pipeline.session {
                        let reply = codec::decode(Kind::Appended, message)?;
                        self.note(&reply);
                        return Ok(Some(reply));
                    }
                }
                request = self.input.next(), if !self.input_ended && self.owed.len() < WINDOW => match request {
                    Some(request) => self.send(&request).await?,
                    None => self.input_ended = true,
                },
                () = sleep_until(oldest.unwrap_or_else(Instant::now) + REPLY_TIMEOUT), if oldest.is_some() => {
                    return Err(PipelineError::Silent);
                }
                () = &mut cut_off => return Err(PipelineError::Lost),
            }
        }
    }

    /// Takes the reply to the oldest request.
    fn note(&mut self, reply: &Appended) {
        if let Some((sent, term)) = self.owed.pop_front()
            && !matches!(reply, Err(StreamAppendError::HigherVote(_)))
        {
            self.pipeline.acks.note(self.pipeline.target, term, sent);
        }
    }

    async fn send(&mut self, request: &Append) -> Result<(), PipelineError> {
        let id = u64::from(self.pipeline.session) << 32 | u64::from(self.sent);
        self.sent = self.sent.wrapping_add(1);
        let frame = frame(id, Kind::Append, request)?;
        // Before it is sent, since what this time says must be true when the follower answers.
        let sent = Instant::now();
        self.pipeline.write.send(frame).await.map_err(|_| PipelineError::Lost)?;
        self.owed.push_back((sent, request.vote.leader_id.term));
        Ok(())
    }
}

/// Why serving a connection ended other than by its close.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("malformed message")]
    Malformed,
    #[error("a message in the name of node {0}")]
    Identity(NodeId),
    #[error("an oversized frame")]
    Oversized,
    #[error("a snapshot is refused: {0}")]
    Snapshot(String),
    #[error("the node has stopped")]
    Stopped,
}

/// The follower's side: feeds what comes to openraft, and answers in order.
pub(crate) async fn serve(core: &Arc<Core>, from: NodeId, frames: Frames) -> Result<(), ServeError> {
    let (sink, mut requests) = frames.split();
    let (write, queue) = mpsc::channel(WINDOW);
    let _writer = AbortOnDropHandle::new(core.hub.tasks.spawn(write_frames(sink, queue)));
    let mut present: Option<(u32, mpsc::Sender<Append>, AbortOnDropHandle<()>)> = None;
    while let Some(bytes) = frame_of(requests.next().await)? {
        let (id, message) = split_frame(&bytes).ok_or(ServeError::Malformed)?;
        let request: Append = codec::decode(Kind::Append, message).map_err(|_| ServeError::Malformed)?;
        let claimed = voted_for(&request.vote);
        if claimed != from {
            return Err(ServeError::Identity(claimed));
        }
        let session = (id >> 32) as u32;
        if present.as_ref().is_none_or(|(number, ..)| *number != session) {
            let (feed, input) = mpsc::channel(WINDOW);
            let answer = core.hub.tasks.spawn(answer(core.clone(), session, input, write.clone()));
            present = Some((session, feed, AbortOnDropHandle::new(answer)));
        }
        if let Some((_, feed, _)) = &present {
            // An error means that the session ended with a refusal; what else comes under it is void.
            drop(feed.send(request).await);
        }
        if core.has_stopped() {
            return Err(ServeError::Stopped);
        }
    }
    Ok(())
}

async fn answer(core: Arc<Core>, session: u32, input: mpsc::Receiver<Append>, write: mpsc::Sender<Vec<u8>>) {
    let input = stream::unfold(input, |mut input| async move { Some((input.recv().await?, input)) });
    let mut results = std::pin::pin!(core.raft.stream_append(input));
    let mut number = 0_u64;
    while let Some(Ok(result)) = results.next().await {
        let Ok(frame) = frame(u64::from(session) << 32 | number, Kind::Appended, &result) else { return };
        if write.send(frame).await.is_err() {
            return;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures_util::SinkExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::super::{FRAME_BYTES_MAX, framed, hub};
    use super::*;
    use crate::types::{LogId, Vote};

    const TERM: u64 = 3;
    const FOLLOWER: NodeId = NodeId::new(2);

    fn append(commit: u64) -> Append {
        let last = LogId::new_term_index(TERM, 5);
        let leader_commit = Some(LogId::new_term_index(TERM, commit));
        Append { vote: Vote::new_committed(TERM, 1), prev_log_id: Some(last), entries: Vec::new(), leader_commit }
    }

    async fn hear(follower: &mut Frames) -> u64 {
        let frame = follower.next().await.unwrap().unwrap();
        split_frame(&frame).unwrap().0
    }

    #[tokio::test]
    async fn a_late_reply_confirms_the_request_that_it_answers_and_no_later_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut follower = framed(listener.accept().await.unwrap().0, FRAME_BYTES_MAX);
        let acks = Arc::new(Acks::default());
        let mut pipeline = Pipeline::over(framed(near, FRAME_BYTES_MAX), &hub::tests::hub(), &acks, FOLLOWER);
        let (requests, input) = mpsc::channel(2);
        let input = stream::unfold(input, |mut input| async move { Some((input.recv().await?, input)) });
        let mut replies = std::pin::pin!(pipeline.run(Box::pin(input)));
        let led_at = || acks.majority(&[BTreeSet::from([FOLLOWER.get()])], NodeId::new(1), TERM, Instant::now());

        // Both requests end at entry 5: by that alone, the reply to the first would be one to the second as well.
        requests.send(append(4)).await.unwrap();
        let first =
            tokio::select! { id = hear(&mut follower) => id, _ = replies.next() => panic!("nothing was replied") };
        let between = Instant::now();
        requests.send(append(5)).await.unwrap();
        let second =
            tokio::select! { id = hear(&mut follower) => id, _ = replies.next() => panic!("nothing was replied") };
        assert_eq!(led_at(), None, "nothing was replied yet");
        for (id, is_recent) in [(first, false), (second, true)] {
            let reply: Appended = Ok(Some(LogId::new_term_index(TERM, 5)));
            follower.send(bytes::Bytes::from(frame(id, Kind::Appended, &reply).unwrap())).await.unwrap();
            assert!(replies.next().await.unwrap().unwrap().is_ok());
            assert_eq!(led_at().unwrap() >= between, is_recent);
        }

        // What refuses the leader confirms nothing.
        requests.send(append(6)).await.unwrap();
        let third =
            tokio::select! { id = hear(&mut follower) => id, _ = replies.next() => panic!("nothing was replied") };
        let confirmed = led_at();
        let refusal: Appended = Err(StreamAppendError::HigherVote(Vote::new(TERM + 1, 2)));
        follower.send(bytes::Bytes::from(frame(third, Kind::Appended, &refusal).unwrap())).await.unwrap();
        assert!(replies.next().await.unwrap().unwrap().is_err());
        assert_eq!(led_at(), confirmed);
    }
}
