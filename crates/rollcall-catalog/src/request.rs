//! What goes into the log: a command, who asked for it, and an id that makes a retry harmless.
//!
//! Encoded positionally and persisted: fields and variants are only ever added at the end, with a new codec version.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rollcall_types::{
    ActorName, CheckStatuses, InstanceId, InstanceSpec, JsonText, KvKey, Lifecycle, NodeId, NodeName, Revision,
    ServiceDefinition, ServiceName, SessionId, SessionSpec, Status, StatusCause, Tag, Text, UnixMillis,
};
use serde::{Deserialize, Serialize};

/// One log entry's payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Makes the request exactly-once; `None` only where applying it twice changes nothing.
    pub id: Option<RequestId>,
    /// The leader's wall clock when it proposed the entry. The catalogue never lets time run backwards.
    pub at: UnixMillis,
    /// Who asked.
    pub actor: Actor,
    /// What to do.
    pub command: Command,
}

/// Identifies a request across retries, on whichever node they arrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestId {
    /// An `Idempotency-Key` chosen by the client, at most 128 bytes.
    Key {
        /// The key.
        key: Arc<str>,
        /// Digest of the request it was first used for, so that a key used again for another request is refused.
        fingerprint: u64,
    },
    /// A client session (Raft dissertation §6.3): a numbered stream of requests.
    Sequence {
        /// Name of the session, unique to one client process, at most 128 bytes after [`CALLER_PREFIX`](crate::CALLER_PREFIX);
        /// without the prefix it is a node's.
        client: Arc<str>,
        /// Number of the request, counting from 1.
        sequence: u64,
        /// Every request below this number has been answered, so its reply can be forgotten.
        acknowledged_below: u64,
    },
}

/// Who asked for a change, and through which node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The name the client gave itself, or its address.
    pub name: ActorName,
    /// The node that took the request.
    pub via: NodeName,
}

/// What must be true for a write to happen (RFC 9110 §13.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precondition {
    /// Nothing.
    None,
    /// The thing exists (`If-Match: *`).
    Exists,
    /// The thing does not exist (`If-None-Match: *`).
    Absent,
    /// The thing exists and was last changed at this revision (`If-Match: "41"`).
    At(Revision),
}

/// A change to the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Adds an instance, or replaces its registration. A registration equal to the present one changes nothing.
    Register {
        /// Its service, made if it does not exist.
        service: ServiceName,
        /// Its id.
        id: InstanceId,
        /// Its registration.
        spec: Arc<InstanceSpec>,
        /// Refers to the instance.
        expect: Precondition,
    },
    /// Removes an instance; its service goes too when nothing else is known about it.
    Deregister {
        /// Its service.
        service: ServiceName,
        /// Its id.
        id: InstanceId,
        /// Refers to the instance.
        expect: Precondition,
        /// Why, for the history.
        reason: Option<Text>,
    },
    /// Changes what operators decided about an instance.
    SetLifecycle {
        /// Its service.
        service: ServiceName,
        /// Its id.
        id: InstanceId,
        /// The new lifecycle.
        lifecycle: Lifecycle,
        /// Refers to the instance.
        expect: Precondition,
        /// Why, for the history.
        reason: Option<Text>,
    },
    /// Sets the definition of a service, making the service if it does not exist.
    Define {
        /// The service.
        service: ServiceName,
        /// Its definition.
        definition: Arc<ServiceDefinition>,
        /// Refers to the definition.
        expect: Precondition,
    },
    /// Removes a service that has no instances: its definition and its configuration.
    RemoveService {
        /// The service.
        service: ServiceName,
        /// Refers to the definition.
        expect: Precondition,
    },
    /// Sets the configuration document of a service.
    SetConfig {
        /// The service.
        service: ServiceName,
        /// The document; already checked against the schema of the definition at `schema_at`.
        document: JsonText,
        /// When the definition was last changed as the proposer saw it; another value is refused, so that no document
        /// slips past a schema that changed meanwhile.
        schema_at: Option<Revision>,
        /// Refers to the document.
        expect: Precondition,
    },
    /// Sets a key.
    KvPut {
        /// The key.
        key: KvKey,
        /// Its value.
        value: Bytes,
        /// Opaque to the store.
        flags: u64,
        /// Refers to the key.
        expect: Precondition,
    },
    /// Removes a key.
    KvDelete {
        /// The key.
        key: KvKey,
        /// Refers to the key.
        expect: Precondition,
    },
    /// Gives a joining node its id. The same name and nonce get the same id again.
    AllocateNode {
        /// Its name, unique among the nodes.
        name: NodeName,
        /// Drawn by the node when its data directory was made.
        nonce: u128,
    },
    /// Forgets a node that left, so that its name is free again. Its id is never given out again.
    ForgetNode {
        /// The node.
        node: NodeId,
    },
    /// Writes to the journal what all observers agreed on. For the leader, which gathers transitions; an instance that is
    /// gone by then, or has those statuses already, is passed over.
    RecordStatuses {
        /// In the order in which history tells them, at most [`ENTRY_TRANSITIONS_MAX`](rollcall_types::ENTRY_TRANSITIONS_MAX).
        transitions: Arc<[StatusChange]>,
    },
    /// Reads and changes several keys: all of it happens at once, or nothing does.
    KvTransact {
        /// In their order, at most [`KV_OPS_MAX`].
        ops: Arc<[KvOp]>,
    },
    /// Opens a session; one that is open already stays as it is.
    OpenSession {
        /// Drawn by who proposes it.
        id: SessionId,
        /// What is said about it.
        spec: Arc<SessionSpec>,
    },
    /// Says that the holder of a session is there.
    RenewSession {
        /// The session.
        id: SessionId,
    },
    /// Ends a session: its keys are released or removed, and cannot be locked for its lock delay.
    CloseSession {
        /// The session.
        id: SessionId,
        /// The last renewal that the proposer knows; a session that was renewed since goes on. `None`: whatever came.
        renewed: Option<Revision>,
        /// Why, for the history.
        reason: Option<Text>,
    },
    /// Lets keys be locked again. For the leader, which measures lock delays.
    EndLockDelays {
        /// The keys, and when each delay began: a later one goes on.
        ended: Arc<[(KvKey, Revision)]>,
    },
    /// Tells an event to whoever listens; the same id again changes nothing.
    FireEvent {
        /// The event.
        event: Arc<FiredEvent>,
    },
}

/// Most operations of one transaction.
pub const KV_OPS_MAX: usize = 64;

/// What to set a key to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvWrite {
    /// The key.
    pub key: KvKey,
    /// Its value.
    pub value: Bytes,
    /// Opaque to the store.
    pub flags: u64,
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvOp {
    /// Sets a key. Who holds it goes on holding it.
    Put {
        /// What to.
        write: KvWrite,
        /// Refers to the key.
        expect: Precondition,
    },
    /// Removes a key, if it is there.
    Delete {
        /// The key.
        key: KvKey,
        /// Refers to the key.
        expect: Precondition,
    },
    /// Removes every key that begins so.
    DeletePrefix {
        /// May be empty.
        prefix: Text,
    },
    /// Sets a key and locks it for a session, which must be open; a key that the session holds already is set.
    Acquire {
        /// What to.
        write: KvWrite,
        /// The session.
        session: SessionId,
    },
    /// Sets a key and unlocks it, if the session holds it.
    Release {
        /// What to.
        write: KvWrite,
        /// The session.
        session: SessionId,
    },
    /// Reads a key, which must be there.
    Get {
        /// The key.
        key: KvKey,
    },
    /// Reads every key that begins so.
    GetPrefix {
        /// May be empty.
        prefix: Text,
    },
    /// Fails unless the precondition holds.
    Check {
        /// The key.
        key: KvKey,
        /// Refers to it.
        expect: Precondition,
    },
    /// Fails unless the session holds the key.
    CheckSession {
        /// The key.
        key: KvKey,
        /// The session.
        session: SessionId,
    },
    /// Reads a key; one that is not there is read as empty.
    GetOrEmpty {
        /// The key.
        key: KvKey,
    },
}

/// An event that somebody fires. Its filters are for those who listen; empty ones let everybody hear it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiredEvent {
    /// Drawn by who proposes it.
    pub id: u128,
    /// What it is about.
    pub name: Text,
    /// Opaque bytes.
    pub payload: Bytes,
    /// Expression on names of nodes.
    pub nodes: Text,
    /// Expression on names of services.
    pub services: Text,
    /// Tag of the services.
    pub tag: Option<Tag>,
}

/// A status that an instance is to have in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChange {
    /// Its service.
    pub service: ServiceName,
    /// Its id.
    pub id: InstanceId,
    /// The write that made it: what was observed of an instance says nothing about the next one with its id.
    pub created: Revision,
    /// Its status.
    pub to: Status,
    /// Why.
    pub cause: StatusCause,
    /// Those of its checks.
    pub checks: CheckStatuses,
}

impl Command {
    /// The command's name in logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Register { .. } => "register",
            Self::Deregister { .. } => "deregister",
            Self::SetLifecycle { .. } => "set_lifecycle",
            Self::Define { .. } => "define",
            Self::RemoveService { .. } => "remove_service",
            Self::SetConfig { .. } => "set_config",
            Self::KvPut { .. } => "kv_put",
            Self::KvDelete { .. } => "kv_delete",
            Self::AllocateNode { .. } => "allocate_node",
            Self::ForgetNode { .. } => "forget_node",
            Self::KvTransact { .. } => "kv_transact",
            Self::OpenSession { .. } => "open_session",
            Self::RenewSession { .. } => "renew_session",
            Self::CloseSession { .. } => "close_session",
            Self::EndLockDelays { .. } => "end_lock_delays",
            Self::FireEvent { .. } => "fire_event",
            Self::RecordStatuses { .. } => "record_statuses",
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.command {
            Command::Register { service, id, .. }
            | Command::Deregister { service, id, .. }
            | Command::SetLifecycle { service, id, .. } => write!(f, "{} {service}/{id}", self.command.name()),
            Command::Define { service, .. }
            | Command::RemoveService { service, .. }
            | Command::SetConfig { service, .. } => write!(f, "{} {service}", self.command.name()),
            Command::KvPut { key, .. } | Command::KvDelete { key, .. } => write!(f, "{} {key}", self.command.name()),
            Command::AllocateNode { name, .. } => write!(f, "allocate_node {name}"),
            Command::ForgetNode { node } => write!(f, "forget_node {node}"),
            Command::RecordStatuses { transitions } => write!(f, "record_statuses of {} instances", transitions.len()),
            Command::KvTransact { ops } => write!(f, "kv_transact of {} operations", ops.len()),
            Command::OpenSession { id, .. } | Command::RenewSession { id } | Command::CloseSession { id, .. } => {
                write!(f, "{} {id}", self.command.name())
            }
            Command::EndLockDelays { ended } => write!(f, "end_lock_delays of {} keys", ended.len()),
            Command::FireEvent { event } => write!(f, "fire_event {}", event.name),
        }
    }
}
