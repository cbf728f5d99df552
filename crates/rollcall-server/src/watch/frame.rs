//! Events as the bytes that watchers get.

use bytes::Bytes;
use rollcall_api::{Change as ChangeFrame, InstanceRef, Progress, SNAPSHOT_ITEMS_MAX, SnapshotPart, WatchEvent};
use rollcall_catalog::{Catalog, Change, Compacted, Event};
use rollcall_types::{Revision, ServiceKey};

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

/// All instances of `topics`, in parts.
pub(crate) fn snapshot(catalog: &Catalog, topics: &Topics) -> Vec<Bytes> {
    let services = catalog.services().filter(|service| topics.contains(&ServiceKey::from(&service.name)));
    let mut instances = services.flat_map(|service| service.instances.values()).map(wire_instance).peekable();
    let mut parts = Vec::new();
    loop {
        let items: Vec<_> = instances.by_ref().take(SNAPSHOT_ITEMS_MAX).collect();
        let last = instances.peek().is_none();
        let part = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        parts.push(render(&WatchEvent::Snapshot(SnapshotPart {
            revision: catalog.revision().get(),
            items,
            part,
            last,
        })));
        if last {
            return parts;
        }
    }
}

/// Says how far a stream is.
pub(crate) fn bookmark(revision: Revision) -> Bytes {
    render(&WatchEvent::<InstanceRef<'_>>::Bookmark(Progress { revision: revision.get() }))
}

/// Says that the stream cannot go on, and ends it.
pub(crate) fn compacted(error: Compacted) -> Bytes {
    Bytes::from(format!("event: compacted\ndata: {{\"compacted_revision\":{}}}\n\n", error.compacted))
}

fn render(frame: &WatchEvent<InstanceRef<'_>>) -> Bytes {
    Bytes::from(frame.to_sse().expect("frames hold strings and numbers only"))
}
