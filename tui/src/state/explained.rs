//! Why the instances of a service are picked or not, as the connected node told it last.

use std::collections::BTreeMap;

use rollcall_api::{EXPLAINED_MAX, ExplainedInstance, Explanation, Timestamp};

/// Reasons and factors of one instance that are held; there are far fewer.
const PARTS_MAX: usize = 16;

/// An explanation, and when it was told.
#[derive(Debug, Clone)]
pub(crate) struct Explained {
    pub(crate) service: String,
    pub(crate) at: Timestamp,
    /// The explanation, or why there is none.
    pub(crate) told: Result<Box<Explanation>, String>,
    /// Where each instance is in it, by id.
    places: BTreeMap<String, usize>,
}

impl Explained {
    pub(crate) fn new(service: String, told: Result<Box<Explanation>, String>, at: Timestamp) -> Self {
        let told = told.map(|mut told| {
            told.instances.truncate(EXPLAINED_MAX);
            for instance in &mut told.instances {
                instance.reasons.truncate(PARTS_MAX);
                instance.terms.truncate(PARTS_MAX);
            }
            told
        });
        let instances = told.iter().flat_map(|told| &told.instances).enumerate();
        let places = instances.map(|(place, instance)| (instance.id.clone(), place)).collect();
        Self { service, at, told, places }
    }

    /// What is told of an instance.
    pub(crate) fn of(&self, id: &str) -> Option<&ExplainedInstance> {
        self.told.as_ref().ok()?.instances.get(*self.places.get(id)?)
    }

    /// All instances, those first that may be picked.
    pub(crate) fn instances(&self) -> &[ExplainedInstance] {
        self.told.as_ref().map_or(&[], |told| &told.instances)
    }
}
