//! Leases: how long a heartbeat keeps an instance, on whichever node it arrives.
//!
//! ```text
//! heartbeat → any node: LeaseTable::renew → vouches for the instance through gossip, until its silence exceeds the TTL
//!                                           ↓ sightings
//!             each prober: LeaseWatch::observe → passing | critical → InstanceRecord::lease
//! ```
//! No heartbeat is written to the log, and none is sent on: the node that hears an instance **vouches** for it and withdraws
//! that by itself when the heartbeats stop. Who probes the instance watches whether anybody vouches:
//!
//! - Somebody alive does: it passes.
//! - The living node that vouched has withdrawn: the TTL is over, it is critical.
//! - The node that vouched died, restarted or left: the instance gets a full TTL of **grace** to find another node, as it
//!   would notice the failure only at its next heartbeat. Nobody has vouched since we look, and the log does not have it for
//!   critical: likewise.
//!
//! Vouching needs gossip values of its own, apart from what probes see, or a prober that sees an instance pass would keep
//! alive a lease that nobody renews.
//!
//! **Checks by heartbeats** travel the same way: the node that hears them keeps an
//! [`InstanceRecord`](crate::check::InstanceRecord) of those checks alone and vouches with its status, and who probes watches
//! them as a lease with the longest of their TTLs.
//!
//! Limits: an instance that moves to another node after it reported `warning` is held there by what it says now, and by the
//! old node until its TTL is over; the worse counts.

mod table;
mod watch;

pub use table::{Grant, HEARTBEATS_PER_TTL, LeaseTable, Lost, Renewal, TTL_DEFAULT, UnknownLease};
pub use watch::{LeaseState, LeaseWatch};
