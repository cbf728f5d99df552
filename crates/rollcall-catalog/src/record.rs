//! What the catalogue holds: one record per instance, service, key and node.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use rollcall_types::{
    CheckKind, CheckSpec, CheckStatuses, InstanceId, InstanceSpec, JsonText, Lifecycle, NodeId, NodeName, Revision,
    ServiceDefinition, ServiceName, SessionId, SessionSpec, Status, StatusCause, UnixMillis, critical_since,
};
use serde::{Deserialize, Serialize};

use crate::Actor;
use crate::request::{FiredEvent, StatusChange};

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
    /// The write of the last transition, of it or of one of its checks; 0 before there was any.
    pub revision: Revision,
    /// Those of its checks; nothing of a check that has its status.
    pub checks: CheckStatuses,
}

impl Journaled {
    /// What there is about a slot that no instance has.
    pub(crate) const NOTHING: Self = Self::unseen(UnixMillis::new(0));

    /// An instance that was registered at `since`.
    pub(crate) const fn unseen(since: UnixMillis) -> Self {
        Self {
            status: Status::Unknown,
            cause: StatusCause::Unseen,
            since,
            critical_since: None,
            revision: Revision::ZERO,
            checks: CheckStatuses::from_parts(0, 0),
        }
    }

    /// The same after a transition.
    #[must_use]
    pub(crate) fn turned(self, change: &StatusChange, at: UnixMillis, revision: Revision) -> Self {
        let &StatusChange { to, cause, checks, .. } = change;
        if self.status == to {
            // Only its checks did: it is what it was, since then.
            return Self { checks, revision, ..self };
        }
        let critical_since = critical_since(self.critical_since, to, at);
        Self { status: to, cause, since: at, critical_since, revision, checks }
    }

    /// The same for an instance that is registered anew with other checks: one that stays has the status that it had, and a new
    /// one by heartbeats that with which it begins.
    #[must_use]
    pub(crate) fn with_checks(self, before: &[CheckSpec], after: &[CheckSpec]) -> Self {
        let known = |check: &CheckSpec| {
            let stays = before.iter().any(|earlier| earlier.id == check.id);
            let own = self.checks.of_check(before, &check.id);
            if stays { own.or(Some(self.status)) } else { begins(check) }
        };
        let is_told = after.len() > 1;
        let checks = if is_told { CheckStatuses::of(after, |_, check| known(check)) } else { CheckStatuses::default() };
        Self { checks, ..self }
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

/// What a check counts as that nobody has looked at.
fn begins(check: &CheckSpec) -> Option<Status> {
    match check.kind {
        CheckKind::Ttl { initial, .. } => Some(initial),
        CheckKind::Fixed { status } => Some(status),
        _ => None,
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

/// A key's value. The default is that of a key which is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEntry {
    /// Opaque bytes.
    pub value: Bytes,
    /// Opaque number.
    pub flags: u64,
    /// The write that made the key.
    pub created: Revision,
    /// The write that changed it last.
    pub modified: Revision,
    /// How often it was locked: rises with each new holder, also after the key was removed and made anew.
    pub lock_index: u64,
    /// The session that holds it.
    pub session: Option<SessionId>,
}

impl KvEntry {
    /// The same without its value: what events, replies and histories tell, so that they do not keep old values alive.
    pub(crate) fn bare(&self) -> Arc<Self> {
        Arc::new(Self { value: Bytes::new(), ..self.clone() })
    }
}

/// An open session that may hold keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockSession {
    /// Its id.
    pub id: SessionId,
    /// What was said about it.
    pub spec: Arc<SessionSpec>,
    /// The write that opened it.
    pub created: Revision,
    /// The write that renewed it last, or opened it.
    pub renewed: Revision,
    /// Who opened it.
    pub opened_by: Actor,
}

/// An event that was fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEvent {
    /// What was fired.
    pub fired: Arc<FiredEvent>,
    /// The write that fired it.
    pub revision: Revision,
    /// When.
    pub at: UnixMillis,
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
