//! Bounds of feedback.

use std::time::Duration;

use proptest::prelude::*;
use rollcall_routing::Performance;
use rollcall_routing::feedback::{
    CONTEXTS_PER_INSTANCE_MAX, FeedbackTable, INSTANCES_MAX, Report, ReporterId, combine,
};
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
