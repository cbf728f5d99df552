//! Watches: the changes of the catalogue as a stream of frames.
//!
//! A frame is the same JSON in a server-sent event and in a long poll; `event` says which it is. Every change has a
//! revision of its own (transitions that were journaled together share one, and a frame), which is the event id: a watcher that comes back with the last id it saw, to any node, gets each
//! change once and in order. A snapshot in several parts carries its id on the last part only, so a watcher that lost
//! the connection within it gets it again from the start.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Instance, List, State, Timestamp};

/// Most instances in one part of a snapshot.
pub const SNAPSHOT_ITEMS_MAX: usize = 500;

/// One frame of a watch. `I` is [`Instance`] to read and [`crate::InstanceRef`] to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum WatchEvent<I = Instance> {
    /// A part of the instances as they are at a revision; replaces what the watcher knew.
    Snapshot(SnapshotPart<I>),
    /// An instance was registered or changed; `instance` holds it.
    Put(Change<I>),
    /// An instance was removed (`id`), or a whole service (no `id`).
    Delete(Change<I>),
    /// A service was defined.
    Definition(Change<I>),
    /// A configuration document was set; `version` is its version.
    Config(Change<I>),
    /// Nothing up to this revision concerned the watcher; resume from here.
    Bookmark(Progress),
    /// Instances have another status, as the journal tells it. Their registrations are as they were.
    State(StateChanges),
}

/// A part of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SnapshotPart<I = Instance> {
    /// The revision that all parts show.
    pub revision: u64,
    /// At most [`SNAPSHOT_ITEMS_MAX`] instances.
    pub items: Vec<I>,
    /// Counts the parts, from 0.
    pub part: u32,
    /// Whether the snapshot is complete with this part.
    pub last: bool,
}

/// A change of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change<I = Instance> {
    /// Its place in history.
    pub revision: u64,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The service.
    pub service: String,
    /// The instance after the change.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub instance: Option<I>,
    /// Id of the instance that was removed or changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Version of the configuration document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Why it happened: the reason that was given, or the change in one word.
    pub cause: String,
    /// Who asked for it.
    pub actor: String,
}

/// Transitions that were journaled together: one revision, one frame, with those that concern the watcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateChanges {
    /// Their place in history.
    pub revision: u64,
    /// When the leader wrote them down.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// In order. At most 4,096.
    pub items: Vec<StateChange>,
}

/// A change of the status of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateChange {
    /// Its service.
    pub service: String,
    /// Its id.
    pub id: String,
    /// What it was before.
    pub from: State,
    /// What it is now.
    pub state: State,
    /// Why, in one word: `unchecked`, `unseen`, `stale`, `observed`, `confirmed`, `only_observer`, `unconfirmed`, `path`.
    pub cause: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// How far a watch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Everything up to here was told.
    pub revision: u64,
}

/// The answer of a long poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventBatch<I = Instance> {
    /// Changes after the asked revision, oldest first.
    pub events: Vec<WatchEvent<I>>,
    /// Ask from here next time.
    pub revision: u64,
}

/// What a question about the instances of a service is answered: the list, or with `since=` what changed in it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum InstancesAnswer {
    /// The instances.
    List(List<Instance>),
    /// The changes.
    Changes(EventBatch<Instance>),
}

impl<I> WatchEvent<I> {
    /// The SSE event name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Snapshot(_) => "snapshot",
            Self::Put(_) => "put",
            Self::Delete(_) => "delete",
            Self::Definition(_) => "definition",
            Self::Config(_) => "config",
            Self::Bookmark(_) => "bookmark",
            Self::State(_) => "state",
        }
    }

    /// The revision of the frame.
    pub const fn revision(&self) -> u64 {
        match self {
            Self::Snapshot(part) => part.revision,
            Self::Put(change) | Self::Delete(change) | Self::Definition(change) | Self::Config(change) => {
                change.revision
            }
            Self::Bookmark(progress) => progress.revision,
            Self::State(changes) => changes.revision,
        }
    }

    /// The revision from which a watcher that has seen this frame may resume, the SSE id. `None` within a snapshot.
    pub const fn resume_from(&self) -> Option<u64> {
        match self {
            Self::Snapshot(part) if !part.last => None,
            _ => Some(self.revision()),
        }
    }
}

impl<I: Serialize> WatchEvent<I> {
    /// The frame as a server-sent event (WHATWG HTML §9.2.6), to be written once and shared by all watchers of it.
    ///
    /// # Errors
    /// Fails only when `I` cannot be written as JSON.
    pub fn to_sse(&self) -> Result<String, serde_json::Error> {
        // JSON without indentation has no line breaks, so the data is one line.
        let data = serde_json::to_string(self)?;
        Ok(match self.resume_from() {
            Some(id) => format!("event: {}\nid: {id}\ndata: {data}\n\n", self.name()),
            None => format!("event: {}\ndata: {data}\n\n", self.name()),
        })
    }
}

/// `Default` for `Option<I>` without asking `I: Default`.
fn none<I>() -> Option<I> {
    None
}
