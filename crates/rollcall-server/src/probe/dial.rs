//! Connections to targets: made, recognized as broken, measured.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use rollcall_health::check::Failure;
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::failed::{Failed, Retry};
use super::metrics;
use super::pool::Reusable;

/// Connects to `address`.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, Failed> {
    let stream = TcpStream::connect(address).await.map_err(|error| refusal(address, &error))?;
    // A connection from a port of this machine to a port that nobody listens on can meet itself (RFC 9293 §3.5,
    // simultaneous open): the socket is then at both ends.
    if stream.local_addr().ok() == Some(address) {
        return Err(Failed::new(Failure::Refused, format!("nobody listens on {address}")));
    }
    if let Err(error) = stream.set_nodelay(true) {
        return Err(Failed::io("the connection was lost", &error));
    }
    metrics::connected();
    Ok(stream)
}

/// What it means that no connection came about.
fn refusal(address: SocketAddr, error: &io::Error) -> Failed {
    let is_own_fault = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL, Errno::PERM];
    if error.raw_os_error().is_some_and(|raw| is_own_fault.contains(&Errno::from_raw_os_error(raw))) {
        // Nothing was asked, so this is no evidence against the target.
        return Failed::new(Failure::Forbidden, format!("this node cannot make a connection to {address}: {error}"));
    }
    Failed::new(Failure::Refused, format!("no connection to {address}: {error}")).or(Retry::OtherAddress)
}

/// What a request goes over: in the clear, or within TLS.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

impl Reusable for Stream {
    fn is_usable(&mut self) -> bool {
        let socket: &TcpStream = match self {
            Either::Left(stream) => stream,
            Either::Right(stream) => stream.get_ref().0,
        };
        // Between two requests a target has nothing to say: an end, an error and a byte all say that it is no use.
        matches!(socket.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// A stream that counts what is read, and breaks when it is too much.
pub(super) struct Metered<S> {
    pub(super) stream: S,
    /// Bytes read.
    pub(super) read: u64,
    /// Most bytes that may be read.
    max: u64,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, max: u64) -> Self {
        Self { stream, read: 0, max }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.read += (buf.filled().len() - before) as u64;
        if self.read > self.max {
            let what = format!("more than {} bytes came", self.max);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
