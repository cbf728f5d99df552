//! When each peer last confirmed that this node leads.
//!
//! A peer that answers an append, other than with a higher vote, had voted for no later leader when the append reached it. So
//! at the time at which the append was *sent* it had not either, and a majority of such answers says when this node surely
//! led. The time of the answer says nothing: it may have waited in a socket while this process was paused.
//!
//! Rejected: openraft's own `last_quorum_acked`. It takes an answer that says "I hold entry 5" for the answer to every
//! request up to entry 5, also to an empty one that was sent later and not answered yet, so a late answer can look as if it
//! were new. Here each answer counts for the request that it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rollcall_types::NodeId;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// Of each peer, the latest append that it answered: the term, and when it was sent.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    peers: Mutex<BTreeMap<u64, (u64, Instant)>>,
    noted: Notify,
}

impl Acks {
    /// Notes that `peer` accepted an append of the leader of `term`, sent not before `sent`.
    pub(crate) fn note(&self, peer: NodeId, term: u64, sent: Instant) {
        {
            let mut peers = self.peers();
            let latest = peers.entry(peer.get()).or_insert((term, sent));
            *latest = (*latest).max((term, sent));
        }
        self.noted.notify_waiters();
    }

    /// Ends when something is noted after it was enabled.
    pub(crate) fn noted(&self) -> Notified<'_> {
        self.noted.notified()
    }

    /// The latest time at which `us` surely was the leader of `term`, for it is in touch with itself at `now`: in each of
    /// `configs` a majority of the voters has accepted an append that was sent then or later.
    pub(crate) fn majority(&self, configs: &[BTreeSet<u64>], us: NodeId, term: u64, now: Instant) -> Option<Instant> {
        let peers = self.peers();
        let acked = |voter: u64| match peers.get(&voter) {
            _ if voter == us.get() => Some(now),
            Some((of, sent)) if *of == term => Some(*sent),
            _ => None,
        };
        let times = configs.iter().map(|voters| {
            let is_majority = |time: &Instant| {
                let count = voters.iter().filter(|voter| acked(**voter).is_some_and(|at| at >= *time)).count();
                count > voters.len() / 2
            };
            voters.iter().filter_map(|voter| acked(*voter)).filter(is_majority).max()
        });
        // `None`, of a configuration without a majority, is the least.
        times.min().flatten()
    }

    /// Forgets the peers that are not members any more.
    pub(crate) fn retain(&self, is_member: impl Fn(NodeId) -> bool) {
        self.peers().retain(|peer, _| is_member(NodeId::new(*peer)));
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<u64, (u64, Instant)>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const US: NodeId = NodeId::new(1);

    #[test]
    fn a_leader_is_confirmed_when_a_majority_of_each_configuration_is() {
        let acks = Acks::default();
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let (old, new) = (BTreeSet::from([1, 2, 3]), BTreeSet::from([1, 4, 5, 6]));
        let confirmed = |configs: &[BTreeSet<u64>]| acks.majority(configs, US, 7, at(9));
        assert_eq!(confirmed(&[BTreeSet::from([1])]), Some(at(9)), "alone it is a majority");
        assert_eq!(confirmed(std::slice::from_ref(&old)), None, "nobody has answered yet");
        acks.note(NodeId::new(2), 6, at(8));
        assert_eq!(confirmed(std::slice::from_ref(&old)), None, "what was said in an earlier term does not count");
        acks.note(NodeId::new(2), 7, at(3));
        acks.note(NodeId::new(2), 7, at(2));
        assert_eq!(confirmed(std::slice::from_ref(&old)), Some(at(3)), "an answer that comes late takes nothing back");
        assert_eq!(confirmed(&[old.clone(), new.clone()]), None);
        acks.note(NodeId::new(4), 7, at(5));
        assert_eq!(confirmed(&[old.clone(), new.clone()]), None, "two of four are no majority");
        acks.note(NodeId::new(5), 7, at(1));
        assert_eq!(confirmed(&[old, new]), Some(at(1)));
        assert_eq!(
            acks.majority(&[BTreeSet::from([2])], US, 7, at(9)),
            Some(at(3)),
            "a leader that has no vote any more"
        );
    }

    #[test]
    fn the_time_of_a_majority_is_the_middle_one() {
        let start = Instant::now();
        // Of up to five voters, each other one answered never or at one of three times.
        for voters in 1..=5_u32 {
            for story in 0..4_u64.pow(voters - 1) {
                let acks = Acks::default();
                let mut times = vec![Some(start + Duration::from_secs(9))];
                for peer in 1..voters {
                    let second = story / 4_u64.pow(peer - 1) % 4;
                    let sent = (second > 0).then(|| start + Duration::from_secs(second));
                    if let Some(sent) = sent {
                        acks.note(NodeId::new(u64::from(peer) + 1), 1, sent);
                    }
                    times.push(sent);
                }
                times.sort_by(|a, b| b.cmp(a));
                let configs = [(1..=u64::from(voters)).collect()];
                let led_at = acks.majority(&configs, US, 1, start + Duration::from_secs(9));
                assert_eq!(led_at, times[times.len() / 2], "{times:?}");
            }
        }
    }
}
