//! Sockets, and what is asked of them beyond tokio.

#[cfg(not(rollcall_simulation))]
mod real;
#[cfg(rollcall_simulation)]
mod simulated;

#[cfg(not(rollcall_simulation))]
pub use real::{Detached, TcpListener, TcpStream, UdpSocket, expect_life};
#[cfg(rollcall_simulation)]
pub use simulated::{Detached, TcpListener, TcpStream, UdpSocket, expect_life};
