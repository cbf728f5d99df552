//! What instances say of their checks in words, beside their heartbeats.
//!
//! Kept where it was heard and nowhere else: words are for people, change with every heartbeat, and count for nothing. They are
//! not in the log, not in gossip and in no log line.
//!
//! Bounded: [`NOTE_BYTES_MAX`] for a check, [`BYTES_MAX`] for all; what finds no room is not kept.

use std::collections::HashMap;

use rollcall_health::{Slot, Tenancy};
use rollcall_types::CheckId;

/// Longest note that is kept, bytes; of a longer one its beginning.
pub(crate) const NOTE_BYTES_MAX: usize = 4_096;
/// All notes together, bytes.
const BYTES_MAX: usize = 32 << 20;
/// What a note takes besides its text, bytes, roughly.
const OVERHEAD: usize = 96;

/// The notes of all instances that are heard here.
#[derive(Debug, Default)]
pub(super) struct Notes {
    by_slot: HashMap<Slot, Page>,
    bytes: usize,
}

#[derive(Debug)]
struct Page {
    tenancy: Tenancy,
    notes: Vec<(CheckId, Box<str>)>,
}

impl Page {
    fn bytes(&self) -> usize {
        self.notes.iter().map(|(_, note)| note.len() + OVERHEAD).sum()
    }
}

impl Notes {
    /// Keeps what was said of a check last.
    pub(super) fn keep(&mut self, slot: Slot, tenancy: Tenancy, check: &CheckId, note: &str) {
        if self.by_slot.get(&slot).is_some_and(|page| page.tenancy != tenancy) {
            self.forget(slot);
        }
        let note = &note[..note.floor_char_boundary(NOTE_BYTES_MAX)];
        let page = self.by_slot.entry(slot).or_insert_with(|| Page { tenancy, notes: Vec::new() });
        self.bytes -= page.bytes();
        page.notes.retain(|(id, _)| id != check);
        if !note.is_empty() && self.bytes + page.bytes() + note.len() + OVERHEAD <= BYTES_MAX {
            page.notes.push((check.clone(), note.into()));
        }
        self.bytes += page.bytes();
        if page.notes.is_empty() {
            self.by_slot.remove(&slot);
        }
    }

    /// What was said of a check last, if it is known.
    pub(super) fn of(&self, slot: Slot, tenancy: Tenancy, check: &CheckId) -> Option<&str> {
        let page = self.by_slot.get(&slot).filter(|page| page.tenancy == tenancy)?;
        page.notes.iter().find(|(id, _)| id == check).map(|(_, note)| &**note)
    }

    /// Forgets all that was said of an instance.
    pub(super) fn forget(&mut self, slot: Slot) {
        if let Some(page) = self.by_slot.remove(&slot) {
            self.bytes -= page.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use rollcall_types::Revision;

    use super::*;

    fn slot(number: u32) -> Slot {
        Slot::new(number).unwrap()
    }

    fn since(revision: u64) -> Tenancy {
        Tenancy::began_at(Revision::new(revision))
    }

    #[test]
    fn the_last_word_on_a_check_is_kept_for_the_tenant_that_said_it() {
        let (mut notes, db, queue) = (Notes::default(), "db".parse().unwrap(), "queue".parse().unwrap());
        notes.keep(slot(1), since(1), &db, "slow");
        notes.keep(slot(1), since(1), &queue, "long");
        notes.keep(slot(1), since(1), &db, "fine");
        assert_eq!(
            (notes.of(slot(1), since(1), &db), notes.of(slot(1), since(1), &queue)),
            (Some("fine"), Some("long"))
        );
        assert_eq!(notes.of(slot(1), since(2), &db), None, "another instance has the slot");
        notes.keep(slot(1), since(2), &db, "new");
        assert_eq!((notes.of(slot(1), since(2), &queue), notes.by_slot.len()), (None, 1));
        notes.keep(slot(1), since(2), &db, "");
        assert_eq!((notes.by_slot.len(), notes.bytes), (0, 0));
    }

    #[test]
    fn a_note_is_cut_between_letters_and_all_of_them_have_a_bound() {
        let (mut notes, id) = (Notes::default(), "c".parse().unwrap());
        notes.keep(slot(0), since(1), &id, &"é".repeat(NOTE_BYTES_MAX));
        assert_eq!(notes.of(slot(0), since(1), &id).map(str::len), Some(NOTE_BYTES_MAX));
        let long = "x".repeat(NOTE_BYTES_MAX);
        let room = BYTES_MAX / (NOTE_BYTES_MAX + OVERHEAD);
        (0..2 * room as u32).for_each(|number| notes.keep(slot(number), since(1), &id, &long));
        assert_eq!((notes.by_slot.len(), notes.bytes <= BYTES_MAX), (room, true));
        (0..room as u32).for_each(|number| notes.forget(slot(number)));
        assert_eq!(notes.bytes, 0);
    }
}
