//! One client's watch: a snapshot or a cursor, then changes, without gap or double.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rollcall_catalog::{Catalog, Compacted};
use rollcall_raft::Consensus;
use rollcall_types::Revision;
use tokio::time::Instant;

use super::frame::{Position, bookmark, event_bytes, snapshot_part};
use super::hub::{Permit, Subscription};
use super::{Frame, Hub, Topics};

/// A quiet stream says at least this often how far it is, so that a client can tell quiet from dead.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(10);
/// Frames joined into one chunk at most.
const CHUNK_FRAMES_MAX: usize = 64;
/// No frame is joined to a chunk that has so many bytes. A frame of transitions can have more alone.
const CHUNK_BYTES_MAX: usize = 256 << 10;

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
        let mut chunk = Chunk::default();
        let mut next = Some(first);
        while let Some(frame) = next {
            if frame.revision() > self.cursor {
                self.cursor = frame.revision();
                chunk.extend(frame.bytes(&self.topics));
            }
            next = match &mut self.source {
                Source::Live(live) if !chunk.is_full() => live.ready(),
                _ => None,
            };
        }
        chunk.join()
    }

    /// Sends the next events of the ring; with the last of them the hub takes over.
    ///
    /// Subscribes first and reads second, so that no event can fall between the two.
    fn read_ring(&mut self) -> Result<Option<Bytes>, Compacted> {
        let live = self.hub.subscribe(self.topics.clone(), self.consensus.catalog().revision());
        let catalog = self.consensus.catalog();
        let (chunk, last) = ring_chunk(&catalog, self.cursor, &self.topics)?;
        match last {
            Some(last) => self.cursor = last,
            None => {
                self.cursor = self.cursor.max(catalog.revision());
                self.source = Source::Live(live);
            }
        }
        Ok(chunk.join())
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

/// Frames that go out together.
#[derive(Default)]
struct Chunk {
    frames: Vec<Bytes>,
    bytes: usize,
}

impl Chunk {
    fn extend(&mut self, frame: Option<Bytes>) {
        self.bytes += frame.as_ref().map_or(0, Bytes::len);
        self.frames.extend(frame);
    }

    fn is_full(&self) -> bool {
        self.frames.len() >= CHUNK_FRAMES_MAX || self.bytes >= CHUNK_BYTES_MAX
    }

    /// The frames as one; shared bytes stay shared when there is only one.
    fn join(mut self) -> Option<Bytes> {
        if self.frames.len() <= 1 {
            return self.frames.pop();
        }
        let mut joined = BytesMut::with_capacity(self.bytes);
        self.frames.iter().for_each(|frame| joined.extend_from_slice(frame));
        Some(joined.freeze())
    }
}

/// The first frames about `topics` after `cursor`, and the revision of the last of them when there may be more.
fn ring_chunk(catalog: &Catalog, cursor: Revision, topics: &Topics) -> Result<(Chunk, Option<Revision>), Compacted> {
    let events = catalog.events().after(cursor).ok_or(Compacted { compacted: catalog.events().compacted() })?;
    let mut chunk = Chunk::default();
    for event in events {
        chunk.extend(event_bytes(catalog, event, topics));
        if chunk.is_full() {
            return Ok((chunk, Some(event.revision)));
        }
    }
    Ok((chunk, None))
}

#[cfg(test)]
mod tests {
    use rollcall_types::Status;

    use super::*;
    use crate::watch::story::{Story, service};

    /// The ids of the frames that a watcher of `topics` reads from the ring after `cursor`, chunk by chunk.
    fn read(story: &Story, mut cursor: Revision, topics: &Topics) -> Vec<u64> {
        let mut ids = Vec::new();
        loop {
            let (chunk, last) = ring_chunk(story.catalog(), cursor, topics).unwrap();
            let bytes = chunk.join().unwrap_or_default();
            let lines = std::str::from_utf8(&bytes).unwrap().lines();
            ids.extend(lines.filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse::<u64>().unwrap()));
            let Some(last) = last else { return ids };
            assert_eq!(ids.last(), Some(&last.get()), "a chunk ends with the event that the cursor stands at");
            cursor = last;
        }
    }

    #[test]
    fn a_watcher_that_comes_back_gets_each_frame_of_transitions_once() {
        let mut story = Story::default();
        let ids: Vec<String> = (0..3_000).map(|number| format!("an-instance-with-a-name-{number}")).collect();
        ids.iter().for_each(|id| story.register("web", id));
        story.register("api", "1");
        let start = story.catalog().revision();
        for status in [Status::Starting, Status::Passing, Status::Critical] {
            // Each frame is longer than a chunk needs to be.
            story.record(&ids.iter().map(|id| ("web", id.as_str(), status)).collect::<Vec<_>>());
            story.record(&[("api", "1", status)]);
        }
        let after = |step: u64| Revision::new(start.get() + step);
        let (all, api) = (Topics::All, Topics::of(&[service("api")]));
        for step in 0..=6 {
            let expected: Vec<u64> = (step + 1..=6).map(|step| after(step).get()).collect();
            assert_eq!(read(&story, after(step), &all), expected);
            let of_api: Vec<u64> = expected.iter().copied().filter(|id| (id - start.get()) % 2 == 0).collect();
            assert_eq!(read(&story, after(step), &api), of_api);
        }
    }
}
