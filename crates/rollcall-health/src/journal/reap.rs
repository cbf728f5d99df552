//! Whether an instance that has been critical for long is deregistered.
//!
//! A reap is intent, made from observation: the leader proposes it, so it has to be surer than any read.
//!
//! 1. The instance has been critical for its `deregister_after`, by the log: every leader counts from the same moment.
//! 2. It is critical now, and not because flapping holds it there.
//! 3. Not more than half of its service failed at once, nor half of the nodes: then it is rather the network, a deployment or
//!    us. The reap is **protected** until that is over, and says so with numbers.
//! 4. A majority of the live nodes, each by its own view, holds it for critical.
//!
//! The proposal itself is guarded by the revision at which the instance was last changed.
//!
//! Limits: instances that fail one after another, more than [`AT_ONCE`] apart, are reaped one after another. A service all of
//! whose instances are gone for good stays until somebody removes it.

use std::fmt;

use rollcall_types::{Millis, UnixMillis};

use crate::{Flap, Status};

/// Failures of one service that lie no farther apart than this are one event. Long enough for a rack, a rollout or a
/// dependency to take all of its victims.
pub const AT_ONCE: Millis = Millis::new(300_000);

/// An instance that may have to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// What all observers agree on now.
    pub status: Status,
    /// How often it has changed lately.
    pub flap: Flap,
    /// Since when it is critical, by the log.
    pub critical_since: Option<UnixMillis>,
    /// Time in critical after which it is to go; `None` never.
    pub deregister_after: Option<Millis>,
}

/// How many of how many failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    /// How many failed.
    pub failed: usize,
    /// How many there are, those included.
    pub total: usize,
}

/// Nodes that hold an instance for critical, each by its own view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Votes {
    /// Nodes that do, the leader included.
    pub agreeing: usize,
    /// Nodes that are alive, the leader included.
    pub live: usize,
}

/// What failed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Instances of one service.
    Service,
    /// Nodes of the cluster.
    Nodes,
}

/// Why a reap is put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protection {
    /// What failed at once.
    pub scope: Scope,
    /// How much of it.
    pub census: Census,
}

/// What to do about an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it is not critical, only held there by flapping, or never to go.
    Keep,
    /// Look again then.
    Wait {
        /// When its time is over.
        until: UnixMillis,
    },
    /// Put it off for as long as this lasts: `protected`.
    Protected(Protection),
    /// Ask the live nodes.
    Ask,
    /// They did not agree: ask again later.
    Unconfirmed(Votes),
    /// Deregister it.
    Reap,
}

impl Census {
    /// How many instances of a service failed together with the one that is critical since `around`. `instances` is since when
    /// each is critical, `None` of those that are not.
    pub fn at_once(instances: impl IntoIterator<Item = Option<UnixMillis>>, around: UnixMillis) -> Self {
        let is_near = |since: UnixMillis| since.get().abs_diff(around.get()) <= AT_ONCE.get();
        instances.into_iter().fold(Self { failed: 0, total: 0 }, |census, since| Self {
            failed: census.failed + usize::from(since.is_some_and(is_near)),
            total: census.total + 1,
        })
    }

    /// More than half failed, and not just one: a service of one instance would never lose it.
    pub const fn is_mass_failure(self) -> bool {
        self.failed >= 2 && self.failed > self.total / 2
    }
}

impl Votes {
    /// Whether a majority of the live nodes agrees.
    pub const fn is_majority(self) -> bool {
        self.agreeing > self.live / 2
    }
}

/// Decides about an instance. `service` is its service, `nodes` the members that did not leave and how many of them are not
/// alive, `votes` what the nodes said when they were asked.
pub fn decide(case: Case, service: Census, nodes: Census, votes: Option<Votes>, now: UnixMillis) -> Decision {
    let (Some(since), Some(after)) = (case.critical_since, case.deregister_after) else { return Decision::Keep };
    if case.status != Status::Critical || case.flap == Flap::Flapping {
        return Decision::Keep;
    }
    let until = since.plus(after);
    if now < until {
        return Decision::Wait { until };
    }
    let scopes = [(Scope::Nodes, nodes), (Scope::Service, service)];
    match scopes.into_iter().find(|(_, census)| census.is_mass_failure()) {
        Some((scope, census)) => Decision::Protected(Protection { scope, census }),
        None => match votes {
            None => Decision::Ask,
            Some(votes) if votes.is_majority() => Decision::Reap,
            Some(votes) => Decision::Unconfirmed(votes),
        },
    }
}

impl Decision {
    /// The word for it in logs, metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Wait { .. } => "wait",
            Self::Protected(_) => "protected",
            Self::Ask => "ask",
            Self::Unconfirmed(_) => "unconfirmed",
            Self::Reap => "reap",
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Census { failed, total } = self.census;
        match self.scope {
            Scope::Service => write!(f, "{failed} of {total} instances of the service failed at once"),
            Scope::Nodes => write!(f, "{failed} of {total} nodes are not alive"),
        }
    }
}
