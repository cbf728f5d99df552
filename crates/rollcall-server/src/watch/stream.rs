//! One client's watch: a snapshot or a cursor, then changes, without gap or double.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rollcall_catalog::{Catalog, Compacted};
use rollcall_raft::Consensus;
use rollcall_types::{Revision, ServiceKey};
use tokio::time::Instant;

use super::frame::{Position, bookmark, snapshot_part};
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

/// Where the next bytes come from.
enum Source {
    /// A snapshot under way.
    Snapshot { catalog: Arc<Catalog>, part: u32, after: Option<Position> },
    /// The event ring, in batches.
    Ring,
    /// The hub.
    Live(Subscription),
}

/// A watch stream, pulled chunk by chunk by the connection that serves it.
///
/// Invariant: everything about `topics` up to and including `cursor` was sent, or is in the snapshot under way.
pub(crate) struct Watch {
    hub: Hub,
    consensus: Consensus,
    topics: Topics,
    cursor: Revision,
    source: Source,
    bookmark_at: Instant,
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
        let (cursor, source) = match start {
            Start::Snapshot => (catalog.revision(), Source::Snapshot { catalog, part: 0, after: None }),
            Start::After(cursor) if cursor < catalog.events().compacted() => {
                return Err(Compacted { compacted: catalog.events().compacted() });
            }
            Start::After(cursor) => (cursor, Source::Ring),
        };
        let bookmark_at = Instant::now() + BOOKMARK_INTERVAL;
        Ok(Self { hub, consensus, topics, cursor, source, bookmark_at, _permit: permit })
    }

    /// The next bytes for the client; `None` when the stream ends, because the ring has forgotten what comes next. The
    /// client then comes back with its cursor and is told so.
    pub(crate) async fn next_chunk(&mut self) -> Option<Bytes> {
        loop {
            let chunk = match &mut self.source {
                Source::Snapshot { catalog, part, after } => {
                    let (bytes, next) = snapshot_part(catalog, &self.topics, *part, after.as_ref());
                    match next {
                        Some(position) => {
                            *part += 1;
                            *after = Some(position);
                        }
                        None => self.source = Source::Ring,
                    }
                    Some(bytes)
                }
                Source::Ring => self.read_ring().ok()?,
                Source::Live(live) => {
                    tokio::select! {
                        biased;
                        frame = live.next() => match frame {
                            Some(first) => self.chunk(first),
                            None => {
                                self.source = Source::Ring;
                                None
                            }
                        },
                        () = tokio::time::sleep_until(self.bookmark_at) => self.bookmark(),
                    }
                }
            };
            if chunk.is_some() {
                return chunk;
            }
        }
    }

    /// Joins `first` and the frames that wait behind it, leaving out what was sent from the ring.
    fn chunk(&mut self, first: Arc<Frame>) -> Option<Bytes> {
        let mut frames = Vec::new();
        let mut next = Some(first);
        while let Some(frame) = next {
            if frame.revision() > self.cursor {
                self.cursor = frame.revision();
                frames.push(frame.bytes());
            }
            next = match &mut self.source {
                Source::Live(live) if frames.len() < CHUNK_FRAMES_MAX => live.ready(),
                _ => None,
            };
        }
        join(frames)
    }

    /// Sends the next events of the ring; with the last of them the hub takes over.
    ///
    /// Subscribes first and reads second, so that no event can fall between the two.
    fn read_ring(&mut self) -> Result<Option<Bytes>, Compacted> {
        let live = self.hub.subscribe(self.topics.clone());
        let catalog = self.consensus.catalog();
        let (frames, last) = ring_frames(&catalog, self.cursor, &self.topics)?;
        match last {
            Some(last) => self.cursor = last,
            None => {
                self.cursor = self.cursor.max(catalog.revision());
                self.source = Source::Live(live);
            }
        }
        Ok(join(frames.iter().map(Frame::bytes).collect()))
    }

    /// Says how far the stream is, so that a cursor moves on even while nothing about its topics changes.
    ///
    /// What the hub has published is read before the queue: when the queue is open and empty then, everything up to there
    /// was sent.
    fn bookmark(&mut self) -> Option<Bytes> {
        self.bookmark_at = Instant::now() + BOOKMARK_INTERVAL;
        let published = self.hub.published();
        let Source::Live(live) = &mut self.source else { return None };
        if let Some(first) = live.ready() {
            return self.chunk(first);
        }
        if live.is_cut_off() {
            self.source = Source::Ring;
            return None;
        }
        self.cursor = self.cursor.max(published);
        Some(bookmark(self.cursor))
    }
}

/// The chunks as one; shared bytes stay shared when there is only one.
fn join(mut chunks: Vec<Bytes>) -> Option<Bytes> {
    if chunks.len() <= 1 {
        return chunks.pop();
    }
    let mut joined = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| joined.extend_from_slice(chunk));
    Some(joined.freeze())
}

/// At most [`CHUNK_FRAMES_MAX`] frames about `topics` after `cursor`, and the revision of the last of them when there may
/// be more.
fn ring_frames(
    catalog: &Catalog,
    cursor: Revision,
    topics: &Topics,
) -> Result<(Vec<Frame>, Option<Revision>), Compacted> {
    let events = catalog.events().after(cursor).ok_or(Compacted { compacted: catalog.events().compacted() })?;
    let mut frames = Vec::new();
    for event in events {
        if event.change.service().is_some_and(|service| topics.contains(&ServiceKey::from(service))) {
            frames.extend(Frame::of(event));
        }
        if frames.len() == CHUNK_FRAMES_MAX {
            return Ok((frames, Some(event.revision)));
        }
    }
    Ok((frames, None))
}
