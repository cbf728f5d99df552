//! Envelopes: lists and the answer to a write.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// The revision that the list shows; all pages of one listing show the same.
    pub revision: u64,
    /// Asks for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

/// The answer to a write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WriteReply {
    /// Where the write took its place in history: read with `min_revision` of this to see it.
    pub revision: u64,
    /// A put: whether the thing did not exist before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<bool>,
    /// A put: whether something is different now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<bool>,
    /// A put: when the thing last changed, this write's revision or an earlier one when nothing changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_revision: Option<u64>,
    /// A removal: whether the thing was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existed: Option<bool>,
    /// A key that was locked or unlocked: how often it was locked. Whoever the holder writes to can refuse writes with a smaller
    /// number than they have seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_index: Option<u64>,
    /// A key that was locked: the session that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Id that the server made for a new instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}
