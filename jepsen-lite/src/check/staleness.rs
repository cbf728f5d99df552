//! Whether nodes tell the truth about how old their answers may be.
//!
//! A read that says "at most 30 ms old" and shows revision 7 is wrong by as much as somebody knew of a later revision more
//! than 30 ms before the read was asked for. Measured from the request on, the time that the answer itself took does not count.

use super::{Finding, Judgement};
use crate::history::{History, OpId, Outcome};

/// How much older than it says an answer may be. What it says is a bound and needs no leave; this is for what a follower
/// shows a moment before the leader, of which nobody was told yet.
const SLACK_MS: u64 = 20;
const FINDINGS_MAX: usize = 5;

pub(super) fn check(history: &History) -> Judgement {
    let mut judgement = Judgement::new("staleness");
    let known = Known::of(history);
    let (mut claims, mut oldest, mut worst) = (0_usize, 0, 0);
    for operation in history.operations.values() {
        let Outcome::Ok(answer) = &operation.outcome else { continue };
        let (Some(claimed), Some(_)) = (answer.staleness_ms(), operation.call.read()) else { continue };
        claims += 1;
        let Some((since, by)) = answer.revision().and_then(|revision| known.first_above(revision)) else { continue };
        let age = operation.invoked.saturating_sub(since) / 1_000_000;
        oldest = oldest.max(age);
        let excess = age.saturating_sub(claimed);
        worst = worst.max(excess);
        if excess > SLACK_MS && judgement.findings.len() < FINDINGS_MAX {
            let what = format!(
                "operation {} at {} says that it is at most {claimed} ms old, and was {age} ms behind operation {by}",
                operation.id, operation.node
            );
            judgement.findings.push(Finding::invalid("staleness understated", what, [by, operation.id]));
        }
    }
    judgement.figure("claims", claims);
    judgement.figure("oldest answer", format!("{oldest} ms"));
    judgement.figure("most understated by", format!("{worst} ms"));
    judgement
}

/// When each revision became known.
struct Known {
    /// Revision, the earliest time of an answer with this or a later one, and whose; by revision.
    steps: Vec<(u64, u64, OpId)>,
}

impl Known {
    fn of(history: &History) -> Self {
        let answered = history.operations.values().filter(|operation| operation.returned != u64::MAX);
        let mut steps: Vec<(u64, u64, OpId)> =
            answered.filter_map(|operation| Some((operation.revision()?, operation.returned, operation.id))).collect();
        steps.sort_unstable();
        let mut earliest = (u64::MAX, 0);
        for step in steps.iter_mut().rev() {
            if step.1 < earliest.0 {
                earliest = (step.1, step.2);
            }
            (step.1, step.2) = earliest;
        }
        Self { steps }
    }

    /// When anything later than `revision` was known first, and by which operation.
    fn first_above(&self, revision: u64) -> Option<(u64, OpId)> {
        let index = self.steps.partition_point(|(known, _, _)| *known <= revision);
        self.steps.get(index).map(|(_, at, op)| (*at, *op))
    }
}
