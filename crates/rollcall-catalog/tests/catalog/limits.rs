//! Bounds of the whole catalogue. That of instances, too many to make here, is tested beside [`Catalog`] itself.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use rollcall_catalog::{
    Applied, Catalog, Command, EVENTS_MAX, KV_BYTES_MAX, KvOp, KvProblem, KvWrite, Limit, Precondition, Refusal, Reply,
    Request, RequestId, SERVICES_MAX, StatusChange,
};
use rollcall_types::{
    CheckStatuses, ENTRY_TRANSITIONS_MAX, Revision, ServiceDefinition, SessionId, Status, StatusCause,
};

use crate::given::{self, register, request};
use crate::script;

fn apply(catalog: &mut Catalog, command: Command) -> Applied {
    let revision = catalog.revision().get() + 1;
    catalog.apply(Revision::new(revision), &request(revision, command))
}

#[track_caller]
fn check_written(applied: &Applied) {
    assert!(matches!(applied.outcome.reply, Reply::Written { changed: true, .. }), "{:?}", applied.outcome);
}

#[track_caller]
fn check_full(applied: &Applied, what: Limit, max: u64) {
    assert_eq!(applied.outcome.reply, Reply::Refused(Refusal::LimitReached { what, max }));
    assert_eq!(applied.event, None);
}

fn put(key: &str, bytes: u64) -> Command {
    let value = Bytes::from(vec![0; usize::try_from(bytes).unwrap()]);
    Command::KvPut { key: given::key(key), value, flags: 0, expect: Precondition::None }
}

#[test]
fn keys_and_values_fill_their_room_to_the_byte_and_what_is_freed_can_be_used_again() {
    let mut catalog = Catalog::default();
    check_written(&apply(&mut catalog, put("big", KV_BYTES_MAX - 5)));
    check_written(&apply(&mut catalog, put("k", 1)));
    check_full(&apply(&mut catalog, put("l", 0)), Limit::KvBytes, KV_BYTES_MAX);
    check_full(&apply(&mut catalog, put("k", 2)), Limit::KvBytes, KV_BYTES_MAX);
    // A key that shrinks makes room for one that grows.
    check_written(&apply(&mut catalog, put("k", 0)));
    check_written(&apply(&mut catalog, put("l", 0)));
    check_full(&apply(&mut catalog, put("m", 0)), Limit::KvBytes, KV_BYTES_MAX);
    apply(&mut catalog, Command::KvDelete { key: given::key("big"), expect: Precondition::None });
    check_written(&apply(&mut catalog, put("m", 1_000)));
}

#[test]
fn one_service_too_many_is_refused_and_known_ones_can_still_be_written() {
    let define = |n: u64| Command::Define {
        service: given::service(&format!("s{n}")),
        definition: Arc::new(ServiceDefinition::default()),
        expect: Precondition::None,
    };
    let mut catalog = Catalog::default();
    for n in 1..=SERVICES_MAX {
        check_written(&apply(&mut catalog, define(n)));
    }
    check_full(&apply(&mut catalog, define(0)), Limit::Services, SERVICES_MAX);
    check_full(&apply(&mut catalog, register("fresh", "a", 1)), Limit::Services, SERVICES_MAX);
    let configure = |service: &str, schema_at| Command::SetConfig {
        service: given::service(service),
        document: "{}".parse().unwrap(),
        schema_at,
        expect: Precondition::None,
    };
    check_full(&apply(&mut catalog, configure("fresh", None)), Limit::Services, SERVICES_MAX);
    check_written(&apply(&mut catalog, configure("s1", Some(Revision::new(1)))));
    check_written(&apply(&mut catalog, register("s1", "a", 1)));
    apply(&mut catalog, Command::RemoveService { service: given::service("s2"), expect: Precondition::None });
    check_written(&apply(&mut catalog, register("fresh", "a", 1)));
    check_full(&apply(&mut catalog, register("more", "a", 1)), Limit::Services, SERVICES_MAX);
}

#[test]
fn one_transition_too_many_is_refused_and_as_many_as_fit_are_one_event() {
    let count = ENTRY_TRANSITIONS_MAX as u64 + 1;
    let mut catalog = Catalog::default();
    for n in 1..=count {
        check_written(&apply(&mut catalog, register("web", &format!("{n}"), 1)));
    }
    let critical = |n: u64| StatusChange {
        service: given::service("web"),
        id: given::instance(&format!("{n}")),
        created: Revision::new(n),
        to: Status::Critical,
        cause: StatusCause::Confirmed,
        checks: CheckStatuses::default(),
    };
    let record = |catalog: &mut Catalog, numbers: RangeInclusive<u64>| {
        apply(catalog, Command::RecordStatuses { transitions: numbers.map(critical).collect() })
    };
    let max = ENTRY_TRANSITIONS_MAX as u64;
    let applied = record(&mut catalog, 1..=count);
    assert_eq!(applied.outcome.reply, Reply::Refused(Refusal::TooManyTransitions { count, max }));
    assert_eq!(applied.event, None);
    assert!(
        catalog
            .services()
            .flat_map(|it| it.instances.values())
            .all(|it| catalog.journaled(it).status == Status::Unknown)
    );

    let applied = record(&mut catalog, 1..=max);
    assert_eq!(applied.outcome.reply, Reply::StatusesRecorded { transitions: max });
    assert_eq!(applied.event.map(|event| event.change.count()), Some(ENTRY_TRANSITIONS_MAX));
    let applied = record(&mut catalog, 2..=count);
    assert_eq!(applied.outcome.reply, Reply::StatusesRecorded { transitions: 1 });
    assert_eq!(given::import(catalog.export()).as_ref(), Ok(&catalog));
}

#[test]
fn the_ring_holds_as_many_changes_however_many_are_in_one_event() {
    let mut catalog = Catalog::default();
    apply(&mut catalog, register("web", "a", 1));
    let turns = [Status::Passing, Status::Critical].into_iter().cycle().take(ENTRY_TRANSITIONS_MAX);
    let turn = |to| StatusChange {
        service: given::service("web"),
        id: given::instance("a"),
        created: Revision::new(1),
        to,
        cause: StatusCause::Observed,
        checks: CheckStatuses::default(),
    };
    let transitions: Arc<[StatusChange]> = turns.map(turn).collect();
    let full = EVENTS_MAX / ENTRY_TRANSITIONS_MAX;
    for _ in 0..full - 1 {
        apply(&mut catalog, Command::RecordStatuses { transitions: transitions.clone() });
    }
    assert_eq!(catalog.events().compacted(), Revision::ZERO);
    apply(&mut catalog, Command::RecordStatuses { transitions: transitions.clone() });
    assert_eq!(catalog.events().compacted(), Revision::new(1), "one change too many: the oldest event goes");
    apply(&mut catalog, register("web", "a", 2));
    assert_eq!(catalog.events().compacted(), Revision::new(2), "with all its transitions");
    assert_eq!(catalog.events().iter().count(), full);
    assert_eq!(given::import(catalog.export()).as_ref(), Ok(&catalog));
}

#[test]
#[should_panic(expected = "revision 1 applied after 1")]
fn an_entry_applied_twice_stops_the_node() {
    let mut catalog = given::after([register("web", "a", 1)]);
    catalog.apply(Revision::new(1), &request(1, register("web", "a", 1)));
}

#[test]
fn pages_of_services_join_up_whatever_their_size() {
    let catalog = given::after(["Web", "api", "db", "a1", "Zoo"].map(|service| register(service, "a", 1)));
    let all: Vec<_> = catalog.services().map(|service| service.name.clone()).collect();
    for limit in 1..=all.len() + 1 {
        let (mut listed, mut cursor) = (Vec::new(), None);
        loop {
            let page = catalog.services_page(cursor.as_deref(), limit, |_| true);
            assert!(page.services.len() <= limit);
            listed.extend(page.services.iter().map(|service| service.name.clone()));
            let Some(next) = page.next else { break };
            cursor = Some(next.to_string());
        }
        assert_eq!(listed, all, "in pages of {limit}");
    }
}

#[test]
fn a_page_that_holds_the_last_match_says_that_it_is_the_last() {
    let catalog = given::after(["a", "b", "c"].map(|service| register(service, "x", 1)));
    let page = catalog.services_page(None, 2, |service| &*service.name != "c");
    assert_eq!(page.services.len(), 2);
    assert_eq!(page.next, None);
}

/// A snapshot holds each record whole, and refuses one that is larger than 16 MiB: so nothing that is kept may add up to that.
#[test]
fn no_record_grows_with_the_values_that_a_session_held_or_a_transaction_read() {
    let mut catalog = Catalog::default();
    let session = SessionId::new(1);
    apply(&mut catalog, Command::OpenSession { id: session, spec: Arc::new(script::plain_session()) });
    let value = Bytes::from(vec![b'x'; 512 << 10]);
    for key in 0..40 {
        let write = KvWrite { key: given::key(&format!("held/{key}")), value: value.clone(), flags: 0 };
        apply(&mut catalog, Command::KvTransact { ops: [KvOp::Acquire { write, session }].into() });
    }
    for sequence in 1..=40 {
        let ops = [KvOp::Get { key: given::key("held/1") }].into();
        let id = RequestId::Sequence { client: Arc::from("1/a"), sequence, acknowledged_below: 1 };
        let revision = catalog.revision().get() + 1;
        let request = Request { id: Some(id), ..given::request(revision, Command::KvTransact { ops }) };
        let answered = catalog.apply(Revision::new(revision), &request).outcome.reply;
        assert!(matches!(answered, Reply::Transacted { results } if results[0].entry.value.len() == value.len()));
        let again = catalog.apply(Revision::new(revision + 1), &request).outcome;
        assert_eq!((again.replayed, again.reply), (true, Reply::Refused(Refusal::AnswerForgotten)));
    }
    apply(&mut catalog, Command::CloseSession { id: session, renewed: None, reason: None });
    let longest = catalog.export().map(|record| format!("{record:?}").len()).max();
    assert!(longest.is_some_and(|bytes| bytes < 4 * value.len()), "{longest:?}: one value alone is shown so long");
}

#[test]
fn a_session_holds_so_many_keys_and_not_one_more() {
    let mut catalog = Catalog::default();
    let session = SessionId::new(1);
    apply(&mut catalog, Command::OpenSession { id: session, spec: Arc::new(script::plain_session()) });
    let acquire = |key: usize| {
        let write = KvWrite { key: given::key(&format!("held/{key}")), value: Bytes::new(), flags: 0 };
        Command::KvTransact { ops: [KvOp::Acquire { write, session }].into() }
    };
    for key in 0..8_192 {
        assert!(matches!(apply(&mut catalog, acquire(key)).outcome.reply, Reply::Transacted { .. }));
    }
    let Reply::Refused(Refusal::TransactionFailed { failures }) = apply(&mut catalog, acquire(8_192)).outcome.reply
    else {
        panic!("one too many is refused");
    };
    assert_eq!(failures[0].problem, KvProblem::TooManyKeys { max: 8_192 });
    assert!(
        matches!(apply(&mut catalog, acquire(7)).outcome.reply, Reply::Transacted { .. }),
        "what it holds it may set"
    );
}
