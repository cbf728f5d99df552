//! Gossip of this node: how it starts, where it looks for others, and how its keys are replaced while it runs.

use std::net::SocketAddr;
use std::path::PathBuf;

use rollcall_gossip::{Gossip, Handle, Keyring, Meta, Options, Role, Sockets};
use rollcall_raft::Consensus;
use rollcall_types::{NodeName, Version};
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{ConfigError, NodeConfig};
use crate::node::Error;

/// Binds the sockets of gossip, and reads its keys: what can go wrong for an operator goes wrong here, before the node joins.
pub(crate) async fn prepare(config: &NodeConfig) -> Result<(Sockets, Option<Keyring>, SocketAddr), Error> {
    let keyring = keyring(config)?;
    let sockets = Sockets::bind(config.gossip).await?;
    let advertised = match &config.advertise_gossip {
        None => sockets.local_addr(),
        Some(name) => {
            let failed = |problem: String| Error::Advertise { name: name.clone(), problem };
            let mut found = tokio::net::lookup_host(name).await.map_err(|error| failed(error.to_string()))?;
            let family = |address: &SocketAddr| address.is_ipv4() == config.gossip.is_ipv4();
            let family_of_gossip = if config.gossip.is_ipv4() { "IPv4" } else { "IPv6" };
            found.find(family).ok_or_else(|| {
                failed(format!("it has no {family_of_gossip} address, and gossip listens on {}", config.gossip))
            })?
        }
    };
    if keyring.is_none() && !advertised.ip().is_loopback() {
        let problem = format!(
            "advertise-gossip is {advertised}, beyond loopback, which needs a key: make one with `rollcall keygen` and give it \
             by gossip-key-file or ROLLCALL_GOSSIP_KEY"
        );
        return Err(ConfigError::Unfit(vec![problem]).into());
    }
    Ok((sockets, keyring, advertised))
}

fn keyring(config: &NodeConfig) -> Result<Option<Keyring>, Error> {
    match (&config.gossip_key, &config.gossip_key_file) {
        (Some(key), _) => Ok(Some(Keyring::parse(key.as_str(), "gossip-key")?)),
        (None, Some(path)) => Ok(Some(Keyring::read(path)?)),
        (None, None) => Ok(None),
    }
}

/// Starts gossip of a node that is a member of its cluster.
pub(crate) async fn start(
    config: &NodeConfig,
    name: &NodeName,
    consensus: &Consensus,
    (sockets, keyring, advertised): (Sockets, Option<Keyring>, SocketAddr),
) -> Result<Handle, Error> {
    if keyring.is_none() {
        warn!(
            "no gossip key is set: every program on this machine can pose as a member; make one with `rollcall keygen`"
        );
    }
    let meta = Meta {
        node: Some(consensus.node()),
        http: Some(config.public_http()),
        peer: Some(config.public_peer()),
        zone: config.zone.clone(),
        region: config.region.clone(),
        version: Version::try_from(env!("CARGO_PKG_VERSION")).ok(),
        role: if config.observer { Role::Observer } else { Role::Voter },
    };
    let options = Options {
        advertise: Some(advertised),
        keyring,
        seeds: config.join.iter().filter_map(|peer| beside(peer)).collect(),
        ..Options::new(consensus.cluster_id(), name.clone(), meta, sockets, config.data_dir.clone())
    };
    Ok(Gossip::start(options).await?)
}

/// Where gossip of a node is looked for whose peer address is known: one port above, as the default ports are.
fn beside(peer: &str) -> Option<String> {
    let (host, port) = peer.rsplit_once(':')?;
    let port = port.parse::<u16>().ok()?.checked_add(1)?;
    Some(format!("{host}:{port}"))
}

/// Tells gossip who the members are that Raft knows of, and where, whenever that changes.
pub(crate) async fn follow_members(consensus: Consensus, gossip: Handle, stop: CancellationToken) {
    let mut changes = consensus.status_changes();
    loop {
        {
            let status = changes.borrow_and_update();
            let all = status.voters.iter().chain(&status.learners);
            gossip.set_members(all.clone().map(|(_, peer)| peer.name.clone()));
            let others = all.filter(|(id, _)| **id != status.node).map(|(_, peer)| peer.gossip_addr.clone());
            gossip.set_seeds(&others.filter(|address| !address.is_empty()).collect::<Vec<_>>());
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

/// Reads the key file again at each SIGHUP, so that keys are replaced without a restart. A file that does not read leaves
/// the keys as they are.
pub(crate) async fn reload_keys(mut hangups: Signal, path: Option<PathBuf>, gossip: Handle, stop: CancellationToken) {
    loop {
        tokio::select! {
            _ = hangups.recv() => {}
            () = stop.cancelled() => return,
        }
        match path.as_deref().map(Keyring::read) {
            Some(Ok(keyring)) => gossip.set_keyring(keyring),
            Some(Err(problem)) => error!(error = %problem, "the gossip keys stay as they are: {problem}"),
            None => info!("there is no gossip-key-file to read again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gossip_is_looked_for_one_port_above_the_peer_port() {
        assert_eq!(beside("10.0.0.2:7401").as_deref(), Some("10.0.0.2:7402"));
        assert_eq!(beside("[::1]:7401").as_deref(), Some("[::1]:7402"));
        assert_eq!(beside("db-1:65535"), None);
    }
}
