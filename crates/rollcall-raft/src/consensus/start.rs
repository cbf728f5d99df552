//! From a data directory to a running node.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::storage::RaftLogStorage as _;
use rollcall_catalog::Command;
use rollcall_io::spawn_blocking;
use rollcall_types::NodeId;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::DropGuard;
use tracing::{debug, info, warn};

use super::barrier::{self, WAITERS_MAX};
use super::contact::Contact;
use super::core::Files;
use super::freshness::Found;
use super::propose::{self, PROPOSALS_MAX, jitter};
use super::session::Session;
use super::{Core, Options, RaftStatus, Role, compaction, failover, freshness, status};
use crate::bootstrap::{self, Discovery};
use crate::error::Error;
use crate::identity::{self, DataDir, Identity, Member};
use crate::log_store::LogStore;
use crate::snapshot::{self, Header};
use crate::state_machine::StateMachine;
use crate::transport::acks::Acks;
use crate::transport::handshake::{Secret, Who};
use crate::transport::hub::Hub;
use crate::transport::link::Links;
use crate::transport::message::{AdminRequest, Newcomer};
use crate::transport::network::Networks;
use crate::transport::server;
use crate::types::{LogId, Membership, Raft, SnapshotMeta, StoredMembership, Vote};

/// Between attempts of a learner to get its vote.
const PROMOTE_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait of one such attempt.
const PROMOTE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn start(options: Options) -> Result<Arc<Core>, Error> {
    options.validate()?;
    let data_dir = DataDir::open(&options.data_dir)?;
    let identity = data_dir.identity(&options.peer.name)?;
    if identity.member.is_some() && options.restore_from.is_some() {
        return Err(Error::Options(format!(
            "a snapshot is restored into a new cluster only, and {} belongs to one already",
            data_dir.root().display()
        )));
    }
    if let Some(path) = &options.restore_from {
        check_elsewhere(path, &data_dir)?;
    }
    let newcomer =
        Newcomer { nonce: identity.nonce, peer: options.peer.clone(), expect: options.bootstrap_expect.unwrap_or(0) };
    let who = Who { member: identity.member.as_ref().map(|member| (member.cluster, member.node)) };
    let (discovery, offers) = Discovery::new(newcomer.clone(), identity.member.as_ref());
    let (hub, hints) = Hub::new(Secret::new(&options.secret), who, discovery);
    // Whatever fails from here on, or when the caller gives up, the listener and all tasks stop.
    let guard = hub.shutdown.clone().drop_guard();
    hub.keep("peer listener", server::run(options.listener, hub.clone()));

    // The state is read while the log is: a large one is half of the time it takes to start.
    let machine = identity.member.as_ref().map(|member| open_machine(&data_dir, member));
    let log = blocking({
        let path = data_dir.log();
        move || LogStore::open(&path)
    });
    let started = Instant::now();
    let mut log = log.await?;
    debug!(duration_ms = started.elapsed().as_millis(), "the log is open");
    let member = match identity.member.clone() {
        Some(member) => {
            identity::check_log_owner(&data_dir, &member, log.owner().as_deref())?;
            if !options.join.is_empty() {
                info!(
                    node.id = %member.node,
                    "the data directory belongs to a member of cluster {} already, so nothing is joined", member.cluster
                );
            }
            member
        }
        None => {
            if log.is_pristine() {
                check_no_snapshot(&data_dir)?;
            } else {
                check_only_restored(&data_dir, &log, options.restore_from.is_some())?;
                log = begin_again(&data_dir, log).await?;
            }
            let mut search = bootstrap::Search { hub: &hub, newcomer, join: &options.join, offers };
            let found = search.run().await?;
            let prepare = |member: &Member| {
                if let Some(path) = options.restore_from.as_ref().filter(|_| member.initializer) {
                    restore(path, &data_dir, &log, member)?;
                }
                log.set_owner(member.log_owner()).map_err(Error::io("cannot write to the new log"))
            };
            adopt(&data_dir, &identity, found, prepare)?
        }
    };
    hub.who.store(Arc::new(Who { member: Some((member.cluster, member.node)) }));
    hub.discovery.note_member(&member);
    let machine = match machine {
        Some(machine) => machine.await?,
        None => open_machine(&data_dir, &member).await?,
    };
    debug!(duration_ms = started.elapsed().as_millis(), "the state is read");
    run(options.timers, hub, guard, hints, data_dir, member, options.peer.observer, log, machine).await
}

/// Makes the node a member, durably, and tells whoever waits for that.
fn adopt(
    data_dir: &DataDir,
    identity: &Identity,
    found: bootstrap::Found,
    prepare: impl FnOnce(&Member) -> Result<(), Error>,
) -> Result<Member, Error> {
    prepare(&found.member)?;
    let identity = Identity { member: Some(found.member.clone()), ..identity.clone() };
    data_dir.save(&identity)?;
    info!(
        node.id = %found.member.node,
        "'{}' is node {} of cluster {}", identity.name, found.member.node, found.member.cluster
    );
    if let Some(agreed) = found.agreed {
        // An initializer that is gone asks again.
        let _ = agreed.send(());
    }
    Ok(found.member)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let done = spawn_blocking(work).await;
    done.map_err(|error| Error::Io { what: "opening the data directory".to_owned(), source: error.into() })?
}

fn open_machine(
    data_dir: &DataDir,
    member: &Member,
) -> impl Future<Output = Result<StateMachine, Error>> + Send + use<> {
    let (path, cluster) = (data_dir.snapshots(), member.cluster);
    let opening = spawn_blocking(move || StateMachine::open(&path, cluster));
    async move {
        let opened = opening.await;
        opened.map_err(|error| Error::Io { what: "opening the snapshots".to_owned(), source: error.into() })?
    }
}

/// A restore that is stopped is cleared away and begun again: what it restores must not be among it.
fn check_elsewhere(file: &Path, data_dir: &DataDir) -> Result<(), Error> {
    // A file that is not there is told of by who reads it.
    let (Ok(file), Ok(root)) = (file.canonicalize(), data_dir.root().canonicalize()) else { return Ok(()) };
    if !file.starts_with(&root) {
        return Ok(());
    }
    let (file, root) = (file.display(), root.display());
    Err(Error::Options(format!(
        "{file} lies in the data directory that it would be restored into, {root}; copy it elsewhere, and restore into an empty one"
    )))
}

/// Snapshots without a log and of no member may be the last copy of somebody's data: they are not touched.
fn check_no_snapshot(data_dir: &DataDir) -> Result<(), Error> {
    let path = data_dir.snapshots();
    let held = std::fs::read_dir(&path).ok().is_some_and(|mut entries| entries.next().is_some());
    if !held {
        return Ok(());
    }
    let problem = "there are snapshots, but no log that they belong to; move them away, and to begin with one of them give it as \
                   the snapshot to restore";
    Err(Error::DataDir { path, problem: problem.to_owned() })
}

/// Refuses the log of a member beside an identity of none, and what a restore left when none is wanted.
fn check_only_restored(data_dir: &DataDir, log: &LogStore, is_restore: bool) -> Result<(), Error> {
    let problem = match (is_only_restored(log), is_restore) {
        (true, true) => return Ok(()),
        (true, false) => {
            "a restore into it was stopped before its end; give the snapshot to restore again, or empty the directory"
                .to_owned()
        }
        (false, _) => format!(
            "a member voted or wrote with this log, but {} beside it is of no member yet, so it is an older copy; put back the \
             one that belongs to the log, or move the directory away, remove the node from the cluster, and join again as a \
             new node",
            identity::FILE
        ),
    };
    Err(Error::DataDir { path: data_dir.root().to_owned(), problem })
}

/// Clears away what a restore left that was stopped before its node was a member. Nobody was told of that cluster, and the
/// snapshot that was restored lies elsewhere. The log goes last: as long as it is there, the next start comes here again.
async fn begin_again(data_dir: &DataDir, log: LogStore) -> Result<LogStore, Error> {
    info!("a restore into {} was stopped before its end, and begins again", data_dir.root().display());
    let closing = log.closing();
    drop(log);
    closing.closed().await;
    let (snapshots, path) = (data_dir.snapshots(), data_dir.log());
    blocking(move || {
        for folder in [&snapshots, &path] {
            match std::fs::remove_dir_all(folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("cannot remove {}", folder.display()))(error));
                }
                _ => {}
            }
        }
        LogStore::open(&path)
    })
    .await
}

/// Whether a log holds only what [`restore`] wrote: no member ran with it, so no vote and no entry is lost with it. A member's log
/// has an owner; one that was restored and given an owner, but never ran, has the vote of the restore and ends in the snapshot.
pub(super) fn is_only_restored(log: &LogStore) -> bool {
    let (last, vote) = (log.last(), log.vote());
    let has_entries = last != log.purged();
    let has_led_or_followed = vote.is_some_and(|vote| vote.committed);
    let has_voted = || last.zip(vote).is_none_or(|(last, vote)| vote.leader_id.term != last.leader_id.term);
    !has_entries && !has_led_or_followed && (log.owner().is_none() || !has_voted())
}

/// Lays the state of a snapshot under an empty log, as if this cluster had come that far.
pub(super) fn restore(path: &Path, data_dir: &DataDir, log: &LogStore, member: &Member) -> Result<(), Error> {
    let (_, catalog, info) = snapshot::load(path, snapshot::Check::Digest)?;
    let last = LogId::new_term_index(info.term.max(1), info.index.max(1));
    let voters = member.founders.iter().map(|founder| founder.node.get()).collect();
    let nodes = founders(member);
    let membership = Membership::new(vec![voters], nodes).map_err(|error| Error::Options(error.to_string()))?;
    let meta = SnapshotMeta { last_log_id: Some(last), last_membership: StoredMembership::new(Some(last), membership) };
    let header = Header { cluster: member.cluster, meta };
    let dir = data_dir.snapshots();
    std::fs::create_dir_all(&dir).map_err(Error::io(format!("cannot make {}", dir.display())))?;
    let name = format!("snapshot-{:020}-{:020}.snap", last.index, last.leader_id.term);
    // First the log: whoever finds the snapshot of a restore that did not end finds by the log that it was one.
    log.begin_after(last, Vote::new(last.leader_id.term, member.node.get()))
        .map_err(Error::io("cannot begin the log after the snapshot"))?;
    snapshot::write(&dir.join(name), &header, &catalog)?;
    info!(raft.index = info.index, "restored {} records from {}", info.records, path.display());
    Ok(())
}

fn founders(member: &Member) -> BTreeMap<u64, crate::PeerNode> {
    member.founders.iter().map(|founder| (founder.node.get(), founder.peer.clone())).collect()
}

#[expect(clippy::too_many_arguments, reason = "the parts of a node meet here, once")]
async fn run(
    timers: super::Timers,
    hub: Arc<Hub>,
    guard: DropGuard,
    hints: mpsc::Receiver<NodeId>,
    data_dir: DataDir,
    member: Member,
    is_observer: bool,
    mut log: LogStore,
    mut machine: StateMachine,
) -> Result<Arc<Core>, Error> {
    check_reach(&log, &machine, &data_dir)?;
    machine.replay_until(log.read_committed().await.map_err(Error::io("cannot read how far the log is committed"))?);
    let config = timers.config(member.cluster.to_string())?;
    let links = Arc::new(Links::default());
    let (view, snapshots) = (machine.view(), machine.snapshots());
    let files = Files { log: log.closing(), _data_dir: data_dir };
    let (syncs, log_size) = (log.syncs(), log.size());
    let acks = Arc::new(Acks::default());
    let networks = Networks { hub: hub.clone(), links: links.clone(), acks: acks.clone() };
    let raft = Raft::new(member.node.get(), config, networks, log, machine).await;
    let raft = raft.map_err(|fatal| Error::StorageFailed(fatal.to_string()))?;
    debug!("the log is replayed");

    let (forwards, forward_queue) = mpsc::channel(PROPOSALS_MAX);
    let (barriers, barrier_queue) = mpsc::channel(WAITERS_MAX);
    let name = hub.discovery.name().clone();
    let core = Arc::new(Core {
        node: member.node,
        cluster: member.cluster,
        name,
        view,
        snapshots,
        links,
        acks,
        snapshot_slot: Semaphore::new(1),
        server: raft.server_metrics(),
        data: raft.data_metrics(),
        status: watch::Sender::new(empty_status(&member)),
        session: Mutex::new(Session::new(member.node)),
        proposals: Semaphore::new(PROPOSALS_MAX),
        forwards,
        barriers,
        is_removed: AtomicBool::new(false),
        has_caught_up: AtomicBool::new(false),
        has_stopped: AtomicBool::new(false),
        contact: Contact::default(),
        found: Found::nothing(),
        started: Instant::now(),
        syncs,
        log_size,
        files: Mutex::new(Some(files)),
        raft,
        hub: hub.clone(),
    });
    hub.core.store(Some(core.clone()));
    hub.spawn("status", status::follow(core.clone()));
    hub.keep("removal watch", status::watch_removal(core.clone()));
    hub.keep("forwarder", propose::forward_all(core.clone(), forward_queue));
    hub.keep("compaction", compaction::run(core.clone()));
    hub.keep("freshness", freshness::run(core.clone(), timers.heartbeat_interval));
    hub.keep("read barrier", barrier::run(core.clone(), barrier_queue));
    hub.keep("failover", failover::run(core.clone(), hints));
    if member.initializer {
        hub.spawn("founding", bootstrap::call_founders(hub.clone(), member.clone()));
        initialize(&core, &member).await?;
    } else if !is_observer {
        hub.spawn("promotion", seek_vote(core.clone()));
    }
    // From here on `Consensus::shutdown` stops the node, not the end of this function.
    guard.disarm();
    Ok(core)
}

fn empty_status(member: &Member) -> RaftStatus {
    RaftStatus {
        cluster_id: member.cluster,
        node: member.node,
        role: Role::Learner,
        term: 0,
        leader: None,
        last_log_index: 0,
        commit_index: 0,
        applied_index: 0,
        snapshot_index: 0,
        purged_index: 0,
        voters: BTreeMap::new(),
        learners: BTreeMap::new(),
        followers: Vec::new(),
        contact_age: None,
        is_removed: false,
    }
}

/// The log must reach back to the state: entries between them would be lost for good.
fn check_reach(log: &LogStore, machine: &StateMachine, data_dir: &DataDir) -> Result<(), Error> {
    let purged = log.purged();
    if purged <= machine.last_applied() {
        return Ok(());
    }
    let [purged, applied] = [purged, machine.last_applied()].map(|id| id.map_or(0, |id| id.index));
    Err(Error::DataDir {
        path: data_dir.snapshots(),
        problem: format!(
            "the newest usable snapshot ends at {applied}, but the log begins after {purged}; move the data directory away, \
             remove this node from the cluster, and join again as a new node"
        ),
    })
}

/// Founds the cluster, or goes on founding it after a crash.
async fn initialize(core: &Arc<Core>, member: &Member) -> Result<(), Error> {
    let is_initialized = core.raft.is_initialized().await.map_err(|fatal| core.fatal(&fatal))?;
    if !is_initialized && let Err(error) = core.raft.initialize(founders(member)).await {
        // Another founder's vote may come first only if the log has entries already, which is as good.
        warn!(error = %error, "founding the cluster: {error}");
    }
    let core = core.clone();
    let founded: Vec<_> = member.founders.iter().map(|founder| founder.node).collect();
    core.hub.clone().spawn("restored names", async move { forget_strangers(&core, &founded).await });
    Ok(())
}

/// A restored catalogue knows the nodes of the cluster it comes from; their names must be free here.
async fn forget_strangers(core: &Core, founded: &[NodeId]) {
    let mut server = core.server.clone();
    while server.borrow_and_update().current_leader != Some(core.node.get()) {
        if server.changed().await.is_err() {
            return;
        }
    }
    let catalog = core.catalog();
    let strangers = catalog.nodes().map(|(node, _)| *node).filter(|node| core.member(*node).is_none());
    for node in strangers.filter(|node| !founded.contains(node)).collect::<Vec<_>>() {
        if core.command(Command::ForgetNode { node }).await.is_err() {
            warn!(peer.id = %node, "the name of node {node} of the restored cluster is not free yet");
        }
    }
}

/// Asks for a vote until this node has one.
async fn seek_vote(core: Arc<Core>) {
    loop {
        let is_voter = core.server.borrow_watched().membership_config.voter_ids().any(|voter| voter == core.node.get());
        if is_voter {
            return;
        }
        if core.is_caught_up() {
            let deadline = Instant::now() + PROMOTE_TIMEOUT;
            match core.admin(AdminRequest::Promote { node: core.node }, deadline).await {
                Ok(()) => return,
                Err(Error::NotAMember(_) | Error::Removed) => return core.note_removed(),
                // The leader says why on its side; here it is a matter of time.
                Err(_) => {}
            }
        }
        sleep(jitter(PROMOTE_PAUSE)).await;
    }
}
