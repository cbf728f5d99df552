use rollcall_catalog::Actor;
use rollcall_health::RunClock;
use rollcall_health::check::{Load, Report};
use rollcall_types::{
    CheckKind, CheckSpec, InstanceId, LeaseSpec, Lifecycle, Metadata, Millis, Revision, Tags, Text, UnixMillis, Weight,
};

use super::*;
use crate::health::tracked::ttl_of;

const TTL: Duration = Duration::from_secs(60);

/// An instance with a lease, and a check by heartbeats for each of these.
fn instance(checks: &[&str]) -> Instance {
    let check = |id: &&str| CheckSpec {
        id: id.parse().unwrap(),
        name: Text::default(),
        notes: Text::default(),
        capability: None,
        kind: CheckKind::Ttl { ttl: Millis::new(9_000), initial: Status::Passing },
        interval: Millis::new(10_000),
        timeout: Millis::new(1_000),
        failures_before_critical: 3,
        successes_before_passing: 2,
    };
    let spec = InstanceSpec {
        endpoints: Box::default(),
        zone: None,
        region: None,
        version: None,
        tags: Tags::new(),
        metadata: Metadata::new(),
        weight: Weight::default(),
        lease: Some(LeaseSpec { ttl: Millis::new(60_000) }),
        checks: checks.iter().map(check).collect(),
        deregister_after: None,
    };
    Instance {
        service: "web".parse().unwrap(),
        id: InstanceId::try_from("web-1").unwrap(),
        slot: 0,
        spec: Arc::new(spec),
        lifecycle: Lifecycle::Active,
        registered_by: Actor { name: "ann".parse().unwrap(), via: "n1".parse().unwrap() },
        registered_at: UnixMillis::new(0),
        modified_at: UnixMillis::new(0),
        created: Revision::new(1),
        modified: Revision::new(1),
    }
}

fn at(seconds: u64) -> Reading {
    RunClock::new(MonoTime::new(Duration::from_secs(seconds))).read(MonoTime::new(Duration::from_secs(seconds)))
}

fn seen(said: &Said) -> (Status, f64) {
    (said.observation.status, said.observation.score.score())
}

#[test]
fn a_plain_heartbeat_says_its_status_and_keeps_nothing() {
    let said = Said::by(None, &instance(&[]), &Heartbeat::default(), TTL, at(0));
    assert_eq!((seen(&said), said.spec().is_none()), ((Status::Passing, 1.0), true));
    let warned = Heartbeat { status: Report::Warning, ..Heartbeat::default() };
    assert_eq!(seen(&Said::by(Some(said), &instance(&[]), &warned, TTL, at(1))).0, Status::Warning);
}

#[test]
fn a_load_counts_until_it_is_older_than_the_lease_allows() {
    let load = Load { cpu: Some(0.95), ..Load::default() };
    let loaded = Heartbeat { load: Some(load), ..Heartbeat::default() };
    let said = Said::by(None, &instance(&[]), &loaded, TTL, at(0));
    assert_eq!(seen(&said), (Status::Passing, 0.0), "exhausted, and alive");
    let said = Said::by(Some(said), &instance(&[]), &Heartbeat::default(), TTL, at(30));
    assert_eq!(seen(&said).1, 0.0);
    let said = Said::by(Some(said), &instance(&[]), &Heartbeat::default(), TTL, at(61));
    assert_eq!(seen(&said).1, 1.0);
}

#[test]
fn checks_by_heartbeats_are_all_renewed_or_those_that_are_named() {
    let it = instance(&["db", "queue"]);
    let said = Said::by(None, &it, &Heartbeat::default(), TTL, at(0));
    assert_eq!(seen(&said).0, Status::Passing);
    let one = |status| Heartbeat { checks: Some(vec![("db".parse().unwrap(), status)]), ..Heartbeat::default() };
    let said = Said::by(Some(said), &it, &one(Report::Critical), TTL, at(1));
    assert_eq!(seen(&said).0, Status::Critical);
    let said = Said::by(Some(said), &it, &one(Report::Passing), TTL, at(2));
    assert_eq!(seen(&said).0, Status::Passing);
    let first = Said::by(None, &it, &one(Report::Passing), TTL, at(0));
    assert_eq!(seen(&first).0, Status::Passing, "of the queue nothing was heard yet");
    assert_eq!([0, 1].map(|place| first.words().get(place)), [Some(Status::Passing), None]);
}

#[test]
fn the_later_word_of_two_nodes_counts_and_the_worse_of_words_at_once() {
    let said = |it: &Instance, status| Said::by(None, it, &Heartbeat { status, ..Heartbeat::default() }, TTL, at(10));
    let gives_way = |said: &Said, other, seconds| said.gives_way_to(other, at(seconds).now);
    for it in [instance(&[]), only_checks(&["db"])] {
        let (fine, failed) = (said(&it, Report::Passing), said(&it, Report::Critical));
        assert!(gives_way(&failed, Status::Passing, 12) && gives_way(&fine, Status::Critical, 12), "it moved");
        assert!(!gives_way(&failed, Status::Passing, 10) && gives_way(&fine, Status::Critical, 10), "at once");
        assert!(!gives_way(&fine, Status::Passing, 60), "both say the same");
    }
}

fn only_checks(checks: &[&str]) -> Instance {
    let mut it = instance(checks);
    Arc::make_mut(&mut it.spec).lease = None;
    it
}

#[test]
fn the_lease_decides_how_long_the_silence_may_be_and_without_one_the_longest_check() {
    assert_eq!(ttl_of(&instance(&["db"])), Some(TTL));
    let mut by_checks = instance(&["db"]);
    Arc::make_mut(&mut by_checks.spec).lease = None;
    assert_eq!(ttl_of(&by_checks), Some(Duration::from_secs(9)));
    Arc::make_mut(&mut by_checks.spec).checks = Box::default();
    assert_eq!(ttl_of(&by_checks), None);
}

/// A heartbeat of these checks.
fn of(reports: &[(&str, Report)]) -> Heartbeat {
    let checks = reports.iter().map(|(id, report)| (id.parse().unwrap(), *report));
    Heartbeat { checks: Some(checks.collect()), ..Heartbeat::default() }
}

/// What another node says of each check of an instance.
fn told(it: &Instance, statuses: &[Option<Status>]) -> CheckStatuses {
    CheckStatuses::of(&it.spec.checks, |place, _| statuses[place])
}

const PASSING: Option<Status> = Some(Status::Passing);
const CRITICAL: Option<Status> = Some(Status::Critical);

#[test]
fn of_several_checks_each_is_a_word_and_only_that_gives_way_of_which_another_node_says_something_later() {
    let it = only_checks(&["db", "queue"]);
    let both = of(&[("db", Report::Critical), ("queue", Report::Critical)]);
    let said = || Said::by(None, &it, &both, TTL, at(10));
    assert_eq!(said().words(), told(&it, &[CRITICAL, CRITICAL]));
    let after = |before: &[Option<Status>], after: &[Option<Status>], seconds| {
        let mut said = said();
        said.give_way_by_check(&other(), (told(&it, before), told(&it, after)), at(seconds).now);
        said.settle(at(seconds).now);
        (said.words(), said.observation.status)
    };
    assert_eq!(after(&[None, None], &[PASSING, None], 20), (told(&it, &[None, CRITICAL]), Status::Critical));
    assert_eq!(after(&[None, None], &[PASSING, PASSING], 20), (told(&it, &[None, None]), Status::Passing));
    let kept = (told(&it, &[CRITICAL, CRITICAL]), Status::Critical);
    assert_eq!(after(&[PASSING, None], &[PASSING, None], 20), kept, "that is no news");
    assert_eq!(after(&[None, None], &[PASSING, None], 10), kept, "at once, the worse counts");
    assert_eq!(after(&[None, None], &[CRITICAL, None], 20), kept, "both say the same");
    let mut fine = Said::by(None, &it, &of(&[("db", Report::Passing)]), TTL, at(10));
    fine.give_way_by_check(&self::other(), (told(&it, &[None, None]), told(&it, &[CRITICAL, None])), at(10).now);
    assert!(fine.words().is_empty(), "at once, the worse counts");
    let other = only_checks(&["db", "mail"]);
    let mut said = said();
    assert_eq!(
        said.give_way_by_check(&self::other(), (told(&other, &[None; 2]), told(&other, &[PASSING; 2])), at(20).now),
        [0; 0]
    );
}

#[test]
fn a_check_that_is_silent_here_is_critical_unless_another_node_hears_it() {
    let it = only_checks(&["db", "queue"]);
    let mut clock = RunClock::new(MonoTime::default());
    let mut at = |seconds: u64| {
        // It runs all the time.
        let mut now = MonoTime::default();
        while now < MonoTime::new(Duration::from_secs(seconds)) {
            now = now.plus(rollcall_health::RUN_TICK);
            clock.tick(now);
        }
        clock.read(now)
    };
    let both = of(&[("db", Report::Passing), ("queue", Report::Passing)]);
    let mut said = Said::by(None, &it, &both, TTL, at(1));
    said.tick(at(9), |_| panic!("nothing is missed"));
    said = Said::by(Some(said), &it, &of(&[("db", Report::Passing)]), TTL, at(9));
    let mut after = |seconds, others: &[Option<Status>]| {
        let now = at(seconds);
        said.tick(now, |_| told(&it, others));
        said.settle(now.now);
        (said.words(), said.observation.status)
    };
    assert_eq!(after(12, &[None, None]), (told(&it, &[PASSING, CRITICAL]), Status::Critical));
    assert_eq!(after(13, &[None, PASSING]), (told(&it, &[PASSING, None]), Status::Passing));
    assert_eq!(after(14, &[None, CRITICAL]), (told(&it, &[PASSING, CRITICAL]), Status::Critical), "nor there");
}

#[test]
fn a_registration_with_other_checks_keeps_what_was_heard_of_those_that_stay() {
    let it = only_checks(&["db", "queue"]);
    let said = Said::by(None, &it, &of(&[("db", Report::Warning), ("queue", Report::Passing)]), TTL, at(1));
    let other = only_checks(&["mail", "db"]);
    let said = Said::by(Some(said), &other, &of(&[("mail", Report::Passing)]), TTL, at(2));
    assert_eq!(said.words(), told(&other, &[PASSING, Some(Status::Warning)]));
    let single = only_checks(&["db"]);
    let said = Said::by(Some(said), &single, &of(&[("db", Report::Passing)]), TTL, at(3));
    assert_eq!((said.words().is_empty(), said.observation.status), (true, Status::Passing), "its digest says all");
}

#[test]
fn a_word_that_is_said_anew_is_not_said_for_a_moment() {
    let it = only_checks(&["db", "queue"]);
    let mut said = Said::by(None, &it, &of(&[("db", Report::Critical), ("queue", Report::Passing)]), TTL, at(1));
    said.hush(0, true);
    assert_eq!((said.words(), said.heard(0)), (told(&it, &[None, PASSING]), CRITICAL));
    assert!(said.settle(at(1).now) && said.observation.status == Status::Passing);
    said.hush(0, false);
    assert_eq!(said.words(), told(&it, &[CRITICAL, PASSING]));
}

#[test]
fn what_was_said_against_the_whole_of_an_instance_is_taken_back_when_another_node_says_better() {
    let it = instance(&["db"]);
    let failed = Heartbeat { status: Report::Critical, ..of(&[("db", Report::Passing)]) };
    let mut said = Said::by(None, &it, &failed, TTL, at(10));
    assert_eq!(said.observation.status, Status::Critical);
    assert!(!said.relent(Status::Passing, at(10).now) && !said.relent(Status::Critical, at(20).now));
    assert!(said.relent(Status::Warning, at(20).now) && said.settle(at(20).now));
    assert_eq!(said.observation.status, Status::Passing);
}

#[test]
fn what_was_seen_when_it_was_heard_is_no_later_word_however_late_this_node_looks_at_it() {
    let it = only_checks(&["db", "queue"]);
    let both = of(&[("db", Report::Passing), ("queue", Report::Passing)]);
    let mut said = Said::by(None, &it, &both, TTL, at(0));
    said.saw(Box::new([(other(), Status::Critical)]));
    assert!(said.has_seen(&other(), Status::Critical) && !said.has_seen(&other(), Status::Warning));
    let news = (told(&it, &[None, None]), told(&it, &[CRITICAL, Some(Status::Warning)]));
    assert_eq!(said.give_way_by_check(&other(), news, at(0).now), [1], "the warning is another word");
    let anew = [(CRITICAL, None), (None, CRITICAL)]
        .map(|(before, after)| (told(&it, &[before, None]), told(&it, &[after, None])));
    let overtaken = anew.map(|news| said.give_way_by_check(&other(), news, at(0).now));
    assert_eq!(overtaken, [vec![], vec![0]], "what is said anew is later");
}

fn other() -> NodeName {
    "n2".parse().unwrap()
}
