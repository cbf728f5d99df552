//! One client's watch: a snapshot or a cursor, then changes, without gap or double.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rollcall_catalog::{Catalog, Compacted};
use rollcall_raft::Consensus;
use rollcall_types::{Revision, ServiceKey};
use tokio::time::Instant;

use super::frame::{bookmark, compacted, snapshot};
use super::hub::{Permit, Subscription};
use super::{Frame, Hub, Topics};

/// A quiet stream says at least this often how far it is, so that a client can tell quiet from dead.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(10);
/// Frames joined into one chunk at most.
const CHUNK_FRAMES_MAX: usize = 64;

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With all instances as they are now.
    Snapshot,
    /// With the first change after this revision.
    After(Revision),
}

/// A watch stream, pulled chunk by chunk by the connection that serves it.
///
/// Invariant: everything about `topics` up to and including `cursor` was sent.
pub(crate) struct Watch {
    hub: Hub,
    consensus: Consensus,
    topics: Topics,
    cursor: Revision,
    /// Live frames; `None` while the ring is read.
    live: Option<Subscription>,
    pending: Vec<Bytes>,
    bookmark_at: Instant,
    ended: bool,
    _permit: Permit,
}

impl Watch {
    /// Begins a watch.
    ///
    /// # Errors
    /// [`Compacted`] when the events after the start are forgotten.
    pub(crate) fn start(
        hub: Hub,
        consensus: Consensus,
        topics: Topics,
        start: Start,
        permit: Permit,
    ) -> Result<Self, Compacted> {
        let catalog = consensus.catalog();
        let (cursor, pending) = match start {
            Start::Snapshot => (catalog.revision(), snapshot(&catalog, &topics)),
            Start::After(cursor) if cursor < catalog.events().compacted() => {
                return Err(Compacted { compacted: catalog.events().compacted() });
            }
            Start::After(cursor) => (cursor, Vec::new()),
        };
        Ok(Self {
            hub,
            consensus,
            topics,
            cursor,
            live: None,
            pending,
            bookmark_at: Instant::now() + BOOKMARK_INTERVAL,
            ended: false,
            _permit: permit,
        })
    }

    /// The next bytes for the client; `None` when the stream ends.
    pub(crate) async fn next_chunk(&mut self) -> Option<Bytes> {
        loop {
            if !self.pending.is_empty() {
                let rest = self.pending.split_off(self.pending.len().min(1));
                return std::mem::replace(&mut self.pending, rest).pop();
            }
            if self.ended {
                return None;
            }
            let Some(live) = &mut self.live else {
                self.read_ring();
                continue;
            };
            tokio::select! {
                biased;
                frame = live.next() => match frame {
                    Some(first) => if let Some(chunk) = self.chunk(first) { return Some(chunk) },
                    None => self.live = None,
                },
                () = tokio::time::sleep_until(self.bookmark_at) => if let Some(chunk) = self.bookmark() { return Some(chunk) },
            }
        }
    }

    /// Joins `first` and the frames that wait behind it, leaving out what was sent from the ring.
    fn chunk(&mut self, first: Arc<Frame>) -> Option<Bytes> {
        let mut single: Option<Bytes> = None;
        let mut joined = BytesMut::new();
        let mut next = Some(first);
        let mut frames = 0;
        while let Some(frame) = next {
            if frame.revision() > self.cursor {
                self.cursor = frame.revision();
                match single.take() {
                    None if joined.is_empty() => single = Some(frame.bytes()),
                    None => joined.extend_from_slice(&frame.bytes()),
                    Some(before) => {
                        joined.extend_from_slice(&before);
                        joined.extend_from_slice(&frame.bytes());
                    }
                }
            }
            frames += 1;
            next = if frames < CHUNK_FRAMES_MAX { self.live.as_mut().and_then(Subscription::ready) } else { None };
        }
        single.or_else(|| (!joined.is_empty()).then(|| joined.freeze()))
    }

    /// Subscribes first and reads the ring second, so that no event can fall between the two.
    fn read_ring(&mut self) {
        let live = self.hub.subscribe(self.topics.clone());
        let catalog = self.consensus.catalog();
        match ring_frames(&catalog, self.cursor, &self.topics) {
            Ok(frames) => {
                self.pending = frames.iter().map(Frame::bytes).collect();
                self.cursor = self.cursor.max(catalog.revision());
                self.live = Some(live);
            }
            Err(forgotten) => {
                self.pending = vec![compacted(forgotten)];
                self.ended = true;
            }
        }
    }

    /// Says how far the stream is, so that a cursor moves on even while nothing about its topics changes.
    ///
    /// What the hub has published is read before the queue: when the queue is open and empty then, everything up to there
    /// was sent.
    fn bookmark(&mut self) -> Option<Bytes> {
        self.bookmark_at = Instant::now() + BOOKMARK_INTERVAL;
        let published = self.hub.published();
        let live = self.live.as_mut()?;
        if let Some(first) = live.ready() {
            return self.chunk(first);
        }
        if live.is_cut_off() {
            self.live = None;
            return None;
        }
        self.cursor = self.cursor.max(published);
        Some(bookmark(self.cursor))
    }
}

/// The frames about `topics` after `cursor` that the ring of `catalog` holds.
///
/// # Errors
/// [`Compacted`] when some of them are forgotten.
pub(crate) fn ring_frames(catalog: &Catalog, cursor: Revision, topics: &Topics) -> Result<Vec<Frame>, Compacted> {
    let events = catalog.events().after(cursor).ok_or(Compacted { compacted: catalog.events().compacted() })?;
    let wanted = |event: &&Arc<rollcall_catalog::Event>| {
        event.change.service().is_some_and(|service| topics.contains(&ServiceKey::from(service)))
    };
    Ok(events.filter(wanted).filter_map(|event| Frame::of(event)).collect())
}
