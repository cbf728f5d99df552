//! Facts about clusters of detectors in virtual time. The bench measures the same at full length: `detection`.

use rollcall_simulation::detection::{Size, measure};

#[test]
fn small_clusters_meet_every_goal_of_detection() {
    let report = measure(&Size::quick(), |_| {});
    let missed: Vec<_> = report.missed().collect();
    assert!(missed.is_empty(), "missed: {missed:#?}\n{}", report.markdown());
}
