//! What nodes are told, tell each other and hold, without a network between them.

use std::time::Duration;

use rollcall_catalog::Catalog;
use rollcall_gossip::Update;
use rollcall_routing::LoadReport;
use rollcall_routing::feedback::{OwnLoad, Report, ReporterId, page};
use rollcall_types::{InstanceId, MonoTime, ServiceKey, ServiceName, UnixMillis};

use super::desk::Desk;
use super::heard::Heard;
use super::view::{View, ViewReader};
use crate::selection::reported::Feedback as _;
use crate::watch::story::Story;

const START: u64 = 1_000_000;

fn now(seconds: u64) -> UnixMillis {
    UnixMillis::new(START + seconds * 1_000)
}

fn mono(seconds: u64) -> MonoTime {
    MonoTime::new(Duration::from_secs(seconds))
}

fn web() -> ServiceKey {
    ServiceKey::from(&ServiceName::try_from("web").unwrap())
}

fn id(number: usize) -> InstanceId {
    InstanceId::try_from(format!("i-{number:02}").as_str()).unwrap()
}

fn catalog(instances: usize) -> Catalog {
    let mut story = Story::default();
    (0..instances).for_each(|number| story.register("web", id(number).as_str()));
    story.catalog().clone()
}

fn report(instance: usize, ok: bool, millis: u64) -> Report {
    Report { service: web(), instance: id(instance), context: None, ok, latency: Duration::from_millis(millis) }
}

/// A node, and how often it published.
#[derive(Default)]
struct Node {
    desk: Desk,
    version: u64,
}

impl Node {
    /// Each of so many reporters says so ten times.
    fn hear(&mut self, reporters: std::ops::Range<u64>, report: &Report, seconds: u64) {
        for reporter in reporters {
            let reports = vec![report.clone(); 10];
            self.desk.take(ReporterId(reporter), &reports, 0, now(seconds)).unwrap();
        }
    }

    fn tell(&mut self, catalog: &Catalog, seconds: u64) -> Vec<(String, Option<String>)> {
        self.desk.review(catalog, now(seconds));
        self.desk.take_news(catalog, now(seconds), mono(seconds))
    }

    /// The same as changes that another node hears.
    fn gossip(&mut self, name: &str, catalog: &Catalog, seconds: u64) -> Vec<Update> {
        let told = self.tell(catalog, seconds);
        let updates = told.into_iter().map(|(key, value)| {
            self.version += 1;
            Update {
                member: name.try_into().unwrap(),
                generation: 1,
                key: key.into(),
                version: self.version,
                value: value.map(Into::into),
            }
        });
        updates.collect()
    }
}

fn joined(updates: &[Update], catalog: &Catalog) -> View {
    let mut heard = Heard::default();
    updates.iter().for_each(|update| heard.receive(update, now(1)));
    heard.join(&View::default(), catalog).unwrap_or_default()
}

fn told_of(view: &View, instance: usize) -> Option<(u128, f64)> {
    let (_, said) = view.get(&web())?.instances().find(|(known, _)| **known == id(instance))?;
    let performance = said.performance?;
    Some((performance.latency.as_millis(), performance.samples))
}

#[test]
fn what_changes_nothing_is_told_again_every_ten_seconds_and_not_before() {
    let (catalog, mut node) = (catalog(1), Node::default());
    node.hear(0..1, &report(0, true, 50), 0);
    assert_eq!(node.tell(&catalog, 0).len(), 1);
    assert_eq!(node.tell(&catalog, 1).len(), 0, "nothing was reported");
    for second in 2..10 {
        node.hear(0..1, &report(0, true, 50), second);
        assert_eq!(node.tell(&catalog, second).len(), 0, "more of the same, after {second} s");
    }
    assert_eq!(node.tell(&catalog, 10).len(), 1, "so that others know that it is fresh");
    node.hear(0..1, &report(0, true, 500), 11);
    assert_eq!(node.tell(&catalog, 11).len(), 1, "slower by far");
}

#[test]
fn what_is_old_or_deregistered_is_taken_back() {
    let (all, mut node) = (catalog(1), Node::default());
    node.hear(0..1, &report(0, true, 50), 0);
    assert_eq!(node.tell(&all, 0).len(), 1);
    assert_eq!(node.tell(&all, 200).iter().filter(|(_, text)| text.is_some()).count(), 1);
    let told = node.tell(&all, 400);
    assert_eq!(told.iter().map(|(_, text)| text.is_none()).collect::<Vec<_>>(), [true]);
    assert_eq!(node.tell(&all, 500), []);

    node.hear(0..1, &report(0, true, 50), 500);
    assert_eq!(node.tell(&all, 500).len(), 1);
    node.hear(0..1, &report(0, true, 50), 501);
    let told = node.tell(&catalog(0), 501);
    assert_eq!(told.iter().map(|(_, text)| text.is_none()).collect::<Vec<_>>(), [true], "it is gone");
}

#[test]
fn a_flood_is_told_in_pieces() {
    let (catalog, mut node) = (catalog(3_000), Node::default());
    for number in 0..3_000 {
        node.desk.take(ReporterId(number as u64), &[report(number, true, 50)], 0, now(0)).unwrap();
    }
    let bytes =
        |told: &[(String, Option<String>)]| told.iter().flat_map(|(_, text)| text).map(String::len).sum::<usize>();
    let first = node.tell(&catalog, 0);
    assert!(bytes(&first) <= (64 << 10) + page::PAGE_BYTES_MAX && first.len() < usize::from(page::PAGES));
    let second = node.tell(&catalog, 1);
    assert!(!second.is_empty() && second.iter().all(|(key, _)| first.iter().all(|(told, _)| told != key)));
}

#[test]
fn all_nodes_hold_the_same_whatever_the_order_in_which_they_heard_it() {
    let catalog = catalog(2);
    let (mut one, mut other) = (Node::default(), Node::default());
    one.hear(0..2, &report(0, true, 50), 0);
    other.hear(2..4, &report(0, true, 100), 0);
    other.hear(0..1, &report(1, false, 10), 0);
    let mut updates = one.gossip("n1", &catalog, 0);
    updates.extend(other.gossip("n2", &catalog, 0));
    let forward = joined(&updates, &catalog);
    updates.reverse();
    let backward = joined(&updates, &catalog);
    assert_eq!(told_of(&forward, 0), Some((75, 20.0)));
    for number in 0..2 {
        assert_eq!(told_of(&forward, number), told_of(&backward, number));
    }
}

#[test]
fn an_older_page_never_replaces_a_newer_one_and_one_taken_back_is_gone() {
    let (catalog, mut node) = (catalog(1), Node::default());
    node.hear(0..1, &report(0, true, 50), 0);
    let older = node.gossip("n1", &catalog, 0);
    node.hear(0..1, &report(0, true, 5_000), 1);
    let newer = node.gossip("n1", &catalog, 1);
    let mut heard = Heard::default();
    newer.iter().chain(&older).for_each(|update| heard.receive(update, now(1)));
    let view = heard.join(&View::default(), &catalog).unwrap();
    assert!(told_of(&view, 0).unwrap().0 > 1_000);
    assert!(heard.join(&view, &catalog).is_none(), "nothing new");
    heard.receive(&Update { version: 9, value: None, ..newer[0].clone() }, now(2));
    assert!(heard.join(&view, &catalog).unwrap().get(&web()).is_none());
}

#[test]
fn what_is_unreadable_takes_the_place_of_what_was_there() {
    let (catalog, mut node) = (catalog(1), Node::default());
    node.hear(0..1, &report(0, true, 50), 0);
    let update = node.gossip("n1", &catalog, 0).remove(0);
    let mut heard = Heard::default();
    heard.receive(&update, now(0));
    heard.receive(&Update { version: 2, value: Some("2\nnonsense".into()), ..update.clone() }, now(0));
    heard.receive(&Update { key: "r/999".into(), version: 3, ..update.clone() }, now(0));
    assert!(heard.join(&View::default(), &catalog).unwrap().get(&web()).is_none());
    // A page that speaks of instances of other pages is not believed about them.
    let other = (0..64).map(page::key).find(|key| **key != *update.key).unwrap();
    heard.receive(&Update { key: other.into(), version: 4, ..update }, now(0));
    assert!(heard.join(&View::default(), &catalog).is_none());
}

#[test]
fn of_what_nodes_eject_together_no_more_holds_than_one_may_eject() {
    let catalog = catalog(20);
    let mut updates = Vec::new();
    for (index, name) in ["n1", "n2", "n3"].into_iter().enumerate() {
        let mut node = Node::default();
        for instance in [2 * index, 2 * index + 1] {
            node.hear(0..3, &report(instance, false, 50), index as u64);
        }
        updates.extend(node.gossip(name, &catalog, index as u64));
    }
    let view = joined(&updates, &catalog);
    let reports = view.get(&web()).unwrap();
    let ejected: Vec<usize> = (0..20).filter(|number| reports.ejected_until(&id(*number)).is_some()).collect();
    assert_eq!(ejected.len(), 2, "a tenth of twenty: {ejected:?}");
    assert_eq!(joined(&updates.into_iter().rev().collect::<Vec<_>>(), &catalog).counts(), view.counts());
}

#[test]
fn selection_reads_what_is_reported_and_sees_when_it_changes() {
    let (catalog, mut node, reader) = (catalog(2), Node::default(), ViewReader::default());
    assert_eq!(reader.version(&web()), 0);
    let report_of_load = LoadReport { in_flight: Some(7), used: None, at: now(0) };
    node.desk.take_load(&web(), &id(0), OwnLoad { report: report_of_load, capacity: Some(64) });
    node.hear(0..1, &report(0, true, 50), 0);
    let mut heard = Heard::default();
    node.gossip("n1", &catalog, 0).iter().for_each(|update| heard.receive(update, now(0)));
    reader.store(heard.join(&View::default(), &catalog).unwrap());
    let first = reader.version(&web());
    let reported = reader.of(&web(), &id(0));
    assert_eq!((reported.load, reported.max_concurrent), (Some(report_of_load), Some(64)));
    assert!(reported.performance.is_some() && reader.of(&web(), &id(1)).performance.is_none());
    node.hear(0..1, &report(1, true, 50), 1);
    node.gossip("n1", &catalog, 1).iter().for_each(|update| heard.receive(update, now(1)));
    reader.store(heard.join(&reader.load(), &catalog).unwrap());
    assert!(first > 0 && reader.version(&web()) > first);
}
