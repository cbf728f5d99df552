use std::sync::Arc;

use rollcall_gossip::Update;
use rollcall_health::forecast::Watched;
use rollcall_health::{Freshness, Observation, Observer, Publication, Publisher};
use rollcall_types::Revision;

use super::super::trends::tests::foreseen;
use super::*;

fn at(seconds: u64) -> MonoTime {
    MonoTime::new(Duration::from_secs(seconds))
}

fn slot(number: u32) -> Slot {
    Slot::new(number).unwrap()
}

fn tenancy() -> Tenancy {
    Tenancy::began_at(Revision::new(9))
}

const VALID: Duration = Duration::from_secs(30);

/// What n1 and n2 see of slot 0, n2's word counting or not.
fn sightings(second: Freshness) -> HealthView {
    let (mut publisher, mut view) = (Publisher::new(), HealthView::new());
    publisher.observe(slot(0), tenancy(), Observation::of(Status::Passing), VALID, at(0));
    let publications = publisher.tick(at(0));
    for (name, freshness) in [("n1", Freshness::Fresh), ("n2", second)] {
        let observer = Observer { name: name.parse().unwrap(), generation: 1 };
        view.mark_observer(&observer, freshness).unwrap();
        for publication in &publications {
            let Publication::Put { chunk, digest } = publication else { panic!("{publication:?}") };
            view.receive(observer.clone(), *chunk, 1, Some(&digest.encode()), at(0)).unwrap();
        }
    }
    view
}

fn update(member: &str, version: u64, key: &str, value: Option<&str>) -> Update {
    Update { member: member.parse().unwrap(), generation: 1, key: key.into(), version, value: value.map(Arc::from) }
}

#[test]
fn what_is_expected_is_told_once_then_when_it_is_news_and_taken_back_when_it_is_over() {
    let mut outbox = Outbox::default();
    assert_eq!(outbox.take_news(at(0)), []);
    let forecast = foreseen(Watched::latency(Duration::from_secs(1)).unwrap());
    outbox.say(slot(0), tenancy(), Some(forecast), (at(0), VALID));
    let news = outbox.take_news(at(0));
    assert!(matches!(&news[..], [(key, Some(_))] if key == "f/0"), "{news:?}");
    outbox.say(slot(0), tenancy(), Some(forecast.later(Duration::from_secs(5))), (at(5), VALID));
    assert_eq!(outbox.take_news(at(5)), [], "it goes as was foretold");
    outbox.say(slot(0), tenancy(), None, (at(6), VALID));
    assert_eq!(outbox.take_news(at(6)), [("f/0".to_owned(), None)]);
    assert_eq!(outbox.take_news(at(7)), []);
}

#[test]
fn what_is_not_said_again_runs_out() {
    let mut outbox = Outbox::default();
    let forecast = foreseen(Watched::cpu());
    outbox.say(slot(0), tenancy(), Some(forecast), (at(0), VALID));
    assert_eq!(outbox.take_news(at(0)).len(), 1);
    assert_eq!(outbox.take_news(at(31)), [("f/0".to_owned(), None)]);
}

#[test]
fn numbers_take_no_more_room_than_is_theirs() {
    let mut outbox = Outbox::default();
    let forecast = foreseen(Watched::cpu());
    for chunk in 0..2_000 {
        outbox.say(slot(chunk * 64), tenancy(), Some(forecast), (at(0), VALID));
    }
    let told = outbox.take_news(at(0));
    assert_eq!(told.iter().filter(|(_, text)| text.is_some()).count(), CHUNKS_MAX);
    outbox.say(slot(0), tenancy(), None, (at(2), VALID));
    let told = outbox.take_news(at(2));
    assert_eq!(told.len(), 2, "the room of one is another's: {told:?}");
}

#[test]
fn the_worst_that_counts_is_heard_and_an_older_value_is_not() {
    let [mild, bad] = [Watched::cpu(), Watched::latency(Duration::from_secs(1)).unwrap()].map(foreseen);
    let text = |forecast| Forecasts::of(slot(0).chunk(), [(slot(0), tenancy(), forecast)]).encode();
    let (sooner, later) = (text(bad.later(Duration::from_secs(1))), text(mild));
    let mut inbox = Inbox::<Forecasts>::default();
    let wall = UnixMillis::new(1_000);
    assert!(inbox.receive(&update("n1", 2, "f/0", Some(&later)), wall).is_some());
    assert!(inbox.receive(&update("n2", 2, "f/0", Some(&sooner)), wall).is_some());
    let quantity = |inbox: &Inbox<Forecasts>, second| {
        told(inbox, slot(0), tenancy(), &sightings(second)).map(|told| told.forecast.quantity().as_str())
    };
    assert_eq!(quantity(&inbox, Freshness::Fresh), Some("latency"));
    assert_eq!(quantity(&inbox, Freshness::Stale), Some("cpu"), "the dead foretell nothing");
    assert_eq!(told(&inbox, slot(0), Tenancy::began_at(Revision::new(10)), &sightings(Freshness::Fresh)), None);

    assert_eq!(inbox.receive(&update("n2", 1, "f/0", None), wall), None, "older");
    assert!(inbox.receive(&update("n2", 3, "f/0", Some("garbage!")), wall).is_some());
    assert_eq!(quantity(&inbox, Freshness::Fresh), Some("cpu"));
    assert!(inbox.receive(&update("n1", 3, "f/0", None), wall).is_some());
    assert_eq!(quantity(&inbox, Freshness::Fresh), None);
    for foreign in ["h/0", "f/x", "f/00"] {
        assert_eq!(inbox.receive(&update("n1", 9, foreign, Some(&later)), wall), None);
    }
}

#[test]
fn who_reads_numbers_later_has_less_time() {
    let told = Told { forecast: foreseen(Watched::cpu()), at: UnixMillis::new(10_000) };
    let likely = |now| told.now(UnixMillis::new(now)).due().unwrap().likely();
    assert_eq!(likely(10_000) - likely(12_000), Duration::from_secs(2));
    assert_eq!(likely(9_000), likely(10_000), "a clock that was set back gives no more");
}
