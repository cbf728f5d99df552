//! Where answers come from: the seam between names and what a node knows.

use std::net::IpAddr;

use rollcall_types::{Host, ServiceName};

/// One instance that may be used, the best first in a list of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    /// Where it is.
    pub(super) host: Host,
    /// Where it listens there.
    pub(super) port: u16,
    /// Share of traffic that was asked for.
    pub(super) weight: u16,
    /// How good a choice it is, in [0, 1].
    pub(super) score: f64,
}

/// Which instances of a service are meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    /// Of which service.
    pub(super) service: ServiceName,
    /// They have this tag, compared without case; `None`: any.
    pub(super) tag: Option<String>,
    /// The endpoint of this name, else the first of this protocol, compared without case; `None`: the first of all.
    pub(super) endpoint: Option<String>,
}

/// What there is of a service.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    /// Nothing fits, or nothing that fits may be used.
    Nobody,
    /// Nothing fits, but a longer tag does that ends with what was asked: the name exists and holds nothing.
    Between,
    /// At least one.
    Targets(Vec<Target>),
}

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Holder {
    /// A node of the cluster.
    Node(String),
    /// An instance of this service.
    Service(String),
}

/// What a node knows, as answers need it.
pub(super) trait Source: Send + Sync + 'static {
    /// What an answer about a service was made from. While it stays equal, an answer stays right.
    type Stamp: PartialEq + Send;

    /// The stamp of now; `None`: there is no such service, and an answer is not worth keeping.
    fn stamp(&self, service: &ServiceName) -> Option<Self::Stamp>;

    /// Instances that may be used now, as every front door picks them.
    fn pick(&self, wanted: &Wanted) -> Found;

    /// Seconds for which answers about a service may be kept, if the service says.
    fn ttl_s(&self, service: &ServiceName) -> Option<u32>;

    /// Where a node is, by its name without case.
    fn node(&self, name: &str) -> Option<Host>;

    /// Who has this address, at most a few dozen.
    fn holders(&self, address: IpAddr) -> Vec<Holder>;

    /// A number that grows as what is known changes: the serial of the zone.
    fn serial(&self) -> u32;
}
