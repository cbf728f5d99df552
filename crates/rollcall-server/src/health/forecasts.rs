//! The numbers behind predictions, through gossip: what this node expects goes out, what all observers expect comes in.
//!
//! ```text
//! reports → Outbox ── what is news, a chunk at most once a second ──► values under `f/` → others
//! view    ← Inbox  ◄── changes of values ── gossip ◄── all, this node too
//! ```
//! Digests carry the trend and the class of time of every instance; the numbers are here, only of those of which something is
//! expected. Whose numbers count is decided beside the digests: of an observer whose sighting of the instance does not count,
//! or that has taken it back, the numbers do not either.
//!
//! Limits: a node publishes the numbers of at most [`CHUNKS_MAX`] chunks in [`BYTES_MAX`], so that they never take the room of
//! digests; those of the lowest slots, so that they do not change places. What finds no room is counted, and its trend is
//! known all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_gossip::Handle as Gossip;
use rollcall_health::forecast::{Forecast, Forecasts, chunk_of_key, key};
use rollcall_health::{ChunkId, HealthView, Slot, Status, Tenancy};
use rollcall_types::{MonoTime, UnixMillis};
use tracing::debug;

use super::inbox::{Inbox, Page};
use super::metrics;

/// Most chunks of whose instances this node tells the numbers: of 32,768 instances.
const CHUNKS_MAX: usize = 512;
/// Most bytes of all of them, in gossip.
const BYTES_MAX: usize = 512 << 10;
/// Least time between two values of one chunk.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// What is expected of an instance, and when that was heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Told {
    /// The numbers; their times count from `at`.
    pub(crate) forecast: Forecast,
    /// When this node heard it, or measured it itself.
    pub(crate) at: UnixMillis,
}

impl Told {
    /// The numbers as they are `now`.
    pub(crate) fn now(&self, now: UnixMillis) -> Forecast {
        self.forecast.later(Duration::from_millis(now.get().saturating_sub(self.at.get())))
    }
}

/// What this node expects of one instance.
#[derive(Debug, Clone, Copy)]
struct Expected {
    tenancy: Tenancy,
    forecast: Forecast,
    /// When it was measured.
    at: MonoTime,
    /// Until when that holds.
    until: MonoTime,
}

/// What this node expects of the instances of one chunk.
#[derive(Debug, Default)]
struct Draft {
    expected: BTreeMap<Slot, Expected>,
    /// What the others know of it.
    told: BTreeMap<Slot, Expected>,
    told_at: Option<MonoTime>,
    bytes: usize,
}

impl Draft {
    fn is_news(&self, now: MonoTime) -> bool {
        let same = |slot: &Slot, here: &Expected| {
            let Some(told) = self.told.get(slot).filter(|told| told.tenancy == here.tenancy) else { return false };
            let (here, told) = (here.forecast.later(now.since(here.at)), told.forecast.later(now.since(told.at)));
            !here.is_news(&told, Duration::ZERO)
        };
        let may_tell = self.told_at.is_none_or(|at| now.since(at) >= TELL_INTERVAL);
        let is_same = self.told.len() == self.expected.len() && self.expected.iter().all(|(slot, it)| same(slot, it));
        may_tell && !is_same
    }

    fn text(&self, chunk: ChunkId, now: MonoTime) -> String {
        let all = self.expected.iter().map(|(slot, it)| (*slot, it.tenancy, it.forecast.later(now.since(it.at))));
        Forecasts::of(chunk, all).encode()
    }
}

/// What this node tells the others.
#[derive(Default)]
pub(super) struct Outbox {
    pages: BTreeMap<ChunkId, Draft>,
}

impl Outbox {
    /// Says what this node expects of an instance now, for `valid_for`.
    pub(super) fn say(
        &mut self,
        slot: Slot,
        tenancy: Tenancy,
        forecast: Option<Forecast>,
        (now, valid_for): (MonoTime, Duration),
    ) {
        match forecast {
            Some(forecast) => {
                let expected = Expected { tenancy, forecast, at: now, until: now.plus(valid_for) };
                self.pages.entry(slot.chunk()).or_default().expected.insert(slot, expected);
            }
            None => {
                if let Some(page) = self.pages.get_mut(&slot.chunk()) {
                    page.expected.remove(&slot);
                }
            }
        }
    }

    /// What is to be published now, by key; `None` is taken back.
    pub(super) fn take_news(&mut self, now: MonoTime) -> Vec<(String, Option<String>)> {
        let mut news = Vec::new();
        let mut untold = 0;
        let (mut told_chunks, mut bytes) = (0, 0);
        for page in self.pages.values() {
            told_chunks += usize::from(page.bytes > 0);
            bytes += page.bytes;
        }
        self.pages.retain(|chunk, page| {
            page.expected.retain(|_, expected| expected.until > now);
            if page.is_news(now) {
                let text = (!page.expected.is_empty()).then(|| page.text(*chunk, now));
                let size = text.as_ref().map_or(0, String::len);
                let chunks = told_chunks - usize::from(page.bytes > 0) + 1;
                let fits = bytes - page.bytes + size <= BYTES_MAX && chunks <= CHUNKS_MAX;
                let text = text.filter(|_| fits);
                untold += usize::from(!fits);
                if text.is_some() || page.bytes > 0 {
                    told_chunks = chunks - usize::from(text.is_none());
                    let size = text.as_ref().map_or(0, String::len);
                    bytes = bytes - page.bytes + size;
                    page.bytes = size;
                    page.told = if text.is_some() { page.expected.clone() } else { BTreeMap::new() };
                    page.told_at = Some(now);
                    news.push((key(*chunk), text));
                }
            }
            !page.expected.is_empty() || page.bytes > 0
        });
        metrics::untold(untold);
        news
    }

    /// Publishes what is news.
    pub(super) fn publish(&mut self, gossip: &Gossip) {
        if self.pages.is_empty() {
            return;
        }
        for (key, text) in self.take_news(gossip.now()) {
            match text {
                None => gossip.retract(&key),
                Some(text) => {
                    if let Err(error) = gossip.publish(&key, &text) {
                        debug!(%error, "the numbers of predictions find no room in gossip: {error}");
                        gossip.retract(&key);
                    }
                }
            }
        }
    }
}

impl Page for Forecasts {
    const PREFIX: &str = "f/";

    fn chunk_of_key(key: &str) -> Option<ChunkId> {
        chunk_of_key(key)
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        Self::decode(text).map_err(|error| error.reason())
    }

    fn refused(reason: &'static str) {
        metrics::forecasts_refused(reason);
    }
}

/// What is expected of an instance: the worst that any observer says whose sighting of it counts.
pub(super) fn told(inbox: &Inbox<Forecasts>, slot: Slot, tenancy: Tenancy, sightings: &HealthView) -> Option<Told> {
    let fresh = sightings.sightings(slot, tenancy).filter(|it| it.observation.status != Status::Unknown);
    let told = fresh.filter_map(|sighting| {
        let (forecasts, at) = inbox.of(slot.chunk(), sighting.observer)?;
        Some(Told { forecast: *forecasts.get(slot, tenancy)?, at })
    });
    told.reduce(|one, other| if one.forecast.worse(other.forecast) == one.forecast { one } else { other })
}

#[cfg(test)]
mod tests;
