//! Why each instance is in or out, in numbers that a person can add up.
//!
//! The explanation is made by the same functions as the answer: who takes part, what everyone is weighed by. What chance
//! decides is told as a share: how often an instance would be picked if the question were asked again and again.

mod share;
mod signal;

use rollcall_types::UnixMillis;

pub use self::signal::Signal;
use crate::candidate::Forecast;
use crate::factor::Factor;
use crate::index::ServiceIndex;
use crate::policy::Strategy;
use crate::query::{Moment, Query, QueryError};
use crate::reason::{Reason, Reasons};
use crate::resolve::{Answer, Scratch, Telling};
use crate::score::{Score, Scorer};
use crate::stage::Stage;

/// One factor of one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Which.
    pub factor: Factor,
    /// What was measured or declared; prints as a phrase for people.
    pub signal: Signal,
    /// What that is worth, in [0, 1].
    pub value: f64,
    /// What the factor counts for, in [0, 1].
    pub weight: f64,
}

impl Term {
    /// What it adds to the score.
    pub fn product(&self) -> f64 {
        self.value * self.weight
    }
}

/// One instance, in or out.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Where it is in [`ServiceIndex::candidates`].
    pub position: usize,
    /// Whether it may be picked, or was.
    pub is_in: bool,
    /// Why, and what else is to be said of it.
    pub reasons: Reasons,
    /// Part of the requests like this one that it would get as first pick, in [0, 1].
    pub share: f64,
    /// Its factors, in the order of [`Factor::ALL`].
    pub terms: [Term; Factor::ALL.len()],
    /// Its score; also of those that are out, as it would be.
    pub score: Score,
    /// What its rank lacks to be near the best; 0 when it is, or when ranks are not asked for.
    pub gap: f64,
    /// The factor that takes most away from its score.
    pub weakest: Factor,
    /// What is expected of it.
    pub forecast: Forecast,
    /// Since when it has its status.
    pub since: UnixMillis,
    /// When a quarantine or an ejection that keeps it out ends by itself.
    pub until: Option<UnixMillis>,
}

/// Why each instance is in or out.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// How instances are chosen.
    pub strategy: Strategy,
    /// Whether health is not asked, since too few are healthy.
    pub is_open: bool,
    /// Every instance, in the order of the index.
    pub lines: Vec<Line>,
}

/// Explains `query`; with the `answer` that was given to it, also who was picked. Allocates; costs some microseconds an
/// instance.
///
/// # Errors
/// When the question is out of bounds.
pub fn explain(
    index: &ServiceIndex,
    query: &Query<'_>,
    moment: Moment<'_>,
    answer: Option<&Answer>,
) -> Result<Explanation, QueryError> {
    let scorer = Scorer::new(index, query, moment);
    let mut scratch = Scratch::default();
    let stage = Stage::set(&scorer, query, moment.turn, &mut scratch.rows)?;
    let rows = &scratch.rows;
    let shares = share::shares(&stage, rows);
    let told = Telling::of(&stage, rows);
    let mut lines: Vec<Line> = (0..index.entries.len()).map(|position| line(&scorer, query, position)).collect();
    for (row, share) in rows.iter().zip(shares) {
        let line = &mut lines[row.index()];
        line.share = share;
        line.is_in = share > 0.0;
        line.gap = told.gap(row);
        // Health was not asked, or it has no objection: what is left of the reasons are notes.
        line.reasons = line.reasons.only_notes().and(match (line.is_in, line.gap > 0.0) {
            (true, _) => told.why(0, row),
            (false, true) => Reasons::default().with(Reason::Outranked),
            (false, false) => Reasons::default().with(Reason::PassedOver),
        });
    }
    for line in &mut lines {
        if !line.is_in && !line.reasons.is_out() {
            line.reasons.add(Reason::NotInSubset);
        }
    }
    if let Some(answer) = answer {
        mark(&mut lines, answer);
    }
    Ok(Explanation { strategy: stage.strategy, is_open: stage.is_open, lines })
}

/// Tells who was picked, and who could have been.
fn mark(lines: &mut [Line], answer: &Answer) {
    for (position, line) in lines.iter_mut().enumerate() {
        match answer.picks.iter().find(|pick| pick.position == position) {
            Some(pick) => {
                line.is_in = true;
                line.reasons = line.reasons.only_notes().and(pick.reasons);
            }
            None if line.is_in => {
                line.is_in = false;
                line.reasons = line.reasons.only_notes().with(Reason::NotDrawn);
            }
            None => {}
        }
    }
}

/// One instance by itself, before it is compared.
fn line(scorer: &Scorer<'_>, query: &Query<'_>, position: usize) -> Line {
    let (entry, candidate) = (&scorer.index.entries[position], &scorer.index.candidates()[position]);
    let score = scorer.score(position);
    let terms = Factor::ALL.map(|factor| Term {
        factor,
        signal: signal::of(scorer, query, position, factor),
        value: score.factors[factor as usize],
        weight: scorer.weights.of(factor),
    });
    let out = scorer.asked.misfits(scorer.index, position).and(scorer.asked.ailments(entry));
    Line {
        position,
        is_in: false,
        reasons: out.and(scorer.notes(position)),
        share: 0.0,
        terms,
        weakest: score.weakest(&scorer.weights),
        score,
        gap: 0.0,
        forecast: candidate.forecast,
        since: candidate.since,
        until: scorer.asked.kept_out_until(entry),
    }
}
