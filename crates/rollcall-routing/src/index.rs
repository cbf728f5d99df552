//! The candidates of a question, prepared so that a request compares numbers.
//!
//! An index is built when a view changes and read by every request until the next one: names become symbols, versions are
//! parsed, costs compared, evidence weighed. What depends on the time, on the caller or on the tally stays for the request.
//! An index holds the instances of one service; one that holds those of every service that offers a capability answers
//! questions for the capability.
//!
//! Limits: at most [`CONTEXTS_MAX`] context keys are kept, those that most evidence is about; the others are answered from all
//! contexts together.

mod columns;
mod entry;

use rollcall_types::{CapabilityName, InstanceId, Label, ServiceKey, Tag};

use self::columns::Column;
pub(crate) use self::columns::{Past, performance};
pub(crate) use self::entry::{Entry, Life, Traits};
use crate::candidate::Candidate;
use crate::names::Names;
use crate::policy::Policy;

/// Most context keys in one index.
pub const CONTEXTS_MAX: usize = 64;

/// The candidates of a question, prepared.
///
/// Invariants:
/// - `candidates` are sorted by service and instance, each once; `entries` are in the same order.
/// - `contexts` and `columns` are in the same order.
#[derive(Debug, Clone)]
pub struct ServiceIndex {
    candidates: Box<[Candidate]>,
    policy: Policy,
    pub(crate) entries: Box<[Entry]>,
    /// In the order of the entries.
    pub(crate) traits: Box<[Traits]>,
    /// Whether all instances have the same weight.
    pub(crate) is_even: bool,
    /// Instance ids; several services may use the same one.
    pub(crate) ids: Names<InstanceId>,
    pub(crate) zones: Names<Label>,
    pub(crate) regions: Names<Label>,
    pub(crate) tags: Names<Tag>,
    pub(crate) capabilities: Names<CapabilityName>,
    contexts: Names<Label>,
    columns: Box<[Column]>,
    overall: Column,
    /// Lowest cost that is declared.
    pub(crate) lowest_cost: Option<u64>,
}

impl ServiceIndex {
    /// Prepares `candidates`; of two with the same name the first stays. O(n log n), some milliseconds for 1,000.
    pub fn build(mut candidates: Vec<Candidate>, policy: Policy) -> Self {
        candidates.sort_by(|a, b| (&a.service, &a.instance).cmp(&(&b.service, &b.instance)));
        candidates.dedup_by(|b, a| (&a.service, &a.instance) == (&b.service, &b.instance));
        let ids = Names::of(candidates.iter().map(|candidate| &candidate.instance));
        let zones = Names::of(candidates.iter().flat_map(|candidate| {
            candidate.zone.iter().chain(candidate.round_trip.as_ref().and_then(|trip| trip.from_zone.as_ref()))
        }));
        let regions = Names::of(candidates.iter().filter_map(|candidate| candidate.region.as_ref()));
        let tags = Names::of(candidates.iter().flat_map(|candidate| candidate.tags.iter()));
        let capabilities = Names::of(candidates.iter().flat_map(|candidate| candidate.capabilities.iter()));
        let contexts = columns::most_seen(&candidates);
        let columns = contexts.iter().map(|context| Column::of(&candidates, Some(context))).collect();
        let mut index = Self {
            overall: Column::of(&candidates, None),
            lowest_cost: candidates.iter().filter_map(|candidate| candidate.cost_micros).min(),
            policy,
            entries: Box::default(),
            traits: Box::default(),
            is_even: candidates.windows(2).all(|pair| pair[0].weight == pair[1].weight),
            ids,
            zones,
            regions,
            tags,
            capabilities,
            contexts,
            columns,
            candidates: candidates.into_boxed_slice(),
        };
        index.entries = index.candidates.iter().map(|candidate| Entry::of(candidate, &index)).collect();
        index.traits = index.candidates.iter().map(|candidate| Traits::of(candidate, &index)).collect();
        index
    }

    /// The candidates, sorted by service and instance. A position in an answer is one in this list.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The policy that it was built with.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Where an instance is in the list.
    pub fn position(&self, service: &ServiceKey, instance: &InstanceId) -> Option<usize> {
        self.candidates.binary_search_by(|held| (&held.service, &held.instance).cmp(&(service, instance))).ok()
    }

    /// The past of requests of a context, by instance; of all contexts for one that is not kept.
    pub(crate) fn past(&self, context: Option<&Label>) -> &[Past] {
        let position = context.and_then(|context| self.contexts.position(context));
        position.map_or(&self.overall, |position| &self.columns[position]).rows()
    }

    /// Whether the past of this context is kept by itself.
    pub(crate) fn has_context(&self, context: &Label) -> bool {
        self.contexts.position(context).is_some()
    }
}
