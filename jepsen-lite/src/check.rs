//! Judging a history.
//!
//! Several checkers look at the same history and do not trust each other. [`replay`] orders everything by log index and
//! replays it on a model of the whole registry: it sees the most. [`linear`] ignores what nodes say about the log and asks
//! whether any order at all explains the answers of each register. [`set`], [`watch`], [`staleness`], [`lease`], [`lock`] and [`health`] know one promise
//! each, [`availability`] what goes on while one node has a fault. [`traffic`] asks whether the run was worth anything.

mod availability;
mod health;
mod lease;
mod linear;
mod lock;
mod order;
mod replay;
mod set;
mod staleness;
mod traffic;
mod watch;

use std::fmt;

use crate::history::{History, OpId};

/// What a checker came to. The worst one is the run's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Every promise was kept.
    Valid,
    /// The checker cannot say: too little happened, something is missing, or a bound was reached.
    Unknown,
    /// A promise was broken.
    Invalid,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Unknown => "UNKNOWN",
            Self::Invalid => "INVALID",
        })
    }
}

/// Something that a checker found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) verdict: Verdict,
    /// The kind, in a few stable words: `stale read`.
    pub(crate) kind: &'static str,
    /// What happened, for people.
    pub(crate) what: String,
    /// The operations that show it.
    pub(crate) ops: Vec<OpId>,
}

impl Finding {
    pub(crate) fn invalid(kind: &'static str, what: impl Into<String>, ops: impl Into<Vec<OpId>>) -> Self {
        Self { verdict: Verdict::Invalid, kind, what: what.into(), ops: ops.into() }
    }

    pub(crate) fn unknown(kind: &'static str, what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, kind, what: what.into(), ops: Vec::new() }
    }
}

/// What one checker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) checker: &'static str,
    pub(crate) findings: Vec<Finding>,
    /// Figures that the report shows.
    pub(crate) figures: Vec<(&'static str, String)>,
}

impl Judgement {
    pub(crate) fn new(checker: &'static str) -> Self {
        Self { checker, findings: Vec::new(), figures: Vec::new() }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Valid)
    }

    fn figure(&mut self, name: &'static str, value: impl fmt::Display) {
        self.figures.push((name, value.to_string()));
    }
}

/// All checkers, in the order of the report.
const CHECKERS: &[fn(&History) -> Judgement] = &[
    traffic::check,
    replay::check,
    linear::check,
    set::check,
    watch::check,
    staleness::check,
    lease::check,
    lock::check,
    health::check,
    availability::check,
];

/// All judgements of a history.
pub(crate) fn check(history: &History) -> Vec<Judgement> {
    CHECKERS.iter().map(|check| check(history)).collect()
}

/// The verdict on the run.
pub(crate) fn verdict(judgements: &[Judgement]) -> Verdict {
    judgements.iter().map(Judgement::verdict).max().unwrap_or(Verdict::Unknown)
}

#[cfg(test)]
mod tests;
