//! The two sockets of gossip: UDP for what fits one datagram, TCP for what does not, on the same address and port number, so
//! that one address in a configuration or a firewall rule is enough.

use std::io;
use std::net::SocketAddr;

use rollcall_io::{TcpListener, UdpSocket};
#[cfg(not(rollcall_simulation))]
use socket2::{Domain, Protocol, SockRef, Socket, Type};
#[cfg(not(rollcall_simulation))]
use tracing::info;

use crate::error::Error;

/// What is asked of the kernel for each direction. The usual default of 208 KiB holds three of chitchat's largest messages; a
/// node that starts among many others gets more at once. The kernel grants at most `net.core.rmem_max` and `wmem_max`.
#[cfg(not(rollcall_simulation))]
const BUFFER_BYTES: usize = 4 << 20;
/// Connections that wait to be accepted.
#[cfg(not(rollcall_simulation))]
const BACKLOG: i32 = 256;
/// Attempts to find a port that is free for both, when the caller leaves the choice to the system.
const PORT_ATTEMPTS: u32 = 32;

/// Both sockets, bound.
#[derive(Debug)]
pub struct Sockets {
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: TcpListener,
    address: SocketAddr,
}

impl Sockets {
    /// Binds both. Port 0 lets the system choose one that is free for both. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Io`], usually because the address is in use or not of this machine.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            match bind_both(address).await {
                Ok(sockets) => return Ok(sockets),
                Err(error)
                    if address.port() == 0 && attempt < PORT_ATTEMPTS && error.kind() == io::ErrorKind::AddrInUse =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(Error::io(format!("cannot listen for gossip on {address}"))(error)),
            }
        }
    }

    /// The address they are bound to, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(not(rollcall_simulation))]
#[expect(clippy::unused_async, reason = "needs a runtime, which an async function makes plain")]
async fn bind_both(address: SocketAddr) -> io::Result<Sockets> {
    let domain = Domain::for_address(address);
    let listener = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of the former process to be forgotten.
    listener.set_reuse_address(true)?;
    listener.set_nonblocking(true)?;
    listener.bind(&address.into())?;
    listener.listen(BACKLOG)?;
    let tcp = TcpListener::from_std(listener.into())?;
    let address = tcp.local_addr()?;

    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // Less than what was asked for is a matter of the machine's settings, and no reason not to start.
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    let udp = UdpSocket::from_std(socket.into())?;
    report(&udp, address);
    Ok(Sockets { udp, tcp, address })
}

/// In a simulation: no buffers to ask for, and nobody else who could have the port.
#[cfg(rollcall_simulation)]
async fn bind_both(address: SocketAddr) -> io::Result<Sockets> {
    let (tcp, udp) = (TcpListener::bind(address).await?, UdpSocket::bind(address).await?);
    Ok(Sockets { udp, tcp, address })
}

/// Sends a datagram now or not at all.
#[cfg(not(rollcall_simulation))]
pub(crate) fn send_at_once(udp: &UdpSocket, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
    // Past tokio, which would have to see the socket ready first; it is never read from here.
    SockRef::from(udp).send_to(datagram, &to.into())
}

/// Sends a datagram now or not at all.
#[cfg(rollcall_simulation)]
pub(crate) fn send_at_once(udp: &UdpSocket, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
    udp.try_send_to(datagram, to)
}

#[cfg(not(rollcall_simulation))]
fn report(udp: &UdpSocket, address: SocketAddr) {
    let socket = SockRef::from(udp);
    // Linux doubles the figure to make room for its own bookkeeping, and reports it doubled.
    let granted = |size: io::Result<usize>| size.unwrap_or(0) >> 10;
    info!(
        "gossip listens on {address}, with buffers of {} KiB in and {} KiB out",
        granted(socket.recv_buffer_size()),
        granted(socket.send_buffer_size())
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_sockets_have_one_port() {
        let sockets = Sockets::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        assert_eq!(sockets.udp.local_addr().unwrap(), sockets.tcp.local_addr().unwrap());
        assert_eq!(sockets.local_addr(), sockets.udp.local_addr().unwrap());
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let first = Sockets::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let refused = Sockets::bind(first.local_addr()).await.unwrap_err();
        assert!(refused.to_string().contains(&first.local_addr().to_string()), "{refused}");
    }
}
