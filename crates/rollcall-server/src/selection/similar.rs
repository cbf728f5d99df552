//! Names that look like one that is not known, for whoever mistyped it.

use std::cmp::Reverse;

use rollcall_catalog::Catalog;
use rollcall_types::{CapabilityName, ServiceName};
use strsim::damerau_levenshtein;

/// Most names that are told.
const TOLD_MAX: usize = 5;
/// Most names that are looked at: a wrong name must not cost more than a right one. First those with the same beginning.
const LOOKED_AT_MAX: usize = 1_000;
/// Letters that a name with "the same beginning" shares.
const BEGINNING: usize = 2;

/// Services that may have been meant by `name`, the most alike first.
pub(super) fn services(catalog: &Catalog, name: &ServiceName) -> Vec<String> {
    let name = name.to_ascii_lowercase();
    let beginning = &name[..name.len().min(BEGINNING)];
    let near = catalog.services_from(beginning).take_while(|(key, _)| key.as_str().starts_with(beginning));
    let others = catalog.services().map(|service| service.name.as_str());
    likely(&name, near.map(|(_, service)| service.name.as_str()).take(LOOKED_AT_MAX).chain(others.take(LOOKED_AT_MAX)))
}

/// Capabilities that may have been meant by `name`, the most alike first.
pub(super) fn capabilities(catalog: &Catalog, name: &CapabilityName) -> Vec<String> {
    likely(name, catalog.capabilities().map(|(capability, _)| capability.as_str()).take(2 * LOOKED_AT_MAX))
}

/// Of `names` those that contain `wanted` or are contained in it, or differ by a third of its letters at most.
fn likely<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let wanted = wanted.to_ascii_lowercase();
    let mut near: Vec<(Reverse<bool>, usize, &str)> = names
        .filter_map(|name| {
            let folded = name.to_ascii_lowercase();
            let is_part = folded.contains(&wanted) || (folded.len() > BEGINNING && wanted.contains(&folded));
            let distance = damerau_levenshtein(&wanted, &folded);
            let is_near = distance <= wanted.len().div_ceil(3).max(1);
            (is_part || is_near).then_some((Reverse(is_near), distance, name))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(TOLD_MAX).map(|(_, _, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_finds_what_was_meant() {
        let names = ["billing", "billing-eu", "web", "invoices", "checkout"];
        let like = |wanted: &str| likely(wanted, names.into_iter());
        assert_eq!(like("biling"), ["billing"]);
        assert_eq!(like("ibilling"), ["billing"]);
        assert_eq!(like("bill"), ["billing", "billing-eu"]);
        assert_eq!(like("wbe"), ["web"]);
        assert_eq!(like("zebra"), [""; 0]);
    }
}
