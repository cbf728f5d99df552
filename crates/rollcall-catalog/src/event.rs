//! What changed, in order: the source of watches and of history.

use std::sync::Arc;

use imbl::Vector;
use rollcall_types::{
    InstanceId, KvKey, Lifecycle, Revision, ServiceDefinition, ServiceName, Status, StatusCause, Text, UnixMillis,
};
use serde::{Deserialize, Serialize};

use crate::{Actor, Config, Instance, KvEntry, LockSession, UserEvent};

/// Changes that the ring keeps; each transition of a status is one. At ~120 bytes each beside what the catalogue shares
/// with them, 8 MiB when full.
pub const EVENTS_MAX: usize = 65_536;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in history. No two events share one.
    pub revision: Revision,
    /// The leader's wall clock when it was proposed; never runs backwards.
    pub at: UnixMillis,
    /// Who asked for it.
    pub actor: Actor,
    /// Why, when that was said.
    pub reason: Option<Text>,
    /// What changed.
    pub change: Change,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An instance was registered for the first time, or again with another registration.
    InstancePut {
        /// The instance as it is after the change.
        instance: Arc<Instance>,
        /// It was not there before.
        created: bool,
    },
    /// An operator's decision about an instance changed.
    LifecycleSet {
        /// The instance as it is after the change.
        instance: Arc<Instance>,
    },
    /// An instance was removed.
    InstanceRemoved {
        /// Its service.
        service: ServiceName,
        /// Its id.
        id: InstanceId,
        /// The slot that it had.
        slot: u32,
        /// The write that had made it.
        created: Revision,
    },
    /// A service was defined, or defined anew.
    ServiceDefined {
        /// Its name.
        service: ServiceName,
        /// Its definition after the change.
        definition: Arc<ServiceDefinition>,
    },
    /// A service was removed.
    ServiceRemoved {
        /// Its name.
        service: ServiceName,
    },
    /// A configuration document was set.
    ConfigSet {
        /// The service.
        service: ServiceName,
        /// The document after the change.
        config: Arc<Config>,
    },
    /// A key was set.
    KvPut {
        /// The key.
        key: KvKey,
        /// Its entry after the change, without its value.
        entry: Arc<KvEntry>,
    },
    /// A key was removed.
    KvRemoved {
        /// The key.
        key: KvKey,
    },
    /// The journal says of some instances that their status is another one. Their registrations are as they were.
    StatusesChanged {
        /// In order; an instance may come more than once. Not empty.
        transitions: Arc<[Transition]>,
    },
    /// Several keys changed at once.
    KvChanged {
        /// In order; not empty.
        changes: Arc<[KvChange]>,
    },
    /// A session that may hold keys was opened.
    SessionOpened {
        /// The session.
        session: Arc<LockSession>,
    },
    /// Such a session ended.
    SessionClosed {
        /// The session as it was.
        session: Arc<LockSession>,
        /// What became of the keys that it held.
        changes: Arc<[KvChange]>,
    },
    /// Somebody fired an event.
    UserEvent {
        /// The event.
        event: Arc<UserEvent>,
    },
}

/// What changed about a key, or about many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvChange {
    /// A key was set, locked or unlocked.
    Put {
        /// The key.
        key: KvKey,
        /// Its entry after the change, without its value.
        entry: Arc<KvEntry>,
    },
    /// A key was removed.
    Removed {
        /// The key.
        key: KvKey,
    },
    /// Every key that begins so was removed.
    PrefixRemoved {
        /// May be empty.
        prefix: Text,
        /// How many there were.
        keys: u64,
    },
}

/// A change of the status of one instance, which has the new one since the time of the event; or of that of one of its checks alone:
/// then it is what it was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Its service.
    pub service: ServiceName,
    /// Its id.
    pub id: InstanceId,
    /// Its slot.
    pub slot: u32,
    /// What it was before.
    pub from: Status,
    /// What it is now.
    pub to: Status,
    /// Why.
    pub cause: StatusCause,
}

impl Transition {
    /// Whether the instance turned, and not one of its checks alone.
    pub fn is_of_instance(&self) -> bool {
        self.from != self.to
    }
}

impl Change {
    /// The changes of a transaction: nothing, one key, or several.
    pub(crate) fn of_keys(mut changes: Vec<KvChange>) -> Option<Self> {
        match changes.pop() {
            None => None,
            Some(KvChange::Put { key, entry }) if changes.is_empty() => Some(Self::KvPut { key, entry }),
            Some(KvChange::Removed { key }) if changes.is_empty() => Some(Self::KvRemoved { key }),
            Some(last) => {
                changes.push(last);
                Some(Self::KvChanged { changes: changes.into() })
            }
        }
    }

    /// The change in one word, as history and watches show it.
    pub fn action(&self) -> &'static str {
        match self {
            Self::InstancePut { created: true, .. } => "registered",
            Self::InstancePut { created: false, .. } => "updated",
            Self::LifecycleSet { instance } => match instance.lifecycle {
                Lifecycle::Active => "activated",
                Lifecycle::Draining { .. } => "draining",
                Lifecycle::Quarantined { .. } => "quarantined",
            },
            Self::InstanceRemoved { .. } => "deregistered",
            Self::ServiceDefined { .. } => "defined",
            Self::ServiceRemoved { .. } => "removed",
            Self::ConfigSet { .. } => "configured",
            Self::KvPut { .. } => "kv_put",
            Self::KvRemoved { .. } => "kv_removed",
            Self::StatusesChanged { .. } => "state",
            Self::KvChanged { .. } => "kv_changed",
            Self::SessionOpened { .. } => "session_opened",
            Self::SessionClosed { .. } => "session_closed",
            Self::UserEvent { .. } => "event",
        }
    }

    /// How many changes it is for history and for [`EVENTS_MAX`].
    pub fn count(&self) -> usize {
        match self {
            Self::StatusesChanged { transitions } => transitions.len(),
            Self::KvChanged { changes } => changes.len(),
            Self::SessionClosed { changes, .. } => 1 + changes.len(),
            _ => 1,
        }
    }

    /// The service it belongs to; `None` for keys, and for transitions, which may belong to many.
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::InstancePut { instance, .. } | Self::LifecycleSet { instance } => Some(&instance.service),
            Self::InstanceRemoved { service, .. }
            | Self::ServiceDefined { service, .. }
            | Self::ServiceRemoved { service }
            | Self::ConfigSet { service, .. } => Some(service),
            Self::KvPut { .. }
            | Self::KvRemoved { .. }
            | Self::StatusesChanged { .. }
            | Self::KvChanged { .. }
            | Self::SessionOpened { .. }
            | Self::SessionClosed { .. }
            | Self::UserEvent { .. } => None,
        }
    }

    /// The services it is about: that of each transition, or the one it belongs to.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        let transitions = match self {
            Self::StatusesChanged { transitions } => &transitions[..],
            _ => &[],
        };
        self.service().into_iter().chain(transitions.iter().map(|transition| &transition.service))
    }

    /// The instance after the change; `None` when it is about no instance, or about one that is gone.
    pub fn instance(&self) -> Option<&Arc<Instance>> {
        match self {
            Self::InstancePut { instance, .. } | Self::LifecycleSet { instance } => Some(instance),
            _ => None,
        }
    }

    /// The instance it is about, if it is about one alone; `None` for transitions.
    pub fn instance_id(&self) -> Option<&InstanceId> {
        match self {
            Self::InstancePut { instance, .. } | Self::LifecycleSet { instance } => Some(&instance.id),
            Self::InstanceRemoved { id, .. } => Some(id),
            _ => None,
        }
    }
}

/// The last events, with [`EVENTS_MAX`] changes together.
///
/// Invariants:
/// - Revisions rise strictly from front to back.
/// - `changes` is the sum of the counts of the events, and at most [`EVENTS_MAX`].
/// - Every event after `compacted` is in the ring; none at or before it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventRing {
    events: Vector<Arc<Event>>,
    changes: usize,
    compacted: Revision,
}

impl EventRing {
    /// The revision up to which events are forgotten; a cursor below it must list again.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// All kept events, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Event>> + '_ {
        self.events.iter()
    }

    /// The events after `cursor`, oldest first; `None` when some of them are forgotten. O(log n) to find the first.
    pub fn after(&self, cursor: Revision) -> Option<impl Iterator<Item = &Arc<Event>> + '_> {
        if cursor < self.compacted {
            return None;
        }
        let start = match self.events.binary_search_by(|event| event.revision.cmp(&cursor)) {
            Ok(found) => found + 1,
            Err(next) => next,
        };
        // A narrowed focus finds the tail in O(log n); `iter().skip(start)` would walk the whole ring for every watcher.
        Some(self.events.focus().narrow(start..).into_iter())
    }

    pub(crate) fn push(&mut self, event: Arc<Event>) {
        debug_assert!(self.events.last().is_none_or(|last| last.revision < event.revision), "revisions rise");
        self.changes += event.change.count();
        self.events.push_back(event);
        while self.changes > EVENTS_MAX {
            let Some(forgotten) = self.events.pop_front() else { break };
            self.changes -= forgotten.change.count();
            self.compacted = forgotten.revision;
        }
    }

    /// An empty ring that has forgotten what came up to `compacted`.
    pub(crate) fn forgotten(compacted: Revision) -> Self {
        Self { compacted, ..Self::default() }
    }

    /// Takes the next event of a stream; false when it does not rise, or there is no room for it.
    pub(crate) fn restore(&mut self, event: Event) -> bool {
        let floor = self.events.last().map_or(self.compacted, |last| last.revision);
        let changes = self.changes + event.change.count();
        if event.revision <= floor || changes > EVENTS_MAX {
            return false;
        }
        self.changes = changes;
        self.events.push_back(Arc::new(event));
        true
    }
}
