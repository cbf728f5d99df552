//! From a host to addresses, without letting a slow resolver hold up anything else.
//!
//! The system's resolver is asked, since it knows what the machine's owner set up (hosts file, search domains, mDNS). It
//! blocks a thread and cannot be told to stop, so at most [`LOOKUPS_MAX`] lookups run at once, and one for each name, whose outcome
//! all have who want it: so names whose servers are gone do not take the places of all others. Waiting for a place is not held
//! against a name: what this node lacks is no evidence; at most [`WAITING_MAX`] who ask wait so. A lookup goes on when those who asked have gone, and what it finds is kept
//! for [`KEPT_FOR`], or until a connection to it fails: the resolver does not tell how long an address may be kept. A host that is
//! an address costs nothing.
//!
//! Rejected: an own DNS client, which keeps addresses as long as DNS says and can be cancelled, and which does not know what
//! the machine's owner set up.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

/// How long an answer of the resolver is kept. An instance that moves is seen to fail where it was, and is looked up anew.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// Most names whose addresses are kept. Beyond it names are looked up each time.
const KEPT_MAX: usize = 16_384;
/// Most lookups at once, of the 512 threads that a runtime has for blocking work.
const LOOKUPS_MAX: usize = 32;
/// Most who ask for names that wait for a place: a part of all probes that are under way at most.
const WAITING_MAX: usize = 4_096;
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
    waiting: Semaphore,
    names: Arc<Mutex<Names>>,
}

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    /// What the resolver said, or that it knows no address; [`io::ErrorKind::TimedOut`] when it did not answer in time.
    #[error(transparent)]
    Failed(#[from] io::Error),
    /// [`WAITING_MAX`] wait already. Nothing was asked.
    #[error("too many wait for the resolver")]
    TooMany,
}

/// What is known of names.
///
/// Invariant: each name in `under_way` has one task that takes it out when it ends.
#[derive(Default)]
struct Names {
    known: HashMap<Box<str>, Known>,
    under_way: HashMap<Box<str>, watch::Receiver<Lookup>>,
}

struct Known {
    addresses: Addresses,
    until: Instant,
}

/// How far a lookup is.
#[derive(Debug, Clone)]
enum Lookup {
    /// It waits for a place.
    Waiting,
    /// The resolver is asked.
    Asked,
    Answered(Result<Addresses, Arc<io::Error>>),
}

impl Resolver {
    pub(super) fn new(resolve: Arc<dyn Resolve>) -> Self {
        let (places, waiting) = (Arc::new(Semaphore::new(LOOKUPS_MAX)), Semaphore::new(WAITING_MAX));
        Self { resolve, places, waiting, names: Arc::default() }
    }

    /// The addresses of `host`, at most [`ADDRESSES_MAX`]. The resolver has `patience` for it, from when it is asked.
    ///
    /// # Errors
    /// [`LookupError`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) async fn lookup(&self, host: &str, patience: Duration) -> Result<Addresses, LookupError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Arc::new([address]));
        }
        let (waiting, mut lookup) = {
            let mut names = lock(&self.names);
            if let Some(known) = names.known.get(host).filter(|known| Instant::now() < known.until) {
                return Ok(known.addresses.clone());
            }
            let waiting = self.waiting.try_acquire().map_err(|_| LookupError::TooMany)?;
            let begin = || self.begin(host);
            (waiting, names.under_way.entry(host.into()).or_insert_with(begin).clone())
        };
        let lost = |_| io::Error::other("this node stops");
        lookup.wait_for(|lookup| !matches!(lookup, Lookup::Waiting)).await.map_err(lost)?;
        drop(waiting);
        let answered = timeout(patience, lookup.wait_for(|lookup| matches!(lookup, Lookup::Answered(_)))).await;
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the resolver did not answer in time");
        let answered = answered.map_err(late)?.map_err(lost)?.clone();
        match answered {
            Lookup::Answered(Ok(addresses)) => Ok(addresses),
            Lookup::Answered(Err(error)) => Err(io::Error::new(error.kind(), error).into()),
            Lookup::Waiting | Lookup::Asked => unreachable!("it was waited for the answer"),
        }
    }

    /// Begins to look up a name.
    fn begin(&self, host: &str) -> watch::Receiver<Lookup> {
        let (told, lookup) = watch::channel(Lookup::Waiting);
        let (resolve, places, names, host) =
            (self.resolve.clone(), self.places.clone(), self.names.clone(), Box::<str>::from(host));
        tokio::spawn(async move {
            let place = places.acquire_owned().await;
            told.send_replace(Lookup::Asked);
            let name = host.clone();
            let answer = tokio::task::spawn_blocking(move || {
                let _place = place;
                resolve.resolve(&name).and_then(first_of)
            });
            let answer = answer.await.unwrap_or_else(|lost| Err(io::Error::other(lost)));
            lock(&names).end(host, answer.as_ref().ok());
            told.send_replace(Lookup::Answered(answer.map_err(Arc::new)));
        });
        lookup
    }

    /// Forgets the addresses of `host`: a connection to one of them failed, and it may have moved.
    pub(super) fn forget(&self, host: &str) {
        lock(&self.names).known.remove(host);
    }

    /// Forgets what is too old to be used.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        lock(&self.names).known.retain(|_, known| now < known.until);
    }
}

impl Names {
    /// The lookup of a name ended; keeps what was found.
    fn end(&mut self, host: Box<str>, found: Option<&Addresses>) {
        self.under_way.remove(&host);
        if let Some(addresses) = found
            && (self.known.len() < KEPT_MAX || self.known.contains_key(&host))
        {
            self.known.insert(host, Known { addresses: addresses.clone(), until: Instant::now() + KEPT_FOR });
        }
    }
}

/// The first addresses, each once.
fn first_of(found: Vec<IpAddr>) -> io::Result<Addresses> {
    let mut addresses = Vec::with_capacity(ADDRESSES_MAX);
    for address in found {
        if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses.into())
}

fn lock(names: &Mutex<Names>) -> MutexGuard<'_, Names> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(60);

    /// Answers names that begin with `well` at once, and each other one when it is let go, or the test ends.
    struct Hanging(Mutex<Receiver<()>>);

    impl Resolve for Hanging {
        fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            if !name.starts_with("well") {
                // The other end is gone when the test is over.
                let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).recv();
            }
            Ok(vec![IpAddr::from([127, 0, 0, 1])])
        }
    }

    fn hanging() -> (Arc<Resolver>, Sender<()>) {
        let (end, hang) = channel();
        (Arc::new(Resolver::new(Arc::new(Hanging(Mutex::new(hang))))), end)
    }

    /// How a lookup failed.
    fn kind(looked_up: Result<Addresses, LookupError>) -> io::ErrorKind {
        match looked_up {
            Err(LookupError::Failed(error)) => error.kind(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_name_whose_servers_are_gone_takes_one_place_and_not_those_of_all_others() {
        let (resolver, end) = hanging();
        for _ in 0..2 * LOOKUPS_MAX {
            assert_eq!(kind(resolver.lookup("gone.test", SHORT).await), io::ErrorKind::TimedOut);
        }
        assert_eq!(resolver.places.available_permits(), LOOKUPS_MAX - 1);
        assert!(resolver.lookup("well.test", LONG).await.is_ok());
        drop(end);
    }

    #[tokio::test]
    async fn an_answer_that_comes_too_late_for_who_asked_is_there_for_who_asks_again() {
        let (resolver, end) = hanging();
        assert_eq!(kind(resolver.lookup("slow.test", SHORT).await), io::ErrorKind::TimedOut);
        drop(end);
        assert!(resolver.lookup("slow.test", LONG).await.is_ok());
        assert!(lock(&resolver.names).under_way.is_empty() && lock(&resolver.names).known.contains_key("slow.test"));
    }

    #[tokio::test]
    async fn waiting_for_a_place_is_not_held_against_a_name_however_many_ask_for_it() {
        let (resolver, end) = hanging();
        for number in 0..LOOKUPS_MAX {
            resolver.lookup(&format!("gone-{number}.test"), SHORT).await.unwrap_err();
        }
        assert_eq!(resolver.places.available_permits(), 0);
        let asks = (0..3).map(|_| {
            let resolver = resolver.clone();
            tokio::spawn(async move { resolver.lookup("well.test", LONG).await })
        });
        let asks: Vec<_> = asks.collect();
        let mut impatient = Box::pin(resolver.lookup("well.test", SHORT));
        assert!(timeout(20 * SHORT, &mut impatient).await.is_err(), "it waits, since nobody was asked yet");
        let more: Vec<_> = (4..WAITING_MAX).map(|_| resolver.waiting.try_acquire().unwrap()).collect();
        assert!(matches!(resolver.lookup("more.test", LONG).await, Err(LookupError::TooMany)), "it is put off");
        drop(more);
        end.send(()).unwrap();
        for ask in asks {
            assert!(ask.await.unwrap().is_ok());
        }
        drop(end);
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_told_to_all_who_ask_and_not_kept() {
        struct Nobody;
        impl Resolve for Nobody {
            fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
                Ok(Vec::new())
            }
        }
        let resolver = Resolver::new(Arc::new(Nobody));
        for _ in 0..2 {
            assert_eq!(kind(resolver.lookup("nobody.test", LONG).await), io::ErrorKind::NotFound);
        }
        assert!(lock(&resolver.names).known.is_empty() && lock(&resolver.names).under_way.is_empty());
    }
}
