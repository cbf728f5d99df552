//! Golden bytes: a format that changes by accident fails here. One line of hexadecimal digits for each value.
//!
//! To accept a deliberate change, raise [`VERSION`] (persisted formats need a way to read the old one first), run with
//! `ROLLCALL_BLESS=1`, and review the difference.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use openraft::{EntryPayload, Membership};
use rollcall_catalog::{
    Actor, Catalog, Command, FiredEvent, KvOp, KvWrite, Outcome, Precondition, Refusal, Reply, Request, RequestId,
    StatusChange,
};
use rollcall_types::{
    ActorName, CapabilityName, CheckId, CheckKind, CheckSpec, CheckStatuses, ClusterId, DnsTtl, Endpoint,
    FactorWeights, Host, InstanceId, InstanceSpec, JsonText, KvKey, LeaseSpec, Lifecycle, Metadata, Millis, NodeId,
    NodeName, OnSessionEnd, Part, Port, Revision, SelectionPolicy, ServiceDefinition, ServiceName, SessionCheck,
    SessionId, SessionSpec, Status, StatusCause, Strategy, Tags, Text, UnixMillis, Weight,
};

use super::*;
use crate::identity::Founder;
use crate::proposal::Proposal;
use crate::snapshot::{Header, Trailer};
use crate::traces::TraceParent;
use crate::transport::handshake::{Message, Purpose, Refusal as HandshakeRefusal};
use crate::transport::message::*;
use crate::types::{Entry, LogId, Payload, PeerNode, SnapshotMeta, StoredMembership, Vote};

fn request() -> Request {
    Request {
        id: Some(RequestId::Sequence { client: "1/ab".into(), sequence: 300, acknowledged_below: 299 }),
        at: UnixMillis::new(1_700_000_000_000),
        actor: Actor { name: ActorName::try_from("me").unwrap(), via: NodeName::try_from("n1").unwrap() },
        command: Command::KvPut {
            key: KvKey::try_from("k").unwrap(),
            value: bytes::Bytes::from_static(b"v"),
            flags: 7,
            expect: Precondition::At(Revision::new(9)),
        },
    }
}

fn peer() -> PeerNode {
    PeerNode {
        name: NodeName::try_from("n1").unwrap(),
        peer_addr: "h:1".into(),
        http_addr: "h:2".into(),
        gossip_addr: String::new(),
        zone: Some("a".into()),
        observer: false,
    }
}

fn log_id() -> LogId {
    LogId::new_term_index(3, 70_000)
}

fn vote() -> Vote {
    Vote::new_committed(3, 2)
}

fn membership() -> Membership<u64, PeerNode> {
    Membership::new(vec![[1].into()], BTreeMap::from([(1, peer())])).unwrap()
}

fn normal(request: &Request) -> Payload {
    Payload::Normal(Proposal::new(request).unwrap())
}

fn append() -> Append {
    let payloads = [EntryPayload::Blank, normal(&request()), EntryPayload::Membership(membership())];
    let entries = payloads.into_iter().map(|payload| Entry { log_id: log_id(), payload });
    AppendEntriesRequest {
        vote: vote(),
        prev_log_id: Some(log_id()),
        entries: entries.collect(),
        leader_commit: Some(log_id()),
    }
}

fn outcome() -> Outcome {
    Outcome { revision: Revision::new(9), reply: Reply::Removed { existed: true }, replayed: false }
}

fn meta() -> SnapshotMeta {
    SnapshotMeta { last_log_id: Some(log_id()), last_membership: StoredMembership::new(Some(log_id()), membership()) }
}

/// Makes the instance critical that was made at revision 2.
fn record_statuses() -> Command {
    let turned = StatusChange {
        service: ServiceName::try_from("s").unwrap(),
        id: InstanceId::try_from("y").unwrap(),
        created: Revision::new(2),
        to: Status::Critical,
        cause: StatusCause::Confirmed,
        checks: CheckStatuses::from_parts(0x1234, 0b11_01),
    };
    Command::RecordStatuses { transitions: [turned].into() }
}

fn check() -> CheckSpec {
    CheckSpec {
        id: CheckId::try_from("c").unwrap(),
        name: Text::try_from("C").unwrap(),
        notes: Text::try_from("why").unwrap(),
        capability: Some(CapabilityName::try_from("p").unwrap()),
        kind: CheckKind::Tcp { host: Host::try_from("h").unwrap(), port: Port::try_from(80_u64).unwrap() },
        interval: Millis::new(1_000),
        timeout: Millis::new(100),
        failures_before_critical: 3,
        successes_before_passing: 2,
    }
}

/// Defines a service by everything that selection reads.
fn define() -> Command {
    let selection = SelectionPolicy {
        strategy: Some(Strategy::HealthBased),
        weights: FactorWeights::try_from([3_000_000, 250_000, 0, 1, 70_000]).ok(),
        tie_band: Part::try_from(50_000).ok(),
        fail_open: Part::try_from(0).ok(),
        subset: NonZeroU32::new(20),
        dns_ttl: DnsTtl::try_from(5).ok(),
    };
    let definition = ServiceDefinition {
        version: Some("2".parse().unwrap()),
        capabilities: [CapabilityName::try_from("p").unwrap()].into_iter().collect(),
        expected_response_time: Some(Millis::new(250)),
        max_concurrent_requests: Some(8),
        cost_micros: Some(2_500),
        slow_start: Some(Millis::new(30_000)),
        selection,
        ..ServiceDefinition::default()
    };
    let (service, expect) = (ServiceName::try_from("s").unwrap(), Precondition::None);
    Command::Define { service, definition: Arc::new(definition), expect }
}

/// A catalogue with a record of every kind that depends on what is registered.
fn catalog() -> Catalog {
    let registration = InstanceSpec {
        endpoints: Box::default(),
        zone: None,
        region: None,
        version: None,
        tags: Tags::new(),
        metadata: Metadata::new(),
        weight: Weight::default(),
        lease: None,
        checks: [check()].into(),
        deregister_after: None,
    };
    let spec = Arc::new(registration);
    let (service, expect) = (ServiceName::try_from("s").unwrap(), Precondition::None);
    let [gone, kept] = ["x", "y"].map(|id| InstanceId::try_from(id).unwrap());
    let register =
        |id: &InstanceId| Command::Register { service: service.clone(), id: id.clone(), spec: spec.clone(), expect };
    let commands = [
        register(&gone),
        register(&kept),
        Command::Deregister { service: service.clone(), id: gone.clone(), expect, reason: None },
        record_statuses(),
    ];
    let commands = commands.into_iter().chain(about_keys().into_iter().map(|(_, command)| command));
    let mut catalog = Catalog::default();
    for (index, command) in (1..).zip(commands) {
        catalog.apply(Revision::new(index), &Request { id: None, command, ..request() });
    }
    catalog
}

/// An instance with everything that can be said of one.
fn full_instance() -> InstanceSpec {
    let endpoint = Endpoint {
        name: "web".parse().unwrap(),
        protocol: "http".parse().unwrap(),
        host: Host::try_from("10.0.0.7").unwrap(),
        port: Port::try_from(8_080_u64).unwrap(),
    };
    InstanceSpec {
        endpoints: [endpoint].into(),
        zone: Some("a".parse().unwrap()),
        region: Some("eu".parse().unwrap()),
        version: Some("1.2.3".parse().unwrap()),
        tags: ["t".parse().unwrap()].into_iter().collect(),
        metadata: [("k".parse().unwrap(), "v".parse().unwrap())].into_iter().collect(),
        weight: Weight::default(),
        lease: Some(LeaseSpec { ttl: Millis::new(30_000) }),
        checks: [check()].into(),
        deregister_after: Some(Millis::new(60_000)),
    }
}

/// What is said about services and their instances, and about nodes; each leaves something behind or says why it went.
fn about_services() -> [(&'static str, Command); 13] {
    let (s, t): (ServiceName, ServiceName) = ("s".parse().unwrap(), "t".parse().unwrap());
    let [x, y] = ["x/1:a#b", "y"].map(|id| InstanceId::try_from(id).unwrap());
    let (spec, expect) = (Arc::new(full_instance()), Precondition::None);
    let why: Text = "why".parse().unwrap();
    let lifecycle = |id: &InstanceId, lifecycle| Command::SetLifecycle {
        service: s.clone(),
        id: id.clone(),
        lifecycle,
        expect,
        reason: Some(why.clone()),
    };
    let register =
        |id: &InstanceId| Command::Register { service: s.clone(), id: id.clone(), spec: spec.clone(), expect };
    let draining = Lifecycle::Draining { deadline: Some(UnixMillis::new(1_700_000_100_000)), reason: why.clone() };
    let quarantined = Lifecycle::Quarantined { until: UnixMillis::new(1_800_000_000_000), reason: why.clone() };
    let document = JsonText::try_from("{}").unwrap();
    [
        ("payload-register", register(&x)),
        ("payload-register-another", register(&y)),
        ("payload-drain", lifecycle(&x, draining)),
        ("payload-quarantine", lifecycle(&y, quarantined)),
        ("payload-define-full", define()),
        (
            "payload-config",
            Command::SetConfig {
                service: s.clone(),
                document: document.clone(),
                schema_at: Some(Revision::new(5)),
                expect,
            },
        ),
        ("payload-config-of-another", Command::SetConfig { service: t.clone(), document, schema_at: None, expect }),
        ("payload-remove-service", Command::RemoveService { service: t, expect }),
        (
            "payload-kv-put",
            Command::KvPut { key: "k".parse().unwrap(), value: bytes::Bytes::from_static(b"v"), flags: 7, expect },
        ),
        ("payload-kv-delete", Command::KvDelete { key: "k".parse().unwrap(), expect: Precondition::Exists }),
        ("payload-allocate-node", Command::AllocateNode { name: "n7".parse().unwrap(), nonce: 5 }),
        ("payload-forget-node", Command::ForgetNode { node: NodeId::new(1) }),
        ("payload-deregister", Command::Deregister { service: s.clone(), id: y, expect, reason: Some(why) }),
    ]
}

/// A catalogue after [`about_services`], asked for by callers who may ask again.
fn served() -> Catalog {
    let mut catalog = Catalog::default();
    for (index, (_, command)) in (1..).zip(about_services()) {
        let id = match index {
            1 => Some(RequestId::Key { key: "order-1".into(), fingerprint: 11 }),
            2 => Some(RequestId::Sequence { client: "caller/a".into(), sequence: 1, acknowledged_below: 1 }),
            _ => None,
        };
        catalog.apply(Revision::new(index), &Request { id, command, ..request() });
    }
    catalog
}

/// Two sessions that lock keys, one that ends, a transaction with every operation, an event.
fn about_keys() -> [(&'static str, Command); 7] {
    let (first, second) = (SessionId::new(1 << 100), SessionId::new(2));
    let check = SessionCheck::Instance {
        service: ServiceName::try_from("s").unwrap(),
        id: InstanceId::try_from("y").unwrap(),
        check: CheckId::try_from("c").unwrap(),
    };
    let spec = Arc::new(SessionSpec {
        name: "elect".parse().unwrap(),
        node: NodeName::try_from("n1").unwrap(),
        ttl: Some(Millis::new(10_000)),
        lock_delay: Millis::new(15_000),
        on_end: OnSessionEnd::Release,
        checks: Box::new([SessionCheck::Node, check]),
    });
    let write = |key: &str| KvWrite { key: key.parse().unwrap(), value: bytes::Bytes::from_static(b"v"), flags: 7 };
    let (key, expect): (KvKey, _) = ("k".parse().unwrap(), Precondition::Absent);
    let ops = [
        KvOp::Acquire { write: write("k"), session: first },
        KvOp::CheckSession { key: key.clone(), session: first },
        KvOp::Get { key: key.clone() },
        KvOp::GetOrEmpty { key },
        KvOp::GetPrefix { prefix: "k".parse().unwrap() },
        KvOp::Acquire { write: write("l"), session: second },
        KvOp::Release { write: write("l"), session: second },
        KvOp::Put { write: write("m"), expect },
        KvOp::Delete { key: "m".parse().unwrap(), expect: Precondition::None },
        KvOp::Check { key: "m".parse().unwrap(), expect },
        KvOp::DeletePrefix { prefix: "l".parse().unwrap() },
        KvOp::Acquire { write: write("n"), session: second },
    ];
    let event = FiredEvent {
        id: 5,
        name: "deploy".parse().unwrap(),
        payload: bytes::Bytes::from_static(b"p"),
        nodes: "n.*".parse().unwrap(),
        services: "s".parse().unwrap(),
        tag: Some("t".parse().unwrap()),
    };
    [
        ("payload-open-session", Command::OpenSession { id: first, spec: spec.clone() }),
        ("payload-open-another", Command::OpenSession { id: second, spec }),
        ("payload-kv-transact", Command::KvTransact { ops: ops.into() }),
        ("payload-renew-session", Command::RenewSession { id: first }),
        (
            "payload-close-session",
            Command::CloseSession { id: second, renewed: None, reason: Some("x".parse().unwrap()) },
        ),
        (
            "payload-end-lock-delays",
            Command::EndLockDelays { ended: [("z".parse().unwrap(), Revision::new(3))].into() },
        ),
        ("payload-fire-event", Command::FireEvent { event: Arc::new(event) }),
    ]
}

fn newcomer() -> Newcomer {
    Newcomer { nonce: 5, peer: peer(), expect: 3 }
}

fn offer() -> Offer {
    let founders = vec![Founder { node: NodeId::new(1), nonce: 5, peer: peer() }];
    Offer { cluster: ClusterId::new(6), founders }
}

fn vote_request() -> VoteRequest<crate::types::TypeConfig> {
    let mut request = VoteRequest::new(vote(), Some(log_id()));
    request.leadership_transfer = true;
    request
}

/// What the records of [`catalog`] are.
const SNAPSHOT_RECORDS: [&str; 20] = [
    "record-header",
    "record-service",
    "record-instance",
    "record-lock-session",
    "record-kv",
    "record-kv-free",
    "record-lock-delay",
    "record-tombstone",
    "record-tombstone-of-another",
    "record-user-event",
    "record-event-past-put",
    "record-event-present-put",
    "record-event-removed",
    "record-event-statuses",
    "record-event-session-opened",
    "record-event-session-opened-again",
    "record-event-kv-changed",
    "record-event-session-closed",
    "record-event-user-event",
    "record-end",
];

/// What the records of [`served`] are.
const SERVED_RECORDS: [&str; 20] = [
    "served-header",
    "served-service",
    "served-instance",
    "served-gone-service",
    "served-tombstone",
    "served-node",
    "served-key",
    "served-session",
    "served-event-put",
    "served-event-put-of-another",
    "served-event-drain",
    "served-event-quarantine",
    "served-event-defined",
    "served-event-config",
    "served-event-config-of-another",
    "served-event-service-removed",
    "served-event-kv-put",
    "served-event-kv-removed",
    "served-event-removed",
    "served-end",
];

/// Every persisted and every sent format.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let mut samples = Vec::new();
    let mut add = |name, encoded: Result<Vec<u8>, CodecError>| samples.push((name, encoded.unwrap()));
    add("log-id", encode(Kind::LogId, &log_id()));
    add("vote", encode(Kind::Vote, &vote()));
    for (name, entry) in ["payload-blank", "payload-request", "payload-membership"].into_iter().zip(append().entries) {
        add(name, encode(Kind::Payload, &entry.payload));
    }
    add("snapshot-header", encode(Kind::SnapshotHeader, &Header { cluster: ClusterId::new(6), meta: meta() }));
    let statuses = Request { id: None, command: record_statuses(), ..request() };
    add("payload-statuses", encode(Kind::Payload, &normal(&statuses)));
    let defined = Request { id: None, command: define(), ..request() };
    add("payload-define", encode(Kind::Payload, &normal(&defined)));
    for (name, command) in about_keys() {
        add(name, encode(Kind::Payload, &normal(&Request { id: None, command, ..request() })));
    }
    for (name, command) in about_services() {
        add(name, encode(Kind::Payload, &normal(&Request { id: None, command, ..request() })));
    }
    assert_eq!(served().export().count(), SERVED_RECORDS.len());
    for (name, record) in SERVED_RECORDS.into_iter().zip(served().export()) {
        add(name, encode(Kind::SnapshotChunk, &record));
    }
    assert_eq!(catalog().export().count(), SNAPSHOT_RECORDS.len());
    for (name, record) in SNAPSHOT_RECORDS.into_iter().zip(catalog().export()) {
        add(name, encode(Kind::SnapshotChunk, &record));
    }
    add("snapshot-trailer", encode(Kind::SnapshotTrailer, &Trailer { records: 4, digest: [8; 32] }));
    let hello = Message::ClientHello {
        magic: *b"ROLLCALL",
        protocol_min: 1,
        protocol_max: 1,
        cluster: Some(ClusterId::new(6)),
        from: Some(NodeId::new(2)),
        target: Some(NodeId::new(1)),
        purpose: Purpose::Snapshot,
        nonce: [7; 32],
    };
    add("client-hello", encode(Kind::Handshake, &hello));
    let hello = Message::ServerHello {
        protocol_min: 1,
        protocol_max: 1,
        cluster: Some(ClusterId::new(6)),
        node: Some(NodeId::new(1)),
        nonce: [7; 32],
    };
    add("server-hello", encode(Kind::Handshake, &hello));
    add("client-proof", encode(Kind::Handshake, &Message::ClientProof([7; 32])));
    let verdict = Message::Verdict { refusal: Some(HandshakeRefusal::Target), proof: [7; 32] };
    add("verdict", encode(Kind::Handshake, &verdict));
    add("append", encode(Kind::Append, &append()));
    let appended: [Appended; 3] =
        [Ok(Some(log_id())), Err(StreamAppendError::Conflict(log_id())), Err(StreamAppendError::HigherVote(vote()))];
    for (name, appended) in ["appended", "appended-conflict", "appended-higher-vote"].into_iter().zip(appended) {
        add(name, encode(Kind::Appended, &appended));
    }
    let transfer = TransferLeaderRequest::new(vote(), 2, Some(log_id()));
    let parent = TraceParent { trace: [7; 16], span: [8; 8] };
    let questions = [
        ("ask-append", ControlRequest::Append(append())),
        ("ask-vote", ControlRequest::Vote(vote_request())),
        ("ask-pre-vote", ControlRequest::PreVote(vote_request())),
        ("ask-transfer", ControlRequest::TransferLeader(transfer)),
        (
            "ask-propose",
            ControlRequest::Propose(Proposals {
                requests: vec![Proposal::new(&request()).unwrap()],
                traces: Vec::new(),
            }),
        ),
        (
            "ask-propose-traced",
            ControlRequest::Propose(Proposals {
                requests: vec![Proposal::new(&request()).unwrap()],
                traces: vec![(0, parent)],
            }),
        ),
        ("ask-read-index", ControlRequest::ReadIndex),
        ("ask-promote", ControlRequest::Admin(AdminRequest::Promote { node: NodeId::new(101) })),
        ("ask-remove", ControlRequest::Admin(AdminRequest::Remove { node: NodeId::new(101) })),
        ("ask-lead", ControlRequest::Admin(AdminRequest::TransferLeader { to: NodeId::new(101) })),
        ("ask-step-down", ControlRequest::Admin(AdminRequest::StepDown { leader: NodeId::new(101) })),
        ("ask-member", ControlRequest::AmIMember),
        ("ask-freshness", ControlRequest::Freshness),
    ];
    for (name, question) in questions {
        add(name, encode(Kind::ControlRequest, &question));
    }
    let vote_response = || VoteResponse::new(vote(), Some(log_id()), true);
    let answers = [
        ("reply-append", ControlReply::Append(AppendEntriesResponse::PartialSuccess(Some(log_id())))),
        ("reply-vote", ControlReply::Vote(vote_response())),
        ("reply-pre-vote", ControlReply::PreVote(vote_response())),
        ("reply-transfer", ControlReply::TransferLeader(Ok(()))),
        ("reply-proposed", ControlReply::Proposed(vec![Ok(outcome()), Err(ProposeRefusal::Unknown)])),
        (
            "reply-refused",
            ControlReply::Proposed(vec![Ok(Outcome { reply: Reply::Refused(Refusal::SessionExpired), ..outcome() })]),
        ),
        (
            "reply-statuses",
            ControlReply::Proposed(vec![Ok(Outcome {
                reply: Reply::StatusesRecorded { transitions: 1 },
                ..outcome()
            })]),
        ),
        ("reply-read-index", ControlReply::ReadIndex(Err(NotLeading::NoQuorum))),
        ("reply-admin", ControlReply::Admin(Err(AdminRefusal::NotYet("wait".into())))),
        ("reply-member", ControlReply::Membership(Some(false))),
        ("reply-stopped", ControlReply::Stopped),
        ("reply-freshness", ControlReply::Freshness(Some(Freshness { revision: 70_000, micros_ago: 90_000 }))),
        ("reply-too-large", ControlReply::TooLarge),
    ];
    for (name, answer) in answers {
        add(name, encode(Kind::ControlReply, &answer));
    }
    add("transfer-begin", encode(Kind::Transfer, &Transfer::Begin { vote: vote(), meta: meta(), bytes: 9 }));
    let chunk = Transfer::Chunk { crc: 1, bytes: bytes::Bytes::from_static(b"xy") };
    add("transfer-chunk", encode(Kind::Transfer, &chunk));
    add("transfer-end", encode(Kind::Transfer, &Transfer::End));
    let transferred = [
        ("transferred-ready", Transferred::Ready),
        ("transferred-busy", Transferred::Busy),
        ("transferred-refused", Transferred::Refused("no".into())),
        ("transferred-installed", Transferred::Installed(SnapshotResponse::new(vote()))),
    ];
    for (name, transferred) in transferred {
        add(name, encode(Kind::Transferred, &transferred));
    }
    let discoveries = [
        ("describe", DiscoverRequest::Describe(newcomer())),
        ("prepare", DiscoverRequest::Prepare(offer())),
        ("commit", DiscoverRequest::Commit(offer())),
        ("join", DiscoverRequest::Join(newcomer())),
    ];
    for (name, discovery) in discoveries {
        add(name, encode(Kind::DiscoverRequest, &discovery));
    }
    let discovered = [
        ("newcomer", DiscoverReply::Newcomer { newcomer: newcomer(), known: vec!["h:1".into()] }),
        (
            "member",
            DiscoverReply::Member {
                cluster: ClusterId::new(6),
                leader: Some("h:1".into()),
                founders: offer().founders,
                members: vec!["h:1".into()],
            },
        ),
        ("agreed", DiscoverReply::Agreed),
        ("declined", DiscoverReply::Declined("no".into())),
        ("joined", DiscoverReply::Joined { cluster: ClusterId::new(6), node: NodeId::new(101) }),
        ("name-taken", DiscoverReply::NameTaken { node: NodeId::new(1) }),
        ("not-leading", DiscoverReply::NotLeading { leader: None }),
    ];
    for (name, reply) in discovered {
        add(name, encode(Kind::DiscoverReply, &reply));
    }
    samples
}

#[test]
fn every_format_is_as_it_was() {
    let mut present = String::new();
    for (name, bytes) in samples() {
        let digits = bytes.iter().fold(String::new(), |mut digits, byte| {
            write!(digits, "{byte:02x}").unwrap();
            digits
        });
        writeln!(present, "{name} {digits}").unwrap();
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/codec/golden.txt");
    if std::env::var_os("ROLLCALL_BLESS").is_some() {
        std::fs::write(&path, &present).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (golden, present) in golden.lines().zip(present.lines()) {
        assert_eq!(golden, present);
    }
    assert_eq!(golden.lines().count(), present.lines().count());
}

#[test]
fn what_is_written_reads_back() {
    let bytes = encode(Kind::Append, &append()).unwrap();
    let read: Append = decode(Kind::Append, &bytes).unwrap();
    assert_eq!(encode(Kind::Append, &read).unwrap(), bytes);
    assert_eq!(read.entries, append().entries);
}

#[test]
fn another_version_kind_or_length_is_refused() {
    let bytes = encode(Kind::LogId, &log_id()).unwrap();
    let change = |at: usize, byte: u8| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        decode::<LogId>(Kind::LogId, &changed)
    };
    assert!(matches!(change(0, VERSION - 1), Err(CodecError::Version(4))));
    assert!(matches!(change(0, VERSION + 1), Err(CodecError::Version(6))));
    assert!(matches!(change(1, Kind::Vote as u8), Err(CodecError::Kind { found: 2, expected: 1 })));
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(decode::<LogId>(Kind::LogId, &longer), Err(CodecError::Trailing(1))));
    assert!(matches!(decode::<LogId>(Kind::LogId, &bytes[..1]), Err(CodecError::Short(1))));
    for cut in 2..bytes.len() {
        assert!(matches!(decode::<LogId>(Kind::LogId, &bytes[..cut]), Err(CodecError::Malformed(_))), "cut at {cut}");
    }
}

#[test]
fn a_claim_of_a_huge_length_is_refused_without_allocating_it() {
    // A list that claims 2^63 requests.
    let mut bytes = vec![VERSION, Kind::ControlRequest as u8, 4, 253];
    bytes.extend_from_slice(&(1_u64 << 63).to_le_bytes());
    assert!(matches!(decode::<ControlRequest>(Kind::ControlRequest, &bytes), Err(CodecError::Malformed(_))));
}

/// Found by the fuzz target `peer_message`: 51 bytes that claimed a text of 6 MiB were given them before it was seen that they end.
#[test]
fn a_short_message_that_claims_a_long_text_is_refused_without_allocating_it() {
    let mut bytes = encode(Kind::DiscoverReply, &DiscoverReply::Declined(String::new())).unwrap();
    // The length of the text, in four bytes.
    assert_eq!(bytes.pop(), Some(0));
    bytes.push(252);
    bytes.extend_from_slice(&(6_u32 << 20).to_le_bytes());
    let refused = decode::<DiscoverReply>(Kind::DiscoverReply, &bytes).unwrap_err();
    assert!(matches!(refused, CodecError::Malformed(bincode::error::DecodeError::LimitExceeded)), "{refused:?}");
    let long = DiscoverReply::Declined("x".repeat(2 * SHORT_CLAIM_MAX));
    let written = encode(Kind::DiscoverReply, &long).unwrap();
    assert!(decode::<DiscoverReply>(Kind::DiscoverReply, &written).is_ok(), "a long text that is there is read");
}

/// As much as a value can claim for its bytes.
#[test]
fn a_short_message_of_nothing_but_small_wide_numbers_is_read() {
    let numbers = vec![1_u128; SHORT_BYTES_MAX - 8];
    let written = encode(Kind::LogId, &numbers).unwrap();
    assert!(written.len() <= SHORT_BYTES_MAX);
    assert_eq!(decode::<Vec<u128>>(Kind::LogId, &written).unwrap(), numbers);
}

#[test]
fn decoding_arbitrary_bytes_never_panics() {
    // Every sample, with every byte changed in a few ways.
    for (name, sample) in samples() {
        for at in 0..sample.len() {
            for change in [0x01, 0x80, 0xFF] {
                let mut bytes = sample.clone();
                bytes[at] ^= change;
                drop(decode::<ControlRequest>(Kind::ControlRequest, &bytes));
                drop(decode::<Append>(Kind::Append, &bytes));
                drop(decode::<DiscoverRequest>(Kind::DiscoverRequest, &bytes));
                drop(decode::<Transfer>(Kind::Transfer, &bytes));
                drop(decode::<Message>(Kind::Handshake, &bytes));
                assert!(!name.is_empty());
            }
        }
    }
}
