//! What the catalogue should say, by plain maps: the same requests, told as simply as possible.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rollcall_catalog::{Catalog, Command, Outcome, Precondition, Refusal, Reply, Request, RequestId};
use rollcall_types::{InstanceId, KvKey, Lifecycle, Revision, ServiceName};

use super::health::instances;

/// An instance by service and id.
pub(crate) type Place = (ServiceName, InstanceId);

/// What should be registered of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) weight: u16,
    pub(crate) is_draining: bool,
    created: u64,
    modified: u64,
}

/// What a request should be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Written { created: bool, changed: bool, modified: u64 },
    Removed { existed: bool },
    Refused,
}

/// What the catalogue should say.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    instances: BTreeMap<Place, Registered>,
    keys: BTreeMap<KvKey, (Bytes, u64)>,
    documents: BTreeMap<ServiceName, (String, u64, u64)>,
    answered: BTreeMap<String, (u64, Expected)>,
    /// The write that made an instance, and the one that removed it.
    removed: BTreeMap<u64, u64>,
}

impl Reference {
    /// Applies a request. Returns what is wrong with the answer that the catalogue gave, if anything is.
    pub(crate) fn apply(&mut self, revision: u64, request: &Request, outcome: &Outcome) -> Option<String> {
        let id = request.id.as_ref().map(name_of);
        if let Some((first, expected)) = id.as_ref().and_then(|id| self.answered.get(id)) {
            let is_first = outcome.replayed && outcome.revision == Revision::new(*first) && expected.is(&outcome.reply);
            let is_forgotten = outcome.reply == Reply::Refused(Refusal::AnswerForgotten);
            let wrong = format!("`{request}` was applied at {first}, and came again at {revision}: {outcome:?}");
            return (!is_first && !is_forgotten).then_some(wrong);
        }
        let expected = self.execute(revision, &request.command)?;
        id.map(|id| self.answered.insert(id, (revision, expected)));
        let wrong = || format!("`{request}` at {revision} should be answered {expected:?}, not {:?}", outcome.reply);
        (outcome.replayed || !expected.is(&outcome.reply)).then(wrong)
    }

    /// When the instance that was made at a revision was removed.
    pub(crate) fn removed_at(&self, created: Revision) -> Option<u64> {
        self.removed.get(&created.get()).copied()
    }

    /// What should be registered at a place.
    pub(crate) fn registered(&self, place: &Place) -> Option<&Registered> {
        self.instances.get(place)
    }

    /// The value of a key.
    pub(crate) fn value(&self, key: &KvKey) -> Option<&Bytes> {
        self.keys.get(key).map(|(value, _)| value)
    }

    /// The document of a service, and how often it was written.
    pub(crate) fn document(&self, service: &ServiceName) -> Option<(&str, u64)> {
        self.documents.get(service).map(|(document, version, _)| (document.as_str(), *version))
    }

    /// How a catalogue differs from this, if it does.
    pub(crate) fn difference(&self, catalog: &Catalog) -> Option<String> {
        let mut held = BTreeSet::new();
        for instance in instances(catalog) {
            let place = (instance.service.clone(), instance.id.clone());
            let present = Registered {
                weight: instance.spec.weight.get(),
                is_draining: matches!(instance.lifecycle, Lifecycle::Draining { .. }),
                created: instance.created.get(),
                modified: instance.modified.get(),
            };
            if self.instances.get(&place) != Some(&present) {
                let expected = self.instances.get(&place);
                return Some(format!("{}/{} is {present:?}, and should be {expected:?}", place.0, place.1));
            }
            held.insert(place);
        }
        if let Some((service, id)) = self.instances.keys().find(|place| !held.contains(*place)) {
            return Some(format!("{service}/{id} is not registered any more"));
        }
        let keys = catalog.kv_prefix("").map(|(key, entry)| (key, (&entry.value, entry.modified.get())));
        if !keys.eq(self.keys.iter().map(|(key, (value, modified))| (key, (value, *modified)))) {
            return Some("other keys".to_owned());
        }
        let documents = catalog.services().filter_map(|service| Some((&service.name, service.config.as_ref()?)));
        let documents = documents.map(|(name, config)| (name, config.document.as_str(), config.version));
        if !documents
            .eq(self.documents.iter().map(|(name, (document, version, _))| (name, document.as_str(), *version)))
        {
            return Some("other documents".to_owned());
        }
        None
    }

    /// `None` of what changes nothing that is registered.
    fn execute(&mut self, revision: u64, command: &Command) -> Option<Expected> {
        Some(match command {
            Command::Register { service, id, spec, expect } => {
                self.register(revision, (service.clone(), id.clone()), spec.weight.get(), *expect)
            }
            Command::Deregister { service, id, expect, .. } => {
                self.deregister(revision, &(service.clone(), id.clone()), *expect)
            }
            Command::SetLifecycle { service, id, lifecycle, expect, .. } => {
                let is_draining = matches!(lifecycle, Lifecycle::Draining { .. });
                self.set_lifecycle(revision, &(service.clone(), id.clone()), is_draining, *expect)
            }
            Command::KvPut { key, value, expect, .. } => self.put(revision, key, value, *expect),
            Command::KvDelete { key, expect } => {
                if !holds(*expect, self.keys.get(key).map(|it| it.1)) {
                    return Some(Expected::Refused);
                }
                Expected::Removed { existed: self.keys.remove(key).is_some() }
            }
            Command::SetConfig { service, document, .. } => self.set_document(revision, service, document),
            _ => return None,
        })
    }

    fn register(&mut self, revision: u64, place: Place, weight: u16, expect: Precondition) -> Expected {
        let present = self.instances.get(&place).copied();
        if !holds(expect, present.map(|it| it.modified)) {
            return Expected::Refused;
        }
        if let Some(present) = present.filter(|it| it.weight == weight) {
            return Expected::Written { created: false, changed: false, modified: present.modified };
        }
        let fresh = Registered { weight, is_draining: false, created: revision, modified: revision };
        let registered = present.map_or(fresh, |before| Registered { weight, modified: revision, ..before });
        self.instances.insert(place, registered);
        Expected::Written { created: present.is_none(), changed: true, modified: revision }
    }

    fn deregister(&mut self, revision: u64, place: &Place, expect: Precondition) -> Expected {
        let present = self.instances.get(place).copied();
        if !holds(expect, present.map(|it| it.modified)) {
            return Expected::Refused;
        }
        self.instances.remove(place);
        present.map(|it| self.removed.insert(it.created, revision));
        Expected::Removed { existed: present.is_some() }
    }

    fn set_lifecycle(&mut self, revision: u64, place: &Place, is_draining: bool, expect: Precondition) -> Expected {
        match self.instances.get_mut(place) {
            Some(present) if holds(expect, Some(present.modified)) => {
                let changed = present.is_draining != is_draining;
                if changed {
                    (present.is_draining, present.modified) = (is_draining, revision);
                }
                Expected::Written { created: false, changed, modified: present.modified }
            }
            _ => Expected::Refused,
        }
    }

    fn set_document(&mut self, revision: u64, service: &ServiceName, document: &str) -> Expected {
        let before = self.documents.get(service);
        if let Some((_, _, modified)) = before.filter(|it| it.0 == document) {
            return Expected::Written { created: false, changed: false, modified: *modified };
        }
        let (created, version) = (before.is_none(), before.map_or(1, |it| it.1 + 1));
        self.documents.insert(service.clone(), (document.to_owned(), version, revision));
        Expected::Written { created, changed: true, modified: revision }
    }

    fn put(&mut self, revision: u64, key: &KvKey, value: &Bytes, expect: Precondition) -> Expected {
        let present = self.keys.get(key).cloned();
        if !holds(expect, present.as_ref().map(|it| it.1)) {
            return Expected::Refused;
        }
        match present {
            Some((before, modified)) if before == *value => {
                Expected::Written { created: false, changed: false, modified }
            }
            present => {
                self.keys.insert(key.clone(), (value.clone(), revision));
                Expected::Written { created: present.is_none(), changed: true, modified: revision }
            }
        }
    }
}

impl Expected {
    fn is(self, reply: &Reply) -> bool {
        match (self, reply) {
            (Self::Written { created, changed, modified }, Reply::Written { created: c, changed: d, modified: m }) => {
                (created, changed, modified) == (*c, *d, m.get())
            }
            (Self::Removed { existed }, Reply::Removed { existed: e }) => existed == *e,
            (Self::Refused, Reply::Refused(refusal)) => matches!(
                refusal,
                Refusal::PreconditionFailed { .. } | Refusal::ServiceNotFound | Refusal::InstanceNotFound
            ),
            _ => false,
        }
    }
}

fn holds(expect: Precondition, modified: Option<u64>) -> bool {
    match expect {
        Precondition::None => true,
        Precondition::Exists => modified.is_some(),
        Precondition::Absent => modified.is_none(),
        Precondition::At(revision) => modified == Some(revision.get()),
    }
}

/// What a request id is remembered by.
fn name_of(id: &RequestId) -> String {
    match id {
        RequestId::Key { key, .. } => format!("k {key}"),
        RequestId::Sequence { client, sequence, .. } => format!("s {client} {sequence}"),
    }
}
