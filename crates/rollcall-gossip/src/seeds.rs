//! Where to look for members: configured addresses and those that the caller found, resolved again and again.
//!
//! A name that does not resolve keeps the addresses that it had: the resolver fails when the network does, which is when they
//! are needed. Names are looked up side by side, so that those that time out do not hold up the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::lookup_host;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use crate::options::SEEDS_MAX;

/// Between two resolutions: an orchestrator gives a restarted node another address under the same name.
const RESOLVE_EVERY: Duration = Duration::from_secs(10);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// Lookups at once. Each takes a thread while it lasts.
const LOOKUPS_AT_ONCE: usize = 16;
/// Addresses that one name may stand for.
const ADDRESSES_PER_NAME: usize = 16;

/// Addresses of seeds, as last resolved.
pub(crate) type Resolved = ArcSwap<BTreeSet<SocketAddr>>;

/// Keeps `resolved` up to date with `seeds` until all who could change them are gone.
pub(crate) async fn resolve(mut seeds: watch::Receiver<Vec<String>>, resolved: Arc<Resolved>) {
    let mut known = BTreeMap::new();
    loop {
        let names = seeds.borrow_and_update().iter().take(SEEDS_MAX).cloned().collect();
        known = look_up_all(names, known, addresses_of).await;
        resolved.store(Arc::new(known.values().flatten().copied().collect()));
        if let Ok(Err(_)) = timeout(RESOLVE_EVERY, seeds.changed()).await {
            return;
        }
    }
}

/// The addresses of each of `names`: new ones, or those in `known` when it has none now.
async fn look_up_all<F: Future<Output = Vec<SocketAddr>> + Send + 'static>(
    names: BTreeSet<String>,
    mut known: BTreeMap<String, Vec<SocketAddr>>,
    look_up: impl Fn(String) -> F,
) -> BTreeMap<String, Vec<SocketAddr>> {
    known.retain(|name, _| names.contains(name));
    let places = Arc::new(Semaphore::new(LOOKUPS_AT_ONCE));
    let mut lookups = JoinSet::new();
    for name in names {
        let (places, found) = (places.clone(), look_up(name.clone()));
        lookups.spawn(async move {
            let _place = places.acquire_owned().await;
            (name, found.await)
        });
    }
    while let Some(looked_up) = lookups.join_next().await {
        if let Ok((name, addresses)) = looked_up
            && !addresses.is_empty()
        {
            known.insert(name, addresses);
        }
    }
    known
}

async fn addresses_of(name: String) -> Vec<SocketAddr> {
    if let Ok(address) = name.parse() {
        return vec![address];
    }
    match timeout(LOOKUP_TIMEOUT, lookup_host(&name)).await {
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

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_keeps_its_addresses_while_it_is_a_seed() {
        let both = names(&["a", "b"]);
        let known = look_up_all(both.clone(), BTreeMap::new(), async |name| vec![address(name.len() as u16)]);
        let known = known.await;
        assert_eq!(known["a"], [address(1)]);
        let lost = look_up_all(both, known.clone(), async |_| Vec::new()).await;
        assert_eq!(lost, known);
        let moved = look_up_all(names(&["a"]), lost, async |_| vec![address(2)]).await;
        assert_eq!(moved, [("a".to_owned(), vec![address(2)])].into());
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_time_out_hold_up_the_rest_once_per_sixteen() {
        let many = (0..32).map(|n| format!("n{n}")).collect();
        let began = Instant::now();
        let slow = async |_| {
            sleep(LOOKUP_TIMEOUT).await;
            Vec::new()
        };
        look_up_all(many, BTreeMap::new(), slow).await;
        assert_eq!(began.elapsed().as_secs(), 2 * LOOKUP_TIMEOUT.as_secs());
    }
}
