//! Who should serve a request, from what this node has in memory: the one door that HTTP and DNS use.
//!
//! ```text
//! catalogue ┐
//! health    ├→ Prepared (index, instances, tally) of each service that is asked for → resolve → Picked
//! reports   ┘
//! ```
//! **What a request sees.** A service is prepared when it is first asked for, and again when what it was prepared from has
//! changed: each request compares identities (is this the same service record, the same health?), which costs a look-up and no
//! work per instance. So no request is answered from a view that is older than what this node holds: once a node has seen that
//! an instance drains, is critical or is gone, it does not pick it. Services that nobody asks for cost nothing, and a change
//! costs only the services that it concerns. Preparing them all in the background was rejected: between the change and the
//! end of that work an answer would be wrong.
//!
//! **One for all.** [`Selector::select`] is what front doors call, [`Selector::explain`] says why. Both take the same
//! [`Query`](rollcall_routing::Query), so the same question gets the same set wherever it is asked.
//!
//! Limits: a node counts its own picks and not those of others; they show in the next load report. An instance measured
//! from here by its host's address is as far as that node was when the service was last prepared.

mod metrics;
mod past;
mod place;
mod policy;
mod prepared;
mod question;
pub(crate) mod reported;
mod similar;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use imbl::HashMap;
use rollcall_catalog::{Catalog, Instance, Service};
use rollcall_gossip::Handle as Gossip;
use rollcall_routing::{Answer, Explanation, Moment, Pick, Query, QueryError, Random, Refusal, Scratch};
use rollcall_types::{CapabilityName, Revision, ServiceKey, ServiceName};
use tracing::debug_span;

use self::metrics::Counters;
pub(crate) use self::metrics::describe as describe_metrics;
pub(crate) use self::past::NoPast;
use self::past::Past;
use self::place::Place;
use self::prepared::Prepared;
pub(crate) use self::prepared::{Listed, Listing};
pub(crate) use self::question::{Question, field_error};
use self::reported::Feedback;
use crate::clock;
use crate::health::HealthReader;

/// Most services and capabilities that stay prepared; when it is passed, those go that were not asked for lately.
const PLACES_MAX: usize = 16_384;

/// Among whose instances to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Among<'a> {
    /// Those of one service.
    Service(&'a ServiceName),
    /// Those of every service that offers this.
    Capability(&'a CapabilityName),
}

/// [`Among`] as a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Service(ServiceKey),
    Capability(CapabilityName),
}

/// Instances that were picked.
#[derive(Debug)]
pub(crate) struct Picked {
    /// How, and in which order.
    pub(crate) answer: Answer,
    prepared: Arc<Prepared>,
}

/// Why nothing was picked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Unpicked {
    /// No service of this name is known; these are, and look like it.
    NoSuchService(Vec<String>),
    /// No service offers this; these are offered, and look like it.
    NoSuchCapability(Vec<String>),
    /// There is nothing to pick, or the question cannot be answered.
    Refused(Refusal),
}

/// Why each instance is in or out, with the instances.
#[derive(Debug)]
pub(crate) struct Explained {
    /// A line for each instance.
    pub(crate) explanation: Explanation,
    /// What they were read from.
    pub(crate) prepared: Arc<Prepared>,
}

/// Chooses instances. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Selector {
    shared: Arc<Shared>,
}

struct Shared {
    health: HealthReader,
    gossip: Gossip,
    feedback: Arc<dyn Feedback>,
    places: ArcSwap<HashMap<Key, Arc<Place>>>,
    counters: Counters,
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector").field("places", &self.shared.places.load().len()).finish()
    }
}

/// What each thread that selects keeps: room to work in, and its own chances.
struct Desk {
    scratch: Scratch,
    rng: Random,
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::new(Desk { scratch: Scratch::default(), rng: Random::new(rand::random()) });
}

impl Picked {
    /// The instances, best first, each with how it was judged.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&Pick, &Arc<Instance>)> {
        self.answer.picks.iter().map(|pick| (pick, self.prepared.instance(pick.position)))
    }

    /// What they were picked from.
    pub(crate) fn prepared(&self) -> &Arc<Prepared> {
        &self.prepared
    }
}

impl Selector {
    /// A selector that reads these.
    pub(crate) fn new(health: HealthReader, gossip: Gossip, feedback: Arc<dyn Feedback>) -> Self {
        let shared = Shared { health, gossip, feedback, places: ArcSwap::default(), counters: Counters::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Picks instances `among` those of `catalog` for `query`, and counts the picks. `catalog` is that of now.
    ///
    /// It waits for nothing, and does no work per instance beyond [`resolve`](rollcall_routing::resolve()) unless what is known
    /// of the service has changed since the last time.
    ///
    /// # Errors
    /// When nothing of that name is known, nothing can be picked, or the question is out of bounds.
    pub(crate) fn select(
        &self,
        catalog: &Arc<Catalog>,
        among: Among<'_>,
        query: &Query<'_>,
    ) -> Result<Picked, Unpicked> {
        let _entered = debug_span!("mesh.select").entered();
        let now = clock::now(catalog);
        let (place, prepared) = self.prepared(catalog, among)?;
        // Whoever gets all of them takes one turn: as many as there are would bring the same one to the front each time.
        let turns = if query.n < prepared.index.candidates().len() { query.n } else { 1 };
        let moment = Moment { now, turn: place.take_turns(turns), tally: Some(&prepared.tally) };
        let answer = DESK.with_borrow_mut(|Desk { scratch, rng }| {
            rollcall_routing::resolve(&prepared.index, query, moment, rng, scratch)
        });
        self.shared.counters.count(&answer, query, &prepared.index);
        let answer = answer.map_err(Unpicked::Refused)?;
        prepared.tally.add(&answer);
        Ok(Picked { answer, prepared })
    }

    /// What is prepared of `among`, for those who list it and do not choose; `None` when nothing of that name is known.
    pub(crate) fn look(&self, catalog: &Arc<Catalog>, among: Among<'_>) -> Option<Arc<Prepared>> {
        self.prepared(catalog, among).map(|(_, prepared)| prepared).ok()
    }

    /// Why each instance would be picked for `query` or not; picks nothing and counts nothing.
    ///
    /// # Errors
    /// When nothing of that name is known, or the question is out of bounds.
    pub(crate) fn explain(
        &self,
        catalog: &Arc<Catalog>,
        among: Among<'_>,
        query: &Query<'_>,
    ) -> Result<Explained, Unpicked> {
        let now = clock::now(catalog);
        let (place, prepared) = self.prepared(catalog, among)?;
        let moment = Moment { now, turn: place.turn(), tally: Some(&prepared.tally) };
        let explained = rollcall_routing::explain(&prepared.index, query, moment, None);
        Ok(Explained { explanation: explained.map_err(refused)?, prepared })
    }

    /// Why each instance of a service would have been picked for `query` or not at an earlier `revision`.
    ///
    /// # Errors
    /// The outer one when that is not known, the inner one when the question is out of bounds.
    pub(crate) fn explain_past(
        catalog: &Catalog,
        service: &ServiceName,
        revision: Revision,
        query: &Query<'_>,
    ) -> Result<Result<Explained, Unpicked>, NoPast> {
        let past = Past::of(catalog, service, revision)?;
        let prepared = Arc::new(Prepared::of_past(&past));
        let explained = rollcall_routing::explain(&prepared.index, query, Moment::at(past.at), None);
        Ok(explained.map(|explanation| Explained { explanation, prepared }).map_err(refused))
    }

    /// Why each instance was picked or not when `picked` was the answer to `query`.
    ///
    /// # Errors
    /// When the question is out of bounds, which it was not when it was answered.
    pub(crate) fn explain_picked(
        &self,
        catalog: &Arc<Catalog>,
        picked: &Picked,
        query: &Query<'_>,
    ) -> Result<Explained, Unpicked> {
        let moment = Moment { tally: Some(&picked.prepared.tally), ..Moment::at(clock::now(catalog)) };
        let explained = rollcall_routing::explain(&picked.prepared.index, query, moment, Some(&picked.answer));
        Ok(Explained { explanation: explained.map_err(refused)?, prepared: picked.prepared.clone() })
    }

    /// What `among` is prepared as, by the views of now.
    fn prepared(&self, catalog: &Arc<Catalog>, among: Among<'_>) -> Result<(Arc<Place>, Arc<Prepared>), Unpicked> {
        let (key, services) = among.services(catalog);
        if services.is_empty() {
            return Err(among.unknown(catalog));
        }
        let place = self.place(key);
        let (health, feedback) = (self.shared.health.load(), &*self.shared.feedback);
        let prepared = place.prepared(
            |prepared| prepared.is_current(&services, catalog, &health, feedback),
            |before| {
                let (members, now) = (&self.shared.gossip.view(), clock::now(catalog));
                Prepared::of(&services, prepared::Views { catalog, health: &health, feedback, members }, before, now)
            },
        );
        Ok((place, prepared))
    }

    fn place(&self, key: Key) -> Arc<Place> {
        if let Some(place) = self.shared.places.load().get(&key) {
            return place.clone();
        }
        let fresh = Arc::new(Place::default());
        self.shared.places.rcu(|places| {
            let mut places = HashMap::clone(places);
            if places.len() >= PLACES_MAX {
                places.retain(|_, place| place.was_asked_for());
            }
            if places.len() >= PLACES_MAX {
                places.clear();
            }
            places.entry(key.clone()).or_insert_with(|| fresh.clone());
            places
        });
        self.shared.places.load().get(&key).cloned().unwrap_or(fresh)
    }
}

impl Among<'_> {
    /// The services that are meant, and the key under which they are prepared.
    fn services(self, catalog: &Catalog) -> (Key, Vec<Arc<Service>>) {
        match self {
            Self::Service(name) => {
                (Key::Service(ServiceKey::from(name)), catalog.service(name).cloned().into_iter().collect())
            }
            Self::Capability(name) => (Key::Capability(name.clone()), catalog.offering(name).cloned().collect()),
        }
    }

    /// That there is none, with what may have been meant.
    fn unknown(self, catalog: &Catalog) -> Unpicked {
        match self {
            Self::Service(name) => Unpicked::NoSuchService(similar::services(catalog, name)),
            Self::Capability(name) => Unpicked::NoSuchCapability(similar::capabilities(catalog, name)),
        }
    }
}

fn refused(error: QueryError) -> Unpicked {
    Unpicked::Refused(Refusal::Invalid(error))
}
