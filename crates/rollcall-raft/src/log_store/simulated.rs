//! The log and the vote of a simulated node: in memory, with what a disk may lose.
//!
//! Stands in for the log on disk when the crate is built with `--cfg rollcall_simulation`, since raft-log syncs on a thread, and
//! a thread knows neither simulated time nor the seed. A write is seen at once by who reads and is done some milliseconds
//! later, in order, and all that wait are done together. A node that crashes keeps what was done, and of what was under way the
//! first writes, as many as chance decides when the log is opened again: votes and entries share one sequence here, too.
//!
//! Entries are kept encoded, so that the codec is part of the simulation.
//!
//! Limits: no torn record, no damage and no full disk; those are tried on files (`repair`) and by `jepsen-lite`.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::{Stream, stream};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use rand::RngExt as _;
use tokio::sync::{oneshot, watch};

#[path = "syncs.rs"]
#[expect(dead_code, reason = "no write of a simulated disk fails")]
mod syncs;

pub(crate) use self::syncs::Syncs;
use crate::codec::{self, Kind};
use crate::error::Error;
use crate::planted::{Bug, is_planted};
use crate::types::{Entry, LogId, Payload, TypeConfig, Vote};

/// How long a sync takes, in microseconds.
const SYNC_MICROS: std::ops::Range<u64> = 200..4_000;
/// One sync in so many takes as long as on a disk that is busy with something else.
const SLOW_SYNC_ONE_IN: u32 = 200;
const SLOW_SYNC_MICROS: std::ops::Range<u64> = 20_000..300_000;
/// Most encoded bytes of entries handed out at once, as on a real disk.
const READ_BYTES_MAX: u64 = 2 << 20;
/// Makes the directory look as one that holds a log does.
const MARK: &str = "simulated.wal";

/// The disks of all nodes of this process, by the directory of the log. They outlive their nodes.
static DISKS: Mutex<BTreeMap<PathBuf, Arc<Mutex<Disk>>>> = Mutex::new(BTreeMap::new());

/// What a node has in its log: term and checksum of each entry, by index.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Highest index that the node noted as committed.
    pub committed: u64,
    /// As the node reads it.
    pub seen: BTreeMap<u64, (u64, u32)>,
    /// What it keeps if it crashes now.
    pub done: BTreeMap<u64, (u64, u32)>,
}

/// The logs of all nodes of this process, by data directory.
pub fn disks() -> BTreeMap<PathBuf, Logged> {
    let disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner);
    let looked = disks.iter().map(|(dir, disk)| {
        let disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
        let [seen, done] = [&disk.seen, &disk.done].map(|content| {
            let entries = content.entries.iter();
            entries.map(|(index, (id, bytes))| (*index, (id.leader_id.term, crc32fast::hash(bytes)))).collect()
        });
        let logged = Logged { committed: disk.seen.committed.map_or(0, |id| id.index), seen, done };
        (dir.parent().unwrap_or(dir).to_owned(), logged)
    });
    looked.collect()
}

#[derive(Debug, Clone, Default)]
struct Content {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    owner: Option<String>,
    entries: BTreeMap<u64, (LogId, Arc<[u8]>)>,
}

#[derive(Debug, Clone)]
enum Write {
    Vote(Vote),
    Committed(LogId),
    Entry(LogId, Arc<[u8]>),
    TruncateFrom(u64),
    Purge(LogId),
}

impl Content {
    fn apply(&mut self, write: Write) {
        match write {
            Write::Vote(vote) => self.vote = Some(vote),
            Write::Committed(id) => self.committed = Some(id),
            Write::Entry(id, bytes) => drop(self.entries.insert(id.index, (id, bytes))),
            Write::TruncateFrom(index) => drop(self.entries.split_off(&index)),
            Write::Purge(id) => {
                self.entries = self.entries.split_off(&(id.index + 1));
                self.purged = Some(id);
            }
        }
    }

    fn last(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, (id, _))| *id).or(self.purged)
    }
}

/// Whom to tell when a write is done.
enum Done {
    Flushed(IOFlushed<TypeConfig>, Instant),
    Waiting(oneshot::Sender<()>),
}

#[derive(Default)]
struct Disk {
    /// What survives a crash.
    done: Content,
    /// What who reads sees.
    seen: Content,
    under_way: VecDeque<(Write, Option<Done>)>,
    is_syncing: bool,
}

impl Disk {
    /// The disk as a node finds it that starts after a crash.
    fn after_crash(&mut self) -> Self {
        let mut done = std::mem::take(&mut self.done);
        let kept = rand::rng().random_range(0..=self.under_way.len());
        self.under_way.drain(..).take(kept).for_each(|(write, _)| done.apply(write));
        Self { seen: done.clone(), done, ..Self::default() }
    }

    fn write(&mut self, write: Write, done: Option<Done>) {
        self.seen.apply(write.clone());
        self.under_way.push_back((write, done));
    }
}

/// The log. Clones are the same log; the last one to go closes it.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<Mutex<Disk>>,
    syncs: Arc<Syncs>,
    open: watch::Sender<()>,
}

/// Waits for the end of a log.
#[derive(Debug)]
pub(crate) struct Closing(watch::Receiver<()>);

impl Closing {
    /// Ends when the log is closed.
    pub(crate) async fn closed(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// Tells how large a log is, and does not keep it open.
#[derive(Clone)]
pub(crate) struct LogSize(Weak<Shared>);

impl LogSize {
    /// Bytes of its entries; 0 of a log that is closed.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.upgrade().map_or(0, |shared| {
            let log = LogStore { shared };
            log.disk().seen.entries.values().map(|(_, bytes)| bytes.len() as u64).sum()
        })
    }
}

impl LogStore {
    /// Opens the log in `dir` as a crash left it, or makes one.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { what: format!("cannot open the log in {}", dir.display()), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        // A directory that was removed and made anew has lost what was in it.
        let is_there = dir.join(MARK).exists();
        std::fs::write(dir.join(MARK), "").map_err(failed)?;
        let mut disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner);
        let before = disks.remove(dir).filter(|_| is_there);
        let disk = before.map(|disk| disk.lock().unwrap_or_else(PoisonError::into_inner).after_crash());
        let disk = Arc::new(Mutex::new(disk.unwrap_or_default()));
        disks.insert(dir.to_owned(), disk.clone());
        Ok(Self { shared: Arc::new(Shared { disk, syncs: Arc::default(), open: watch::Sender::new(()) }) })
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
        let disk = self.disk();
        disk.seen.vote.is_none() && disk.seen.last().is_none()
    }

    /// Whose log this is, as [`Self::set_owner`] wrote it.
    pub(crate) fn owner(&self) -> Option<String> {
        self.disk().seen.owner.clone()
    }

    /// Writes into the log, durably, whose it is.
    pub(crate) fn set_owner(&self, owner: String) -> io::Result<()> {
        let mut disk = self.disk();
        disk.done.owner = Some(owner.clone());
        disk.seen.owner = Some(owner);
        Ok(())
    }

    /// The vote that was cast last, or for oneself.
    pub(crate) fn vote(&self) -> Option<Vote> {
        self.disk().seen.vote
    }

    /// The last entry, which a snapshot may hold.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.disk().seen.last()
    }

    /// Last entry that was removed because a snapshot holds it.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.disk().seen.purged
    }

    /// Begins the empty log of a cluster that starts from a snapshot.
    pub(crate) fn begin_after(&self, last: LogId, vote: Vote) -> io::Result<()> {
        let mut disk = self.disk();
        for write in [Write::Vote(vote), Write::Purge(last), Write::Committed(last)] {
            disk.done.apply(write.clone());
            disk.seen.apply(write);
        }
        Ok(())
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.shared.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that all that is under way is done.
    fn sync(&self, disk: &mut Disk) {
        if !disk.is_syncing {
            disk.is_syncing = true;
            tokio::spawn(self.clone().sync_all());
        }
    }

    async fn sync_all(self) {
        loop {
            let count = {
                let mut disk = self.disk();
                disk.is_syncing = !disk.under_way.is_empty();
                disk.under_way.len()
            };
            if count == 0 {
                return;
            }
            tokio::time::sleep(sync_time()).await;
            let told: Vec<Done> = {
                let mut disk = self.disk();
                let writes: Vec<_> = disk.under_way.drain(..count).collect();
                let told = writes.into_iter().filter_map(|(write, told)| {
                    disk.done.apply(write);
                    told
                });
                told.collect()
            };
            for done in told {
                match done {
                    Done::Flushed(callback, since) => {
                        self.shared.syncs.done(since.elapsed());
                        callback.io_completed(Ok(()));
                    }
                    // A receiver that is gone does not wait any more.
                    Done::Waiting(tx) => drop(tx.send(())),
                }
            }
        }
    }

    /// Does a write and waits until it is done.
    async fn write_and_wait(&self, write: Write) -> io::Result<()> {
        let (tx, rx) = oneshot::channel();
        {
            let mut disk = self.disk();
            disk.write(write, Some(Done::Waiting(tx)));
            self.sync(&mut disk);
        }
        rx.await.map_err(|_| io::Error::other("the disk is gone"))
    }

    /// Entries of `start..end`, up to `bytes_max` encoded bytes but at least one if there is one.
    fn entries(&self, start: u64, end: u64, bytes_max: u64) -> io::Result<Vec<Entry>> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        if start >= end {
            return Ok(entries);
        }
        for (id, payload) in self.disk().seen.entries.range(start..end).map(|(_, entry)| entry) {
            bytes += payload.len() as u64;
            let payload: Payload = codec::decode(Kind::Payload, payload)?;
            entries.push(Entry { log_id: *id, payload });
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(entries)
    }
}

fn sync_time() -> Duration {
    let mut rng = rand::rng();
    let micros = if rng.random_ratio(1, SLOW_SYNC_ONE_IN) { SLOW_SYNC_MICROS } else { SYNC_MICROS };
    Duration::from_micros(rng.random_range(micros))
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
        Ok(self.disk().seen.vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let entries = self.entries(start, end, READ_BYTES_MAX)?;
        if entries.is_empty() && start < end {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("log entry {start} is not in the log")));
        }
        Ok(entries)
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let entries = self.entries(start, end, u64::MAX);
        let items: Vec<_> = match entries {
            Ok(entries) => entries.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        Box::pin(stream::iter(items))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let disk = self.disk();
        Ok(LogState { last_purged_log_id: disk.seen.purged, last_log_id: disk.seen.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.write_and_wait(Write::Vote(*vote)).await
    }

    /// Reaches the disk with the next entries, not by itself, as in the log on disk.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.disk().write(Write::Committed(committed), None);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.disk().seen.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let encoded = entries.into_iter().map(|entry| {
            let bytes = codec::encode(Kind::Payload, &entry.payload)?;
            Ok(Write::Entry(entry.log_id, bytes.into()))
        });
        let mut writes = encoded.collect::<io::Result<Vec<_>>>()?;
        let Some(last) = writes.pop() else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let mut disk = self.disk();
        writes.into_iter().for_each(|write| disk.write(write, None));
        let done = if is_planted(Bug::AckBeforeFsync) {
            callback.io_completed(Ok(()));
            None
        } else {
            Some(Done::Flushed(callback, Instant::now()))
        };
        disk.write(last, done);
        self.sync(&mut disk);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |id| id.index + 1);
        if self.disk().seen.last().is_none_or(|id| id.index < from) {
            return Ok(());
        }
        self.write_and_wait(Write::TruncateFrom(from)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mut disk = self.disk();
        if disk.seen.purged.is_none_or(|purged| purged.index < upto.index) {
            disk.write(Write::Purge(upto), None);
            self.sync(&mut disk);
        }
        Ok(())
    }
}
