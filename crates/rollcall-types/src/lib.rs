//! The leaf nouns of Rollcall: what every other crate speaks about.
//!
//! Each type here is a value that cannot be wrong once it exists: names obey their rules, ports are not 0, lists are
//! bounded. Validation happens once, where a value enters (JSON, config, command line), and [`Invalid`] says which
//! rule was broken. Decoding a persisted value validates again, so a damaged file cannot make a value that the
//! rest of the program believes impossible.
//!
//! Limits: this crate knows no clock, no I/O and no wire format beyond `serde`; JSON shapes live in `rollcall-api`.

mod check;
mod check_statuses;
mod endpoint;
mod id;
mod instance;
mod invalid;
mod name;
mod policy;
mod service;
mod session;
mod sorted;
mod status;
mod time;

pub use check::{CHECKS_MAX, CheckKind, CheckSpec, INTERVAL_MAX, INTERVAL_MIN, TIMEOUT_MAX};
pub use check_statuses::CheckStatuses;
pub use endpoint::{ENDPOINTS_MAX, Endpoint, Host, Port};
pub use id::{ClusterId, NodeId, Revision};
pub use instance::{
    DEREGISTER_AFTER_MIN, DRAIN_DEADLINE_MAX, DRAIN_DEADLINE_MIN, InstanceSpec, LEASE_TTL_MAX, LEASE_TTL_MIN,
    LeaseSpec, Lifecycle, METADATA_MAX, Metadata, QUARANTINE_TTL_MAX, QUARANTINE_TTL_MIN, REASON_BYTES_MAX, TAGS_MAX,
    Tags, Weight,
};
pub use invalid::Invalid;
pub use name::{
    ActorName, CapabilityName, CheckId, InstanceId, JsonText, KvKey, Label, MetadataKey, MetadataValue, NodeName,
    Protocol, ServiceKey, ServiceName, Tag, Text, Version,
};
pub use policy::{DnsTtl, FactorWeights, Part, SelectionPolicy, Strategy};
pub use service::{CAPABILITIES_MAX, Resources, SLOW_START_MAX, ServiceDefinition};
pub use session::{
    LOCK_DELAY_DEFAULT, LOCK_DELAY_MAX, OnSessionEnd, SESSION_CHECKS_MAX, SESSION_TTL_MAX, SESSION_TTL_MIN,
    SessionCheck, SessionId, SessionSpec,
};
pub use sorted::{SortedMap, SortedSet};
pub use status::{ENTRY_TRANSITIONS_MAX, Status, StatusCause, critical_since};
pub use time::{Millis, MonoTime, UnixMillis};
