//! News of what is expected of instances and nodes, for those who follow: a failure is told as predicted when this node hears
//! that it is.
//!
//! ```text
//! health snapshots, boards of what nodes expect → what is another outlook than before → frames, rendered once → followers
//! ```
//! Both inputs are levels and not edges, so many changes at once cost one look. Who begins to follow gets what stands first,
//! part by part as the connection takes it, and so does again who falls behind.
//!
//! What is told is observation: it has no revision, cannot be resumed, and is never written to the log. That is why it goes with
//! the events of the cluster and not with watches, whose frames are the same for everybody.
//!
//! Limits: told are outlooks with numbers, so nothing of an instance whose numbers found no room in gossip.

use std::sync::Arc;

use bytes::Bytes;
use rollcall_api::{ClusterEvent, FORECAST_CHANGES_MAX, ForecastChange, ForecastChanges};
use rollcall_catalog::Catalog;
use rollcall_health::Slot;
use rollcall_health::forecast::Outlook;
use rollcall_raft::Consensus;
use rollcall_types::UnixMillis;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::clock::wall_clock;
use crate::health::{HealthReader, HealthSnapshot, OutlookChange, answer};
use crate::vitals::{Board, Vitals};

/// Frames that wait for the slowest follower, each of at most 200 changes (some 60 KB); one that is further behind begins anew.
const FRAMES_MAX: usize = 64;

/// The news of forecasts. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Prospects {
    frames: broadcast::Sender<Bytes>,
}

/// What the news are made of.
pub(crate) struct Sources {
    pub(crate) consensus: Consensus,
    pub(crate) health: HealthReader,
    pub(crate) vitals: Vitals,
}

/// What stands of instances when somebody begins to follow, as far as it was not sent yet.
pub(crate) struct Standing {
    snapshot: Arc<HealthSnapshot>,
    after: Option<Slot>,
}

impl Prospects {
    /// Nobody follows, and there is no news.
    pub(crate) fn new() -> Self {
        Self { frames: broadcast::Sender::new(FRAMES_MAX) }
    }

    /// The frames from now on.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Bytes> {
        self.frames.subscribe()
    }

    /// Tells what is news, until `stop`.
    pub(crate) async fn run(self, from: Sources, stop: CancellationToken) {
        let (mut healths, mut boards) = (from.health.changes(), from.vitals.changes());
        let (mut snapshot, mut board) = (from.health.load(), from.vitals.board());
        loop {
            let is_open = tokio::select! {
                () = stop.cancelled() => return,
                changed = healths.changed() => changed.is_ok(),
                changed = boards.changed() => changed.is_ok(),
            };
            if !is_open {
                return;
            }
            let now = (from.health.load(), from.vitals.board());
            // Without followers there is nothing to render, but what stands is known.
            if self.frames.receiver_count() > 0 {
                let catalog = from.consensus.catalog();
                let at = wall_clock();
                let of_instances = now.0.outlooks_since(&snapshot).map(|it| of_instance(it, &now.0, &catalog, at));
                let items = of_instances.chain(of_nodes(&board, &now.1, at));
                self.tell(&items.collect::<Vec<_>>(), at);
            }
            (snapshot, board) = now;
        }
    }

    fn tell(&self, items: &[ForecastChange], at: UnixMillis) {
        for items in items.chunks(FORECAST_CHANGES_MAX) {
            // The last follower may have gone meanwhile.
            let _ = self.frames.send(frame(items.to_vec(), at));
        }
    }
}

impl Standing {
    /// What stands now.
    pub(crate) fn of(health: &HealthReader) -> Self {
        Self { snapshot: health.load(), after: None }
    }

    /// The next part; `None` when all was sent.
    pub(crate) fn next(&mut self, catalog: &Catalog) -> Option<Bytes> {
        let part: Vec<_> = self.snapshot.expected_after(self.after).take(FORECAST_CHANGES_MAX).collect();
        self.after = Some(part.last()?.0);
        let at = wall_clock();
        let items = part.into_iter().map(|(_, change)| of_instance(change, &self.snapshot, catalog, at));
        Some(frame(items.collect(), at))
    }
}

fn frame(items: Vec<ForecastChange>, at: UnixMillis) -> Bytes {
    ClusterEvent::Forecast(ForecastChanges { at: at.into(), items }).to_sse().into()
}

fn of_instance(change: OutlookChange, snapshot: &HealthSnapshot, catalog: &Catalog, now: UnixMillis) -> ForecastChange {
    let OutlookChange { instance, quantity, from, to } = change;
    let expected = answer::forecast(&snapshot.of(catalog, &instance), now);
    ForecastChange {
        member: None,
        service: Some(instance.service.to_string()),
        id: Some(instance.id.to_string()),
        signal: Some(answer::signal(quantity)),
        from: answer::outlook(from),
        outlook: answer::outlook(to),
        forecast: expected.filter(|_| to > Outlook::Calm),
    }
}

fn of_nodes(before: &Board, after: &Board, now: UnixMillis) -> impl Iterator<Item = ForecastChange> {
    after.news_since(before, now).into_iter().map(|(member, news)| ForecastChange {
        member: Some(member.to_string()),
        service: None,
        id: None,
        signal: Some(answer::signal(news.quantity)),
        from: answer::outlook(news.from),
        outlook: answer::outlook(news.to),
        forecast: news.forecast.as_ref().map(answer::numbers),
    })
}

#[cfg(test)]
mod tests {
    use rollcall_api::Outlook as WireOutlook;
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;

    /// So many changes, of instances with numbers for names.
    fn changes(count: usize) -> Vec<ForecastChange> {
        let change = |number: usize| ForecastChange {
            service: Some("web".to_owned()),
            id: Some(number.to_string()),
            outlook: Some(WireOutlook::Degrading),
            ..ForecastChange::default()
        };
        (0..count).map(change).collect()
    }

    fn read(frame: &Bytes) -> ForecastChanges {
        let text = std::str::from_utf8(frame).unwrap();
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("a frame has data");
        match serde_json::from_str(data).unwrap() {
            ClusterEvent::Forecast(changes) => changes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn many_changes_are_several_frames_and_none_is_lost() {
        let prospects = Prospects::new();
        prospects.tell(&changes(1), UnixMillis::new(1));
        let (mut one, mut other) = (prospects.follow(), prospects.follow());
        let all = changes(2 * FORECAST_CHANGES_MAX + 1);
        prospects.tell(&all, UnixMillis::new(7));
        let frames: Vec<Bytes> = std::iter::from_fn(|| one.try_recv().ok()).collect();
        let told: Vec<ForecastChanges> = frames.iter().map(read).collect();
        assert_eq!(told.iter().map(|told| told.items.len()).collect::<Vec<_>>(), [200, 200, 1]);
        assert!(told.iter().all(|told| told.at.millis() == 7));
        assert_eq!(told.into_iter().flat_map(|told| told.items).collect::<Vec<_>>(), all);
        assert_eq!(other.try_recv().unwrap().as_ptr(), frames[0].as_ptr(), "rendered once for all");
    }

    #[test]
    fn a_follower_that_falls_behind_is_told_so_and_takes_no_more_memory() {
        let prospects = Prospects::new();
        let mut slow = prospects.follow();
        (0..=FRAMES_MAX).for_each(|_| prospects.tell(&changes(1), UnixMillis::new(1)));
        assert_eq!(slow.try_recv(), Err(TryRecvError::Lagged(1)));
        assert_eq!(prospects.frames.len(), FRAMES_MAX);
    }
}
