//! The availability checker: what goes on while one node has a fault.
//!
//! How long writes pause, while there is one to do, is told as a figure, and is the benchmark's to judge (`rollcall-bench failover`):
//! here the machine has other things to do. What does not depend on that is judged: writes go on at all, and a node that no fault hit
//! refuses no stale read.

use std::collections::BTreeMap;

use rollcall_api::query::Consistency;

use super::{Finding, Judgement};
use crate::history::{Fault, History, Operation, Outcome};
use crate::nemesis;

const FINDINGS_MAX: usize = 10;
const MS: u64 = 1_000_000;
/// Fewest nodes of which one may be away.
const NODES_MIN: usize = 3;
/// Longest pause of writes while one node is away, until the fault ends: many elections.
const PAUSE_MAX_MS: u64 = 15_000;

pub(super) fn check(history: &History) -> Judgement {
    let mut judgement = Judgement::new("availability");
    let mut pauses = Vec::new();
    let losses = if history.run.nodes.len() < NODES_MIN { &[] } else { history.faults.as_slice() };
    for fault in losses.iter().filter(|fault| is_loss_of_leader(history, fault)) {
        let Some(pause) = longest_pause(history, fault) else { continue };
        if pause > PAUSE_MAX_MS && history.ended {
            let what = format!("{} at {} ms: no write for {pause} ms", fault.name, fault.begun / MS);
            judgement.findings.push(Finding::invalid("unavailable", what, []));
        }
        pauses.push(pause);
    }
    let (judged, refused) = stale_reads(history);
    judgement.findings.extend(refused);
    judgement.findings.truncate(FINDINGS_MAX);
    pauses.sort_unstable();
    if let (Some(median), Some(worst)) = (pauses.get(pauses.len() / 2), pauses.last()) {
        let text = format!("{}, writes paused {median} ms in the median, {worst} ms at worst", pauses.len());
        judgement.figure("leaders lost", text);
    }
    judgement.figure("stale reads", judged);
    judgement
}

/// The longest time during a fault, milliseconds, in which a write was under way and none was acknowledged; `None` when none was asked
/// for. One that has not ended with the fault is followed to its end.
fn longest_pause(history: &History, fault: &Fault) -> Option<u64> {
    let load = history.healed.unwrap_or(history.until);
    let ended = fault.ended.unwrap_or(load);
    let writes = history.operations.values().filter(|operation| operation.call.is_for_log());
    let writes: Vec<&Operation> = writes.filter(|write| write.left > fault.begun && write.invoked < ended).collect();
    let done = writes.iter().filter(|write| matches!(write.outcome, Outcome::Ok(_)));
    let mut acknowledged: Vec<u64> = done.map(|write| write.returned).collect();
    acknowledged.sort_unstable();
    if acknowledged.last().is_none_or(|last| *last < ended) {
        // A pause that lasts until then ends with the first that is done later, or with the load.
        let later = history.operations.values().filter(|it| it.call.is_for_log() && it.invoked >= ended);
        let later = later.filter(|it| matches!(it.outcome, Outcome::Ok(_))).map(|it| it.returned).min();
        acknowledged.push(later.unwrap_or(load).max(ended));
    }
    let (mut longest, mut since) = (None, fault.begun);
    for at in acknowledged {
        let under_way = writes.iter().filter(|write| write.left > since && write.invoked < at);
        if let Some(asked) = under_way.map(|write| write.invoked.max(since)).min() {
            longest = longest.max(Some((at - asked) / MS));
        }
        since = at;
    }
    longest
}

/// Whether a fault took the leader, and nothing else was wrong meanwhile.
fn is_loss_of_leader(history: &History, fault: &Fault) -> bool {
    !fault.skipped && nemesis::takes_leader(&fault.name) && !is_joined(history, fault)
}

/// Whether another fault was there at the same time.
fn is_joined(history: &History, fault: &Fault) -> bool {
    let end = |fault: &Fault| fault.ended.or(history.healed).unwrap_or(u64::MAX);
    let mut others = history.faults.iter().filter(|other| other.has_touched() && other.begun != fault.begun);
    others.any(|other| other.begun < end(fault) && fault.begun < end(other))
}

/// How many stale reads there were of nodes that no fault hit until then, and those of them that were refused.
fn stale_reads(history: &History) -> (usize, Vec<Finding>) {
    let away = away(history);
    let is_away = |operation: &Operation| {
        let mut spans = away.get(operation.node.as_str()).into_iter().flatten();
        spans.any(|(from, to)| *from < operation.returned && operation.invoked < *to)
    };
    let (mut count, mut findings) = (0, Vec::new());
    for operation in history.operations.values() {
        if !is_stale_read(operation) || is_away(operation) {
            continue;
        }
        count += 1;
        if let Outcome::Fail { why, .. } = &operation.outcome {
            let what = format!("{} refused a stale read ({why}), and no fault had hit it", operation.node);
            findings.push(Finding::invalid("stale read refused", what, [operation.id]));
        }
    }
    (count, findings)
}

/// Whether its own node answers it, with what it has.
fn is_stale_read(operation: &Operation) -> bool {
    matches!(operation.call.read(), Some((Consistency::Stale, None)))
}

/// For each node, from when to when it may not have served: from a fault that hit it until it first answered after that.
fn away(history: &History) -> BTreeMap<&str, Vec<(u64, u64)>> {
    let mut away: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for fault in history.faults.iter().filter(|fault| fault.has_touched() && nemesis::hits_processes(&fault.name)) {
        let ended = fault.ended.or(history.healed).unwrap_or(u64::MAX);
        // Of one that does not say whom it hit it may be any.
        let is_hit = |node: &&String| fault.hit.is_empty() || fault.hit.contains(node);
        for node in history.run.nodes.iter().filter(is_hit) {
            let later = history.operations.values().filter(|later| later.node == *node && later.invoked > ended);
            // What is asked for again may be answered by another node, when this one refused it; stale reads never are.
            let answers = later.filter(|later| is_stale_read(later) && matches!(later.outcome, Outcome::Ok(_)));
            let back = answers.map(|answer| answer.returned).min();
            away.entry(node).or_default().push((fault.begun, back.unwrap_or(u64::MAX)));
        }
    }
    away
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Answer, Call, Event, Expect, FaultPhase, RunInfo, Thing};

    /// What happened when, in milliseconds: a write or a stale read, of n2 unless `@n1` is said, that succeeds after one millisecond
    /// or is refused (`stuck`, `refusal`); `begin` and `over` of a fault of n1, and `end`.
    fn story(fault: &str, steps: &[(u64, &str)]) -> History {
        let nodes = ["n1", "n2", "n3"].map(str::to_owned).to_vec();
        let mut events = vec![Event::Run(RunInfo { nodes, ..RunInfo::default() })];
        for (op, (at, what)) in (1..).zip(steps) {
            let at = at * MS;
            let (what, node) = what.split_once('@').unwrap_or((what, "n2"));
            let thing = Thing::instance("web", "a");
            let (consistency, min_revision) = (Consistency::Stale, None);
            let read = Call::Get { thing: thing.clone(), consistency, min_revision };
            let write = Call::Put { thing, expect: Expect::Any };
            let refused = Outcome::Fail { why: "not_ready".to_owned(), revision: None };
            let found = Outcome::Ok(Answer::Found { revision: 7, staleness_ms: None, held: None });
            let written =
                Outcome::Ok(Answer::Written { revision: op, created: true, changed: true, modified: op, again: None });
            let of_fault = |phase| {
                let (fault, note, hit) = (fault.to_owned(), String::new(), vec!["n1".to_owned()]);
                Event::Fault { at, id: 0, fault, phase, note, hit, unheard_ms: None }
            };
            let (call, outcome) = match what {
                "write" => (write, written),
                "read" => (read, found),
                "refusal" => (read, refused),
                "stuck" => (write, refused),
                other => {
                    events.push(match other {
                        "begin" => of_fault(FaultPhase::Begun),
                        "over" => of_fault(FaultPhase::Ended),
                        "end" => Event::End { at },
                        _ => panic!("there is no step {other}"),
                    });
                    continue;
                }
            };
            events.push(Event::Invoke { at, op, client: op, node: node.to_owned(), call });
            events.push(Event::Return { at: at + MS, op, outcome });
        }
        History::of(events).expect("a history that a run can have")
    }

    #[track_caller]
    fn finds(fault: &str, steps: &[(u64, &str)], expected: &[&str]) {
        let judgement = check(&story(fault, steps));
        let kinds: Vec<&str> = judgement.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, expected, "{:#?}", judgement.findings);
    }

    #[test]
    fn writes_go_on_when_the_leader_is_lost() {
        let lost = [(0, "write"), (10, "begin")];
        finds("kill leader", &[lost.as_slice(), &[(700, "write"), (2_000, "over"), (2_100, "end")]].concat(), &[]);
        finds(
            "kill leader",
            &[lost.as_slice(), &[(20, "stuck"), (2_000, "over"), (17_000, "end")]].concat(),
            &["unavailable"],
        );
        finds(
            "pause leader",
            &[lost.as_slice(), &[(20, "stuck"), (16_000, "write"), (17_000, "over"), (18_000, "end")]].concat(),
            &["unavailable"],
        );
        finds("kill majority", &[lost.as_slice(), &[(16_000, "write"), (17_000, "over")]].concat(), &[]);
    }

    #[test]
    fn how_long_writes_pause_is_told() {
        let steps = [(0, "write"), (10, "begin"), (20, "stuck"), (319, "write"), (2_000, "over")];
        let figures = check(&story("kill leader", &steps)).figures;
        let told = ("leaders lost", "1, writes paused 300 ms in the median, 300 ms at worst".to_owned());
        assert_eq!(figures.first(), Some(&told));
    }

    #[test]
    fn a_node_that_no_fault_hit_refuses_no_stale_read() {
        for fault in ["kill leader", "kill majority", "partition halves"] {
            finds(fault, &[(10, "begin"), (20, "refusal"), (30, "over")], &["stale read refused"]);
            finds(fault, &[(10, "begin"), (20, "read"), (30, "over")], &[]);
        }
        finds("kill one", &[(10, "begin"), (20, "refusal@n1"), (30, "over")], &[]);
        finds("kill one", &[(10, "begin"), (20, "over"), (30, "refusal@n1"), (40, "read@n1")], &[]);
        finds("kill one", &[(10, "begin"), (20, "over"), (30, "read@n1"), (40, "refusal@n1")], &["stale read refused"]);
        finds("latency everywhere", &[(10, "begin"), (20, "refusal@n1"), (30, "over")], &["stale read refused"]);
    }
}
