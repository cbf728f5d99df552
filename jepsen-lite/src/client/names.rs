//! How the things of a run are called in its cluster.
//!
//! In a cluster of the harness's own they have the names of the history. In one that others use, too, all of them begin with a word
//! of this harness and of the run, so that a run meets nobody's things, not even those of an earlier run, and all can be found and
//! removed again.

use crate::history::OpId;

/// How the harness calls itself when it writes, before the number of the operation. History and watches tell it back.
const ACTOR: &str = "op-";
/// How every name begins in a cluster that others use, too.
const WORD: &str = "jepsen-lite-";

/// The names of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    /// Those of a run in a cluster that others use, too. `run` is no other run's number.
    pub(crate) fn apart(run: u64) -> Self {
        Self { prefix: format!("{WORD}{run}-") }
    }

    /// Those of all such runs.
    pub(crate) fn of_all_runs() -> Self {
        Self { prefix: WORD.to_owned() }
    }

    /// How every name begins.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The name in the cluster of what the history calls so.
    pub(crate) fn outer(&self, inner: &str) -> String {
        format!("{}{inner}", self.prefix)
    }

    /// Who an operation is done by, and its idempotency key.
    pub(crate) fn actor(&self, op: OpId) -> String {
        self.outer(&format!("{ACTOR}{op}"))
    }

    /// Which operation of this run an actor's name tells of.
    pub(crate) fn op_of_actor(&self, actor: &str) -> Option<OpId> {
        self.inner(actor)?.strip_prefix(ACTOR)?.parse().ok()
    }

    /// What the history calls what has this name in the cluster; `None` of what is not this run's.
    pub(crate) fn inner<'n>(&self, outer: &'n str) -> Option<&'n str> {
        outer.strip_prefix(&self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_knows_its_own_things_and_no_others() {
        let (alone, apart) = (Names::default(), Names::apart(7));
        assert_eq!((alone.outer("set-0").as_str(), alone.inner("set-0")), ("set-0", Some("set-0")));
        assert_eq!(apart.outer("set-0"), "jepsen-lite-7-set-0");
        assert_eq!(apart.inner("jepsen-lite-7-set-0"), Some("set-0"));
        assert_eq!(apart.inner("jepsen-lite-8-set-0"), None);
        assert_eq!(apart.inner("web"), None);
        assert_eq!((alone.actor(3).as_str(), alone.op_of_actor("op-3")), ("op-3", Some(3)));
        assert_eq!(apart.op_of_actor(&apart.actor(3)), Some(3));
        assert_eq!((apart.op_of_actor("op-3"), apart.op_of_actor("jepsen-lite-8-op-3")), (None, None));
        assert!(Names::of_all_runs().inner("jepsen-lite-8-set-0").is_some());
    }
}
