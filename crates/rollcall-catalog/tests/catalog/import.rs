//! A stream that no catalogue wrote is refused, record by record, and never brings the importer down.

use std::sync::Arc;

use bytes::Bytes;
use rollcall_catalog::{
    Catalog, Command, ImportError, KvOp, KvWrite, Precondition, Request, RequestId, SnapshotRecord, StatusChange,
};
use rollcall_types::{
    CheckStatuses, Lifecycle, Millis, OnSessionEnd, Revision, ServiceDefinition, SessionCheck, SessionId, SessionSpec,
    Status, StatusCause,
};
use serde_json::Value;

use crate::given::{self, import, register, request, request_with_key, stream};

/// A catalogue with at least two records of every kind that can come more than once.
fn rich() -> Catalog {
    let define = |service: &str, tag: &str| Command::Define {
        service: given::service(service),
        definition: Arc::new(ServiceDefinition {
            tags: given::tags([tag]),
            capabilities: ["translate".parse().unwrap()].into_iter().collect(),
            ..ServiceDefinition::default()
        }),
        expect: Precondition::None,
    };
    let put = |key: &str, value: &'static str| Command::KvPut {
        key: given::key(key),
        value: Bytes::from_static(value.as_bytes()),
        flags: 0,
        expect: Precondition::None,
    };
    let drain = |service: &str, id: &str| Command::SetLifecycle {
        service: given::service(service),
        id: given::instance(id),
        lifecycle: Lifecycle::Draining { deadline: None, reason: "why".parse().unwrap() },
        reason: None,
        expect: Precondition::None,
    };
    let configure = Command::SetConfig {
        service: given::service("db"),
        document: "{}".parse().unwrap(),
        schema_at: None,
        expect: Precondition::None,
    };
    let deregister = Command::Deregister {
        service: given::service("web"),
        id: given::instance("gone"),
        expect: Precondition::None,
        reason: None,
    };
    let end = |service: &str| Command::Deregister {
        service: given::service(service),
        id: given::instance("last"),
        expect: Precondition::None,
        reason: None,
    };
    let allocate = |name: &str| Command::AllocateNode { name: name.parse().unwrap(), nonce: 7 };
    let mut catalog = given::after([
        register("web", "gone", 1),
        register("web", "a", 1),
        register("web", "a", 2),
        drain("web", "gone"),
        deregister,
        register("web", "b", 1),
        drain("web", "b"),
        define("web", "red"),
        define("api", "red"),
        configure,
        put("k", "1"),
        put("l", "2"),
        Command::KvDelete { key: given::key("l"), expect: Precondition::None },
        put("m", "3"),
        allocate("n1"),
        allocate("n2"),
        register("old", "last", 1),
        end("old"),
        register("older", "last", 1),
        end("older"),
    ]);
    let turn = |id: &str, created: u64, to: Status| StatusChange {
        service: given::service("web"),
        id: given::instance(id),
        created: Revision::new(created),
        to,
        cause: StatusCause::Observed,
        checks: CheckStatuses::from_parts(1, 7),
    };
    let turns = [turn("a", 2, Status::Passing), turn("b", 6, Status::Critical), turn("a", 2, Status::Warning)];
    let journal = Command::RecordStatuses { transitions: turns.into() };
    let mut send = |request: &dyn Fn(u64) -> Request| {
        let revision = catalog.revision().get() + 1;
        catalog.apply(Revision::new(revision), &request(revision));
    };
    for name in ["key-b", "key-a"] {
        send(&|revision| request_with_key(revision, name, put("k", "4")));
    }
    for (client, sequence) in [("client-b", 1), ("client-a", 1), ("client-a", 2)] {
        let id = RequestId::Sequence { client: Arc::from(client), sequence, acknowledged_below: 1 };
        send(&|revision| Request { id: Some(id.clone()), ..request(revision, put("k", "5")) });
    }
    send(&|revision| request(revision, journal.clone()));
    for command in held_keys() {
        send(&|revision| request(revision, command.clone()));
    }
    catalog
}

/// Two open sessions that hold keys, two that ended, two keys that are gone, two events.
fn held_keys() -> Vec<Command> {
    let id = SessionId::new;
    let spec = SessionSpec {
        name: "elect".parse().unwrap(),
        node: "n1".parse().unwrap(),
        ttl: Some(Millis::new(10_000)),
        lock_delay: Millis::new(15_000),
        on_end: OnSessionEnd::Release,
        checks: Box::new([SessionCheck::Node]),
    };
    let open = |number| Command::OpenSession { id: id(number), spec: Arc::new(spec.clone()) };
    let acquire = |key: &str, number| {
        let write = KvWrite { key: given::key(key), value: Bytes::new(), flags: 0 };
        Command::KvTransact { ops: Arc::new([KvOp::Acquire { write, session: id(number) }]) }
    };
    let close = |number| Command::CloseSession { id: id(number), renewed: None, reason: None };
    let write = |key: &str| KvWrite { key: given::key(key), value: Bytes::from_static(b"v"), flags: 0 };
    let put = |key: &str| KvOp::Put { write: write(key), expect: Precondition::None };
    let several = Command::KvTransact {
        ops: Arc::new([put("gone/1"), put("gone/2"), KvOp::DeletePrefix { prefix: "gone/".parse().unwrap() }]),
    };
    let fire = |number| Command::FireEvent { event: Arc::new(given::fired(number)) };
    let mut commands: Vec<_> = (1..=4).map(open).collect();
    commands.extend([acquire("x", 1), acquire("y", 2), acquire("p", 3), acquire("q", 4), close(3), close(4)]);
    commands.extend([Command::RenewSession { id: id(1) }, several, fire(1), fire(2)]);
    commands
}

fn records() -> Vec<SnapshotRecord> {
    rich().export().collect()
}

#[track_caller]
fn refuse(what: &str, records: Vec<SnapshotRecord>) -> ImportError {
    import(records).err().unwrap_or_else(|| panic!("{what}: the stream was taken"))
}

#[test]
fn the_stream_as_it_was_written_is_taken() {
    assert_eq!(import(records()).as_ref(), Ok(&rich()));
}

#[test]
fn an_empty_catalogue_is_a_header_and_an_end() {
    let records: Vec<_> = Catalog::default().export().collect();
    assert_eq!(records.len(), 2);
    assert_eq!(import(records), Ok(Catalog::default()));
}

#[test]
fn a_stream_cut_anywhere_is_incomplete() {
    for cut in 0..records().len() {
        let refused = refuse(&format!("cut at {cut}"), records().drain(..cut).collect());
        assert_eq!(refused, ImportError::Incomplete { got: cut as u64, expected: None });
    }
}

#[test]
fn a_stream_without_any_one_of_its_records_is_refused() {
    for lost in 0..records().len() {
        let mut records = records();
        let record = records.remove(lost);
        refuse(&format!("without {record:?}"), records);
    }
}

#[test]
fn a_record_that_comes_twice_is_refused_wherever_it_comes() {
    let records = records();
    for (at, record) in records.iter().enumerate() {
        for place in at + 1..=records.len() {
            let mut records = with_end_moved(&records, 1);
            records.insert(place, record.clone());
            refuse(&format!("{record:?} again at {place}"), records);
        }
    }
}

#[test]
fn two_records_that_changed_places_are_refused() {
    let count = records().len();
    for (one, other) in (0..count).flat_map(|one| (one + 1..count).map(move |other| (one, other))) {
        let mut records = records();
        records.swap(one, other);
        refuse(&format!("{one} and {other} swapped"), records);
    }
}

#[test]
fn records_of_another_catalogue_are_refused_or_make_a_catalogue_that_writes_them() {
    let other: Vec<_> =
        given::after([register("web", "b", 9), register("zeta", "z", 9), register("web", "c", 9)]).export().collect();
    let records = records();
    for (at, stranger) in (0..records.len()).flat_map(|at| other.iter().map(move |stranger| (at, stranger))) {
        let mut records = records.clone();
        records[at] = stranger.clone();
        take_or_refuse(records);
    }
}

/// Every field of every record is replaced by every value that a damaged or forged stream may hold there.
#[test]
fn a_changed_field_is_refused_or_makes_a_catalogue_that_writes_it() {
    let (mut taken, mut refused) = (0, 0);
    let records = records();
    for at in 0..records.len() {
        let whole = serde_json::to_value(&records[at]).unwrap();
        for changed in changes(&whole) {
            let Ok(record) = serde_json::from_value(changed) else { continue };
            let mut records = records.clone();
            records[at] = record;
            if take_or_refuse(records) { taken += 1 } else { refused += 1 }
        }
    }
    assert!(taken > 100 && refused > 100, "both ends are reached: {taken} taken, {refused} refused");
}

#[test]
fn a_record_that_contradicts_those_before_it_is_refused() {
    let check = |kind: &str, field: &str, value: Value| {
        let mut records = records();
        let mut changed = 0;
        for (at, record) in records.iter_mut().enumerate() {
            let mut whole = serde_json::to_value(&*record).unwrap();
            let Some(place) = whole.pointer_mut(&format!("/{kind}{field}")) else { continue };
            *place = value.clone();
            (*record, changed) = (serde_json::from_value(whole).unwrap(), at);
        }
        assert!(changed > 0 || kind == "Header", "{kind}{field} is a field");
        let refused = refuse(&format!("{kind}{field} = {value}"), records);
        assert!(matches!(refused, ImportError::Contradiction(_)), "{kind}{field} = {value}: {refused:?}");
    };
    let later = rich().revision().get() + 1;
    check("Header", "/compacted", later.into());
    check("Header", "/next_node", 100.into());
    check("Header", "/next_node", (102 + later).into());
    check("Service", "/modified", later.into());
    check("Service", "/created", later.into());
    check("Service", "/defined", Value::Null);
    check("Service", "/definition", Value::Null);
    check("Service", "/config", Value::Null);
    check("Service", "/config/modified", later.into());
    check("Service", "/config/version", later.into());
    check("Instance", "/instance/modified", later.into());
    check("Instance", "/instance/created", later.into());
    check("Instance", "/instance/slot", later.into());
    check("Instance", "/instance/slot", 0.into());
    check("Instance", "/journaled/since", (later * 1_000).into());
    check("Instance", "/journaled/status", "Critical".into());
    check("Kv", "/entry/modified", later.into());
    check("Kv", "/entry/created", later.into());
    check("Kv", "/entry/session", 9.into());
    check("LockSession", "/renewed", (later).into());
    check("LockSession", "/created", (later).into());
    check("LockDelay", "/delay/since", later.into());
    check("LockDelay", "/key", "same".into());
    check("Tombstone", "/tombstone/removed", later.into());
    check("Tombstone", "/key", "x".into());
    check("GoneService", "/removed", later.into());
    check("GoneService", "/name", "same".into());
    check("UserEvent", "/revision", later.into());
    check("Node", "/name", "n1".into());
    check("Node", "/node", 100.into());
    check("Node", "/node", 103.into());
    check("Key", "/record/outcome/revision", later.into());
    check("Key", "/record/at", (later * 1_000).into());
    check("Key", "/key", "same".into());
    check("Session", "/record/touched", (later * 1_000).into());
    check("Session", "/record/floor", 9.into());
    check("Session", "/record/answers", Value::Object(serde_json::Map::new()));
    check("Session", "/client", "same".into());
}

#[test]
fn a_refusal_names_the_record() {
    let mut records = records();
    records.swap(1, 2);
    assert_eq!(refuse("services swapped", records).to_string(), "record 2: it came twice or out of order");
}

#[test]
fn a_key_or_session_that_comes_twice_cannot_upset_the_order_of_forgetting() {
    for twice in
        records().iter().filter(|record| matches!(record, SnapshotRecord::Key { .. } | SnapshotRecord::Session { .. }))
    {
        let doubled: Vec<_> = with_end_moved(&records(), 1)
            .into_iter()
            .flat_map(|record| {
                let is_it = format!("{record:?}") == format!("{twice:?}");
                std::iter::repeat_n(record, if is_it { 2 } else { 1 })
            })
            .collect();
        assert!(matches!(refuse("twice", doubled), ImportError::Contradiction(_)));
    }
}

/// The same records with an end that counts `more` of them, so that only their content can be at fault.
fn with_end_moved(records: &[SnapshotRecord], more: u64) -> Vec<SnapshotRecord> {
    let moved = records.iter().cloned().map(|record| match record {
        SnapshotRecord::End { records } => SnapshotRecord::End { records: records + more },
        other => other,
    });
    moved.collect()
}

/// Whether the stream was taken. If it was, the catalogue must be one that could have written it, and must work.
#[track_caller]
fn take_or_refuse(records: Vec<SnapshotRecord>) -> bool {
    let written: Vec<String> = records.iter().map(|record| format!("{record:?}")).collect();
    let Ok(mut catalog) = import(records) else { return false };
    assert_eq!(stream(&catalog), written);
    let mut work = || -> Option<()> {
        for command in [
            register("web", "new", 1),
            register("web", "a", 5),
            Command::AllocateNode { name: "n9".parse().unwrap(), nonce: 9 },
            Command::KvDelete { key: given::key("k"), expect: Precondition::None },
            Command::SetConfig {
                service: given::service("db"),
                document: "[]".parse().unwrap(),
                schema_at: None,
                expect: Precondition::None,
            },
        ] {
            // A revision that was forged to be the last there can be leaves room for nothing.
            let revision = catalog.revision().get().checked_add(1)?;
            catalog.apply(Revision::new(revision), &request_with_key(1, &revision.to_string(), command));
        }
        Some(())
    };
    work();
    assert_eq!(import(catalog.export()).as_ref(), Ok(&catalog), "what it became can be written and read again");
    true
}

/// `value` with one leaf replaced, for every leaf and every replacement.
fn changes(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(fields) => {
            let change = |(name, field): (&String, &Value)| {
                let (name, fields) = (name.clone(), fields.clone());
                changes(field).into_iter().map(move |changed| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), changed);
                    Value::Object(fields)
                })
            };
            fields.iter().flat_map(change).collect()
        }
        Value::Array(items) => {
            let change = |(at, item): (usize, &Value)| {
                let items = items.clone();
                changes(item).into_iter().map(move |changed| {
                    let mut items = items.clone();
                    items[at] = changed;
                    Value::Array(items)
                })
            };
            let mut changed: Vec<Value> = items.iter().enumerate().flat_map(change).collect();
            changed.push(Value::Array(Vec::new()));
            changed
        }
        leaf => {
            let number = leaf.as_u64().unwrap_or_default();
            let numbers = [0, 1, number.wrapping_add(1), number.wrapping_sub(1), 1 << 40, u64::MAX];
            let texts = ["", "a", "WEB", "zzz"].map(Value::from);
            let others = [Value::Null, Value::Bool(true), Value::Bool(false)];
            let replacements = numbers.map(Value::from).into_iter().chain(texts).chain(others);
            replacements.filter(|replacement| replacement != leaf).collect()
        }
    }
}
