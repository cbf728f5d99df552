//! The little of gRPC over HTTP/2 that etcd needs: unary calls and server streams.
//!
//! Straight on `h2`, so that the peer is asked as cheaply as we can ask it. Calls on one channel share its connection.
//! Not done: compression, deadlines in the protocol, reconnecting (a broken channel fails its calls).

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use prost::Message;
use tokio::net::TcpStream;

/// HTTP/2 flow-control window of a stream and of a connection, in bytes: no call here ever waits for one.
const WINDOW: u32 = 4 << 20;
/// A message's compression flag and length.
const PREFIX: usize = 5;

/// A connection to one server; clones share it.
#[derive(Clone)]
pub(crate) struct Channel {
    send: SendRequest<Bytes>,
    base: String,
}

impl Channel {
    /// Opens a connection. Its driver task ends when the last clone is dropped.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .enable_push(false)
            .handshake(stream)
            .await?;
        // A failure of the connection reaches every call on it, so it is not reported here a second time.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { send, base: format!("http://{address}") })
    }

    /// Calls `path` and returns the answer as it came, undecoded.
    pub(crate) async fn unary(&self, path: &str, request: &impl Message) -> Result<Bytes> {
        let (mut body, _half) = self.begin(path, request, true).await?;
        let mut frame = BytesMut::new();
        while let Some(piece) = body.data().await {
            let piece = piece?;
            body.flow_control().release_capacity(piece.len())?;
            frame.extend_from_slice(&piece);
        }
        check_status(path, body.trailers().await?.as_ref())?;
        ensure!(frame.len() >= PREFIX, "{path}: an answer of {} bytes", frame.len());
        Ok(frame.split_off(PREFIX).freeze())
    }

    /// Calls `path` and decodes the answer.
    pub(crate) async fn call<A: Message + Default>(&self, path: &str, request: &impl Message) -> Result<A> {
        Ok(A::decode(self.unary(path, request).await?)?)
    }

    /// Opens a stream of answers. It ends when the value is dropped.
    pub(crate) async fn open_stream(&self, path: &str, request: &impl Message) -> Result<GrpcStream> {
        let (body, half) = self.begin(path, request, false).await?;
        Ok(GrpcStream { body, half, _channel: self.clone() })
    }

    async fn begin(&self, path: &str, request: &impl Message, last: bool) -> Result<(RecvStream, SendStream<Bytes>)> {
        let head = Request::post(format!("{}{path}", self.base))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut send = self.send.clone().ready().await?;
        let (answer, mut half) = send.send_request(head, false)?;
        half.send_data(framed(request)?, last)?;
        let answer = answer.await?;
        ensure!(answer.status() == 200, "{path}: HTTP status {}", answer.status());
        if answer.headers().contains_key("grpc-status") {
            check_status(path, Some(answer.headers()))?;
        }
        Ok((answer.into_body(), half))
    }
}

/// Whole messages at the start of `raw`.
pub(crate) fn frames_in(mut raw: &[u8]) -> usize {
    let mut frames = 0;
    while let Some((prefix, rest)) = raw.split_first_chunk::<PREFIX>() {
        let [_, length @ ..] = *prefix;
        let Some(next) = usize::try_from(u32::from_be_bytes(length)).ok().and_then(|length| rest.get(length..)) else {
            break;
        };
        raw = next;
        frames += 1;
    }
    frames
}

fn framed(message: &impl Message) -> Result<Bytes> {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length)?);
    message.encode(&mut frame)?;
    Ok(frame.freeze())
}

fn check_status(path: &str, fields: Option<&HeaderMap>) -> Result<()> {
    let fields = fields.with_context(|| format!("{path}: no grpc-status"))?;
    match fields.get("grpc-status").map(http::HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        status => bail!("{path}: grpc-status {status:?}, message {:?}", fields.get("grpc-message")),
    }
}

/// Answers that keep coming.
pub(crate) struct GrpcStream {
    body: RecvStream,
    half: SendStream<Bytes>,
    // Held only so that the connection stays open.
    _channel: Channel,
}

impl GrpcStream {
    /// Sends messages in one go, without waiting for answers.
    pub(crate) fn send_all<M: Message>(&mut self, messages: impl Iterator<Item = M>) -> Result<()> {
        let mut frames = BytesMut::new();
        for message in messages {
            frames.extend_from_slice(&framed(&message)?);
        }
        Ok(self.half.send_data(frames.freeze(), false)?)
    }

    /// Appends what arrives next to `raw`, with its framing.
    pub(crate) async fn read(&mut self, raw: &mut Vec<u8>) -> Result<()> {
        let piece = self.body.data().await.context("the server ended the stream")??;
        self.body.flow_control().release_capacity(piece.len())?;
        raw.extend_from_slice(&piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_messages_count() {
        let raw = [0, 0, 0, 0, 2, 7, 7, 0, 0, 0, 0, 1, 7];
        assert_eq!([frames_in(&raw), frames_in(&raw[..12]), frames_in(&raw[..6]), frames_in(&[])], [2, 1, 0, 0]);
    }
}
