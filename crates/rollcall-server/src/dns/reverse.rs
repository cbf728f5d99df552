//! Which service has which address: the catalogue by address, for PTR questions.
//!
//! Made when it is asked for, and again when the catalogue has changed since and [`REST`] times as long has passed as making it
//! took (a second at least). So whoever asks for nothing but PTR records makes the node spend a twentieth of a thread on it at
//! most, however big the catalogue is, and an answer is that late. While one thread makes it, others answer by the one before.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rollcall_catalog::Catalog;
use rollcall_types::{Revision, ServiceKey};

/// Shortest time between two times that it is made.
const AGE_MIN: Duration = Duration::from_secs(1);
/// What share of the time may go into making it, as a divisor.
const REST: u32 = 20;
/// Most services of one address.
const SERVICES_MAX: usize = 32;

/// The catalogue by address.
#[derive(Default)]
pub(super) struct Reverse {
    current: ArcSwap<Index>,
    making: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Index {
    revision: Revision,
    services: HashMap<IpAddr, BTreeSet<ServiceKey>>,
}

impl Reverse {
    /// The services that have an instance at `address`.
    pub(super) fn services(&self, catalog: &Catalog, address: IpAddr) -> Vec<ServiceKey> {
        if self.current.load().revision != catalog.revision() {
            self.renew(catalog);
        }
        self.current.load().services.get(&address).into_iter().flatten().cloned().collect()
    }

    fn renew(&self, catalog: &Catalog) {
        let mut due = match self.making.try_lock() {
            Ok(due) => due,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Without one there is nothing to answer by: the first waits for the first.
            Err(TryLockError::WouldBlock) if self.current.load().revision != Revision::ZERO => return,
            Err(TryLockError::WouldBlock) => match self.making.lock() {
                Ok(due) => due,
                Err(poisoned) => poisoned.into_inner(),
            },
        };
        let started = Instant::now();
        if due.is_some_and(|due| started < due) {
            return;
        }
        self.current.store(Arc::new(Index::of(catalog)));
        let now = Instant::now();
        *due = Some(now + AGE_MIN.max((now - started) * REST));
    }
}

impl Index {
    fn of(catalog: &Catalog) -> Self {
        let mut services: HashMap<IpAddr, BTreeSet<ServiceKey>> = HashMap::new();
        for service in catalog.services() {
            for instance in service.instances.values() {
                for address in instance.spec.endpoints.iter().filter_map(|endpoint| endpoint.host.ip()) {
                    let there = services.entry(address).or_default();
                    if there.len() < SERVICES_MAX {
                        there.insert(ServiceKey::from(&instance.service));
                    }
                }
            }
        }
        Self { revision: catalog.revision(), services }
    }
}
