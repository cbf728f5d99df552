//! The catalogue: the state that every node derives from the same log.
//!
//! [`Catalog::apply`] takes one committed [`Request`] and its [`Revision`](rollcall_types::Revision) and answers with a
//! [`Reply`] and the [`Event`] it caused. It is *total* (a refusal is a reply, never an error) and *deterministic*
//! (no clock, no randomness, no floats, no hash order), so all nodes that applied the same log hold the same catalogue.
//!
//! Everything lies in persistent maps: `Catalog::clone` costs a few pointer copies, so read views and snapshots share
//! structure with the living state and never copy it. The alternative, one mutable map behind a lock, would let a
//! snapshot of 100,000 instances stall writers or readers.
//!
//! Limits: nothing here knows health, load or liveness of anything (that is observation, and travels by gossip). What the
//! leader journals of it is history: no command but the one that writes it looks at it, and a registration with other checks,
//! which takes along what was said of those that stay.
//! The event ring keeps the last [`EVENTS_MAX`] changes; older history is gone.

mod apply;
mod catalog;
mod event;
mod export;
mod gone;
mod import;
mod indexes;
mod kv;
mod query;
mod record;
mod reply;
mod request;
mod sessions;
mod slots;

pub use apply::{LOCK_SESSIONS_MAX, USER_EVENTS_MAX};
pub use catalog::{Catalog, FIRST_ALLOCATED_NODE_ID, INSTANCES_MAX, SERVICES_MAX};
pub use event::{Change, EVENTS_MAX, Event, EventRing, KvChange, Transition};
pub use export::{ExportedEvent, SnapshotRecord};
pub use gone::GONE_MAX;
pub use import::{ImportError, Importer};
pub use indexes::Indexes;
pub use kv::{KV_BYTES_MAX, LockDelay, TOMBSTONES_MAX};
pub use query::{Compacted, ServicesPage};
pub use record::{Config, Instance, Journaled, KvEntry, LockSession, NodeRecord, Service, UserEvent};
pub use reply::{Applied, KvFailure, KvProblem, KvResult, Limit, Outcome, Refusal, Reply};
pub use request::{
    Actor, Command, FiredEvent, KV_OPS_MAX, KvOp, KvWrite, Precondition, Request, RequestId, StatusChange,
};
pub use sessions::{
    CALLER_PREFIX, CALLER_SESSIONS_MAX, CALLER_WINDOW, IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_RETENTION, NODE_SESSIONS_MAX,
    NODE_WINDOW, SESSION_RETENTION,
};
