//! Who should serve this request, and why: selection from values that are in memory already.
//!
//! ```text
//! views change → Vec<Candidate> → ServiceIndex::build → kept until the next change
//! a request    → resolve(index, query, moment, rng, scratch) → Answer (picks with score and reasons) or Refusal
//! ```
//! Everything here is pure: no clock, no randomness of its own, no I/O. The shells that own views and sockets fill
//! [`Candidate`]s and put [`resolve()`] behind HTTP, DNS and the other front doors, so that the same question gets the same
//! answer at each. `docs/selection.md` has the formulas with a worked example, and the reason codes.
//!
//! Limits: a node chooses by what it knows. It counts its own picks ([`Tally`]); those of other nodes show with the next
//! load report of an instance.

mod asked;
mod candidate;
mod explain;
pub mod factor;
pub mod feedback;
pub mod graph;
mod hash;
mod index;
pub mod multiplier;
mod names;
mod policy;
mod query;
mod random;
mod reason;
mod resolve;
mod score;
mod stage;
mod strategy;
mod tally;

pub use candidate::{Candidate, Forecast, LoadReport, Performance, RoundTrip};
pub use explain::{Explanation, Line, Signal, Term, explain};
pub use factor::Factor;
pub use index::{CONTEXTS_MAX, ServiceIndex};
pub use policy::{FailOpen, Policy, Ratio, SLOW_START_MAX, Strategy, TIE_BAND, Weights};
pub use query::{
    CLIENT_ID_MAX, Caller, EXCLUDED_MAX, HASH_KEY_MAX, Moment, PICKS_MAX, Query, QueryError, Traits, VERSION_REQ_MAX,
    WANTED_MAX, version_req,
};
pub use random::Random;
pub use reason::{Reason, Reasons, Side};
pub use resolve::{Answer, Census, Pick, Refusal, Scratch, resolve};
pub use score::Score;
pub use semver::VersionReq;
pub use strategy::hashed::LOAD_BOUND;
pub use strategy::locality::{OVERPROVISION, ROOM_NEEDED};
pub use tally::Tally;
