//! Connections (RFC 7766): queries one after the other, each with its length before it.
//!
//! Bounded: [`LIMITS`], a query within [`IDLE`] (whole: a client that sends a byte at a time is closed too), an answer taken
//! within the same. A connection holds one query and one answer, 68 KiB at most.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_io::RefusedAccepts;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::message::{QUERY_BYTES_MAX, Transport};
use super::metrics::{CONNECTIONS, CONNECTIONS_REFUSED};
use super::responder::{Responder, Shared};
use super::source::Source;
use crate::connections::{Connections, Limits};

/// Connections at once: many resolvers, and one of them that goes wild.
const LIMITS: Limits = Limits { connections_max: 512, per_address_max: 128 };
/// Longest wait for a whole query, and for an answer to be taken.
const IDLE: Duration = Duration::from_secs(5);

/// Serves connections until `stop`, then ends them.
pub(super) async fn serve<S: Source>(listener: TcpListener, shared: Arc<Shared<S>>, stop: CancellationToken) {
    let connections = Connections::new(LIMITS, CONNECTIONS, CONNECTIONS_REFUSED);
    let tasks = TaskTracker::new();
    let mut refused = RefusedAccepts::new("DNS connection");
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let Some(slot) = connections.admit(from.ip()) else { continue };
                let (shared, stop) = (shared.clone(), stop.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        // How a connection ends is its client's affair.
                        _ = converse(stream, from, shared) => {}
                        () = stop.cancelled() => {}
                    }
                    drop(slot);
                });
            }
            Err(error) => refused.pause_after(&error).await,
        }
    }
    tasks.close();
    tasks.wait().await;
}

async fn converse<S: Source>(mut stream: TcpStream, from: SocketAddr, shared: Arc<Shared<S>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut responder = Responder::new(shared, Transport::Tcp, Instant::now());
    let mut query = Vec::new();
    let mut framed = Vec::new();
    while timeout(IDLE, read_query(&mut stream, &mut query)).await?? {
        if !frame(&mut responder, &query, from.ip(), &mut framed) {
            break;
        }
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
    Ok(())
}

/// Reads a whole query. `false`: there is none, or it is longer than any that can be answered.
async fn read_query(stream: &mut TcpStream, query: &mut Vec<u8>) -> io::Result<bool> {
    let length = match stream.read_u16().await {
        Ok(length) => usize::from(length),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    };
    if length > QUERY_BYTES_MAX {
        return Ok(false);
    }
    query.resize(length, 0);
    stream.read_exact(query).await?;
    Ok(true)
}

/// The answer with its length before it. `false`: there is none, and the connection ends.
fn frame<S: Source>(responder: &mut Responder<S>, query: &[u8], from: IpAddr, framed: &mut Vec<u8>) -> bool {
    let mut answer = Vec::new();
    if !responder.respond(query, from, Instant::now(), &mut answer) {
        return false;
    }
    let Ok(length) = u16::try_from(answer.len()) else { return false };
    framed.clear();
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&answer);
    true
}
