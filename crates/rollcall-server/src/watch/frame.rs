//! Events as the bytes that watchers get.

use std::ops::Bound;

use bytes::Bytes;
use rollcall_api::{Change as ChangeFrame, InstanceRef, Progress, SNAPSHOT_ITEMS_MAX, SnapshotPart, WatchEvent};
use rollcall_catalog::{Catalog, Change, Event};
use rollcall_types::{InstanceId, Revision, ServiceKey};

use super::Topics;
use crate::http::wire_instance;

/// One event, rendered once for everybody.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    revision: Revision,
    service: ServiceKey,
    bytes: Bytes,
}

impl Frame {
    /// The frame of an event; `None` for events that belong to no service.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        let frame = watch_event(event)?;
        let service = ServiceKey::from(event.change.service()?);
        Some(Self { revision: event.revision, service, bytes: render(&frame) })
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn service(&self) -> &ServiceKey {
        &self.service
    }

    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

/// An event in wire shape; `None` for events that belong to no service.
pub(crate) fn watch_event(event: &Event) -> Option<WatchEvent<InstanceRef<'_>>> {
    let mut change = ChangeFrame {
        revision: event.revision.get(),
        at: event.at.into(),
        service: event.change.service()?.to_string(),
        instance: None,
        id: event.change.instance_id().map(ToString::to_string),
        version: None,
        cause: event.reason.as_ref().map_or_else(|| event.change.action().to_owned(), ToString::to_string),
        actor: event.actor.name.to_string(),
    };
    Some(match &event.change {
        Change::InstancePut { instance, .. } | Change::LifecycleSet { instance } => {
            change.instance = Some(wire_instance(instance));
            WatchEvent::Put(change)
        }
        Change::InstanceRemoved { .. } | Change::ServiceRemoved { .. } => WatchEvent::Delete(change),
        Change::ServiceDefined { .. } => WatchEvent::Definition(change),
        Change::ConfigSet { config, .. } => {
            change.version = Some(config.version);
            WatchEvent::Config(change)
        }
        Change::KvPut { .. } | Change::KvRemoved { .. } => return None,
    })
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
    let items = instances.into_iter().map(wire_instance).collect();
    (render(&WatchEvent::Snapshot(SnapshotPart { revision, items, part, last: next.is_none() })), next)
}

/// Says how far a stream is.
pub(crate) fn bookmark(revision: Revision) -> Bytes {
    render(&WatchEvent::<InstanceRef<'_>>::Bookmark(Progress { revision: revision.get() }))
}

fn render(frame: &WatchEvent<InstanceRef<'_>>) -> Bytes {
    Bytes::from(frame.to_sse().expect("frames hold strings and numbers only"))
}
