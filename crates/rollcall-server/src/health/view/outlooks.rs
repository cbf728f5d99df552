//! Of which instances something is expected, and of which something else than before.

use std::ops::Bound;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use rollcall_catalog::Instance;
use rollcall_health::Slot;
use rollcall_health::forecast::{Forecast, Outlook, Quantity};

use super::HealthSnapshot;
use crate::health::forecasts::Told;

/// What is expected of an instance, and what was expected before.
#[derive(Debug, Clone)]
pub(crate) struct OutlookChange {
    pub(crate) instance: Arc<Instance>,
    /// What is measured, now or when anything was expected last.
    pub(crate) quantity: Quantity,
    pub(crate) from: Outlook,
    pub(crate) to: Outlook,
}

impl HealthSnapshot {
    /// The instances of which something better or worse is expected than in `older`; that only numbers moved is no news. Of
    /// those that are gone nothing is said. Costs next to nothing where nothing changed.
    pub(crate) fn outlooks_since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = OutlookChange> + 'a {
        let tenancy = |snapshot: &Self, slot: Slot| snapshot.entry(slot).map(|entry| entry.tenancy);
        older.told.diff(&self.told).filter_map(move |item| {
            let (slot, before, now) = match item {
                DiffItem::Add(slot, now) => (*slot, None, Some(now)),
                DiffItem::Update { old: (_, before), new: (slot, now) } => (*slot, Some(before), Some(now)),
                DiffItem::Remove(slot, before) => (*slot, Some(before), None),
            };
            let before = before.filter(|_| tenancy(self, slot) == tenancy(older, slot));
            let quantity = now.or(before)?.forecast.quantity();
            let outlook = |told: Option<&Told>| told.map_or(Outlook::Calm, |told| Forecast::outlook(&told.forecast));
            let (from, to) = (outlook(before), outlook(now));
            (from != to).then_some(())?;
            Some(OutlookChange { instance: self.tenant(slot)?.clone(), quantity, from, to })
        })
    }

    /// The instances of which something is expected, in the order of their slots, after a slot.
    pub(crate) fn expected_after(&self, after: Option<Slot>) -> impl Iterator<Item = (Slot, OutlookChange)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.told.range((from, Bound::Unbounded)).filter_map(|(slot, told)| {
            let (quantity, to) = (told.forecast.quantity(), told.forecast.outlook());
            let instance = self.tenant(*slot)?.clone();
            Some((*slot, OutlookChange { instance, quantity, from: Outlook::Calm, to }))
        })
    }
}
