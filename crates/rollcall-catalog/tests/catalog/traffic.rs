//! Random logs in a small world: few names, so that requests meet each other.
//!
//! A log is generated in two steps. [`moves`] draws what happens without knowing the state ("replace the registration
//! if it is still the current one"); [`log`] plays it once and writes down the requests that came of it.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use rollcall_catalog::{Catalog, Command, KvOp, KvWrite, Precondition, Request, RequestId, StatusChange};
use rollcall_types::{
    CheckStatuses, InstanceSpec, KvKey, Lifecycle, Millis, NodeId, OnSessionEnd, Revision, ServiceDefinition,
    SessionId, SessionSpec, Status, StatusCause, UnixMillis,
};

use crate::given;

/// Two of them are one name in different cases.
pub(crate) const SERVICES: &[&str] = &["web", "Web", "api", "db"];
pub(crate) const INSTANCES: &[&str] = &["a", "b", "c/1"];
pub(crate) const TAGS: &[&str] = &["red", "green", "blue"];
pub(crate) const CAPABILITIES: &[&str] = &["translate", "resize"];
pub(crate) const KEYS: &[&str] = &["k", "k/1", "z"];

/// Distance between the revisions of a log, so that a test can put entries of its own in between.
pub(crate) const STRIDE: u64 = 8;

/// One log entry; without a request it is a blank one.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) revision: Revision,
    pub(crate) request: Option<Request>,
}

/// What a client does, before it is known what it will meet.
#[derive(Debug, Clone)]
pub(crate) enum Move {
    Blank,
    Send {
        command: Command,
        expect: Expect,
        id: Id,
        at: u64,
        actor: &'static str,
    },
    /// One of the earlier requests arrives again.
    Retry(Index),
}

/// A precondition, before the state is known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// As it stands in the command.
    Fixed,
    /// At the revision at which the thing is.
    Current,
}

/// A request id, before the number of requests is known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Id {
    None,
    Key(&'static str),
    /// The next request of a session, whose client has not yet seen the last `unseen` answers.
    Session {
        client: &'static str,
        unseen: u64,
    },
}

/// At most `count` moves.
pub(crate) fn moves(count: usize) -> impl Strategy<Value = Vec<Move>> {
    let send = (command(), expect(), id(), 0..300_000_u64, select(&["ann", "bob"][..]));
    let send = send.prop_map(|(command, expect, id, at, actor)| Move::Send { command, expect, id, at, actor });
    let one = prop_oneof![1 => Just(Move::Blank), 16 => send, 2 => any::<Index>().prop_map(Move::Retry)];
    proptest::collection::vec(one, 1..count)
}

/// The log that the moves make, at revisions [`STRIDE`] apart.
pub(crate) fn log(moves: &[Move]) -> Vec<Entry> {
    let mut catalog = Catalog::default();
    let mut sent: Vec<Request> = Vec::new();
    let mut log = Vec::new();
    for (step, one) in moves.iter().enumerate() {
        let revision = Revision::new((step as u64 + 1) * STRIDE);
        let request = match one {
            Move::Retry(which) if !sent.is_empty() => Some(which.get(&sent).clone()),
            Move::Blank | Move::Retry(_) => None,
            Move::Send { command, expect, id, at, actor } => {
                let mut command = command.clone();
                // What is observed is mostly about the instance that is there.
                let is_observed = matches!(command, Command::RecordStatuses { .. }) && at % 4 > 0;
                if is_observed || matches!(expect, Expect::Current) {
                    expect_current(&catalog, &mut command);
                }
                let id = request_id(*id, &command, &sent);
                Some(Request { id, at: UnixMillis::new(*at), actor: given::actor(actor), command })
            }
        };
        let entry = Entry { revision, request };
        play(&mut catalog, &entry);
        sent.extend(entry.request.clone());
        log.push(entry);
    }
    log
}

/// Applies one entry of a log.
pub(crate) fn play(catalog: &mut Catalog, entry: &Entry) -> Option<rollcall_catalog::Applied> {
    match &entry.request {
        Some(request) => Some(catalog.apply(entry.revision, request)),
        None => {
            catalog.advance(entry.revision);
            None
        }
    }
}

/// The catalogue after a log.
pub(crate) fn replay(log: &[Entry]) -> Catalog {
    let mut catalog = Catalog::default();
    for entry in log {
        play(&mut catalog, entry);
    }
    catalog
}

fn request_id(id: Id, command: &Command, sent: &[Request]) -> Option<RequestId> {
    match id {
        Id::None => None,
        Id::Key(key) => {
            let fingerprint = given::fingerprint(&format!("{command:?}"));
            Some(RequestId::Key { key: Arc::from(key), fingerprint })
        }
        Id::Session { client: name, unseen } => {
            let numbers = sent.iter().filter_map(|request| match &request.id {
                Some(RequestId::Sequence { client, sequence, .. }) if **client == *name => Some(*sequence),
                _ => None,
            });
            let sequence = numbers.max().unwrap_or(0) + 1;
            let acknowledged_below = sequence.saturating_sub(unseen).max(1);
            Some(RequestId::Sequence { client: Arc::from(name), sequence, acknowledged_below })
        }
    }
}

/// Makes the command expect what is there, and a document be checked against the definition that is there.
fn expect_current(catalog: &Catalog, command: &mut Command) {
    let at = |revision: Option<Revision>| revision.map_or(Precondition::Absent, Precondition::At);
    match command {
        Command::Register { service, id, expect, .. }
        | Command::Deregister { service, id, expect, .. }
        | Command::SetLifecycle { service, id, expect, .. } => {
            *expect = at(catalog.instance(service, id).map(|instance| instance.modified));
        }
        Command::Define { service, expect, .. } | Command::RemoveService { service, expect } => {
            *expect = at(catalog.service(service).and_then(|service| service.defined));
        }
        Command::SetConfig { service, schema_at, expect, .. } => {
            let service = catalog.service(service);
            *schema_at = service.and_then(|service| service.defined);
            *expect = at(service.and_then(|service| service.config.as_ref()).map(|config| config.modified));
        }
        Command::KvPut { key, expect, .. } | Command::KvDelete { key, expect } => {
            *expect = at(catalog.kv(key).map(|entry| entry.modified));
        }
        Command::RecordStatuses { transitions } => {
            let current = transitions.iter().map(|change| {
                let present = catalog.instance(&change.service, &change.id);
                StatusChange { created: present.map_or(change.created, |present| present.created), ..change.clone() }
            });
            *transitions = current.collect();
        }
        Command::CloseSession { id, renewed, .. } => {
            *renewed = catalog.lock_sessions().get(id).map(|session| session.renewed);
        }
        Command::EndLockDelays { ended } => {
            *ended = catalog.lock_delays().iter().map(|(key, delay)| (key.clone(), delay.since)).collect();
        }
        Command::KvTransact { ops } => *ops = ops.iter().map(|op| current_op(catalog, op)).collect(),
        Command::AllocateNode { .. }
        | Command::ForgetNode { .. }
        | Command::OpenSession { .. }
        | Command::RenewSession { .. }
        | Command::FireEvent { .. } => {}
    }
}

/// The same operation, by the session that holds the key.
fn current_op(catalog: &Catalog, op: &KvOp) -> KvOp {
    let holder = |key: &KvKey| catalog.kv(key).and_then(|entry| entry.session);
    match op {
        KvOp::Release { write, session } => {
            KvOp::Release { write: write.clone(), session: holder(&write.key).unwrap_or(*session) }
        }
        KvOp::CheckSession { key, session } => {
            KvOp::CheckSession { key: key.clone(), session: holder(key).unwrap_or(*session) }
        }
        other => other.clone(),
    }
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![3 => Just(Expect::Fixed), 1 => Just(Expect::Current)]
}

fn id() -> impl Strategy<Value = Id> {
    let session = (select(&["c1", "c2"][..]), 0..5_u64).prop_map(|(client, unseen)| Id::Session { client, unseen });
    prop_oneof![4 => Just(Id::None), 2 => select(&["i1", "i2", "i3"][..]).prop_map(Id::Key), 3 => session]
}

fn precondition() -> impl Strategy<Value = Precondition> + Clone {
    prop_oneof![
        8 => Just(Precondition::None),
        1 => Just(Precondition::Exists),
        1 => Just(Precondition::Absent),
        1 => (1..20_u64).prop_map(|step| Precondition::At(Revision::new(step * STRIDE))),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![8 => about_instances(), 5 => about_services(), 4 => about_keys(), 2 => about_nodes(), 6 => journal(), 4 => transaction(), 5 => about_sessions()]
}

fn about_instances() -> impl Strategy<Value = Command> {
    let place = (select(SERVICES), select(INSTANCES), precondition())
        .prop_map(|(service, id, expect)| (given::service(service), given::instance(id), expect));
    let register = (place.clone(), spec()).prop_map(|((service, id, expect), spec)| Command::Register {
        service,
        id,
        spec: Arc::new(spec),
        expect,
    });
    let reason = proptest::option::of(select(&["done", ""][..]));
    let deregister = (place.clone(), reason).prop_map(|((service, id, expect), reason)| Command::Deregister {
        service,
        id,
        expect,
        reason: reason.map(|reason| reason.parse().unwrap()),
    });
    let set_lifecycle = (place, lifecycle()).prop_map(|((service, id, expect), lifecycle)| Command::SetLifecycle {
        service,
        id,
        lifecycle,
        reason: None,
        expect,
    });
    prop_oneof![4 => register, 2 => deregister, 1 => set_lifecycle]
}

fn about_services() -> impl Strategy<Value = Command> {
    let place = (select(SERVICES), precondition()).prop_map(|(service, expect)| (given::service(service), expect));
    let define = (place.clone(), definition()).prop_map(|((service, expect), definition)| Command::Define {
        service,
        definition: Arc::new(definition),
        expect,
    });
    let remove = place.clone().prop_map(|(service, expect)| Command::RemoveService { service, expect });
    let schema = proptest::option::weighted(0.2, (1..20_u64).prop_map(|step| Revision::new(step * STRIDE)));
    let config =
        (place, schema, select(&["{}", "[]", "1"][..])).prop_map(|((service, expect), schema_at, document)| {
            Command::SetConfig { service, document: document.parse().unwrap(), schema_at, expect }
        });
    prop_oneof![2 => define, 1 => remove, 2 => config]
}

fn about_keys() -> impl Strategy<Value = Command> {
    let place = (select(KEYS), precondition()).prop_map(|(key, expect)| (given::key(key), expect));
    let put = (place.clone(), select(&["", "x", "yy"][..]), 0..2_u64).prop_map(|((key, expect), value, flags)| {
        Command::KvPut { key, value: Bytes::from_static(value.as_bytes()), flags, expect }
    });
    let delete = place.prop_map(|(key, expect)| Command::KvDelete { key, expect });
    prop_oneof![2 => put, 1 => delete]
}

fn session() -> impl Strategy<Value = SessionId> + Clone {
    (1..4_u128).prop_map(SessionId::new)
}

fn op() -> impl Strategy<Value = KvOp> {
    let write = (select(KEYS), select(&["", "x", "yy"][..]), 0..2_u64).prop_map(|(key, value, flags)| KvWrite {
        key: given::key(key),
        value: Bytes::from_static(value.as_bytes()),
        flags,
    });
    let key = select(KEYS).prop_map(given::key);
    let prefix = select(&["", "a", "b/"][..]).prop_map(|prefix| prefix.parse().unwrap());
    prop_oneof![
        3 => (write.clone(), precondition()).prop_map(|(write, expect)| KvOp::Put { write, expect }),
        2 => (key.clone(), precondition()).prop_map(|(key, expect)| KvOp::Delete { key, expect }),
        1 => prefix.clone().prop_map(|prefix| KvOp::DeletePrefix { prefix }),
        6 => (write.clone(), session()).prop_map(|(write, session)| KvOp::Acquire { write, session }),
        4 => (write, session()).prop_map(|(write, session)| KvOp::Release { write, session }),
        1 => key.clone().prop_map(|key| KvOp::Get { key }),
        1 => key.clone().prop_map(|key| KvOp::GetOrEmpty { key }),
        1 => prefix.prop_map(|prefix| KvOp::GetPrefix { prefix }),
        1 => (key.clone(), precondition()).prop_map(|(key, expect)| KvOp::Check { key, expect }),
        1 => (key, session()).prop_map(|(key, session)| KvOp::CheckSession { key, session }),
    ]
}

fn transaction() -> impl Strategy<Value = Command> {
    proptest::collection::vec(op(), 0..4).prop_map(|ops| Command::KvTransact { ops: ops.into() })
}

fn about_sessions() -> impl Strategy<Value = Command> {
    let on_end = select(&[OnSessionEnd::Release, OnSessionEnd::Delete][..]);
    let spec = (on_end, select(&[0_u64, 1_000][..])).prop_map(|(on_end, lock_delay)| SessionSpec {
        name: rollcall_types::Text::default(),
        node: "n1".parse().unwrap(),
        ttl: None,
        lock_delay: Millis::new(lock_delay),
        on_end,
        checks: Box::default(),
    });
    let open = (session(), spec).prop_map(|(id, spec)| Command::OpenSession { id, spec: Arc::new(spec) });
    let renew = session().prop_map(|id| Command::RenewSession { id });
    let renewed = proptest::option::weighted(0.3, (1..20_u64).prop_map(|step| Revision::new(step * STRIDE)));
    let close = (session(), renewed).prop_map(|(id, renewed)| Command::CloseSession { id, renewed, reason: None });
    let since = (1..20_u64).prop_map(|step| Revision::new(step * STRIDE));
    let ended = proptest::collection::vec((select(KEYS).prop_map(given::key), since), 0..3);
    let end = ended.prop_map(|ended| Command::EndLockDelays { ended: ended.into() });
    let fire = (0..4_u128).prop_map(|id| Command::FireEvent { event: Arc::new(given::fired(id)) });
    prop_oneof![5 => open, 1 => renew, 2 => close, 2 => end, 1 => fire]
}

fn about_nodes() -> impl Strategy<Value = Command> {
    let allocate = (select(&["n1", "n2"][..]), 0..2_u128)
        .prop_map(|(name, nonce)| Command::AllocateNode { name: name.parse().unwrap(), nonce });
    let forget = (100..105_u64).prop_map(|node| Command::ForgetNode { node: NodeId::new(node) });
    prop_oneof![allocate, forget]
}

fn journal() -> impl Strategy<Value = Command> {
    use {Status::*, StatusCause::*};
    let status = select(&[Unknown, Starting, Passing, Warning, Critical][..]);
    let cause = select(&[Stale, Observed, Confirmed, Path][..]);
    let created = (1..20_u64).prop_map(|step| Revision::new(step * STRIDE));
    let change = (select(SERVICES), select(INSTANCES), created, status, cause, 0..4_u32);
    let change = change.prop_map(|(service, id, created, to, cause, bits)| StatusChange {
        service: given::service(service),
        id: given::instance(id),
        created,
        to,
        cause,
        checks: CheckStatuses::from_parts(1, bits),
    });
    proptest::collection::vec(change, 0..5)
        .prop_map(|transitions| Command::RecordStatuses { transitions: transitions.into() })
}

fn spec() -> impl Strategy<Value = InstanceSpec> {
    (1..4_u64, subsequence(TAGS, 0..=TAGS.len()))
        .prop_map(|(port, tags)| InstanceSpec { tags: given::tags(tags), ..given::spec(port) })
}

fn definition() -> impl Strategy<Value = ServiceDefinition> {
    let offered = subsequence(CAPABILITIES, 0..=CAPABILITIES.len());
    (subsequence(TAGS, 0..=TAGS.len()), offered).prop_map(|(tags, capabilities)| ServiceDefinition {
        tags: given::tags(tags),
        capabilities: capabilities.into_iter().map(|capability| capability.parse().unwrap()).collect(),
        ..ServiceDefinition::default()
    })
}

fn lifecycle() -> impl Strategy<Value = Lifecycle> {
    let reason = || "why".parse().unwrap();
    prop_oneof![
        Just(Lifecycle::Active),
        Just(Lifecycle::Draining { deadline: None, reason: reason() }),
        (0..9_u64).prop_map(move |until| Lifecycle::Quarantined { until: UnixMillis::new(until), reason: reason() }),
    ]
}
