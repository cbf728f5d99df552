//! `filter=`: boolean expressions about the items of an answer (the language of go-bexpr).
//!
//! ```text
//! Service.Meta.version == "2" and ("primary" in Service.Tags or Service.Port is not empty) and not Node.Node matches "old-.*"
//! ```
//! Operators: `==` `!=` `in` `not in` `contains` `not contains` `matches` `not matches` `is empty` `is not empty`, `and` `or`
//! `not` and parentheses. A selector is a way through the JSON of an item: `Service.Tags`, `ServiceMeta.k`, `Meta["k x"]`. It is
//! evaluated over what would be answered, so it knows every field that a client sees, those that Consul leaves out when they are
//! empty, and no other. Where it leads through a list, one element is enough: `Checks.Status != passing` means that some check
//! does not pass, and of an empty list nothing holds.
//!
//! Limits: an expression is short ([`LENGTH_MAX`]) and not nested deeply ([`DEPTH_MAX`]); patterns of `matches` take linear time
//! and little memory. Not done: `any … as`, `all … as`.

mod evaluate;
mod parse;

use serde_json::Value;

use self::parse::Expression;
use super::failure::{Failure, Result};

/// Longest expression, bytes.
const LENGTH_MAX: usize = 4_096;
/// Most parentheses inside each other.
const DEPTH_MAX: usize = 32;
/// What a pattern may come to when it is compiled, bytes.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// An expression, ready to be asked.
#[derive(Debug)]
pub(crate) struct Filter(Expression);

impl Filter {
    /// Reads an expression.
    ///
    /// # Errors
    /// 400 when it is none, or out of bounds.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.len() > LENGTH_MAX {
            return Err(malformed(&format!("it is longer than {LENGTH_MAX} bytes")));
        }
        parse::expression(text).map(Self).map_err(|problem| malformed(&problem))
    }

    /// Whether an item satisfies it.
    ///
    /// # Errors
    /// 400 when it names a field that such an item does not have.
    pub(crate) fn keeps(&self, item: &Value) -> Result<bool> {
        evaluate::holds(&self.0, item).map_err(|selector| malformed(&format!("Selector \"{selector}\" is not valid")))
    }
}

fn malformed(problem: &str) -> Failure {
    Failure::bad_request(format!("Failed to create boolean expression evaluator: {problem}"))
}

#[cfg(test)]
mod tests;
