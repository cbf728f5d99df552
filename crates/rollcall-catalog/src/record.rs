//! What the catalogue holds: one record per instance, service, key and node.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use rollcall_types::{
    InstanceId, InstanceSpec, JsonText, Lifecycle, NodeId, NodeName, Revision, ServiceDefinition, ServiceName, Status,
    StatusCause, UnixMillis, critical_since,
};
use serde::{Deserialize, Serialize};

use crate::Actor;

/// A registered instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its service, as first written.
    pub service: ServiceName,
    /// Its id within the service.
    pub id: InstanceId,
    /// Its number among all instances: the lowest that was free when it was first registered, its own until it is
    /// removed. Which of the instances that had the number one after the other it is, `created` says.
    pub slot: u32,
    /// Its registration.
    pub spec: Arc<InstanceSpec>,
    /// What operators decided about it. Survives a new registration.
    pub lifecycle: Lifecycle,
    /// Who registered it last.
    pub registered_by: Actor,
    /// When it was first registered.
    pub registered_at: UnixMillis,
    /// When it was last changed.
    pub modified_at: UnixMillis,
    /// The write that made it.
    pub created: Revision,
    /// The write that changed it last.
    pub modified: Revision,
}

/// What the journal says about an instance: the last transition that the leader wrote to the log. History, and late; what
/// holds now is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journaled {
    /// Its status.
    pub status: Status,
    /// Why.
    pub cause: StatusCause,
    /// Since when it has this status: the time of the transition, or that of the registration before there was any.
    pub since: UnixMillis,
    /// Since when it is critical; see [`critical_since`].
    pub critical_since: Option<UnixMillis>,
}

impl Journaled {
    /// What there is about a slot that no instance has.
    pub(crate) const NOTHING: Self = Self::unseen(UnixMillis::new(0));

    /// An instance that was registered at `since`.
    pub(crate) const fn unseen(since: UnixMillis) -> Self {
        Self { status: Status::Unknown, cause: StatusCause::Unseen, since, critical_since: None }
    }

    /// The same after a transition.
    #[must_use]
    pub(crate) fn turned(self, to: Status, cause: StatusCause, at: UnixMillis) -> Self {
        Self { status: to, cause, since: at, critical_since: critical_since(self.critical_since, to, at) }
    }

    /// Whether a journal can say so by `clock`.
    pub(crate) fn is_possible(self, clock: UnixMillis) -> bool {
        let is_critical_possible = match self.status {
            Status::Critical => self.critical_since.is_some(),
            Status::Unknown => true,
            Status::Starting | Status::Passing | Status::Warning => self.critical_since.is_none(),
        };
        is_critical_possible && self.since <= clock && self.critical_since.is_none_or(|critical| critical <= self.since)
    }
}

impl Default for Journaled {
    fn default() -> Self {
        Self::NOTHING
    }
}

/// A configuration document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The document.
    pub document: JsonText,
    /// Counts the documents of this service, from 1.
    pub version: u64,
    /// The write that set it.
    pub modified: Revision,
    /// When it was set.
    pub modified_at: UnixMillis,
    /// Who set it.
    pub modified_by: Actor,
}

/// A service: what is said about it, and its instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name, in the case in which it was first written.
    pub name: ServiceName,
    /// Its definition, if it was given one.
    pub definition: Option<Arc<ServiceDefinition>>,
    /// The write that set the definition last.
    pub defined: Option<Revision>,
    /// Its configuration document, if it has one.
    pub config: Option<Arc<Config>>,
    /// Its instances by id.
    pub instances: OrdMap<InstanceId, Arc<Instance>>,
    /// The write that made it.
    pub created: Revision,
    /// The write that last changed it or anything in it.
    pub modified: Revision,
}

impl Service {
    /// A service about which nothing is known but its name.
    pub(crate) fn new(name: ServiceName, created: Revision) -> Self {
        Self {
            name,
            definition: None,
            defined: None,
            config: None,
            instances: OrdMap::new(),
            created,
            modified: created,
        }
    }

    /// Whether nothing is known but the name, so that the service need not be kept.
    pub(crate) fn is_blank(&self) -> bool {
        self.definition.is_none() && self.config.is_none() && self.instances.is_empty()
    }
}

/// A key's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEntry {
    /// Opaque bytes.
    pub value: Bytes,
    /// Opaque number.
    pub flags: u64,
    /// The write that made the key.
    pub created: Revision,
    /// The write that changed it last.
    pub modified: Revision,
}

/// A node that was given an id by the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// What it drew when its data directory was made.
    pub nonce: u128,
}
