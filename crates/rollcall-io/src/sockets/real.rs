//! Those of the kernel.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
pub use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// A listener on its way from one runtime to another.
#[derive(Debug)]
pub struct Detached(std::net::TcpListener);

impl Detached {
    /// Takes it out of the runtime it was made in.
    ///
    /// # Errors
    /// When the runtime does not let go of it.
    pub fn from_listener(listener: TcpListener) -> io::Result<Self> {
        listener.into_std().map(Self)
    }

    /// Puts it into the runtime of the caller.
    ///
    /// # Errors
    /// When the runtime does not take it.
    pub fn attach(self) -> io::Result<TcpListener> {
        TcpListener::from_std(self.0)
    }
}

/// Sends nothing late, and notices a peer that vanished without a word: one that is silent is asked as `keepalive` says, and one
/// that leaves bytes unacknowledged for so long is given up (Linux only).
///
/// # Errors
/// When the socket does not take an option.
pub fn expect_life(stream: &TcpStream, keepalive: &TcpKeepalive, unacknowledged_max: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(unacknowledged_max))?;
    #[cfg(not(target_os = "linux"))]
    let _ = unacknowledged_max;
    Ok(())
}
