//! What a prober makes of who vouches for a lease.

use std::time::Duration;

use rollcall_types::NodeName;

use super::HEARSAY;
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
/// Invariant: `holders` are the living nodes that vouched for it at the last look.
#[derive(Debug, Clone)]
pub struct LeaseWatch {
    ttl: Duration,
    holders: Vec<Observer>,
    /// The end of the time in which it may find another node, or be heard of at one.
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
        let grace_until = at.run.plus(ttl).plus(HEARSAY);
        let state = if known == Status::Critical { LeaseState::Expired } else { LeaseState::Grace };
        let status = if known == Status::Warning { Status::Warning } else { Status::Passing };
        Self { ttl, holders: Vec::new(), grace_until, state, status, score: None }
    }

    /// Looks at who vouches now. `living` is the generation of a node that is alive, `None` of one that is not.
    pub fn observe<'a>(
        &mut self,
        vouching: impl IntoIterator<Item = Sighting<'a>>,
        living: impl Fn(&NodeName) -> Option<u64>,
        at: Reading,
    ) -> LeaseState {
        let fresh = vouching.into_iter().filter(|sighting| sighting.freshness == Freshness::Fresh);
        let fresh: Vec<_> = fresh.filter_map(|sighting| Some((sighting, living(sighting.observer)?))).collect();
        let holder = |(sighting, generation): &(Sighting<'a>, u64)| Observer {
            name: sighting.observer.clone(),
            generation: *generation,
        };
        let holders: Vec<_> = fresh.iter().map(holder).collect();
        self.turn_over(holders, living, at);
        // The worse counts when two nodes vouch, as they do for a while after the instance moved.
        let found = fresh.into_iter().map(|(sighting, _)| sighting).reduce(|one, other| {
            let worst = worst_of([one.observation.status, other.observation.status]);
            if worst == one.observation.status { one } else { other }
        });
        if let Some(sighting) = found {
            (self.state, self.status) = (LeaseState::Held, sighting.observation.status);
            self.score = Some(sighting.observation.score.score());
        } else {
            self.state = match self.state {
                // Who heard it says that the time is over. A heartbeat to another node, in its last moment, is heard of later.
                LeaseState::Held => {
                    self.grace_until = self.grace_until.max(at.run.plus(HEARSAY));
                    LeaseState::Grace
                }
                LeaseState::Grace if at.run > self.grace_until && !at.is_settling => LeaseState::Expired,
                state => state,
            };
        }
        self.state
    }

    /// How the lease stands.
    pub fn state(&self) -> LeaseState {
        self.state
    }

    /// The least time until it expires by itself; `None` when it does not.
    pub fn left(&self, at: Reading) -> Option<Duration> {
        (self.state == LeaseState::Grace).then(|| self.grace_until.since(at.run))
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

    /// Takes in who vouches now. Who begins to has just heard it, so all that was before is settled. One that does not live any more
    /// may have been the last that heard it, whoever else goes on vouching from before.
    fn turn_over(&mut self, holders: Vec<Observer>, living: impl Fn(&NodeName) -> Option<u64>, at: Reading) {
        if self.holders.iter().any(|before| living(&before.name) != Some(before.generation)) {
            self.grace_until = at.run.plus(self.ttl).plus(HEARSAY);
        } else if holders.iter().any(|holder| !self.holders.contains(holder)) {
            self.grace_until = at.run;
        }
        self.holders = holders;
    }
}
