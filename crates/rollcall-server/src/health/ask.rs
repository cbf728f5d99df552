//! One question to another node's HTTP API.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rollcall_io::TcpStream;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(1);
/// Largest answer, bytes: 16 checks with 4 KiB of output each, and room to escape them.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Asks the node at `address` (`host:port`) for `path`, once, on a connection of its own. An error is said in words for people.
pub(crate) async fn ask<T: DeserializeOwned>(address: &str, path: &str) -> Result<T, String> {
    match timeout(DEADLINE, fetch(address, path)).await {
        Ok(Ok(body)) => serde_json::from_slice(&body).map_err(|error| format!("its answer cannot be read: {error}")),
        Ok(Err(problem)) => Err(problem),
        Err(_) => Err(format!("no answer within {} ms", DEADLINE.as_millis())),
    }
}

async fn fetch(address: &str, path: &str) -> Result<Bytes, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| format!("cannot connect: {error}"))?;
    let lost = |error: hyper::Error| format!("the connection was lost: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    let request = http::Request::get(path).header(http::header::HOST, address).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| format!("cannot ask: {error}"))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(lost)?;
        if !response.status().is_success() {
            return Err(format!("it answers {}", response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| format!("its answer broke off: {error}"))
    };
    let mut exchange = std::pin::pin!(exchange);
    // The connection is driven here, so that nothing is left behind when the deadline passes.
    tokio::select! {
        answer = &mut exchange => answer,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(lost(error)),
        },
    }
}
