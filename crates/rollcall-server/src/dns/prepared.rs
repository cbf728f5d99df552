//! Answers that were given a moment ago, ready to be given again.
//!
//! The key is the query itself, without its id and with its name in lower case: everything that an answer depends on. A hit
//! copies bytes and puts in the id and the name in the case of the query (owner names in an answer point at the question), so
//! it costs neither the codec nor a selection.
//!
//! **It changes nothing about who is selected.** An entry is used while the stamp of its service is the same, so a node that
//! has seen a change answers by it at once; and for [`AGE_MAX`] at most, so load and time go into the answer too. Selection
//! draws near-ties at random, and would do so once for everybody who asks in that time. So an entry holds [`DRAWS`] answers,
//! each drawn on its own, and deals them in turn; the first that many queries fill it.
//!
//! Bounded: [`BYTES_MAX`] in each thread that answers; when full, all of it goes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rollcall_types::ServiceName;

/// Longest use of an entry.
const AGE_MAX: Duration = Duration::from_millis(250);
/// Answers of an entry.
const DRAWS: usize = 16;
/// Bytes of all keys and answers.
const BYTES_MAX: usize = 4 << 20;
/// Where the name begins in a query.
const NAME_AT: usize = 12;
/// Longest query that is looked up; longer ones carry unusual options.
const QUERY_BYTES_MAX: usize = 320;
/// Where a length in a name ceases to be one (RFC 1035 §4.1.4: then it is a pointer).
const LABEL_BYTES_MAX: u8 = 63;

/// The key of a query, in a buffer that is used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Key {
    bytes: Vec<u8>,
    /// Bytes of the name.
    name: usize,
}

impl Key {
    /// Takes the key of a query. `false`: it is not looked up.
    pub(super) fn take(&mut self, query: &[u8]) -> bool {
        self.bytes.clear();
        if query.len() > QUERY_BYTES_MAX || query.len() <= NAME_AT {
            return false;
        }
        let mut at = NAME_AT;
        while let Some(&length) = query.get(at) {
            at += 1 + usize::from(length);
            match length {
                0 => {
                    self.bytes.extend_from_slice(&query[2..]);
                    self.name = at - NAME_AT;
                    // Lengths are below the letters, so the whole name can be folded as one.
                    self.bytes[NAME_AT - 2..at - 2].make_ascii_lowercase();
                    return true;
                }
                1..=LABEL_BYTES_MAX => {}
                _ => return false,
            }
        }
        false
    }
}

struct Entry<S> {
    service: ServiceName,
    stamp: S,
    born: Instant,
    draws: Vec<Box<[u8]>>,
    next: usize,
}

/// Answers of one thread.
pub(super) struct Prepared<S> {
    entries: HashMap<Box<[u8]>, Entry<S>>,
    bytes: usize,
}

impl<S> Default for Prepared<S> {
    fn default() -> Self {
        Self { entries: HashMap::new(), bytes: 0 }
    }
}

impl<S: PartialEq> Prepared<S> {
    /// Writes the answer to `query`, whose key is `key`, into `out`. `false`: there is none, and a new draw is wanted.
    pub(super) fn answer(
        &mut self,
        key: &Key,
        query: &[u8],
        now: Instant,
        stamp: impl FnOnce(&ServiceName) -> Option<S>,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(&key.bytes[..]) else { return false };
        if now.duration_since(entry.born) > AGE_MAX || stamp(&entry.service).as_ref() != Some(&entry.stamp) {
            self.forget(key);
            return false;
        }
        if entry.draws.len() < DRAWS {
            return false;
        }
        let draw = &entry.draws[entry.next % DRAWS];
        entry.next = entry.next.wrapping_add(1);
        out.clear();
        out.extend_from_slice(draw);
        out[..2].copy_from_slice(&query[..2]);
        let name = NAME_AT..NAME_AT + key.name;
        out[name.clone()].copy_from_slice(&query[name]);
        true
    }

    /// Keeps an answer that was made from `stamp`.
    pub(super) fn keep(&mut self, key: &Key, service: &ServiceName, stamp: S, answer: &[u8], now: Instant) {
        if answer.len() < NAME_AT + key.name {
            return;
        }
        if self.bytes + answer.len() + key.bytes.len() > BYTES_MAX {
            *self = Self::default();
        }
        let entry = match self.entries.get_mut(&key.bytes[..]) {
            Some(entry) => entry,
            None => {
                self.bytes += key.bytes.len();
                let fresh = Entry { service: service.clone(), stamp, born: now, draws: Vec::new(), next: 0 };
                self.entries.entry(key.bytes.as_slice().into()).or_insert(fresh)
            }
        };
        if entry.draws.len() < DRAWS {
            self.bytes += answer.len();
            entry.draws.push(answer.into());
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some((key, entry)) = self.entries.remove_entry(&key.bytes[..]) {
            self.bytes -= key.len() + entry.draws.iter().map(|draw| draw.len()).sum::<usize>();
        }
    }
}
