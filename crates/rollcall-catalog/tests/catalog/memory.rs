//! What an instance costs beyond its own text.
//!
//! An instance is two allocations, the record and its registration, each behind two reference counts, a list of
//! endpoints, and a slot in the map of its service, where leaves are at least half full. A string is a pointer of 16
//! bytes, already inside the records counted here, and 16 bytes of counts before its text. Tags and metadata are sorted
//! slices that cost what they hold.
//!
//! What the journal says of it lies in a vector by slot, full but for the slots of instances that were removed.
//!
//! The ring of events is bounded, so no cost per instance, and an event shares the record that it speaks of. The indexes
//! cost per service and tag. An allocator that counts would need unsafe code, so sizes are added up instead.

use std::mem::size_of;
use std::sync::Arc;

use rollcall_catalog::{EVENTS_MAX, Event, Instance, Journaled, Transition};
use rollcall_types::{Endpoint, InstanceId, InstanceSpec, MetadataKey, MetadataValue, Tag};

/// The two counts of an `Arc`.
const COUNTS: usize = 2 * size_of::<usize>();
/// Strings of a usual registration: id, service, actor and node, and an endpoint's name, protocol and host.
const STRINGS: usize = 7;

#[test]
fn an_instance_costs_at_most_640_bytes_beside_its_text() {
    let record = COUNTS + size_of::<Instance>();
    let spec = COUNTS + size_of::<InstanceSpec>() + size_of::<Endpoint>();
    let slot = 2 * (size_of::<InstanceId>() + size_of::<Arc<Instance>>());
    let journal = size_of::<Journaled>();
    let total = record + spec + slot + journal + STRINGS * COUNTS;
    assert!(total <= 640, "{record} + {spec} + {slot} + {journal} + {STRINGS} strings = {total}");
}

#[test]
fn four_tags_and_four_metadata_entries_add_at_most_384_bytes_beside_their_text() {
    let tags = 4 * (size_of::<Tag>() + COUNTS);
    let metadata = 4 * (size_of::<MetadataKey>() + size_of::<MetadataValue>() + 2 * COUNTS);
    assert!(tags + metadata <= 384, "{tags} + {metadata}");
}

#[test]
fn a_full_ring_of_events_takes_at_most_10_mebibytes_of_its_own() {
    let ring = EVENTS_MAX * (COUNTS + size_of::<Event>() + size_of::<Arc<Event>>());
    assert!(ring <= 10 << 20, "{ring} bytes");
    let transition = size_of::<Transition>();
    assert!(transition <= size_of::<Event>(), "{transition} bytes: a ring of transitions takes less");
}
