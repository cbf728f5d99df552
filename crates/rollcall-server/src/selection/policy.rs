//! How the instances of services are to be chosen, as their definitions say.
//!
//! The services that offer one capability have one policy together. Where they differ, none of them decides over the instances of the
//! others: a value counts when all say the same, else the default does. The longest slow start counts, since a
//! short one would hurt whoever needs the long one.

use std::sync::Arc;

use rollcall_catalog::Service;
use rollcall_routing::{Policy, Ratio, Weights};
use rollcall_types::{SelectionPolicy, ServiceDefinition};

/// What the services say together, and what follows from it.
pub(super) fn policy(services: &[Arc<Service>]) -> (SelectionPolicy, Policy) {
    of(services.iter().map(|service| service.definition.as_deref()))
}

fn of<'d>(definitions: impl Iterator<Item = Option<&'d ServiceDefinition>> + Clone) -> (SelectionPolicy, Policy) {
    let each = || definitions.clone().map(|definition| definition.map(|definition| &definition.selection));
    let said = SelectionPolicy {
        strategy: agreed(each(), |it| it.strategy),
        weights: agreed(each(), |it| it.weights),
        tie_band: agreed(each(), |it| it.tie_band),
        fail_open: agreed(each(), |it| it.fail_open),
        subset: agreed(each(), |it| it.subset),
        dns_ttl: agreed(each(), |it| it.dns_ttl),
    };
    let slow_starts = definitions.clone().filter_map(|definition| definition?.slow_start);
    let defaults = Policy::default();
    let policy = Policy {
        strategy: said.strategy.unwrap_or(defaults.strategy),
        weights: said.weights.map_or(defaults.weights, Weights::from),
        tie_band: said.tie_band.map_or(defaults.tie_band, Ratio::from),
        slow_start: slow_starts.max().unwrap_or(defaults.slow_start),
        fail_open: said.fail_open.map(Ratio::from),
        subset: said.subset,
    };
    (said, policy)
}

/// The value that all of them say.
fn agreed<'d, T: PartialEq>(
    said: impl Iterator<Item = Option<&'d SelectionPolicy>>,
    value: impl Fn(&SelectionPolicy) -> Option<T>,
) -> Option<T> {
    let mut values = said.map(|policy| policy.and_then(&value));
    let first = values.next()??;
    values.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use rollcall_types::{FactorWeights, Part, Strategy};

    use super::*;

    fn definition(strategy: Strategy, tie_band: u32) -> ServiceDefinition {
        let selection = SelectionPolicy {
            strategy: Some(strategy),
            weights: FactorWeights::try_from([1, 0, 0, 0, 0]).ok(),
            tie_band: Part::try_from(tie_band).ok(),
            ..SelectionPolicy::default()
        };
        ServiceDefinition { selection, ..ServiceDefinition::default() }
    }

    #[test]
    fn a_service_is_chosen_from_as_it_says() {
        let (_, policy) = of([Some(&definition(Strategy::Random, 20_000))].into_iter());
        let weights = Weights::new([1.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
        assert_eq!((policy.strategy, policy.weights, policy.tie_band.get()), (Strategy::Random, weights, 0.02));
        assert_eq!(of([None].into_iter()), Default::default());
    }

    #[test]
    fn of_several_services_counts_what_all_say() {
        let (a, b) = (definition(Strategy::Random, 20_000), definition(Strategy::Random, 30_000));
        let (said, policy) = of([Some(&a), Some(&b)].into_iter());
        assert_eq!((policy.strategy, policy.tie_band), (Strategy::Random, Policy::default().tie_band));
        assert_eq!((said.strategy, said.tie_band), (Some(Strategy::Random), None));
        assert_eq!(of([Some(&a), None].into_iter()), Default::default());
        assert_eq!(of([None, Some(&a)].into_iter()), Default::default());
    }
}
