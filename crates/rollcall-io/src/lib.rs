//! What a node takes from outside: sockets, and threads for work that blocks.
//!
//! A normal build takes both from tokio; this crate then adds to them only what a listener does when it gets no connection. Built with `--cfg rollcall_simulation` the sockets
//! are those of turmoil's network, which lives in the memory of one process, and what blocks runs at once where it was asked
//! for: with a thread beside it, the order of events would not follow from a seed. `tests/stack` runs whole nodes that way.
//!
//! A `cfg` and not a feature: cargo joins the features of all who build together, and `--all-features` would make nodes
//! that cannot reach a network.
//!
//! Limits: DNS, probes and the export of traces use tokio's sockets directly, and so are not simulated.

mod blocking;
mod refused_accept;
mod sockets;

pub use blocking::spawn_blocking;
pub use refused_accept::RefusedAccepts;
pub use sockets::{Detached, TcpListener, TcpStream, UdpSocket, expect_life};
