//! The accept loop: connections with deadlines and caps, since `axum::serve` sets none and a silent connection would stay
//! open for ever.
//!
//! A connection must send a whole request head within [`Answering::HEADER_DEADLINE`], also between requests. When the node holds its
//! most connections, new ones are accepted and closed at once, so that a client sees a reset and not a hang.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _, future::Either};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use metrics::counter;
use rollcall_io::{RefusedAccepts, TcpListener, TcpStream, expect_life};
use socket2::TcpKeepalive;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::head_timer::HeadTimer;
use crate::connections::{Connections, Limits};

/// Longest time that bytes sent to a client may stay unacknowledged before its connection is given up.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);
/// Largest request head, bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// What answers the requests of a listener.
pub(crate) trait Answering: Clone + Send + 'static {
    /// The gauge of open connections.
    const CONNECTIONS: &'static str;
    /// The counter of connections closed because of a cap.
    const CONNECTIONS_REFUSED: &'static str;
    /// The counter of connections that ended with an error.
    const CONNECTION_ERRORS: &'static str;
    /// Longest wait for a whole request head, on a new connection and between two requests.
    const HEADER_DEADLINE: Duration;

    /// Answers one request.
    fn answer(
        &self,
        request: hyper::Request<Incoming>,
        from: SocketAddr,
    ) -> impl Future<Output = hyper::Response<Body>> + Send + use<Self>;
}

/// Serves `router` on `listener` until `shutdown`, then lets running requests end.
///
/// Returns when the last connection is closed or `drain` has passed.
pub(crate) async fn serve<A: Answering>(
    listener: TcpListener,
    router: A,
    limits: Limits,
    shutdown: CancellationToken,
    drain: Duration,
) {
    let connections = Connections::new(limits, A::CONNECTIONS, A::CONNECTIONS_REFUSED);
    let tasks = TaskTracker::new();
    let mut refused = RefusedAccepts::new("connection");
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
            Err(error) => refused.pause_after(&error).await,
        }
    }
    tasks.close();
    if tokio::time::timeout(drain, tasks.wait()).await.is_err() {
        debug!("closing connections that did not end in time");
    }
}

/// What a connection does beside serving.
enum Turn {
    /// The node stops: the request under way is the last.
    Stop,
    /// To look whether the head that is waited for is late.
    Look,
}

async fn serve_connection<A: Answering>(stream: TcpStream, from: SocketAddr, router: A, shutdown: CancellationToken) {
    if let Err(error) = expect_life(&stream, &TcpKeepalive::new().with_time(UNACKNOWLEDGED_MAX), UNACKNOWLEDGED_MAX) {
        debug!(%error, "cannot set socket options: {error}");
    }
    let service =
        service_fn(move |request: hyper::Request<Incoming>| router.answer(request, from).map(Ok::<_, Infallible>));
    let heads = HeadTimer::new(A::HEADER_DEADLINE);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(heads.clone())
        .header_read_timeout(A::HEADER_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // A set: what is in it is polled when it was woken, and not, with the locks that all connections share, at every request.
    let stop = async {
        shutdown.cancelled().await;
        Turn::Stop
    };
    let look_at = |when| async move {
        sleep_until(when).await;
        Turn::Look
    };
    let mut turns =
        FuturesUnordered::from_iter([Either::Left(stop), Either::Right(look_at(heads.look(Instant::now())))]);
    let ended = loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => break ended,
            Some(turn) = turns.next() => match turn {
                Turn::Stop => connection.as_mut().graceful_shutdown(),
                Turn::Look => turns.push(Either::Right(look_at(heads.look(Instant::now())))),
            }
        }
    };
    if let Err(error) = ended {
        counter!(A::CONNECTION_ERRORS).increment(1);
        debug!(%error, "connection ended: {error}");
    }
}
