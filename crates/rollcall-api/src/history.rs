//! What happened: who, what, when, why.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{State, Timestamp};

/// One change, as history tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryRecord {
    /// The revision of the change. Transitions that were journaled together share one.
    pub revision: u64,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who asked for it: the name the client gave, or its address.
    pub actor: String,
    /// The node that took the request.
    pub via: String,
    /// The service it was about; `null` for keys.
    pub service: Option<String>,
    /// The instance it was about, if it was about one.
    pub instance: Option<String>,
    /// The change in one word: `registered`, `updated`, `lifecycle`, `deregistered`, `defined`, `removed`, `configured`,
    /// `kv_put`, `kv_removed`, `state`, `session_opened`, `session_closed`, `event`.
    pub action: String,
    /// Why, when that was said; of a `state` the cause in one word.
    pub cause: Option<String>,
    /// Of a `state`: the status before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<State>,
    /// Of a `state`: the status after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// The key it was about; one that ends with `*` stands for all that begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The session that holds the key since then, or that was opened or closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}
