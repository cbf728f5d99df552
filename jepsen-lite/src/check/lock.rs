//! The lock checker: never two holders of a lock, and in the end always one again.
//!
//! Three promises, judged apart:
//! - *In the log.* Each holder of a key has a number of its own, which rises with the log index; what a lock protects is written,
//!   with that number, between its own acquisition and the next one.
//! - *In time.* A session lasts at least its TTL from the call of whatever proved that it lived, and a lock at least until the call
//!   of the last guarded write that went through. So there are times at which a client surely holds a lock, and no two
//!   clients surely hold one at once. Only the harness's own clock is asked.
//! - *It passes on.* After the heal everybody is silent; soon after, each key that was ever locked must have been locked anew.

use std::collections::BTreeMap;

use super::{Finding, Judgement};
use crate::history::{Answer, Call, History, OpId, Operation, Outcome};
use crate::workload::locks::TTL_MS;

const FINDINGS_MAX: usize = 10;
const MS: u64 = 1_000_000;

/// One holder of a key, from its acquisition on.
#[derive(Debug)]
struct Hold<'h> {
    op: OpId,
    session: &'h str,
    fence: u64,
    modified: u64,
    /// From when to when it surely held the key; empty when the end is not after the begin.
    surely: (u64, u64),
    /// Guarded writes: operation and log index.
    guarded: Vec<(OpId, u64)>,
}

pub(super) fn check(history: &History) -> Judgement {
    let mut judgement = Judgement::new("lock");
    let holds = holds(history);
    let mut guarded = 0;
    for (key, holds) in &holds {
        in_log(key, holds, &mut judgement);
        in_time(key, holds, &mut judgement);
        guarded += holds.iter().map(|hold| hold.guarded.len()).sum::<usize>();
    }
    judgement.findings.extend(passed_on(history));
    judgement.findings.truncate(FINDINGS_MAX);
    judgement.figure("locks held", holds.values().map(Vec::len).sum::<usize>());
    judgement.figure("guarded writes", guarded);
    judgement
}

/// The known holders of each key, by their numbers.
fn holds(history: &History) -> BTreeMap<&str, Vec<Hold<'_>>> {
    let alive = proofs_of_life(history);
    let mut holds: BTreeMap<&str, Vec<Hold<'_>>> = BTreeMap::new();
    for operation in history.operations.values() {
        let (Call::Acquire { key, session }, Outcome::Ok(Answer::Acquired { fence, modified })) =
            (&operation.call, &operation.outcome)
        else {
            continue;
        };
        let (op, fence, modified) = (operation.id, *fence, *modified);
        let released = released(history, key, session, operation.returned);
        let proofs = alive.get(session.as_str()).into_iter().flatten().copied();
        let last_proof = proofs.filter(|proof| *proof < released).max().unwrap_or(operation.invoked);
        let surely = (operation.returned, (last_proof + TTL_MS * MS).min(released));
        let guarded = guarded(history, key, session, fence);
        holds.entry(key).or_default().push(Hold { op, session, fence, modified, surely, guarded });
    }
    holds.values_mut().for_each(|holds| holds.sort_by_key(|hold| (hold.fence, hold.modified)));
    holds
}

/// For each session the calls whose success proves that it lived then: it never comes back once it ended.
fn proofs_of_life(history: &History) -> BTreeMap<&str, Vec<u64>> {
    let mut alive: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for operation in history.operations.values() {
        let session = match (&operation.call, &operation.outcome) {
            (Call::Open, Outcome::Ok(Answer::Opened { session })) => session,
            (Call::Renew { session }, Outcome::Ok(_)) => session,
            _ => continue,
        };
        alive.entry(session).or_default().push(operation.invoked);
    }
    alive
}

/// When the session first asked to unlock the key after `since`; never is the end of time.
fn released(history: &History, key: &str, session: &str, since: u64) -> u64 {
    let asked = history.operations.values().filter(|operation| {
        let is_it = matches!(&operation.call, Call::Release { key: of, session: by } if of == key && by == session);
        is_it && operation.invoked >= since && !matches!(operation.outcome, Outcome::Fail { .. })
    });
    asked.map(|operation| operation.invoked).min().unwrap_or(u64::MAX)
}

fn guarded(history: &History, key: &str, session: &str, fence: u64) -> Vec<(OpId, u64)> {
    let writes = history.operations.values().filter_map(|operation| match (&operation.call, &operation.outcome) {
        (Call::Guarded { key: of, session: by, fence: with }, Outcome::Ok(Answer::Guarded { modified }))
            if of == key && by == session && *with == fence =>
        {
            Some((operation.id, *modified))
        }
        _ => None,
    });
    writes.collect()
}

/// What the log says of the holders of one key.
fn in_log(key: &str, holds: &[Hold<'_>], judgement: &mut Judgement) {
    for pair in holds.windows(2) {
        let [before, after] = pair else { continue };
        let ops = vec![before.op, after.op];
        if before.fence == after.fence && before.session != after.session {
            let what = format!("{} and {} are both holder {} of {key}", before.session, after.session, before.fence);
            judgement.findings.push(Finding::invalid("two holders", what, ops));
        } else if before.modified > after.modified {
            let what = format!("holder {} of {key} came after holder {}", before.fence, after.fence);
            judgement.findings.push(Finding::invalid("fence fell", what, ops));
        }
        let next_since = if before.fence == after.fence { u64::MAX } else { after.modified };
        for (op, modified) in before.guarded.iter().filter(|(_, modified)| *modified > next_since) {
            let what = format!(
                "holder {} of {key} wrote at {modified}, after the next one came at {next_since}",
                before.fence
            );
            judgement.findings.push(Finding::invalid("stale holder wrote", what, [before.op, *op]));
        }
    }
    for hold in holds {
        for (op, modified) in hold.guarded.iter().filter(|(_, modified)| *modified < hold.modified) {
            let what =
                format!("holder {} of {key} wrote at {modified}, before it came at {}", hold.fence, hold.modified);
            judgement.findings.push(Finding::invalid("stale holder wrote", what, [hold.op, *op]));
        }
    }
}

/// What the clock says of them.
fn in_time(key: &str, holds: &[Hold<'_>], judgement: &mut Judgement) {
    let mut sure: Vec<&Hold<'_>> = holds.iter().filter(|hold| hold.surely.0 < hold.surely.1).collect();
    sure.sort_by_key(|hold| hold.surely);
    let mut longest: Option<&Hold<'_>> = None;
    for hold in sure {
        if let Some(other) = longest.filter(|other| other.surely.1 > hold.surely.0 && other.session != hold.session) {
            let both = (other.surely.1.min(hold.surely.1) - hold.surely.0) / MS;
            let what = format!("{} and {} both surely held {key} for {both} ms", other.session, hold.session);
            judgement.findings.push(Finding::invalid("two holders at once", what, [other.op, hold.op]));
        }
        longest = longest.filter(|other| other.surely.1 >= hold.surely.1).or(Some(hold));
    }
}

/// After the heal somebody must get each key that was ever locked.
fn passed_on(history: &History) -> Vec<Finding> {
    let healed = history.healed.unwrap_or(u64::MAX);
    let mut last: BTreeMap<&str, &Operation> = BTreeMap::new();
    for operation in history.operations.values().filter(|operation| operation.invoked > healed) {
        if let Call::Acquire { key, .. } = &operation.call {
            last.insert(key, operation);
        }
    }
    let is_used = history.operations.values().any(|operation| matches!(operation.call, Call::Acquire { .. }));
    if last.is_empty() && history.ended && is_used {
        return vec![Finding::unknown("never asked", "nobody asked for a lock after the heal")];
    }
    let kept = last.into_iter().filter(|(_, operation)| !matches!(operation.outcome, Outcome::Ok(_)));
    kept.map(|(key, operation)| {
        Finding::invalid(
            "never passed on",
            format!("{key} is still locked long after everybody fell silent"),
            [operation.id],
        )
    })
    .collect()
}
