//! Which nodes probe which instances.
//!
//! Every node computes the same answer from the same list of nodes, so nobody hands out work and nobody has to be asked.
//! The nodes are ranked for each chunk of 64 instances by highest random weight (Thaler and Ravishankar 1998, "rendezvous
//! hashing"). The first ones **probe**; the next **confirm**: when a prober sees a failure, it asks the other lookers to probe
//! the same target, as SWIM's ping-req does for members (Das 2002, §3.1).
//!
//! **Zones.** The second looker is the best one in another zone than the first, so that a zone that is cut off is not taken
//! for a failure of what lies in it.
//!
//! **By chunk and not by instance.** Each prober of a chunk writes one gossip value about it. By instance, every node would
//! write about nearly every chunk: at 100,000 instances and 10 nodes 15,600 values instead of 3,100. The price is spread: a
//! chunk is the smallest share. Of 10,000 instances on 3 nodes the busiest probes 1.1 times the mean share, on 10 nodes 1.3,
//! on 100 nodes 2.6; but shares shrink faster than that, so the busiest of 100 still probes a thirteenth of what each of 3
//! does.
//!
//! **Little moves.** When a node comes or goes, a chunk changes its lookers only where it takes or loses a place: 3 of n of
//! the chunks. A node that was dropped comes back after it was fit for [`RETURN_AFTER`]: one that flaps does not take the
//! work of others back and forth. While fewer than [`LOOKERS`] are left without those that wait so, nobody waits. Observers that differ on who is fit make a few more probers, never none.
//!
//! Limits: nodes weigh the same, whatever they can do. Shares are not evened out beyond chance: that would tie each chunk's
//! place to all others', and every change would move more.

mod roster;

pub use roster::{Candidate, LOOKERS, ONE_PROBER_ABOVE, PROBERS, RETURN_AFTER, Roster, Watch, probers_for};
