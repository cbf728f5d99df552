//! JSON that passes through unchanged: configuration documents and schemas.

use rollcall_types::JsonText;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A JSON document as its owner wrote it: order of keys, spaces and digits of numbers are kept.
///
/// It is written into an answer as it stands, without being parsed. Reading one from JSON works from text only (not from
/// a `serde_json::Value`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Document(Box<RawValue>);

impl Document {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl TryFrom<&JsonText> for Document {
    type Error = serde_json::Error;

    /// Fails only when the text is no JSON, which [`crate::decode::document`] keeps out of the catalogue.
    fn try_from(text: &JsonText) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text.as_str().to_owned()).map(Self)
    }
}
