//! The catalogue behind openraft: applies batches, publishes views, writes and installs snapshots.
//!
//! A batch of committed entries is applied to the one mutable catalogue, then published once: a new `Arc<Catalog>` that
//! readers load without a lock, and the revision that waiters watch. Only then are the proposers answered, so what a node
//! acknowledged it shows. While a start replays the log nobody reads, so nothing is shown before its end: maps that a view
//! shared would be copied piece by piece as they change.
//!
//! A snapshot is built on a blocking thread from a clone, which costs a few pointer copies; nothing waits for it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use rollcall_catalog::{Catalog, Outcome, Request};
use rollcall_types::{ClusterId, Revision};
use tokio::sync::watch;

use crate::error::Error;
use crate::metrics;
use crate::planted;
use crate::snapshot::{self, SnapshotFile, SnapshotStore, Stored};
use crate::types::{LogId, SnapshotMeta, StoredMembership, TypeConfig};

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>;

/// What readers see of the catalogue.
#[derive(Debug)]
pub(crate) struct View {
    catalog: ArcSwap<Catalog>,
    revision: watch::Sender<Revision>,
}

impl View {
    fn new(catalog: Catalog) -> Self {
        let (revision, _) = watch::channel(catalog.revision());
        Self { catalog: ArcSwap::from_pointee(catalog), revision }
    }

    /// The present catalogue.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// The revision of [`Self::catalog`]; never ahead of it.
    pub(crate) fn revisions(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    fn publish(&self, catalog: Arc<Catalog>) {
        let revision = catalog.revision();
        self.catalog.store(catalog);
        self.revision.send_replace(revision);
    }
}

/// The state machine of one node.
pub(crate) struct StateMachine {
    catalog: Catalog,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    view: Arc<View>,
    snapshots: Arc<SnapshotStore>,
    /// Last entry that is replayed from the log before anybody reads.
    replay_end: Option<LogId>,
}

impl StateMachine {
    /// Starts from the newest valid snapshot in `dir`, or from nothing.
    pub(crate) fn open(dir: &Path, cluster: ClusterId) -> Result<Self, Error> {
        let (snapshots, loaded) = SnapshotStore::open(dir, cluster)?;
        let (catalog, last_applied, membership) = match loaded {
            Some((header, catalog)) => (catalog, header.meta.last_log_id, header.meta.last_membership),
            None => (Catalog::default(), None, StoredMembership::default()),
        };
        let view = Arc::new(View::new(catalog.clone()));
        Ok(Self { catalog, last_applied, membership, view, snapshots: Arc::new(snapshots), replay_end: None })
    }

    /// Shows nothing before the entry `end` is applied: the last of those that openraft replays when it starts.
    pub(crate) fn replay_until(&mut self, end: Option<LogId>) {
        self.replay_end = end;
        if self.last_applied < end {
            self.view.publish(Arc::default());
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(dir: &Path) -> Self {
        Self::open(dir, ClusterId::new(1)).expect("a state machine in an empty directory")
    }

    /// Last log entry in the state.
    pub(crate) fn last_applied(&self) -> Option<LogId> {
        self.last_applied
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.clone()
    }

    pub(crate) fn snapshots(&self) -> Arc<SnapshotStore> {
        self.snapshots.clone()
    }

    fn apply_request(&mut self, index: u64, mut request: Request) -> Outcome {
        let revision = Revision::new(index);
        if planted::forgets(index, &mut request) {
            let outcome = self.catalog.clone().apply(revision, &request).outcome;
            self.catalog.advance(revision);
            return outcome;
        }
        self.catalog.apply(revision, &request).outcome
    }

    /// Moves past an entry without a request. Entry 0, which founds the cluster, lies before the first revision.
    fn advance(&mut self, index: u64) {
        if index > 0 {
            self.catalog.advance(Revision::new(index));
        }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let started = Instant::now();
        let mut answers = Vec::new();
        let mut count = 0;
        while let Some((entry, responder)) = entries.try_next().await? {
            let index = entry.log_id.index;
            let outcome = match entry.payload {
                EntryPayload::Normal(proposal) => Some(self.apply_request(index, proposal.open()?)),
                EntryPayload::Blank => {
                    self.advance(index);
                    None
                }
                EntryPayload::Membership(membership) => {
                    self.advance(index);
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    None
                }
            };
            self.last_applied = Some(entry.log_id);
            count += 1;
            if let Some(responder) = responder {
                answers.push((responder, outcome));
            }
        }
        if self.last_applied >= self.replay_end {
            self.view.publish(Arc::new(self.catalog.clone()));
        }
        for (responder, outcome) in answers {
            responder.send(outcome);
        }
        metrics::applied(count, started.elapsed());
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            catalog: self.catalog.clone(),
            meta: SnapshotMeta { last_log_id: self.last_applied, last_membership: self.membership.clone() },
            snapshots: self.snapshots.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, file: SnapshotFile) -> io::Result<()> {
        let snapshots = self.snapshots.clone();
        let meta_of_file = meta.clone();
        let catalog = blocking(move || {
            // The receiver checked the file before it let openraft know of it; the info is read again only here.
            let info = snapshot::inspect(&file.path).map_err(io::Error::other)?;
            let catalog = match file.catalog {
                Some(catalog) => catalog,
                None => Arc::new(snapshot::load(&file.path, snapshot::Check::Digest).map_err(io::Error::other)?.1),
            };
            snapshots.install(&file.path, meta_of_file, info)?;
            Ok(catalog)
        })
        .await?;
        self.catalog = Catalog::clone(&catalog);
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.view.publish(catalog);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let snapshot = |stored: &Stored| Snapshot {
            meta: stored.meta.clone(),
            snapshot: SnapshotFile { path: stored.path.clone(), catalog: None },
        };
        Ok(self.snapshots.current().as_deref().map(snapshot))
    }
}

/// Writes one snapshot from a clone of the catalogue.
pub(crate) struct Builder {
    catalog: Catalog,
    meta: SnapshotMeta,
    snapshots: Arc<SnapshotStore>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (catalog, meta, snapshots) = (self.catalog.clone(), self.meta.clone(), self.snapshots.clone());
        let started = Instant::now();
        let stored = blocking(move || snapshots.write(meta, &catalog).map_err(io::Error::other)).await?;
        metrics::snapshot_written(stored.info.bytes, started.elapsed());
        Ok(Snapshot { meta: stored.meta, snapshot: SnapshotFile { path: stored.path, catalog: None } })
    }
}

/// Runs file work off the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    rollcall_io::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::types::Entry;

    #[tokio::test]
    async fn what_a_start_replays_is_shown_when_all_of_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = StateMachine::for_test(dir.path());
        let view = machine.view();
        let id = |index| LogId::new_term_index(1, index);
        let mut shown = Vec::new();
        for index in 1..=5 {
            if index == 2 {
                machine.replay_until(Some(id(4)));
            }
            let entry = Entry { log_id: id(index), payload: EntryPayload::Blank };
            machine.apply(stream::iter([Ok((entry, None))])).await.unwrap();
            shown.push(view.catalog().revision().get());
        }
        assert_eq!(shown, [1, 0, 0, 4, 5]);
        assert_eq!(*view.revisions().borrow(), Revision::new(5));
        // Nothing is left to replay.
        machine.replay_until(Some(id(5)));
        assert_eq!(view.catalog().revision().get(), 5);
    }
}
