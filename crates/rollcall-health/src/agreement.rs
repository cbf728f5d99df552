//! What all observers of an instance together make of it: one status, the same on every node with the same view.
//!
//! Only those who look count: the nodes that the assignment names for the chunk, alive, and with a verdict. (A former prober,
//! whose evidence stands until it runs out, is heard while none of them has one.)
//!
//! | those who look see | status | cause |
//! |---|---|---|
//! | nothing, nobody looks | `unknown` | `unseen` |
//! | nothing that counts: they are dead, late or suspected | `unknown` | `stale` |
//! | all of them failure, two at least with the last word of the dead, or the one node there is | `critical` | `confirmed`, `only_observer` |
//! | the only one of them who has a verdict failure | `warning` | `unconfirmed` |
//! | some failure and some not | `warning` | `path` |
//! | some `warning`, none failure | `warning` | `observed` |
//! | some passing | `passing` | `observed` |
//! | all `starting` | `starting` | `observed` |
//!
//! **A failure has to be seen from everywhere.** What only one of several sees failing is reached by the others: the path is
//! broken and not the instance (a grey failure, Huang et al. 2017), so it goes on serving them with less weight. Two
//! witnesses are enough, as for members: the prober that sees a failure first asks the others at once, and any of them who
//! still sees it pass holds the verdict at `warning`.
//!
//! **A last word corroborates.** When one of two who saw a failure dies, the other's word stands beside what the dead one said
//! last, or every instance that they held for failing would serve again until its new prober has looked.
//!
//! Everything is computed from the view and nothing is remembered, so nodes agree as soon as their views do.
//!
//! Limits: an observer that lies is believed to the extent that it can make a passing instance `warning`, and keep a failing
//! one from `critical`.

mod checks;

pub use rollcall_types::StatusCause as Cause;

pub use self::checks::{CheckSighting, agree_on_checks, is_told_by_check};
use crate::assignment::Watch;
use crate::{Flap, ScoreStep, Sighting, Status, TimeToFailure, Trend};

/// Lookers that must see a failure before it counts, when there are so many.
pub const WITNESSES: usize = 2;

/// What all observers of an instance together make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The status.
    pub status: Status,
    /// Why.
    pub cause: Cause,
    /// The mean of the scores of those who count: a path fault lowers it by the share of those who see it. `None` when nobody
    /// counts.
    pub score: Option<ScoreStep>,
    /// The worst that any of them sees.
    pub trend: Trend,
    /// The soonest that any of them predicts.
    pub time_to_failure: TimeToFailure,
    /// The most that any of them counts.
    pub flap: Flap,
    /// How many count.
    pub looking: u16,
    /// How many of them see it failing.
    pub failing: u16,
}

/// Weighs what observers see of an instance against each other; `sightings` as
/// [`HealthView::sightings`](crate::HealthView::sightings) gives them, in any order. `watch` is `None` for an instance that has
/// neither checks nor a lease: then it passes, whatever is said.
pub fn agree<'a>(watch: Option<&Watch>, sightings: impl IntoIterator<Item = Sighting<'a>>) -> Agreed {
    let Some(watch) = watch else { return Agreed::nobody(Status::Passing, Cause::Unchecked) };
    let (mut lookers, mut others) = (Tally::default(), Tally::default());
    let (mut is_stale, mut said_critical) = (false, 0);
    for sighting in sightings {
        said_critical += usize::from(sighting.said == Status::Critical);
        match sighting.observation.status {
            Status::Unknown => is_stale = true,
            _ if watch.lookers().contains(sighting.observer) => lookers.add(&sighting),
            _ => others.add(&sighting),
        }
    }
    let tally = if lookers.counting() > 0 { lookers } else { others };
    match tally.verdict(said_critical, watch.lookers().len()) {
        Some((status, cause)) => tally.agreed(status, cause),
        None => Agreed::nobody(Status::Unknown, if is_stale { Cause::Stale } else { Cause::Unseen }),
    }
}

impl Agreed {
    fn nobody(status: Status, cause: Cause) -> Self {
        Self {
            status,
            cause,
            score: None,
            trend: Trend::Unknown,
            time_to_failure: TimeToFailure::NotPredicted,
            flap: Flap::Calm,
            looking: 0,
            failing: 0,
        }
    }
}

/// The sightings of some observers, counted.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    starting: usize,
    passing: usize,
    warning: usize,
    critical: usize,
    /// In millionths: sums of whole numbers are the same in any order.
    score_sum: u64,
    trend: Trend,
    time_to_failure: TimeToFailure,
    flap: Flap,
}

impl Tally {
    fn add(&mut self, sighting: &Sighting<'_>) {
        let seen = sighting.observation;
        match seen.status {
            Status::Unknown => return,
            Status::Starting => self.starting += 1,
            Status::Passing => self.passing += 1,
            Status::Warning => self.warning += 1,
            Status::Critical => self.critical += 1,
        }
        self.score_sum += (seen.score.score() * 1e6).round() as u64;
        self.trend = self.trend.max(seen.trend);
        self.time_to_failure = self.time_to_failure.max(seen.time_to_failure);
        self.flap = self.flap.max(seen.flap);
    }

    fn counting(&self) -> usize {
        self.starting + self.passing + self.warning + self.critical
    }

    /// `said_critical` is how many say so or did with their last word, `lookers` how many nodes there are to look. Who still
    /// sees it starting has no verdict to weigh.
    fn verdict(&self, said_critical: usize, lookers: usize) -> Option<(Status, Cause)> {
        Some(match *self {
            Self { critical: 0, warning: 0, passing: 0, starting: 0, .. } => return None,
            Self { critical: 0, warning: 0, passing: 0, .. } => (Status::Starting, Cause::Observed),
            Self { critical: 0, warning: 0, .. } => (Status::Passing, Cause::Observed),
            Self { critical: 0, .. } => (Status::Warning, Cause::Observed),
            Self { warning, passing, .. } if warning + passing > 0 => (Status::Warning, Cause::Path),
            _ if said_critical >= WITNESSES => (Status::Critical, Cause::Confirmed),
            _ if lookers == 1 => (Status::Critical, Cause::OnlyObserver),
            _ => (Status::Warning, Cause::Unconfirmed),
        })
    }

    fn agreed(&self, status: Status, cause: Cause) -> Agreed {
        let counted = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        Agreed {
            status,
            cause,
            score: Some(ScoreStep::nearest(self.score_sum as f64 / 1e6 / self.counting().max(1) as f64)),
            trend: self.trend,
            time_to_failure: self.time_to_failure,
            flap: self.flap,
            looking: counted(self.counting()),
            failing: counted(self.critical),
        }
    }
}
