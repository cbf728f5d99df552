//! Where to look for members: configured addresses and those that the caller found, resolved again and again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

use crate::options::SEEDS_MAX;

/// Between two resolutions: an orchestrator gives a restarted node another address under the same name.
const RESOLVE_EVERY: Duration = Duration::from_secs(10);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// Addresses that one name may stand for.
const ADDRESSES_PER_NAME: usize = 16;

/// Addresses of seeds, as last resolved.
pub(crate) type Resolved = ArcSwap<BTreeSet<SocketAddr>>;

/// Keeps `resolved` up to date with `seeds` until all who could change them are gone.
pub(crate) async fn resolve(mut seeds: watch::Receiver<Vec<String>>, resolved: Arc<Resolved>) {
    loop {
        let names = seeds.borrow_and_update().clone();
        let mut found = BTreeSet::new();
        for name in names.iter().take(SEEDS_MAX) {
            found.extend(addresses_of(name).await);
        }
        resolved.store(Arc::new(found));
        if let Ok(Err(_)) = timeout(RESOLVE_EVERY, seeds.changed()).await {
            return;
        }
    }
}

async fn addresses_of(name: &str) -> Vec<SocketAddr> {
    if let Ok(address) = name.parse() {
        return vec![address];
    }
    match timeout(LOOKUP_TIMEOUT, lookup_host(name)).await {
        Ok(Ok(addresses)) => addresses.take(ADDRESSES_PER_NAME).collect(),
        Ok(Err(error)) => {
            debug!(error = %error, "cannot resolve the gossip seed {name}: {error}");
            Vec::new()
        }
        Err(_) => {
            debug!("the gossip seed {name} did not resolve in time");
            Vec::new()
        }
    }
}
