//! One request over the simulated network.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rollcall_io::TcpStream;
use serde_json::Value;
use tokio::time::timeout;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// `X-Rollcall-Staleness-Ms`.
    pub(crate) staleness: Option<Duration>,
    /// `Null` when the body is no JSON.
    pub(crate) body: Value,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Nobody got the request.
    Unsent,
    /// Somebody may have got it.
    Lost,
}

/// Asks the node at `node`, on a connection of its own, and waits so long for all of it.
pub(crate) async fn call(
    node: SocketAddr,
    method: Method,
    path: &str,
    body: Option<&Value>,
    patience: Duration,
) -> Result<Answer, Unanswered> {
    let mut is_sent = false;
    let answered = timeout(patience, exchange(node, method, path, body, &mut is_sent)).await;
    match answered.ok().flatten() {
        Some(answer) => Ok(answer),
        None if is_sent => Err(Unanswered::Lost),
        None => Err(Unanswered::Unsent),
    }
}

async fn exchange(
    node: SocketAddr,
    method: Method,
    path: &str,
    body: Option<&Value>,
    is_sent: &mut bool,
) -> Option<Answer> {
    let stream = TcpStream::connect(node).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let bytes = body.map_or_else(Bytes::new, |body| body.to_string().into());
    let request = Request::builder().method(method).uri(path).header(http::header::HOST, node.to_string());
    let request = request.header(http::header::CONTENT_TYPE, "application/json").body(Full::new(bytes)).ok()?;
    *is_sent = true;
    let exchange = async {
        let response = sender.send_request(request).await.ok()?;
        let (parts, body) = response.into_parts();
        let staleness = parts.headers.get("x-rollcall-staleness-ms");
        let staleness = staleness.and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_millis);
        let body = body.collect().await.ok()?.to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Some(Answer { status: parts.status, staleness, body })
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(_) => None,
        },
    }
}
