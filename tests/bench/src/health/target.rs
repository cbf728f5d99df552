//! What is probed: small HTTP servers on many addresses of loopback, each of which can be closed and opened again.
//!
//! They run in this process, so what they cost is not counted against a node. A closed one refuses connections at once, as a
//! host does whose service has died, and cuts those there are. All addresses share one port.
//!
//! A node probes an address at most twice at once, so nothing here would be measured with all instances on one.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The answer to every request.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
/// Longest request; a prober asks for a page in less.
const REQUEST_MAX: usize = 4096;
/// Most addresses: a listener and two kept connections of each node for each must fit into the limit of open files.
pub(super) const ADDRESSES_MAX: usize = 2000;
/// Longest wait for closed servers to end.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// Servers that answer, and the addresses of those that do not.
pub(super) struct Target {
    servers: Vec<Server>,
}

struct Server {
    address: SocketAddr,
    running: Option<Running>,
}

/// Its sockets are closed when it is dropped.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Target {
    /// Opens a server on each of `count` addresses.
    pub(super) async fn open(count: usize, port: u16) -> Result<Self> {
        ensure!((1..=ADDRESSES_MAX).contains(&count), "{count} addresses: 1 to {ADDRESSES_MAX} are possible");
        let servers = (0..count).map(|index| Ok(Server { address: (address(index)?, port).into(), running: None }));
        let mut target = Self { servers: servers.collect::<Result<_>>()? };
        target.open_all().await?;
        Ok(target)
    }

    /// Where instance `index` is: with more instances than addresses, several share one.
    pub(super) fn address_of(&self, index: usize) -> SocketAddr {
        self.servers[index % self.servers.len()].address
    }

    /// Opens what is closed.
    pub(super) async fn open_all(&mut self) -> Result<()> {
        for index in 0..self.servers.len() {
            self.open_one(index).await?;
        }
        Ok(())
    }

    /// Opens the server of instance `index` if it is closed.
    pub(super) async fn open_one(&mut self, index: usize) -> Result<()> {
        let count = self.servers.len();
        let server = &mut self.servers[index % count];
        if server.running.is_none() {
            let listener = TcpListener::bind(server.address).await;
            let listener = listener.with_context(|| format!("cannot listen on {}", server.address))?;
            let stop = CancellationToken::new();
            let task = tokio::spawn(serve(listener, stop.clone()));
            server.running = Some(Running { stop, task });
        }
        Ok(())
    }

    /// Closes every server and waits until all are.
    pub(super) async fn close_all(&mut self) -> Result<()> {
        let running: Vec<Running> = self.servers.iter_mut().filter_map(|server| server.running.take()).collect();
        close(running).await
    }

    /// Closes the server of instance `index` and waits until it is.
    pub(super) async fn close_one(&mut self, index: usize) -> Result<()> {
        let count = self.servers.len();
        close(self.servers[index % count].running.take().into_iter().collect()).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn close(mut running: Vec<Running>) -> Result<()> {
    running.iter().for_each(|server| server.stop.cancel());
    for server in &mut running {
        timeout(CLOSED_WITHIN, &mut server.task).await.context("a closed server did not end")??;
    }
    Ok(())
}

/// Address `index` of those that are used: 127.8.0.1 and up, 250 in each block.
fn address(index: usize) -> Result<Ipv4Addr> {
    let (block, host) = (u8::try_from(index / 250)?, u8::try_from(index % 250)?);
    Ok(Ipv4Addr::new(127, 8, block, host + 1))
}

/// Takes connections until it is told to stop, and then drops them all.
async fn serve(listener: TcpListener, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            // A connection that failed before it was taken says nothing about the next one.
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(answer(stream));
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Answers one request after the other, until the prober closes the connection.
async fn answer(mut stream: TcpStream) {
    let mut request = Vec::new();
    // How a connection ends does not matter here: the prober judges it.
    while request.len() < REQUEST_MAX && stream.read_buf(&mut request).await.is_ok_and(|bytes| bytes > 0) {
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::http::HttpConnection;
    use crate::cluster::free_ports;

    #[tokio::test]
    async fn a_closed_server_refuses_until_it_is_opened_again() {
        let mut target = Target::open(2, free_ports(1).unwrap()[0]).await.unwrap();
        let (first, second) = (target.address_of(0), target.address_of(3));
        assert_ne!(first, second);
        let mut kept = HttpConnection::connect(first).await.unwrap();
        assert_eq!(kept.exchange_ok("GET", "/", b"").await.unwrap(), b"ok");

        target.close_one(0).await.unwrap();
        assert!(kept.exchange("GET", "/", b"").await.is_err(), "a kept connection is cut");
        assert!(HttpConnection::connect(first).await.is_err());
        assert!(HttpConnection::connect(second).await.is_ok(), "the others go on");

        target.open_one(0).await.unwrap();
        assert_eq!(kept.exchange_ok("GET", "/", b"").await.unwrap(), b"ok");
        target.close_all().await.unwrap();
        assert!(HttpConnection::connect(second).await.is_err());
    }
}
