//! What gossip is told when it starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rollcall_health::detector;
use rollcall_types::{ClusterId, NodeName};

use crate::error::Error;
use crate::key::Keyring;
use crate::membership::Meta;
use crate::sockets::Sockets;

/// Between two gossip rounds of a node, up to 50 nodes. Half of a second is right for more.
pub(crate) const GOSSIP_INTERVAL: Duration = Duration::from_millis(200);
const GOSSIP_INTERVAL_MIN: Duration = Duration::from_millis(50);
const GOSSIP_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// Seeds at most, configured or set later.
pub(crate) const SEEDS_MAX: usize = 256;

/// How gossip starts. [`Options::new`] has the defaults.
#[derive(Debug)]
pub struct Options {
    /// The cluster; what another cluster sealed does not open here.
    pub cluster: ClusterId,
    /// This node's name, unique among the members.
    pub name: NodeName,
    /// What the others shall know of this node; [`crate::Handle::set_meta`] changes it.
    pub meta: Meta,
    /// Bound by the caller, so that an address in use is its error.
    pub sockets: Sockets,
    /// Where the others reach [`Self::sockets`]. `None`: the address they are bound to, which must then not be `0.0.0.0`.
    pub advertise: Option<SocketAddr>,
    /// Where the generation is kept: the node's data directory.
    pub data_dir: PathBuf,
    /// The keys. `None` is accepted on loopback only.
    pub keyring: Option<Keyring>,
    /// Addresses, `host:port`, at which to look for other members; names are resolved again and again. At most 256.
    pub seeds: Vec<String>,
    /// Between two gossip rounds, 50 ms to 5 s. Default 200 ms, right up to 50 nodes; 500 ms for more.
    pub gossip_interval: Duration,
    /// The failure detector's.
    pub detector: detector::Options,
}

impl Options {
    /// Options of a node that knows nobody, with the default times and without a key.
    pub fn new(cluster: ClusterId, name: NodeName, meta: Meta, sockets: Sockets, data_dir: PathBuf) -> Self {
        Self {
            cluster,
            name,
            meta,
            sockets,
            advertise: None,
            data_dir,
            keyring: None,
            seeds: Vec::new(),
            gossip_interval: GOSSIP_INTERVAL,
            detector: detector::Options::default(),
        }
    }

    /// The address that the others are told.
    pub(crate) fn advertised(&self) -> SocketAddr {
        self.advertise.unwrap_or(self.sockets.local_addr())
    }

    /// Checks everything that can be checked before the start.
    ///
    /// # Errors
    /// [`Error::Options`] with all problems.
    pub fn validate(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        let (bound, advertised) = (self.sockets.local_addr(), self.advertised());
        if self.keyring.is_none() && !(bound.ip().is_loopback() && advertised.ip().is_loopback()) {
            problems.push(format!(
                "gossip on {bound} would be open to the network without a key; make one with `rollcall keygen`, give it to \
                 all nodes, or listen on a loopback address"
            ));
        }
        if advertised.ip().is_unspecified() || advertised.port() == 0 {
            problems.push(format!(
                "gossip listens on {bound}, which others cannot send to; set the address to advertise to one at which they \
                 reach this node"
            ));
        }
        if !(GOSSIP_INTERVAL_MIN..=GOSSIP_INTERVAL_MAX).contains(&self.gossip_interval) {
            problems.push("the gossip interval must be 50 ms to 5 s".to_owned());
        }
        if self.detector.silence < self.gossip_interval * 3 {
            problems
                .push("the silence after which a node is suspected must be three gossip intervals or more".to_owned());
        }
        if self.seeds.len() > SEEDS_MAX {
            problems.push(format!("at most {SEEDS_MAX} seeds"));
        }
        problems.extend(self.meta.problem());
        if problems.is_empty() { Ok(()) } else { Err(Error::Options(problems.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn options(listen: &str) -> Options {
        let sockets = Sockets::bind(listen.parse().unwrap()).await.unwrap();
        let name = NodeName::try_from("n1").unwrap();
        Options::new(ClusterId::new(1), name, Meta::default(), sockets, PathBuf::from("unused"))
    }

    fn problem(options: &Options) -> String {
        options.validate().unwrap_err().to_string()
    }

    #[tokio::test]
    async fn without_a_key_gossip_stays_on_loopback() {
        options("127.0.0.1:0").await.validate().unwrap();
        let mut open = options("0.0.0.0:0").await;
        open.advertise = Some("127.0.0.1:7402".parse().unwrap());
        assert!(problem(&open).contains("rollcall keygen"), "{}", problem(&open));
        let mut outside = options("127.0.0.1:0").await;
        outside.advertise = Some("10.0.0.1:7402".parse().unwrap());
        assert!(problem(&outside).contains("without a key"));
        open.keyring = Some(Keyring::new(&[1; 32]));
        open.validate().unwrap();
    }

    #[tokio::test]
    async fn an_address_that_nobody_can_send_to_is_not_advertised() {
        let mut open = options("0.0.0.0:0").await;
        open.keyring = Some(Keyring::new(&[1; 32]));
        assert!(problem(&open).contains("advertise"));
    }

    #[tokio::test]
    async fn times_that_accuse_everybody_are_refused_all_at_once() {
        let mut hasty = options("127.0.0.1:0").await;
        hasty.gossip_interval = Duration::from_secs(6);
        hasty.seeds = vec![String::new(); SEEDS_MAX + 1];
        let said = problem(&hasty);
        assert!(said.contains("50 ms to 5 s") && said.contains("three gossip intervals") && said.contains("seeds"));
    }
}
