//! Those of turmoil's network, as a process on one of its hosts sees it. Addresses are of version 4, one for each host.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::TcpKeepalive;
pub use turmoil::net::TcpStream;

/// turmoil's listener, which can be printed.
pub struct TcpListener(turmoil::net::TcpListener);

impl TcpListener {
    /// Listens on an address of this host.
    ///
    /// # Errors
    /// When somebody does already.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        turmoil::net::TcpListener::bind(any_of_host(address)).await.map(Self)
    }

    /// The next connection.
    ///
    /// # Errors
    /// As tokio's.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }

    /// Where it listens.
    ///
    /// # Errors
    /// As tokio's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpListener").field(&self.0.local_addr()).finish()
    }
}

/// turmoil's datagram socket.
pub struct UdpSocket(turmoil::net::UdpSocket);

impl UdpSocket {
    /// Takes an address of this host.
    ///
    /// # Errors
    /// When somebody has it already.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        turmoil::net::UdpSocket::bind(any_of_host(address)).await.map(Self)
    }

    /// The next datagram.
    ///
    /// # Errors
    /// As tokio's.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buffer).await
    }

    /// Sends a datagram now or not at all.
    ///
    /// # Errors
    /// As tokio's.
    pub fn try_send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.0.try_send_to(datagram, to)
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The address as turmoil wants it to be bound: a host has one, and it is not named.
fn any_of_host(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port())
}

/// A listener; all runtimes of a host are one here.
#[derive(Debug)]
pub struct Detached(TcpListener);

impl Detached {
    /// As it is.
    ///
    /// # Errors
    /// Never here.
    pub fn from_listener(listener: TcpListener) -> io::Result<Self> {
        Ok(Self(listener))
    }

    /// As it is.
    ///
    /// # Errors
    /// Never here.
    pub fn attach(self) -> io::Result<TcpListener> {
        Ok(self.0)
    }
}

/// Does nothing: the network neither sends late nor asks whether a peer lives. Deadlines of the callers notice that alone.
///
/// # Errors
/// Never here.
pub fn expect_life(_: &TcpStream, _: &TcpKeepalive, _: Duration) -> io::Result<()> {
    Ok(())
}
