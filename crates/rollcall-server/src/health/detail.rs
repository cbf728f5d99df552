//! What one node knows of an instance: asked of the health task, on demand.

use std::time::Duration;

use rollcall_health::assignment::Watch;
use rollcall_health::check::{InstanceState, Score, Verdict};
use rollcall_health::lease::LeaseState;
use rollcall_health::{Observation, Slot, Status, Tenancy};
use rollcall_types::{CapabilityName, CheckId, MonoTime, NodeName, UnixMillis};
use tokio::sync::oneshot;

use super::tracked::{Run, Tracked};

/// Questions that wait for the task; who asks while there are more waits.
pub(super) const QUESTION_QUEUE: usize = 64;

/// Longest wait for an answer: less than another node waits for this one's.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_millis(500);

/// Somebody wants to know what this node knows of an instance.
pub(crate) struct Question {
    pub(super) slot: Slot,
    pub(super) tenancy: Tenancy,
    pub(super) reply: oneshot::Sender<Detail>,
}

/// What this node knows of an instance.
#[derive(Debug)]
pub(crate) struct Detail {
    /// Who looks.
    pub(crate) watch: Watch,
    /// What it sees itself, if it looks.
    pub(crate) seen: Option<Seen>,
}

/// What an observer is heard to say of an instance.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// Who.
    pub(crate) observer: NodeName,
    /// The status that it gives.
    pub(crate) said: Status,
    /// Whether that counts.
    pub(crate) counts: bool,
    /// All that it says.
    pub(crate) observation: Observation,
}

/// What this node sees of an instance itself.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The checks rolled up.
    pub(crate) state: InstanceState,
    /// Since when, by the wall clock.
    pub(crate) since: UnixMillis,
    /// How well it does, and why.
    pub(crate) score: Score,
    /// How its lease stands.
    pub(crate) lease: Option<LeaseState>,
    /// Its checks.
    pub(crate) checks: Vec<SeenCheck>,
}

/// What this node sees of one check.
#[derive(Debug)]
pub(crate) struct SeenCheck {
    /// The check.
    pub(crate) id: CheckId,
    /// The capability that it stands for.
    pub(crate) capability: Option<CapabilityName>,
    /// What is held of it.
    pub(crate) verdict: Verdict,
    /// Since when, by the wall clock.
    pub(crate) since: UnixMillis,
    /// Mean time to an answer.
    pub(crate) latency: Option<Duration>,
    /// Mean share of failures.
    pub(crate) error_rate: Option<f64>,
    /// Time until the next probe.
    pub(crate) next_in: Option<Duration>,
    /// The last run.
    pub(crate) last: Option<Run>,
}

/// What is seen of an instance by what is kept of it.
pub(super) fn seen(tracked: &Tracked, now: MonoTime, wall: UnixMillis) -> Seen {
    let wall_at = |reading: MonoTime| {
        let ago = u64::try_from(now.since(reading).as_millis()).unwrap_or(u64::MAX);
        UnixMillis::new(wall.get().saturating_sub(ago))
    };
    let record = tracked.record();
    let checks = record.checks().zip(tracked.last()).map(|((id, capability, check), last)| SeenCheck {
        id: id.clone(),
        capability: capability.cloned(),
        verdict: check.verdict(),
        since: wall_at(check.verdict().since),
        latency: check.latency(),
        error_rate: check.error_rate(),
        next_in: check.due().map(|due| due.since(now)),
        last: last.clone(),
    });
    Seen {
        state: record.state().clone(),
        since: wall_at(record.state().since),
        score: record.score(now),
        lease: tracked.lease().map(|lease| lease.state()),
        checks: checks.collect(),
    }
}
