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
