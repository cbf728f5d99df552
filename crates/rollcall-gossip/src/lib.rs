//! Encrypted gossip between the nodes of a Rollcall cluster: who is there, who is alive, and what each of them observes.
//!
//! [`Gossip::start`] joins and answers with a [`Handle`]; [`Handle::view`] is the table of members, one atomic load away.
//! Behind it lies chitchat (Scuttlebutt reconciliation), which nothing outside this crate names, and which never sees a byte
//! that a member did not seal.
//!
//! ```text
//! Handle ── publish / values ──► shell ──► chitchat ──► codec ──► wire ──► UDP, or a stream when too large for a datagram
//!    │                             │                               │  seal   nothing is parsed before it is authentic
//!    └── view / events ◄─────── detector ◄── pings, straight ──────┘  gate   nothing is accepted twice, or of another life
//! key          keyring and rotation              generation     each start of a node is newer than the last, on disk
//! membership   what a member says of itself      transport      chitchat's socket, one for each of its lives
//! digests      the health of instances, in and out
//! ```
//!
//! Limits: every member holds the key and could pose as another; what a member publishes is an observation, and decides
//! nothing that Raft decides. Values are text of at most [`VALUE_BYTES_MAX`]; a member publishes at most [`KEYS_MAX`].

#[cfg(test)]
mod attacks;
mod clock;
#[cfg(not(rollcall_simulation))]
mod codec;
#[cfg(rollcall_simulation)]
#[path = "codec/simulated.rs"]
mod codec;
mod digests;
mod error;
mod events;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod generation;
mod handle;
mod key;
mod membership;
mod metrics;
mod options;
mod places;
mod publish;
mod rejections;
mod replay;
mod scan;
mod seal;
mod seeds;
mod shell;
mod sockets;
mod streams;
mod transport;
mod values;
mod view;
mod wire;

pub use digests::Digests;
pub use error::Error;
pub use events::{EVENTS_KEPT, MemberEvent};
pub use handle::{Gossip, Handle};
pub use key::{KEY_BYTES, KEYS_MAX as KEYRING_KEYS_MAX, KeyError, KeyId, Keyring};
pub use membership::{Meta, Role};
pub use metrics::describe as describe_metrics;
pub use options::Options;
pub use publish::{KEY_BYTES_MAX, KEYS_MAX, TOTAL_BYTES_MAX, VALUE_BYTES_MAX};
pub use rollcall_health::detector::{Cause, Event, Lateness, LinkFault, Standing, State};
pub use sockets::Sockets;
pub use values::{UPDATES_KEPT, Update, Value};
pub use view::{Member, MembershipView};
