//! The workloads, and what they share: the order of runs and the options.

pub(crate) mod detection;
pub(crate) mod failover;
pub(crate) mod fill;
pub(crate) mod first_write;
pub(crate) mod propagation;
pub(crate) mod reads;
pub(crate) mod syncs;
pub(crate) mod watch;
pub(crate) mod writes;

use std::time::Duration;

use crate::cluster::Setup;
use crate::results::Subject;

/// What every workload needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) setup: Setup,
    /// The systems to measure.
    pub(crate) subjects: Vec<Subject>,
    /// Runs of each system.
    pub(crate) pairs: usize,
    /// Measured time of a load.
    pub(crate) length: Duration,
    /// How long to wait for other processes to be quiet, before each load.
    pub(crate) patience: Duration,
    /// Faults of each kind for us, and for a peer.
    pub(crate) faults: usize,
    pub(crate) peer_faults: usize,
    /// Instances of the memory and restart workloads.
    pub(crate) instances: u64,
    /// Watchers of the watch workload.
    pub(crate) watchers: usize,
}

impl Plan {
    /// The runs in order: A B B A A B …, so that slow drift of the machine hits all alike.
    pub(crate) fn runs(&self, among: &[Subject], pairs: usize) -> Vec<(usize, Subject)> {
        let chosen: Vec<Subject> = self.subjects.iter().copied().filter(|subject| among.contains(subject)).collect();
        let mut runs = Vec::new();
        for pair in 0..pairs {
            let mut round: Vec<(usize, Subject)> = chosen.iter().map(|subject| (pair, *subject)).collect();
            if pair % 2 == 1 {
                round.reverse();
            }
            runs.extend(round);
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_round_is_reversed() {
        let setup = Setup {
            rollcall: None,
            etcd: "etcd".into(),
            java: "java".into(),
            zookeeper_jar: "jar".into(),
            folder: "/var/tmp".into(),
        };
        let plan = Plan {
            setup,
            subjects: vec![Subject::Rollcall, Subject::Etcd, Subject::Zookeeper],
            pairs: 3,
            length: Duration::ZERO,
            patience: Duration::ZERO,
            faults: 0,
            peer_faults: 0,
            instances: 0,
            watchers: 0,
        };
        let runs = plan.runs(&[Subject::Rollcall, Subject::Etcd], 3);
        let order: Vec<String> = runs.iter().map(|(pair, subject)| format!("{pair}{subject}")).collect();
        assert_eq!(order, ["0Rollcall", "0etcd", "1etcd", "1Rollcall", "2Rollcall", "2etcd"]);
    }
}
