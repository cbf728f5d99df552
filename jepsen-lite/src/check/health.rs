//! The health checker: who is well is told so, who is not is found out soon, and nobody is sent to who should not be.
//!
//! It judges what nodes say of played instances: of those the harness knows when they were well, as it answers their probes.
//!
//! - An instance that was well all its life is `critical` on no node, whatever befell the nodes. Only a moment in which the harness
//!   itself was not run excuses that, since then it answered nobody.
//! - One that fails (and was ever seen well) or has recovered is told so on every node within [`TOLD_WITHIN`], when nothing was wrong for so long.
//! - One that was drained or deregistered is picked by no node whose answer names that revision or a later one, and
//!   within [`SEEN_WITHIN`] by none, when nothing was wrong for so long; one that fails is not picked, by the rule above.

use std::collections::BTreeMap;

use rollcall_api::State;

use super::{Finding, Judgement};
use crate::history::{Act, Answer, Call, Fault, History, Operation, Outcome, Thing};
use crate::workload::health::{JOURNALED_WITHIN, SEEN_WITHIN, SERVICE, TOLD_WITHIN};

const FINDINGS_MAX: usize = 20;
/// A pick so soon after a withdrawal could be a wrong one.
const SOON: std::time::Duration = std::time::Duration::from_secs(5);
/// Fewest looks at failing instances, and picks soon after a withdrawal, by which a run says anything.
const JUDGED_MIN: usize = 20;
const MS: u64 = 1_000_000;

/// What was done with an instance, oldest first: one client does it all, one thing after the other.
type Life<'h> = Vec<(Act, &'h Operation)>;

/// How many observations said something.
#[derive(Default)]
struct Counts {
    looks: usize,
    picks: usize,
    well: usize,
    ill: usize,
    withdrawn: usize,
    /// From an act until a node first said so, milliseconds, by what it was told of.
    told_ms: BTreeMap<&'static str, Vec<u64>>,
}

pub(super) fn check(history: &History) -> Judgement {
    let mut judgement = Judgement::new("health");
    let lives = lives(history);
    if lives.is_empty() {
        judgement.figure("applies", "no: no instance was played");
        return judgement;
    }
    let judge = Judge { history, withdrawals: withdrawals(&lives), passed: passed(history), lives };
    let (mut counts, mut findings) = (Counts::default(), Vec::new());
    let mut first_told: BTreeMap<(u64, &str), u64> = BTreeMap::new();
    for operation in history.operations.values() {
        match (&operation.call, &operation.outcome) {
            (Call::Look { thing }, Outcome::Ok(Answer::Looked { state, cause })) => {
                counts.looks += 1;
                findings.extend(judge.look(operation, thing, (*state, cause), &mut counts));
                // Afterwards nobody looks all the time.
                let is_load = history.healed.is_none_or(|healed| operation.invoked < healed);
                if let Some(act) = judge.told_of(operation, thing, *state).filter(|_| is_load) {
                    let heard = first_told.entry((act.id, operation.node.as_str())).or_insert(u64::MAX);
                    *heard = (*heard).min(operation.returned);
                }
            }
            (Call::Pick { .. }, Outcome::Ok(Answer::Chosen { revision, fail_open, picks })) => {
                counts.picks += 1;
                findings.extend(judge.pick(operation, (*revision, *fail_open), picks, &mut counts));
            }
            _ => {}
        }
    }
    judge.measure(&first_told, &mut counts);
    findings.extend(too_few(history, &counts));
    findings.truncate(FINDINGS_MAX);
    judgement.findings = findings;
    judgement.figure("instances", judge.lives.len());
    judgement.figure("looks (while well / ill)", format!("{} ({} / {})", counts.looks, counts.well, counts.ill));
    judgement.figure("picks (soon after a withdrawal)", format!("{} ({})", counts.picks, counts.withdrawn));
    for (of, told) in &mut counts.told_ms {
        told.sort_unstable();
        let (median, worst) = (told.get(told.len() / 2).copied(), told.last().copied());
        let [median, worst] = [median, worst].map(Option::unwrap_or_default);
        judgement.figure(of, format!("{} times, median {median} ms, worst {worst} ms", told.len()));
    }
    judgement
}

fn lives(history: &History) -> BTreeMap<&Thing, Life<'_>> {
    let mut lives: BTreeMap<&Thing, Life<'_>> = BTreeMap::new();
    for operation in history.operations.values() {
        if let Call::Play { thing, act } = &operation.call {
            lives.entry(thing).or_default().push((*act, operation));
        }
    }
    for life in lives.values_mut() {
        life.sort_by_key(|(_, operation)| operation.invoked);
    }
    lives
}

/// When instances were drained or deregistered, in order.
fn withdrawals(lives: &BTreeMap<&Thing, Life<'_>>) -> Vec<u64> {
    let is_withdrawal = |act: &Act| matches!(act, Act::Drain | Act::Deregister);
    let done = lives.values().flatten().filter(|(act, operation)| is_withdrawal(act) && is_done(operation));
    let mut times: Vec<u64> = done.map(|(_, operation)| operation.returned).collect();
    times.sort_unstable();
    times
}

/// When somebody was told that an instance passes.
fn passed(history: &History) -> BTreeMap<&Thing, Vec<u64>> {
    let mut passed: BTreeMap<&Thing, Vec<u64>> = BTreeMap::new();
    for operation in history.operations.values() {
        if let (Call::Look { thing }, Outcome::Ok(Answer::Looked { state: State::Passing | State::Warning, .. })) =
            (&operation.call, &operation.outcome)
        {
            passed.entry(thing).or_default().push(operation.returned);
        }
    }
    passed
}

fn too_few(history: &History, counts: &Counts) -> Option<Finding> {
    let is_enough = counts.well >= JUDGED_MIN && counts.ill >= JUDGED_MIN && counts.withdrawn >= JUDGED_MIN;
    let what = format!(
        "{} looks at instances that were well, {} at ones that all nodes must know to fail, and {} picks soon after a drain \
         or a deregistration: {JUDGED_MIN} of each say something",
        counts.well, counts.ill, counts.withdrawn
    );
    (history.ended && !is_enough).then(|| Finding::unknown("too little traffic", what))
}

fn is_done(operation: &Operation) -> bool {
    matches!(operation.outcome, Outcome::Ok(_))
}

struct Judge<'h> {
    history: &'h History,
    lives: BTreeMap<&'h Thing, Life<'h>>,
    withdrawals: Vec<u64>,
    passed: BTreeMap<&'h Thing, Vec<u64>>,
}

impl<'h> Judge<'h> {
    /// The last of some acts that was surely over before an observation, when none of them may have happened since: what the
    /// instance surely was meanwhile.
    fn last(&self, thing: &Thing, seen: &Operation, is_meant: impl Fn(Act) -> bool) -> Option<(Act, &'h Operation)> {
        let acts = || self.lives.get(thing).into_iter().flatten().filter(|(act, _)| is_meant(*act));
        let last = acts().rfind(|(_, operation)| operation.invoked <= seen.returned)?;
        (is_done(last.1) && last.1.returned < seen.invoked).then_some(*last)
    }

    /// Whether nothing was wrong from `within` before an observation until its end.
    fn is_calm(&self, seen: &Operation, within: u64) -> bool {
        let overlaps = |begun: u64, ended: u64| begun < seen.returned && seen.invoked < ended.saturating_add(within);
        let is_wrong = self
            .history
            .faults
            .iter()
            .filter(|fault| fault.has_touched())
            .any(|fault| overlaps(fault.begun, fault.ended.or(self.history.healed).unwrap_or(u64::MAX)));
        !is_wrong && !self.is_stalled(seen, within)
    }

    fn is_stalled(&self, seen: &Operation, within: u64) -> bool {
        let mut stalls = self.history.stalls.iter();
        stalls.any(|(begun, ended)| *begun < seen.returned && seen.invoked < ended.saturating_add(within))
    }

    fn look(
        &self,
        seen: &Operation,
        thing: &Thing,
        (state, cause): (State, &str),
        counts: &mut Counts,
    ) -> Option<Finding> {
        let within = nanos(TOLD_WITHIN);
        let is_health = |act| matches!(act, Act::Register | Act::Fail | Act::Die | Act::Recover);
        let (act, since) = self.last(thing, seen, is_health)?;
        let is_told = since.returned.saturating_add(within) < seen.invoked && self.is_calm(seen, within);
        let said = |kind, what: &str| {
            let age = (seen.returned - since.returned) / MS;
            let what = format!("{} says that {thing} is {} ({cause}): {what} for {age} ms", seen.node, state.as_str());
            Some(Finding::invalid(kind, what, [since.id, seen.id]))
        };
        match act {
            Act::Register if !self.is_stalled(seen, within) => {
                counts.well += 1;
                if state == State::Critical {
                    return said("false accusation", "it has been well all its life,");
                }
            }
            Act::Fail | Act::Die if is_told => {
                // One that nobody has ever seen well is starting for a while; it is not picked either.
                let was_seen_well = self.was_seen_well(thing, since);
                counts.ill += usize::from(was_seen_well);
                if state != State::Critical && (was_seen_well || state != State::Starting) {
                    return said("late detection", "it has failed its probes");
                }
            }
            Act::Recover if is_told && !matches!(state, State::Passing | State::Warning) => {
                return said("late recovery", "it has been well again");
            }
            _ => {}
        }
        None
    }

    /// Whether somebody was told that an instance passes before it was done something to, and nothing kept that from being
    /// written down.
    fn was_seen_well(&self, thing: &Thing, act: &Operation) -> bool {
        let ends = |fault: &Fault| fault.ended.or(self.history.healed).unwrap_or(u64::MAX);
        let is_written = |passed: u64| {
            let written = passed.saturating_add(nanos(JOURNALED_WITHIN));
            let mut faults = self.history.faults.iter().filter(|fault| fault.has_touched());
            written < act.invoked && !faults.any(|fault| fault.begun < written && passed < ends(fault))
        };
        self.passed.get(thing).is_some_and(|times| times.iter().any(|passed| is_written(*passed)))
    }

    fn pick(
        &self,
        seen: &Operation,
        (revision, is_fail_open): (u64, bool),
        picks: &[String],
        counts: &mut Counts,
    ) -> Vec<Finding> {
        let before = self.withdrawals.partition_point(|at| *at < seen.invoked);
        let last = before.checked_sub(1).and_then(|last| self.withdrawals.get(last));
        counts.withdrawn += usize::from(last.is_some_and(|at| seen.invoked - at < nanos(SOON)));
        let mut findings = Vec::new();
        for id in picks {
            let thing = Thing::instance(SERVICE, id);
            let registered = self.lives.get(&thing).and_then(|life| life.first());
            if registered.is_none_or(|(_, registered)| registered.invoked > seen.returned) {
                let what = format!("{} picked {thing} before anybody registered it", seen.node);
                findings.push(Finding::invalid("phantom pick", what, [seen.id]));
            }
            if let Some(withdrawn) = self.withdrawn(&thing, seen, revision) {
                let what = format!("{} picked {thing} at {revision}, withdrawn by operation {withdrawn}", seen.node);
                findings.push(Finding::invalid("picked though withdrawn", what, [withdrawn, seen.id]));
            }
            if !is_fail_open {
                findings.extend(self.dead_pick(&thing, seen));
            }
        }
        findings
    }

    /// The operation that drained or deregistered an instance, if the node must know of it.
    fn withdrawn(&self, thing: &Thing, seen: &Operation, revision: u64) -> Option<u64> {
        let is_lifecycle = |act| matches!(act, Act::Drain | Act::Undrain | Act::Deregister);
        let (act, done) = self.last(thing, seen, is_lifecycle)?;
        let Outcome::Ok(Answer::Played { revision: Some(at) }) = done.outcome else { return None };
        let within = nanos(SEEN_WITHIN);
        let is_late = done.returned.saturating_add(within) < seen.invoked && self.is_calm(seen, within);
        (act != Act::Undrain && (at <= revision || is_late)).then_some(done.id)
    }

    fn dead_pick(&self, thing: &Thing, seen: &Operation) -> Option<Finding> {
        let is_health = |act| matches!(act, Act::Register | Act::Fail | Act::Die | Act::Recover);
        let within = nanos(TOLD_WITHIN);
        let (act, since) = self.last(thing, seen, is_health)?;
        let is_told = since.returned.saturating_add(within) < seen.invoked && self.is_calm(seen, within);
        let is_dead = matches!(act, Act::Fail | Act::Die) && is_told;
        let what = format!("{} picked {thing}, which has failed since operation {}", seen.node, since.id);
        is_dead.then(|| Finding::invalid("dead pick", what, [since.id, seen.id]))
    }

    /// The act of which a look shows that its node knows.
    fn told_of(&self, seen: &Operation, thing: &Thing, state: State) -> Option<&'h Operation> {
        let is_health = |act| matches!(act, Act::Register | Act::Fail | Act::Die | Act::Recover);
        let (act, since) = self.last(thing, seen, is_health)?;
        let is_known = match act {
            Act::Fail | Act::Die => state == State::Critical,
            Act::Recover => matches!(state, State::Passing | State::Warning),
            _ => false,
        };
        is_known.then_some(since)
    }

    /// How long nodes took to say what had become of an instance, where nothing was wrong meanwhile.
    fn measure(&self, first_told: &BTreeMap<(u64, &str), u64>, counts: &mut Counts) {
        for ((act, _), told) in first_told {
            let Some(operation) = self.history.operations.get(act) else { continue };
            let span = Operation { invoked: operation.returned, returned: *told, ..operation.clone() };
            let Call::Play { act, .. } = operation.call else { continue };
            if self.is_calm(&span, 0) {
                let of = if act == Act::Recover { "recoveries told" } else { "failures told" };
                counts.told_ms.entry(of).or_default().push((*told - operation.returned) / MS);
            }
        }
    }
}

fn nanos(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Event, FaultPhase, RunInfo};

    /// What happened when, in milliseconds, each within one: acts on one instance with their revision, looks that say a state, a
    /// pick of it at a revision (`picks 7`; `opens 7`: without asking for health), a fault from `kill` to `over`, and `stall`.
    fn story(steps: &[(u64, &str)]) -> History {
        let mut events = vec![Event::Run(RunInfo { nodes: vec!["n1".to_owned()], ..RunInfo::default() })];
        for (op, (at, what)) in (1..).zip(steps) {
            let (at, thing) = (at * MS, Thing::instance(SERVICE, "i"));
            let (word, number) = what.split_once(' ').unwrap_or((what, ""));
            let number: Option<u64> = number.parse().ok();
            let fault = |phase| {
                let (fault, note, hit) = ("kill one".to_owned(), String::new(), vec!["n1".to_owned()]);
                Event::Fault { at, id: 0, fault, phase, note, hit, unheard_ms: None }
            };
            let play = |act| (Call::Play { thing: thing.clone(), act }, Answer::Played { revision: number });
            let look = |state| (Call::Look { thing: thing.clone() }, Answer::Looked { state, cause: "it".to_owned() });
            let pick = |fail_open| {
                let (revision, picks) = (number.unwrap_or_default(), vec!["i".to_owned()]);
                (Call::Pick { service: SERVICE.to_owned(), n: 1 }, Answer::Chosen { revision, fail_open, picks })
            };
            let (call, answer) = match word {
                "register" => play(Act::Register),
                "fail" => play(Act::Fail),
                "die" => play(Act::Die),
                "recover" => play(Act::Recover),
                "drain" => play(Act::Drain),
                "undrain" => play(Act::Undrain),
                "deregister" => play(Act::Deregister),
                "passing" => look(State::Passing),
                "unknown" => look(State::Unknown),
                "starting" => look(State::Starting),
                "critical" => look(State::Critical),
                "picks" => pick(false),
                "opens" => pick(true),
                other => {
                    events.push(match other {
                        "kill" => fault(FaultPhase::Begun),
                        "over" => fault(FaultPhase::Ended),
                        "stall" => Event::Stalled { at, ms: 500 },
                        _ => panic!("there is no step {other}"),
                    });
                    continue;
                }
            };
            events.push(Event::Invoke { at, op, client: op, node: "n1".to_owned(), call });
            events.push(Event::Return { at: at + MS, op, outcome: Outcome::Ok(answer) });
        }
        History::of(events).expect("a history that a run can have")
    }

    #[track_caller]
    fn finds(steps: &[(u64, &str)], expected: &[&str]) {
        let judgement = check(&story(steps));
        let kinds: Vec<&str> = judgement.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, expected, "{:#?}", judgement.findings);
    }

    #[test]
    fn who_was_well_all_its_life_is_never_critical_whatever_befell_the_nodes() {
        finds(&[(0, "register 5"), (10, "passing"), (20_000, "passing")], &[]);
        finds(&[(0, "register 5"), (10, "critical")], &["false accusation"]);
        finds(&[(0, "register 5"), (10, "kill"), (20, "critical"), (30, "over")], &["false accusation"]);
        finds(&[(0, "register 5"), (900, "stall"), (1_000, "critical")], &[]);
    }

    #[test]
    fn who_fails_is_told_so_in_time_where_nothing_is_wrong() {
        for ill in ["fail", "die"] {
            finds(&[(0, "register 5"), (10, ill), (7_000, "passing"), (9_000, "critical")], &[]);
            finds(&[(0, "register 5"), (10, ill), (9_000, "passing")], &["late detection"]);
            finds(&[(0, "register 5"), (10, ill), (9_000, "unknown")], &["late detection"]);
            finds(&[(0, "register 5"), (10, ill), (9_000, "starting")], &[]);
        }
        finds(&[(0, "register 5"), (10, "fail"), (2_000, "kill"), (3_000, "over"), (9_000, "passing")], &[]);
        finds(
            &[(0, "register 5"), (10, "fail"), (2_000, "kill"), (3_000, "over"), (12_000, "passing")],
            &["late detection"],
        );
        finds(&[(0, "register 5"), (10, "fail"), (2_000, "stall"), (9_000, "passing")], &[]);
    }

    #[test]
    fn who_is_well_again_is_told_so_in_time_where_nothing_is_wrong() {
        let well_again = [(0, "register 5"), (10, "fail"), (10_000, "recover")];
        finds(&[well_again.as_slice(), &[(11_000, "critical"), (19_000, "passing")]].concat(), &[]);
        finds(&[well_again.as_slice(), &[(19_000, "critical")]].concat(), &["late recovery"]);
        finds(&[well_again.as_slice(), &[(11_000, "kill"), (19_000, "critical")]].concat(), &[]);
    }

    #[test]
    fn who_was_withdrawn_is_picked_by_no_node_that_has_seen_that() {
        for withdrawn in ["drain 7", "deregister 7"] {
            finds(&[(0, "register 5"), (10, withdrawn), (20, "picks 6")], &[]);
            finds(&[(0, "register 5"), (10, withdrawn), (20, "picks 7")], &["picked though withdrawn"]);
            finds(&[(0, "register 5"), (10, withdrawn), (20, "opens 7")], &["picked though withdrawn"]);
            finds(&[(0, "register 5"), (10, withdrawn), (1_100, "picks 6")], &["picked though withdrawn"]);
            finds(&[(0, "register 5"), (10, withdrawn), (500, "kill"), (1_100, "picks 6")], &[]);
        }
        finds(&[(0, "register 5"), (10, "drain 7"), (500, "undrain 9"), (1_100, "picks 9")], &[]);
        // An undrain that is under way may have happened.
        finds(&[(0, "register 5"), (10, "drain 7"), (20, "undrain 9"), (20, "picks 8")], &[]);
    }

    #[test]
    fn who_fails_is_not_picked_unless_health_was_not_asked() {
        finds(&[(0, "register 5"), (10, "die"), (7_000, "picks 9"), (9_000, "opens 9")], &[]);
        finds(&[(0, "register 5"), (10, "die"), (9_000, "picks 9")], &["dead pick"]);
        finds(&[(0, "picks 4"), (10, "register 5")], &["phantom pick"]);
    }

    #[test]
    fn what_nodes_take_to_say_it_is_measured_where_nothing_is_wrong() {
        let judgement = check(&story(&[
            (0, "register 5"),
            (10, "fail"),
            (500, "passing"),
            (1_410, "critical"),
            (2_000, "critical"),
            (10_000, "recover"),
            (10_500, "kill"),
            (11_000, "passing"),
        ]));
        let told: Vec<_> = judgement.figures.iter().filter(|(name, _)| name.ends_with("told")).collect();
        assert_eq!(told, [&("failures told", "1 times, median 1400 ms, worst 1400 ms".to_owned())]);
    }
}
