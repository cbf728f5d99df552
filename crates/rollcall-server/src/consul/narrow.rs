//! What narrows a list: tags, metadata of nodes, and an expression.

use rollcall_types::Tag;
use serde::Serialize;

use super::call::Call;
use super::failure::{Failure, Result};
use super::filter::Filter;

/// Which of the items of a list are wanted; by default all.
#[derive(Default)]
pub(crate) struct Narrow {
    tags: Vec<String>,
    node_meta: Vec<(String, String)>,
    filter: Option<Filter>,
}

impl Narrow {
    /// What `tag=`, `node-meta=` and `filter=` of a request say; the first two may be repeated, and then all must hold.
    ///
    /// # Errors
    /// 400 for an expression that is none.
    pub(crate) fn of(call: &Call) -> Result<Self> {
        let pair = |text: &str| {
            let (key, value) = text.split_once(':').unwrap_or((text, ""));
            (key.to_owned(), value.to_owned())
        };
        Ok(Self {
            tags: call.params.all("tag").filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            node_meta: call.params.all("node-meta").filter(|text| !text.is_empty()).map(pair).collect(),
            filter: call.params.text("filter").map(Filter::parse).transpose()?,
        })
    }

    /// Whether it leaves everything.
    pub(crate) fn is_nothing(&self) -> bool {
        self.tags.is_empty() && self.node_meta.is_empty() && self.filter.is_none()
    }

    /// Whether something has all of the tags, in whatever case, as in Consul.
    pub(crate) fn has_tags(&self, tags: &[Tag]) -> bool {
        self.tags.iter().all(|wanted| tags.iter().any(|tag| tag.eq_ignore_ascii_case(wanted)))
    }

    /// Whether a node has all of the metadata.
    pub(crate) fn has_node_meta(&self, meta: &[(&str, &str)]) -> bool {
        self.node_meta.iter().all(|(key, value)| meta.contains(&(key.as_str(), value.as_str())))
    }

    /// The items that satisfy the expression.
    ///
    /// # Errors
    /// 400 when the expression names what items do not have.
    pub(crate) fn filtered<T: Serialize>(&self, items: Vec<T>) -> Result<Vec<T>> {
        self.filtered_by(items, |item| item)
    }

    /// The same, where the expression is about a part of each item.
    ///
    /// # Errors
    /// As [`Self::filtered`].
    pub(crate) fn filtered_by<T, P: Serialize>(&self, items: Vec<T>, part: impl Fn(&T) -> &P) -> Result<Vec<T>> {
        let Some(filter) = &self.filter else { return Ok(items) };
        let mut kept = Vec::new();
        for item in items {
            let value = serde_json::to_value(part(&item)).map_err(|error| Failure::internal(&error))?;
            if filter.keeps(&value)? {
                kept.push(item);
            }
        }
        Ok(kept)
    }
}
