//! Bytes over TCP, for what no client library would send.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What came back over a connection.
#[derive(Debug)]
pub struct Exchange {
    /// All bytes that came.
    pub received: Vec<u8>,
    /// When the other side closed, counted from the connection; `None` when it was still open at the deadline.
    pub closed_after: Option<Duration>,
}

impl Exchange {
    /// The status of the answer; `None` when there was none.
    pub fn status(&self) -> Option<u16> {
        let text = std::str::from_utf8(&self.received[..self.received.len().min(16)]).ok()?;
        text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
    }

    /// A header of the answer; `None` when it has none of that name.
    pub fn header(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (head, _) = text.split_once("\r\n\r\n")?;
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
    }

    /// The body of the answer as JSON; `Null` when it is none.
    pub fn json(&self) -> Value {
        let text = self.text();
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_default()
    }

    /// Everything that came, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }
}

/// Connects to a loopback port.
///
/// # Panics
/// When nobody listens there.
pub async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap_or_else(|error| panic!("cannot connect to {port}: {error}"))
}

/// Sends `bytes` on a new connection, keeps the sending side open, and reads until the other side closes.
///
/// # Panics
/// When nobody listens there.
pub async fn send(port: u16, bytes: &[u8], deadline: Duration) -> Exchange {
    let stream = connect(port).await;
    send_on(stream, bytes, deadline).await
}

/// Sends `bytes` on `stream`, keeps the sending side open, and reads until the other side closes.
pub async fn send_on(stream: TcpStream, bytes: &[u8], deadline: Duration) -> Exchange {
    let start = Instant::now();
    let mut received = Vec::new();
    let (mut reader, mut writer) = stream.into_split();
    let write = async {
        // The other side may close before it has taken everything; what it said before is still read.
        let _ = writer.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    let read = async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            received.extend_from_slice(&buffer[..count]);
        }
    };
    let closed = tokio::time::timeout(deadline, async {
        tokio::select! {
            () = write => {}
            () = read => {}
        }
    });
    let closed_after = closed.await.ok().map(|()| start.elapsed());
    Exchange { received, closed_after }
}

/// A request without a body, to be answered and then closed.
pub fn request(method: &str, target: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").into_bytes()
}

/// A request with a JSON body, to be answered and then closed.
pub fn request_with_body(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
