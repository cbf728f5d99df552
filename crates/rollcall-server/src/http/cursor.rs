//! Page cursors: where a listing goes on, and at which revision.
//!
//! Opaque to callers: `<revision>.<position, percent-encoded>`.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rollcall_types::Revision;

use super::failure::{Failure, Result};

/// Items on a page when the caller does not say.
pub(crate) const PAGE_DEFAULT: usize = 1_000;
/// Most items on a page.
pub(crate) const PAGE_MAX: usize = 10_000;

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The revision that the whole listing is true for.
    pub(crate) revision: Revision,
    /// The last item of the page before.
    pub(crate) after: String,
}

impl Cursor {
    /// The cursor as callers carry it.
    pub(crate) fn encode(&self) -> String {
        format!("{}.{}", self.revision, utf8_percent_encode(&self.after, NON_ALPHANUMERIC))
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn decode(text: &str) -> Result<Self> {
        let parse = || {
            let (revision, after) = text.split_once('.')?;
            let after = percent_decode_str(after).decode_utf8().ok()?.into_owned();
            Some(Self { revision: revision.parse().ok()?, after })
        };
        parse().ok_or_else(|| Failure::parameter("cursor", "must be the next_cursor of an earlier page, unchanged"))
    }
}

/// The page size asked for.
pub(crate) fn page_size(limit: Option<u32>) -> Result<usize> {
    match limit.map(usize::try_from) {
        None => Ok(PAGE_DEFAULT),
        Some(Ok(limit)) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(Failure::parameter("limit", format!("must be 1 to {PAGE_MAX}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_whatever_the_position_holds() {
        for after in ["web-1", "a/b#c.d%", "zwölf ", ""] {
            let cursor = Cursor { revision: Revision::new(41), after: after.to_owned() };
            assert_eq!(Cursor::decode(&cursor.encode()).unwrap(), cursor);
        }
    }

    #[test]
    fn what_is_not_a_cursor_is_refused() {
        for text in ["", "x", "x.y", "1", "1.%ff"] {
            assert!(Cursor::decode(text).is_err(), "{text}");
        }
    }
}
