//! Properties that hold for every log.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;
use rollcall_catalog::{Applied, Catalog, Change, Command, Refusal, Reply, RequestId};
use rollcall_types::{Revision, Status, UnixMillis};

use crate::given::{content, import, stream};
use crate::model::{Model, ModelService};
use crate::traffic::{CAPABILITIES, Entry, STRIDE, TAGS, log, moves, play, replay};

/// Longest random log. Long enough for every pair of commands to meet, short enough to read when it fails.
const MOVES_MAX: usize = 80;

fn config() -> ProptestConfig {
    let persistence = FileFailurePersistence::Direct("tests/catalog/replicas.proptest-regressions");
    ProptestConfig { cases: 96, failure_persistence: Some(Box::new(persistence)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn replicas_given_the_same_log_are_equal(moves in moves(MOVES_MAX)) {
        let log = log(&moves);
        let (mut one, mut other) = (Catalog::default(), Catalog::default());
        for entry in &log {
            prop_assert_eq!(play(&mut one, entry), play(&mut other, entry));
        }
        prop_assert_eq!(stream(&one), stream(&other));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn a_copy_made_from_a_snapshot_is_equal_and_stays_equal(moves in moves(MOVES_MAX), cut in any::<Index>()) {
        let log = log(&moves);
        let cut = cut.index(log.len());
        let mut original = replay(&log[..cut]);
        let mut copy = import(original.export()).expect("an exported stream is taken");
        prop_assert_eq!(&copy, &original);
        prop_assert_eq!(stream(&copy), stream(&original));
        for entry in &log[cut..] {
            prop_assert_eq!(play(&mut copy, entry), play(&mut original, entry));
        }
        prop_assert_eq!(stream(&copy), stream(&original));
        prop_assert_eq!(copy, original);
    }

    #[test]
    fn the_catalogue_agrees_with_a_plain_model(moves in moves(MOVES_MAX)) {
        let (mut catalog, mut model) = (Catalog::default(), Model::new());
        for entry in &log(&moves) {
            let applied = play(&mut catalog, entry);
            if let (Some(applied), Some(request)) = (applied, &entry.request) {
                prop_assert_eq!(applied.outcome, model.apply(entry.revision, request), "{:?}", request);
            }
            agree(&catalog, &model)?;
        }
    }

    #[test]
    fn indexes_and_counts_agree_with_a_recount(moves in moves(MOVES_MAX)) {
        let mut catalog = Catalog::default();
        for entry in &log(&moves) {
            play(&mut catalog, entry);
            recount(&catalog)?;
        }
        // The importer counts bytes and carriers of tags from nothing, and equality looks at every counter.
        prop_assert_eq!(import(catalog.export()).expect("an exported stream is taken"), catalog);
    }

    #[test]
    fn an_instance_keeps_its_slot_from_its_registration_to_its_removal(moves in moves(MOVES_MAX)) {
        let mut catalog = Catalog::default();
        let mut given: BTreeMap<Revision, u32> = BTreeMap::new();
        for entry in &log(&moves) {
            play(&mut catalog, entry);
            for instance in catalog.services().flat_map(|service| service.instances.values()) {
                prop_assert_eq!(*given.entry(instance.created).or_insert(instance.slot), instance.slot);
            }
        }
    }

    #[test]
    fn a_recorded_status_changes_no_registration_and_no_modified(moves in moves(MOVES_MAX)) {
        let registered = |catalog: &Catalog| {
            let services = catalog.services().map(|service| (**service).clone());
            services.collect::<Vec<_>>()
        };
        let mut catalog = Catalog::default();
        for entry in &log(&moves) {
            let before = registered(&catalog);
            play(&mut catalog, entry);
            let command = entry.request.as_ref().map(|request| &request.command);
            if matches!(command, Some(Command::RecordStatuses { .. })) {
                prop_assert_eq!(registered(&catalog), before);
            }
        }
    }

    #[test]
    fn transitions_of_an_instance_link_up(moves in moves(MOVES_MAX)) {
        let mut status: BTreeMap<(u32, Revision), (Status, UnixMillis)> = BTreeMap::new();
        let mut catalog = Catalog::default();
        for entry in &log(&moves) {
            let Some(event) = play(&mut catalog, entry).and_then(|applied| applied.event) else { continue };
            let Change::StatusesChanged { transitions } = &event.change else { continue };
            prop_assert!(!transitions.is_empty());
            for transition in transitions.iter() {
                let instance = catalog.instance(&transition.service, &transition.id).expect("it is there");
                prop_assert_eq!((&instance.service, instance.slot), (&transition.service, transition.slot));
                let unseen = (Status::Unknown, instance.registered_at);
                let last = status.entry((instance.slot, instance.created)).or_insert(unseen);
                prop_assert_eq!(last.0, transition.from);
                if transition.is_of_instance() {
                    *last = (transition.to, event.at);
                }
            }
            for transition in transitions.iter() {
                let instance = catalog.instance(&transition.service, &transition.id).expect("it is there");
                let journaled = catalog.journaled(instance);
                prop_assert_eq!((journaled.status, journaled.since), status[&(instance.slot, instance.created)]);
                prop_assert_eq!(journaled.revision, event.revision);
            }
        }
    }

    #[test]
    fn a_refused_or_replayed_request_changes_no_content(moves in moves(MOVES_MAX)) {
        let mut catalog = Catalog::default();
        let mut before = content(&catalog);
        for entry in &log(&moves) {
            let applied = play(&mut catalog, entry);
            let now = content(&catalog);
            if applied.as_ref().is_none_or(changed_nothing) {
                prop_assert_eq!(&now, &before, "{:?}", applied);
            }
            before = now;
        }
    }

    #[test]
    fn a_clone_is_untouched_by_what_is_applied_later(moves in moves(MOVES_MAX), cut in any::<Index>()) {
        let log = log(&moves);
        let cut = cut.index(log.len());
        let mut catalog = replay(&log[..cut]);
        let (clone, written) = (catalog.clone(), stream(&catalog));
        for entry in &log[cut..] {
            play(&mut catalog, entry);
        }
        prop_assert_eq!(stream(&clone), written);
        prop_assert_eq!(clone, replay(&log[..cut]));
    }

    #[test]
    fn events_after_a_cursor_are_those_that_apply_returned(moves in moves(MOVES_MAX)) {
        let log = log(&moves);
        let mut catalog = Catalog::default();
        let returned: Vec<_> = log.iter().filter_map(|entry| play(&mut catalog, entry)?.event).collect();
        prop_assert_eq!(catalog.events().iter().collect::<Vec<_>>(), returned.iter().collect::<Vec<_>>());
        for cursor in (0..=(log.len() as u64 + 1) * STRIDE).map(Revision::new) {
            let after: Vec<_> = catalog.events().after(cursor).expect("nothing is compacted").collect();
            let expected: Vec<_> = returned.iter().filter(|event| event.revision > cursor).collect();
            prop_assert_eq!(after, expected, "after {}", cursor);
        }
    }

    #[test]
    fn a_retry_gets_the_first_answer_and_is_not_applied_again(
        moves in moves(MOVES_MAX),
        later in proptest::collection::vec(any::<Index>(), MOVES_MAX),
    ) {
        let log = log(&moves);
        let retries = place_retries(&log, &later);
        let mut catalog = Catalog::default();
        let mut first: Vec<Option<Applied>> = Vec::new();
        let mut floors: BTreeMap<String, u64> = BTreeMap::new();
        for (at, entry) in log.iter().enumerate() {
            let applied = play(&mut catalog, entry);
            raise_floor(&mut floors, entry, applied.as_ref());
            first.push(applied);
            for (slot, retried) in retries.get(&at).into_iter().flatten().enumerate() {
                let revision = Revision::new(entry.revision.get() + slot as u64 + 1);
                let retry = Entry { revision, request: log[*retried].request.clone() };
                let again = play(&mut catalog, &retry).expect("a retry is a request");
                prop_assert_eq!(&again.event, &None);
                let original = first[*retried].as_ref().expect("a request was answered");
                let forgotten = is_forgotten(&floors, &retry);
                let expected = if forgotten { &Reply::Refused(Refusal::AnswerForgotten) } else { &original.outcome.reply };
                prop_assert_eq!(&again.outcome.reply, expected);
            }
        }
        prop_assert_eq!(content(&catalog), content(&replay(&log)), "as if no retry had come");
    }
}

/// Refused, replayed, or a write that found things as it wanted them.
fn changed_nothing(applied: &Applied) -> bool {
    let is_idle = match &applied.outcome.reply {
        Reply::Written { changed, .. } => !changed,
        Reply::Removed { existed } => !existed,
        Reply::StatusesRecorded { transitions } => *transitions == 0,
        // What it read and wrote is told even when it was there already; the content tells what changed.
        Reply::Transacted { .. } => false,
        Reply::Refused(_) => true,
        // A known node is told its id again; the content tells which it was.
        Reply::NodeAllocated { .. } => false,
    };
    is_idle || applied.outcome.replayed
}

fn agree(catalog: &Catalog, model: &Model) -> Result<(), TestCaseError> {
    let services = catalog.services().map(|service| {
        let definition = service.defined.zip(service.definition.as_deref().cloned());
        let instances = service.instances.iter();
        let instances = instances.map(|(id, it)| (id.clone(), ((**it).clone(), catalog.journaled(it))));
        ModelService {
            name: service.name.clone(),
            definition,
            config: service.config.as_deref().cloned(),
            instances: instances.collect(),
            created: service.created,
            modified: service.modified,
        }
    });
    prop_assert_eq!(services.collect::<Vec<_>>(), model.services.values().cloned().collect::<Vec<_>>());
    let kv = catalog.kv_prefix("").map(|(key, entry)| (key.clone(), (**entry).clone()));
    prop_assert_eq!(kv.collect::<BTreeMap<_, _>>(), model.kv.clone());
    let nodes = catalog.nodes().map(|(node, record)| (*node, record.clone()));
    prop_assert_eq!(nodes.collect::<BTreeMap<_, _>>(), model.nodes.clone());
    let sessions = catalog.lock_sessions().iter();
    let sessions = sessions.map(|(id, it)| (*id, ((*it.spec).clone(), it.created, it.renewed)));
    prop_assert_eq!(sessions.collect::<BTreeMap<_, _>>(), model.locks.sessions.clone());
    let delays = catalog.lock_delays().iter().map(|(key, delay)| (key.clone(), delay.since));
    prop_assert_eq!(delays.collect::<BTreeMap<_, _>>(), model.locks.delays.clone());
    prop_assert_eq!(catalog.clock(), model.clock);
    Ok(())
}

fn recount(catalog: &Catalog) -> Result<(), TestCaseError> {
    let in_use: Vec<u32> =
        catalog.services().flat_map(|service| service.instances.values()).map(|it| it.slot).collect();
    let slots: BTreeSet<u32> = in_use.iter().copied().collect();
    prop_assert_eq!(slots.len(), in_use.len(), "a slot is shared: {:?}", in_use);
    prop_assert_eq!(catalog.slots_end(), slots.last().map_or(0, |last| last + 1));
    let instances: usize = catalog.services().map(|service| service.instances.len()).sum();
    prop_assert_eq!(catalog.instance_count(), instances as u64);
    prop_assert_eq!(catalog.service_count(), catalog.services().count());
    for tag in TAGS {
        let carriers = catalog.services().filter(|service| {
            let defined = service.definition.iter().flat_map(|definition| definition.tags.iter());
            let carried = service.instances.values().flat_map(|instance| instance.spec.tags.iter());
            defined.chain(carried).any(|carried| carried.as_str() == *tag)
        });
        prop_assert!(catalog.tagged(&tag.parse().unwrap()).eq(carriers), "tag {}", tag);
    }
    let mut offered = BTreeSet::new();
    for capability in CAPABILITIES.iter().map(|capability| capability.parse().unwrap()) {
        let offering = |service: &&std::sync::Arc<_>| {
            let service: &rollcall_catalog::Service = service;
            service.definition.as_ref().is_some_and(|definition| definition.capabilities.contains(&capability))
        };
        let count = catalog.services().filter(offering).count();
        prop_assert!(catalog.offering(&capability).eq(catalog.services().filter(offering)), "{}", capability);
        offered.extend((count > 0).then(|| (capability.clone(), count)));
    }
    let counted = catalog.capabilities().map(|(capability, count)| (capability.clone(), count));
    prop_assert_eq!(counted.collect::<BTreeSet<_>>(), offered);
    Ok(())
}

/// For each entry of the log the earlier requests that arrive again after it: every request with an id once, as long
/// as there is room between the revisions.
fn place_retries(log: &[Entry], later: &[Index]) -> BTreeMap<usize, Vec<usize>> {
    let mut places: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, (entry, later)) in log.iter().zip(later).enumerate() {
        let has_id = entry.request.as_ref().is_some_and(|request| request.id.is_some());
        let place = places.entry(at + later.index(log.len() - at)).or_default();
        if has_id && (place.len() as u64) < STRIDE - 1 {
            place.push(at);
        }
    }
    places
}

/// Keeps below which number the answers of each session are forgotten.
fn raise_floor(floors: &mut BTreeMap<String, u64>, entry: &Entry, applied: Option<&Applied>) {
    let is_new = applied.is_some_and(|applied| {
        !applied.outcome.replayed && applied.outcome.reply != Reply::Refused(Refusal::AnswerForgotten)
    });
    if let (true, Some((client, sequence, below))) = (is_new, sequence_of(entry)) {
        let floor = floors.entry(client).or_default();
        *floor = (*floor).max(below.min(sequence));
    }
}

fn is_forgotten(floors: &BTreeMap<String, u64>, entry: &Entry) -> bool {
    sequence_of(entry).is_some_and(|(client, sequence, _)| floors.get(&client).is_some_and(|floor| sequence < *floor))
}

fn sequence_of(entry: &Entry) -> Option<(String, u64, u64)> {
    match entry.request.as_ref()?.id.as_ref()? {
        RequestId::Sequence { client, sequence, acknowledged_below } => {
            Some((client.to_string(), *sequence, *acknowledged_below))
        }
        RequestId::Key { .. } => None,
    }
}
