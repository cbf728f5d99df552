//! Watchers: clients that follow changes and come back to another node again and again.
//!
//! Each leaves its node after a random time, also when nothing is wrong, and goes on at a random node from the last revision it
//! was told. Half of them watch everything, the others a few services.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Response, StatusCode};
use rollcall_api::{Change, WatchEvent, paths};
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::{Client, Place, op_of_instance};
use crate::dice::Dice;
use crate::history::{Event, OpId, Recorder, Seen, Thing};
use crate::workload::health;

/// Shortest and longest stay at a node, milliseconds.
const STAY_MS: (u64, u64) = (500, 4_000);
/// Longest event: one part of a snapshot.
const EVENT_BYTES_MAX: usize = 16 << 20;
/// Pause after a node that could not be watched.
const PAUSE: Duration = Duration::from_millis(100);

/// One watcher, until `stop` is set.
pub(crate) struct Watcher {
    pub(crate) number: u64,
    pub(crate) seed: u64,
    pub(crate) places: Vec<Place>,
    /// Only these services; empty: all.
    pub(crate) services: Vec<String>,
    pub(crate) client: Client,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) stop: Arc<AtomicBool>,
    /// The last revision that it was told, for whoever waits for it.
    pub(crate) reached: Arc<AtomicU64>,
}

impl Watcher {
    pub(crate) async fn run(self) {
        let mut dice = Dice::of_part(self.seed, 2000 + self.number);
        let mut cursor = None;
        while !self.stop.load(Ordering::Relaxed) {
            let Some(place) = dice.pick(&self.places) else { return };
            let until = Instant::now() + Duration::from_millis(dice.between(STAY_MS.0, STAY_MS.1));
            if let Err(error) = self.stay(place, &mut cursor, until).await {
                self.note(Seen::Closed { why: format!("{error:#}") });
                sleep(PAUSE).await;
            }
        }
    }

    fn note(&self, seen: Seen) {
        self.recorder.write(&Event::Seen { at: self.recorder.now(), watch: self.number, seen });
    }

    /// Watches one node until `until`, or until the connection ends.
    async fn stay(&self, place: &Place, cursor: &mut Option<u64>, until: Instant) -> Result<()> {
        let services: Vec<String> = self.services.iter().map(|service| self.client.names.outer(service)).collect();
        let query = if services.is_empty() { String::new() } else { format!("?service={}", services.join(",")) };
        let opened = timeout_at(until, self.client.open(place, &format!("{}{query}", paths::WATCH), *cursor)).await;
        let response = opened.context("no answer")??;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::GONE => {
                *cursor = None;
                self.note(Seen::Compacted);
                return Ok(());
            }
            status => bail!("status {status}"),
        }
        self.note(Seen::Opened { node: place.node.clone(), since: *cursor, services: self.services.clone() });
        self.follow(response, cursor, until).await
    }

    async fn follow(&self, mut response: Response, cursor: &mut Option<u64>, until: Instant) -> Result<()> {
        let (mut unread, mut snapshot) = (Vec::new(), Vec::new());
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(chunk) = timeout_at(until, response.chunk()).await else { return Ok(()) };
            let Some(chunk) = chunk.context("the connection broke")? else { bail!("the node ended it") };
            unread.extend_from_slice(&chunk);
            while let Some(data) = next_data(&mut unread)? {
                let event: WatchEvent = serde_json::from_str(&data).with_context(|| format!("no frame: {data}"))?;
                self.take(event, cursor, &mut snapshot);
            }
        }
        Ok(())
    }

    fn take(&self, event: WatchEvent, cursor: &mut Option<u64>, snapshot: &mut Vec<(Thing, OpId)>) {
        let revision = event.resume_from();
        match event {
            WatchEvent::Snapshot(part) => {
                let instance = |instance: &rollcall_api::Instance| {
                    let thing = Thing::instance(self.own(&instance.service)?, &instance.id);
                    Some((thing, op_of_instance(instance).unwrap_or_default()))
                };
                snapshot.extend(part.items.iter().filter_map(instance));
                if part.last {
                    self.note(Seen::Snapshot { revision: part.revision, items: std::mem::take(snapshot) });
                }
            }
            WatchEvent::Put(Change { revision, service, instance: Some(instance), .. }) => {
                let op = op_of_instance(&instance).unwrap_or_default();
                self.note(match self.own(&service) {
                    Some(service) => Seen::Put { revision, thing: Thing::instance(service, &instance.id), op },
                    None => Seen::Bookmark { revision },
                });
            }
            WatchEvent::Config(Change { revision, service, actor, .. }) => {
                let op = self.client.names.op_of_actor(&actor).unwrap_or_default();
                self.note(match self.own(&service) {
                    Some(service) => Seen::Put { revision, thing: Thing::Config { service: service.to_owned() }, op },
                    None => Seen::Bookmark { revision },
                });
            }
            WatchEvent::Delete(Change { revision, service, id: Some(id), actor, .. }) => {
                let op = self.client.names.op_of_actor(&actor);
                self.note(match self.own(&service) {
                    Some(service) => Seen::Removed { revision, thing: Thing::instance(service, &id), op },
                    None => Seen::Bookmark { revision },
                });
            }
            // Instances have another status; that changes no registration, and says like a bookmark how far the watch is.
            WatchEvent::State(changes) => self.note(Seen::Bookmark { revision: changes.revision }),
            WatchEvent::Bookmark(progress) => self.note(Seen::Bookmark { revision: progress.revision }),
            // Nothing in a run defines or removes services, and a put without an instance would be seen as a gap.
            WatchEvent::Put(_) | WatchEvent::Delete(_) | WatchEvent::Definition(_) => {}
        }
        if let Some(revision) = revision {
            *cursor = Some(revision);
            self.reached.fetch_max(revision, Ordering::Relaxed);
        }
    }

    /// What the history calls a service, when watchers are judged by what becomes of it: played instances have a checker of their own.
    fn own<'s>(&self, service: &'s str) -> Option<&'s str> {
        self.client.names.inner(service).filter(|service| !health::is_played(service))
    }
}

/// Takes the next complete event that has data off `unread` (WHATWG HTML §9.2.6, as far as this API uses it: one line of data,
/// `\n` ends lines).
fn next_data(unread: &mut Vec<u8>) -> Result<Option<String>> {
    while let Some(end) = unread.windows(2).position(|two| two == b"\n\n") {
        let block: Vec<u8> = unread.drain(..end + 2).collect();
        let block = String::from_utf8(block).context("not UTF-8")?;
        if let Some(data) = block.lines().find_map(|line| line.strip_prefix("data:")) {
            return Ok(Some(data.trim_start().to_owned()));
        }
    }
    if unread.len() > EVENT_BYTES_MAX {
        bail!("an event of more than {EVENT_BYTES_MAX} bytes");
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_however_the_bytes_are_cut() {
        let stream = b": hello\n\nevent: put\nid: 7\ndata: {\"a\":1}\n\nevent: bookmark\nid: 9\ndata: {}\n\ndata: half";
        for size in 1..stream.len() {
            let (mut unread, mut seen) = (Vec::new(), Vec::new());
            for chunk in stream.chunks(size) {
                unread.extend_from_slice(chunk);
                while let Some(data) = next_data(&mut unread).unwrap() {
                    seen.push(data);
                }
            }
            assert_eq!(seen, ["{\"a\":1}", "{}"], "in pieces of {size}");
        }
    }
}
