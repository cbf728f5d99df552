//! Why a check or an instance has its status, in words that people and the API can use.

use std::fmt;

use super::Failure;

/// Why a check, or an instance by the worst of its checks, has its status at this observer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Passing: there is nothing to check.
    Unchecked,
    /// Unknown: no verdict yet.
    NotSeen,
    /// Starting: it was registered a short while ago and has not passed yet.
    Starting,
    /// Passing: it answers.
    Answers,
    /// It says so itself, in a heartbeat.
    Reported,
    /// The status of the instance or service that an alias names.
    Alias,
    /// Warning: HTTP 429.
    Strained,
    /// Warning: late by the expected response time of the service.
    Slow,
    /// Critical: the connection was refused or reset.
    Refused,
    /// Critical: no answer within the timeout.
    Timeout,
    /// Critical: an answer that says no.
    BadStatus,
    /// Critical: no answer in the protocol of the check.
    Protocol,
    /// Critical: the name has no address.
    Resolve,
    /// Unknown: the target may not be probed.
    Forbidden,
    /// Critical: no heartbeat within the time to live.
    HeartbeatMissed,
    /// Critical: of several checks by heartbeats one is, by a heartbeat or for want of one; who hears them does not tell which.
    ByHeartbeats,
    /// Warning: the instance works, and one of its capabilities does not.
    CapabilityFailed,
    /// Held at the worse status, since it changed too often.
    Flapping,
}

impl Cause {
    /// The word for it in logs, metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::NotSeen => "not_seen",
            Self::Starting => "starting",
            Self::Answers => "answers",
            Self::Reported => "reported",
            Self::Alias => "alias",
            Self::Strained => "strained",
            Self::Slow => "slow",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::BadStatus => "bad_status",
            Self::Protocol => "protocol",
            Self::Resolve => "resolve",
            Self::Forbidden => "forbidden",
            Self::HeartbeatMissed => "heartbeat_missed",
            Self::ByHeartbeats => "by_heartbeats",
            Self::CapabilityFailed => "capability_failed",
            Self::Flapping => "flapping",
        }
    }

    /// The same as a phrase for people.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Unchecked => "it has neither checks nor a lease",
            Self::NotSeen => "not probed often enough yet",
            Self::Starting => "registered a short while ago and not passing yet",
            Self::Answers => "it answers",
            Self::Reported => "it says so itself",
            Self::Alias => "so is what its alias check names",
            Self::Strained => "it asks for fewer requests (429)",
            Self::Slow => "it answers later than 1.5 times its expected response time",
            Self::Refused => "connection refused or reset",
            Self::Timeout => "no answer within the timeout",
            Self::BadStatus => "it answers that it does not work",
            Self::Protocol => "its answer is not in the protocol of the check",
            Self::Resolve => "its name has no address",
            Self::Forbidden => "it lies in a network that must not be probed",
            Self::HeartbeatMissed => "no heartbeat within its time to live",
            Self::ByHeartbeats => "one of its checks by heartbeats says that it fails, or was not heard in time",
            Self::CapabilityFailed => "it works, but one of its capabilities does not",
            Self::Flapping => "it changed too often and is held at the worse status",
        }
    }
}

impl From<Failure> for Cause {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused => Self::Refused,
            Failure::Timeout => Self::Timeout,
            Failure::Status => Self::BadStatus,
            Failure::Protocol => Self::Protocol,
            Failure::Resolve => Self::Resolve,
            Failure::Forbidden => Self::Forbidden,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
