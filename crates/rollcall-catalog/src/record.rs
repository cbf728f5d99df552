//! What the catalogue holds: one record per instance, service, key and node.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use rollcall_types::{
    InstanceId, InstanceSpec, JsonText, Lifecycle, NodeId, NodeName, Revision, ServiceDefinition, ServiceName,
    UnixMillis,
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
