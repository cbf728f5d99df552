//! What all nodes say of instances: the pages that came through gossip, joined instance by instance.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_catalog::Catalog;
use rollcall_gossip::{Update, Value};
use rollcall_routing::feedback::{Entry, Said, page};
use rollcall_types::{InstanceId, NodeName, ServiceKey, UnixMillis};

use super::metrics;
use super::view::{ServiceReports, View};

type Key = (ServiceKey, InstanceId);

/// A page as one node told it.
#[derive(Debug)]
struct Told {
    /// Generation and version.
    version: (u64, u64),
    said: BTreeMap<Key, Said>,
}

/// What all nodes say. Bounded by what gossip takes from each member.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pages: BTreeMap<u8, BTreeMap<NodeName, Told>>,
    /// Instances of which something else is said since the last join.
    changed: BTreeSet<Key>,
    /// How often a service changed; the version of the one that did last.
    versions: u64,
}

impl Heard {
    /// Takes in a change of a value; others than pages are left alone.
    pub(super) fn receive(&mut self, update: &Update, now: UnixMillis) {
        if !update.key.starts_with(page::KEY_PREFIX) {
            return;
        }
        let Some(number) = page::page_of_key(&update.key) else {
            metrics::refused("no_page");
            return;
        };
        let told_by = self.pages.entry(number).or_default();
        let version = (update.generation, update.version);
        let known = told_by.get(&update.member).map(|told| told.version);
        // What is known already is as old as it was when it was heard first.
        if known.is_some_and(|known| known > version || (known == version && update.value.is_some())) {
            return;
        }
        let entries = update
            .value
            .as_deref()
            .and_then(|text| page::decode(text, now).inspect_err(|error| metrics::refused(error.reason())).ok());
        // Of what is unreadable, what was there before is dropped.
        let said: BTreeMap<Key, Said> = entries
            .into_iter()
            .flatten()
            .filter(|entry| page::page_of(&entry.service, &entry.instance) == number)
            .map(|Entry { service, instance, said }| ((service, instance), said))
            .collect();
        self.changed.extend(said.keys().cloned());
        let before = if update.value.is_some() {
            told_by.insert(update.member.clone(), Told { version, said })
        } else {
            told_by.remove(&update.member)
        };
        self.changed.extend(before.into_iter().flat_map(|told| told.said.into_keys()));
    }

    /// Reads everything there is, and forgets what is there no more.
    pub(super) fn begin_anew(&mut self, values: Vec<Value>, now: UnixMillis) {
        let present: BTreeSet<(u8, &NodeName)> =
            values.iter().filter_map(|value| Some((page::page_of_key(&value.key)?, &value.member))).collect();
        for (number, told_by) in &mut self.pages {
            told_by.retain(|member, told| {
                let is_present = present.contains(&(*number, member));
                if !is_present {
                    self.changed.extend(std::mem::take(&mut told.said).into_keys());
                }
                is_present
            });
        }
        for Value { member, generation, key, version, value } in values {
            self.receive(&Update { member, generation, key, version, value: Some(value) }, now);
        }
    }

    /// What all say now, if that is something else than in `view`.
    pub(super) fn join(&mut self, view: &View, catalog: &Catalog) -> Option<View> {
        if self.changed.is_empty() {
            return None;
        }
        let mut next = view.clone();
        let mut services: BTreeMap<ServiceKey, Vec<InstanceId>> = BTreeMap::new();
        for (service, instance) in std::mem::take(&mut self.changed) {
            services.entry(service).or_default().push(instance);
        }
        for (service, instances) in services {
            self.versions += 1;
            let joined = instances.into_iter().map(|instance| {
                let said = self.said(&service, &instance);
                (instance, said)
            });
            let joined: Vec<_> = joined.collect();
            let known = next.get(&service).cloned().unwrap_or_default();
            next.set(service.clone(), ServiceReports::clone(&known).with(&service, joined, catalog, self.versions));
        }
        Some(next)
    }

    fn said(&self, service: &ServiceKey, instance: &InstanceId) -> Option<Said> {
        let told_by = self.pages.get(&page::page_of(service, instance))?;
        let key = (service.clone(), instance.clone());
        let parts: Vec<&Said> = told_by.values().filter_map(|told| told.said.get(&key)).collect();
        (!parts.is_empty()).then(|| Said::joined(parts.iter().copied()))
    }
}
