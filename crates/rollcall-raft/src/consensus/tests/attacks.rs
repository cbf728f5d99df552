//! A running node against peers that lie, stall or send nonsense.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, VoteRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::bootstrap::Discovery;
use crate::codec::{self, Kind};
use crate::proposal::Proposal;
use crate::traces::TraceParent;
use crate::transport::dial;
use crate::transport::handshake::{HANDSHAKE_TIMEOUT, Purpose, Secret, Who};
use crate::transport::hub::Hub;
use crate::transport::message::{ControlReply, ControlRequest, Newcomer, Proposals, Transfer, Transferred};
use crate::transport::{Frames, exchange_frame, split_frame};
use crate::types::{Entry, LogId, SnapshotMeta, StoredMembership, Vote};

/// One node that serves, and one that pretends to be node 2 and knows the secret.
struct Siege {
    cluster: Cluster,
    insider: Arc<Hub>,
}

impl Siege {
    async fn lay() -> Self {
        let cluster = Cluster::found(&["target"]).await;
        let us =
            Newcomer { nonce: 1, peer: cluster.nodes[0].status().voters.values().next().unwrap().clone(), expect: 0 };
        let who = Who { member: Some((cluster.nodes[0].cluster_id(), NodeId::new(2))) };
        let (discovery, _) = Discovery::new(us, None);
        let (insider, _) = Hub::new(Secret::new(SECRET), who, discovery);
        Self { cluster, insider }
    }

    async fn enter(&self, purpose: Purpose) -> Frames {
        let address = self.cluster.places[0].address.to_string();
        dial::member(&self.insider, self.cluster.nodes[0].node(), &address, purpose).await.unwrap()
    }

    async fn knock(&self) -> TcpStream {
        TcpStream::connect(self.cluster.places[0].address).await.unwrap()
    }

    fn term(&self) -> u64 {
        self.cluster.nodes[0].status().term
    }

    /// The node still serves, in the term it had.
    async fn lift(self, term: u64) {
        self.cluster.nodes[0].propose(put("still", "here"), soon()).await.unwrap();
        assert_eq!(self.term(), term);
        self.cluster.shutdown().await;
    }
}

async fn is_closed(mut stream: TcpStream, within: Duration) -> bool {
    let mut rest = Vec::new();
    // A reset closes as well as an end.
    timeout(within, stream.read_to_end(&mut rest)).await.is_ok()
}

async fn say(frames: &mut Frames, kind: Kind, message: &impl serde::Serialize) {
    let mut frame = 7_u64.to_le_bytes().to_vec();
    codec::encode_into(&mut frame, kind, message).unwrap();
    frames.send(Bytes::from(frame)).await.unwrap();
}

async fn is_hung_up(frames: &mut Frames) -> bool {
    matches!(timeout(PATIENCE, frames.next()).await, Ok(None | Some(Err(_))))
}

fn forged_vote() -> VoteRequest<crate::types::TypeConfig> {
    VoteRequest::new(Vote::new(1_000_000, 3), Some(LogId::new_term_index(1_000_000, 1_000_000)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_peer_port_is_hung_up_on() {
    let siege = Siege::lay().await;
    let term = siege.term();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0xFF; 4096]] {
        let mut stream = siege.knock().await;
        stream.write_all(bytes).await.unwrap();
        assert!(is_closed(stream, PATIENCE).await);
    }
    siege.lift(term).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_or_slow_stranger_is_hung_up_on_in_time() {
    let siege = Siege::lay().await;
    let term = siege.term();
    let silent = siege.knock().await;
    let mut slow = siege.knock().await;
    slow.write_all(&[0, 0]).await.unwrap();
    let within = HANDSHAKE_TIMEOUT + Duration::from_secs(5);
    let closed = tokio::join!(is_closed(silent, within), is_closed(slow, within));
    assert_eq!(closed, (true, true));
    siege.lift(term).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_vote_without_a_handshake_never_reaches_the_log() {
    let siege = Siege::lay().await;
    let term = siege.term();
    let mut frame = 7_u64.to_le_bytes().to_vec();
    codec::encode_into(&mut frame, Kind::ControlRequest, &ControlRequest::Vote(forged_vote())).unwrap();
    let mut stream = siege.knock().await;
    stream.write_all(&(frame.len() as u32).to_be_bytes()).await.unwrap();
    stream.write_all(&frame).await.unwrap();
    assert!(is_closed(stream, PATIENCE).await);
    siege.lift(term).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_speaks_for_itself_only() {
    let siege = Siege::lay().await;
    let term = siege.term();
    for forged in [ControlRequest::Vote(forged_vote()), ControlRequest::PreVote(forged_vote())] {
        let mut frames = siege.enter(Purpose::Control).await;
        say(&mut frames, Kind::ControlRequest, &forged).await;
        assert!(is_hung_up(&mut frames).await);
    }
    let entries = vec![Entry { log_id: LogId::new_term_index(1_000_000, 50), payload: EntryPayload::Blank }];
    let forged: AppendEntriesRequest<crate::types::TypeConfig> = AppendEntriesRequest {
        vote: Vote::new_committed(1_000_000, 3),
        prev_log_id: None,
        entries,
        leader_commit: None,
    };
    let mut frames = siege.enter(Purpose::Replication).await;
    say(&mut frames, Kind::Append, &forged).await;
    assert!(is_hung_up(&mut frames).await);
    siege.lift(term).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_or_oversized_frame_of_a_member_is_hung_up_on() {
    let siege = Siege::lay().await;
    let term = siege.term();
    for purpose in [Purpose::Control, Purpose::Replication, Purpose::Snapshot] {
        let mut frames = siege.enter(purpose).await;
        frames.send(Bytes::from_static(b"no message of ours")).await.unwrap();
        assert!(is_hung_up(&mut frames).await);
        let frames = siege.enter(purpose).await;
        let mut stream = frames.into_inner();
        stream.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        assert!(is_closed(stream, PATIENCE).await);
    }
    siege.lift(term).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_done_whatever_traces_a_member_says_it_has() {
    let siege = Siege::lay().await;
    let term = siege.term();
    let parent = TraceParent { trace: [0; 16], span: [0; 8] };
    let traces = (0..1_000).map(|place| (place * 4_000_000, parent)).chain([(0, parent), (1, parent)]).collect();
    let proposals = Proposals { requests: vec![Proposal::new(&put("traced", "well")).unwrap()], traces };
    let mut frames = siege.enter(Purpose::Control).await;
    say(&mut frames, Kind::ControlRequest, &ControlRequest::Propose(proposals)).await;
    let frame = timeout(PATIENCE, frames.next()).await.unwrap().unwrap().unwrap();
    let reply: ControlReply = codec::decode(Kind::ControlReply, split_frame(&frame).unwrap().1).unwrap();
    let ControlReply::Proposed(results) = reply else { panic!("{reply:?}") };
    assert!(matches!(results[..], [Ok(_)]), "{results:?}");
    siege.lift(term).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_snapshot_is_refused_before_the_log_hears_of_it() {
    let siege = Siege::lay().await;
    let term = siege.term();
    let vote = Vote::new_committed(1_000_000, 2);
    let last = LogId::new_term_index(1_000_000, 500);
    let meta = SnapshotMeta { last_log_id: Some(last), last_membership: StoredMembership::default() };
    let begin = |meta: &SnapshotMeta, bytes: usize| Transfer::Begin { vote, meta: meta.clone(), bytes: bytes as u64 };

    // Nonsense instead of a snapshot.
    let content = Bytes::from_static(b"RCSNAP01 and nothing that follows makes sense");
    let mut frames = siege.enter(Purpose::Snapshot).await;
    let ready = ask(&mut frames, &begin(&meta, content.len())).await;
    assert!(matches!(ready, Transferred::Ready));
    let crc = crc32fast::hash(&content);
    say(&mut frames, Kind::Transfer, &Transfer::Chunk { crc, bytes: content.clone() }).await;
    assert!(matches!(ask(&mut frames, &Transfer::End).await, Transferred::Refused(_)));

    // A chunk that was changed on the way.
    let mut frames = siege.enter(Purpose::Snapshot).await;
    assert!(matches!(ask(&mut frames, &begin(&meta, content.len())).await, Transferred::Ready));
    let changed = Transfer::Chunk { crc: crc ^ 1, bytes: content };
    assert!(matches!(ask(&mut frames, &changed).await, Transferred::Refused(_)));

    // One that openraft would panic on: it claims another entry where this node has a committed one.
    let committed = siege.cluster.nodes[0].status().commit_index;
    let contradicts = SnapshotMeta { last_log_id: Some(LogId::new_term_index(1_000_000, committed)), ..meta.clone() };
    let mut frames = siege.enter(Purpose::Snapshot).await;
    assert!(matches!(ask(&mut frames, &begin(&contradicts, 10)).await, Transferred::Refused(_)));
    let newer = SnapshotMeta { last_log_id: Some(LogId::new_term_index(1_000_001, 500)), ..meta };
    let mut frames = siege.enter(Purpose::Snapshot).await;
    assert!(matches!(ask(&mut frames, &begin(&newer, 10)).await, Transferred::Refused(_)));

    let left = std::fs::read_dir(siege.cluster.places[0].dir.path().join("data/snapshots")).unwrap();
    let left = left.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "tmp"));
    assert_eq!(left.count(), 0, "what was received is removed");
    siege.lift(term).await;
}

async fn ask(frames: &mut Frames, question: &Transfer) -> Transferred {
    let bytes = timeout(PATIENCE, exchange_frame(frames, Kind::Transfer, question)).await.unwrap().unwrap();
    codec::decode(Kind::Transferred, split_frame(&bytes).unwrap().1).unwrap()
}
