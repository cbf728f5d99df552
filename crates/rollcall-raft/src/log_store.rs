//! The log and the vote on disk: openraft's storage trait over raft-log, with group commit and a check on open.
//!
//! One file sequence holds votes and entries in the order they were written, and a write is reported done only after
//! `fdatasync` of it and of everything before it. raft-log's flush thread collects what arrives within
//! [`FLUSH_BATCH_WAIT`] into one sync. Any I/O error is final: openraft stops on it and nothing more is acknowledged.
//!
//! Memory: entries of the newest chunk stay in memory, so chunks are small ([`CHUNK_BYTES`]); the cache for followers that
//! lag a little is small too ([`CACHE_BYTES`]). Further back entries are read from disk, by an index of some 100 bytes an entry.
//!
//! Opening is linear in the length of the log, about 3 µs an entry; snapshots bound that length (`consensus/compaction.rs`).

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod record;
mod repair;
mod syncs;

use std::fmt;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant};

use futures_util::{Stream, stream};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use raft_log::RaftLog;
use raft_log::api::raft_log_writer::RaftLogWriter;
use tokio::sync::watch;

use self::record::{Callback, LogTypes, Record, RecordPayload};
pub(crate) use self::syncs::Syncs;
use crate::error::Error;
use crate::planted::{Bug, is_planted};
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// How long the flush thread waits for more writes before it syncs. With 0 raft-log syncs every write alone; the default
/// of 1 ms adds itself to every lone commit. 5 µs is enough to take the few dozen that may have queued up during the sync
/// before. A lone writer waits for it twice, and for the thread to wake: at 20 µs that was 7 % of its time.
const FLUSH_BATCH_WAIT: Duration = Duration::from_micros(5);
/// Largest file of the log, 4 MiB. Its entries stay in memory while it is the newest.
const CHUNK_BYTES: usize = 4 << 20;
/// Entries kept in memory beyond the newest chunk, 4 MiB of encoded size.
const CACHE_BYTES: usize = 4 << 20;
/// Entries kept in memory beyond the newest chunk at most.
const CACHE_ENTRIES: usize = 8_192;
/// Buffer for reading chunks when the log is opened, 1 MiB.
const READ_BUFFER_BYTES: usize = 1 << 20;
/// Most encoded bytes of entries handed out at once, to bound one message to a follower: 2 MiB.
const READ_BYTES_MAX: u64 = 2 << 20;
/// Entries read under one lock.
const READ_BATCH: u64 = 256;

/// The log. Clones are the same log; openraft's tasks hold some, and the last one to go closes it.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    log: RwLock<RaftLog<LogTypes>>,
    syncs: Arc<Syncs>,
    /// Dropped after the log, and so tells that it is closed.
    open: watch::Sender<()>,
}

/// Waits for the end of a log.
#[derive(Debug)]
pub(crate) struct Closing(watch::Receiver<()>);

impl Closing {
    /// Ends when the log is closed: all is written, and the files are free for another to open.
    pub(crate) async fn closed(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// Tells how large a log is, and does not keep it open.
#[derive(Clone)]
pub(crate) struct LogSize(Weak<Shared>);

impl LogSize {
    /// Bytes of its files; 0 of a log that is closed. What is purged goes file by file.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.upgrade().map_or(0, |shared| LogStore { shared }.read().on_disk_size())
    }
}

impl LogStore {
    /// Opens the log in `dir`, making it if there is none, and repairs what a crash may have left at its end.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { what: format!("cannot open the log in {}", dir.display()), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        repair::check_tail(dir)?;
        let text = dir.to_str().ok_or_else(|| Error::DataDir {
            path: dir.to_owned(),
            problem: "the path is not UTF-8; choose another data directory".to_owned(),
        })?;
        let mut config = raft_log::Config::new(text);
        config.log_cache_capacity = Some(CACHE_BYTES);
        config.log_cache_max_items = Some(CACHE_ENTRIES);
        config.wal.chunk_max_size = Some(CHUNK_BYTES);
        config.wal.read_buffer_size = Some(READ_BUFFER_BYTES);
        config.wal.flush_batch_wait = Some(FLUSH_BATCH_WAIT);
        // The check above already cut what may be cut; whatever else is wrong must be refused.
        config.wal.truncate_incomplete_record = Some(false);
        match with_exact_timers(|| RaftLog::open(Arc::new(config))) {
            Ok(log) => Ok(Self {
                shared: Arc::new(Shared { log: RwLock::new(log), syncs: Arc::default(), open: watch::Sender::new(()) }),
            }),
            Err(error) => Err(repair::find_damage(dir).unwrap_or_else(|| failed(error))),
        }
    }

    /// Tells when the log is closed.
    pub(crate) fn closing(&self) -> Closing {
        Closing(self.shared.open.subscribe())
    }

    /// How large it is.
    pub(crate) fn size(&self) -> LogSize {
        LogSize(Arc::downgrade(&self.shared))
    }

    /// How long writes take.
    pub(crate) fn syncs(&self) -> Arc<Syncs> {
        self.shared.syncs.clone()
    }

    /// Whether nothing was ever written: no vote, no entry.
    pub(crate) fn is_pristine(&self) -> bool {
        let log = self.read();
        let state = log.log_state();
        state.vote().is_none() && state.last().is_none() && state.purged().is_none()
    }

    /// The vote that was cast last, or for oneself.
    pub(crate) fn vote(&self) -> Option<Vote> {
        self.read().log_state().vote().map(|vote| vote.0)
    }

    /// The last entry, which a snapshot may hold.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.read().log_state().last().map(|id| id.0)
    }

    /// Whose log this is, as [`Self::set_owner`] wrote it.
    pub(crate) fn owner(&self) -> Option<String> {
        self.read().log_state().user_data.clone()
    }

    /// Writes into the log, durably, whose it is.
    pub(crate) fn set_owner(&self, owner: String) -> io::Result<()> {
        let (tx, rx) = std::sync::mpsc::sync_channel(1);
        {
            let mut log = self.write()?;
            log.save_user_data(Some(owner))?;
            log.flush(true, Some(Callback::Blocking(tx)))?;
        }
        rx.recv().map_err(io::Error::other)?
    }

    /// Last entry that was removed because a snapshot holds it.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.read().log_state().purged().map(|id| id.0)
    }

    /// Begins the empty log of a cluster that starts from a snapshot: everything up to `last` lies in the snapshot.
    pub(crate) fn begin_after(&self, last: LogId, vote: Vote) -> io::Result<()> {
        let (tx, rx) = std::sync::mpsc::sync_channel(1);
        {
            let mut log = self.write()?;
            log.save_vote(Record(vote))?;
            log.purge(Record(last))?;
            log.commit(Record(last))?;
            log.flush(true, Some(Callback::Blocking(tx)))?;
        }
        rx.recv().map_err(io::Error::other)?
    }

    fn read(&self) -> RwLockReadGuard<'_, RaftLog<LogTypes>> {
        self.shared.log.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The log for writing. A panic of an earlier writer may have left memory and file apart: that is an I/O error, which
    /// stops the node.
    fn write(&self) -> io::Result<RwLockWriteGuard<'_, RaftLog<LogTypes>>> {
        self.shared.log.write().map_err(|_| io::Error::other("an earlier write to the log panicked"))
    }

    /// Entries of `start..end`, up to `bytes_max` encoded bytes but at least one if there is one.
    fn entries(&self, start: u64, end: u64, bytes_max: u64) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut next = start;
        while next < end {
            let until = end.min(next.saturating_add(READ_BATCH));
            let before = entries.len();
            let log = self.read();
            for entry in log.read(next, until) {
                let (log_id, payload) = entry?;
                bytes += payload.encoded_len();
                entries.push(Entry { log_id: log_id.0, payload: payload.into_value()? });
                if bytes >= bytes_max {
                    return Ok(entries);
                }
            }
            if entries.len() - before < (until - next) as usize {
                break;
            }
            next = until;
        }
        Ok(entries)
    }
}

/// Makes the timers of the threads that `open` starts exact: a thread inherits the timer slack of its maker, and the kernel's
/// 50 µs would be added to each [`FLUSH_BATCH_WAIT`].
#[cfg(target_os = "linux")]
fn with_exact_timers<T>(open: impl FnOnce() -> T) -> T {
    use rustix::thread::{current_timer_slack, set_current_timer_slack};
    use std::num::NonZeroU64;

    let before = current_timer_slack().ok().and_then(NonZeroU64::new);
    // Where that cannot be set, syncs come a little later, which is no error.
    let _ = set_current_timer_slack(Some(NonZeroU64::MIN));
    let opened = open();
    let _ = set_current_timer_slack(before);
    opened
}

#[cfg(not(target_os = "linux"))]
fn with_exact_timers<T>(open: impl FnOnce() -> T) -> T {
    open()
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(&index) => index,
        Bound::Excluded(&index) => index + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&index) => index + 1,
        Bound::Excluded(&index) => index,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (start, end) = bounds(&range);
        self.entries(start, end, u64::MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.read().log_state().vote().map(|vote| vote.0))
    }

    /// An empty answer to a non-empty range would stall the follower for ever, so the first entry always goes.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let entries = self.entries(start, end, READ_BYTES_MAX)?;
        if entries.is_empty() && start < end {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("log entry {start} is not in the log")));
        }
        Ok(entries)
    }

    /// In pieces: a restart applies thousands of entries, which need not be in memory together.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let log = self.clone();
        let pieces = stream::unfold(start, move |next| {
            let piece = (next < end).then(|| log.entries(next, end, READ_BYTES_MAX));
            async move {
                match piece? {
                    Ok(entries) if entries.is_empty() => None,
                    Ok(entries) => {
                        let after = next + entries.len() as u64;
                        Some((entries.into_iter().map(Ok).collect::<Vec<_>>(), after))
                    }
                    Err(error) => Some((vec![Err(error)], end)),
                }
            }
        });
        Box::pin(futures_util::StreamExt::flat_map(pieces, stream::iter))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let log = self.read();
        let state = log.log_state();
        Ok(LogState { last_purged_log_id: state.purged().map(|id| id.0), last_log_id: state.last().map(|id| id.0) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (tx, rx) = tokio::sync::oneshot::channel();
        {
            let mut log = self.write()?;
            log.save_vote(Record(*vote))?;
            log.flush(true, Some(Callback::Waiting(tx)))?;
        }
        rx.await.map_err(|_| io::Error::other("the flush thread is gone"))?
    }

    /// Goes to the file with the next entries, not by itself: after a crash an older value only means that more is learnt
    /// from the leader again, and the flush thread need not wake for it.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed
            && !is_planted(Bug::AckBeforeWrite)
        {
            self.write()?.commit(Record(committed))?;
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.read().log_state().committed().map(|id| id.0))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries
            .into_iter()
            .map(|entry| Ok((Record(entry.log_id), RecordPayload::new(entry.payload)?)))
            .collect::<io::Result<Vec<_>>>()?;
        let mut log = self.write()?;
        log.append(records)?;
        if is_planted(Bug::AckBeforeWrite) {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        log.flush(
            !is_planted(Bug::AckBeforeFsync),
            Some(Callback::Flushed(callback, Instant::now(), self.shared.syncs.clone())),
        )
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let (tx, rx) = tokio::sync::oneshot::channel();
        {
            let mut log = self.write()?;
            let from = last.map_or(0, |id| id.index + 1);
            let end = log.log_state().last().map_or(0, |id| id.0.index + 1);
            if from >= end {
                return Ok(());
            }
            log.truncate(from)?;
            log.flush(true, Some(Callback::Waiting(tx)))?;
        }
        rx.await.map_err(|_| io::Error::other("the flush thread is gone"))?
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mut log = self.write()?;
        if log.log_state().purged().is_some_and(|purged| purged.0.index >= upto.index) {
            return Ok(());
        }
        log.purge(Record(upto))?;
        log.flush(true, None)
    }
}

#[cfg(test)]
mod tests;
