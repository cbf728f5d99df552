//! The lease checker: nobody who sends heartbeats in time is taken for dead, and nobody silent is taken for alive for long.
//!
//! It looks at times of the harness only. The node that took a heartbeat did so between its call and its answer, so the lease
//! lasts at least a TTL from the call, and a chain of heartbeats each of which was answered before the TTL of the one before
//! was over proves that the instance never lapsed. A node that says `critical` before the end of such a chain is wrong. Once a
//! chain broke, the instance may be critical, and for a while after its next heartbeat, so it is not judged any more.
//!
//! Heartbeats themselves are never lost: no fault touches the way from clients to nodes. What may be lost is the word of the node
//! that heard them, on its way to the others. It goes through gossip, which says all again every round, to several nodes: so a
//! fault that loses some packets only makes it late, unless nothing of a node, or nothing for one, arrived for as long as
//! [`UNHEARD_MAX_MS`], which the harness measures where it carries the packets. Looks during such a time are not judged, nor
//! those during a cut of links, and for a while after either. Damage and loss as such keep no look from being judged.
//!
//! Expiry that never comes is judged at the end: all are silent then, and the last look at each of
//! them on each node must say so. A node lets nothing expire while it is not run, so that time does not count; where nodes were not
//! run all the time, nothing can be said.

use std::collections::BTreeMap;

use rollcall_api::State;

use super::{Finding, Judgement};
use crate::history::{Answer, Call, Fault, History, Operation, Outcome, Thing};
use crate::nemesis;
use crate::workload::leases::{self, TTL_MS};

const FINDINGS_MAX: usize = 10;
/// Fewest looks at a living instance by which a run says that none is taken for dead.
const JUDGED_MIN: usize = 20;
const MS: u64 = 1_000_000;
/// Longest time without gossip of a node after which others still know of its heartbeats in time: half of the second by which they
/// wait longer than a TTL for what they hear from others. The rest is for rounds and for slow links.
const UNHEARD_MAX_MS: u64 = 500;
/// After a cut healed, nodes need so long to hear of each other what they missed: a detection, and a TTL of grace.
const CUT_SHADOW: u64 = 3 * TTL_MS * MS;

/// What is known of an instance's heartbeats, its registration among them.
#[derive(Debug, Default)]
struct Life {
    /// When the latest heartbeat that was answered was called.
    beaten: Option<u64>,
    /// Some heartbeat may have come too late: never judged again.
    is_broken: bool,
}

pub(super) fn check(history: &History) -> Judgement {
    let mut judgement = Judgement::new("lease");
    let mut lives: BTreeMap<&Thing, Life> = BTreeMap::new();
    let mut counted: Vec<(u64, &Thing, &Operation)> = history.operations.values().filter_map(counts).collect();
    counted.sort_by_key(|(at, _, operation)| (*at, operation.id));
    let (mut beats, mut looks, mut judged) = (0_usize, 0_usize, 0_usize);
    for (_, thing, operation) in counted {
        let Outcome::Ok(Answer::Looked { state, .. }) = &operation.outcome else {
            beats += 1;
            lives.entry(thing).or_default().beat(operation);
            continue;
        };
        looks += 1;
        if is_in_shadow(history, operation) {
            continue;
        }
        let Some(beaten) = lives.get(thing).and_then(|life| life.lives_during(operation)) else { continue };
        judged += 1;
        if *state == State::Critical {
            let (node, id, age) = (&operation.node, operation.id, (operation.returned - beaten) / MS);
            let what = format!("{node} says in operation {id} that {thing} is critical, {age} ms after its heartbeat");
            judgement.findings.push(Finding::invalid("early expiry", what, [id]));
        }
    }
    if beats > 0 && judged < JUDGED_MIN && history.ended {
        let what =
            format!("{judged} of {looks} looks were at an instance that must be alive, {JUDGED_MIN} say something");
        judgement.findings.push(Finding::unknown("too little traffic", what));
    }
    judgement.findings.extend(late(history));
    judgement.findings.truncate(FINDINGS_MAX);
    judgement.figure("heartbeats", beats);
    judgement.figure("looks (judged)", format!("{looks} ({judged})"));
    judgement.figure("unbroken to the end", lives.values().filter(|life| !life.is_broken).count());
    judgement
}

/// When an operation counts: a heartbeat, or the registration of a leased instance, when it was answered; a look when it began.
fn counts(operation: &Operation) -> Option<(u64, &Thing, &Operation)> {
    match (&operation.call, &operation.outcome) {
        (Call::Beat { thing }, Outcome::Ok(_)) => Some((operation.returned, thing, operation)),
        (Call::Put { thing: thing @ Thing::Instance { service, .. }, .. }, Outcome::Ok(_))
            if leases::is_leased(service) =>
        {
            Some((operation.returned, thing, operation))
        }
        (Call::Look { thing: thing @ Thing::Instance { service, .. } }, Outcome::Ok(_))
            if leases::is_leased(service) =>
        {
            Some((operation.invoked, thing, operation))
        }
        _ => None,
    }
}

impl Life {
    fn beat(&mut self, heartbeat: &Operation) {
        self.is_broken |= self.beaten.is_some_and(|beaten| heartbeat.returned > beaten + TTL_MS * MS);
        // Answers come in their own order, so an older call may end after a younger one.
        self.beaten = self.beaten.max(Some(heartbeat.invoked));
    }

    /// The heartbeat by which it lived all the time that a look took.
    fn lives_during(&self, look: &Operation) -> Option<u64> {
        self.beaten.filter(|beaten| !self.is_broken && look.returned < beaten + TTL_MS * MS)
    }
}

/// Whether nodes may not have heard each other during the look or shortly before.
fn is_in_shadow(history: &History, look: &Operation) -> bool {
    history.faults.iter().filter(|fault| !fault.skipped && silences_nodes(fault)).any(|fault| {
        let ended = fault.ended.or(history.healed).unwrap_or(u64::MAX);
        fault.begun < look.returned && look.invoked < ended.saturating_add(CUT_SHADOW)
    })
}

/// Whether a fault may have kept what a node hears from the others.
fn silences_nodes(fault: &Fault) -> bool {
    // What was not measured may have been long.
    let is_unheard = || fault.unheard_ms.is_none_or(|unheard| unheard > UNHEARD_MAX_MS);
    nemesis::cuts_links(&fault.name) || (nemesis::loses_packets(&fault.name) && is_unheard())
}

/// Leased instances that some node still has for alive at the end, long after the last heartbeat.
fn late(history: &History) -> Vec<Finding> {
    let healed = history.healed.unwrap_or(u64::MAX);
    let mut last: BTreeMap<(&Thing, &str), (&Operation, State)> = BTreeMap::new();
    for operation in history.operations.values().filter(|operation| operation.invoked > healed) {
        if let (Call::Look { thing }, Outcome::Ok(Answer::Looked { state, .. })) = (&operation.call, &operation.outcome)
            && matches!(thing, Thing::Instance { service, .. } if leases::is_leased(service))
        {
            last.insert((thing, &operation.node), (operation, *state));
        }
    }
    let is_leased = |operation: &Operation| matches!(operation.call, Call::Beat { .. });
    if last.is_empty() && history.ended && history.operations.values().any(is_leased) {
        return vec![Finding::unknown("never read", "no look at a leased instance after the heal")];
    }
    let is_late = |(_, state): &&(&Operation, State)| *state != State::Critical;
    let late = last.iter().filter(|(_, look)| is_late(look));
    late.map(|((thing, node), (look, state))| {
        let what = format!("{thing} is {} on {node} long after its last heartbeat", state.as_str());
        if history.starved {
            return Finding::unknown(
                "late expiry",
                format!("{what}, but nodes were not run again and again until then"),
            );
        }
        Finding::invalid("late expiry", what, [look.id])
    })
    .collect()
}
