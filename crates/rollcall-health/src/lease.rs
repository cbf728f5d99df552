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
//! - The living node that vouched has withdrawn: the TTL is over, and after [`HEARSAY`] it is critical, as a prober hears
//!   later of a heartbeat that another node took in the last moment.
//! - A node that vouched died, restarted or left: the instance gets a full TTL of **grace** to find another node, as it
//!   would notice the failure only at its next heartbeat, and [`HEARSAY`] on top. That it may have been the last to hear the
//!   instance counts also when others vouch, which heard it earlier, and withdraw. Nobody has vouched since we look, and the
//!   log does not have it for critical: likewise.
//!
//! Vouching needs gossip values of its own, apart from what probes see, or a prober that sees an instance pass would keep
//! alive a lease that nobody renews.
//!
//! **Checks by heartbeats** travel the same way: the node that hears them vouches with the worst of what it heard. Of an instance
//! with several of them it tells each, in a [`CheckPage`](crate::check_page::CheckPage) beside its digest, since no node may have
//! heard all; who probes joins what they tell, and keeps a [`TtlWatch`] for each.
//!
//! Limits: an instance that moves to another node after it reported `warning` is held there by what it says now, and by the
//! old node until its TTL is over; the worse counts.

mod table;
mod ttl;
mod watch;

use std::time::Duration;

/// How much later than the node that takes a heartbeat the probers may know of it: some rounds of gossip on busy machines. Without
/// it a heartbeat in the last moment of a grace would come too late, though it was sent in time.
pub const HEARSAY: Duration = Duration::from_secs(1);

pub use table::{Grant, HEARTBEATS_PER_TTL, LeaseTable, Lost, Renewal, TTL_DEFAULT, UnknownLease};
pub use ttl::{TtlWatch, Word};
pub use watch::{LeaseState, LeaseWatch};
