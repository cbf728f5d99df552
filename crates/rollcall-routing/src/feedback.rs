//! What callers report of the requests that they sent: how long they took and whether they worked.
//!
//! ```text
//! Report → FeedbackTable::record (limit, witness, means) → performance() → Candidate
//!                                                        → entries() → page → gossip → Said::joined() at every node
//! witnesses of an instance → Ejections::review → ejected_until → Candidate
//! ```
//! Beside it is kept what instances say of their load in heartbeats, since it travels the same way.
//!
//! **Nobody is trusted alone.** However much one reporter says of an instance, it counts for at most [`SAMPLES_PER_WITNESS`]
//! requests: alone it moves the factor performance half of the way from neutral, which does not take an instance out of the
//! tie band, and beside others it is one of them. To eject an instance takes [`WITNESSES_NEEDED`].
//!
//! **Bounds.** [`INSTANCES_MAX`] instances, [`CONTEXTS_PER_INSTANCE_MAX`] context keys and [`WITNESSES_MAX`] reporters of each,
//! [`REPORTERS_MAX`] reporters; what was used least goes first. [`REPORTS_PER_SECOND`] of one reporter.
//!
//! Limits: who reports under many names is many reporters, so the shell must derive [`ReporterId`] from what a caller
//! cannot choose (its token, its address). Ejections rest on what was reported to this node.

mod bounded;
mod ejection;
mod limit;
mod mean;
pub mod page;
mod told;
mod witness;

use std::time::Duration;

use rollcall_types::{InstanceId, Label, ServiceKey, UnixMillis};

use self::bounded::{Bounded, Usage};
pub use self::ejection::{
    EJECTED_PART_MAX, EJECTION_BASE, EJECTION_MAX, Ejections, FAILURES_AGAINST, WITNESS_SAMPLES_MIN, WITNESSES_NEEDED,
};
use self::limit::Limiter;
pub use self::limit::{REPORTERS_MAX, REPORTS_BURST, REPORTS_PER_SECOND};
pub use self::mean::HALF_LIFE;
use self::mean::Mean;
pub use self::told::{Entry, OwnLoad, Reporters, Said};
use self::witness::Witnesses;
pub use self::witness::{SAMPLES_PER_WITNESS, WITNESSES_MAX};
use crate::candidate::Performance;

/// Most instances of which feedback is kept.
pub const INSTANCES_MAX: usize = 20_000;
/// Most context keys that are kept of one instance.
pub const CONTEXTS_PER_INSTANCE_MAX: usize = 8;
/// Latency that longer ones count as, one hour.
pub const LATENCY_MAX: Duration = Duration::from_secs(3_600);

/// Who reports, as a hash that the shell makes with a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReporterId(pub u64);

/// How one request went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose instance it went to.
    pub service: ServiceKey,
    /// Which instance.
    pub instance: InstanceId,
    /// What kind of request it was.
    pub context: Option<Label>,
    /// Whether it worked.
    pub ok: bool,
    /// How long it took; what is above [`LATENCY_MAX`] counts as that.
    pub latency: Duration,
}

/// Why a report was not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {REPORTS_PER_SECOND} reports in a second; the next one is counted in {retry_after:?}")]
pub struct TooFast {
    /// When the next one is counted.
    pub retry_after: Duration,
}

type Key = (ServiceKey, InstanceId);

/// Feedback on one instance.
#[derive(Debug, Clone, Default)]
struct Record {
    /// All reports, for how much the record is used.
    all: Mean,
    /// At most [`CONTEXTS_PER_INSTANCE_MAX`].
    contexts: Vec<(Label, Mean)>,
    witnesses: Witnesses,
    load: Option<OwnLoad>,
}

/// What was reported to this node.
#[derive(Debug, Clone)]
pub struct FeedbackTable {
    records: Bounded<Key, Record>,
    limiter: Limiter,
}

impl Default for FeedbackTable {
    fn default() -> Self {
        Self { records: Bounded::new(INSTANCES_MAX), limiter: Limiter::default() }
    }
}

impl FeedbackTable {
    /// Counts a report.
    ///
    /// # Errors
    /// When its reporter sends more than [`REPORTS_PER_SECOND`].
    pub fn record(&mut self, reporter: ReporterId, report: &Report, now: UnixMillis) -> Result<(), TooFast> {
        self.admit(reporter, 1, now)?;
        self.count(reporter, report, now);
        Ok(())
    }

    /// Whether so many reports of a reporter are counted now: all of them or none.
    ///
    /// # Errors
    /// When it sends more than [`REPORTS_PER_SECOND`]. More than [`REPORTS_BURST`] at once are never counted.
    pub fn admit(&mut self, reporter: ReporterId, reports: u32, now: UnixMillis) -> Result<(), TooFast> {
        self.limiter.take(reporter, reports, now)
    }

    /// Counts a report that was admitted.
    pub fn count(&mut self, reporter: ReporterId, report: &Report, now: UnixMillis) {
        let key = (report.service.clone(), report.instance.clone());
        let latency = report.latency.min(LATENCY_MAX).as_secs_f64() * 1e3;
        self.records.update(key, |record| {
            let weight = record.witnesses.add(reporter, latency, report.ok, now);
            record.all.add(latency, report.ok, 1.0, now);
            if let Some(context) = &report.context {
                record.of_context(context).add(latency, report.ok, weight, now);
            }
            record.usage()
        });
    }

    /// Keeps what an instance says of its load.
    pub fn tell_load(&mut self, service: &ServiceKey, instance: &InstanceId, load: OwnLoad) {
        self.records.update((service.clone(), instance.clone()), |record| {
            record.load = Some(load);
            record.usage()
        });
    }

    /// What is known of all requests to an instance together.
    pub fn performance(&self, service: &ServiceKey, instance: &InstanceId) -> Option<Performance> {
        self.record_of(service, instance)?.witnesses.performance()
    }

    /// What is known of requests to an instance, by context key.
    pub fn contexts(&self, service: &ServiceKey, instance: &InstanceId) -> Vec<(Label, Performance)> {
        let Some(record) = self.record_of(service, instance) else { return Vec::new() };
        record.told_contexts().map(|(context, performance)| (context.clone(), performance)).collect()
    }

    /// What is known here of the instances that `keep` names, those that are used most first.
    pub fn entries(&self, mut keep: impl FnMut(&ServiceKey, &InstanceId) -> bool) -> Vec<Entry> {
        let kept = self.records.most_used().filter(|((service, instance), _)| keep(service, instance));
        let entries = kept.map(|((service, instance), record)| Entry {
            service: service.clone(),
            instance: instance.clone(),
            said: record.said(),
        });
        entries.collect()
    }

    /// Forgets an instance that was deregistered.
    pub fn remove(&mut self, service: &ServiceKey, instance: &InstanceId) {
        self.records.remove(&(service.clone(), instance.clone()));
    }

    /// How many instances there is feedback on.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Instances that were forgotten to make room.
    pub fn evicted(&self) -> u64 {
        self.records.evicted()
    }

    fn record_of(&self, service: &ServiceKey, instance: &InstanceId) -> Option<&Record> {
        self.records.get(&(service.clone(), instance.clone()))
    }
}

impl Record {
    /// The mean of a context; a new one takes the place of the one that is used least when there are too many.
    fn of_context(&mut self, context: &Label) -> &mut Mean {
        let held = self.contexts.iter().position(|(key, _)| key == context);
        let position = held.unwrap_or_else(|| {
            if self.contexts.len() >= CONTEXTS_PER_INSTANCE_MAX {
                let least = (0..self.contexts.len()).min_by_key(|i| self.contexts[*i].1.usage()).unwrap_or(0);
                self.contexts.swap_remove(least);
            }
            self.contexts.push((context.clone(), Mean::default()));
            self.contexts.len() - 1
        });
        &mut self.contexts[position].1
    }

    /// A load counts as one report.
    fn usage(&self) -> Usage {
        self.all.usage().max(self.load.map_or(0, |load| Mean::of_one(load.report.at).usage()))
    }

    fn said(&self) -> Said {
        Said {
            performance: self.witnesses.performance(),
            reporters: self.witnesses.reporters(),
            contexts: self.told_contexts().map(|(context, performance)| (context.clone(), performance)).collect(),
            load: self.load,
            ejected_until: None,
        }
    }

    /// The contexts, each resting on no more requests than all witnesses count for.
    fn told_contexts(&self) -> impl Iterator<Item = (&Label, Performance)> {
        let samples_max = SAMPLES_PER_WITNESS * self.witnesses.len() as f64;
        self.contexts.iter().filter_map(move |(context, mean)| Some((context, mean.performance(samples_max)?)))
    }
}

/// What several nodes know together: means by samples, samples added up, the latest time. The order does not matter but for
/// rounding. `None` for no evidence.
pub fn combine(parts: impl IntoIterator<Item = Performance>) -> Option<Performance> {
    let (mut latency, mut success, mut samples, mut at) = (0.0, 0.0, 0.0, UnixMillis::default());
    let is_usable = |part: &Performance| part.samples > 0.0 && part.samples.is_finite() && part.success.is_finite();
    for part in parts.into_iter().filter(is_usable) {
        latency += part.samples * part.latency.min(LATENCY_MAX).as_secs_f64();
        success += part.samples * part.success.clamp(0.0, 1.0);
        samples += part.samples;
        at = at.max(part.at);
    }
    let is_enough = samples > 0.0 && f64::is_finite(latency);
    is_enough.then(|| Performance {
        latency: Duration::from_secs_f64((latency / samples).min(LATENCY_MAX.as_secs_f64())),
        success: success / samples,
        samples,
        at,
    })
}
