//! The one error of this crate: a value broke a rule.

use std::borrow::Cow;
use std::fmt;

/// Longest excerpt of a refused value that is kept, in characters.
const GOT_MAX: usize = 80;

/// A refused value: the rule it broke and the start of what was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The rule, as a sentence part after "must": "be 1 to 63 letters, digits, '-' or '_'".
    pub rule: Cow<'static, str>,
    /// The value as given, cut after 80 characters and with control characters escaped.
    pub got: String,
}

impl Invalid {
    /// Describes a value that broke `rule`.
    pub fn new(rule: impl Into<Cow<'static, str>>, got: impl fmt::Display) -> Self {
        let got = got.to_string();
        let mut excerpt: String = got.chars().take(GOT_MAX).flat_map(char::escape_debug).collect();
        if got.chars().nth(GOT_MAX).is_some() {
            excerpt.push('…');
        }
        Self { rule: rule.into(), got: excerpt }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "must {}; got \"{}\"", self.rule, self.got)
    }
}

impl std::error::Error for Invalid {}
