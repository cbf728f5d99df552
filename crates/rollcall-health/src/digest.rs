//! Health observations as they travel through gossip, and what a node knows from all of them.
//!
//! Every instance has a [`Slot`], a number that the catalogue gives it; 64 neighbouring slots are a chunk. An observer
//! publishes what it sees of one chunk as one gossip value: a [`Digest`] of four bytes per instance, as text. A value per
//! instance would cost gossip more for its keys than for its content, and minutes to converge at 100,000 instances.
//!
//! ```text
//! prober → Publisher::observe … tick → Publication → gossip → HealthView::receive → HealthView::sightings → reader
//! ```
//! Gossip has one writer per value and orders that writer's versions. So a digest carries no sequence number of its own;
//! the 16 bits that protect it ([`Tenancy`]) say which instance the slot belonged to when it was written, which gossip
//! cannot know.
//!
//! **Freshness** is judged where the clock is. An observer vouches for all that it has published for as long as it is
//! heard, and withdraws by itself what it has not seen again within the time that it was told (three check intervals): so
//! thousands of unchanged instances cost no bytes at all. What a reader must still judge is the observer: evidence of one
//! that is not known to be alive reads as [`Status::Unknown`]. The rejected alternative, publishing each chunk again
//! every check interval, costs as much as the whole budget of gossip at 100,000 instances.
//!
//! Limits: an observer whose probes go on while its publisher hangs is caught by nobody here; who drives both must make
//! its heartbeat depend on the publisher. A digest is as true as its writer: the join that weighs observers against each
//! other belongs to the reader.

mod format;
mod observation;
mod publisher;
mod slot;
mod view;

pub use format::{DIGEST_TEXT_MAX, Digest, DigestError};
pub use observation::{Flap, Observation, ScoreStep, TimeToFailure, Trend};
pub use publisher::{Publication, Publisher, SCORE_PUBLISH_EVERY, SCORE_PUBLISH_STEPS};
pub use rollcall_types::Status;
pub use slot::{CHUNK_SLOTS, CHUNKS_MAX, ChunkId, DigestKind, SLOTS_MAX, Slot, Tenancy};
pub use view::{DIGESTS_MAX, Freshness, HealthView, OBSERVERS_MAX, Observer, Received, Refused, Sighting};
