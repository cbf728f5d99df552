//! Consensus of a Rollcall cluster: a replicated log, the catalogue that follows from it, and the nodes that hold both.
//!
//! [`Consensus`] is the whole interface: propose a request, pass a read barrier, look at the catalogue, change who is a
//! member. Behind it lie openraft and raft-log, which nothing outside this crate names.
//!
//! ```text
//! Consensus ── propose ──► openraft ──► log_store   votes and entries, one file sequence, fdatasync before "done"
//!     │                       │  └────► transport   three authenticated connections to each peer
//!     └── catalog() ◄── state_machine ◄─ committed entries, in batches; snapshots to files
//! bootstrap   nodes find each other, found one cluster or join one        identity   who a data directory is
//! ```
//!
//! Limits: one Raft group holds everything; a write costs one `fdatasync` on a majority, shared by all writes that come
//! within 5 µs or during the sync before; peer traffic is authenticated, not encrypted.

mod bootstrap;
mod codec;
mod consensus;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod identity;
#[cfg(not(rollcall_simulation))]
mod log_store;
#[cfg(rollcall_simulation)]
#[path = "log_store/simulated.rs"]
mod log_store;
mod metrics;
pub mod planted;
mod proposal;
pub mod snapshot;
mod state_machine;
pub mod traces;
mod transport;
mod types;

pub use codec::CodecError;
pub use consensus::{Consensus, FollowerStatus, Options, RaftStatus, Role, Timers};
pub use error::{Error, Retry, SnapshotError};
#[cfg(rollcall_simulation)]
pub use log_store::{Logged, disks};
pub use metrics::describe as describe_metrics;
pub use types::PeerNode;
