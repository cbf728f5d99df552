//! ZooKeeper's protocol as far as creating znodes needs it: length-prefixed jute records, answered in order.
//!
//! A session pipelines: many callers share it, requests that wait together leave in one write. Not done: pings (no run is
//! as long as the session timeout without a request), watches, reconnecting.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

/// Session timeout asked for, in milliseconds; the server grants at most 20 ticks, that is 40 s.
const SESSION_TIMEOUT_MS: i32 = 40_000;
/// Requests that wait for the writer of one session. Callers wait when it is full.
const QUEUE_MAX: usize = 1024;
/// Request type `create`.
const OP_CREATE: i32 = 1;
/// All permissions.
const PERMISSIONS_ALL: i32 = 31;

/// What becomes of a znode when its session ends.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    Persistent = 0,
    Ephemeral = 1,
}

/// Callers who wait for answers, in the order of their requests; `None` when the session has ended, so that nobody
/// begins to wait after the last answer was read.
type Waiting = Arc<Mutex<Option<VecDeque<oneshot::Sender<i32>>>>>;

struct Outgoing {
    path: String,
    data: Bytes,
    mode: Mode,
    done: oneshot::Sender<i32>,
}

/// A session with one server; clones share it. It ends when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Session {
    queue: mpsc::Sender<Outgoing>,
}

impl Session {
    /// Connects and opens a session.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&connect_request()).await?;
        let mut answer = vec![0; usize::try_from(stream.read_u32().await?)?];
        stream.read_exact(&mut answer).await?;
        // Behind the protocol version: the granted timeout, 0 when the session was refused.
        ensure!(answer.len() >= 8 && answer[4..8] != [0; 4], "the session was refused");
        let (read, write) = stream.into_split();
        let (queue, outgoing) = mpsc::channel(QUEUE_MAX);
        let waiting = Waiting::new(Mutex::new(Some(VecDeque::new())));
        tokio::spawn(write_requests(write, outgoing, Arc::clone(&waiting)));
        tokio::spawn(read_answers(read, waiting));
        Ok(Self { queue })
    }

    /// Creates a znode; returns when a quorum has it.
    pub(crate) async fn create(&self, path: String, data: Bytes, mode: Mode) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.queue.send(Outgoing { path, data, mode, done }).await.ok().context("the session has ended")?;
        let code = answer.await.context("the session ended before the answer")?;
        ensure!(code == 0, "create was refused with code {code}");
        Ok(())
    }
}

/// The reply to `srvr`: version, role, zxid.
pub(crate) async fn server_report(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"srvr").await?;
    let mut report = String::new();
    stream.read_to_string(&mut report).await?;
    Ok(report)
}

async fn write_requests(mut socket: OwnedWriteHalf, mut queue: mpsc::Receiver<Outgoing>, waiting: Waiting) {
    let (mut batch, mut outbox, mut xid) = (Vec::new(), BytesMut::new(), 0_i32);
    while queue.recv_many(&mut batch, QUEUE_MAX).await > 0 {
        outbox.clear();
        {
            let mut waiting = waiting.lock().expect("nothing panics while it holds the lock");
            let Some(waiting) = waiting.as_mut() else { return };
            for request in batch.drain(..) {
                xid += 1;
                encode_create(&mut outbox, xid, &request);
                waiting.push_back(request.done);
            }
        }
        if socket.write_all(&outbox).await.is_err() {
            break;
        }
    }
    forget(&waiting);
}

async fn read_answers(mut socket: OwnedReadHalf, waiting: Waiting) {
    let mut inbox = BytesMut::with_capacity(64 << 10);
    while matches!(socket.read_buf(&mut inbox).await, Ok(bytes) if bytes > 0) {
        while let Some(mut answer) = split_frame(&mut inbox) {
            if answer.len() < 16 {
                break;
            }
            let (xid, _zxid, code) = (answer.get_i32(), answer.get_i64(), answer.get_i32());
            if xid > 0
                && let Some(done) = waiting
                    .lock()
                    .expect("nothing panics while it holds the lock")
                    .as_mut()
                    .and_then(VecDeque::pop_front)
            {
                // The caller may have given up.
                let _ = done.send(code);
            }
        }
    }
    forget(&waiting);
}

/// Drops the senders, so that whoever still waits learns that the session ended.
fn forget(waiting: &Waiting) {
    waiting.lock().expect("nothing panics while it holds the lock").take();
}

fn split_frame(inbox: &mut BytesMut) -> Option<BytesMut> {
    let length = usize::try_from(u32::from_be_bytes(*inbox.first_chunk::<4>()?)).ok()?;
    if inbox.len() < 4 + length {
        return None;
    }
    inbox.advance(4);
    Some(inbox.split_to(length))
}

fn connect_request() -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u32(45);
    frame.put_i32(0);
    frame.put_i64(0);
    frame.put_i32(SESSION_TIMEOUT_MS);
    frame.put_i64(0);
    put_bytes(&mut frame, &[0; 16]);
    frame.put_u8(0);
    frame.freeze()
}

fn encode_create(outbox: &mut BytesMut, xid: i32, request: &Outgoing) {
    let start = outbox.len();
    outbox.put_u32(0);
    outbox.put_i32(xid);
    outbox.put_i32(OP_CREATE);
    put_bytes(outbox, request.path.as_bytes());
    put_bytes(outbox, &request.data);
    outbox.put_i32(1);
    outbox.put_i32(PERMISSIONS_ALL);
    put_bytes(outbox, b"world");
    put_bytes(outbox, b"anyone");
    outbox.put_i32(request.mode as i32);
    let length = u32::try_from(outbox.len() - start - 4).expect("a request is a few hundred bytes");
    outbox[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn put_bytes(frame: &mut BytesMut, bytes: &[u8]) {
    frame.put_u32(u32::try_from(bytes.len()).expect("a field is a few hundred bytes"));
    frame.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_connect_request_is_right() {
        let frame = connect_request();
        assert_eq!(frame.len(), 49);
        assert_eq!(frame[..4], 45_u32.to_be_bytes());
    }

    #[test]
    fn a_frame_is_split_off_only_when_it_is_whole() {
        let mut inbox = BytesMut::from(&[0, 0, 0, 2, 7][..]);
        assert!(split_frame(&mut inbox).is_none());
        inbox.extend_from_slice(&[8, 9]);
        assert_eq!(&split_frame(&mut inbox).unwrap()[..], [7, 8]);
        assert_eq!(&inbox[..], [9]);
    }
}
