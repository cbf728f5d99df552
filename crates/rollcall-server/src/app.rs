//! What handlers work with: handles, shared by all requests.

use std::path::PathBuf;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use rollcall_gossip::Handle as Gossip;
use rollcall_raft::Consensus;
use rollcall_types::NodeName;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::health::summary::Summaries;
use crate::http::body::BodyMemory;
use crate::pinned::Pinned;
use crate::probe::Policy;
use crate::prospects::Prospects;
use crate::reports::Reports;
use crate::selection::Selector;
use crate::vitals::Vitals;
use crate::watch::Hub;

/// The handles of one node.
pub(crate) struct App {
    /// Name of this node.
    pub(crate) name: NodeName,
    /// Where the node keeps its files.
    pub(crate) data_dir: PathBuf,
    /// The log and the catalogue.
    pub(crate) consensus: Consensus,
    /// Gossip: who is alive, as this node sees it.
    pub(crate) gossip: Gossip,
    /// Which addresses may be probed.
    pub(crate) targets: Policy,
    /// Health of instances.
    pub(crate) health: Health,
    /// What all nodes expect of themselves.
    pub(crate) vitals: Vitals,
    /// News of forecasts, of nodes and of instances.
    pub(crate) prospects: Prospects,
    /// What is reported of instances.
    pub(crate) reports: Reports,
    /// Counts of it.
    pub(crate) summaries: Summaries,
    /// Who should serve a request.
    pub(crate) selector: Selector,
    /// Watch streams.
    pub(crate) hub: Hub,
    /// Catalogues of listings under way.
    pub(crate) pinned: Pinned,
    /// Snapshot downloads: one at a time, each has a file on the data disk.
    pub(crate) downloads: Arc<Semaphore>,
    /// Dependency graphs being made: one at a time.
    pub(crate) graphs: Arc<Semaphore>,
    /// The memory of large request bodies.
    pub(crate) bodies: BodyMemory,
    /// Renders `/metrics`.
    pub(crate) metrics: PrometheusHandle,
    /// Stops the node when cancelled.
    pub(crate) shutdown: CancellationToken,
    /// Whether links may be cut by request (tests only).
    pub(crate) fault_injection: bool,
}

/// Shared by all requests.
pub(crate) type Shared = Arc<App>;
