//! Short ways to make the values that tests speak about.

use std::sync::Arc;

use rollcall_catalog::{
    Actor, Catalog, Command, FiredEvent, ImportError, Importer, Precondition, Request, RequestId, SnapshotRecord,
};
use rollcall_types::{
    CheckKind, CheckSpec, Endpoint, InstanceId, InstanceSpec, KvKey, Millis, Port, Revision, ServiceName, Status, Tags,
    Text, UnixMillis, Weight,
};

pub(crate) fn service(name: &str) -> ServiceName {
    name.parse().unwrap_or_else(|refused| panic!("service {name}: {refused}"))
}

pub(crate) fn instance(id: &str) -> InstanceId {
    id.parse().unwrap_or_else(|refused| panic!("instance {id}: {refused}"))
}

pub(crate) fn key(key: &str) -> KvKey {
    key.parse().unwrap_or_else(|refused| panic!("key {key}: {refused}"))
}

pub(crate) fn tags<'a>(tags: impl IntoIterator<Item = &'a str>) -> Tags {
    tags.into_iter().map(|tag| tag.parse().unwrap()).collect()
}

pub(crate) fn actor(name: &str) -> Actor {
    Actor { name: name.parse().unwrap(), via: "n1".parse().unwrap() }
}

/// A registration with one endpoint and otherwise nothing.
pub(crate) fn spec(port: u64) -> InstanceSpec {
    let endpoint = Endpoint {
        name: "http".parse().unwrap(),
        protocol: "http".parse().unwrap(),
        host: "10.0.0.7".try_into().unwrap(),
        port: Port::try_from(port).unwrap(),
    };
    InstanceSpec {
        endpoints: Box::new([endpoint]),
        zone: None,
        region: None,
        version: None,
        tags: Tags::new(),
        metadata: rollcall_types::Metadata::new(),
        weight: Weight::default(),
        lease: None,
        checks: Box::default(),
        deregister_after: None,
    }
}

/// Checks by heartbeats that are critical until they are heard; those whose id begins with `ok-` pass until then.
pub(crate) fn checks<'a>(ids: impl IntoIterator<Item = &'a str>) -> Box<[CheckSpec]> {
    let check = |id: &str| CheckSpec {
        id: id.parse().unwrap(),
        name: Text::default(),
        notes: Text::default(),
        capability: None,
        kind: CheckKind::Ttl {
            ttl: Millis::new(10_000),
            initial: if id.starts_with("ok-") { Status::Passing } else { Status::Critical },
        },
        interval: Millis::new(10_000),
        timeout: Millis::new(1_000),
        failures_before_critical: 1,
        successes_before_passing: 1,
    };
    ids.into_iter().map(check).collect()
}

pub(crate) fn register(service_name: &str, id: &str, port: u64) -> Command {
    Command::Register {
        service: service(service_name),
        id: instance(id),
        spec: Arc::new(spec(port)),
        expect: Precondition::None,
    }
}

/// A request without an id, proposed at second `revision` of log time by "ann".
pub(crate) fn request(revision: u64, command: Command) -> Request {
    Request { id: None, at: UnixMillis::new(revision * 1_000), actor: actor("ann"), command }
}

pub(crate) fn request_with_key(revision: u64, name: &str, command: Command) -> Request {
    let id = RequestId::Key { key: Arc::from(name), fingerprint: fingerprint(&format!("{command:?}")) };
    Request { id: Some(id), ..request(revision, command) }
}

/// FNV-1a, the 64-bit variant: any stable digest does.
pub(crate) fn fingerprint(body: &str) -> u64 {
    body.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A catalogue from a stream of records.
pub(crate) fn import(records: impl IntoIterator<Item = SnapshotRecord>) -> Result<Catalog, ImportError> {
    let mut importer = Importer::new();
    for record in records {
        importer.push(record)?;
    }
    importer.finish()
}

/// The whole stream as text, one record an element: two streams are equal when these are.
pub(crate) fn stream(catalog: &Catalog) -> Vec<String> {
    catalog.export().map(|record| format!("{record:?}")).collect()
}

/// All that a refused or replayed request must leave alone: everything but revision, clock and the session tables.
pub(crate) fn content(catalog: &Catalog) -> Vec<String> {
    let text = |record| match record {
        SnapshotRecord::Header { next_node, compacted, .. } => Some(format!("{next_node} {compacted}")),
        SnapshotRecord::Key { .. } | SnapshotRecord::Session { .. } | SnapshotRecord::End { .. } => None,
        other => Some(format!("{other:?}")),
    };
    catalog.export().filter_map(text).collect()
}

/// The catalogue after `commands`, one log entry each.
pub(crate) fn after(commands: impl IntoIterator<Item = Command>) -> Catalog {
    let mut catalog = Catalog::default();
    for command in commands {
        let revision = catalog.revision().get() + 1;
        catalog.apply(Revision::new(revision), &request(revision, command));
    }
    catalog
}

/// An event with nothing but a name.
pub(crate) fn fired(id: u128) -> FiredEvent {
    let (name, nothing) = ("deploy".parse().unwrap(), rollcall_types::Text::default());
    FiredEvent { id, name, payload: bytes::Bytes::new(), nodes: nothing.clone(), services: nothing, tag: None }
}
