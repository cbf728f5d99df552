//! The gRPC health protocol: `grpc.health.v1.Health/Check` over cleartext HTTP/2.
//!
//! The whole protocol is one message of one field in each direction, so it is written by hand over `h2`, which the HTTP edge
//! has in the tree. Rejected: tonic, which brings a channel that connects by itself, spawns its tasks, and a compiler of
//! schemas. As with HTTP/1, the future of the probe drives the connection, and dropping it closes it.
//!
//! A kept connection answers what the server asks of it (pings) when it is looked at, every few seconds. It holds its buffers,
//! about 30 KiB, so fewer are kept.
//!
//! Not done: TLS, since a check says host and port and nothing of it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::client::{Connection, SendRequest};
use http::header::{CONTENT_TYPE, HeaderMap, TE};
use http::{HeaderValue, Method, Request, StatusCode};
use rollcall_health::check::{Answer, Failure};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::Answered;
use super::dial::Metered;
use super::failed::{Failed, Retry};
use super::page::AGENT;
use super::pool::{Pooled, Reusable};

/// Most bytes that are read from one connection, in all of its probes.
const READ_MAX: u64 = 256 * 1024;
/// Longest list of headers that a server may send, bytes.
const HEADERS_MAX: u32 = 16 * 1024;
/// Longest message that can be an answer. One field takes two bytes; what else a server may add is skipped.
const MESSAGE_MAX: usize = 1_024;
/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A connection to a gRPC server.
pub(super) struct Channel {
    sender: SendRequest<Bytes>,
    connection: Connection<Metered<TcpStream>, Bytes>,
}

impl Reusable for Channel {
    fn is_usable(&mut self) -> bool {
        // Reads what came meanwhile. A connection that ended, or that the server announced to end, is done.
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.connection).poll(&mut cx).is_pending()
    }
}

impl Channel {
    /// Begins HTTP/2 on a connection that was just made.
    pub(super) async fn open(stream: TcpStream) -> Result<Self, Failed> {
        let handshake = h2::client::Builder::new()
            .enable_push(false)
            .max_header_list_size(HEADERS_MAX)
            .initial_window_size(16 * 1024)
            .initial_connection_window_size(16 * 1024)
            .handshake(Metered::new(stream, READ_MAX));
        let (sender, connection) = handshake.await.map_err(|error| failed(&error, 1))?;
        Ok(Self { sender, connection })
    }

    /// What `work` comes to, while the connection is driven.
    async fn drive<T>(&mut self, work: impl Future<Output = Result<T, h2::Error>>) -> Result<T, Option<h2::Error>> {
        let mut work = pin!(work);
        let mut ended = None;
        poll_fn(|cx| {
            if ended.is_none()
                && let Poll::Ready(end) = Pin::new(&mut self.connection).poll(cx)
            {
                ended = Some(end.err());
            }
            match (work.as_mut().poll(cx), &mut ended) {
                (Poll::Ready(result), _) => Poll::Ready(result.map_err(Some)),
                (Poll::Pending, Some(end)) => Poll::Ready(Err(end.take())),
                (Poll::Pending, None) => Poll::Pending,
            }
        })
        .await
    }
}

/// Asks how `service` is; the empty name asks for the whole server. Gives back the connection.
pub(super) async fn check(
    mut pooled: Pooled<Channel>,
    authority: &str,
    service: &str,
    deadline: Instant,
) -> Result<(Answered, Pooled<Channel>), Failed> {
    let timeout = deadline.saturating_duration_since(Instant::now());
    let request = request(authority, timeout)
        .ok_or_else(|| Failed::new(Failure::Forbidden, format!("{authority} is no authority of a request")))?;
    let exchange = exchange(pooled.connection.sender.clone(), request, message(service));
    let reply = match timeout_at(deadline, pooled.connection.drive(exchange)).await {
        Err(_) => return Err(Failed::timeout("connected, and no answer of gRPC came")),
        Ok(Err(Some(error))) => return Err(failed(&error, pooled.uses)),
        Ok(Err(None)) => return Err(closed(pooled.uses)),
        Ok(Ok(reply)) => reply,
    };
    let answered = judge(&reply, service)?;
    Ok((answered, pooled))
}

/// What came.
struct Reply {
    status: StatusCode,
    /// Headers and trailers.
    headers: HeaderMap,
    /// As much of the message as can be an answer, with its prefix.
    message: BytesMut,
    is_too_long: bool,
}

async fn exchange(sender: SendRequest<Bytes>, request: Request<()>, message: Bytes) -> Result<Reply, h2::Error> {
    let mut sender = sender.ready().await?;
    let (response, mut stream) = sender.send_request(request, false)?;
    stream.send_data(message, true)?;
    let (parts, mut body) = response.await?.into_parts();
    let mut reply =
        Reply { status: parts.status, headers: parts.headers, message: BytesMut::new(), is_too_long: false };
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        if reply.message.len() + data.len() > PREFIX + MESSAGE_MAX {
            // Dropping the body resets the stream.
            reply.is_too_long = true;
            return Ok(reply);
        }
        reply.message.put(data);
    }
    if let Some(trailers) = body.trailers().await? {
        reply.headers.extend(trailers);
    }
    Ok(reply)
}

fn request(authority: &str, timeout: Duration) -> Option<Request<()>> {
    let uri = format!("http://{authority}/grpc.health.v1.Health/Check");
    let mut request = Request::builder().method(Method::POST).uri(uri).body(()).ok()?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(http::header::USER_AGENT, AGENT);
    // At most eight digits (gRPC over HTTP/2, "Timeout"); a day is 86,400,000 ms.
    headers.insert("grpc-timeout", HeaderValue::from_str(&format!("{}m", timeout.as_millis().min(99_999_999))).ok()?);
    Some(request)
}

/// `HealthCheckRequest { string service = 1 }`, with its prefix.
fn message(service: &str) -> Bytes {
    let mut field = BytesMut::new();
    if !service.is_empty() {
        field.put_u8(0x0a);
        put_varint(&mut field, service.len() as u64);
        field.put_slice(service.as_bytes());
    }
    let mut message = BytesMut::with_capacity(PREFIX + field.len());
    message.put_u8(0);
    message.put_u32(u32::try_from(field.len()).expect("a name of at most 4 KiB"));
    message.put(field);
    message.freeze()
}

fn put_varint(buffer: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        buffer.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

/// What a reply means.
fn judge(reply: &Reply, service: &str) -> Result<Answered, Failed> {
    let strange = |what: String| Err(Failed::new(Failure::Protocol, what));
    if reply.is_too_long {
        return strange(format!("an answer longer than {MESSAGE_MAX} bytes"));
    }
    if reply.status != StatusCode::OK {
        return strange(format!("not gRPC: HTTP status {}", reply.status));
    }
    let Some(code) = reply.headers.get("grpc-status").and_then(|code| code.to_str().ok()) else {
        return strange("not gRPC: the answer has no grpc-status".to_owned());
    };
    let said = reply.headers.get("grpc-message").map_or_else(Vec::new, |said| said.as_bytes().to_vec());
    let failed = |line: &str| {
        Ok(Answered { answer: Answer::Failed(Failure::Status), line: line.to_owned(), body: said.clone() })
    };
    match code {
        "0" => {}
        "5" => return failed(&format!("NOT_FOUND: the server has no service \"{service}\"")),
        "12" => return strange("UNIMPLEMENTED: the server does not offer grpc.health.v1.Health".to_owned()),
        other => return failed(&format!("gRPC status {other}")),
    }
    let status = reply.message.get(..PREFIX).filter(|prefix| prefix[0] == 0).and_then(|prefix| {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
        let message = &reply.message[PREFIX..];
        (message.len() == usize::try_from(length).ok()?).then(|| serving_status(message))?
    });
    match status {
        None => strange("an answer that is no HealthCheckResponse".to_owned()),
        Some(1) => Ok(Answered { answer: Answer::Passed, line: "SERVING".to_owned(), body: Vec::new() }),
        Some(0) => failed("UNKNOWN"),
        Some(2) => failed("NOT_SERVING"),
        Some(3) => failed("SERVICE_UNKNOWN"),
        Some(other) => failed(&format!("serving status {other}")),
    }
}

/// The field `status = 1` of a `HealthCheckResponse`, 0 when it is missing; `None` for what is no message.
pub(super) fn serving_status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = take_varint(&mut message)?,
            (_, 0) => _ = take_varint(&mut message)?,
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = message.has_remaining().then(|| message.get_u8())?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// What it means that HTTP/2 broke over a connection that was used `uses` times.
fn failed(error: &h2::Error, uses: u32) -> Failed {
    if error.is_io() {
        let failed = Failed::io("no answer", error);
        let is_stale = uses > 1 && failed.is(Failure::Refused);
        return if is_stale { failed.or(Retry::NewConnection) } else { failed };
    }
    if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) {
        return closed(uses);
    }
    Failed::new(Failure::Protocol, format!("not gRPC: {error}"))
}

fn closed(uses: u32) -> Failed {
    let failed = Failed::new(Failure::Refused, "no answer: the connection was closed");
    if uses > 1 { failed.or(Retry::NewConnection) } else { failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_service() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = message(&"x".repeat(300));
        assert_eq!(&long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
    }

    #[test]
    fn a_response_is_read_whatever_else_it_says_and_garbage_is_not() {
        for (message, status) in [
            (&[][..], Some(0)),
            (&[8, 1], Some(1)),
            (&[8, 2, 8, 1], Some(1)),
            (&[0x12, 3, 9, 9, 9, 8, 2], Some(2)),
            (&[0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1d, 1, 2, 3, 4, 0x20, 0x80, 1, 8, 1], Some(1)),
            (&[8], None),
            (&[8, 0x80], None),
            (&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1], None),
            (&[0x0b, 1], None),
            (&[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], None),
        ] {
            assert_eq!(serving_status(message), status, "{message:?}");
        }
    }
}
