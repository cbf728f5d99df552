//! What a prober makes of who vouches for a lease.

use std::time::Duration;

use rollcall_types::NodeName;

use crate::check::worst_of;
use crate::run_clock::{Reading, RunTime};
use crate::{Freshness, Observer, Sighting, Status};

/// How a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaseState {
    /// A living node hears its heartbeats.
    Held,
    /// Nobody alive does, and it has time left to find somebody.
    Grace,
    /// The time is over.
    Expired,
}

impl LeaseState {
    /// The word for it in logs and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Grace => "grace",
            Self::Expired => "expired",
        }
    }
}

/// What a prober makes of who vouches for the lease of one instance.
///
/// Invariant: `holder` is the last living node that was seen to vouch for it.
#[derive(Debug, Clone)]
pub struct LeaseWatch {
    ttl: Duration,
    holder: Option<Observer>,
    grace_until: RunTime,
    state: LeaseState,
    status: Status,
    score: Option<f64>,
}

impl LeaseWatch {
    /// Begins to watch. `known` is the status that the log has of the instance: what was critical stays expired until somebody
    /// vouches for it, or a change of probers would put the dead back into service. Everything else gets a full TTL of grace,
    /// and a new instance passes meanwhile: being registered counts as a heartbeat.
    pub fn new(ttl: Duration, known: Status, at: Reading) -> Self {
        let grace_until = at.run.plus(ttl);
        let state = if known == Status::Critical { LeaseState::Expired } else { LeaseState::Grace };
        let status = if known == Status::Warning { Status::Warning } else { Status::Passing };
        Self { ttl, holder: None, grace_until, state, status, score: None }
    }

    /// Looks at who vouches now. `living` is the generation of a node that is alive, `None` of one that is not.
    pub fn observe<'a>(
        &mut self,
        vouching: impl IntoIterator<Item = Sighting<'a>>,
        living: impl Fn(&NodeName) -> Option<u64>,
        at: Reading,
    ) -> LeaseState {
        let fresh = vouching.into_iter().filter(|sighting| sighting.freshness == Freshness::Fresh);
        let fresh = fresh.filter_map(|sighting| Some((sighting, living(sighting.observer)?)));
        // The worse counts when two nodes vouch, as they do for a while after the instance moved.
        let found = fresh.reduce(|one, other| {
            let worst = worst_of([one.0.observation.status, other.0.observation.status]);
            if worst == one.0.observation.status { one } else { other }
        });
        if let Some((sighting, generation)) = found {
            self.holder = Some(Observer { name: sighting.observer.clone(), generation });
            (self.state, self.status) = (LeaseState::Held, sighting.observation.status);
            self.score = Some(sighting.observation.score.score());
        } else {
            self.miss(living, at);
        }
        self.state
    }

    /// How the lease stands.
    pub fn state(&self) -> LeaseState {
        self.state
    }

    /// The status that it amounts to: what the instance last said of itself, critical once it expired.
    pub fn status(&self) -> Status {
        match self.state {
            LeaseState::Held | LeaseState::Grace => self.status,
            LeaseState::Expired => Status::Critical,
        }
    }

    /// What its heartbeats amount to, in [0, 1]; `None` when nobody vouches.
    pub fn score(&self) -> Option<f64> {
        self.score.filter(|_| self.state == LeaseState::Held)
    }

    /// Nobody alive vouches for it.
    fn miss(&mut self, living: impl Fn(&NodeName) -> Option<u64>, at: Reading) {
        let holder = self.holder.take();
        let has_withdrawn = holder.as_ref().is_some_and(|holder| living(&holder.name) == Some(holder.generation));
        self.state = match self.state {
            LeaseState::Held if has_withdrawn => LeaseState::Expired,
            LeaseState::Held => {
                self.grace_until = at.run.plus(self.ttl);
                LeaseState::Grace
            }
            LeaseState::Grace if at.run > self.grace_until && !at.is_settling => LeaseState::Expired,
            state => state,
        };
    }
}
