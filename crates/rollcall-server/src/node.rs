//! The life of a node, from configuration to a clean stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rollcall_io::TcpListener;
use rollcall_raft::{self as raft, Consensus};
use rollcall_types::NodeName;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::app::App;
use crate::config::{ConfigError, NodeConfig};
use crate::connections::Limits;
use crate::consul;
use crate::dns;
use crate::gossip;
use crate::health::Health;
use crate::health::summary::Summaries;
use crate::http::Router;
use crate::http::body::BodyMemory;
use crate::http::listener::serve;
use crate::locks::Steward;
use crate::pinned::Pinned;
use crate::probe::{self, Prober};
use crate::prospects::{self, Prospects};
use crate::quarantines::Releaser;
use crate::reports::Reports;
use crate::selection::Selector;
use crate::telemetry;
use crate::vitals::{self, Vitals};
use crate::watch::Hub;

/// How long running requests may go on after the node was told to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// File descriptors kept for the log, snapshots, peers and whatever else is not a client; a quarter of few. 100 nodes need
/// 600 for peers.
const DESCRIPTORS_RESERVED: usize = 1_024;
/// What nodes prove to each other when no secret is set, which [`NodeConfig::validate`] allows on loopback only.
const LOOPBACK_SECRET: &[u8] = b"rollcall-on-loopback-without-a-secret";

/// Why a node could not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port is taken or not allowed.
    #[error("cannot listen on {address} (key `{key}`): another process may have it; give another address")]
    Bind {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The keys of gossip.
    #[error(transparent)]
    GossipKey(#[from] rollcall_gossip::KeyError),
    /// The address to advertise for gossip has no meaning here.
    #[error("advertise-gossip: {name} cannot be resolved: {problem}")]
    Advertise {
        /// What was to be resolved.
        name: String,
        /// What the resolver said.
        problem: String,
    },
    /// Gossip could not start, or broke.
    #[error(transparent)]
    Gossip(#[from] rollcall_gossip::Error),
    /// The task that looks at instances ended.
    #[error("the health task ended: {0}")]
    HealthLost(String),
    /// The log, the snapshots, the peers or the membership.
    #[error(transparent)]
    Raft(#[from] raft::Error),
    /// SIGHUP cannot be listened for.
    #[error("cannot listen for SIGHUP")]
    Signal(#[source] io::Error),
    /// The metrics recorder.
    #[error("cannot install the metrics recorder")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

impl Error {
    /// Whether the cluster removed this node, so that starting it again cannot help.
    pub fn is_removal(&self) -> bool {
        matches!(self, Self::Raft(raft::Error::Removed))
    }
}

/// Runs one node until `shutdown` resolves, it is told to leave, or it cannot trust its disk any more.
///
/// # Errors
/// [`Error`] when the node cannot start, or had to stop by itself.
pub async fn run(config: NodeConfig, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    config.validate()?;
    // From here on SIGHUP means "read the keys again", and no longer "end", also while the node waits for its peers.
    let hangups = signal(SignalKind::hangup()).map_err(Error::Signal)?;
    let metrics = telemetry::install()?;
    let name = config.name.clone().unwrap_or_else(host_name);
    [&config.secret_file, &config.gossip_key_file].into_iter().flatten().for_each(|path| warn_if_open_to_others(path));
    let prober = Prober::new(probe::Options::of(&config)?);
    let listener = bind("http", config.http).await?;
    let peers = bind("peer", config.peer).await?;
    let names = match config.dns.listen {
        Some(address) => Some(bound("dns.listen", address, dns::Sockets::bind(address).await)?),
        None => None,
    };
    let consul_listener = match config.consul.listen {
        Some(address) => Some(bind("consul.listen", address).await?),
        None => None,
    };
    let gossip_parts = gossip::prepare(&config).await?;
    info!(node.id = %name, "node {name} serves HTTP on {}", config.http);

    // HTTP answers from the start, so that whoever supervises the node can tell "waits for its peers" from "hangs".
    let stop = CancellationToken::new();
    let router = Router::starting(&config.public_http());
    let consul_router = consul::Router::starting(&config.public_http());
    let limits = limits(&config);
    let http = tokio::spawn(serve_clients(
        serve(listener, router.clone(), limits, stop.clone(), DRAIN),
        consul_listener.map(|listener| serve(listener, consul_router.clone(), limits, stop.clone(), DRAIN)),
    ));

    let mut shutdown = std::pin::pin!(shutdown);
    let started = tokio::select! {
        started = Consensus::start(raft_options(&config, &name, peers)) => started,
        () = shutdown.as_mut() => {
            stop.cancel();
            join("http", http).await;
            return Ok(());
        }
    };
    let consensus = match started {
        Ok(consensus) => consensus,
        Err(error) => {
            stop.cancel();
            join("http", http).await;
            return Err(error.into());
        }
    };

    let gossip = match gossip::start(&config, &name, &consensus, gossip_parts).await {
        Ok(gossip) => gossip,
        Err(error) => {
            stop.cancel();
            join("http", http).await;
            consensus.shutdown().await;
            return Err(error);
        }
    };
    let followers = TaskTracker::new();
    followers.spawn(gossip::follow_members(consensus.clone(), gossip.clone(), stop.clone()));
    followers.spawn(gossip::reload_keys(hangups, config.gossip_key_file.clone(), gossip.clone(), stop.clone()));
    followers.spawn(prober.clone().tidy(stop.clone()));
    followers.spawn(telemetry::tidy(metrics.clone(), stop.clone()));

    // The configuration was checked, so this is what it says.
    let forecast = config.forecast.options().unwrap_or_default();
    let (health, mut health_task) =
        Health::start(name.clone(), consensus.clone(), gossip.clone(), prober, forecast, stop.clone());

    let steward = Steward {
        me: name.clone(),
        consensus: consensus.clone(),
        gossip: gossip.clone(),
        health: health.reader().clone(),
    };
    followers.spawn(steward.run(stop.clone()));
    let releaser = Releaser { me: name.clone(), consensus: consensus.clone() };
    followers.spawn(releaser.run(stop.clone()));

    let vitals = Vitals::default();
    followers.spawn(vitals.clone().run(vitals::Parts {
        consensus: consensus.clone(),
        gossip: gossip.clone(),
        data_dir: config.data_dir.clone(),
        election_timeout_min: raft::Timers::default().election_timeout_min,
        forecast,
        stop: stop.clone(),
    }));

    let prospects = Prospects::new();
    let sources =
        prospects::Sources { consensus: consensus.clone(), health: health.reader().clone(), vitals: vitals.clone() };
    followers.spawn(prospects.clone().run(sources, stop.clone()));

    let key = config.secret.as_ref().map_or(LOOPBACK_SECRET, |secret| secret.as_bytes());
    let (reports, reports_task) = Reports::start(consensus.clone(), gossip.clone(), key, stop.clone());
    let selector = Selector::new(health.reader().clone(), gossip.clone(), Arc::new(reports.reader().clone()));
    if let Some(names) = names {
        let live = dns::Live::new(consensus.clone(), health.reader().clone(), selector.clone());
        followers.spawn(names.serve(config.dns.clone(), name.clone(), live, stop.clone()));
    }

    remove_downloads(&config.data_dir);
    let hub = Hub::new(config.watches_max);
    let hub_task = hub.follow(consensus.clone(), stop.clone());
    let wakes = consul::Wakes::new();
    followers.spawn(wakes.clone().follow(consensus.clone(), gossip.clone(), stop.clone()));
    let layer = consul::Layer {
        datacenter: config.consul.datacenter.clone(),
        legacy_get: config.consul.legacy_get,
        wakes,
        ids: consul::Ids::default(),
        roles: consensus.status_changes(),
        members: consul::NodesReader::default(),
        kept: consul::Kept::default(),
        large: consul::AnswerMemory::default(),
    };
    let app = Arc::new(App {
        name,
        data_dir: config.data_dir.clone(),
        consensus: consensus.clone(),
        gossip: gossip.clone(),
        targets: config.probe.policy(config.is_on_loopback()),
        health,
        vitals,
        prospects,
        reports,
        hub,
        summaries: Summaries::default(),
        selector,
        pinned: Pinned::default(),
        downloads: Arc::new(Semaphore::new(1)),
        graphs: Arc::new(Semaphore::new(1)),
        bodies: BodyMemory::default(),
        metrics,
        shutdown: stop.clone(),
        fault_injection: config.fault_injection,
    });
    // In this order: a node that says that it is ready answers on all its ports.
    consul_router.start(app.clone(), Arc::new(layer));
    router.start(app);

    let ended = tokio::select! {
        // In this order: what was told to stop ends its tasks, and that is no fault of theirs.
        biased;
        () = shutdown => Ok(()),
        () = stop.cancelled() => Ok(()),
        error = consensus.failed() => Err(Error::from(error)),
        error = gossip.failed() => Err(Error::from(error)),
        ended = &mut health_task => Err(Error::HealthLost(ended.err().map_or_else(String::new, |panic| panic.to_string()))),
    };
    if let Err(error) = &ended {
        error!(%error, "the node stops: {error}");
    }
    stop.cancel();
    join("http", http).await;
    join("watches", hub_task).await;
    join("reports", reports_task).await;
    if !health_task.is_finished() {
        join("health", health_task).await;
    }
    let farewell = async {
        // A node that stops because something broke does not say goodbye: the others shall see it die.
        if ended.is_ok() {
            gossip.leave().await;
        }
    };
    tokio::join!(farewell, consensus.shutdown());
    gossip.shutdown().await;
    followers.close();
    followers.wait().await;
    info!("node stopped");
    ended
}

/// Removes what a node that was killed during a snapshot download left in its data directory.
fn remove_downloads(data_dir: &Path) {
    let Ok(entries) = std::fs::read_dir(data_dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("download-")
            && name.ends_with(".tmp")
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            warn!(%error, "cannot remove {}: {error}", entry.path().display());
        }
    }
}

async fn join(task: &str, handle: tokio::task::JoinHandle<()>) {
    if let Err(error) = handle.await {
        error!(%error, "task {task} ended badly: {error}");
    }
}

/// The host's name as far as it is a node name: what stands before the first dot.
pub(crate) fn host_name() -> NodeName {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let short = name.split('.').next().unwrap_or_default();
    NodeName::try_from(short).unwrap_or_else(|_| NodeName::try_from("node").expect("`node` is a node name"))
}

/// Every connection is a file descriptor, and the usual soft limit (1024) is far below the node's caps.
/// Says when others than the owner may read a file with a secret.
fn warn_if_open_to_others(path: &Path) {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        warn!("{} holds a secret and has mode {:o}: chmod 600 keeps others from it", path.display(), mode & 0o777);
    }
}

/// Raises the limit of open files as far as this process may; the limit then, `None` when there is none.
fn raise_descriptor_limit() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..before }) {
        Ok(()) => before.maximum,
        Err(error) => {
            warn!(%error, "cannot raise the limit of open files: {error}");
            before.current
        }
    }
}

/// As many client connections as the limit of open files has room for: clients must not keep the log from its files.
fn affordable(connections_max: usize, descriptors: Option<u64>) -> usize {
    let room = descriptors.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let room = room - DESCRIPTORS_RESERVED.min(room / 4);
    if room < connections_max {
        info!(
            "at most {room} client connections instead of {connections_max}: the limit of open files leaves no more; raise \
             it (ulimit -n, LimitNOFILE=)"
        );
    }
    room.min(connections_max)
}

/// The caps of one listener for clients: those that are configured, as far as the limit of open files has room for all.
fn limits(config: &NodeConfig) -> Limits {
    let listeners = 1 + usize::from(config.consul.listen.is_some());
    let wanted = config.http_connections_max.saturating_mul(listeners);
    Limits {
        connections_max: affordable(wanted, raise_descriptor_limit()) / listeners,
        per_address_max: config.http_connections_per_address_max,
    }
}

/// Serves both APIs until both are done.
async fn serve_clients(http: impl Future<Output = ()>, consul: Option<impl Future<Output = ()>>) {
    let consul = async {
        if let Some(consul) = consul {
            consul.await;
        }
    };
    tokio::join!(http, consul);
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    bound(key, address, TcpListener::bind(address).await)
}

fn bound<T>(key: &'static str, address: SocketAddr, bound: io::Result<T>) -> Result<T, Error> {
    bound.map_err(|source| Error::Bind { key, address, source })
}

/// What the consensus is told, of what the node was told.
fn raft_options(config: &NodeConfig, name: &NodeName, listener: TcpListener) -> raft::Options {
    let secret = config.secret.as_ref().map_or_else(
        || {
            warn!(
                "no secret is set: every program on this machine can pose as a node; make one with `rollcall keygen`"
            );
            LOOPBACK_SECRET.to_vec()
        },
        |secret| secret.as_bytes().to_vec(),
    );
    raft::Options {
        data_dir: config.data_dir.clone(),
        listener,
        peer: raft::PeerNode {
            name: name.clone(),
            peer_addr: config.public_peer(),
            http_addr: config.public_http(),
            gossip_addr: config.public_gossip(),
            zone: config.zone.as_ref().map(ToString::to_string),
            observer: config.observer,
        },
        join: config.join.clone(),
        bootstrap_expect: config.bootstrap_expect,
        secret,
        restore_from: config.restore.clone(),
        timers: raft::Timers::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_the_log_and_the_peers() {
        assert_eq!(affordable(20_000, None), 20_000);
        assert_eq!(affordable(20_000, Some(1 << 20)), 20_000);
        assert_eq!(affordable(20_000, Some(4_096)), 3_072);
        assert_eq!(affordable(20_000, Some(1_024)), 768);
    }
}
