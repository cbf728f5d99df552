//! Events as the bytes that watchers get.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rollcall_api::{
    Change as ChangeFrame, InstanceRef, Progress, SNAPSHOT_ITEMS_MAX, SnapshotPart, StateChange, StateChanges,
    WatchEvent,
};
use rollcall_catalog::{Catalog, Change, Event};
use rollcall_types::{InstanceId, Revision, ServiceKey};

use super::Topics;
use crate::health::answer::journaled;

/// One event, as its watchers get it.
#[derive(Debug)]
pub(crate) struct Frame {
    event: Arc<Event>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// About one service: rendered once for everybody.
    One(ServiceKey, Bytes),
    /// Transitions, of instances of these services. Those who watch one of them, or all of them, share what was rendered when
    /// the first of them asked; who watches some gets a rendering of its own.
    States { services: BTreeMap<ServiceKey, OnceLock<Bytes>>, whole: OnceLock<Bytes> },
}

impl Frame {
    /// The frame of an event; `None` for events that belong to no service, and where checks alone turned.
    pub(crate) fn of(catalog: &Catalog, event: &Arc<Event>) -> Option<Self> {
        let content = match &event.change {
            Change::StatusesChanged { transitions } => {
                let turned = transitions.iter().filter(|it| it.is_of_instance());
                let services: BTreeMap<_, _> =
                    turned.map(|it| (ServiceKey::from(&it.service), OnceLock::new())).collect();
                if services.is_empty() {
                    return None;
                }
                Content::States { services, whole: OnceLock::new() }
            }
            change => {
                let service = ServiceKey::from(change.service()?);
                Content::One(service, event_bytes(catalog, event, &Topics::All)?)
            }
        };
        Some(Self { event: event.clone(), content })
    }

    pub(crate) fn revision(&self) -> Revision {
        self.event.revision
    }

    /// How many changes it tells, at most.
    pub(crate) fn changes(&self) -> usize {
        self.event.change.count()
    }

    /// The services it is about.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        let (one, many) = match &self.content {
            Content::One(service, _) => (Some(service), None),
            Content::States { services, .. } => (None, Some(services.keys())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// What a watcher of `topics` is told; `None` when it is about none of them.
    pub(crate) fn bytes(&self, topics: &Topics) -> Option<Bytes> {
        let render_for = |topics: &Topics| render(&WatchEvent::State(state_changes(&self.event, topics)));
        match &self.content {
            Content::One(service, bytes) => topics.contains(service).then(|| bytes.clone()),
            Content::States { services, whole } => {
                let mut wanted = services.iter().filter(|(service, _)| topics.contains(service));
                let (service, bytes) = wanted.next()?;
                Some(match wanted.count() + 1 {
                    all if all == services.len() => whole.get_or_init(|| render_for(&Topics::All)).clone(),
                    1 => bytes.get_or_init(|| render_for(&Topics::one(service))).clone(),
                    _ => render_for(topics),
                })
            }
        }
    }
}

/// An event in wire shape, as far as it is about `topics`; `None` when it is not. An instance has the state that the journal of
/// `catalog` has for it: the same for everybody who gets the frame, and maybe a later one than that of the event.
pub(crate) fn watch_event<'e>(
    catalog: &Catalog,
    event: &'e Event,
    topics: &Topics,
) -> Option<WatchEvent<InstanceRef<'e>>> {
    if let Change::StatusesChanged { .. } = &event.change {
        return Some(state_changes(event, topics)).filter(|changes| !changes.items.is_empty()).map(WatchEvent::State);
    }
    let service = event.change.service().filter(|service| topics.contains(&ServiceKey::from(*service)))?;
    let mut change = ChangeFrame {
        revision: event.revision.get(),
        at: event.at.into(),
        service: service.to_string(),
        instance: None,
        id: event.change.instance_id().map(ToString::to_string),
        version: None,
        cause: event.reason.as_ref().map_or_else(|| event.change.action().to_owned(), ToString::to_string),
        actor: event.actor.name.to_string(),
    };
    Some(match &event.change {
        Change::InstancePut { instance, .. } | Change::LifecycleSet { instance } => {
            change.instance = Some(journaled(catalog, instance));
            WatchEvent::Put(change)
        }
        Change::InstanceRemoved { .. } | Change::ServiceRemoved { .. } => WatchEvent::Delete(change),
        Change::ServiceDefined { .. } => WatchEvent::Definition(change),
        Change::ConfigSet { config, .. } => {
            change.version = Some(config.version);
            WatchEvent::Config(change)
        }
        Change::KvPut { .. }
        | Change::KvRemoved { .. }
        | Change::KvChanged { .. }
        | Change::SessionOpened { .. }
        | Change::SessionClosed { .. }
        | Change::UserEvent { .. }
        | Change::StatusesChanged { .. } => return None,
    })
}

/// The transitions of instances of `topics`.
fn state_changes(event: &Event, topics: &Topics) -> StateChanges {
    let transitions = match &event.change {
        Change::StatusesChanged { transitions } => &transitions[..],
        _ => &[],
    };
    let turned = transitions.iter().filter(|transition| transition.is_of_instance());
    let wanted = turned.filter(|transition| topics.contains(&ServiceKey::from(&transition.service)));
    let items = wanted.map(|transition| StateChange {
        service: transition.service.to_string(),
        id: transition.id.to_string(),
        from: transition.from.into(),
        state: transition.to.into(),
        cause: transition.cause.as_str().to_owned(),
        since: event.at.into(),
    });
    StateChanges { revision: event.revision.get(), at: event.at.into(), items: items.collect() }
}

/// Where a snapshot goes on: after this instance.
pub(crate) type Position = (ServiceKey, InstanceId);

/// The next part of a snapshot of `topics`, and where the one after it goes on; `None` when this is the last.
///
/// Rendered part by part as the client takes them: a snapshot of everything is never held as a whole.
pub(crate) fn snapshot_part(
    catalog: &Catalog,
    topics: &Topics,
    part: u32,
    after: Option<&Position>,
) -> (Bytes, Option<Position>) {
    let from = after.map_or("", |(service, _)| service.as_str());
    let services = catalog.services_from(from).filter(|(key, _)| topics.contains(key));
    let mut rest = services.flat_map(|(key, service)| {
        let within = after.filter(|(last, _)| last == key).map(|(_, id)| id.as_str());
        let from = within.map_or(Bound::Unbounded, Bound::Excluded);
        service.instances.range::<_, str>((from, Bound::Unbounded)).map(|(_, instance)| instance)
    });
    let instances: Vec<_> = rest.by_ref().take(SNAPSHOT_ITEMS_MAX).collect();
    let next = rest.next().and(instances.last()).map(|last| (ServiceKey::from(&last.service), last.id.clone()));
    let revision = catalog.revision().get();
    let items = instances.into_iter().map(|instance| journaled(catalog, instance)).collect();
    (render(&WatchEvent::Snapshot(SnapshotPart { revision, items, part, last: next.is_none() })), next)
}

/// An event as its watchers of `topics` get it; `None` when it is about none of them.
pub(crate) fn event_bytes(catalog: &Catalog, event: &Event, topics: &Topics) -> Option<Bytes> {
    watch_event(catalog, event, topics).map(|frame| render(&frame))
}

/// Says how far a stream is.
pub(crate) fn bookmark(revision: Revision) -> Bytes {
    render(&WatchEvent::<InstanceRef<'_>>::Bookmark(Progress { revision: revision.get() }))
}

fn render(frame: &WatchEvent<InstanceRef<'_>>) -> Bytes {
    Bytes::from(frame.to_sse().expect("frames hold strings and numbers only"))
}
