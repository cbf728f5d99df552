//! Problems with fields, collected: a caller mends a request once, not once per mistake.

use std::fmt::{self, Display};

use rollcall_types::Invalid;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Number;

/// Most problems that one answer lists; the rest would not help anybody.
pub const ERRORS_MAX: usize = 50;

/// A field that broke a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"field": "endpoints[0].port", "rule": "must be a port, 1 to 65535; got 0"}))]
pub struct FieldError {
    /// Path of the field in the body, or the name of a query parameter or header; `.` is the whole body.
    pub field: String,
    /// The rule and what was given instead.
    pub rule: String,
}

impl FieldError {
    /// Names a field and the rule it broke.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }
}

impl Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.rule)
    }
}

/// The problems found in one request so far, at most [`ERRORS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Review {
    found: Vec<FieldError>,
}

impl Review {
    /// Looks at the fields below `path`; an empty path is the body itself.
    pub(crate) fn at(&mut self, path: impl Display) -> Scope<'_> {
        Scope { review: self, path: path.to_string() }
    }

    /// `value`, when nothing was found. A value that is `None` was reported.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Vec<FieldError>> {
        if self.found.is_empty() { Ok(value) } else { Err(self.found) }
    }
}

/// A part of the request under review. Converters return `None` for what they reported.
pub(crate) struct Scope<'a> {
    review: &'a mut Review,
    path: String,
}

impl Scope<'_> {
    /// Reports `field`: `rule` is the whole sentence, "must …; got …".
    pub(crate) fn refuse(&mut self, field: impl Display, rule: impl Into<String>) {
        if self.review.found.len() < ERRORS_MAX {
            let dot = if self.path.is_empty() { "" } else { "." };
            self.review.found.push(FieldError::new(format!("{}{dot}{field}", self.path), rule));
        }
    }

    /// The value, or its refusal reported.
    pub(crate) fn keep<T, E: Display>(&mut self, field: impl Display, judged: Result<T, E>) -> Option<T> {
        judged.map_err(|refused| self.refuse(field, refused.to_string())).ok()
    }

    /// Converts a string that must be there.
    pub(crate) fn text<T>(&mut self, field: impl Display, text: &str) -> Option<T>
    where
        T: for<'t> TryFrom<&'t str, Error = Invalid>,
    {
        self.keep(field, T::try_from(text))
    }

    /// Converts a string that may be absent.
    pub(crate) fn optional_text<T>(&mut self, field: impl Display, text: Option<&str>) -> Option<T>
    where
        T: for<'t> TryFrom<&'t str, Error = Invalid>,
    {
        text.and_then(|text| self.text(field, text))
    }

    /// Converts a number that must be there.
    pub(crate) fn number<T>(
        &mut self,
        field: impl Display,
        number: &Number,
        rule: impl Fn(u64) -> Result<T, Invalid>,
    ) -> Option<T> {
        self.keep(field, number.judge(rule))
    }

    /// Converts a number that may be absent.
    pub(crate) fn optional_number<T>(
        &mut self,
        field: impl Display,
        number: &Number,
        rule: impl Fn(u64) -> Result<T, Invalid>,
    ) -> Option<T> {
        if number.is_absent() { None } else { self.number(field, number, rule) }
    }

    /// Converts a number with a fraction that may be absent.
    pub(crate) fn optional_real(
        &mut self,
        field: impl Display,
        number: &Number,
        rule: impl Fn(f64) -> Result<f64, Invalid>,
    ) -> Option<f64> {
        if number.is_absent() { None } else { self.keep(field, number.judge_real(rule)) }
    }

    /// A value that may be absent, or its refusal reported.
    pub(crate) fn keep_some<T, E: Display>(&mut self, field: impl Display, judged: Option<Result<T, E>>) -> Option<T> {
        judged.and_then(|judged| self.keep(field, judged))
    }

    /// Converts each string of a list that may hold at most `max`.
    pub(crate) fn texts<'t, T>(
        &mut self,
        field: &str,
        texts: &'t [String],
        max: usize,
    ) -> impl Iterator<Item = T> + use<'t, T>
    where
        T: for<'a> TryFrom<&'a str, Error = Invalid>,
    {
        self.at_most(field, texts.len(), max);
        let kept: Vec<T> = texts
            .iter()
            .take(max)
            .enumerate()
            .filter_map(|(index, text)| self.text(format_args!("{field}[{index}]"), text))
            .collect();
        kept.into_iter()
    }

    /// Reports a list or map that holds more than `max` items.
    pub(crate) fn at_most(&mut self, field: &str, count: usize, max: usize) {
        if count > max {
            self.refuse(field, format!("must hold at most {max} items; got {count}"));
        }
    }

    /// Reports items whose `key` an earlier item has already; `None` keys were reported before.
    pub(crate) fn distinct<'k>(&mut self, list: &str, key: &str, keys: impl Iterator<Item = Option<&'k str>>) {
        let mut seen = std::collections::BTreeMap::new();
        for (index, text) in keys.enumerate().filter_map(|(index, text)| text.map(|text| (index, text))) {
            match seen.get(text) {
                Some(first) => self.refuse(
                    format_args!("{list}[{index}].{key}"),
                    format!("must be distinct; \"{text}\" is also {list}[{first}].{key}"),
                ),
                None => {
                    seen.insert(text, index);
                }
            }
        }
    }
}
