//! A closed-loop HTTP/1.1 client that costs as little as it can, because it shares the cores with the servers.
//!
//! One request at a time on one kept connection, one reused buffer each way. A general client would add allocations and
//! tasks per request and so measure itself. Not done: pipelining, redirects, TLS, trailers.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::chunked::ChunkDecoder;

/// Most header fields of an answer.
const HEADERS_MAX: usize = 64;
/// Most bytes of one answer; far above any answer this bench asks for.
const ANSWER_MAX: usize = 64 << 20;
/// Bytes of room made before each read.
const READ_ROOM: usize = 16 << 10;

/// A kept connection to one node. After an error the next request opens a new one.
pub(crate) struct HttpConnection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    outbox: Vec<u8>,
    inbox: Vec<u8>,
    plain: Vec<u8>,
}

/// An answer; its body lies in the connection's buffer until the next request.
pub(crate) struct Answer<'a> {
    /// HTTP status code.
    pub(crate) status: u16,
    /// The head with its empty line; empty when the body came in chunks.
    pub(crate) head: &'a [u8],
    /// The body without its framing.
    pub(crate) body: &'a [u8],
}

/// What the head of an answer says about the rest.
struct Head {
    status: u16,
    /// Bytes of the head, its empty line included.
    length: usize,
    body: Framing,
}

enum Framing {
    Length(usize),
    Chunked,
}

impl HttpConnection {
    /// Opens a connection.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let mut connection =
            Self { address, stream: None, outbox: Vec::new(), inbox: Vec::with_capacity(READ_ROOM), plain: Vec::new() };
        connection.stream().await?;
        Ok(connection)
    }

    /// Sends one request and reads its whole answer. `body` is JSON when it is not empty.
    pub(crate) async fn exchange(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Answer<'_>> {
        match self.try_exchange(method, path, body).await {
            Ok((status, Some((from, to)))) => {
                Ok(Answer { status, head: &self.inbox[..from], body: &self.inbox[from..to] })
            }
            Ok((status, None)) => Ok(Answer { status, head: b"", body: &self.plain }),
            Err(error) => {
                self.stream = None;
                Err(error.context(format!("{method} {path} at {}", self.address)))
            }
        }
    }

    /// Like [`Self::exchange`]; any status but 2xx is an error that shows the answer.
    pub(crate) async fn exchange_ok(&mut self, method: &str, path: &str, body: &[u8]) -> Result<&[u8]> {
        let address = self.address;
        let answer = self.exchange(method, path, body).await?;
        ensure!(
            (200..300).contains(&answer.status),
            "{method} {path} at {address}: {} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)])
        );
        Ok(answer.body)
    }

    /// Turns the connection into an endless answer, such as server-sent events.
    pub(crate) async fn open_stream(mut self, path: &str) -> Result<HttpStream> {
        self.send("GET", path, b"").await?;
        let head = self.read_head().await?;
        ensure!(head.status == 200, "GET {path}: {}: {}", head.status, String::from_utf8_lossy(&self.inbox));
        ensure!(matches!(head.body, Framing::Chunked), "GET {path}: the answer is not a stream");
        self.inbox.drain(..head.length);
        let stream = self.stream.take().context("the connection was just used")?;
        Ok(HttpStream { stream, inbox: self.inbox, decoder: ChunkDecoder::default() })
    }

    async fn stream(&mut self) -> Result<&mut TcpStream> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
        }
        self.stream.as_mut().context("the connection was just opened")
    }

    async fn send(&mut self, method: &str, path: &str, body: &[u8]) -> Result<()> {
        let mut outbox = std::mem::take(&mut self.outbox);
        outbox.clear();
        for part in [method, " ", path, " HTTP/1.1\r\nhost: bench\r\n"] {
            outbox.extend_from_slice(part.as_bytes());
        }
        if !body.is_empty() {
            outbox.extend_from_slice(b"content-type: application/json\r\ncontent-length: ");
            outbox.extend_from_slice(body.len().to_string().as_bytes());
            outbox.extend_from_slice(b"\r\n");
        }
        outbox.extend_from_slice(b"\r\n");
        outbox.extend_from_slice(body);
        let sent = self.stream().await?.write_all(&outbox).await;
        self.outbox = outbox;
        Ok(sent?)
    }

    /// The status, and where in `inbox` the body is, or `None` when it was chunked and lies in `plain`.
    async fn try_exchange(&mut self, method: &str, path: &str, body: &[u8]) -> Result<(u16, Option<(usize, usize)>)> {
        self.send(method, path, body).await?;
        let head = self.read_head().await?;
        match head.body {
            Framing::Length(length) => {
                let end = head.length + length;
                ensure!(end <= ANSWER_MAX, "an answer of {length} bytes");
                while self.inbox.len() < end {
                    self.read_more().await?;
                }
                Ok((head.status, Some((head.length, end))))
            }
            Framing::Chunked => {
                self.plain.clear();
                let mut decoder = ChunkDecoder::default();
                self.inbox.drain(..head.length);
                while !decoder.decode(&self.inbox, &mut self.plain)? {
                    ensure!(self.plain.len() <= ANSWER_MAX, "an answer above {ANSWER_MAX} bytes");
                    self.inbox.clear();
                    self.read_more().await?;
                }
                Ok((head.status, None))
            }
        }
    }

    async fn read_head(&mut self) -> Result<Head> {
        self.inbox.clear();
        loop {
            self.read_more().await?;
            if let Some(head) = parse_head(&self.inbox)? {
                return Ok(head);
            }
        }
    }

    async fn read_more(&mut self) -> Result<()> {
        let stream = self.stream.as_mut().context("not connected")?;
        self.inbox.reserve(READ_ROOM);
        if stream.read_buf(&mut self.inbox).await? == 0 {
            bail!("the node closed the connection");
        }
        Ok(())
    }
}

/// `None` when the head has not arrived in full.
fn parse_head(inbox: &[u8]) -> Result<Option<Head>> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = answer.parse(inbox)? else { return Ok(None) };
    let status = answer.code.context("an answer without a status")?;
    let mut body = Framing::Length(0);
    for field in answer.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            body = Framing::Length(std::str::from_utf8(field.value)?.trim().parse()?);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            body = Framing::Chunked;
        }
    }
    Ok(Some(Head { status, length, body }))
}

/// An answer that does not end.
pub(crate) struct HttpStream {
    stream: TcpStream,
    inbox: Vec<u8>,
    decoder: ChunkDecoder,
}

impl HttpStream {
    /// Appends what arrives next to `plain`.
    pub(crate) async fn read(&mut self, plain: &mut Vec<u8>) -> Result<()> {
        if self.inbox.is_empty() {
            self.inbox.reserve(READ_ROOM);
            ensure!(self.stream.read_buf(&mut self.inbox).await? > 0, "the node closed the stream");
        }
        ensure!(!self.decoder.decode(&self.inbox, plain)?, "the node ended the stream");
        self.inbox.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_parsed_only_when_it_is_whole() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nx: y\r\n\r\nhello";
        assert!(parse_head(&answer[..30]).unwrap().is_none());
        let head = parse_head(answer).unwrap().unwrap();
        assert_eq!((head.status, head.length), (201, answer.len() - 5));
        assert!(matches!(head.body, Framing::Length(5)));
    }

    #[test]
    fn an_answer_without_a_length_has_no_body() {
        let head = parse_head(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap();
        assert!(matches!(head.body, Framing::Length(0)));
    }

    #[tokio::test]
    async fn a_connection_is_kept_for_plain_and_chunked_answers() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let node = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            for answer in [
                "HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
                "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\ngone",
            ] {
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let mut connection = HttpConnection::connect(address).await.unwrap();
        assert_eq!(connection.exchange_ok("PUT", "/a", b"{}").await.unwrap(), b"ok");
        assert_eq!(connection.exchange_ok("GET", "/b", b"").await.unwrap(), b"abcde");
        let refusal = connection.exchange_ok("GET", "/c", b"").await.unwrap_err().to_string();
        assert!(refusal.contains("404 gone"), "{refusal}");
        node.await.unwrap();
    }
}
