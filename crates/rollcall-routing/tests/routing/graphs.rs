//! Graphs of any shape, against the plainest way to answer.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rollcall_routing::graph::{Graph, Placed, Service};
use rollcall_types::{CapabilityName, ServiceKey, ServiceName};

const SERVICES: usize = 8;

fn name(i: usize) -> ServiceKey {
    ServiceKey::from(&ServiceName::try_from(&*format!("s{i}")).unwrap())
}

/// Services that each offer one capability, with the numbers of those that they require.
fn graph(requires: &[BTreeSet<usize>], sick: &BTreeSet<usize>) -> Graph {
    let capability = |i: &usize| CapabilityName::try_from(&*format!("c{i}")).unwrap();
    Graph::of(requires.iter().enumerate().map(|(i, required)| Service {
        name: name(i),
        offers: [capability(&i)].into_iter().collect(),
        requires: required.iter().map(capability).collect(),
        instances: vec![Placed { node: None, is_healthy: !sick.contains(&i) }],
    }))
}

fn any_requires() -> impl Strategy<Value = Vec<BTreeSet<usize>>> {
    proptest::collection::vec(proptest::collection::btree_set(0..SERVICES, 0..3), SERVICES)
}

/// Who is reached from `start` in one step or more.
fn reach(requires: &[BTreeSet<usize>], start: usize) -> BTreeSet<usize> {
    let (mut reached, mut rest) = (BTreeSet::new(), vec![start]);
    while let Some(next) = rest.pop() {
        rest.extend(requires[next].iter().filter(|callee| reached.insert(**callee)));
    }
    reached
}

proptest! {
    #[test]
    fn cycles_are_the_services_that_reach_themselves_grouped_by_whom_they_reach(requires in any_requires()) {
        let reached: Vec<BTreeSet<usize>> = (0..SERVICES).map(|i| reach(&requires, i)).collect();
        let mut expected: Vec<Vec<ServiceKey>> = Vec::new();
        for i in (0..SERVICES).filter(|i| reached[*i].contains(i)) {
            let group: Vec<usize> = (0..SERVICES).filter(|j| reached[i].contains(j) && reached[*j].contains(&i)).collect();
            if group[0] == i {
                expected.push(group.into_iter().map(name).collect());
            }
        }
        prop_assert_eq!(graph(&requires, &BTreeSet::new()).cycles(), expected);
    }

    #[test]
    fn a_loss_takes_those_with_it_that_worked_and_reach_it(
        requires in any_requires(), sick in proptest::collection::btree_set(0..SERVICES, 0..2), lost in 0..SERVICES,
    ) {
        let works = |i: usize| !sick.contains(&i) && reach(&requires, i).is_disjoint(&sick);
        let expected: BTreeSet<ServiceKey> =
            (0..SERVICES).filter(|i| *i == lost || works(*i) && reach(&requires, *i).contains(&lost)).map(name).collect();
        let blast = graph(&requires, &sick).blast_radius_of_service(&name(lost)).unwrap();
        let hit: BTreeSet<ServiceKey> = blast.lost.iter().map(|hit| hit.service.clone()).collect();
        prop_assert_eq!(hit.len(), blast.lost.len(), "each once");
        prop_assert_eq!(hit, expected);
        prop_assert!(blast.weakened.is_empty(), "nobody has a second provider here");
    }
}
