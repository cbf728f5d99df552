//! The one function behind every front door: who should serve this?
//!
//! It is pure: the same index, question, moment and seed give the same answer. With a [`Scratch`] that has grown, it
//! allocates nothing but the list of the answer.

use crate::index::ServiceIndex;
use crate::policy::Strategy;
use crate::query::{Moment, Query, QueryError};
use crate::random::Random;
use crate::reason::{Reason, Reasons};
use crate::score::{Score, Scorer};
use crate::stage::Stage;
use crate::strategy::Row;

/// Room for the work of one request. Keep one for each thread; it grows to the greatest service and stays.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) rows: Vec<Row>,
}

/// One instance of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// Where it is in [`ServiceIndex::candidates`].
    pub position: usize,
    /// Its score.
    pub score: Score,
    /// Why it is here, and what is to be said of it.
    pub reasons: Reasons,
}

/// Who should serve a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Whom to send to, best first; as many as were asked for, or all that there are. Not empty.
    pub picks: Vec<Pick>,
    /// How they were chosen.
    pub strategy: Strategy,
    /// How many could have been chosen.
    pub eligible: usize,
    /// Whether health was not asked, since too few are healthy.
    pub is_open: bool,
}

/// Why nobody should.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The question cannot be answered as it stands.
    #[error(transparent)]
    Invalid(#[from] QueryError),
    /// There is no instance at all.
    #[error("no instance is registered")]
    NoInstance,
    /// No instance fits, whatever its health.
    #[error("no instance fits the request")]
    NoneFits(Census),
    /// Instances fit, and none may be selected by its health.
    #[error("no healthy instance")]
    NoneHealthy(Census),
}

/// How many instances are out for which reason; one may be out for several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// All instances.
    pub instances: usize,
    /// Reasons with their counts, in the order of [`Reason::ALL`]; none with 0.
    pub reasons: Vec<(Reason, usize)>,
}

/// Chooses instances of `index` for `query`.
///
/// # Errors
/// When the question is out of bounds, or when nobody is left; failing open is asked for by policy or question.
pub fn resolve(
    index: &ServiceIndex,
    query: &Query<'_>,
    moment: Moment<'_>,
    rng: &mut Random,
    scratch: &mut Scratch,
) -> Result<Answer, Refusal> {
    let scorer = Scorer::new(index, query, moment);
    let rows = &mut scratch.rows;
    let stage = Stage::set(&scorer, query, moment.turn, rows)?;
    if rows.is_empty() {
        return Err(refusal(&scorer));
    }
    stage.pick(rows, query.n, rng);
    let told = Telling::of(&stage, rows);
    let picks = rows.iter().take(query.n).enumerate().map(|(place, row)| Pick {
        position: row.index(),
        score: scorer.score(row.index()),
        reasons: told.why(place, row).and(scorer.notes(row.index())),
    });
    Ok(Answer { picks: picks.collect(), strategy: stage.strategy, eligible: rows.len(), is_open: stage.is_open })
}

/// What is needed to say why a row was picked.
pub(crate) struct Telling {
    strategy: Strategy,
    is_open: bool,
    /// The key to compare with: of the best, for [`Strategy::Locality`] of the nearest.
    best: f64,
    /// The lowest rank that is near the best.
    floor: f64,
}

impl Telling {
    pub(crate) fn of(stage: &Stage<'_, '_>, rows: &[Row]) -> Self {
        let keys = || rows.iter().map(|row| row.key);
        let best = match stage.strategy {
            Strategy::Scored | Strategy::ConsistentHash => keys().fold(0.0, f64::max),
            Strategy::Locality => keys().fold(f64::INFINITY, f64::min),
            _ => 0.0,
        };
        Self { strategy: stage.strategy, is_open: stage.is_open, best, floor: stage.floor(best) }
    }

    /// What the rank of a row lacks to be near the best.
    pub(crate) fn gap(&self, row: &Row) -> f64 {
        if self.strategy == Strategy::Scored { (self.floor - row.key).max(0.0) } else { 0.0 }
    }

    /// Why `row` is in this `place` of the answer.
    pub(crate) fn why(&self, place: usize, row: &Row) -> Reasons {
        let reason = match self.strategy {
            Strategy::Scored if row.key >= self.best => Reason::Best,
            Strategy::Scored if row.key >= self.floor => Reason::NearTie,
            Strategy::ConsistentHash if row.key >= self.best => Reason::KeyOwner,
            Strategy::ConsistentHash if place == 0 => Reason::KeyOverflow,
            Strategy::Scored | Strategy::ConsistentHash => Reason::NextBest,
            Strategy::RoundRobin | Strategy::WeightedRoundRobin => Reason::Turn,
            Strategy::LeastConnections => Reason::LeastLoaded,
            Strategy::P2cEwma => Reason::BetterOfTwo,
            Strategy::Random | Strategy::HealthBased => Reason::Drawn,
            Strategy::Locality if row.key <= self.best => Reason::Local,
            Strategy::Locality => Reason::SpillOver,
        };
        let reasons = Reasons::default().with(reason);
        if self.is_open { reasons.with(Reason::FailOpen) } else { reasons }
    }
}

/// Says why nobody is left.
#[cold]
fn refusal(scorer: &Scorer<'_>) -> Refusal {
    let index = scorer.index;
    let mut fits = false;
    let mut counts = vec![0; Reason::ALL.len()];
    for (position, entry) in index.entries.iter().enumerate() {
        let misfits = scorer.asked.misfits(index, position);
        fits |= misfits.is_empty();
        for reason in misfits.and(scorer.asked.ailments(entry)).iter() {
            counts[reason as usize] += 1;
        }
    }
    let told = Reason::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0);
    let census = Census { instances: index.entries.len(), reasons: told.collect() };
    match (census.instances, fits) {
        (0, _) => Refusal::NoInstance,
        (_, true) => Refusal::NoneHealthy(census),
        (_, false) => Refusal::NoneFits(census),
    }
}
