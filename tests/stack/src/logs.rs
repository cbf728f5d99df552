//! The logs of the nodes, against what Raft promises of them.

use std::collections::BTreeMap;

/// Entries that some node held committed.
#[derive(Debug, Default)]
pub(crate) struct Committed(BTreeMap<u64, (u64, u32)>);

impl Committed {
    /// Looks at all logs and answers what is wrong: what is committed lies on the disks of a majority, stays, and is the same
    /// on every node (Raft §5.4, Leader Completeness and State Machine Safety).
    pub(crate) fn look(&mut self) -> Vec<String> {
        let mut findings = Vec::new();
        let logs = rollcall_raft::disks();
        for (dir, log) in &logs {
            // Entry 0, which founds the cluster, is committed with the first that follows it.
            for (index, entry) in log.seen.range(1..).take_while(|(index, _)| **index <= log.committed) {
                let known = self.0.get(index).copied();
                if known.is_none() {
                    self.0.insert(*index, *entry);
                    let holders = logs.values().filter(|other| other.done.get(index) == Some(entry)).count();
                    if holders * 2 <= logs.len() {
                        findings
                            .push(format!("entry {index} is committed, and {holders} of {} disks hold it", logs.len()));
                    }
                } else if known != Some(*entry) {
                    findings.push(format!(
                        "entry {index} is {entry:?} in {}, and was committed as {known:?}",
                        dir.display()
                    ));
                }
            }
        }
        findings
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}
