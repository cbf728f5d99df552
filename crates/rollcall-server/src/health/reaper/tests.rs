use rollcall_catalog::{Command, Precondition};
use rollcall_health::journal::Scope;
use rollcall_health::{Slot, Status};
use rollcall_types::{InstanceSpec, Millis};

use super::*;
use crate::health::fixture::Fixture;

const AFTER: Millis = Millis::new(10_000);
const ALL_WELL: Census = Census { failed: 0, total: 3 };

fn millis(number: u64) -> UnixMillis {
    UnixMillis::new(number)
}

/// A service of which these fail since second 1, at a second of the log.
fn round(count: usize, failing: &[usize], nodes: Census, second: u64) -> Round {
    let mut fixture = Fixture::of(count, Some(AFTER));
    fixture.journal(failing.iter().copied(), Status::Critical, millis(1_000));
    let snapshot = fixture.see(failing.iter().copied(), Some(Status::Critical), millis(1_000));
    let critical = failing.iter().map(|number| Slot::new(u32::try_from(*number).unwrap()).unwrap()).collect();
    let now = (millis(second * 1_000), MonoTime::default());
    Reaper::default().round(&fixture.catalog, &snapshot, &critical, nodes, now)
}

#[test]
fn the_others_are_asked_once_the_time_is_over() {
    assert!(round(10, &[3], ALL_WELL, 10).asked.is_empty());
    let asked = round(10, &[3], ALL_WELL, 11).asked;
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].2, Duration::from_secs(10));
}

#[test]
fn nothing_goes_while_most_of_a_service_or_of_the_nodes_failed() {
    let half = round(4, &[0, 1], ALL_WELL, 60);
    assert_eq!((half.asked.len(), half.protected), (2, 0));
    let most = round(4, &[0, 1, 2], ALL_WELL, 60);
    assert_eq!((most.asked.len(), most.protected), (0, 1));
    let nodes = round(4, &[0], Census { failed: 2, total: 3 }, 60);
    assert_eq!((nodes.asked.len(), nodes.protected), (0, 1));
}

#[test]
fn a_mass_of_small_failures_is_asked_about_in_portions() {
    let failing: Vec<usize> = (0..ASKED_MAX + 8).collect();
    assert_eq!(round(200, &failing, ALL_WELL, 60).asked.len(), ASKED_MAX);
}

/// It was deregistered seconds after it had been started anew, while it was still getting ready.
#[test]
fn who_is_registered_anew_has_all_the_time_again() {
    let mut fixture = Fixture::of(10, Some(AFTER));
    fixture.journal([3], Status::Critical, millis(1_000));
    let slot = Slot::new(3).unwrap();
    let asked = |fixture: &mut Fixture, second: u64| {
        let snapshot = fixture.see([3], Some(Status::Critical), millis(1_000));
        let now = (millis(second * 1_000), MonoTime::default());
        Reaper::default().round(&fixture.catalog, &snapshot, &[slot].into(), ALL_WELL, now).asked.len()
    };
    assert_eq!(asked(&mut fixture, 11), 1);
    let before =
        fixture.catalog.services().flat_map(|service| service.instances.values()).find(|it| slot_of(it) == Some(slot));
    let before = before.unwrap().clone();
    let spec = InstanceSpec { zone: Some("b".parse().unwrap()), ..(*before.spec).clone() };
    let (service, id, spec) = (before.service.clone(), before.id.clone(), Arc::new(spec));
    fixture.apply(millis(10_000), Command::Register { service, id, spec, expect: Precondition::None });
    assert_eq!((asked(&mut fixture, 19), asked(&mut fixture, 20)), (0, 1));
}

#[test]
fn any_node_can_tell_what_protects_an_instance() {
    let mut fixture = Fixture::of(2, Some(AFTER));
    fixture.journal([0, 1], Status::Critical, millis(1_000));
    let snapshot = fixture.see([0, 1], Some(Status::Critical), millis(1_000));
    let instance = snapshot.tenant(Slot::new(0).unwrap()).unwrap();
    let at_once = |since| Failures::at_once(&mut None, &fixture.catalog, instance, since);
    let told = protection((&fixture.catalog, &snapshot), instance, ALL_WELL, at_once, millis(60_000)).unwrap();
    assert_eq!((told.scope, told.census), (Scope::Service, Census { failed: 2, total: 2 }));
    assert!(
        protection((&fixture.catalog, &snapshot), instance, ALL_WELL, at_once, millis(2_000)).is_none(),
        "not due yet"
    );
}
