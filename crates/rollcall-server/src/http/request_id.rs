//! Request ids: the caller's, when it sent a usable one, else a number that is unique to this process.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderValue};
use rollcall_api::headers;

/// Longest request id taken over from a caller, bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;
/// Eight hexadecimal digits and a dash, in front of the number.
const PREFIX_BYTES: usize = 9;
/// Digits of the largest number.
const NUMBER_BYTES_MAX: usize = 20;

/// Gives every request its id.
pub(super) struct RequestIds {
    prefix: [u8; PREFIX_BYTES],
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        Self::of_process(rand::random())
    }

    fn of_process(process: u32) -> Self {
        let mut prefix = [b'-'; PREFIX_BYTES];
        prefix[..8].copy_from_slice(format!("{process:08x}").as_bytes());
        Self { prefix, next: AtomicU64::new(1) }
    }

    /// The id of a request with these headers.
    pub(super) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let given = headers.get(headers::REQUEST_ID);
        let is_usable = |id: &&HeaderValue| {
            (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        given.filter(is_usable).cloned().unwrap_or_else(|| self.fresh())
    }

    fn fresh(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut text = [0; PREFIX_BYTES + NUMBER_BYTES_MAX];
        text[..PREFIX_BYTES].copy_from_slice(&self.prefix);
        let mut room = &mut text[PREFIX_BYTES..];
        write!(room, "{number}").expect("there is room for every number");
        let unused = room.len();
        HeaderValue::from_bytes(&text[..text.len() - unused]).expect("hexadecimal digits and a number")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_callers_when_it_can_be_printed_and_is_short() {
        let ids = RequestIds::of_process(0xa1);
        let id = |given: &str| {
            let value = HeaderValue::from_str(given).unwrap();
            ids.of(&HeaderMap::from_iter([(headers::REQUEST_ID, value)])).to_str().unwrap().to_owned()
        };
        assert_eq!(id("mine"), "mine");
        assert_eq!(id(""), "000000a1-1");
        assert_eq!(id("two words"), "000000a1-2");
        assert_eq!(id(&"x".repeat(REQUEST_ID_BYTES_MAX + 1)), "000000a1-3");
    }

    #[test]
    fn numbers_go_on_to_the_last() {
        let ids = RequestIds::of_process(u32::MAX);
        ids.next.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(ids.of(&HeaderMap::new()), "ffffffff-18446744073709551615");
    }
}
