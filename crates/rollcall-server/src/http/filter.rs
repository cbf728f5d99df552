//! Which instances a list shows.

use std::sync::Arc;

use rollcall_api::query::{HealthFilter, InstancesQuery};
use rollcall_api::{Change, InstanceRef, State, StateChanges, WatchEvent};
use rollcall_catalog::{Catalog, Event, Instance, Service};
use rollcall_types::{Label, Lifecycle, Tag};

use super::extract::named;
use super::failure::{Failure, Result};
use crate::health::answer::{is_healthy, journal_of, journaled};

/// Which instances a list shows.
pub(crate) struct Filter {
    health: HealthFilter,
    tags: Vec<Tag>,
    zone: Option<Label>,
}

impl Filter {
    /// The filter of a list.
    pub(crate) fn of(query: &InstancesQuery) -> Result<Self> {
        let tags = query.tag.iter().flat_map(|tags| tags.split(','));
        Ok(Self {
            health: query.health.unwrap_or_default(),
            tags: tags.map(|tag| named("tag", tag)).collect::<Result<_>>()?,
            zone: query.zone.as_deref().map(|zone| named("zone", zone)).transpose()?,
        })
    }

    /// The filter of a long poll, which tells of instances one by one and so cannot know whether none of them is healthy.
    pub(crate) fn of_poll(query: &InstancesQuery) -> Result<Self> {
        let of_lists =
            [("limit", query.limit.is_some()), ("cursor", query.cursor.is_some()), ("at", query.at.is_some())];
        if let Some((name, _)) = of_lists.into_iter().find(|(_, is_given)| *is_given) {
            return Err(Failure::parameter(name, "must not be given together with since: changes have no pages"));
        }
        let filter = Self::of(query)?;
        if filter.health == HealthFilter::HealthyOrAll {
            return Err(Failure::parameter("health", "must be healthy or any together with since"));
        }
        Ok(filter)
    }

    /// The filter with "healthy, or all when none is" decided: it looks until it finds a healthy instance.
    pub(crate) fn settled<'s>(
        mut self,
        services: impl IntoIterator<Item = &'s Arc<Service>>,
        takes_traffic: impl Fn(&Instance) -> bool,
    ) -> Self {
        if self.health == HealthFilter::HealthyOrAll {
            let mut instances = services.into_iter().flat_map(|service| service.instances.values());
            let has_healthy = instances.any(|instance| self.is_meant(instance) && takes_traffic(instance));
            self.health = if has_healthy { HealthFilter::Healthy } else { HealthFilter::Any };
        }
        self
    }

    /// Whether the list shows `instance`.
    pub(crate) fn keeps(&self, instance: &Instance, takes_traffic: impl Fn(&Instance) -> bool) -> bool {
        self.is_meant(instance) && (self.health == HealthFilter::Any || takes_traffic(instance))
    }

    /// An event as a long poll tells it: that an instance does not pass the filter any more is told as if it had been removed,
    /// and that it passes again as if it had been registered, so that whoever keeps a list by these events keeps the list that was
    /// asked for. What is told as removed may never have been in it.
    pub(crate) fn narrowed<'c>(
        &self,
        catalog: &'c Catalog,
        event: &'c Event,
        frame: WatchEvent<InstanceRef<'c>>,
    ) -> Vec<WatchEvent<InstanceRef<'c>>> {
        match (frame, event.change.instance()) {
            (WatchEvent::State(changes), _) => self.narrowed_states(catalog, event, changes),
            // Whether a quarantine is over by now is left to the reader, as in every frame.
            (WatchEvent::Put(change), Some(instance)) if !self.keeps(instance, |it| takes_traffic(catalog, it)) => {
                vec![WatchEvent::Delete(Change { instance: None, ..change })]
            }
            (frame, _) => vec![frame],
        }
    }

    /// Transitions of instances that pass the filter before and after them stay what they are.
    fn narrowed_states<'c>(
        &self,
        catalog: &'c Catalog,
        event: &'c Event,
        changes: StateChanges,
    ) -> Vec<WatchEvent<InstanceRef<'c>>> {
        let StateChanges { revision, at, items } = changes;
        let (mut kept, mut turned) = (Vec::new(), Vec::new());
        for item in items {
            let service = catalog.services_from(&item.service.to_ascii_lowercase()).next();
            let instance = service.and_then(|(_, service)| service.instances.get(item.id.as_str()));
            let Some(instance) = instance.filter(|it| it.service.as_str() == item.service && self.is_meant(it)) else {
                continue;
            };
            let passes = |state: State| {
                let may = matches!(instance.lifecycle, Lifecycle::Active) && state.is_healthy();
                self.health == HealthFilter::Any || may
            };
            let told = |instance| Change {
                revision,
                at,
                service: item.service.clone(),
                instance,
                id: Some(item.id.clone()),
                version: None,
                cause: item.cause.clone(),
                actor: event.actor.name.to_string(),
            };
            match (passes(item.from), passes(item.state)) {
                (true, true) => kept.push(item),
                (true, false) => turned.push(WatchEvent::Delete(told(None))),
                (false, true) => turned.push(WatchEvent::Put(told(Some(journaled(catalog, instance))))),
                (false, false) => {}
            }
        }
        let kept = (!kept.is_empty()).then_some(WatchEvent::State(StateChanges { revision, at, items: kept }));
        kept.into_iter().chain(turned).collect()
    }

    fn is_meant(&self, instance: &Instance) -> bool {
        self.tags.iter().all(|tag| instance.spec.tags.contains(tag))
            && self.zone.as_ref().is_none_or(|zone| instance.spec.zone.as_ref() == Some(zone))
    }
}

/// Whether an instance can take traffic, as far as the log says.
fn takes_traffic(catalog: &Catalog, instance: &Instance) -> bool {
    matches!(instance.lifecycle, Lifecycle::Active) && is_healthy(journal_of(catalog, instance).status)
}

#[cfg(test)]
mod tests {
    use rollcall_types::Status;

    use super::*;
    use crate::watch::story::Story;
    use crate::watch::{Topics, watch_event};

    /// What a long poll with this query tells of the last event.
    fn told(story: &Story, query: &InstancesQuery) -> Vec<String> {
        let catalog = story.catalog();
        let event = catalog.events().iter().next_back().expect("something happened");
        let frame = watch_event(catalog, event, &Topics::All).expect("it is about a service");
        let narrowed = Filter::of_poll(query).unwrap().narrowed(catalog, event, frame);
        let line = |frame: &WatchEvent<InstanceRef<'_>>| match frame {
            WatchEvent::State(changes) => format!("state of {}", changes.items.len()),
            WatchEvent::Put(change) | WatchEvent::Delete(change) => {
                format!("{} {}", frame.name(), change.id.as_deref().unwrap_or_default())
            }
            other => other.name().to_owned(),
        };
        narrowed.iter().map(line).collect()
    }

    #[test]
    fn transitions_across_the_filter_are_told_as_coming_and_going() {
        let mut story = Story::default();
        ["1", "2", "3"].into_iter().for_each(|id| story.register("web", id));
        let healthy = InstancesQuery { health: Some(HealthFilter::Healthy), ..InstancesQuery::default() };
        let in_zone = InstancesQuery { zone: Some("a".to_owned()), ..InstancesQuery::default() };
        story.record(&[("web", "1", Status::Passing), ("web", "2", Status::Critical), ("web", "3", Status::Passing)]);
        assert_eq!(told(&story, &InstancesQuery::default()), ["state of 3"]);
        assert_eq!(told(&story, &healthy), ["put 1", "put 3"], "what was not in the list and is not now is not told");
        assert_eq!(told(&story, &in_zone), [""; 0]);
        story.record(&[("web", "1", Status::Warning), ("web", "2", Status::Passing), ("web", "3", Status::Critical)]);
        assert_eq!(told(&story, &healthy), ["state of 1", "put 2", "delete 3"]);
    }
}
