//! Revision replay: every reply names a log index, so the one order of all writes is known, and each answer can be compared
//! with a model of the whole registry at its index.
//!
//! This is how etcd's robustness tests and TigerBeetle's workloads judge, and it shows more than looking for some order that
//! explains everything: it spans all keys, costs O(n log n), and needs no search. It trusts what nodes say about indexes; [`super::linear`]
//! does not.
//!
//! 1. [`Order`] puts the writes in order.
//! 2. A sweep over the order applies each to the model, and compares replies, refusals and reads on the way.
//! 3. A sweep over time checks that the order keeps to it: a write or a linearizable read that began after an answer was
//!    heard must not lie before what that answer showed.
//!
//! Limits: a write whose outcome nobody knows and whose place nobody tells did not change anything, provided that some node told
//! its whole log at the end; else findings about the things it wrote to are `unknown`.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_api::query::Consistency;

use super::order::Order;
use super::{Finding, Judgement, Verdict};
use crate::history::{Answer, Call, Expect, Held, History, OpId, Operation, Outcome, Thing};

/// Findings after which the checker stops adding: the first ones tell the story.
const FINDINGS_MAX: usize = 20;

pub(super) fn check(history: &History) -> Judgement {
    let mut judgement = Judgement::new("replay");
    let order = Order::of(history);
    if !order.is_complete {
        judgement.findings.push(Finding::unknown("log unknown", "no node told its whole log when the run was over"));
    }
    let mut replay = Replay::new(history, &order);
    replay.run();
    judgement.findings.extend(order.findings.iter().cloned());
    judgement.findings.extend(replay.findings);
    judgement.findings.extend(real_time(history, &order));
    judgement.findings.truncate(FINDINGS_MAX);
    judgement.figure("changes in order", order.changes.len());
    judgement.figure("answers compared", replay.compared);
    judgement
}

/// The registry as it must be at a revision.
#[derive(Debug, Default)]
struct Model {
    things: BTreeMap<Thing, Held>,
}

impl Model {
    fn instances<'m>(&'m self, service: &'m str) -> impl Iterator<Item = (&'m str, Held)> {
        let first = Thing::instance(service, "");
        self.things.range(first..).map_while(move |(thing, held)| match thing {
            Thing::Instance { service: other, id } if other == service => Some((id.as_str(), *held)),
            _ => None,
        })
    }
}

struct Replay<'h> {
    history: &'h History,
    order: &'h Order,
    model: Model,
    /// Things with writes whose outcome and place nobody knows, while the log is not known as a whole.
    doubtful: BTreeSet<&'h Thing>,
    findings: Vec<Finding>,
    compared: usize,
}

impl<'h> Replay<'h> {
    fn new(history: &'h History, order: &'h Order) -> Self {
        let is_open = |operation: &&Operation| {
            !order.is_complete
                && matches!(operation.outcome, Outcome::Info { .. })
                && !order.places.contains_key(&operation.id)
        };
        let open = history.operations.values().filter(is_open);
        let doubtful = open.filter_map(|operation| operation.call.write().map(|(thing, _)| thing)).collect();
        Self { history, order, model: Model::default(), doubtful, findings: Vec::new(), compared: 0 }
    }

    /// Goes through all revisions; at each, the write first and then what saw it.
    fn run(&mut self) {
        let mut at: BTreeMap<u64, Vec<&'h Operation>> = BTreeMap::new();
        for operation in self.history.operations.values() {
            let place = self.order.places.get(&operation.id).copied().filter(|_| operation.call.write().is_some());
            if let Some(revision) = place.or(operation.revision()) {
                at.entry(revision).or_default().push(operation);
            }
        }
        for (revision, operations) in at {
            let (writes, reads): (Vec<_>, Vec<_>) =
                operations.into_iter().partition(|operation| operation.call.write().is_some());
            if writes.len() > 1 {
                let ids: Vec<OpId> = writes.iter().map(|operation| operation.id).collect();
                let what = format!("operations {ids:?} were all answered with revision {revision}");
                self.add(Finding::invalid("two writes at one revision", what, ids));
            }
            for operation in writes {
                self.write(revision, operation);
            }
            for operation in reads {
                self.read(revision, operation);
            }
        }
    }

    fn write(&mut self, revision: u64, operation: &'h Operation) {
        let Some((thing, expect)) = operation.call.write() else { return };
        let present = self.model.things.get(thing).copied();
        let holds = match expect {
            Expect::Any => true,
            Expect::Exists => present.is_some(),
            Expect::Absent => present.is_none(),
            Expect::At { revision, .. } => present.is_some_and(|held| held.modified == revision),
        };
        let id = operation.id;
        let is_placed = self.order.places.get(&id) == Some(&revision);
        let shown = present.map_or("absent".to_owned(), |held| format!("written by {} at {}", held.op, held.modified));
        self.compared += 1;
        if let Outcome::Fail { .. } = operation.outcome
            && !is_placed
        {
            if holds {
                let what =
                    format!("{thing} at {revision}: operation {id} was refused by {expect:?}, and it was {shown}");
                self.about(thing, "wrong refusal", what, ops(present, id));
            }
            return;
        }
        if !holds {
            let what = format!("{thing} at {revision}: operation {id} happened in spite of {expect:?}; it was {shown}");
            self.about(thing, "precondition ignored", what, ops(present, id));
        }
        self.check_reply(revision, operation, thing, present, is_placed);
        match operation.call {
            Call::Put { .. } if is_placed => {
                self.model.things.insert(thing.clone(), Held { op: id, modified: revision });
            }
            Call::Remove { .. } => {
                self.model.things.remove(thing);
            }
            _ => {}
        }
    }

    /// Compares the reply of a write that happened with the model.
    fn check_reply(
        &mut self,
        revision: u64,
        operation: &'h Operation,
        thing: &'h Thing,
        present: Option<Held>,
        is_placed: bool,
    ) {
        let id = operation.id;
        let in_log = self.order.is_complete && self.history.logs.iter().any(|log| log.complete);
        match &operation.outcome {
            Outcome::Ok(Answer::Written { created, changed, modified, again, .. }) => {
                if *changed && in_log && !self.is_in_logs(revision) {
                    let what = format!("{thing}: operation {id} was acknowledged at {revision} and is in no log");
                    self.about(thing, "lost write", what, [id]);
                }
                if *created != present.is_none() || !*changed || *modified != revision {
                    let what = format!(
                        "{thing} at {revision}: operation {id} is said to have created={created} changed={changed} modified={modified}"
                    );
                    self.about(thing, "wrong reply", what, ops(present, id));
                }
                self.check_again(operation, revision, again.as_ref().and_then(|again| again.revision));
            }
            Outcome::Ok(Answer::Removed { again, .. }) => {
                if present.is_some() && in_log && !self.is_in_logs(revision) {
                    let what = format!("{thing}: its removal {id} was acknowledged at {revision} and is in no log");
                    self.about(thing, "lost write", what, [id]);
                }
                self.check_again(operation, revision, again.as_ref().and_then(|again| again.revision));
            }
            _ if is_placed && matches!(operation.call, Call::Remove { .. }) && present.is_none() => {
                let what =
                    format!("{thing}: the log says that operation {id} removed it at {revision}, and it was absent");
                self.about(thing, "removed twice", what, [id]);
            }
            _ => {}
        }
    }

    /// Sent once more under its key, a write gets its first answer.
    fn check_again(&mut self, operation: &Operation, revision: u64, second: Option<u64>) {
        if let Some(second) = second
            && second != revision
        {
            let what =
                format!("operation {} was answered {revision}, and {second} when it was sent again", operation.id);
            self.add(Finding::invalid("retry not recognized", what, [operation.id]));
        }
    }

    fn is_in_logs(&self, revision: u64) -> bool {
        let holds = |log: &crate::history::Log| log.entries.binary_search_by_key(&revision, |entry| entry.revision);
        self.history.logs.iter().filter(|log| log.complete).all(|log| holds(log).is_ok())
    }

    fn read(&mut self, revision: u64, operation: &'h Operation) {
        self.compared += 1;
        let id = operation.id;
        match (&operation.call, &operation.outcome) {
            (Call::Get { thing, .. }, Outcome::Ok(Answer::Found { held, .. })) => {
                let present = self.model.things.get(thing).copied();
                if *held != present {
                    let what = format!("{thing} at {revision}: operation {id} read {held:?}, and it was {present:?}");
                    self.about(
                        thing,
                        "wrong read",
                        what,
                        ops(present, id).into_iter().chain(held.map(|held| held.op)).collect::<Vec<_>>(),
                    );
                }
            }
            (Call::List { service, .. }, Outcome::Ok(Answer::Listed { items, .. })) => {
                self.list(revision, id, service, items)
            }
            (Call::Select { service, n, .. }, Outcome::Ok(Answer::Picked { picks, .. })) => {
                self.select(revision, id, (service, *n), picks)
            }
            _ => {}
        }
    }

    fn list(&mut self, revision: u64, id: OpId, service: &str, items: &[(String, Held)]) {
        let shown: BTreeMap<&str, Held> = items.iter().map(|(id, held)| (id.as_str(), *held)).collect();
        let mut differences: Vec<(String, Option<Held>, Option<Held>)> = Vec::new();
        if shown.len() != items.len() {
            let what = format!("{service} at {revision}: operation {id} lists an instance twice");
            self.findings.push(Finding::invalid("duplicate", what, [id]));
        }
        let expected: BTreeMap<&str, Held> = self.model.instances(service).collect();
        for instance in shown.keys().chain(expected.keys()).collect::<BTreeSet<_>>() {
            let (seen, held) = (shown.get(*instance).copied(), expected.get(*instance).copied());
            if seen != held {
                differences.push(((*instance).to_owned(), seen, held));
            }
        }
        for (instance, seen, held) in differences.into_iter().take(3) {
            let thing = Thing::instance(service, &instance);
            let what = format!("{thing} at {revision}: operation {id} lists {seen:?}, and it was {held:?}");
            let ops: Vec<OpId> =
                [Some(id), seen.map(|held| held.op), held.map(|held| held.op)].into_iter().flatten().collect();
            let verdict = if self.doubtful.contains(&thing) { Verdict::Unknown } else { Verdict::Invalid };
            self.add(Finding { verdict, ..Finding::invalid("wrong list", what, ops) });
        }
    }

    /// Nobody is picked who is not there, nobody twice, and as many as were asked for if there are so many: instances of the
    /// harness have no checks, so all of them can take requests.
    fn select(&mut self, revision: u64, id: OpId, (service, n): (&str, usize), picks: &[(String, OpId)]) {
        for (instance, op) in picks {
            let thing = Thing::instance(service, instance);
            let present = self.model.things.get(&thing).copied();
            if present.map(|held| held.op) != Some(*op) {
                let what = format!("{thing} at {revision}: operation {id} got what {op} wrote, and it was {present:?}");
                self.about(&thing, "wrong pick", what, [*op, id]);
            }
        }
        let there = self.model.instances(service).count();
        let picked = picks.iter().map(|(instance, _)| instance).collect::<BTreeSet<_>>().len();
        let is_of_service = |thing: &&&Thing| matches!(thing, Thing::Instance { service: of, .. } if of == service);
        if picked != n.min(there) && !self.doubtful.iter().any(|thing| is_of_service(&thing)) {
            let what = format!("{service} at {revision}: operation {id} asked for {n} of {there} and got {picked}");
            self.add(Finding::invalid("wrong pick", what, [id]));
        }
    }

    fn about(&mut self, thing: &Thing, kind: &'static str, what: String, ops: impl Into<Vec<OpId>>) {
        let verdict = if self.doubtful.contains(thing) { Verdict::Unknown } else { Verdict::Invalid };
        self.add(Finding { verdict, ..Finding::invalid(kind, what, ops) });
    }

    fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

fn ops(present: Option<Held>, id: OpId) -> Vec<OpId> {
    present.map(|held| held.op).into_iter().chain([id]).collect()
}

/// Whether the order of revisions keeps to the order of time.
fn real_time(history: &History, order: &Order) -> Vec<Finding> {
    let mut findings = Vec::new();
    let floors = Floors::of(history);
    for operation in history.operations.values() {
        let id = operation.id;
        if let Some(held) = found(operation)
            .find(|held| history.operations.get(&held.op).is_some_and(|writer| writer.invoked > operation.returned))
        {
            let what = format!("operation {id} read what operation {} wrote, which began later", held.op);
            findings.push(Finding::invalid("value from the future", what, [id, held.op]));
        }
        let place = order.places.get(&id).copied().filter(|_| operation.call.write().is_some());
        let Some(revision) = place.or(operation.revision()) else { continue };
        let (floor, by) = floors.before(operation.invoked);
        match operation.call.read() {
            None if revision <= floor => {
                let what = format!(
                    "operation {id} took place at {revision}, though {floor} was known before it began (operation {by})"
                );
                findings.push(Finding::invalid("write in the past", what, [by, id]));
            }
            Some((Consistency::Linearizable, _)) if revision < floor => {
                let what = format!(
                    "operation {id} shows {revision}, though {floor} was known before it began (operation {by})"
                );
                findings.push(Finding::invalid("stale read", what, [by, id]));
            }
            Some((_, Some(least))) if revision < least => {
                let what = format!("operation {id} asked for at least {least} and got {revision}");
                findings.push(Finding::invalid("read your writes", what, [id]));
            }
            _ => {}
        }
    }
    findings.truncate(FINDINGS_MAX);
    findings
}

fn found(operation: &Operation) -> impl Iterator<Item = Held> {
    let (one, many) = match &operation.outcome {
        Outcome::Ok(Answer::Found { held, .. }) => (*held, [].as_slice()),
        Outcome::Ok(Answer::Listed { items, .. }) => (None, items.as_slice()),
        _ => (None, [].as_slice()),
    };
    one.into_iter().chain(many.iter().map(|(_, held)| *held))
}

/// The highest revision that anybody knew, over time.
pub(super) struct Floors {
    /// Time of an answer, the highest revision of any answer up to then, and which operation's.
    steps: Vec<(u64, u64, OpId)>,
}

impl Floors {
    pub(super) fn of(history: &History) -> Self {
        let answered = history.operations.values().filter(|operation| operation.returned != u64::MAX);
        let mut steps: Vec<(u64, u64, OpId)> =
            answered.filter_map(|operation| Some((operation.returned, operation.revision()?, operation.id))).collect();
        steps.sort_unstable();
        let mut highest = (0, 0);
        for step in &mut steps {
            if step.1 > highest.0 {
                highest = (step.1, step.2);
            }
            (step.1, step.2) = highest;
        }
        Self { steps }
    }

    /// The highest revision that an answer before `time` told, and which operation's; 0 when there was none.
    pub(super) fn before(&self, time: u64) -> (u64, OpId) {
        let count = self.steps.partition_point(|(at, _, _)| *at < time);
        count.checked_sub(1).and_then(|last| self.steps.get(last)).map_or((0, 0), |(_, revision, op)| (*revision, *op))
    }
}
