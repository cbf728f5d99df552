//! The set checker: nothing acknowledged is lost, nothing is there twice, nothing comes back.
//!
//! It looks at times only, not at revisions, and at services whose instances are registered once and removed at most once. A
//! linearizable list that began after a registration was acknowledged, and ended before its removal began, holds the
//! instance; one that began after the removal was acknowledged does not. Lists of other consistencies count at the end of the
//! run, when every node was asked for what it has after it caught up.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_api::query::Consistency;

use super::{Finding, Judgement};
use crate::history::{Answer, Call, Expect, History, OpId, Operation, Outcome, Thing};

const FINDINGS_MAX: usize = 20;

/// The life of an instance, in times of the harness.
#[derive(Debug, Default, Clone, Copy)]
struct Life {
    put: OpId,
    put_begun: u64,
    /// `u64::MAX`: not acknowledged.
    put_ended: u64,
    remove: OpId,
    /// `u64::MAX`: never removed.
    remove_begun: u64,
    /// `u64::MAX`: not acknowledged.
    remove_ended: u64,
    /// Its client was told that it did not happen.
    is_refused: bool,
}

pub(super) fn check(history: &History) -> Judgement {
    let mut judgement = Judgement::new("set");
    let Some(mut services) = lives(history) else {
        judgement.figure("applies", "no: instances are written more than once");
        return judgement;
    };
    let (mut lists, mut looked) = (0_usize, BTreeSet::new());
    for operation in history.operations.values() {
        let (Call::List { service, consistency, .. }, Outcome::Ok(Answer::Listed { items, .. })) =
            (&operation.call, &operation.outcome)
        else {
            continue;
        };
        let is_final = history.healed.is_some_and(|healed| operation.invoked > healed);
        if is_final {
            looked.insert(service.as_str());
        }
        if *consistency == Consistency::Linearizable {
            lists += 1;
            let lives = services.entry(service.as_str()).or_default();
            let shown: Vec<&str> = items.iter().map(|(id, _)| id.as_str()).collect();
            judge(&mut judgement.findings, operation, service, lives, &shown);
        }
    }
    let unread: Vec<&&str> = services
        .iter()
        .filter(|(name, lives)| !lives.is_empty() && !looked.contains(**name))
        .map(|(name, _)| name)
        .collect();
    if !unread.is_empty() {
        judgement
            .findings
            .push(Finding::unknown("never read", format!("services that no final list shows: {unread:?}")));
    }
    judgement.findings.truncate(FINDINGS_MAX);
    judgement.figure("instances", services.values().map(BTreeMap::len).sum::<usize>());
    judgement.figure("linearizable lists", lists);
    judgement
}

/// Lives by service and instance; `None` when an instance was written more than once.
fn lives(history: &History) -> Option<BTreeMap<&str, BTreeMap<&str, Life>>> {
    let mut services: BTreeMap<&str, BTreeMap<&str, Life>> = BTreeMap::new();
    for operation in history.operations.values() {
        let Some((Thing::Instance { service, id }, Expect::Any)) = operation.call.write() else {
            if operation.call.write().is_some() {
                return None;
            }
            continue;
        };
        let blank = Life { put_ended: u64::MAX, remove_begun: u64::MAX, remove_ended: u64::MAX, ..Life::default() };
        let life = services.entry(service).or_default().entry(id).or_insert(blank);
        match operation.call {
            Call::Put { .. } if life.put == 0 => {
                (life.put, life.put_begun, life.put_ended) = (operation.id, operation.invoked, acknowledged(operation));
                life.is_refused = matches!(operation.outcome, Outcome::Fail { .. });
            }
            Call::Remove { .. } if life.remove == 0 => {
                (life.remove, life.remove_ended) = (operation.id, acknowledged(operation));
                if !matches!(operation.outcome, Outcome::Fail { .. }) {
                    life.remove_begun = operation.invoked;
                }
            }
            _ => return None,
        }
    }
    Some(services)
}

fn acknowledged(operation: &Operation) -> u64 {
    if matches!(operation.outcome, Outcome::Ok(_)) { operation.returned } else { u64::MAX }
}

fn judge(findings: &mut Vec<Finding>, list: &Operation, service: &str, lives: &BTreeMap<&str, Life>, shown: &[&str]) {
    let held: BTreeSet<&str> = shown.iter().copied().collect();
    if held.len() != shown.len() {
        let what = format!("list {} of {service} shows an instance twice", list.id);
        findings.push(Finding::invalid("duplicate", what, [list.id]));
    }
    for (id, life) in lives {
        let must_be = life.put_ended < list.invoked && list.returned < life.remove_begun;
        if must_be && !held.contains(id) {
            let what = format!(
                "{service}/{id} was acknowledged (operation {}) and is missing from list {}",
                life.put, list.id
            );
            findings.push(Finding::invalid("lost", what, [life.put, list.id]));
        }
        if life.remove_ended < list.invoked && held.contains(id) {
            let what = format!(
                "the removal of {service}/{id} was acknowledged (operation {}) and list {} shows it",
                life.remove, list.id
            );
            findings.push(Finding::invalid("resurrected", what, [life.put, life.remove, list.id]));
        }
        if held.contains(id) && (life.is_refused || list.returned < life.put_begun) {
            let what = format!(
                "{service}/{id} is in list {}, and its registration (operation {}) failed or had not begun",
                list.id, life.put
            );
            findings.push(Finding::invalid("phantom", what, [life.put, list.id]));
        }
    }
    for id in held.iter().filter(|id| !lives.contains_key(**id)) {
        let what = format!("list {} shows {service}/{id}, which nobody registered", list.id);
        findings.push(Finding::invalid("phantom", what, [list.id]));
    }
}
