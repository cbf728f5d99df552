//! The health of instances, at one node: who looks at what, what is seen, what all observers agree on.
//!
//! ```text
//! catalogue → slots ┐                                              ┌→ prober → outcomes ┐
//! members → duties ─┼→ schedule ── probes that are due ────────────┘                    │
//! leases ───────────┘      ▲ records ◄──────────────────────────────────────────────────┘
//!   ▲ heartbeats           └→ reports → digests → gossip → digests of all → view → HealthReader
//!
//! reports → each check ── checks ── gossip ── view: what all observers agree on of each check
//! heartbeats → each check by heartbeats ── checks ── gossip ── schedule: what a looker makes of it
//! outcomes → trends → what is expected → digests (trend, class of time) and forecasts (numbers) → gossip → view
//! ```
//! Everything that decides is pure and lies in `rollcall-health`, [`slots`], [`duties`], [`doubt`], [`schedule`], [`trends`] and [`view`];
//! [`task`] is the one task that drives it. This node's own reports come back to it through gossip, as those of all
//! others do, so all nodes agree as soon as they have heard the same. On the leader, [`journal`] writes down what they agree on.

pub(crate) mod answer;
mod ask;
mod checks;
mod detail;
mod doubt;
mod duties;
#[cfg(test)]
mod fixture;
mod forecasts;
mod inbox;
mod journal;
mod leases;
pub(crate) mod metrics;
mod notes;
mod prober;
mod reaper;
mod schedule;
mod slots;
pub(crate) mod summary;
mod task;
mod tracked;
pub(crate) mod trends;
mod view;

use std::sync::Arc;

use rollcall_catalog::Instance;
use rollcall_gossip::Handle as Gossip;
use rollcall_health::forecast::Options;
use rollcall_health::{Freshness, HealthView};
use rollcall_raft::Consensus;
use rollcall_types::NodeName;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) use self::ask::ask;
pub(crate) use self::detail::{Detail, Heard, Seen, SeenCheck};
pub(crate) use self::forecasts::Told;
pub(crate) use self::leases::{HeardCheck, Heartbeat, Leases, NotRenewed, Renewed};
pub(crate) use self::prober::Probe;
pub(crate) use self::slots::is_watched;
pub(crate) use self::tracked::Run;
pub(crate) use self::view::{HealthReader, HealthSnapshot, InstanceHealth, OutlookChange};

/// Health of instances. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Health {
    reader: HealthReader,
    leases: Arc<Leases>,
    gossip: Gossip,
    questions: mpsc::Sender<detail::Question>,
}

impl Health {
    /// Begins to look at instances, until `stop`.
    pub(crate) fn start(
        me: NodeName,
        consensus: Consensus,
        gossip: Gossip,
        prober: impl Probe,
        forecast: Options,
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let leases = Arc::new(Leases::new(me.clone(), gossip.clone()));
        let (questions, asked) = mpsc::channel(detail::QUESTION_QUEUE);
        let parts = task::Parts {
            me: me.clone(),
            consensus: consensus.clone(),
            gossip: gossip.clone(),
            prober,
            forecast,
            leases: leases.clone(),
            questions: asked,
        };
        let task = task::Task::new(parts);
        let reader = task.reader();
        let scribe = journal::Scribe { me, consensus, gossip: gossip.clone(), reader: reader.clone() };
        let health = Self { reader, leases, gossip, questions };
        let work = async move {
            tokio::join!(task.run(stop.clone()), scribe.run(stop));
        };
        (health, tokio::spawn(work))
    }

    /// The health of all instances.
    pub(crate) fn reader(&self) -> &HealthReader {
        &self.reader
    }

    /// For heartbeats.
    pub(crate) fn leases(&self) -> &Leases {
        &self.leases
    }

    /// What all observers are heard to say of an instance, in the order of their names.
    pub(crate) fn heard(&self, instance: &Instance) -> Vec<Heard> {
        Self::heard_in(&self.gossip.health(), instance)
    }

    /// What those say who hear the heartbeats of an instance, in the order of their names.
    pub(crate) fn vouching(&self, instance: &Instance) -> Vec<Heard> {
        Self::heard_in(&self.gossip.leases().view(), instance)
    }

    fn heard_in(view: &HealthView, instance: &Instance) -> Vec<Heard> {
        let Some(slot) = slots::slot_of(instance) else { return Vec::new() };
        let heard = view.sightings(slot, slots::tenancy_of(instance)).map(|sighting| Heard {
            observer: sighting.observer.clone(),
            said: sighting.said,
            counts: sighting.freshness == Freshness::Fresh,
            observation: sighting.observation,
        });
        heard.collect()
    }

    /// What this node knows of an instance; `None` when it has too much to do to say so soon, or stops.
    pub(crate) async fn detail(&self, instance: &Instance) -> Option<Detail> {
        let (reply, answer) = oneshot::channel();
        let slot = slots::slot_of(instance)?;
        let question = detail::Question { slot, tenancy: slots::tenancy_of(instance), reply };
        let asked = async {
            self.questions.send(question).await.ok()?;
            answer.await.ok()
        };
        timeout(detail::ANSWER_DEADLINE, asked).await.ok()?
    }
}
