//! A small number for every instance, and by that number what the journal says about it.
//!
//! Observers speak of instances by number ([`Instance::slot`](crate::Instance::slot)), 64 neighbours in one message, so
//! numbers must stay close together: a new instance takes the lowest that is free. It keeps it until it is removed.
//!
//! What the journal says lies beside the instances and not in them. A transition of 4,096 instances then writes 64 runs of
//! neighbours instead of 4,096 records in the maps of their services; readers and events keep the record that they hold;
//! and an instance's `modified` means what it says. The price is 48 bytes for each slot.

use imbl::{OrdMap, Vector};
use rollcall_types::UnixMillis;

use crate::record::Journaled;

/// The slots of a catalogue.
///
/// Invariants:
/// - `journaled` has one entry for every slot up to the highest in use; that of a free one is [`Journaled::NOTHING`].
/// - `free` maps the first of each run of free slots below the highest in use to the end of the run, which is no part of
///   it. Runs are not empty and do not touch, so equal slots have equal maps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Slots {
    journaled: Vector<Journaled>,
    free: OrdMap<u32, u32>,
}

impl Slots {
    /// One above the highest slot in use.
    pub(crate) fn end(&self) -> u32 {
        // There are at most `INSTANCES_MAX` instances, and a new one takes the lowest free slot.
        self.journaled.len() as u32
    }

    /// What the journal says about the instance in `slot`.
    pub(crate) fn journaled(&self, slot: u32) -> Option<Journaled> {
        self.journaled.get(slot as usize).copied()
    }

    /// Writes down what the journal says about the instance in `slot`.
    pub(crate) fn record(&mut self, slot: u32, journaled: Journaled) {
        self.journaled.set(slot as usize, journaled);
    }

    /// The lowest free slot, for an instance that is registered `at`.
    pub(crate) fn take(&mut self, at: UnixMillis) -> u32 {
        let new = Journaled::unseen(at);
        let Some((first, end)) = self.free.get_min().copied() else {
            self.journaled.push_back(new);
            return self.end() - 1;
        };
        self.free.remove(&first);
        if first + 1 < end {
            self.free.insert(first + 1, end);
        }
        self.record(first, new);
        first
    }

    /// Frees the slot of an instance that is removed.
    pub(crate) fn release(&mut self, slot: u32) {
        let before = self.free.get_prev(&slot).map(|(first, end)| (*first, *end)).filter(|(_, end)| *end == slot);
        let first = before.map_or(slot, |(first, _)| first);
        if slot + 1 == self.end() {
            self.free.remove(&first);
            self.journaled.truncate(first as usize);
            return;
        }
        let end = self.free.remove(&(slot + 1)).unwrap_or(slot + 1);
        self.free.insert(first, end);
        self.record(slot, Journaled::NOTHING);
    }

    /// The slots in which these are; `None` is a free one. The last is in use.
    pub(crate) fn restore(used: Vec<Option<Journaled>>) -> Self {
        let mut free = OrdMap::new();
        let mut run = None;
        for (slot, used) in (0_u32..).zip(&used) {
            match (used, run) {
                (None, None) => run = Some(slot),
                (Some(_), Some(first)) => {
                    free.insert(first, slot);
                    run = None;
                }
                _ => {}
            }
        }
        Self { journaled: used.into_iter().map(Option::unwrap_or_default).collect(), free }
    }
}

/// Puts what the journal says about an instance into its place among those that were read; false when another has it.
/// The caller has checked that there can be such a slot.
pub(crate) fn place(used: &mut Vec<Option<Journaled>>, slot: u32, journaled: Journaled) -> bool {
    let slot = slot as usize;
    if used.len() <= slot {
        used.resize(slot + 1, None);
    }
    used[slot].replace(journaled).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(count: u32) -> Slots {
        let mut slots = Slots::default();
        (0..count).for_each(|slot| assert_eq!(slots.take(UnixMillis::new(1)), slot));
        slots
    }

    #[track_caller]
    fn check(slots: &Slots, end: u32, free: &[(u32, u32)]) {
        assert_eq!(slots.end(), end);
        assert_eq!(slots.free.iter().map(|(first, end)| (*first, *end)).collect::<Vec<_>>(), free);
    }

    #[test]
    fn runs_of_free_slots_join_and_are_taken_from_below() {
        let mut slots = taken(8);
        for slot in [2, 5, 4, 1] {
            slots.release(slot);
        }
        check(&slots, 8, &[(1, 3), (4, 6)]);
        slots.release(3);
        check(&slots, 8, &[(1, 6)]);
        assert_eq!([slots.take(UnixMillis::new(2)), slots.take(UnixMillis::new(2))], [1, 2]);
        check(&slots, 8, &[(3, 6)]);
    }

    #[test]
    fn the_end_falls_past_all_that_is_free_below_it() {
        let mut slots = taken(8);
        for slot in [6, 5, 2] {
            slots.release(slot);
        }
        slots.release(7);
        check(&slots, 5, &[(2, 3)]);
        [4, 3].into_iter().for_each(|slot| slots.release(slot));
        check(&slots, 2, &[]);
        [0, 1].into_iter().for_each(|slot| slots.release(slot));
        assert_eq!(slots, Slots::default());
    }

    #[test]
    fn a_slot_starts_anew_with_every_tenant() {
        let mut slots = taken(2);
        slots
            .record(0, Journaled { critical_since: Some(UnixMillis::new(1)), ..Journaled::unseen(UnixMillis::new(1)) });
        slots.release(0);
        assert_eq!(slots.journaled(0), Some(Journaled::NOTHING));
        assert_eq!(slots.take(UnixMillis::new(9)), 0);
        assert_eq!(slots.journaled(0), Some(Journaled::unseen(UnixMillis::new(9))));
    }

    #[test]
    fn what_was_placed_in_any_order_is_what_was_there() {
        let mut slots = taken(9);
        [0, 3, 4, 7].into_iter().for_each(|slot| slots.release(slot));
        let mut used = Vec::new();
        for slot in [8, 1, 6, 2, 5] {
            assert!(place(&mut used, slot, Journaled::unseen(UnixMillis::new(1))));
        }
        assert_eq!(Slots::restore(used.clone()), slots);
        assert!(!place(&mut used, 5, Journaled::NOTHING), "it is taken");
    }
}
