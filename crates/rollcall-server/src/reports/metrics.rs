//! What reports count.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use super::view::View;

const REPORTS: &str = "rollcall_feedback_reports_total";
const INSTANCES: &str = "rollcall_feedback_instances";
const HELD: &str = "rollcall_feedback_instances_held";
const UNTOLD: &str = "rollcall_feedback_instances_untold";
const EVICTED: &str = "rollcall_feedback_evicted_total";
const EJECTIONS: &str = "rollcall_feedback_ejections_total";
const EJECTED: &str = "rollcall_feedback_ejected_instances";
const REFUSED: &str = "rollcall_feedback_values_refused_total";

/// Describes them.
pub(crate) fn describe() {
    describe_counter!(
        REPORTS,
        Unit::Count,
        "Reports of callers to this node, by outcome: counted, unknown (no such instance), limited (too many of one reporter)"
    );
    describe_gauge!(INSTANCES, Unit::Count, "Instances of which any node was told something");
    describe_gauge!(HELD, Unit::Count, "Instances of which this node was told something");
    describe_gauge!(
        UNTOLD,
        Unit::Count,
        "Instances of which this node was told something that finds no room in gossip"
    );
    describe_counter!(EVICTED, Unit::Count, "Instances whose reports this node forgot to make room for others");
    describe_counter!(
        EJECTIONS,
        Unit::Count,
        "Instances that this node ejected because several callers say that they fail"
    );
    describe_gauge!(EJECTED, Unit::Count, "Instances that count as ejected on this node, whoever ejected them");
    describe_counter!(REFUSED, Unit::Count, "Values of others in the place of reports that are none, by reason");
}

/// The reports of one call were counted, or not.
pub(super) fn taken(known: usize, unknown: usize, are_counted: bool) {
    if are_counted {
        counter!(REPORTS, "outcome" => "counted").increment(known as u64);
        counter!(REPORTS, "outcome" => "unknown").increment(unknown as u64);
    } else {
        counter!(REPORTS, "outcome" => "limited").increment((known + unknown) as u64);
    }
}

pub(super) fn held(instances: usize, evicted: u64, untold: usize) {
    gauge!(HELD).set(instances as f64);
    gauge!(UNTOLD).set(untold as f64);
    counter!(EVICTED).absolute(evicted);
}

pub(super) fn known(view: &View) {
    let (instances, ejected) = view.counts();
    gauge!(INSTANCES).set(instances as f64);
    gauge!(EJECTED).set(ejected as f64);
}

pub(super) fn ejected() {
    counter!(EJECTIONS).increment(1);
}

pub(super) fn refused(reason: &'static str) {
    counter!(REFUSED, "reason" => reason).increment(1);
}
