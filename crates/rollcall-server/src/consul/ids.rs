//! Which instances have an id, and which a check: callers of Consul's API name neither the service nor the instance.
//!
//! An id is unique to one agent in Consul. Here registrations belong to the cluster, so several services may have an instance
//! with the same id; then the one counts that was registered through the node that is asked, and of several such the one that
//! changed last.
//!
//! The index is made when it is first asked for and follows the catalogue's events; when those are forgotten it is made anew. Most
//! checks are called after their instance (`service:<id>`, `service:<id>:<n>`) and are found by that, so only the others are kept.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use rollcall_catalog::{Catalog, Change, Instance};
use rollcall_types::{CheckId, CheckSpec, InstanceId, NodeName, Revision, ServiceKey, ServiceName};

use super::registration::default_check_id;

/// The services that have an instance of an id, and the instances that have a check of an id. Follows one catalogue.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    book: Mutex<Option<Book>>,
}

/// Invariant: `by_check` has the checks in `named`, and no others.
#[derive(Debug, Default)]
struct Book {
    revision: Revision,
    by_instance: HashMap<InstanceId, BTreeSet<ServiceKey>>,
    by_check: HashMap<CheckId, BTreeSet<Key>>,
    /// Of instances with checks that are not called after them, those checks.
    named: HashMap<Key, Box<[CheckId]>>,
}

type Key = (ServiceKey, InstanceId);

/// A check and the instance that has it.
#[derive(Debug, Clone)]
pub(crate) struct FoundCheck {
    /// The instance.
    pub(crate) instance: Arc<Instance>,
    /// Which of its checks.
    pub(crate) check: CheckSpec,
}

impl Ids {
    /// The instance with this id, as `catalog` has it. `here` is the node that is asked.
    pub(crate) fn instance(&self, catalog: &Catalog, id: &str, here: &NodeName) -> Option<Arc<Instance>> {
        nearest(self.instances(catalog, &InstanceId::try_from(id).ok()?).into_iter(), here)
    }

    /// All instances with this id, of whatever service.
    pub(crate) fn instances(&self, catalog: &Catalog, id: &InstanceId) -> Vec<Arc<Instance>> {
        let services = self.with(catalog, |book| book.by_instance.get(id).cloned()).unwrap_or_default();
        services.iter().filter_map(|service| instance(catalog, service, id)).collect()
    }

    /// The check with this id, as `catalog` has it. `here` is the node that is asked.
    pub(crate) fn check(&self, catalog: &Catalog, id: &str, here: &NodeName) -> Option<FoundCheck> {
        let id = CheckId::try_from(id).ok()?;
        let named = self.with(catalog, |book| book.by_check.get(&id).cloned()).unwrap_or_default();
        let named = named.iter().filter_map(|(service, instance_id)| instance(catalog, service, instance_id));
        let after = called_after(&id).filter_map(|instance_id| self.instance(catalog, instance_id, here));
        let has_it = |instance: &Arc<Instance>| instance.spec.checks.iter().any(|check| check.id == id);
        let instance = nearest(named.chain(after).filter(has_it), here)?;
        let check = instance.spec.checks.iter().find(|check| check.id == id)?.clone();
        Some(FoundCheck { instance, check })
    }

    /// The service and instance of an id, for who refers to them.
    pub(crate) fn place(&self, catalog: &Catalog, id: &str, here: &NodeName) -> Option<(ServiceName, InstanceId)> {
        self.instance(catalog, id, here).map(|instance| (instance.service.clone(), instance.id.clone()))
    }

    fn with<T>(&self, catalog: &Catalog, read: impl FnOnce(&Book) -> T) -> T {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let book = book.get_or_insert_with(|| Book::of(catalog));
        book.follow(catalog);
        read(book)
    }
}

impl Book {
    fn of(catalog: &Catalog) -> Self {
        let mut book = Self { revision: catalog.revision(), ..Self::default() };
        catalog.services().flat_map(|service| service.instances.values()).for_each(|instance| book.put(instance));
        book
    }

    /// Moves on to `catalog`, unless it is older: then what it lacks is looked up in it in vain.
    fn follow(&mut self, catalog: &Catalog) {
        if catalog.revision() <= self.revision {
            return;
        }
        let Some(events) = catalog.events().after(self.revision) else {
            *self = Self::of(catalog);
            return;
        };
        for event in events {
            match &event.change {
                Change::InstancePut { instance, .. } => self.put(instance),
                Change::InstanceRemoved { service, id, .. } => self.remove(&(ServiceKey::from(service), id.clone())),
                // Nothing else gives or takes an id.
                _ => {}
            }
        }
        self.revision = catalog.revision();
    }

    fn put(&mut self, instance: &Instance) {
        let key = (ServiceKey::from(&instance.service), instance.id.clone());
        self.remove(&key);
        self.by_instance.entry(key.1.clone()).or_default().insert(key.0.clone());
        let strange = |check: &&CheckSpec| called_after(&check.id).all(|id| id != &*instance.id);
        let named: Box<[CheckId]> = instance.spec.checks.iter().filter(strange).map(|it| it.id.clone()).collect();
        for check in &named {
            self.by_check.entry(check.clone()).or_default().insert(key.clone());
        }
        if !named.is_empty() {
            self.named.insert(key, named);
        }
    }

    fn remove(&mut self, key: &Key) {
        take(&mut self.by_instance, &key.1, &key.0);
        for check in self.named.remove(key).iter().flatten() {
            take(&mut self.by_check, check, key);
        }
    }
}

/// Takes a value out of a set, and the set out of the map when it was the last.
fn take<K: Hash + Eq, V: Ord>(sets: &mut HashMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

fn instance(catalog: &Catalog, service: &ServiceKey, id: &InstanceId) -> Option<Arc<Instance>> {
    let name = ServiceName::try_from(service.as_str()).ok()?;
    catalog.service(&name)?.instances.get(id).cloned()
}

/// Of several instances the one that is meant.
fn nearest(found: impl Iterator<Item = Arc<Instance>>, here: &NodeName) -> Option<Arc<Instance>> {
    found.max_by_key(|instance| (instance.registered_by.via == *here, instance.modified))
}

/// The ids of instances after which a check may be called: `service:<id>` and `service:<id>:<n>`.
fn called_after(check: &str) -> impl Iterator<Item = &str> {
    let whole = check.strip_prefix(&*default_check_id(""));
    let numbered = whole.and_then(|id| id.rsplit_once(':')).filter(|(_, number)| number.parse::<u8>().is_ok());
    whole.into_iter().chain(numbered.map(|(id, _)| id))
}

#[cfg(test)]
mod tests {
    use rollcall_catalog::{Actor, Command, Precondition, Request};
    use rollcall_types::UnixMillis;
    use serde_json::{Value, json};

    use super::*;
    use crate::consul::decode::from_json;
    use crate::consul::registration::ServiceDefinition;

    /// A catalogue and what is found in it.
    #[derive(Default)]
    struct World {
        catalog: Catalog,
        ids: Ids,
    }

    impl World {
        fn apply(&mut self, via: &str, command: Command) {
            let actor = Actor { name: "ann".parse().unwrap(), via: via.parse().unwrap() };
            let revision = Revision::new(self.catalog.revision().get() + 1);
            self.catalog.apply(revision, &Request { id: None, at: UnixMillis::default(), actor, command });
        }

        fn register(&mut self, via: &str, body: &Value) {
            let definition: ServiceDefinition = from_json(body.to_string().as_bytes()).unwrap();
            let read = definition.register(&"localhost".try_into().unwrap(), &|_| None).unwrap();
            let (service, id, spec) = (read.service, read.id, Arc::new(read.spec));
            self.apply(via, Command::Register { service, id, spec, expect: Precondition::None });
        }

        fn deregister(&mut self, service: &str, id: &str) {
            let (service, id) = (service.parse().unwrap(), id.parse().unwrap());
            self.apply("n1", Command::Deregister { service, id, expect: Precondition::None, reason: None });
        }

        fn service(&self, id: &str, here: &str) -> Option<String> {
            let found = self.ids.instance(&self.catalog, id, &here.parse().unwrap());
            found.map(|instance| instance.service.to_string())
        }

        fn check(&self, id: &str) -> Option<(String, String)> {
            let found = self.ids.check(&self.catalog, id, &"n1".parse().unwrap())?;
            assert_eq!(&*found.check.id, id);
            Some((found.instance.service.to_string(), found.instance.id.to_string()))
        }
    }

    fn found(service: &str, id: &str) -> Option<(String, String)> {
        Some((service.to_owned(), id.to_owned()))
    }

    #[test]
    fn an_instance_is_found_by_its_id_alone_and_no_more_when_it_is_gone() {
        let mut world = World::default();
        assert_eq!(world.service("web-1", "n1"), None);
        world.register("n1", &json!({"ID": "web-1", "Name": "web"}));
        assert_eq!(world.service("web-1", "n1").as_deref(), Some("web"));
        world.deregister("web", "web-1");
        assert_eq!((world.service("web-1", "n1"), world.service("", "n1")), (None, None));
    }

    #[test]
    fn of_several_with_one_id_that_of_the_node_that_is_asked_counts_and_else_the_last() {
        let mut world = World::default();
        world.register("n1", &json!({"ID": "1", "Name": "web"}));
        world.register("n2", &json!({"ID": "1", "Name": "db"}));
        assert_eq!(world.service("1", "n1").as_deref(), Some("web"));
        assert_eq!(world.service("1", "n2").as_deref(), Some("db"));
        assert_eq!(world.service("1", "n3").as_deref(), Some("db"));
    }

    #[test]
    fn checks_are_found_by_the_id_they_were_given_or_after_their_instance() {
        let mut world = World::default();
        let ttl = json!({"TTL": "10s"});
        let named = json!({"TTL": "10s", "CheckID": "mine"});
        world.register("n1", &json!({"ID": "w:1", "Name": "web", "Check": ttl}));
        assert_eq!(world.check("service:w:1"), found("web", "w:1"));
        world.register("n1", &json!({"ID": "w", "Name": "web", "Checks": [ttl, named]}));
        assert_eq!(world.check("service:w:1"), found("web", "w"), "both have such a check; the last counts");
        assert_eq!((world.check("mine"), world.check("service:w")), (found("web", "w"), None));
        world.register("n1", &json!({"ID": "w", "Name": "web", "Checks": [ttl]}));
        assert_eq!((world.check("mine"), world.check("service:w")), (None, found("web", "w")));
        world.deregister("web", "w");
        assert_eq!((world.check("service:w"), world.check("service:w:1")), (None, found("web", "w:1")));
    }

    #[test]
    fn what_was_forgotten_in_the_meantime_is_read_anew() {
        let mut world = World::default();
        world.register("n1", &json!({"ID": "kept", "Name": "web", "Check": {"TTL": "1s", "CheckID": "c"}}));
        assert_eq!(world.check("c"), found("web", "kept"));
        let followed = world.ids.book.lock().unwrap().as_ref().map(|book| book.named.len());
        assert_eq!(followed, Some(1));
        world.deregister("web", "kept");
        world.register("n1", &json!({"ID": "new", "Name": "web"}));
        // As if a snapshot had replaced the ring.
        *world.ids.book.lock().unwrap() = Some(Book { revision: Revision::ZERO, ..Book::default() });
        assert_eq!((world.service("new", "n1").as_deref(), world.check("c")), (Some("web"), None));
    }
}
