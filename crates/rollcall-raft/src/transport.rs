//! Peers talk to peers: one listener, and three connections from each node to each other one.
//!
//! | connection | carries | why apart |
//! |---|---|---|
//! | replication | log entries, pipelined; replies in order | large, and in one order |
//! | control | heartbeats, votes, transfers, forwarded writes, read barriers, membership | must not wait behind entries |
//! | snapshot | one snapshot, then it closes | very large |
//!
//! A fourth kind, discover, serves nodes that belong to no cluster yet. Every connection begins with the [`handshake`],
//! before which a peer can send 4 KiB and nothing reaches openraft; after it frames are bounded by [`FRAME_BYTES_MAX`], and
//! every message that speaks in a node's name is checked against who the peer proved to be. Frames are a length and a
//! payload; a payload is `[request id u64 LE]` and a value of [`crate::codec`]. Replies carry the id of their request.
//!
//! Limits: connections are authenticated, not encrypted; mTLS belongs under [`handshake`], which is generic over the stream.

pub(crate) mod acks;
pub(crate) mod dial;
pub(crate) mod handshake;
pub(crate) mod hub;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod network;
mod places;
mod rejections;
mod replication;
pub(crate) mod server;
mod transfer;

use std::io;
use std::time::Duration;

use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use rollcall_io::{TcpStream, expect_life};
use tokio::sync::mpsc;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::codec::{self, CodecError, Kind};

/// Largest frame of an authenticated member: the largest value and its request id.
pub(crate) const FRAME_BYTES_MAX: usize = codec::BYTES_MAX + REQUEST_ID_BYTES;
/// Largest frame of a peer that is not a member.
pub(crate) const DISCOVER_FRAME_BYTES_MAX: usize = 1 << 20;
/// Longest time to get one batch of frames into the socket; after it the peer counts as gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Frames written with one flush at most.
const WRITE_BATCH: usize = 128;
/// Bytes gathered before the socket is written to.
const WRITE_BUFFER_BYTES: usize = 256 << 10;
/// Frames that wait for the socket, per connection. When full, senders wait.
const WRITE_QUEUE: usize = 256;
const REQUEST_ID_BYTES: usize = 8;

/// A connection after its handshake.
pub(crate) type Frames = Framed<TcpStream, LengthDelimitedCodec>;

pub(crate) fn frame_codec(frame_bytes_max: usize) -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(frame_bytes_max).new_codec()
}

fn framed(stream: TcpStream, frame_bytes_max: usize) -> Frames {
    let mut frames = Framed::new(stream, frame_codec(frame_bytes_max));
    frames.set_backpressure_boundary(WRITE_BUFFER_BYTES);
    frames
}

/// A frame: request id and message.
fn frame<T: serde::Serialize>(id: u64, kind: Kind, message: &T) -> Result<Vec<u8>, CodecError> {
    let mut frame = Vec::with_capacity(256);
    frame.extend_from_slice(&id.to_le_bytes());
    codec::encode_into(&mut frame, kind, message)?;
    Ok(frame)
}

/// Sends one question and waits for the frame that answers it; `None` when the connection ends.
pub(crate) async fn exchange_frame<T: serde::Serialize>(
    frames: &mut Frames,
    kind: Kind,
    question: &T,
) -> Option<bytes::BytesMut> {
    let frame = frame(0, kind, question).ok()?;
    frames.send(bytes::Bytes::from(frame)).await.ok()?;
    frames.next().await?.ok()
}

/// The request id and the rest of a frame.
pub(crate) fn split_frame(frame: &[u8]) -> Option<(u64, &[u8])> {
    let (id, message) = frame.split_first_chunk::<REQUEST_ID_BYTES>()?;
    Some((u64::from_le_bytes(*id), message))
}

/// Writes frames as they come, all that wait with one flush, until the senders are gone or the peer is.
async fn write_frames(
    mut sink: SplitSink<Frames, bytes::Bytes>,
    mut frames: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let mut batch = Vec::with_capacity(WRITE_BATCH);
    while frames.recv_many(&mut batch, WRITE_BATCH).await > 0 {
        let write = async {
            for frame in batch.drain(..) {
                sink.feed(frame.into()).await?;
            }
            sink.flush().await
        };
        tokio::time::timeout(WRITE_TIMEOUT, write).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
    sink.close().await
}

/// Sets what every peer socket has: no delay, and a peer that vanished without a word is noticed.
fn tune(stream: &TcpStream) -> io::Result<()> {
    let keepalive =
        socket2::TcpKeepalive::new().with_time(Duration::from_secs(5)).with_interval(Duration::from_secs(2));
    expect_life(stream, &keepalive, WRITE_TIMEOUT)
}
