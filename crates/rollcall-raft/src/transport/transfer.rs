//! One snapshot from the leader to a node that lags behind the log: a file, in checked chunks, on a connection of its own.
//!
//! The receiver writes a temporary file, and before openraft hears of it checks everything: checksums, digest, count,
//! cluster, position, and that all records make a catalogue. openraft panics on a snapshot that contradicts the vote or the
//! committed log, and stops on one that cannot be read; neither must be in the power of a peer.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use openraft::async_runtime::WatchReceiver;
use openraft::raft::SnapshotResponse;
use rollcall_types::NodeId;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tracing::info;

use super::dial::{self, DialError};
use super::handshake::Purpose;
use super::hub::Hub;
use super::message::{Transfer, Transferred};
use super::replication::ServeError;
use super::{Frames, frame, split_frame};
use crate::codec::{self, Kind};
use crate::consensus::Core;
use crate::snapshot::{self, SnapshotFile};
use crate::types::{SnapshotMeta, TypeConfig, Vote, voted_for};

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>;

/// Bytes of one chunk.
const CHUNK_BYTES: usize = 256 << 10;
/// Longest silence of the other side in the middle of a transfer. The whole may take as long as it takes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest snapshot that is received, 64 GiB: a bound on what a peer may fill the disk with.
const BYTES_MAX: u64 = 64 << 30;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the peer declines the snapshot: {0}")]
    Declined(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Sends a snapshot and waits until the peer has installed it, the last at most `install_timeout`.
pub(crate) async fn send(
    hub: &Arc<Hub>,
    target: NodeId,
    address: &str,
    vote: Vote,
    snapshot: &Snapshot,
    install_timeout: Duration,
) -> Result<SnapshotResponse<TypeConfig>, SendError> {
    // Opened before anything else: the file may be replaced by a newer one while it is on its way.
    let mut file = File::open(&snapshot.snapshot.path).await?;
    let bytes = file.metadata().await?.len();
    let mut frames = dial::member(hub, target, address, Purpose::Snapshot).await?;
    let begin = Transfer::Begin { vote, meta: snapshot.meta.clone(), bytes };
    say(&mut frames, &begin).await?;
    match hear(&mut frames, IDLE_TIMEOUT).await? {
        Transferred::Ready => {}
        Transferred::Busy => return Err(SendError::Declined("it is receiving another one".to_owned())),
        Transferred::Refused(reason) => return Err(SendError::Declined(reason)),
        Transferred::Installed(response) => return Ok(response),
    }
    info!(peer.id = %target, "sending a snapshot of {bytes} bytes to node {target}");
    let mut left = bytes;
    while left > 0 {
        let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_BYTES))];
        file.read_exact(&mut chunk).await?;
        left -= chunk.len() as u64;
        let crc = crc32fast::hash(&chunk);
        say(&mut frames, &Transfer::Chunk { crc, bytes: Bytes::from(chunk) }).await?;
    }
    say(&mut frames, &Transfer::End).await?;
    match hear(&mut frames, install_timeout).await? {
        Transferred::Installed(response) => Ok(response),
        Transferred::Refused(reason) => Err(SendError::Declined(reason)),
        Transferred::Ready | Transferred::Busy => Err(io::Error::other("unexpected answer").into()),
    }
}

async fn say(frames: &mut Frames, message: &Transfer) -> io::Result<()> {
    let frame = frame(0, Kind::Transfer, message)?;
    timeout(IDLE_TIMEOUT, frames.send(Bytes::from(frame))).await.map_err(|_| io::ErrorKind::TimedOut)?
}

async fn hear(frames: &mut Frames, patience: Duration) -> io::Result<Transferred> {
    let bytes = timeout(patience, frames.next()).await.map_err(|_| io::ErrorKind::TimedOut)?;
    let bytes = bytes.ok_or(io::ErrorKind::UnexpectedEof)??;
    let (_, message) = split_frame(&bytes).ok_or(io::ErrorKind::InvalidData)?;
    Ok(codec::decode(Kind::Transferred, message)?)
}

/// The receiver's side.
pub(crate) async fn serve(core: &Arc<Core>, from: NodeId, mut frames: Frames) -> Result<(), ServeError> {
    let Some(Transfer::Begin { vote, meta, bytes }) = next_message(&mut frames).await? else {
        return Err(ServeError::Malformed);
    };
    if voted_for(&vote) != from {
        return Err(ServeError::Identity(voted_for(&vote)));
    }
    let Ok(slot) = core.snapshot_slot.try_acquire() else { return reply(&mut frames, &Transferred::Busy).await };
    if let Err(reason) = is_plausible(core, &vote, &meta, bytes) {
        drop(slot);
        return refuse(&mut frames, reason).await;
    }
    reply(&mut frames, &Transferred::Ready).await?;
    let path = core.snapshots.incoming();
    let result = receive(core, &mut frames, &path, vote, meta, bytes).await;
    // After an installation there is nothing under this name any more.
    drop(tokio::fs::remove_file(&path).await);
    // Before the answer: whoever is refused may begin again at once.
    drop(slot);
    match result? {
        Ok(response) => reply(&mut frames, &Transferred::Installed(response)).await,
        Err(reason) => refuse(&mut frames, reason).await,
    }
}

async fn refuse(frames: &mut Frames, reason: String) -> Result<(), ServeError> {
    reply(frames, &Transferred::Refused(reason.clone())).await?;
    Err(ServeError::Snapshot(reason))
}

/// Whether openraft may be given a snapshot with this position (`Raft::install_full_snapshot`, "Panics").
fn is_plausible(core: &Core, vote: &Vote, meta: &SnapshotMeta, bytes: u64) -> Result<(), String> {
    let Some(last) = meta.last_log_id else { return Err("it holds no log entry".to_owned()) };
    if last.leader_id.term > vote.leader_id.term {
        return Err("it is newer than its leader".to_owned());
    }
    let committed = core.raft.data_metrics().borrow_watched().local_committed;
    if committed.is_some_and(|committed| last > committed && last.index <= committed.index) {
        return Err("it contradicts what is committed here".to_owned());
    }
    if bytes > BYTES_MAX {
        return Err(format!("{bytes} bytes are too many"));
    }
    Ok(())
}

/// Receives, checks and installs. The inner error is a reason to refuse the snapshot.
async fn receive(
    core: &Arc<Core>,
    frames: &mut Frames,
    path: &Path,
    vote: Vote,
    meta: SnapshotMeta,
    bytes: u64,
) -> Result<Result<SnapshotResponse<TypeConfig>, String>, ServeError> {
    let mut file = match File::create(path).await {
        Ok(file) => file,
        Err(error) => return Ok(Err(format!("cannot write it: {error}"))),
    };
    let mut received = 0;
    loop {
        match next_message(frames).await? {
            Some(Transfer::Chunk { crc, bytes: chunk }) => {
                received += chunk.len() as u64;
                if received > bytes || crc32fast::hash(&chunk) != crc {
                    return Ok(Err("a chunk is damaged".to_owned()));
                }
                if let Err(error) = file.write_all(&chunk).await {
                    return Ok(Err(format!("cannot write it: {error}")));
                }
            }
            Some(Transfer::End) if received == bytes => break,
            Some(Transfer::Begin { .. } | Transfer::End) | None => return Err(ServeError::Malformed),
        }
    }
    if let Err(error) = file.sync_all().await {
        return Ok(Err(format!("cannot write it: {error}")));
    }
    drop(file);
    match check(core, path, &meta).await {
        Ok(snapshot) => {
            let installed = core.raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await;
            installed.map(Ok).map_err(|_| ServeError::Stopped)
        }
        Err(reason) => Ok(Err(reason)),
    }
}

/// Decodes the whole file into a catalogue.
async fn check(core: &Arc<Core>, path: &Path, meta: &SnapshotMeta) -> Result<SnapshotFile, String> {
    let owned = path.to_owned();
    let loaded = rollcall_io::spawn_blocking(move || snapshot::load(&owned, snapshot::Check::Digest)).await;
    let (header, catalog, _) = loaded.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    if header.cluster != core.snapshots.cluster() {
        return Err(format!("it belongs to cluster {}", header.cluster));
    }
    if header.meta != *meta {
        return Err("its header differs from what was announced".to_owned());
    }
    Ok(SnapshotFile { path: path.to_owned(), catalog: Some(Arc::new(catalog)) })
}

async fn next_message(frames: &mut Frames) -> Result<Option<Transfer>, ServeError> {
    match timeout(IDLE_TIMEOUT, frames.next()).await {
        Ok(Some(Ok(bytes))) => {
            let (_, message) = split_frame(&bytes).ok_or(ServeError::Malformed)?;
            codec::decode(Kind::Transfer, message).map(Some).map_err(|_| ServeError::Malformed)
        }
        // The peer is gone or silent; what was received is of no use.
        Ok(Some(Err(_)) | None) | Err(_) => Ok(None),
    }
}

async fn reply(frames: &mut Frames, message: &Transferred) -> Result<(), ServeError> {
    let frame = frame(0, Kind::Transferred, message).map_err(|_| ServeError::Malformed)?;
    // A peer that is gone needs no answer.
    drop(timeout(IDLE_TIMEOUT, frames.send(Bytes::from(frame))).await);
    Ok(())
}
