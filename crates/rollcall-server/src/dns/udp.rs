//! Datagrams: a socket and a thread for each core.
//!
//! The sockets share the port (`SO_REUSEPORT`), so the kernel spreads clients over them and no two threads touch the same
//! memory for an answer. They are threads and not tasks because a blocking receive is one system call for a query, where a
//! runtime takes two or three; an answer takes no longer than that.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::message::{QUERY_BYTES_MAX, Transport};
use super::responder::{Responder, Shared};
use super::source::Source;

/// Most sockets.
const SOCKETS_MAX: usize = 8;
/// Longest wait for a datagram before looking whether the node stops.
const STOP_POLL: Duration = Duration::from_millis(250);
/// Bytes of queries that may wait in the kernel for each socket.
const RECEIVE_BYTES: usize = 1 << 20;
/// Wait after a receive that failed for another reason than that nothing came.
const RECEIVE_RETRY: Duration = Duration::from_millis(10);

/// Binds the sockets.
///
/// # Errors
/// When another process has the port: that it could share it with us is no reason to.
pub(super) fn bind(address: SocketAddr) -> io::Result<Vec<UdpSocket>> {
    drop(UdpSocket::bind(address)?);
    let count = thread::available_parallelism().map_or(1, usize::from).min(SOCKETS_MAX);
    (0..count).map(|_| bind_one(address)).collect()
}

fn bind_one(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    // Not what was asked for is still something: the kernel caps it.
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    socket.set_read_timeout(Some(STOP_POLL))?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Answers on `socket` until `stop`. Blocks.
pub(super) fn serve<S: Source>(socket: &UdpSocket, shared: Arc<Shared<S>>, stop: &CancellationToken) {
    let mut responder = Responder::new(shared, Transport::Udp, Instant::now());
    // A byte more than is taken, so that what is too long is seen to be.
    let mut query = [0; QUERY_BYTES_MAX + 1];
    let mut answer = Vec::new();
    while !stop.is_cancelled() {
        let (length, from) = match socket.recv_from(&mut query) {
            Ok(received) => received,
            Err(error) => {
                rest_after(&error);
                continue;
            }
        };
        if responder.respond(&query[..length], from.ip(), Instant::now(), &mut answer) {
            // A client that is gone, or a full queue: it asks again, or not.
            drop(socket.send_to(&answer, from));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread is its own and no runtime's")]
fn rest_after(error: &io::Error) {
    // Refused: an earlier answer reached nobody. The others: nothing came.
    use io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
    if !matches!(error.kind(), ConnectionRefused | Interrupted | TimedOut | WouldBlock) {
        warn!(%error, "cannot receive DNS queries: {error}");
        thread::sleep(RECEIVE_RETRY);
    }
}
