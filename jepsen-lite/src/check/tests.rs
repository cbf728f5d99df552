//! The checkers, checked: small histories that are good, and the same with one thing wrong.

use rollcall_api::State;
use rollcall_api::query::Consistency;

use super::*;
use crate::history::{Again, Answer, Call, Event, Expect, FaultPhase, Held, LogEntry, Outcome, RunInfo, Seen, Thing};

const MS: u64 = 1_000_000;

/// A history told event by event; time passes by a millisecond with each.
#[derive(Default)]
struct Story {
    events: Vec<Event>,
}

impl Story {
    fn new() -> Self {
        Self::default().then(|_| Event::Run(RunInfo { nodes: vec!["n1".to_owned()], ..RunInfo::default() }))
    }

    fn then(mut self, event: impl FnOnce(u64) -> Event) -> Self {
        let at = self.events.len() as u64 * MS;
        self.events.push(event(at));
        self
    }

    fn begins(self, op: OpId, call: Call) -> Self {
        self.then(|at| Event::Invoke { at, op, client: op, node: "n1".to_owned(), call })
    }

    fn ends(self, op: OpId, outcome: Outcome) -> Self {
        self.then(|at| Event::Return { at, op, outcome })
    }

    fn does(self, op: OpId, call: Call, outcome: Outcome) -> Self {
        self.begins(op, call).ends(op, outcome)
    }

    /// The log of a node: revision and operation of each change.
    fn log(self, node: &str, changes: &[(u64, OpId)]) -> Self {
        let entry = |&(revision, op): &(u64, OpId)| LogEntry { revision, op: Some(op), removed: false };
        let entries = changes.iter().map(entry).collect();
        self.then(|at| Event::Log { at, node: node.to_owned(), complete: true, entries })
    }

    fn seen(self, seen: Seen) -> Self {
        self.then(|at| Event::Seen { at, watch: 0, seen })
    }

    fn ended(self) -> Self {
        self.then(|at| Event::Healed { at }).then(|at| Event::Recovered { at }).then(|at| Event::End { at })
    }

    /// The kinds of what the checkers find, each once.
    #[track_caller]
    fn finds(self, expected: &[&str]) {
        let history = History::of(self.events).expect("a history that a run can have");
        let judgements = super::check(&history);
        let findings = || judgements.iter().flat_map(|judgement| &judgement.findings);
        let mut kinds: Vec<&str> =
            findings().map(|finding| finding.kind).filter(|kind| *kind != "too little traffic").collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(kinds, expected, "{:#?}", findings().collect::<Vec<_>>());
    }
}

fn web(id: &str) -> Thing {
    Thing::instance("web", id)
}

fn put(id: &str) -> Call {
    Call::Put { thing: web(id), expect: Expect::Any }
}

fn remove(id: &str) -> Call {
    Call::Remove { thing: web(id), expect: Expect::Any }
}

fn get(id: &str, consistency: Consistency) -> Call {
    Call::Get { thing: web(id), consistency, min_revision: None }
}

fn list() -> Call {
    Call::List { service: "web".to_owned(), consistency: Consistency::Linearizable, min_revision: None }
}

fn written(revision: u64, created: bool) -> Outcome {
    Outcome::Ok(Answer::Written { revision, created, changed: true, modified: revision, again: None })
}

fn removed(revision: u64) -> Outcome {
    Outcome::Ok(Answer::Removed { revision, again: None })
}

fn found(revision: u64, held: Option<(OpId, u64)>) -> Outcome {
    aged(revision, held, None)
}

fn aged(revision: u64, held: Option<(OpId, u64)>, staleness_ms: Option<u64>) -> Outcome {
    Outcome::Ok(Answer::Found { revision, staleness_ms, held: held.map(|(op, modified)| Held { op, modified }) })
}

fn listed(revision: u64, items: &[(&str, OpId, u64)]) -> Outcome {
    let item = |&(id, op, modified): &(&str, OpId, u64)| (id.to_owned(), Held { op, modified });
    Outcome::Ok(Answer::Listed { revision, staleness_ms: None, items: items.iter().map(item).collect() })
}

fn info() -> Outcome {
    Outcome::Info { why: "timeout".to_owned() }
}

fn failed() -> Outcome {
    Outcome::Fail { why: "no_quorum".to_owned(), revision: None }
}

/// Two instances are registered, one is removed, and everybody sees it.
fn good() -> Story {
    Story::new()
        .does(1, put("a"), written(5, true))
        .does(2, put("b"), written(6, true))
        .does(3, get("a", Consistency::Linearizable), found(6, Some((1, 5))))
        .does(4, remove("a"), removed(7))
}

#[test]
fn a_good_history_is_valid() {
    good().ended().does(9, list(), listed(7, &[("b", 2, 6)])).log("n1", &[(5, 1), (6, 2), (7, 4)]).finds(&[]);
}

#[test]
fn an_open_write_may_or_may_not_have_happened() {
    let story = || Story::new().does(1, put("a"), info());
    story().ended().does(9, list(), listed(5, &[("a", 1, 5)])).log("n1", &[(5, 1)]).finds(&[]);
    story().ended().does(9, list(), listed(5, &[])).log("n1", &[]).finds(&[]);
}

#[test]
fn an_acknowledged_instance_that_is_gone_is_lost() {
    good().ended().does(9, list(), listed(7, &[])).log("n1", &[(5, 1), (7, 4)]).finds(&[
        "lost",
        "lost write",
        "wrong list",
    ]);
}

#[test]
fn an_instance_that_is_there_after_its_removal_came_back() {
    good()
        .ended()
        .does(9, list(), listed(7, &[("a", 1, 5), ("b", 2, 6)]))
        .log("n1", &[(5, 1), (6, 2), (7, 4)])
        .finds(&["resurrected", "wrong list"]);
}

#[test]
fn an_instance_in_a_list_twice_is_a_duplicate() {
    good()
        .ended()
        .does(9, list(), listed(7, &[("b", 2, 6), ("b", 2, 6)]))
        .log("n1", &[(5, 1), (6, 2), (7, 4)])
        .finds(&["duplicate"]);
}

#[test]
fn a_write_that_failed_must_not_be_seen() {
    Story::new()
        .does(1, put("a"), failed())
        .ended()
        .does(9, list(), listed(5, &[("a", 1, 5)]))
        .log("n1", &[(5, 1)])
        .finds(&["failed write happened", "phantom"]);
}

#[test]
fn a_write_that_is_in_the_log_twice_was_applied_twice() {
    Story::new()
        .does(1, put("a"), written(5, true))
        .ended()
        .does(9, list(), listed(8, &[("a", 1, 5)]))
        .log("n1", &[(5, 1), (8, 1)])
        .finds(&["applied twice"]);
}

#[test]
fn a_retry_that_gets_another_answer_was_not_recognized() {
    let again = Some(Again { node: "n1".to_owned(), revision: Some(6) });
    let answer = Answer::Written { revision: 5, created: true, changed: true, modified: 5, again };
    Story::new()
        .does(1, put("a"), Outcome::Ok(answer))
        .ended()
        .does(9, list(), listed(6, &[("a", 1, 5)]))
        .log("n1", &[(5, 1)])
        .finds(&["retry not recognized"]);
}

#[test]
fn a_linearizable_read_that_shows_the_past_is_stale() {
    good()
        .does(5, get("a", Consistency::Linearizable), found(6, Some((1, 5))))
        .ended()
        .does(9, list(), listed(7, &[("b", 2, 6)]))
        .log("n1", &[(5, 1), (6, 2), (7, 4)])
        .finds(&["not linearizable", "stale read"]);
}

#[test]
fn a_stale_read_may_show_the_past_if_it_says_how_old_it_is() {
    let story = |staleness| {
        let mut story = good();
        let late = 1_500 * MS;
        story.events.push(Event::Invoke {
            at: late,
            op: 5,
            client: 5,
            node: "n1".to_owned(),
            call: get("a", Consistency::Stale),
        });
        story.events.push(Event::Return { at: late + MS, op: 5, outcome: aged(6, Some((1, 5)), Some(staleness)) });
        for event in [
            Event::Healed { at: late + 2 * MS },
            Event::Recovered { at: late + 2 * MS },
            Event::End { at: late + 2 * MS },
        ] {
            story.events.push(event);
        }
        story.events.push(Event::Invoke { at: late + 3 * MS, op: 9, client: 9, node: "n1".to_owned(), call: list() });
        story.events.push(Event::Return { at: late + 4 * MS, op: 9, outcome: listed(7, &[("b", 2, 6)]) });
        story.log("n1", &[(5, 1), (6, 2), (7, 4)])
    };
    story(1_480).finds(&[]);
    story(3).finds(&["staleness understated"]);
}

#[test]
fn a_read_that_differs_from_the_log_at_its_revision_is_wrong() {
    good()
        .does(5, get("b", Consistency::Stale), found(6, None))
        .ended()
        .does(9, list(), listed(7, &[("b", 2, 6)]))
        .log("n1", &[(5, 1), (6, 2), (7, 4)])
        .finds(&["wrong read"]);
}

#[test]
fn a_read_below_the_revision_it_asked_for_breaks_read_your_writes() {
    let call = Call::Get { thing: web("a"), consistency: Consistency::Stale, min_revision: Some(7) };
    good()
        .does(5, call, found(6, Some((1, 5))))
        .ended()
        .does(9, list(), listed(7, &[("b", 2, 6)]))
        .log("n1", &[(5, 1), (6, 2), (7, 4)])
        .finds(&["read your writes"]);
}

#[test]
fn of_two_conditional_writes_on_one_revision_one_must_be_refused() {
    let cas = Call::Put { thing: web("a"), expect: Expect::At { revision: 5, by: 1 } };
    let story = |second: Outcome, log: &[(u64, OpId)]| {
        Story::new()
            .does(1, put("a"), written(5, true))
            .begins(2, cas.clone())
            .begins(3, cas.clone())
            .ends(2, written(6, false))
            .ends(3, second)
            .ended()
            .log("n1", log)
    };
    let refused = Outcome::Fail { why: "revision_mismatch".to_owned(), revision: Some(7) };
    story(refused, &[(5, 1), (6, 2)]).finds(&[]);
    story(written(7, false), &[(5, 1), (6, 2), (7, 3)]).finds(&["not linearizable", "precondition ignored"]);
}

#[test]
fn a_refusal_whose_condition_held_is_wrong() {
    let refused = Outcome::Fail { why: "revision_mismatch".to_owned(), revision: Some(6) };
    let cas = Call::Put { thing: web("a"), expect: Expect::At { revision: 5, by: 1 } };
    Story::new()
        .does(1, put("a"), written(5, true))
        .does(2, cas, refused)
        .ended()
        .log("n1", &[(5, 1)])
        .finds(&["not linearizable", "wrong refusal"]);
}

#[test]
fn nodes_with_different_logs_have_diverged() {
    good()
        .ended()
        .does(9, list(), listed(7, &[("b", 2, 6)]))
        .log("n1", &[(5, 1), (6, 2), (7, 4)])
        .log("n2", &[(5, 1), (6, 2)])
        .finds(&["diverged logs", "lost write"]);
}

#[test]
fn without_any_log_the_verdict_is_unknown_where_it_matters() {
    good().ended().does(9, list(), listed(7, &[("b", 2, 6)])).finds(&["log unknown"]);
}

fn opened(since: Option<u64>) -> Seen {
    Seen::Opened { node: "n1".to_owned(), since, services: Vec::new() }
}

fn saw(revision: u64, id: &str, op: OpId) -> Seen {
    Seen::Put { revision, thing: web(id), op }
}

fn saw_removal(revision: u64, id: &str, op: OpId) -> Seen {
    Seen::Removed { revision, thing: web(id), op: Some(op) }
}

/// [`good`], and a watch of it that saw this.
fn watched(frames: Vec<Seen>) -> Story {
    let story = frames.into_iter().fold(good(), Story::seen);
    story.ended().does(9, list(), listed(7, &[("b", 2, 6)])).log("n1", &[(5, 1), (6, 2), (7, 4)])
}

#[test]
fn a_watch_that_sees_each_change_once_and_in_order_is_good_across_reconnects() {
    let snapshot = Seen::Snapshot { revision: 5, items: vec![(web("a"), 1)] };
    watched(vec![opened(None), snapshot, saw(6, "b", 2), opened(Some(6)), saw_removal(7, "a", 4)]).finds(&[]);
    watched(vec![
        opened(Some(4)),
        saw(5, "a", 1),
        Seen::Bookmark { revision: 5 },
        saw(6, "b", 2),
        saw_removal(7, "a", 4),
    ])
    .finds(&[]);
}

#[test]
fn a_watch_with_a_gap_a_double_or_disorder_is_bad() {
    watched(vec![opened(Some(4)), saw(5, "a", 1), saw_removal(7, "a", 4)]).finds(&["gap"]);
    watched(vec![opened(Some(4)), saw(5, "a", 1), Seen::Bookmark { revision: 6 }, saw_removal(7, "a", 4)])
        .finds(&["gap"]);
    watched(vec![opened(Some(4)), saw(5, "a", 1), saw(5, "a", 1), saw(6, "b", 2), saw_removal(7, "a", 4)])
        .finds(&["double or disorder"]);
    watched(vec![opened(Some(4)), saw(6, "b", 2), saw(5, "a", 1), saw_removal(7, "a", 4)])
        .finds(&["double or disorder", "gap"]);
}

#[test]
fn a_watch_that_stops_before_the_last_change_is_stuck() {
    watched(vec![opened(Some(4)), saw(5, "a", 1), saw(6, "b", 2)]).finds(&["stuck"]);
}

#[test]
fn a_watch_whose_snapshot_differs_from_the_log_is_bad() {
    let snapshot = Seen::Snapshot { revision: 7, items: vec![(web("a"), 1)] };
    watched(vec![opened(None), snapshot]).finds(&["wrong snapshot"]);
}

#[test]
fn a_run_that_says_nothing_is_not_green() {
    let run =
        RunInfo { nodes: vec!["n1".to_owned()], min_ok: 5, nemeses: vec!["kill".to_owned()], ..RunInfo::default() };
    let skipped = |at| Event::Fault {
        at,
        id: 0,
        fault: "kill one".to_owned(),
        phase: FaultPhase::Skipped,
        note: "no".to_owned(),
        hit: Vec::new(),
        unheard_ms: None,
    };
    let story = Story::default().then(|_| Event::Run(run)).does(1, put("a"), written(5, true)).then(skipped);
    let history = History::of(story.events).expect("a history");
    let kinds: Vec<&str> = traffic::check(&history).findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, ["too little traffic", "nemesis skipped", "broken off"]);
    assert_eq!(verdict(&super::check(&history)), Verdict::Unknown);
}

#[test]
fn a_node_that_died_by_itself_makes_the_run_invalid() {
    good()
        .then(|at| Event::Trouble { at, node: "n1".to_owned(), what: "it panicked".to_owned() })
        .ended()
        .does(9, list(), listed(7, &[("b", 2, 6)]))
        .log("n1", &[(5, 1), (6, 2), (7, 4)])
        .finds(&["node in trouble"]);
}

fn fault(at: u64, name: &str, phase: FaultPhase, unheard_ms: Option<u64>) -> Event {
    Event::Fault { at, id: 0, fault: name.to_owned(), phase, note: String::new(), hit: Vec::new(), unheard_ms }
}

fn leased() -> Thing {
    Thing::instance("leases", "a")
}

/// What of an instance's lease happened when, in milliseconds: `beat` is answered, a look says the word, `cut` and `damage` begin,
/// and damage is over, in which no gossip of a node arrived for so many milliseconds.
fn lease_story(steps: &[(u64, &str)]) -> Vec<Event> {
    let mut events = vec![Event::Run(RunInfo { nodes: vec!["n1".to_owned()], ..RunInfo::default() })];
    for (op, (at, what)) in (1..).zip(steps) {
        let at = at * MS;
        let (call, answer) = match *what {
            "beat" => (Call::Beat { thing: leased() }, Answer::Beaten { ttl_ms: 3_000 }),
            "cut" => {
                events.push(fault(at, "partition one", FaultPhase::Begun, None));
                continue;
            }
            "damage" => {
                events.push(fault(at, "damaged packets", FaultPhase::Begun, None));
                continue;
            }
            over if over.starts_with("over") => {
                let unheard_ms = over.strip_prefix("over ").map(|millis| millis.parse().unwrap());
                events.push(fault(at, "damaged packets", FaultPhase::Ended, unheard_ms));
                continue;
            }
            "heal" => {
                events.push(Event::Healed { at });
                continue;
            }
            "starved" => {
                events.push(Event::Starved { at });
                continue;
            }
            "end" => {
                events.push(Event::End { at });
                continue;
            }
            state => {
                let state = if state == "critical" { State::Critical } else { State::Passing };
                (Call::Look { thing: leased() }, Answer::Looked { state, cause: "observed".to_owned() })
            }
        };
        events.push(Event::Invoke { at, op, client: op, node: "n1".to_owned(), call });
        events.push(Event::Return { at: at + MS, op, outcome: Outcome::Ok(answer) });
    }
    events
}

#[track_caller]
fn lease_finds(steps: &[(u64, &str)], expected: &[&str]) {
    let history = History::of(lease_story(steps)).expect("a history that a run can have");
    let judgement = lease::check(&history);
    let kinds: Vec<&str> = judgement.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, expected, "{:#?}", judgement.findings);
}

/// What contenders did when, in milliseconds, each within one: `open s`, `renew s`, `release s`, `get s FENCE`,
/// `write s FENCE`, `heal`, `refused s`. Log indexes rise with the lines unless `@INDEX` says another one.
#[track_caller]
fn lock_finds(steps: &[(u64, &str)], expected: &[&str]) {
    let mut events = vec![Event::Run(RunInfo { nodes: vec!["n1".to_owned()], ..RunInfo::default() })];
    for (op, (at, what)) in (1_u64..).zip(steps) {
        let at = at * MS;
        let (what, index) = what.split_once(" @").map_or((*what, op), |(what, index)| (what, index.parse().unwrap()));
        let words: Vec<&str> = what.split(' ').collect();
        let (key, session) = ("locks/a".to_owned(), words.get(1).copied().unwrap_or_default().to_owned());
        let fence = || words[2].parse().unwrap();
        let (call, outcome) = match words[0] {
            "open" => (Call::Open, Outcome::Ok(Answer::Opened { session })),
            "renew" => (Call::Renew { session }, Outcome::Ok(Answer::Renewed)),
            "release" => (Call::Release { key, session }, Outcome::Ok(Answer::Released { modified: index })),
            "get" => {
                (Call::Acquire { key, session }, Outcome::Ok(Answer::Acquired { fence: fence(), modified: index }))
            }
            "write" => {
                (Call::Guarded { key, session, fence: fence() }, Outcome::Ok(Answer::Guarded { modified: index }))
            }
            "refused" => (Call::Acquire { key, session }, Outcome::Fail { why: "held".to_owned(), revision: None }),
            _ => {
                events.push(Event::Healed { at });
                continue;
            }
        };
        events.push(Event::Invoke { at, op, client: op, node: "n1".to_owned(), call });
        events.push(Event::Return { at: at + MS, op, outcome });
    }
    let history = History::of(events).expect("a history that a run can have");
    let judgement = lock::check(&history);
    let kinds: Vec<&str> = judgement.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, expected, "{:#?}", judgement.findings);
}

#[test]
fn a_lock_passes_on_when_it_is_released_or_its_holder_was_silent_for_its_ttl() {
    lock_finds(&[(0, "open s"), (5, "open t"), (10, "get s 1"), (20, "release s"), (30, "get t 2")], &[]);
    lock_finds(&[(0, "open s"), (5_000, "open t"), (6_000, "get s 1"), (10_500, "get t 2")], &[]);
    lock_finds(&[(0, "open s"), (5_000, "open t"), (6_000, "get s 1"), (9_500, "get t 2")], &["two holders at once"]);
    let renewed = [(0, "open s"), (10, "get s 1"), (9_000, "renew s"), (9_500, "open t"), (12_000, "get t 2")];
    lock_finds(&renewed, &["two holders at once"]);
}

#[test]
fn no_two_holders_of_a_lock_have_one_number() {
    lock_finds(&[(0, "open s"), (10, "get s 1"), (20, "release s"), (30, "open t"), (40, "get t 1")], &["two holders"]);
    let fell = [(0, "open s"), (10, "get s 2"), (20, "release s"), (30, "open t"), (40, "get t 1")];
    lock_finds(&fell, &["fence fell"]);
}

#[test]
fn what_a_lock_protects_is_written_by_its_holder_alone() {
    let late = [(0, "open s"), (10, "get s 1"), (20, "release s"), (30, "open t"), (40, "get t 2"), (50, "write s 1")];
    lock_finds(&late, &["stale holder wrote"]);
    lock_finds(&[(0, "open s"), (10, "get s 1"), (20, "write s 1"), (30, "write s 1 @1")], &["stale holder wrote"]);
}

#[test]
fn after_the_heal_every_lock_must_pass_on() {
    lock_finds(&[(0, "open s"), (10, "get s 1"), (20, "heal"), (30, "refused t")], &["never passed on"]);
    lock_finds(&[(0, "open s"), (10, "get s 1"), (20, "heal"), (30, "refused t"), (12_000, "get t 2")], &[]);
}

#[test]
fn who_beats_in_time_is_never_critical() {
    lease_finds(&[(0, "beat"), (2_000, "beat"), (4_900, "passing"), (5_100, "critical")], &[]);
    lease_finds(&[(0, "beat"), (2_000, "beat"), (4_900, "critical")], &["early expiry"]);
}

#[test]
fn who_beat_too_late_once_is_not_judged_any_more() {
    lease_finds(&[(0, "beat"), (3_100, "beat"), (3_200, "critical")], &[]);
}

#[test]
fn who_is_cut_off_from_the_heartbeats_need_not_know_of_them() {
    lease_finds(&[(0, "beat"), (100, "cut"), (200, "critical")], &[]);
}

#[test]
fn a_run_in_which_hardly_any_look_could_be_judged_says_nothing_of_expiry() {
    let end = [(2_500, "heal"), (9_000, "critical"), (9_100, "end")];
    let all_cut = [&[(0, "beat"), (100, "cut"), (200, "passing")][..], &end].concat();
    lease_finds(&all_cut, &["too little traffic"]);
    let mut judged = vec![(0, "beat")];
    judged.extend((1..=20).map(|look| (look * 100, "passing")));
    judged.extend(end);
    lease_finds(&judged, &[]);
}

#[test]
fn damaged_packets_are_no_excuse_unless_nothing_of_a_node_was_heard_for_long() {
    let with = |over| [(0, "beat"), (100, "damage"), (200, "critical"), (300, over), (400, "critical")];
    lease_finds(&with("over 90"), &["early expiry", "early expiry"]);
    lease_finds(&with("over 501"), &[]);
    // Of an older history, or one that breaks off, nobody knows.
    lease_finds(&with("over"), &[]);
    lease_finds(&with("over 90")[..3], &[]);
}

#[test]
fn who_is_silent_is_critical_at_the_end() {
    lease_finds(&[(0, "beat"), (10, "heal"), (20_000, "passing"), (26_000, "critical")], &[]);
    lease_finds(&[(0, "beat"), (10, "heal"), (26_000, "passing")], &["late expiry"]);
}

#[test]
fn of_nodes_that_were_not_run_nobody_can_say_that_they_are_late() {
    let verdict = |steps: &[(u64, &str)]| lease::check(&History::of(lease_story(steps)).unwrap()).verdict();
    let late = [(0, "beat"), (10, "heal"), (26_000, "passing"), (26_010, "starved")];
    assert_eq!(verdict(&late), Verdict::Unknown);
    assert_eq!(verdict(&late[..3]), Verdict::Invalid);
    assert_eq!(verdict(&[(0, "beat"), (10, "heal"), (26_000, "critical"), (26_010, "starved")]), Verdict::Valid);
}

fn select(n: usize) -> Call {
    Call::Select { service: "web".to_owned(), n, consistency: Consistency::Stale, min_revision: None }
}

fn picked(revision: u64, picks: &[(&str, OpId)]) -> Outcome {
    let picks = picks.iter().map(|(id, op)| ((*id).to_owned(), *op)).collect();
    Outcome::Ok(Answer::Picked { revision, staleness_ms: None, picks })
}

#[test]
fn whoever_is_picked_was_there_at_the_revision_of_the_answer() {
    let story = |n, outcome| {
        let story = good().does(5, select(n), outcome).ended();
        story.does(9, list(), listed(7, &[("b", 2, 6)])).log("n1", &[(5, 1), (6, 2), (7, 4)])
    };
    story(1, picked(7, &[("b", 2)])).finds(&[]);
    story(3, picked(7, &[("b", 2)])).finds(&[]);
    story(2, picked(6, &[("b", 2), ("a", 1)])).finds(&[]);
    story(2, picked(7, &[("b", 2), ("a", 1)])).finds(&["wrong pick"]);
    story(2, picked(6, &[("b", 2), ("b", 2)])).finds(&["wrong pick"]);
    story(1, picked(7, &[])).finds(&["wrong pick"]);
}
