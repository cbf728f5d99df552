//! Operations on the registry and their answers, in the words of the history.
//!
//! The harness sees the registry as a map from [`Thing`]s to what was last written there. Every write carries the id of
//! its operation as its value, so any value that is ever seen says who wrote it.

use std::fmt;
use std::str::FromStr;

use rollcall_api::State;
use rollcall_api::query::Consistency;
use serde::{Deserialize, Serialize};

/// Number of an operation, unique in its run. It is also the value that the operation writes.
pub(crate) type OpId = u64;

/// Something that is written and read as a whole.
///
/// Its text is `i/service/id`, `c/service` or `k/key`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Thing {
    /// An instance of a service.
    Instance { service: String, id: String },
    /// The configuration document of a service. It cannot be removed.
    Config { service: String },
    /// A key.
    Key { key: String },
}

impl Thing {
    pub(crate) fn instance(service: &str, id: &str) -> Self {
        Self::Instance { service: service.to_owned(), id: id.to_owned() }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance { service, id } => write!(f, "i/{service}/{id}"),
            Self::Config { service } => write!(f, "c/{service}"),
            Self::Key { key } => write!(f, "k/{key}"),
        }
    }
}

impl FromStr for Thing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some(("i", rest)) => {
                let (service, id) = rest.split_once('/').ok_or_else(|| format!("'{text}' names no instance"))?;
                Ok(Self::instance(service, id))
            }
            Some(("c", service)) => Ok(Self::Config { service: service.to_owned() }),
            Some(("k", key)) => Ok(Self::Key { key: key.to_owned() }),
            _ => Err(format!("'{text}' is not i/service/id, c/service or k/key")),
        }
    }
}

impl From<Thing> for String {
    fn from(thing: Thing) -> Self {
        thing.to_string()
    }
}

impl TryFrom<String> for Thing {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// On which condition a write happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expect {
    /// On none.
    Any,
    /// The thing is there.
    Exists,
    /// The thing is not there.
    Absent,
    /// The thing was last changed at this revision, by this operation as far as the client knows.
    At { revision: u64, by: OpId },
}

/// What becomes of an instance that the harness plays: the harness answers the probes of its check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Act {
    /// It is registered, and well.
    Register,
    /// Its probes are answered with an error from now on.
    Fail,
    /// Its probes are not answered at all from now on.
    Die,
    /// It is well again from now on.
    Recover,
    /// It is drained.
    Drain,
    /// It is drained no more.
    Undrain,
    /// It is deregistered, for good.
    Deregister,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Call {
    /// Writes the id of the operation into a thing.
    Put { thing: Thing, expect: Expect },
    /// Removes a thing.
    Remove { thing: Thing, expect: Expect },
    /// Reads a thing.
    Get {
        thing: Thing,
        consistency: Consistency,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_revision: Option<u64>,
    },
    /// Sends a heartbeat of an instance.
    Beat { thing: Thing },
    /// Asks for the state of an instance.
    Look { thing: Thing },
    /// Does something with an instance that the harness plays.
    Play { thing: Thing, act: Act },
    /// Asks whom of the played instances to send requests to.
    Pick {
        service: String,
        /// How many at most.
        n: usize,
    },
    /// Opens a session that may hold locks.
    Open,
    /// Says that the holder of a session is there.
    Renew { session: String },
    /// Locks a key for a session.
    Acquire { key: String, session: String },
    /// Writes what the lock on `key` protects, if the session holds the key, which it got as its `fence`-th holder.
    Guarded { key: String, session: String, fence: u64 },
    /// Unlocks a key.
    Release { key: String, session: String },
    /// Asks whom of a service to send requests to.
    Select {
        service: String,
        /// How many at most.
        n: usize,
        consistency: Consistency,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_revision: Option<u64>,
    },
    /// Reads all instances of a service.
    List {
        service: String,
        consistency: Consistency,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_revision: Option<u64>,
    },
}

impl Call {
    /// What a write writes to and on which condition; `None` for reads.
    pub(crate) fn write(&self) -> Option<(&Thing, Expect)> {
        match self {
            Self::Put { thing, expect } | Self::Remove { thing, expect } => Some((thing, *expect)),
            _ => None,
        }
    }

    /// Whether it happens in the log, and so needs a leader.
    pub(crate) fn is_for_log(&self) -> bool {
        match self {
            Self::Put { .. }
            | Self::Remove { .. }
            | Self::Open
            | Self::Renew { .. }
            | Self::Acquire { .. }
            | Self::Guarded { .. }
            | Self::Release { .. } => true,
            Self::Play { act, .. } => matches!(act, Act::Register | Act::Drain | Act::Undrain | Act::Deregister),
            Self::Get { .. }
            | Self::Beat { .. }
            | Self::Look { .. }
            | Self::Pick { .. }
            | Self::Select { .. }
            | Self::List { .. } => false,
        }
    }

    /// How fresh a read must be; `None` for writes.
    pub(crate) fn read(&self) -> Option<(Consistency, Option<u64>)> {
        match self {
            Self::Get { consistency, min_revision, .. }
            | Self::List { consistency, min_revision, .. }
            | Self::Select { consistency, min_revision, .. } => Some((*consistency, *min_revision)),
            _ => None,
        }
    }

    /// The kind in one word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Put { .. } => "put",
            Self::Remove { .. } => "remove",
            Self::Beat { .. } => "beat",
            Self::Look { .. } => "look",
            Self::Play { act, .. } => match act {
                Act::Register => "register",
                Act::Fail => "fail",
                Act::Die => "die",
                Act::Recover => "recover",
                Act::Drain => "drain",
                Act::Undrain => "undrain",
                Act::Deregister => "deregister",
            },
            Self::Pick { .. } => "pick",
            Self::Open => "open",
            Self::Renew { .. } => "renew",
            Self::Acquire { .. } => "acquire",
            Self::Guarded { .. } => "guarded",
            Self::Release { .. } => "release",
            Self::Select { consistency, .. } => match consistency {
                Consistency::Stale => "select-stale",
                Consistency::Leader => "select-leader",
                Consistency::Linearizable => "select",
            },
            Self::Get { consistency, .. } => match consistency {
                Consistency::Stale => "get-stale",
                Consistency::Leader => "get-leader",
                Consistency::Linearizable => "get",
            },
            Self::List { consistency, .. } => match consistency {
                Consistency::Stale => "list-stale",
                Consistency::Leader => "list-leader",
                Consistency::Linearizable => "list",
            },
        }
    }
}

/// A thing as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// The operation that wrote it.
    pub(crate) op: OpId,
    /// The revision of that write.
    pub(crate) modified: u64,
}

/// A write that was acknowledged and then sent once more under the same idempotency key, to show that it is not done twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Again {
    pub(crate) node: String,
    /// The revision of the second answer; `None` when there was none.
    pub(crate) revision: Option<u64>,
}

/// The answer to an operation that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(crate) enum Answer {
    /// A put.
    Written {
        /// Its log index.
        revision: u64,
        /// The thing was not there before.
        created: bool,
        /// The thing is different now.
        changed: bool,
        /// The thing's revision now.
        modified: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again: Option<Again>,
    },
    /// A removal.
    Removed {
        /// Its log index.
        revision: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again: Option<Again>,
    },
    /// A read of a thing.
    Found {
        /// The log index that the answer shows.
        revision: u64,
        /// How old the node says that this may be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        staleness_ms: Option<u64>,
        held: Option<Held>,
    },
    /// A read of all instances of a service, in the order of the answer.
    Listed {
        /// The log index that the answer shows.
        revision: u64,
        /// How old the node says that this may be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        staleness_ms: Option<u64>,
        items: Vec<(String, Held)>,
    },
    /// Whom to send requests to, best first.
    Picked {
        /// The log index that the answer shows.
        revision: u64,
        /// How old the node says that this may be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        staleness_ms: Option<u64>,
        /// Instances, each with the operation that wrote it.
        picks: Vec<(String, OpId)>,
    },
    /// A heartbeat.
    Beaten {
        /// Longest silence from now on.
        ttl_ms: u64,
    },
    /// The state of an instance, as the node sees it now.
    Looked {
        state: State,
        /// Its first word, as the API has it.
        cause: String,
    },
    /// Something was done with a played instance.
    Played {
        /// The log index; none of what the cluster is not told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
    },
    /// Whom of the played instances to send requests to.
    Chosen {
        /// The log index of the registrations that they were picked from.
        revision: u64,
        /// Health was not asked.
        fail_open: bool,
        picks: Vec<String>,
    },
    /// A session is open.
    Opened { session: String },
    /// It goes on.
    Renewed,
    /// A key is locked.
    Acquired {
        /// Which holder of the key this is, counted from 1.
        fence: u64,
        /// The log index of the key.
        modified: u64,
    },
    /// What a lock protects was written.
    Guarded {
        /// The log index of the write.
        modified: u64,
    },
    /// A key is unlocked.
    Released {
        /// The log index of the key.
        modified: u64,
    },
}

impl Answer {
    /// The log index of a write, or that a read shows; `None` of what has nothing to do with the log.
    pub(crate) fn revision(&self) -> Option<u64> {
        match self {
            Self::Written { revision, .. }
            | Self::Removed { revision, .. }
            | Self::Found { revision, .. }
            | Self::Listed { revision, .. }
            | Self::Picked { revision, .. } => Some(*revision),
            // Keys under locks and played instances are judged by checkers of their own.
            _ => None,
        }
    }

    /// How old a read may be, as the node says.
    pub(crate) fn staleness_ms(&self) -> Option<u64> {
        match self {
            Self::Found { staleness_ms, .. }
            | Self::Listed { staleness_ms, .. }
            | Self::Picked { staleness_ms, .. } => *staleness_ms,
            _ => None,
        }
    }
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It happened.
    Ok(Answer),
    /// It certainly did not happen.
    Fail {
        /// The code of the problem, or what went wrong before anything was sent.
        why: String,
        /// Log index at which the precondition was found not to hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
    },
    /// It may have happened, or happen yet.
    Info { why: String },
}
