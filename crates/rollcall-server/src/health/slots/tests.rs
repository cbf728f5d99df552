use rollcall_catalog::{Actor, Command, Precondition, Request};
use rollcall_types::{InstanceId, InstanceSpec, Metadata, ServiceName, Tags, UnixMillis, Weight};

use super::*;

fn service() -> ServiceName {
    "web".parse().unwrap()
}

fn id(text: &str) -> InstanceId {
    InstanceId::try_from(text).unwrap()
}

fn apply(catalog: &Catalog, command: Command) -> Catalog {
    let mut next = catalog.clone();
    let actor = Actor { name: "ann".parse().unwrap(), via: "n1".parse().unwrap() };
    let request = Request { id: None, at: UnixMillis::default(), actor, command };
    next.apply(Revision::new(catalog.revision().get() + 1), &request);
    next
}

fn registered(catalog: &Catalog, name: &str, weight: u64) -> Catalog {
    let spec = InstanceSpec {
        endpoints: Box::default(),
        zone: None,
        region: None,
        version: None,
        tags: Tags::new(),
        metadata: Metadata::new(),
        weight: Weight::try_from(weight).unwrap(),
        lease: None,
        checks: Box::default(),
        deregister_after: None,
    };
    let expect = Precondition::None;
    apply(catalog, Command::Register { service: service(), id: id(name), spec: Arc::new(spec), expect })
}

fn removed(catalog: &Catalog, name: &str) -> Catalog {
    let expect = Precondition::None;
    apply(catalog, Command::Deregister { service: service(), id: id(name), expect, reason: None })
}

/// The changes as text: the ids that a slot had and has.
fn follow(slots: &mut Slots, catalog: &Catalog) -> Vec<String> {
    let changes = slots.follow(Arc::new(catalog.clone()));
    let name = |instance: &Option<Arc<Instance>>| instance.as_ref().map_or("-".to_owned(), |it| it.id.to_string());
    let shown = changes.slots.iter().map(|it| format!("{}: {} → {}", it.slot.get(), name(&it.before), name(&it.after)));
    shown.collect()
}

#[test]
fn who_comes_goes_and_takes_a_free_slot_is_told_once() {
    let mut slots = Slots::new();
    let catalog = registered(&registered(&Catalog::default(), "a", 1), "b", 1);
    assert_eq!(follow(&mut slots, &catalog), ["0: - → a", "1: - → b"]);
    assert_eq!(follow(&mut slots, &catalog), Vec::<String>::new());
    let catalog = registered(&removed(&catalog, "a"), "c", 1);
    assert_eq!(follow(&mut slots, &catalog), ["0: a → c"]);
    assert_eq!(slots.tenant(Slot::new(0).unwrap()).unwrap().id, id("c"));
    let catalog = removed(&registered(&catalog, "d", 1), "d");
    assert_eq!(follow(&mut slots, &catalog), Vec::<String>::new(), "it came and went between two looks");
    let catalog = removed(&catalog, "b");
    assert_eq!(follow(&mut slots, &catalog), ["1: b → -"]);
    assert_eq!(slots.tenants().len(), 1, "free slots at the end are let go");
}

#[test]
fn another_registration_is_a_change_of_the_same_tenant() {
    let mut slots = Slots::new();
    let catalog = registered(&Catalog::default(), "a", 1);
    follow(&mut slots, &catalog);
    let before = slots.tenant(Slot::new(0).unwrap()).cloned().unwrap();
    let catalog = registered(&catalog, "a", 2);
    assert_eq!(follow(&mut slots, &catalog), ["0: a → a"]);
    let after = slots.tenant(Slot::new(0).unwrap()).cloned().unwrap();
    assert_eq!((tenancy_of(&before), before.spec.weight.get()), (tenancy_of(&after), 1));
    assert_eq!(after.spec.weight.get(), 2);
}

#[test]
fn when_events_are_forgotten_all_slots_are_read_anew() {
    let mut slots = Slots::new();
    let catalog = registered(&registered(&Catalog::default(), "a", 1), "b", 1);
    follow(&mut slots, &catalog);
    let mut catalog = registered(&removed(&catalog, "a"), "c", 1);
    for weight in 0..=rollcall_catalog::EVENTS_MAX as u64 {
        catalog = registered(&catalog, "c", 2 + weight % 2);
    }
    assert!(catalog.events().after(slots.catalog().revision()).is_none());
    assert_eq!(follow(&mut slots, &catalog), ["0: a → c"]);
}

#[test]
fn a_definition_is_news_when_it_expects_another_response_time() {
    let mut slots = Slots::new();
    let define = |catalog: &Catalog, expected: Option<u64>, requests: u32| {
        let definition = rollcall_types::ServiceDefinition {
            expected_response_time: expected.map(rollcall_types::Millis::new),
            max_concurrent_requests: Some(requests),
            ..Default::default()
        };
        let expect = Precondition::None;
        apply(catalog, Command::Define { service: service(), definition: Arc::new(definition), expect })
    };
    let mut redefined = |catalog: &Catalog| slots.follow(Arc::new(catalog.clone())).redefined.len();
    let catalog = define(&Catalog::default(), Some(200), 1);
    assert_eq!(redefined(&catalog), 1);
    let catalog = define(&catalog, Some(200), 2);
    assert_eq!(redefined(&catalog), 0);
    let catalog = define(&catalog, None, 2);
    assert_eq!(redefined(&catalog), 1);
}
