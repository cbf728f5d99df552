//! From a host to addresses, without letting a slow resolver hold up anything else.
//!
//! The system's resolver is asked, since it knows what the machine's owner set up (hosts file, search domains, mDNS). It
//! blocks a thread and cannot be told to stop, so at most [`LOOKUPS_MAX`] run at once, wherever those who asked have gone
//! meanwhile. What it says is kept for [`KEPT_FOR`], or until a connection to it fails: the resolver does not tell how long
//! an address may be kept. A host that is an address costs nothing.
//!
//! Rejected: an own DNS client, which keeps addresses as long as DNS says and can be cancelled, and which does not know what
//! the machine's owner set up.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long an answer of the resolver is kept. An instance that moves is seen to fail where it was, and is looked up anew.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// Most names whose addresses are kept. Beyond it names are looked up each time.
const KEPT_MAX: usize = 16_384;
/// Most lookups at once, of the 512 threads that a runtime has for blocking work.
const LOOKUPS_MAX: usize = 32;
/// Most addresses of one name that are looked at; of these the first that answers is asked.
pub(super) const ADDRESSES_MAX: usize = 4;

/// Turns names into addresses.
pub(crate) trait Resolve: Send + Sync + 'static {
    /// The addresses of `name`, the best first. May block.
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
pub(crate) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// The addresses of a host, the best first.
pub(super) type Addresses = Arc<[IpAddr]>;

/// A resolver with a memory.
pub(super) struct Resolver {
    resolve: Arc<dyn Resolve>,
    places: Arc<Semaphore>,
    known: Mutex<HashMap<Box<str>, Known>>,
}

struct Known {
    addresses: Addresses,
    until: Instant,
}

impl Resolver {
    pub(super) fn new(resolve: Arc<dyn Resolve>) -> Self {
        Self { resolve, places: Arc::new(Semaphore::new(LOOKUPS_MAX)), known: Mutex::default() }
    }

    /// The addresses of `host`, at most [`ADDRESSES_MAX`].
    ///
    /// # Errors
    /// What the resolver said, or that it knows no address.
    pub(super) async fn lookup(&self, host: &str) -> io::Result<Addresses> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Arc::new([address]));
        }
        if let Some(known) = self.recall(host) {
            return Ok(known);
        }
        let place = self.places.clone().acquire_owned().await.map_err(io::Error::other)?;
        // Whoever waited for a place may find that another asked the same.
        if let Some(known) = self.recall(host) {
            return Ok(known);
        }
        let (resolve, name) = (self.resolve.clone(), host.to_owned());
        let lookup = tokio::task::spawn_blocking(move || {
            let answer = resolve.resolve(&name);
            drop(place);
            answer
        });
        let mut found = lookup.await.map_err(io::Error::other)??;
        let mut seen = Vec::new();
        found.retain(|address| {
            !seen.contains(address) && seen.len() < ADDRESSES_MAX && {
                seen.push(*address);
                true
            }
        });
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        let addresses = Addresses::from(found);
        self.keep(host, addresses.clone());
        Ok(addresses)
    }

    /// Forgets the addresses of `host`: a connection to one of them failed, and it may have moved.
    pub(super) fn forget(&self, host: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
    }

    /// Forgets what is too old to be used.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, known| now < known.until);
    }

    fn recall(&self, host: &str) -> Option<Addresses> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(host).filter(|known| Instant::now() < known.until).map(|known| known.addresses.clone())
    }

    fn keep(&self, host: &str, addresses: Addresses) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < KEPT_MAX || known.contains_key(host) {
            known.insert(host.into(), Known { addresses, until: Instant::now() + KEPT_FOR });
        }
    }
}
