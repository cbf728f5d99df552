//! What happened: who, what, when, why.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;

/// One change, as history tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryRecord {
    /// The revision of the change.
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
    /// The change in one word: `registered`, `updated`, `deregistered`, `defined`, `configured`.
    pub action: String,
    /// Why, when that was said.
    pub cause: Option<String>,
}
