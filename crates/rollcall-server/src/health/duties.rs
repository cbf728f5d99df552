//! Who looks at what, as this node sees it: the roster, and the lookers of each chunk.
//!
//! While this node takes itself for cut off the roster stays as it is: it is not the others who are gone. A node that has
//! just started waits until it has heard of the members, or for [`GATHER`]: else it would look at everything for a second.

use std::sync::Arc;
use std::time::Duration;

use rollcall_gossip::{Lateness, MembershipView, State};
use rollcall_health::ChunkId;
use rollcall_health::assignment::{Candidate, Roster, Watch, probers_for};
use rollcall_raft::RaftStatus;
use rollcall_types::{MonoTime, NodeName};

/// Longest wait of a node that started for the members it has not heard of.
pub(crate) const GATHER: Duration = Duration::from_secs(3);

/// What this node has to do about a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// To probe its instances all the time.
    Probe,
    /// To probe those of which another looker doubts.
    Confirm,
    /// Nothing.
    Idle,
}

/// Who looks at what.
///
/// Invariant: `watches` holds who looks by `roster` with `probers` probers, for each chunk from 0 on; before it `has_begun` the
/// roster is empty.
pub(crate) struct Duties {
    me: NodeName,
    started: MonoTime,
    has_begun: bool,
    roster: Roster,
    probers: usize,
    watches: Vec<Arc<Watch>>,
    nobody: Watch,
}

/// The members as they matter here.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// Who is fit to look.
    pub(crate) fit: Vec<Candidate>,
    /// How many members of the cluster there are, fit or not.
    pub(crate) all: usize,
    /// This node takes itself for cut off.
    pub(crate) is_isolated: bool,
}

impl Members {
    /// Fit is who is alive, is not late by a second or more, and is a member of the cluster, with a vote or without. When all
    /// are so late, on a machine that is too small for them, who is alive has to do. Lateness below a second is no reason: it
    /// costs a probe at most, and a node that is dropped stays so for
    /// [`RETURN_AFTER`](rollcall_health::assignment::RETURN_AFTER).
    pub(crate) fn of(view: &MembershipView, status: &RaftStatus) -> Self {
        let is_member = |name: &NodeName, member: &rollcall_gossip::Member| {
            let id = status.id_of(name);
            let said = member.meta.as_ref().and_then(|meta| meta.node);
            id.is_some() && (said.is_none() || said == id)
        };
        let alive =
            view.members.iter().filter(|(name, member)| member.health.state == State::Alive && is_member(name, member));
        let candidate = |(name, member): (&NodeName, &rollcall_gossip::Member)| Candidate {
            name: name.clone(),
            zone: member.meta.as_ref().and_then(|meta| meta.zone.clone()),
        };
        let in_time = |(_, member): &(&NodeName, &rollcall_gossip::Member)| member.health.lateness < Lateness::VeryLate;
        let mut fit: Vec<Candidate> = alive.clone().filter(in_time).map(candidate).collect();
        if fit.is_empty() {
            fit = alive.map(candidate).collect();
        }
        let all = status.voters.len() + status.learners.len();
        Self { fit, all, is_isolated: view.standing.isolated_since.is_some() }
    }
}

impl Duties {
    /// Duties of the node `me`, which starts now and knows nobody.
    pub(crate) fn new(me: NodeName, now: MonoTime) -> Self {
        Self {
            me,
            started: now,
            has_begun: false,
            roster: Roster::new(),
            probers: probers_for(0),
            watches: Vec::new(),
            nobody: Watch::default(),
        }
    }

    /// Takes in the members, and how many instances there are. Returns the chunks whose lookers changed.
    pub(crate) fn update(&mut self, members: &Members, instances: usize, now: MonoTime) -> Vec<ChunkId> {
        let is_gathering = !self.has_begun && members.fit.len() < members.all && now.since(self.started) < GATHER;
        if is_gathering {
            return Vec::new();
        }
        self.has_begun = true;
        let has_changed = !members.is_isolated && self.roster.update(&self.me, &members.fit, now);
        let before = std::mem::replace(&mut self.probers, probers_for(instances));
        if !has_changed && before == self.probers {
            return Vec::new();
        }
        let mut changed = Vec::new();
        for (chunk, watch) in chunks(0).zip(&mut self.watches) {
            let present = self.roster.watch(chunk, self.probers);
            if **watch != present {
                *watch = Arc::new(present);
                changed.push(chunk);
            }
        }
        changed
    }

    /// Finds lookers for the first `count` chunks, as far as they have none yet.
    pub(crate) fn reach(&mut self, count: usize) {
        for chunk in chunks(self.watches.len()).take(count.saturating_sub(self.watches.len())) {
            self.watches.push(Arc::new(self.roster.watch(chunk, self.probers)));
        }
    }

    /// Who looks at the instances of a chunk. Nobody in particular while that is not known yet.
    pub(crate) fn watch(&self, chunk: ChunkId) -> &Watch {
        self.watches.get(chunk.get() as usize).map_or(&self.nobody, |watch| watch)
    }

    /// What this node has to do about a chunk.
    pub(crate) fn duty(&self, chunk: ChunkId) -> Duty {
        let watch = self.watch(chunk);
        match () {
            () if watch.is_prober(&self.me) => Duty::Probe,
            () if watch.lookers().contains(&self.me) => Duty::Confirm,
            () => Duty::Idle,
        }
    }

    /// Nodes that share the work.
    pub(crate) fn sharing(&self) -> usize {
        self.roster.len()
    }
}

/// The chunks from this one on.
fn chunks(first: usize) -> impl Iterator<Item = ChunkId> {
    (first..).map_while(|number| ChunkId::new(u32::try_from(number).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonoTime {
        MonoTime::new(Duration::from_secs(seconds))
    }

    fn members(names: &[&str], all: usize) -> Members {
        let candidate = |name: &&str| Candidate { name: name.parse().unwrap(), zone: None };
        Members { fit: names.iter().map(candidate).collect(), all, is_isolated: false }
    }

    fn duties(chunks: usize) -> Duties {
        let mut duties = Duties::new("n1".parse().unwrap(), at(0));
        duties.reach(chunks);
        duties
    }

    fn count(duties: &Duties, duty: Duty) -> usize {
        chunks(0).take(duties.watches.len()).filter(|chunk| duties.duty(*chunk) == duty).count()
    }

    #[test]
    fn a_node_that_started_looks_at_nothing_until_it_knows_the_members_or_has_waited_for_them() {
        let mut duties = duties(30);
        assert_eq!(duties.update(&members(&["n1"], 3), 100, at(1)), []);
        assert_eq!(count(&duties, Duty::Idle), 30);
        assert_eq!(duties.update(&members(&["n1", "n2", "n3"], 3), 100, at(2)).len(), 30);
        assert!(count(&duties, Duty::Probe) < 30);

        let mut alone = self::duties(30);
        alone.update(&members(&["n1"], 3), 100, at(3));
        assert_eq!(count(&alone, Duty::Probe), 30);
    }

    #[test]
    fn a_node_that_is_cut_off_keeps_its_share() {
        let mut duties = duties(30);
        duties.update(&members(&["n1", "n2", "n3", "n4"], 4), 100, at(0));
        let before = count(&duties, Duty::Probe);
        let isolated = Members { is_isolated: true, ..members(&["n1"], 4) };
        assert_eq!(duties.update(&isolated, 100, at(9)), []);
        assert_eq!(count(&duties, Duty::Probe), before);
    }

    #[test]
    fn above_twenty_thousand_instances_one_probes_and_two_confirm() {
        let mut duties = duties(300);
        let all = members(&["n1", "n2", "n3"], 3);
        duties.update(&all, 20_000, at(0));
        let (probed, confirmed) = (count(&duties, Duty::Probe), count(&duties, Duty::Confirm));
        assert_eq!(probed + confirmed, 300);
        assert!((160..240).contains(&probed), "two thirds of {probed}");
        assert_eq!(duties.update(&all, 20_001, at(1)).len(), 300);
        assert!((60..140).contains(&count(&duties, Duty::Probe)), "one third");
    }

    #[test]
    fn chunks_that_come_later_find_their_lookers_at_once() {
        let mut duties = duties(0);
        duties.update(&members(&["n1"], 1), 0, at(0));
        assert_eq!(duties.duty(ChunkId::new(2).unwrap()), Duty::Idle, "there is no such chunk");
        duties.reach(3);
        assert_eq!(count(&duties, Duty::Probe), 3);
        assert_eq!(duties.sharing(), 1);
    }
}
