//! A cluster of failure detectors in virtual time: how fast they see a crash, and how calm they stay otherwise.
//!
//! A [`World`](crate::World) runs the real detectors with their real encodings over a model of gossip (scuttlebutt as chitchat does it) and a
//! model of the network: delay, loss, links cut in one direction or both, processes that crash, and processes that stall while
//! a bounded receive buffer fills. Everything follows from one seed. [`measure`] runs what the goals ask for and returns a
//! [`Report`]; the bench prints all of it, and a test asserts a small part.
//!
//! Not modelled: bandwidth, the size of datagrams, CPU time. Those are measured with real sockets.

mod report;
mod scenario;

pub use self::report::{Report, Row};
pub use self::scenario::{Size, measure};
