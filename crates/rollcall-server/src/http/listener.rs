//! The accept loop: connections with deadlines and caps, since `axum::serve` sets none and a silent connection would stay
//! open for ever.
//!
//! A connection must send a whole request head within [`HEADER_DEADLINE`], also between requests. When the node holds its
//! most connections, new ones are accepted and closed at once, so that a client sees a reset and not a hang.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{counter, gauge};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::Router;

/// Longest wait for a whole request head, on a new connection and between two requests.
pub(crate) const HEADER_DEADLINE: Duration = Duration::from_secs(9);
/// Longest time that bytes sent to a client may stay unacknowledged before its connection is given up.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);
/// Wait after a failed accept (usually: no file descriptors left).
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Largest request head, bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most connections at once.
    pub(crate) connections_max: usize,
    /// Most connections at once from one address.
    pub(crate) per_address_max: usize,
}

/// Serves `router` on `listener` until `shutdown`, then lets running requests end.
///
/// Returns when the last connection is closed or `drain` has passed.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
    drain: Duration,
) {
    let connections = Arc::new(Connections { limits, open: Mutex::default() });
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let Some(slot) = connections.admit(from.ip()) else { continue };
                let connection = serve_connection(stream, from, router.clone(), shutdown.clone());
                tasks.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    tasks.close();
    if tokio::time::timeout(drain, tasks.wait()).await.is_err() {
        debug!("closing connections that did not end in time");
    }
}

async fn serve_connection(stream: TcpStream, from: SocketAddr, router: Router, shutdown: CancellationToken) {
    if let Err(error) = set_options(&stream) {
        debug!(%error, "cannot set socket options: {error}");
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.call(request, from).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        counter!("rollcall_http_connection_errors_total").increment(1);
        debug!(%error, "connection ended: {error}");
    }
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(UNACKNOWLEDGED_MAX))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}

/// Open connections.
struct Connections {
    limits: Limits,
    open: Mutex<Open>,
}

/// Counts of open connections. Invariant: `total` is the sum of `by_address`, which holds no zeros.
#[derive(Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The right to one connection; given back when dropped.
struct Slot {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let from_address = open.by_address.get(&address).copied().unwrap_or(0);
        if open.total >= self.limits.connections_max || from_address >= self.limits.per_address_max {
            counter!("rollcall_http_connections_refused_total").increment(1);
            return None;
        }
        open.total += 1;
        open.by_address.insert(address, from_address + 1);
        gauge!("rollcall_http_connections").increment(1.0);
        Some(Slot { connections: self.clone(), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.address);
            }
        }
        gauge!("rollcall_http_connections").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_hold_in_all_and_by_address_and_slots_come_back() {
        let limits = Limits { connections_max: 3, per_address_max: 2 };
        let connections = Arc::new(Connections { limits, open: Mutex::default() });
        let (one, two) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = connections.admit(one).unwrap();
        let _second = connections.admit(one).unwrap();
        assert!(connections.admit(one).is_none(), "two from one address are all");
        let _third = connections.admit(two).unwrap();
        assert!(connections.admit(two).is_none(), "three are all");
        drop(first);
        assert!(connections.admit(one).is_some());
    }
}
