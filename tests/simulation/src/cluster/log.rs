//! A model of consensus: one order of entries, which a leader decides while it reaches a majority.
//!
//! It promises what Raft promises (an entry that was decided lies on the disks of a majority and is never another one) and shows
//! what Raft shows: nodes that lag, elections that take their time, requests that are lost on the way or come twice.

use std::sync::Arc;

use rollcall_catalog::{Applied, Catalog, Request};
use rollcall_types::Revision;

/// The log as it was decided, and what it comes to.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The first has revision 1.
    pub(crate) entries: Vec<Arc<Request>>,
    /// What each was answered.
    pub(crate) applied: Vec<Applied>,
    /// The catalogue after each.
    pub(crate) states: Vec<Catalog>,
    /// The catalogue after all of them.
    pub(crate) truth: Catalog,
    /// Who leads.
    pub(crate) leader: Option<usize>,
    /// Rises with each leader.
    pub(crate) term: u64,
    /// When a leader is chosen, if there is none.
    pub(crate) elect_at: u64,
}

impl Log {
    /// Decides on an entry. Returns its revision.
    pub(crate) fn append(&mut self, request: Request) -> u64 {
        let revision = self.end() + 1;
        let request = Arc::new(request);
        self.applied.push(self.truth.apply(Revision::new(revision), &request));
        self.states.push(self.truth.clone());
        self.entries.push(request);
        revision
    }

    /// The revision of the last entry.
    pub(crate) fn end(&self) -> u64 {
        self.entries.len() as u64
    }

    /// An entry with its answer and the catalogue after it.
    pub(crate) fn at(&self, revision: u64) -> (&Arc<Request>, &Applied, &Catalog) {
        let index = revision as usize - 1;
        (&self.entries[index], &self.applied[index], &self.states[index])
    }
}
