//! What is made of an instance's health: a status, and why.
//!
//! Both are observed, not registered. They are here because the log has them too, as history: the leader journals the
//! transitions that all observers agreed on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::UnixMillis;

/// Most transitions that the leader writes in one log entry: some 128 KiB with names of a usual length.
pub const ENTRY_TRANSITIONS_MAX: usize = 4_096;

/// What an instance's checks say about it. Worse is greater, but for `Unknown`, which is no verdict.
///
/// The order is persisted and sent: a new status comes at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Status {
    /// No verdict: not seen yet, not seen lately, or seen by an observer that is not known to be alive.
    #[default]
    Unknown,
    /// Not ready yet, and not expected to be.
    Starting,
    /// Passing.
    Passing,
    /// Passing with a reserve: 429, slow answers, reachable only from some.
    Warning,
    /// Failing.
    Critical,
}

impl Status {
    /// The word for it in logs, metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Starting => "starting",
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why the observers together hold an instance for what it is.
///
/// The order is persisted: a new cause comes at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StatusCause {
    /// Passing: it has neither checks nor a lease, so nobody looks.
    Unchecked,
    /// Unknown: nobody has looked.
    Unseen,
    /// Unknown: who has looked is not known to be alive.
    Stale,
    /// What those who look see.
    Observed,
    /// Critical: all who look see it failing.
    Confirmed,
    /// Critical: the only node there is sees it failing.
    OnlyObserver,
    /// Warning: one sees it failing, and nobody else has a verdict yet.
    Unconfirmed,
    /// Warning: some see it failing and some do not.
    Path,
}

impl StatusCause {
    /// The word for it in logs, metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Unseen => "unseen",
            Self::Stale => "stale",
            Self::Observed => "observed",
            Self::Confirmed => "confirmed",
            Self::OnlyObserver => "only_observer",
            Self::Unconfirmed => "unconfirmed",
            Self::Path => "path",
        }
    }

    /// The same as a phrase for people.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Unchecked => "it has neither checks nor a lease",
            Self::Unseen => "nobody has looked yet",
            Self::Stale => "whoever looked is not known to be alive",
            Self::Observed => "so it is seen by those who look",
            Self::Confirmed => "everybody who looks sees it failing",
            Self::OnlyObserver => "the only node there is sees it failing",
            Self::Unconfirmed => "one node sees it failing, no other has looked yet",
            Self::Path => "some nodes see it failing and some do not: the path to it may be broken",
        }
    }
}

impl fmt::Display for StatusCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Since when an instance is critical, after a transition `to` that the leader stamped with `at`: `before` says since when it was.
///
/// `Unknown` leaves it as it was: to see nothing is no recovery. Every other status ends it, `Warning` too, which says that
/// somebody reaches it.
pub fn critical_since(before: Option<UnixMillis>, to: Status, at: UnixMillis) -> Option<UnixMillis> {
    match to {
        Status::Critical => before.or(Some(at)),
        Status::Unknown => before,
        Status::Starting | Status::Passing | Status::Warning => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_critical_since_it_became_so_and_not_seeing_it_is_no_recovery() {
        let [first, later] = [1_000, 2_000].map(UnixMillis::new);
        assert_eq!(critical_since(None, Status::Critical, first), Some(first));
        assert_eq!(critical_since(Some(first), Status::Critical, later), Some(first));
        assert_eq!(critical_since(Some(first), Status::Unknown, later), Some(first));
        assert_eq!(critical_since(None, Status::Unknown, later), None);
        for recovered in [Status::Starting, Status::Passing, Status::Warning] {
            assert_eq!(critical_since(Some(first), recovered, later), None);
        }
    }
}
