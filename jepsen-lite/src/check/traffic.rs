//! Whether the run says anything: enough happened, to every node, with every fault that was asked for, and to its end.
//!
//! What was done while faults were made is what counts: final reads happen in any run.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Judgement};
use crate::history::{History, Outcome};
use crate::nemesis::Kind;

/// Findings after which no more are told.
const FINDINGS_MAX: usize = 20;
/// Longest time after the heal until all nodes serve.
const RECOVERY_MAX_MS: u64 = 30_000;

pub(super) fn check(history: &History) -> Judgement {
    let mut judgement = Judgement::new("traffic");
    let findings = &mut judgement.findings;
    let (mut ok, mut fail, mut info) = (0_u64, 0_u64, 0_u64);
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    let mut served: BTreeSet<&str> = BTreeSet::new();
    let healed = history.healed.unwrap_or(u64::MAX);
    for operation in history.operations.values() {
        let is_load = operation.invoked < healed;
        let mut none = 0;
        let count = if is_load { kinds.entry(operation.call.kind()).or_default() } else { &mut none };
        match &operation.outcome {
            Outcome::Ok(_) if is_load => {
                (ok, *count) = (ok + 1, *count + 1);
                served.insert(&operation.node);
            }
            Outcome::Ok(_) => {}
            Outcome::Fail { .. } => fail += 1,
            Outcome::Info { why } => {
                info += 1;
                if why.starts_with("unexpected") {
                    let what =
                        format!("operation {} got an answer that the API does not describe: {why}", operation.id);
                    findings.push(Finding::invalid("unexpected answer", what, [operation.id]));
                }
            }
        }
    }
    if ok < history.run.min_ok {
        let what = format!("{ok} operations succeeded, {} must have for the run to say anything", history.run.min_ok);
        findings.push(Finding::unknown("too little traffic", what));
    }
    for (kind, _) in kinds.iter().filter(|(_, count)| **count == 0) {
        findings.push(Finding::unknown("too little traffic", format!("no {kind} ever succeeded")));
    }
    for node in history.run.nodes.iter().filter(|node| !served.contains(node.as_str())) {
        findings.push(Finding::unknown("too little traffic", format!("{node} never answered")));
    }
    check_faults(history, findings);
    check_end(history, findings);
    for (_, node, what) in &history.troubles {
        findings.push(Finding::invalid("node in trouble", format!("{node}: {what}"), []));
    }
    findings.truncate(FINDINGS_MAX);
    judgement.figure("ok / fail / info", format!("{ok} / {fail} / {info}"));
    let made = history.faults.iter().filter(|fault| !fault.skipped).count();
    judgement.figure("faults (skipped)", format!("{made} ({})", history.faults.len() - made));
    judgement
}

/// Every nemesis that was asked for must have struck.
fn check_faults(history: &History, findings: &mut Vec<Finding>) {
    for name in &history.run.nemeses {
        let kinds: Vec<&str> = Kind::of_name(name).into_iter().flatten().map(|kind| kind.describe()).collect();
        let of_name = || history.faults.iter().filter(|fault| kinds.contains(&fault.name.as_str()));
        if !of_name().any(|fault| !fault.skipped) {
            let why = of_name().next().map_or("the run was too short", |fault| fault.note.as_str());
            findings.push(Finding::unknown("nemesis skipped", format!("{name} never struck: {why}")));
        }
    }
}

fn check_end(history: &History, findings: &mut Vec<Finding>) {
    let millis = |nanos: u64| nanos / 1_000_000;
    match (history.healed, history.recovered) {
        (Some(healed), Some(recovered)) if millis(recovered.saturating_sub(healed)) > RECOVERY_MAX_MS => {
            let what = format!("all nodes served again {} ms after the heal", millis(recovered.saturating_sub(healed)));
            findings.push(Finding::invalid("slow recovery", what, []));
        }
        (Some(_), None) if history.ended => {
            findings.push(Finding::invalid("no recovery", "after the heal not all nodes served again", []));
        }
        _ => {}
    }
    if !history.ended {
        findings.push(Finding::unknown("broken off", "the history ends before the run did"));
    }
}
