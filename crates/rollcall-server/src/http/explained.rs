//! Explanations in the words of the API.

use std::time::Duration;

use rollcall_api::{DecidedBy, EXPLAINED_MAX, ExplainedInstance, ExplainedReason, Explanation, FactorTerm};
use rollcall_routing::{Line, Query, Reason, Side, Term};
use rollcall_types::Revision;

use crate::selection::Explained;

/// An explanation of `query` by the instances as they were at `revision`.
pub(crate) fn wire(explained: &Explained, query: &Query<'_>, revision: Revision, is_past: bool) -> Explanation {
    let mut lines: Vec<&Line> = explained.explanation.lines.iter().collect();
    lines.sort_by(|a, b| {
        (b.is_in, b.score.value()).partial_cmp(&(a.is_in, a.score.value())).unwrap_or(a.position.cmp(&b.position))
    });
    let omitted = lines.len().saturating_sub(EXPLAINED_MAX);
    lines.truncate(EXPLAINED_MAX);
    Explanation {
        strategy: explained.explanation.strategy.as_str().to_owned(),
        decided_by: decided_by(explained, query),
        fail_open: explained.explanation.is_open,
        instances: lines.into_iter().map(|line| instance(explained, line)).collect(),
        omitted: omitted as u64,
        revision: revision.get(),
        is_past,
    }
}

fn decided_by(explained: &Explained, query: &Query<'_>) -> DecidedBy {
    let said = &explained.prepared.said;
    let by = |is_asked: bool, is_said: bool| {
        let who = if is_asked {
            "request"
        } else if is_said {
            "service"
        } else {
            "default"
        };
        who.to_owned()
    };
    // What the service says of the strategy counts only where it can be followed.
    let follows = said.strategy == Some(explained.explanation.strategy);
    DecidedBy {
        strategy: by(query.strategy.is_some(), follows),
        weights: by(query.weights.is_some(), said.weights.is_some()),
        tie_band: by(query.tie_band.is_some(), said.tie_band.is_some()),
        fail_open: by(query.fail_open.is_some(), said.fail_open.is_some()),
        subset: by(false, said.subset.is_some()),
    }
}

fn instance(explained: &Explained, line: &Line) -> ExplainedInstance {
    let candidate = &explained.prepared.index.candidates()[line.position];
    let instance = explained.prepared.instance(line.position);
    let score = &line.score;
    ExplainedInstance {
        service: instance.service.to_string(),
        id: instance.id.to_string(),
        is_in: line.is_in,
        reasons: line.reasons.iter().map(reason).collect(),
        state: candidate.status.into(),
        since: line.since.into(),
        weight: candidate.weight.get(),
        share: short(line.share),
        score: short(score.value()),
        rank: short(score.rank()),
        sum: short(score.sum),
        terms: line.terms.iter().map(term).collect(),
        health: short(score.health),
        forecast: short(score.forecast),
        ramp: short(score.ramp),
        gap: short(line.gap),
        weakest: line.weakest.as_str().to_owned(),
        until: line.until.map(Into::into),
        time_to_failure_ms: line.forecast.time_to_failure.map(millis),
    }
}

fn reason(reason: Reason) -> ExplainedReason {
    let side = match reason.side() {
        Side::In => "in",
        Side::Out => "out",
        Side::Note => "note",
    };
    ExplainedReason {
        code: reason.code().to_owned(),
        side: side.to_owned(),
        why: reason.phrase().to_owned(),
        change: reason.remedy().to_owned(),
    }
}

fn term(term: &Term) -> FactorTerm {
    FactorTerm {
        factor: term.factor.as_str().to_owned(),
        signal: term.signal.to_string(),
        value: short(term.value),
        weight: short(term.weight),
        product: short(term.product()),
    }
}

/// In four decimals, so that what is added up by hand comes out.
fn short(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
