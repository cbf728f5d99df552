//! One `GET` over one connection.
//!
//! hyper speaks HTTP/1; its connection is driven by the future of the request itself and not by a task, so that a probe that
//! is given up closes its connection and leaves nothing behind. When the answer is complete the bare stream is taken out of
//! it again, since the buffers of an idle hyper connection take 10 KiB.
//!
//! | The target sends | It is read up to |
//! |---|---|
//! | a head, also an interim one (1xx) | [`HEAD_MAX`] bytes, 100 lines |
//! | a body | what its [`Sink`] takes; then the connection is closed |
//! | anything, in all | the body and [`SLACK`]: interim answers and chunk sizes have no end of their own |

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection};
use hyper_util::rt::TokioIo;
use rollcall_health::check::{Answer, Failure};
use tokio::time::{Instant, timeout_at};

use super::dial::{Metered, Stream};
use super::failed::{Failed, Retry};
use super::output;
use super::pool::Pooled;
use super::target::Page;

/// Longest head of an answer, bytes.
const HEAD_MAX: usize = 16 * 1024;
/// What may come beside the bytes of a body: heads, sizes of chunks, trailers.
const SLACK: u64 = 64 * 1024;
/// Who asks.
pub(super) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("rollcall/", env!("CARGO_PKG_VERSION"), " (health check)"));

/// What becomes of a body.
pub(super) trait Sink: Default + Send {
    /// Most bytes that are read.
    const MAX: u64;
    /// Takes the next bytes.
    fn take(&mut self, bytes: &[u8]);
}

/// The beginning of a body, as much of it as people are shown.
#[derive(Default)]
pub(super) struct Beginning(pub(super) Vec<u8>);

impl Sink for Beginning {
    const MAX: u64 = 64 * 1024;

    fn take(&mut self, bytes: &[u8]) {
        let room = output::OUTPUT_MAX - self.0.len();
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// An answer.
pub(super) struct Reply<B> {
    pub(super) status: StatusCode,
    pub(super) location: Option<HeaderValue>,
    pub(super) body: B,
}

/// Asks for `page`. Gives back the connection when it can be used again.
pub(super) async fn get<B: Sink>(
    pooled: Pooled<Stream>,
    page: &Page,
    deadline: Instant,
) -> Result<(Reply<B>, Option<Pooled<Stream>>), Failed> {
    let uses = pooled.uses;
    let io = TokioIo::new(Metered::new(pooled.connection, B::MAX + SLACK));
    let handshake = http1::Builder::new().max_buf_size(HEAD_MAX).handshake(io).await;
    let (mut sender, connection) = handshake.map_err(|error| Failed::io("the connection was lost", &error))?;
    let mut line = Line { connection, is_over: false };

    let asked = timeout_at(deadline, line.drive(sender.send_request(request(page)))).await;
    let response = match asked {
        Err(_) => return Err(Failed::timeout("connected, and no head of an answer came")),
        Ok(Some(Ok(response))) => response,
        Ok(Some(Err(error))) => return Err(line.failed("no answer", &error, uses)),
        Ok(None) => return Err(Failed::new(Failure::Refused, "no answer: the connection was closed")),
    };
    let (status, location) = (response.status(), response.headers().get(LOCATION).cloned());
    let mut body = B::default();
    let read = timeout_at(deadline, line.read(response, &mut body)).await;
    let is_whole = read.map_err(|_| Failed::timeout(&format!("{status} came, and its body did not end")))??;
    let reply = Reply { status, location, body };
    let is_free = is_whole && matches!(timeout_at(deadline, line.drive(sender.ready())).await, Ok(Some(Ok(()))));
    Ok((reply, if is_free { line.into_stream(uses) } else { None }))
}

fn request(page: &Page) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = page.path.clone().into();
    let headers = request.headers_mut();
    headers.insert(HOST, page.authority.clone());
    headers.insert(USER_AGENT, AGENT);
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    request
}

/// A connection that is driven while something is waited for that comes over it.
struct Line {
    connection: Connection<TokioIo<Metered<Stream>>, Empty<Bytes>>,
    /// It ended, and must not be polled again.
    is_over: bool,
}

impl Line {
    /// What `work` comes to; `None` when the connection ended without it.
    async fn drive<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            // The connection first: it hands on what came, and what broke.
            self.is_over = self.is_over || self.connection.poll_without_shutdown(cx).is_ready();
            match work.as_mut().poll(cx) {
                Poll::Ready(value) => Poll::Ready(Some(value)),
                Poll::Pending if self.is_over => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Reads the body, as far as `sink` takes it. Whether that was all of it.
    async fn read<B: Sink>(&mut self, response: Response<Incoming>, sink: &mut B) -> Result<bool, Failed> {
        let mut body = response.into_body();
        let mut room = B::MAX;
        loop {
            let frame = match self.drive(body.frame()).await {
                Some(Some(Ok(frame))) => frame,
                Some(None) => return Ok(true),
                Some(Some(Err(error))) => return Err(self.failed("the answer broke off", &error, 1)),
                None => return Err(Failed::new(Failure::Refused, "the answer broke off: the connection was closed")),
            };
            let Some(bytes) = frame.data_ref() else { continue };
            let taken = (bytes.len() as u64).min(room);
            sink.take(&bytes[..taken as usize]);
            room -= taken;
            if taken < bytes.len() as u64 {
                return Ok(false);
            }
        }
    }

    /// What it means that no answer came over a connection that was used `uses` times.
    fn failed(&self, during: &str, error: &hyper::Error, uses: u32) -> Failed {
        let failed = if error.is_parse() {
            let failed = Failed::io(during, error);
            Failed {
                answer: Answer::Failed(Failure::Protocol),
                what: format!("not HTTP/1, or too long a head: {}", failed.what),
                ..failed
            }
        } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            Failed::new(Failure::Refused, format!("{during}: the connection was closed"))
        } else {
            Failed::io(during, error)
        };
        let is_stale = uses > 1 && failed.is(Failure::Refused);
        if is_stale { failed.or(Retry::NewConnection) } else { failed }
    }

    /// The stream, when nothing is left over in it.
    fn into_stream(self, uses: u32) -> Option<Pooled<Stream>> {
        if self.is_over {
            return None;
        }
        let parts = self.connection.into_parts();
        let stream = parts.io.into_inner().stream;
        parts.read_buf.is_empty().then_some(Pooled { connection: stream, uses })
    }
}
