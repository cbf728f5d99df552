//! Who reports on an instance, and what each of them says.

use rollcall_types::UnixMillis;

use super::mean::Mean;
use super::told::Reporters;
use super::{ReporterId, combine};
use crate::candidate::Performance;

/// Most reporters of one instance that are told apart; beyond, a new one takes the place of the one that was silent longest.
pub const WITNESSES_MAX: usize = 16;

/// Requests that the word of one reporter counts for at most.
pub const SAMPLES_PER_WITNESS: f64 = 5.0;

/// Invariant: at most [`WITNESSES_MAX`], each reporter once.
#[derive(Debug, Clone, Default)]
pub(super) struct Witnesses(Vec<(ReporterId, Mean)>);

impl Witnesses {
    /// Counts a report, and says what it weighs where reporters are not told apart, in [0, 1]: 1 divided by how many times more
    /// this reporter has said than the others have on average. So however fast one reports, it counts for one in the long run.
    pub(super) fn add(&mut self, reporter: ReporterId, latency: f64, ok: bool, now: UnixMillis) -> f64 {
        let position = self.0.iter().position(|(id, _)| *id == reporter).unwrap_or_else(|| self.admit(reporter));
        self.0[position].1.add(latency, ok, 1.0, now);
        let own = self.0[position].1.samples(now);
        let others = self.0.iter().map(|(_, mean)| mean.samples(now)).sum::<f64>() - own;
        if self.0.len() == 1 { 1.0 } else { (others / (self.0.len() - 1) as f64 / own).clamp(0.0, 1.0) }
    }

    /// What all say together, each for at most [`SAMPLES_PER_WITNESS`] requests.
    pub(super) fn performance(&self) -> Option<Performance> {
        let latest = self.iter().map(|mean| mean.at()).max()?;
        combine(self.iter().filter_map(|mean| {
            let samples = mean.samples(latest).min(SAMPLES_PER_WITNESS);
            Some(Performance { samples, ..mean.performance(SAMPLES_PER_WITNESS)? })
        }))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn reporters(&self) -> Reporters {
        self.0.iter().fold(Reporters::default(), |all, (reporter, _)| all.with(*reporter))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Mean> {
        self.0.iter().map(|(_, mean)| mean)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn admit(&mut self, reporter: ReporterId) -> usize {
        if self.0.len() >= WITNESSES_MAX {
            let silent = (0..self.0.len()).min_by_key(|i| self.0[*i].1.at()).unwrap_or(0);
            self.0.swap_remove(silent);
        }
        self.0.push((reporter, Mean::default()));
        self.0.len() - 1
    }
}
