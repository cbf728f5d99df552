//! Bounds of feedback.

use std::time::Duration;

use proptest::prelude::*;
use rollcall_routing::feedback::{
    CONTEXTS_PER_INSTANCE_MAX, Entry, FeedbackTable, INSTANCES_MAX, OwnLoad, REPORTS_BURST, Report, ReporterId,
    Reporters, Said, combine, page,
};
use rollcall_routing::{LoadReport, Performance};
use rollcall_types::{InstanceId, UnixMillis};

use crate::fixture::{NOW, label, passing};

fn report(instance: &str, context: Option<&str>) -> Report {
    Report {
        service: passing("x").service,
        instance: InstanceId::try_from(instance).unwrap(),
        context: context.map(label),
        ok: true,
        latency: Duration::from_millis(50),
    }
}

#[test]
fn what_is_used_least_is_forgotten_when_there_is_no_room() {
    let mut feedback = FeedbackTable::default();
    let mut later = 0;
    for i in 0..INSTANCES_MAX + 10 {
        later += 1;
        let now = UnixMillis::new(NOW.get() + later);
        let times = if i == 3 { 5 } else { 1 };
        for _ in 0..times {
            feedback.record(ReporterId(i as u64), &report(&format!("i-{i}"), None), now).unwrap();
        }
    }
    assert_eq!((feedback.len(), feedback.evicted()), (INSTANCES_MAX, 10));
    let is_known =
        |i: usize| feedback.performance(&passing("x").service, &report(&format!("i-{i}"), None).instance).is_some();
    assert!(!is_known(0) && !is_known(10) && is_known(3) && is_known(11) && is_known(INSTANCES_MAX + 9));
}

#[test]
fn an_instance_keeps_so_many_contexts_and_the_one_in_use_is_among_them() {
    let mut feedback = FeedbackTable::default();
    for i in 0..1_000 {
        let context = format!("c-{i}");
        feedback.record(ReporterId(i), &report("a", Some(&context)), NOW).unwrap();
        feedback.record(ReporterId(i), &report("a", Some("usual")), NOW).unwrap();
    }
    let contexts = feedback.contexts(&passing("x").service, &passing("a").instance);
    assert_eq!(contexts.len(), CONTEXTS_PER_INSTANCE_MAX);
    assert!(contexts.iter().any(|(context, _)| context.as_str() == "usual"));
}

fn any_part() -> impl Strategy<Value = Performance> {
    let number = || prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-1.0), 0.0..1.0, 0.0..1e6];
    (number(), number(), any::<u64>(), any::<u64>()).prop_map(|(success, samples, latency, at)| Performance {
        latency: Duration::from_nanos(latency),
        success,
        samples,
        at: UnixMillis::new(at),
    })
}

proptest! {
    #[test]
    fn what_nodes_know_together_does_not_depend_on_their_order(parts in proptest::collection::vec(any_part(), 0..8)) {
        let mut reversed = parts.clone();
        reversed.reverse();
        match (combine(parts), combine(reversed)) {
            (None, None) => {}
            (Some(one), Some(other)) => {
                prop_assert!((one.success - other.success).abs() < 1e-9 && (0.0..=1.0 + 1e-9).contains(&one.success));
                prop_assert!((one.samples - other.samples).abs() <= 1e-9 * one.samples);
                prop_assert!(one.latency.abs_diff(other.latency) < Duration::from_micros(1));
                prop_assert_eq!(one.at, other.at);
            }
            (one, other) => prop_assert!(false, "{:?} and {:?}", one, other),
        }
    }
}

fn at(seconds_ago: u64) -> UnixMillis {
    UnixMillis::new(NOW.get() - seconds_ago * 1_000)
}

fn said(reporters: u64, samples: f64) -> Said {
    let performance = Performance { latency: Duration::from_micros(12_500), success: 0.998, samples, at: at(3) };
    Said { performance: Some(performance), reporters: Reporters(reporters), ..Said::default() }
}

#[test]
fn who_reports_to_several_nodes_is_still_one() {
    let everywhere = [said(1, 5.0), said(1, 5.0), said(1, 5.0)];
    assert_eq!(Said::joined(&everywhere).performance.unwrap().samples, 5.0);
    let apart = [said(1, 5.0), said(2, 5.0), said(4, 5.0)];
    let joined = Said::joined(&apart);
    assert_eq!((joined.performance.unwrap().samples, joined.reporters.count()), (15.0, 3));
}

#[test]
fn a_batch_is_admitted_as_a_whole_or_not_at_all() {
    let mut feedback = FeedbackTable::default();
    let reporter = ReporterId(7);
    feedback.admit(reporter, REPORTS_BURST, NOW).unwrap();
    let refused = feedback.admit(reporter, 1_000, NOW).unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_secs(1));
    assert!(feedback.admit(reporter, 1, NOW).is_err() && feedback.admit(ReporterId(8), 1, NOW).is_ok());
    feedback.admit(reporter, 1_000, UnixMillis::new(NOW.get() + 1_000)).unwrap();
}

#[test]
fn what_an_instance_says_of_its_load_is_told_beside_what_its_callers_say() {
    let mut feedback = FeedbackTable::default();
    let (service, instance) = (passing("x").service, passing("a").instance);
    let load = OwnLoad { report: LoadReport { in_flight: Some(12), used: Some(0.64), at: NOW }, capacity: Some(64) };
    feedback.tell_load(&service, &instance, load);
    feedback.record(ReporterId(1), &report("a", Some("search")), NOW).unwrap();
    let entries = feedback.entries(|_, _| true);
    assert_eq!((entries.len(), entries[0].said.load), (1, Some(load)));
    assert!(entries[0].said.performance.is_some() && entries[0].said.contexts.len() == 1);
}

fn entry() -> Entry {
    let said = Said {
        contexts: vec![(
            label("search"),
            Performance { latency: Duration::from_micros(30_100), success: 1.0, samples: 5.0, at: at(4) },
        )],
        load: Some(OwnLoad { report: LoadReport { in_flight: Some(12), used: None, at: at(9) }, capacity: Some(64) }),
        ejected_until: Some(UnixMillis::new(NOW.get() + 25_000)),
        ..said(0x8001, 14.5)
    };
    Entry { service: passing("x").service, instance: passing("a").instance, said }
}

#[test]
fn a_page_is_written_as_its_version_says() {
    let (text, left_out) = page::encode(&[entry()], NOW);
    let service = entry().service;
    let golden = format!(
        "1\ns\t{service}\ni\ta\np\t12500\t998\t14.5\t3\t8001\nc\tsearch\t30100\t1000\t5\t4\nl\t12\t-\t64\t9\ne\t25"
    );
    assert_eq!((text.as_str(), left_out), (golden.as_str(), 0));
    assert_eq!(page::decode(&text, NOW).unwrap(), [entry()]);
}

#[test]
fn what_finds_no_room_on_a_page_is_what_comes_last() {
    let entries: Vec<Entry> = (0..1_000)
        .map(|i| Entry { instance: InstanceId::try_from(format!("i-{i}").as_str()).unwrap(), ..entry() })
        .collect();
    let (text, left_out) = page::encode(&entries, NOW);
    let read = page::decode(&text, NOW).unwrap();
    assert!(text.len() <= page::PAGE_BYTES_MAX && read.len() > 40, "{} of {}", read.len(), text.len());
    assert_eq!(read.len() + left_out, entries.len());
    assert_eq!(read, entries[..read.len()]);
}

#[test]
fn a_page_that_is_not_as_it_should_be_is_refused_as_a_whole() {
    let refused = |text: &str| page::decode(text, NOW).unwrap_err().reason();
    assert_eq!(refused(""), "version");
    assert_eq!(refused("2\ns\tx"), "version");
    assert_eq!(refused(&format!("1\n{}", "x".repeat(page::PAGE_BYTES_MAX))), "too_long");
    for line in [
        "i\ta",
        "s\ta b",
        "s",
        "q\tx",
        "s\tx\ty",
        "s\tx\np\t1\t1\t1\t1\t1",
        "s\tx\ni\ta\np\t1\t1\t-1\t1\t1",
        "s\tx\ni\ta\np\t1\t1\tNaN\t1\t1",
        "s\tx\ni\ta\np\t1\t1\tinf\t1\t1",
        "s\tx\ni\ta\nl\t1\t1\t1",
        "s\tx\ni\ta\ne\t-5",
    ] {
        assert_eq!(refused(&format!("1\n{line}")), "line", "{line}");
    }
}

#[test]
fn keys_of_pages_are_read_as_they_are_written() {
    assert_eq!(page::page_of_key(&page::key(63)), Some(63));
    for strange in ["r/64", "r/", "r/007", "r/+7", "f/1", "r/1/2"] {
        assert_eq!(page::page_of_key(strange), None, "{strange}");
    }
}

fn any_said() -> impl Strategy<Value = Said> {
    let load = proptest::option::of((any::<Option<u32>>(), 0..100_u64));
    (any_part(), any::<u64>(), proptest::collection::vec(("[abc]", any_part()), 0..3), load, 0..100_u64).prop_map(
        |(performance, reporters, contexts, load, ejected)| Said {
            performance: Some(performance),
            reporters: Reporters(reporters),
            contexts: contexts.into_iter().map(|(context, part)| (label(&context), part)).collect(),
            load: load.map(|(in_flight, ago)| OwnLoad {
                report: LoadReport { in_flight, used: Some(0.5), at: at(ago) },
                capacity: None,
            }),
            ejected_until: Some(UnixMillis::new(NOW.get() + ejected)),
        },
    )
}

proptest! {
    #[test]
    fn what_nodes_say_is_joined_in_any_order(parts in proptest::collection::vec(any_said(), 0..6)) {
        let mut reversed = parts.clone();
        reversed.reverse();
        let (one, other) = (Said::joined(&parts), Said::joined(&reversed));
        prop_assert_eq!((one.reporters, one.load, one.ejected_until), (other.reporters, other.load, other.ejected_until));
        prop_assert_eq!(one.performance.map(|it| it.at), other.performance.map(|it| it.at));
        let labels = |said: &Said| said.contexts.iter().map(|(label, _)| label.clone()).collect::<Vec<_>>();
        prop_assert_eq!(labels(&one), labels(&other));
    }

    #[test]
    fn whatever_arrives_as_a_page_is_read_or_refused(text in "1(\n[sipcle]\t[-0-9a-z.]{0,4}(\t[-0-9.]{0,4}){0,5}){0,6}") {
        if let Ok(entries) = page::decode(&text, NOW) {
            let (again, _) = page::encode(&entries, NOW);
            prop_assert!(page::decode(&again, NOW).is_ok());
        }
    }
}
