//! What one observer finds out about one instance: from the outcome of a probe to a status with a cause, and a score.
//!
//! ```text
//! Outcome → CheckRecord (thresholds, phases, flap damping) ┐
//! Report  → CheckRecord (heartbeats)                       ├→ InstanceRecord (roll-up, score) → Observation → gossip
//! Status of another → CheckRecord (alias)                  ┘
//! ```
//! **One blip is no verdict.** A check turns worse after [`failures_before_critical`] answers in a row that are worse, and
//! better after [`successes_before_passing`] that are better. While the newest answer disagrees with the status, the next
//! probe comes after a fifth of the interval: three failures take 1.4 intervals and not 3, a recovery 1.2 and not 2.
//!
//! **Phases.** A check of an instance that has just been registered is `starting`: failures do not count until its startup
//! time is over. A check that this observer has just taken over is `unknown`. Either way the first success ends it: to wait
//! for more would keep a new instance out, or withdraw one that was in.
//!
//! **A late answer is an answer.** One that takes longer than [`LATE_FACTOR`] times the expected response time counts as
//! `warning`, as 429 does, and passes through the same thresholds.
//!
//! **Flapping** is damped in the shape of RFC 2439: see [`PENALTY_HALF_LIFE`].
//!
//! Limits: an observer speaks for itself; what several observers together make of it is
//! [`agreement`](crate::agreement)'s. Status codes, bodies and addresses are the prober's: only their class comes here.
//!
//! [`failures_before_critical`]: rollcall_types::CheckSpec::failures_before_critical
//! [`successes_before_passing`]: rollcall_types::CheckSpec::successes_before_passing

mod answers;
mod cause;
mod damping;
mod ewma;
mod instance;
mod load;
mod outcome;
mod record;
mod score;
mod timing;

pub use cause::Cause;
pub use damping::{PENALTY_HALF_LIFE, PENALTY_MAX, PENALTY_REUSE, PENALTY_SUPPRESS};
pub use ewma::EWMA_INTERVALS;
pub use instance::{InstanceRecord, InstanceState, worst_of};
pub use load::{LOAD_DAMAGING, LOAD_FREE, Load};
pub use outcome::{Answer, Failure, LATE_FACTOR, Outcome, Report};
pub use record::{CheckRecord, Phase, STARTUP_MAX, Transition, Verdict};
pub use score::{
    ERROR_RATE_WORST, LATENCY_WORST, Score, Signal, Term, WEIGHT_CAPABILITIES, WEIGHT_ERRORS, WEIGHT_LATENCY,
    WEIGHT_RESOURCES,
};
pub use timing::{FIRST_WITHIN, JITTER, RETRY_DIVISOR, VALID_INTERVALS};
