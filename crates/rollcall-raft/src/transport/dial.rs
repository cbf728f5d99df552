//! Opens a connection to a peer: resolve, connect, prove.

use std::io;
use std::time::Duration;

use rollcall_io::TcpStream;
use rollcall_types::NodeId;
use tokio::time::timeout;

use super::handshake::{self, HANDSHAKE_TIMEOUT, HandshakeError, Purpose};
use super::hub::Hub;
use super::{DISCOVER_FRAME_BYTES_MAX, FRAME_BYTES_MAX, Frames, framed, tune};

/// Longest time to connect, name resolution included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The machine is there and nobody listens.
    #[error("connection refused")]
    Refused,
    #[error("not reachable")]
    Unreachable(#[source] io::Error),
    #[error("the link is cut by fault injection")]
    Blocked,
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

/// Connects to a member.
pub(crate) async fn member(hub: &Hub, target: NodeId, address: &str, purpose: Purpose) -> Result<Frames, DialError> {
    if hub.is_blocked(target) {
        return Err(DialError::Blocked);
    }
    let stream = dial(hub, address, Some(target), purpose).await?;
    Ok(framed(stream, FRAME_BYTES_MAX))
}

/// Connects to whoever listens at `address`, to find or found a cluster.
pub(crate) async fn stranger(hub: &Hub, address: &str) -> Result<Frames, DialError> {
    let stream = dial(hub, address, None, Purpose::Discover).await?;
    Ok(framed(stream, DISCOVER_FRAME_BYTES_MAX))
}

async fn dial(hub: &Hub, address: &str, target: Option<NodeId>, purpose: Purpose) -> Result<TcpStream, DialError> {
    let connected = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(connected) => connected,
        Err(_) => return Err(DialError::Unreachable(io::ErrorKind::TimedOut.into())),
    };
    let mut stream = connected.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => DialError::Refused,
        _ => DialError::Unreachable(error),
    })?;
    tune(&stream).map_err(DialError::Unreachable)?;
    let us = **hub.who.load();
    let shaken = timeout(HANDSHAKE_TIMEOUT, handshake::connect(&mut stream, &hub.secret, us, target, purpose)).await;
    shaken.map_err(|_| HandshakeError::Slow)??;
    Ok(stream)
}
