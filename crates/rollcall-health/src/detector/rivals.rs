//! Two processes with one name: how an older one that still runs is told from what gossip remembers of it.
//!
//! After a restart the old generation is repeated for a while, from memory. Only a process that runs makes its heartbeat
//! *advance*, so an older generation that still does so [`GRACE`] after the newer was seen is a rival.

use std::time::Duration;

use rollcall_types::MonoTime;

use super::evidence::Heard;

/// Progress of the older generation that is still under way when the newer appears.
const GRACE: Duration = Duration::from_secs(3);
/// A rival that makes no progress for so long is taken for gone.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// What is known of older processes with a member's name; one is remembered, the newest of them.
#[derive(Debug, Clone)]
pub(super) struct Rivals {
    /// When the present generation was first seen, observed.
    newer_since: MonoTime,
    older: Option<Heard>,
    running: Option<(u64, MonoTime)>,
    /// A newer generation than our own, for our own name.
    supplanted_by: Option<u64>,
}

impl Rivals {
    pub(super) fn new(now: MonoTime) -> Self {
        Self { newer_since: now, older: None, running: None, supplanted_by: None }
    }

    /// A newer generation took the place of `older`.
    pub(super) fn succeeded(older: Heard, now: MonoTime) -> Self {
        Self { newer_since: now, older: Some(older), running: None, supplanted_by: None }
    }

    /// An older generation was seen; true when that shows a rival that was not known to run.
    pub(super) fn see(&mut self, seen: Heard, now: MonoTime) -> bool {
        match self.older {
            Some(older) if seen <= older => return false,
            Some(older) if seen.generation == older.generation => {}
            _ => {
                // The first sight of a generation is no progress yet.
                self.older = Some(seen);
                return false;
            }
        }
        self.older = Some(seen);
        if now.since(self.newer_since) < GRACE {
            return false;
        }
        let is_news = self.running(now) != Some(seen.generation);
        self.running = Some((seen.generation, now));
        is_news
    }

    /// A generation newer than our own was seen; true the first time.
    pub(super) fn supplanted_by(&mut self, generation: u64) -> bool {
        let is_news = self.supplanted_by < Some(generation);
        self.supplanted_by = self.supplanted_by.max(Some(generation));
        is_news
    }

    /// The generation of an older process that runs now.
    pub(super) fn running(&self, now: MonoTime) -> Option<u64> {
        self.running.filter(|(_, at)| now.since(*at) < GONE_AFTER).map(|(generation, _)| generation)
    }
}
