//! The directory of snapshots of one node: the newest is kept, older ones and unfinished ones go.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use rollcall_catalog::Catalog;
use rollcall_types::ClusterId;
use tracing::{info, warn};

use super::{Header, SnapshotError, SnapshotInfo};
use crate::error::Error;
use crate::types::SnapshotMeta;

/// A snapshot on disk, as openraft hands it around.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotFile {
    /// Where it lies. A received one has a temporary name until it is installed.
    pub(crate) path: PathBuf,
    /// Its content, when it was just decoded to check it, so that installing need not decode again.
    pub(crate) catalog: Option<Arc<Catalog>>,
}

/// A snapshot with its position in the log.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) meta: SnapshotMeta,
    pub(crate) info: SnapshotInfo,
    pub(crate) path: PathBuf,
}

/// The directory.
#[derive(Debug)]
pub(crate) struct SnapshotStore {
    dir: PathBuf,
    cluster: ClusterId,
    current: ArcSwapOption<Stored>,
    /// Held while a file gets its name. Who asks for the newest does not wait for that.
    publishing: Mutex<()>,
}

impl SnapshotStore {
    /// Opens the directory, removes what is unfinished, and loads the newest valid snapshot.
    pub(crate) fn open(dir: &Path, cluster: ClusterId) -> Result<(Self, Option<(Header, Catalog)>), Error> {
        let failed = |source| Error::Io { what: format!("cannot use snapshots in {}", dir.display()), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let mut paths = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("tmp") => fs::remove_file(&path).map_err(failed)?,
                Some("snap") => paths.push(path),
                _ => {}
            }
        }
        // Names carry index and term with leading zeros.
        paths.sort();
        let store = Self { dir: dir.to_owned(), cluster, current: ArcSwapOption::empty(), publishing: Mutex::new(()) };
        for path in paths.into_iter().rev() {
            match super::load(&path, super::Check::Checksums) {
                Ok((header, ..)) if header.cluster != cluster => {
                    return Err(SnapshotError::ForeignCluster { path, theirs: header.cluster, ours: cluster }.into());
                }
                Ok((header, catalog, info)) => {
                    store.adopt(Stored { meta: header.meta.clone(), info, path });
                    return Ok((store, Some((header, catalog))));
                }
                // An older one may do, if the log still reaches back to it; whether it does is checked by the caller.
                Err(error) => warn!(error = %error, "snapshot {} is skipped: {error}", path.display()),
            }
        }
        Ok((store, None))
    }

    /// Writes a snapshot of `catalog`.
    pub(crate) fn write(&self, meta: SnapshotMeta, catalog: &Catalog) -> Result<Stored, SnapshotError> {
        let path = self.path_of(&meta);
        let header = Header { cluster: self.cluster, meta };
        let stored = |info: &SnapshotInfo| Stored { meta: header.meta.clone(), info: info.clone(), path: path.clone() };
        let info = super::write_then(&path, &header, catalog, |tmp, info| self.publish(tmp, stored(info)))?;
        Ok(stored(&info))
    }

    /// Takes over a received, checked file.
    pub(crate) fn install(&self, file: &Path, meta: SnapshotMeta, info: SnapshotInfo) -> io::Result<()> {
        let path = self.path_of(&meta);
        self.publish(file, Stored { meta, info, path })
    }

    /// Gives a finished file its name and makes it the newest, in one step: a snapshot that is built and one that is
    /// received at the same time must not remove each other's file.
    fn publish(&self, file: &Path, stored: Stored) -> io::Result<()> {
        let _one_by_one = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        super::publish(file, &stored.path)?;
        self.adopt(stored);
        Ok(())
    }

    /// The newest snapshot: an atomic load, whatever is being written.
    pub(crate) fn current(&self) -> Option<Arc<Stored>> {
        self.current.load_full()
    }

    /// A name for a file that is being received.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.dir.join(format!("incoming-{:016x}.tmp", rand::random::<u64>()))
    }

    pub(crate) fn cluster(&self) -> ClusterId {
        self.cluster
    }

    fn path_of(&self, meta: &SnapshotMeta) -> PathBuf {
        let (index, term) = meta.last_log_id.map_or((0, 0), |id| (id.index, id.leader_id.term));
        self.dir.join(format!("snapshot-{index:020}-{term:020}.snap"))
    }

    /// Makes `stored` the newest, unless a newer one came meanwhile, and removes the files of older ones. A transfer that
    /// has an old file open goes on: the file lives until it is closed.
    fn adopt(&self, stored: Stored) {
        if self.current().is_some_and(|present| present.meta.last_log_id > stored.meta.last_log_id) {
            return;
        }
        info!(
            raft.index = stored.info.index,
            "snapshot at {} holds {} records in {} bytes", stored.info.index, stored.info.records, stored.info.bytes
        );
        let keep = stored.path.clone();
        self.current.store(Some(Arc::new(stored)));
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            // Names carry index and term with leading zeros.
            let is_old = path < keep && path.extension().is_some_and(|extension| extension == "snap");
            if is_old && let Err(error) = fs::remove_file(&path) {
                warn!(error = %error, "old snapshot {} stays: {error}", path.display());
            }
        }
    }
}
