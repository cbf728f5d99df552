//! What nodes tell each other of instances, and what all of it amounts to.
//!
//! Each node says what was reported to it and nothing else; what several say of one instance is joined by whoever reads it.
//! The join does not depend on the order, and every part has one writer, so all nodes that heard the same hold the same.
//!
//! A caller that reports to several nodes is still one: [`Reporters`] travel along, and however many nodes tell of an
//! instance, it counts for at most [`SAMPLES_PER_WITNESS`] requests of each.

use rollcall_types::{InstanceId, Label, ServiceKey, UnixMillis};

use super::witness::SAMPLES_PER_WITNESS;
use super::{CONTEXTS_PER_INSTANCE_MAX, ReporterId, combine};
use crate::candidate::{LoadReport, Performance};

/// Which reporters there are, as a set of 64 places that they fall into: it can be joined, and tells at least how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reporters(pub u64);

impl Reporters {
    /// With one more.
    #[must_use]
    pub fn with(self, reporter: ReporterId) -> Self {
        Self(self.0 | 1 << (reporter.0 % 64))
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// How many there are at least.
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// What an instance says of itself in heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct OwnLoad {
    /// How much it has to do.
    pub report: LoadReport,
    /// Requests that it can work on at once.
    pub capacity: Option<u32>,
}

/// What is said of one instance: by one node, or by all together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Said {
    /// How requests of any kind went.
    pub performance: Option<Performance>,
    /// Whose reports that rests on.
    pub reporters: Reporters,
    /// How requests of one kind went, at most [`CONTEXTS_PER_INSTANCE_MAX`], by context key.
    pub contexts: Vec<(Label, Performance)>,
    /// What it says itself of its load.
    pub load: Option<OwnLoad>,
    /// Until when it is ejected.
    pub ejected_until: Option<UnixMillis>,
}

/// What a node says of one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Whose instance.
    pub service: ServiceKey,
    /// Which.
    pub instance: InstanceId,
    /// What.
    pub said: Said,
}

impl Said {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.performance.is_none() && self.load.is_none() && self.ejected_until.is_none()
    }

    /// When the latest of it was heard; 0 when nothing is said but that it is ejected.
    pub fn at(&self) -> UnixMillis {
        let performance = self.performance.map(|performance| performance.at);
        performance.max(self.load.map(|load| load.report.at)).unwrap_or_default()
    }

    /// What several nodes say together: the mean of performances by their samples, of loads the latest, of ejections the longest.
    pub fn joined<'a>(parts: impl IntoIterator<Item = &'a Self> + Clone) -> Self {
        let parts = || parts.clone().into_iter();
        let reporters = parts().fold(Reporters::default(), |all, part| all.and(part.reporters));
        let samples_max = SAMPLES_PER_WITNESS * f64::from(reporters.count());
        let bounded =
            |performance: Performance| Performance { samples: performance.samples.min(samples_max), ..performance };
        let mut labels: Vec<&Label> = parts().flat_map(|part| part.contexts.iter().map(|(label, _)| label)).collect();
        labels.sort_unstable();
        labels.dedup();
        let contexts = labels.into_iter().filter_map(|label| {
            let of_label = |part: &'a Self| part.contexts.iter().find(|(own, _)| own == label).map(|(_, it)| *it);
            Some((label.clone(), bounded(combine(parts().filter_map(of_label))?)))
        });
        let mut contexts: Vec<(Label, Performance)> = contexts.collect();
        // Those that rest on most; of equals the first by name.
        contexts.sort_by(|(_, one), (_, other)| other.samples.total_cmp(&one.samples));
        contexts.truncate(CONTEXTS_PER_INSTANCE_MAX);
        contexts.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self {
            performance: combine(parts().filter_map(|part| part.performance)).map(bounded),
            reporters,
            contexts,
            load: parts().filter_map(|part| part.load).max_by(|one, other| age_order(one).cmp(&age_order(other))),
            ejected_until: parts().filter_map(|part| part.ejected_until).max(),
        }
    }
}

/// Loads in the order of time; of those of one moment the greater is the later.
fn age_order(load: &OwnLoad) -> (UnixMillis, Option<u32>, Option<u64>, Option<u32>) {
    // Bits of numbers from 0 on are in the order of the numbers.
    (load.report.at, load.report.in_flight, load.report.used.map(f64::to_bits), load.capacity)
}
