use rollcall_catalog::Actor;
use rollcall_health::check::{Answer, Failure, Outcome};
use rollcall_health::forecast::Options;
use rollcall_health::{DigestKind, Freshness, HealthView, RunClock};
use rollcall_types::{
    CheckStatuses, InstanceId, InstanceSpec, LeaseSpec, Lifecycle, Metadata, Millis, Revision, Tags, Text, UnixMillis,
    Weight,
};

use super::*;
use crate::health::checks::WordsPage;
use crate::health::fixture::Voices;
use crate::health::inbox::Inbox;
use crate::health::tracked::Checks;

const INTERVAL: u64 = 1_000;

fn slot(number: u32) -> Slot {
    Slot::new(number).unwrap()
}

fn check() -> CheckSpec {
    CheckSpec {
        id: "tcp".parse().unwrap(),
        name: Text::default(),
        notes: Text::default(),
        capability: None,
        kind: CheckKind::Tcp { host: "localhost".try_into().unwrap(), port: 80_u64.try_into().unwrap() },
        interval: Millis::new(INTERVAL),
        timeout: Millis::new(100),
        failures_before_critical: 3,
        successes_before_passing: 2,
    }
}

/// An instance that was registered long ago.
fn instance(number: u32, checks: &[CheckSpec], lease: Option<u64>) -> Instance {
    let spec = InstanceSpec {
        endpoints: Box::default(),
        zone: None,
        region: None,
        version: None,
        tags: Tags::new(),
        metadata: Metadata::new(),
        weight: Weight::default(),
        lease: lease.map(|ttl| LeaseSpec { ttl: Millis::new(ttl) }),
        checks: checks.into(),
        deregister_after: None,
    };
    Instance {
        service: "web".parse().unwrap(),
        id: InstanceId::try_from(&*format!("web-{number}")).unwrap(),
        slot: number,
        spec: Arc::new(spec),
        lifecycle: Lifecycle::Active,
        registered_by: Actor { name: "ann".parse().unwrap(), via: "n1".parse().unwrap() },
        registered_at: UnixMillis::new(0),
        modified_at: UnixMillis::new(0),
        created: Revision::new(u64::from(number) + 1),
        modified: Revision::new(u64::from(number) + 1),
    }
}

fn registered(instance: Instance) -> Registered {
    let checks = CheckStatuses::default();
    Registered { instance: Arc::new(instance), expected: None, known: Status::Unknown, checks, is_new: true }
}

struct World {
    schedule: Schedule,
    clock: RunClock,
    now: MonoTime,
}

impl World {
    fn new() -> Self {
        // A draw in the middle: no jitter, and what is taken over is probed after half of its interval.
        let schedule = Schedule::new(Forecasting::new(Options::default()), || 1 << 63);
        Self { schedule, clock: RunClock::new(MonoTime::default()), now: MonoTime::default() }
    }

    fn moment(&mut self) -> Moment {
        Moment { at: self.clock.tick(self.now), wall: UnixMillis::new(1 << 40) }
    }

    fn assign(&mut self, number: u32, registered: &Registered, duty: Duty) {
        let moment = self.moment();
        self.schedule.assign(slot(number), registered, duty, moment);
    }

    fn pass(&mut self, millis: u64) {
        for _ in 0..millis / 100 {
            self.now = self.now.plus(Duration::from_millis(100));
            self.moment();
        }
    }

    fn due(&mut self) -> Due {
        let at = self.moment().at;
        self.schedule.due(Vouchers { view: &HealthView::new(), words: &Inbox::default() }, at)
    }

    fn end(&mut self, order: &Order, answer: Answer) -> Option<Report> {
        let outcome = Outcome { answer, latency: Duration::ZERO };
        self.schedule.ended(order, Run { outcome, output: "".into(), at: UnixMillis::new(1) }, self.now)
    }

    /// Lets time pass until a probe is due, and ends it; the time that it took to be due, and what is said then.
    fn next(&mut self, answer: Answer) -> (u64, Option<Report>) {
        for waited in (0..=2 * INTERVAL).step_by(100) {
            if let [order] = self.due().orders.as_slice() {
                return (waited, self.end(order, answer));
            }
            self.pass(100);
        }
        panic!("nothing is due for two intervals");
    }

    fn doubt(&mut self, number: u32, registered: &Registered, duty: Duty, doubt: Doubt) {
        let moment = self.moment();
        self.schedule.doubt(slot(number), registered, duty, doubt, moment);
    }
}

const FAILED: Answer = Answer::Failed(Failure::Refused);
const FAILING: Doubt = Doubt { stands: false, is_failing: true, is_recovering: false };
const STANDING: Doubt = Doubt { stands: true, is_failing: true, is_recovering: false };
const RECOVERING: Doubt = Doubt { stands: false, is_failing: false, is_recovering: true };

fn status(report: Option<Report>) -> Option<Status> {
    report.map(|report| report.observation.map_or(Status::Unknown, |seen| seen.status))
}

#[test]
fn a_probe_runs_once_at_a_time_and_its_outcome_is_told() {
    let mut world = World::new();
    world.assign(7, &registered(instance(7, &[check()], None)), Duty::Probe);
    assert!(world.due().orders.is_empty(), "what is taken over is probed within its interval");
    world.pass(INTERVAL / 2);
    let due = world.due();
    let [order] = due.orders.as_slice() else { panic!("{due:?}") };
    assert_eq!((order.slot, order.spec()), (slot(7), Some(&check())));
    world.pass(5 * INTERVAL);
    assert!(world.due().orders.is_empty(), "while it runs, however long");
    let report = world.end(order, Answer::Passed).unwrap();
    assert_eq!((report.slot, status(Some(report))), (slot(7), Some(Status::Passing)));
    assert_eq!(report.valid_for, Duration::from_millis(3 * INTERVAL));
    assert_eq!(world.next(Answer::Passed).0, INTERVAL);
}

#[test]
fn what_has_a_verdict_does_not_start_anew_with_another_prober() {
    for (is_new, expected) in [(true, Status::Starting), (false, Status::Unknown)] {
        let mut world = World::new();
        let mut young = instance(7, &[check()], None);
        young.registered_at = UnixMillis::new(1 << 40);
        world.assign(7, &Registered { is_new, ..registered(young) }, Duty::Probe);
        assert_eq!(world.schedule.get(slot(7)).unwrap().record().state().status, expected);
    }
}

#[test]
fn an_outcome_of_an_earlier_registration_is_not_taken_for_one_of_the_present() {
    let mut world = World::new();
    world.assign(7, &registered(instance(7, &[check()], None)), Duty::Probe);
    world.pass(INTERVAL);
    let due = world.due();
    let another = CheckSpec { interval: Millis::new(2 * INTERVAL), ..check() };
    world.assign(7, &registered(instance(7, &[another], None)), Duty::Probe);
    assert_eq!(world.schedule.under_way(), 1);
    assert_eq!(world.end(&due.orders[0], Answer::Passed), None);
    assert_eq!(world.schedule.under_way(), 0);
    assert_eq!(world.schedule.get(slot(7)).unwrap().record().state().status, Status::Unknown);
}

#[test]
fn what_was_found_out_survives_a_registration_with_the_same_checks() {
    let mut world = World::new();
    world.assign(7, &registered(instance(7, &[check()], None)), Duty::Probe);
    assert_eq!(status(world.next(Answer::Passed).1), Some(Status::Passing));
    let mut again = instance(7, &[check()], None);
    again.modified = Revision::new(99);
    world.assign(7, &registered(again), Duty::Probe);
    let tracked = world.schedule.get(slot(7)).unwrap();
    assert_eq!((tracked.record().state().status, tracked.instance().modified), (Status::Passing, Revision::new(99)));
}

/// What was put off is no evidence: were it said again, an instance that nobody could ask would count as what it once was for ever.
#[test]
fn a_probe_that_is_put_off_says_nothing_and_leaves_what_its_check_said_last() {
    let mut world = World::new();
    world.assign(7, &registered(instance(7, &[check()], None)), Duty::Probe);
    assert_eq!(status(world.next(Answer::Passed).1), Some(Status::Passing));
    for _ in 0..5 {
        let (waited, said) = world.next(Answer::PutOff);
        assert_eq!((waited, said), (INTERVAL, None), "it is due again after its interval");
    }
    let tracked = world.schedule.get(slot(7)).unwrap();
    let last = tracked.last()[0].as_ref().map(|run| run.outcome.answer);
    assert_eq!((tracked.record().state().status, last), (Status::Passing, Some(Answer::Passed)));
    assert_eq!(world.schedule.under_way(), 0);
}

#[test]
fn only_so_many_probes_run_at_once_and_the_others_wait_in_order() {
    let mut world = World::new();
    let count = u32::try_from(UNDER_WAY_MAX).unwrap() + 1;
    for number in 0..count {
        world.assign(number, &registered(instance(number, &[check()], None)), Duty::Probe);
    }
    world.pass(INTERVAL);
    let due = world.due();
    assert_eq!((due.orders.len(), world.schedule.next_due()), (UNDER_WAY_MAX, None));
    assert!(world.due().orders.is_empty());
    world.end(&due.orders[0], Answer::Passed);
    let next = world.due();
    assert_eq!(next.orders.iter().map(|order| order.slot).collect::<Vec<_>>(), [slot(count - 1)]);
}

/// Targets that hang took all places, and then the lease of the dead ran on, and that of the living was not said again.
#[test]
fn a_lease_ends_in_time_though_probes_have_taken_all_places() {
    let mut world = World::new();
    for number in 1..=u32::try_from(UNDER_WAY_MAX).unwrap() {
        world.assign(number, &registered(instance(number, &[check()], None)), Duty::Probe);
    }
    world.assign(0, &registered(instance(0, &[], Some(3_000))), Duty::Probe);
    world.pass(INTERVAL);
    assert_eq!(world.due().orders.len(), UNDER_WAY_MAX);
    let mut said = Vec::new();
    for _ in 0..120 {
        world.pass(100);
        assert!(world.schedule.next_due().is_some(), "there is upkeep to do");
        said.extend(world.due().reports.into_iter().filter(|report| report.slot == slot(0)));
    }
    let last = said.pop().and_then(|report| report.observation).map(|observation| observation.status);
    assert_eq!(last, Some(Status::Critical));
}

#[test]
fn a_confirmer_looks_when_another_doubts_and_looks_away_when_nobody_does() {
    let mut world = World::new();
    let it = registered(instance(7, &[check()], None));
    world.doubt(7, &it, Duty::Confirm, Doubt::default());
    assert_eq!(world.schedule.len(), 0);
    world.doubt(7, &it, Duty::Confirm, FAILING);
    let (waited, report) = world.next(Answer::Passed);
    assert_eq!((waited, status(report)), (0, Some(Status::Passing)));
    let (waited, report) = world.next(Answer::Passed);
    assert_eq!((waited, report.unwrap().observation), (INTERVAL, None), "an interval later it takes back what it said");
    assert_eq!((world.schedule.len(), world.schedule.next_due()), (0, None));
}

#[test]
fn a_confirmer_stays_for_as_long_as_another_sees_it_fail() {
    let mut world = World::new();
    let it = registered(instance(7, &[check()], None));
    world.doubt(7, &it, Duty::Confirm, STANDING);
    for _ in 0..5 {
        assert_eq!(status(world.next(Answer::Passed).1), Some(Status::Passing));
    }
    world.doubt(7, &it, Duty::Confirm, RECOVERING);
    assert_eq!(status(world.next(Answer::Passed).1), Some(Status::Unknown));
}

#[test]
fn whoever_is_sure_looks_at_once_when_another_doubts_and_whoever_is_not_keeps_its_pace() {
    let mut world = World::new();
    let it = registered(instance(7, &[check()], None));
    world.assign(7, &it, Duty::Probe);
    world.next(Answer::Passed);
    world.doubt(7, &it, Duty::Probe, FAILING);
    let (waited, report) = world.next(FAILED);
    assert_eq!((waited, status(report)), (0, Some(Status::Passing)), "one failure is no verdict");
    world.doubt(7, &it, Duty::Probe, FAILING);
    assert_eq!(world.next(FAILED).0, INTERVAL / 5);
    assert_eq!(status(world.next(FAILED).1), Some(Status::Critical));
    world.doubt(7, &it, Duty::Probe, RECOVERING);
    let (waited, report) = world.next(Answer::Passed);
    assert_eq!((waited, status(report)), (0, Some(Status::Critical)));
    assert_eq!(status(world.next(Answer::Passed).1), Some(Status::Passing), "two successes");
}

#[test]
fn a_lease_that_nobody_vouches_for_has_its_time_and_is_then_critical() {
    let mut world = World::new();
    world.assign(7, &registered(instance(7, &[], Some(2_000))), Duty::Probe);
    let mut said = Vec::new();
    for _ in 0..40 {
        said.extend(world.due().reports.into_iter().filter_map(|report| status(Some(report))));
        world.pass(100);
    }
    assert_eq!((said.first(), said.last()), (Some(&Status::Passing), Some(&Status::Critical)));
    assert!(said.is_sorted(), "{said:?}");
}

#[test]
fn who_confirms_that_a_lease_expired_gives_it_no_time_of_its_own() {
    let mut world = World::new();
    let it = registered(instance(7, &[], Some(60_000)));
    world.doubt(7, &it, Duty::Confirm, STANDING);
    let said: Vec<_> = world.due().reports.into_iter().filter_map(|report| status(Some(report))).collect();
    assert_eq!(said, [Status::Critical]);
    // Who probes it from now on judges for itself.
    world.assign(7, &it, Duty::Probe);
    let said: Vec<_> = world.due().reports.into_iter().filter_map(|report| status(Some(report))).collect();
    assert_eq!(said, [Status::Passing]);
}

#[test]
fn what_nobody_asks_is_said_as_it_was_registered() {
    for (number, fixed) in [(7, Status::Passing), (8, Status::Critical)] {
        let mut world = World::new();
        let spec = CheckSpec { kind: CheckKind::Fixed { status: fixed }, ..check() };
        world.assign(number, &registered(instance(number, &[spec], None)), Duty::Probe);
        let due = world.due();
        let said: Vec<_> = due.reports.into_iter().filter_map(|report| status(Some(report))).collect();
        assert_eq!((said, due.orders.len()), (vec![fixed], 0));
    }
}

#[test]
fn heartbeats_that_nobody_heard_yet_count_as_the_worst_that_their_checks_begin_with() {
    for (initial, expected) in [(Status::Passing, Status::Passing), (Status::Critical, Status::Critical)] {
        let mut world = World::new();
        let begins = |id: &str, initial| {
            let kind = CheckKind::Ttl { ttl: Millis::new(60_000), initial };
            CheckSpec { id: id.parse().unwrap(), kind, ..check() }
        };
        let checks = [begins("one", Status::Passing), begins("other", initial)];
        world.assign(7, &registered(instance(7, &checks, None)), Duty::Probe);
        let said: Vec<_> = world.due().reports.into_iter().filter_map(|report| status(Some(report))).collect();
        assert_eq!(said, [expected]);
    }
}

fn by_heartbeats(id: &str, initial: Status) -> CheckSpec {
    CheckSpec { id: id.parse().unwrap(), kind: CheckKind::Ttl { ttl: Millis::new(10_000), initial }, ..check() }
}

/// What n1 and n2 hear of the checks of an instance.
struct Hearing {
    voices: Voices,
    words: Inbox<WordsPage>,
    checks: Box<[CheckSpec]>,
}

impl Hearing {
    fn of(it: &Instance) -> Self {
        let voices = Voices::new((slot(it.slot), tenancy_of(it)));
        Self { voices, words: Inbox::default(), checks: it.spec.checks.clone() }
    }

    fn hear(&mut self, name: &str, told: &[Option<Status>]) {
        let checks = CheckStatuses::of(&self.checks, |place, _| told[place]);
        self.words.receive(&self.voices.update(name, DigestKind::Leases, checks), UnixMillis::new(1)).unwrap();
        let worst = told.iter().flatten().max().copied().unwrap_or(Status::Passing);
        self.voices.observe(name, worst, Freshness::Fresh);
    }

    /// What is made of the instance and of each check.
    fn look(&self, world: &mut World) -> (Status, Vec<Option<Status>>) {
        let at = world.moment().at;
        let vouchers = Vouchers { view: &self.voices.view, words: &self.words };
        world.schedule.look_at_leases(slot(7).chunk(), vouchers, at);
        let tracked = world.schedule.get(slot(7)).unwrap();
        let checks = tracked.checks();
        (tracked.record().state().status, (0..self.checks.len()).map(|place| checks.get(place)).collect())
    }
}

const PASSING: Option<Status> = Some(Status::Passing);
const CRITICAL: Option<Status> = Some(Status::Critical);

#[test]
fn a_check_that_nobody_reported_counts_as_it_begins_beside_one_that_was() {
    for (initial, expected) in [(Status::Passing, Status::Passing), (Status::Critical, Status::Critical)] {
        for lease in [None, Some(60_000)] {
            let mut world = World::new();
            let it = instance(7, &[by_heartbeats("db", Status::Critical), by_heartbeats("queue", initial)], lease);
            let mut hearing = Hearing::of(&it);
            world.assign(7, &registered(it), Duty::Probe);
            assert_eq!(hearing.look(&mut world), (Status::Critical, vec![CRITICAL, Some(initial)]));
            hearing.hear("n1", &[PASSING, None]);
            assert_eq!(hearing.look(&mut world), (expected, vec![PASSING, Some(initial)]));
            hearing.hear("n2", &[None, PASSING]);
            assert_eq!(hearing.look(&mut world), (Status::Passing, vec![PASSING, PASSING]));
        }
    }
}

#[test]
fn a_check_that_is_not_reported_for_its_time_to_live_is_critical_and_the_others_are_not() {
    let mut world = World::new();
    let it = instance(7, &[by_heartbeats("db", Status::Passing), by_heartbeats("queue", Status::Passing)], None);
    let mut hearing = Hearing::of(&it);
    world.assign(7, &registered(it), Duty::Probe);
    hearing.hear("n1", &[PASSING, None]);
    assert_eq!(hearing.look(&mut world), (Status::Passing, vec![PASSING, PASSING]));
    world.pass(11_200);
    assert_eq!(hearing.look(&mut world), (Status::Critical, vec![PASSING, CRITICAL]));
    // The node that hears one dies, and the other check goes on elsewhere.
    hearing.hear("n2", &[None, PASSING]);
    hearing.voices.observe("n1", Status::Passing, Freshness::Stale);
    assert_eq!(hearing.look(&mut world), (Status::Passing, vec![PASSING, PASSING]));
    world.pass(11_200);
    assert_eq!(hearing.look(&mut world), (Status::Critical, vec![CRITICAL, PASSING]));
}

#[test]
fn who_begins_to_look_while_others_differ_on_a_check_that_nobody_reported_takes_it_as_it_begins() {
    let checks = [by_heartbeats("db", Status::Critical), by_heartbeats("queue", Status::Passing)];
    let it = instance(7, &checks, None);
    for duty in [Duty::Probe, Duty::Confirm] {
        let mut world = World::new();
        let mut hearing = Hearing::of(&it);
        let known = CheckStatuses::of(&it.spec.checks, |place, _| [Some(Status::Warning), PASSING][place]);
        world.assign(7, &Registered { checks: known, ..registered(it.clone()) }, duty);
        hearing.look(&mut world);
        hearing.hear("n1", &[None, None]);
        assert_eq!(hearing.look(&mut world), (Status::Critical, vec![CRITICAL, PASSING]), "{duty:?}");
        hearing.hear("n1", &[PASSING, None]);
        assert_eq!(hearing.look(&mut world), (Status::Passing, vec![PASSING, PASSING]), "{duty:?}");
    }
}

#[test]
fn when_nobody_hears_an_instance_any_more_none_of_its_checks_by_heartbeats_is_heard() {
    let mut world = World::new();
    let probed = check();
    let it =
        instance(7, &[by_heartbeats("db", Status::Passing), by_heartbeats("queue", Status::Passing), probed], None);
    let mut hearing = Hearing::of(&it);
    world.assign(7, &registered(it), Duty::Probe);
    hearing.hear("n1", &[PASSING, PASSING, None]);
    world.next(Answer::Passed);
    assert_eq!(hearing.look(&mut world), (Status::Passing, vec![PASSING; 3]));
    hearing.voices.withdraw("n1");
    assert_eq!(hearing.look(&mut world), (Status::Passing, vec![PASSING; 3]), "another node may have heard it");
    world.pass(1_200);
    assert_eq!(hearing.look(&mut world), (Status::Critical, vec![CRITICAL, CRITICAL, PASSING]));
}

#[test]
fn of_whom_no_check_is_told_one_by_one_each_is_as_the_whole() {
    let mut world = World::new();
    let it = instance(7, &["db", "queue"].map(|id| by_heartbeats(id, Status::Critical)), None);
    let mut hearing = Hearing::of(&it);
    world.assign(7, &registered(it), Duty::Probe);
    // Who hears it found no room for a page, whatever the number of its instances.
    hearing.voices.observe("n1", Status::Passing, Freshness::Fresh);
    for _ in 0..3 {
        assert_eq!(hearing.look(&mut world), (Status::Passing, vec![PASSING; 2]));
        world.pass(60_000);
    }
    hearing.voices.observe("n1", Status::Warning, Freshness::Fresh);
    assert_eq!(hearing.look(&mut world), (Status::Warning, vec![Some(Status::Warning); 2]));
}

#[test]
fn a_probed_check_is_what_it_was_known_to_be_until_it_is_probed_here() {
    let mut world = World::new();
    let it = instance(7, &[check(), by_heartbeats("db", Status::Critical)], None);
    let hearing = Hearing::of(&it);
    let known = CheckStatuses::of(&it.spec.checks, |_, check| Some(check.kind.initial().unwrap_or(Status::Passing)));
    let registered = Registered { known: Status::Critical, checks: known, ..registered(it) };
    world.assign(7, &registered, Duty::Probe);
    assert_eq!(hearing.look(&mut world), (Status::Critical, vec![PASSING, CRITICAL]));
    let mut world = World::new();
    world.assign(7, &registered, Duty::Confirm);
    assert_eq!(hearing.look(&mut world).1, [None, CRITICAL], "who is to confirm takes nobody's word");
}

#[test]
fn each_check_is_told_while_not_all_of_them_pass() {
    let mut world = World::new();
    let fixed =
        CheckSpec { id: "fixed".parse().unwrap(), kind: CheckKind::Fixed { status: Status::Warning }, ..check() };
    let it = instance(7, &[check(), fixed.clone(), by_heartbeats("db", Status::Critical)], None);
    let mut hearing = Hearing::of(&it);
    world.assign(7, &registered(it.clone()), Duty::Probe);
    let warning = Some(Status::Warning);
    assert_eq!(hearing.look(&mut world).1, [None, warning, CRITICAL]);
    // It is the only one by heartbeats, so the digest of who hears it says all of it.
    hearing.hear("n1", &[None, None, None]);
    let told = world.next(Answer::Passed).1.unwrap().checks;
    assert_eq!(hearing.look(&mut world).1, [PASSING, warning, PASSING]);
    let of = |statuses: [Option<Status>; 3]| CheckStatuses::of(&it.spec.checks, |place, _| statuses[place]);
    assert_eq!(told, Checks::Told(of([PASSING, warning, CRITICAL])));
    assert_eq!(world.next(Answer::Passed).1.unwrap().checks, Checks::Told(of([PASSING, warning, PASSING])));

    let fixed = CheckSpec { kind: CheckKind::Fixed { status: Status::Passing }, ..fixed };
    let mut world = World::new();
    world.assign(7, &registered(instance(7, &[check(), fixed], None)), Duty::Probe);
    assert!(matches!(world.next(Answer::Passed).1.unwrap().checks, Checks::Pass(_)));
    world.assign(7, &registered(instance(7, &[check()], None)), Duty::Probe);
    assert_eq!(world.next(Answer::Passed).1.unwrap().checks, Checks::Untold, "its status says all");
}

#[test]
fn a_check_that_stays_while_others_come_is_what_it_was() {
    let mut world = World::new();
    let it = instance(7, &[by_heartbeats("db", Status::Critical)], None);
    let mut hearing = Hearing::of(&it);
    world.assign(7, &registered(it), Duty::Probe);
    hearing.hear("n1", &[PASSING]);
    hearing.look(&mut world);
    let more = instance(7, &[by_heartbeats("queue", Status::Critical), by_heartbeats("db", Status::Critical)], None);
    hearing.checks = more.spec.checks.clone();
    world.assign(7, &registered(more), Duty::Probe);
    assert_eq!(hearing.look(&mut world), (Status::Critical, vec![CRITICAL, PASSING]));
}

#[test]
fn what_rests_on_no_probe_is_said_again_before_it_runs_out() {
    let mut world = World::new();
    let alias = CheckKind::Alias { service: "db".parse().unwrap(), instance: None };
    let spec = CheckSpec { kind: alias, ..check() };
    world.assign(7, &registered(instance(7, &[spec], None)), Duty::Probe);
    assert!(world.due().reports.is_empty(), "it has nothing to say yet");
    let reports = world.schedule.follow_aliases(|_| Status::Warning, world.now);
    assert_eq!(reports.into_iter().filter_map(|it| status(Some(it))).collect::<Vec<_>>(), [Status::Warning]);
    let mut said = 0;
    for _ in 0..179 {
        said += world.due().reports.len();
        world.pass(1_000);
    }
    assert_eq!(said, 2, "after one and after two of three minutes");
}

#[test]
fn who_looks_away_leaves_its_last_word_for_as_long_as_the_next_needs_to_look() {
    let mut world = World::new();
    world.assign(7, &registered(instance(7, &[], Some(60_000))), Duty::Probe);
    assert_eq!(world.due().reports.len(), 1);
    let last = world.schedule.last_word(slot(7), world.now).unwrap();
    assert_eq!((status(Some(last)), last.valid_for), (Some(Status::Passing), Duration::from_secs(30)));
    world.assign(8, &registered(instance(8, &[check()], None)), Duty::Probe);
    world.pass(INTERVAL);
    let due = world.due();
    world.end(&due.orders[0], Answer::Passed);
    assert_eq!(world.schedule.last_word(slot(8), world.now), None, "what was probed runs out by itself");
}

#[test]
fn a_lease_that_nobody_holds_is_looked_at_when_its_time_is_over_and_not_before() {
    let mut world = World::new();
    world.assign(7, &registered(instance(7, &[], Some(10_000))), Duty::Probe);
    let mut said: Vec<_> = world.due().reports.into_iter().map(|report| (0, status(Some(report)))).collect();
    let mut looks = 0;
    for tenth in 1..=150 {
        world.pass(100);
        looks += usize::from(world.schedule.next_due().is_some_and(|due| due <= world.now));
        said.extend(world.due().reports.into_iter().map(|report| (tenth, status(Some(report)))));
    }
    let (passing, critical) = (Some(Status::Passing), Some(Status::Critical));
    assert_eq!((said, looks), (vec![(0, passing), (110, passing), (111, critical)], 2));
}

#[test]
fn what_a_check_said_is_kept_in_full_only_when_it_did_not_pass() {
    let mut world = World::new();
    world.assign(7, &registered(instance(7, &[check()], None)), Duty::Probe);
    let said = |world: &World| world.schedule.get(slot(7)).unwrap().output_bytes();
    for (answer, expected) in [(Answer::Passed, 256), (FAILED, 4_000), (Answer::Passed, 256)] {
        world.pass(INTERVAL);
        let [order] = &world.due().orders[..] else { panic!("one is due") };
        let run = Run {
            outcome: Outcome { answer, latency: Duration::ZERO },
            output: "x".repeat(4_000).into(),
            at: UnixMillis::new(1),
        };
        world.schedule.ended(order, run, world.now);
        assert_eq!((said(&world), world.schedule.output_bytes), (expected, expected));
    }
    world.schedule.release(slot(7));
    assert_eq!(world.schedule.output_bytes, 0);
}

#[test]
fn a_metrics_page_is_read_with_the_first_check_and_lowers_the_score() {
    let mut world = World::new();
    let mut it = instance(7, &[check()], None);
    let spec = Arc::make_mut(&mut it.spec);
    spec.metadata = [("metrics_path".try_into().unwrap(), "/metrics".try_into().unwrap())].into_iter().collect();
    spec.endpoints = [rollcall_types::Endpoint {
        name: "http".try_into().unwrap(),
        protocol: "http".try_into().unwrap(),
        host: "localhost".try_into().unwrap(),
        port: 80_u64.try_into().unwrap(),
    }]
    .into();
    world.assign(7, &registered(it), Duty::Probe);
    world.pass(INTERVAL);
    let due = world.due();
    let [scrape] = due.scrapes.as_slice() else { panic!("{due:?}") };
    assert_eq!((scrape.url.as_str(), scrape.timeout), ("http://localhost:80/metrics", Duration::from_millis(100)));
    world.schedule.scraped(scrape, Some(Load { cpu: Some(1.0), ..Load::default() }), world.now);
    let report = world.end(&due.orders[0], Answer::Passed).unwrap();
    assert!(report.observation.is_some_and(|seen| seen.score.score() < 0.9), "{report:?}");
    world.pass(2 * INTERVAL);
    let due = world.due();
    assert_eq!((due.orders.len(), due.scrapes.len()), (1, 1));
    world.end(&due.orders[0], Answer::Passed);
    world.pass(2 * INTERVAL);
    let due = world.due();
    assert_eq!((due.orders.len(), due.scrapes.len()), (1, 0), "the last page is still being read");
}
