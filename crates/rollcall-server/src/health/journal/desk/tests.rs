use std::time::Duration;

use rollcall_health::journal::ENTRY_GAP_MAX;
use rollcall_types::StatusCause;

use super::*;
use crate::health::fixture::{Fixture, id};

fn millis(number: u64) -> UnixMillis {
    UnixMillis::new(number)
}

/// A moment after which any entry may follow the one before.
fn later(count: u32) -> MonoTime {
    MonoTime::new(Duration::from_secs(1) + ENTRY_GAP_MAX * 2 * count)
}

#[test]
fn a_leader_writes_what_its_log_lacks_and_only_that() {
    let mut fixture = Fixture::of(3, None);
    fixture.journal([0], Status::Passing, millis(5));
    let mut desk = Desk::resume(&fixture.catalog);
    desk.follow(fixture.see([0, 1], Some(Status::Passing), millis(10)), millis(10));
    let entry = desk.next_entry(later(1)).unwrap();
    let written: Vec<_> = entry.iter().map(|change| (change.id.clone(), change.to, change.cause)).collect();
    assert_eq!(written, [(id(1), Status::Passing, StatusCause::Observed)]);
    assert!(desk.next_entry(later(2)).is_none(), "one entry at a time");
    desk.written();
    assert!(desk.next_entry(later(3)).is_none() && desk.waiting() == 0);
}

#[test]
fn what_nobody_sees_for_a_moment_is_not_written() {
    let mut fixture = Fixture::of(1, None);
    fixture.journal([0], Status::Passing, millis(5));
    let mut desk = Desk::resume(&fixture.catalog);
    desk.follow(fixture.see([0], Some(Status::Passing), millis(10)), millis(10));
    desk.follow(fixture.see([0], None, millis(20)), millis(20));
    assert_eq!(desk.waiting(), 0);
    desk.settle(millis(19 + UNKNOWN_STANDS.get()));
    assert_eq!(desk.waiting(), 0, "not yet");
    desk.settle(millis(20 + UNKNOWN_STANDS.get()));
    assert_eq!(desk.next_entry(later(1)).unwrap()[0].to, Status::Unknown);
}

#[test]
fn an_entry_that_failed_is_written_again_as_it_is_by_then() {
    let mut fixture = Fixture::of(1, None);
    let mut desk = Desk::resume(&fixture.catalog);
    desk.follow(fixture.see([0], Some(Status::Critical), millis(10)), millis(10));
    assert_eq!(desk.critical().len(), 1);
    assert_eq!(desk.next_entry(later(1)).unwrap()[0].to, Status::Critical);
    desk.failed();
    desk.follow(fixture.see([0], Some(Status::Passing), millis(20)), millis(20));
    assert!(desk.critical().is_empty());
    assert_eq!(desk.next_entry(later(2)).unwrap()[0].to, Status::Passing, "the failed one may be in the log");
}

#[test]
fn of_an_instance_that_is_gone_nothing_is_written() {
    let mut fixture = Fixture::of(2, None);
    let mut desk = Desk::resume(&fixture.catalog);
    desk.follow(fixture.see([0, 1], Some(Status::Critical), millis(10)), millis(10));
    let gone = fixture.catalog.instance(&"web".parse().unwrap(), &id(0)).unwrap().clone();
    let removal = rollcall_catalog::Command::Deregister {
        service: gone.service.clone(),
        id: gone.id.clone(),
        expect: rollcall_catalog::Precondition::None,
        reason: None,
    };
    fixture.apply(millis(20), removal);
    desk.follow(fixture.see_slot(&gone, millis(20)), millis(20));
    let entry = desk.next_entry(later(1)).unwrap();
    assert_eq!(entry.iter().map(|change| change.id.clone()).collect::<Vec<_>>(), [id(1)]);
    assert_eq!(desk.critical().len(), 1);
}

#[test]
fn that_observers_differ_is_no_news_until_it_stands() {
    assert_eq!(stands(Status::Warning, Cause::Path), DISAGREEMENT_STANDS);
    assert_eq!(stands(Status::Warning, Cause::Unconfirmed), DISAGREEMENT_STANDS);
    for (status, cause) in [
        (Status::Warning, Cause::Observed),
        (Status::Critical, Cause::Confirmed),
        (Status::Critical, Cause::OnlyObserver),
        (Status::Passing, Cause::Observed),
    ] {
        assert_eq!(stands(status, cause), Millis::new(0), "what they agree on is written at once: {status:?}");
    }
}

#[test]
fn a_check_that_changes_alone_is_written_when_it_has_stood_and_with_its_instance_at_once() {
    let mut fixture = Fixture::with_two_checks(2);
    let mut desk = Desk::resume(&fixture.catalog);
    let [fine, failed] = [Status::Passing, Status::Critical];
    desk.follow(fixture.see([0, 1], Some(fine), millis(10)), millis(10));
    let mut count = 0;
    let mut write = |desk: &mut Desk| {
        count += 1;
        let entry = desk.next_entry(later(count)).map(|entry| entry.to_vec()).unwrap_or_default();
        desk.written();
        let told = |it: &StatusChange| (it.id.to_string(), it.to, [0, 1].map(|place| it.checks.get(place)));
        entry.iter().map(told).collect::<Vec<_>>()
    };
    let written = |number: usize, to, checks: [Status; 2]| (id(number).to_string(), to, checks.map(Some));
    assert_eq!(write(&mut desk), [written(0, fine, [fine, fine]), written(1, fine, [fine, fine])]);

    // The page comes before the digest, and one entry tells both.
    desk.follow(fixture.tell(0, [fine, failed], millis(20)), millis(20));
    assert_eq!(write(&mut desk), []);
    desk.follow(fixture.see([0], Some(failed), millis(30)), millis(30));
    assert_eq!(write(&mut desk), [written(0, failed, [fine, failed])]);

    desk.follow(fixture.tell(0, [failed, failed], millis(40)), millis(40));
    desk.settle(millis(100));
    assert_eq!(write(&mut desk), [], "it has not stood yet");
    desk.settle(millis(40 + CHECKS_STAND.get()));
    assert_eq!(write(&mut desk), [written(0, failed, [failed, failed])]);
    desk.follow(fixture.tell(0, [fine, failed], millis(5_000)), millis(5_000));
    desk.follow(fixture.tell(0, [failed, failed], millis(5_100)), millis(5_100));
    desk.settle(millis(9_000));
    assert_eq!(write(&mut desk), [], "what was undone was not written");
    assert_eq!(desk.waiting(), 0);
}

#[test]
fn what_a_registration_anew_made_of_the_checks_in_the_log_is_written_over_by_what_is_seen() {
    let mut fixture = Fixture::with_two_checks(1);
    let [fine, failed] = [Status::Passing, Status::Critical];
    fixture.see([0], Some(fine), millis(5));
    let mut desk = Desk::resume(&fixture.catalog);
    desk.follow(fixture.tell(0, [fine, fine], millis(10)), millis(10));
    assert_eq!(desk.next_entry(later(1)).unwrap()[0].checks.get(1), Some(fine));
    desk.written();
    // The second check goes and comes again, so in the log it begins anew; who hears it hears that it passes, as before.
    let web = "web".parse().unwrap();
    let present = fixture.catalog.instance(&web, &id(0)).unwrap().clone();
    let mut less = rollcall_types::InstanceSpec::clone(&present.spec);
    less.checks = less.checks[..1].into();
    for spec in [std::sync::Arc::new(less), present.spec.clone()] {
        let expect = rollcall_catalog::Precondition::None;
        let register = rollcall_catalog::Command::Register { service: web.clone(), id: id(0), spec, expect };
        fixture.apply(millis(20), register);
    }
    desk.follow(fixture.see_slot(&present, millis(30)), millis(30));
    let entry = desk.next_entry(later(2)).expect("it is written again");
    assert_eq!([0, 1].map(|place| entry[0].checks.get(place)), [Some(fine); 2]);
    desk.written();

    // With other checks nobody tells any of them at first, and what the log brought along stands.
    desk.follow(fixture.tell(0, [fine, failed], millis(31)), millis(31));
    desk.follow(fixture.see([0], Some(failed), millis(32)), millis(32));
    assert_eq!(desk.next_entry(later(3)).unwrap()[0].to, failed);
    desk.written();
    let mut other = rollcall_types::InstanceSpec::clone(&present.spec);
    other.checks = other.checks.iter().rev().cloned().collect();
    let (spec, expect) = (std::sync::Arc::new(other), rollcall_catalog::Precondition::None);
    fixture.apply(millis(40), rollcall_catalog::Command::Register { service: web.clone(), id: id(0), spec, expect });
    desk.follow(fixture.see_slot(&present, millis(50)), millis(50));
    desk.settle(millis(5_000));
    assert!(desk.next_entry(later(4)).is_none());
    desk.follow(fixture.tell(0, [failed, fine], millis(6_000)), millis(6_000));
    desk.settle(millis(6_000 + CHECKS_STAND.get()));
    let entry = desk.next_entry(later(5)).unwrap();
    assert_eq!([0, 1].map(|place| entry[0].checks.get(place)), [Some(failed), Some(fine)]);
}
