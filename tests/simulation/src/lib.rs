//! Simulations of the pure crates: everything follows from one seed, and time is a number.
//!
//! - [`World`] runs failure detectors over gossip and a network; [`detection`] measures how fast and how calm they are.
//! - [`cluster`] runs whole clusters of catalogue, health, detector and selection, and says what did not hold.
//!
//! Nothing here reads a clock, and no order depends on a hash: the same seed gives the same run on every machine.

pub mod cluster;
pub mod detection;

mod dice;
mod gossip;
mod network;
mod queue;
mod world;

pub use gossip::Digests;
pub use world::{Seen, World};
