//! Bugs on purpose, to show that the fault-injection harness finds them.
//!
//! A checker that was never seen to fail proves nothing. Built with the feature `planted-bugs`, a node shows the one bug that
//! the variable `PLANTED_BUG` names. Without the feature, as in every normal build, [`is_planted`] is a constant and all of this is compiled out.

use rollcall_catalog::{Command, Precondition, Request, RequestId};

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The log says "on disk" of entries that it only holds in memory.
    AckBeforeWrite,
    /// The log says "on disk" of entries that it wrote and did not sync.
    AckBeforeFsync,
    /// The leader takes a follower that it cannot reach for one that has stored everything.
    AckBeforeQuorum,
    /// The leader answers linearizable reads without asking whether it still leads.
    StaleLeaderRead,
    /// One event in 50 is not sent to watches.
    SkippedEvent,
    /// Idempotency keys are not remembered.
    LostDedup,
    /// One deregistration in ten is acknowledged and not done.
    ResurrectedInstance,
    /// One condition in ten is not looked at.
    IgnoredCondition,
    /// A read does not wait for the revision that it was asked for.
    IgnoredMinRevision,
    /// A lease lasts for a third of its time.
    EarlyExpiry,
    /// A session that holds locks ends after a third of its time.
    EarlySessionEnd,
    /// A service is prepared for selection once, and its changes are overlooked.
    StaleSelection,
    /// Instances that are drained are picked like the others.
    IgnoredDrain,
    /// One answer in 100 about an instance says that it is critical.
    FalseAccusation,
    /// Each node drops one write in 200, another one on each.
    DivergedNode,
}

impl Bug {
    /// Its name in `PLANTED_BUG`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeWrite => "ack-before-write",
            Self::AckBeforeFsync => "ack-before-fsync",
            Self::AckBeforeQuorum => "ack-before-quorum",
            Self::StaleLeaderRead => "stale-leader-read",
            Self::SkippedEvent => "skipped-event",
            Self::LostDedup => "lost-dedup",
            Self::ResurrectedInstance => "resurrected-instance",
            Self::IgnoredCondition => "ignored-condition",
            Self::IgnoredMinRevision => "ignored-min-revision",
            Self::EarlyExpiry => "early-expiry",
            Self::EarlySessionEnd => "early-session-end",
            Self::StaleSelection => "stale-selection",
            Self::IgnoredDrain => "ignored-drain",
            Self::FalseAccusation => "false-accusation",
            Self::DivergedNode => "diverged-node",
        }
    }
}

/// Whether this process shows `bug`.
#[cfg(feature = "planted-bugs")]
pub fn is_planted(bug: Bug) -> bool {
    static PLANTED: std::sync::LazyLock<Option<String>> = std::sync::LazyLock::new(|| {
        let planted = std::env::var("PLANTED_BUG").ok();
        tracing::warn!(error = "planted bug", "this build shows bugs on purpose; this process: {planted:?}");
        planted
    });
    PLANTED.as_deref() == Some(bug.name())
}

/// Whether this process shows `bug`: never.
#[cfg(not(feature = "planted-bugs"))]
pub const fn is_planted(_: Bug) -> bool {
    false
}

/// Spoils a request that is to be applied; `true` when it is to be answered and not done. In normal builds it does neither.
pub(crate) fn forgets(index: u64, request: &mut Request) -> bool {
    if is_planted(Bug::LostDedup) && matches!(request.id, Some(RequestId::Key { .. })) {
        request.id = None;
    }
    if is_planted(Bug::IgnoredCondition) && index.is_multiple_of(10) {
        match &mut request.command {
            Command::Register { expect, .. } | Command::SetConfig { expect, .. } | Command::KvPut { expect, .. } => {
                *expect = Precondition::None;
            }
            _ => {}
        }
    }
    is_planted(Bug::ResurrectedInstance)
        && index.is_multiple_of(10)
        && matches!(request.command, Command::Deregister { .. })
        || is_planted(Bug::DivergedNode) && rand::random_ratio(1, 200)
}
