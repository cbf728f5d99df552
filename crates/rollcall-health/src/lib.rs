//! What Rollcall observes and what it concludes from that: which nodes are alive, which instances are healthy.
//!
//! Everything here is pure: messages, readings and `now` go in; messages, verdicts and digests come out. The shells
//! that own sockets and timers are `rollcall-gossip` (nodes) and `rollcall-server` (probes).

pub mod agreement;
pub mod assignment;
pub mod check;
pub mod check_page;
pub mod detector;
mod digest;
pub mod forecast;
mod hash;
pub mod journal;
pub mod lease;
mod run_clock;

pub use digest::{
    CHUNK_SLOTS, CHUNKS_MAX, ChunkId, DIGEST_TEXT_MAX, DIGESTS_MAX, Digest, DigestError, DigestKind, Flap, Freshness,
    HealthView, OBSERVERS_MAX, Observation, Observer, Publication, Publisher, Received, Refused, SCORE_PUBLISH_EVERY,
    SCORE_PUBLISH_STEPS, SLOTS_MAX, ScoreStep, Sighting, Slot, Status, Tenancy, TimeToFailure, Trend,
};
pub use run_clock::{RUN_TICK, Reading, RunClock, RunTime};
