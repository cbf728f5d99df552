//! What the leader writes to the log about health: transitions of status in batches, and reaps.
//!
//! ```text
//! HealthReader → Desk (what is worth writing) → one entry of the log at a time → journaled status on every node
//! critical for long → Reaper → every living node is asked → Deregister, guarded by the revision
//! ```
//! Only the leader does this; a node that becomes leader waits until its catalogue holds all that was committed before, and
//! begins with what the journal says there. Two leaders for a moment do no harm: a transition written twice changes nothing,
//! and a reap is guarded.
//!
//! Serving never waits for any of this. A lost quorum stops the journal and nothing else.

mod desk;

use std::sync::Arc;
use std::time::Duration;

use rollcall_catalog::{Actor, Command, Precondition, Reply, Request, StatusChange};
use rollcall_gossip::Handle as Gossip;
use rollcall_raft::{Consensus, Error};
use rollcall_types::{ActorName, NodeName, Text, UnixMillis};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::desk::Desk;
use super::metrics;
use super::reaper::{self, Reaper, Sentence};
use super::view::HealthReader;
use crate::clock::wall_clock;
use crate::leading::while_leading;

/// Longest wait for a quorum to take an entry.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks at what has been critical for long.
const REAP_INTERVAL: Duration = Duration::from_secs(1);
/// Who the log says did it.
const ACTOR: &str = "rollcall";

/// The leader's part in health; idle on all other nodes.
pub(super) struct Scribe {
    pub(super) me: NodeName,
    pub(super) consensus: Consensus,
    pub(super) gossip: Gossip,
    pub(super) reader: HealthReader,
}

impl Scribe {
    /// Runs until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        while_leading(&self.consensus, &stop, || self.lead()).await;
    }

    /// Writes for as long as this node leads.
    async fn lead(&self) {
        let mut changes = self.reader.changes();
        let mut desk = Desk::resume(&self.consensus.catalog());
        let mut reaper = Reaper::default();
        let mut look = interval(REAP_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        desk.follow(self.reader.load(), wall_clock());
        loop {
            let due = desk.due().map(|due| Instant::now() + due.since(self.gossip.now()));
            tokio::select! {
                // What is agreed on changed.
                changed = changes.changed() => match changed {
                    Ok(()) => desk.follow(self.reader.load(), wall_clock()),
                    Err(_) => return,
                },
                // An entry may be written.
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.write(&mut desk).await,
                // Time passes: for what must stand for a while, and for what has been critical for long.
                _ = look.tick() => {
                    desk.settle(wall_clock());
                    self.reap(&mut reaper, &desk).await;
                }
            }
            metrics::journal_waiting(desk.waiting());
        }
    }

    async fn write(&self, desk: &mut Desk) {
        let Some(transitions) = desk.next_entry(self.gossip.now()) else { return };
        let count = transitions.len();
        match self.propose(Command::RecordStatuses { transitions }).await {
            Ok(_) => {
                desk.written();
                metrics::journaled(count);
            }
            Err(error) => {
                desk.failed();
                debug!(%error, "{count} transitions of status are not in the log yet: {error}");
            }
        }
    }

    /// Deregisters what has been critical for as long as its registration allows, if all is as it must be.
    async fn reap(&self, reaper: &mut Reaper, desk: &Desk) {
        let (catalog, snapshot, members) = (self.consensus.catalog(), self.reader.load(), self.gossip.view());
        let status = self.consensus.status();
        let nodes = reaper::nodes(&members, &status);
        let round = reaper.round(&catalog, &snapshot, desk.critical(), nodes, (wall_clock(), self.gossip.now()));
        metrics::protected(round.protected);
        for sentence in reaper.confirm((&self.me, &members, &status), round.asked, self.gossip.now()).await {
            if !self.execute(sentence).await {
                // Without a quorum the others would wait in vain as well, and transitions behind them.
                return;
            }
        }
    }

    /// Returns whether the log took it.
    async fn execute(&self, sentence: Sentence) -> bool {
        let Sentence { instance, reason } = sentence;
        let (service, id) = (instance.service.clone(), instance.id.clone());
        let command = Command::Deregister {
            service: service.clone(),
            id: id.clone(),
            expect: Precondition::At(instance.modified),
            reason: Text::try_from(reason.as_str()).ok(),
        };
        let reply = self.propose(command).await;
        match &reply {
            Ok(Reply::Removed { existed: true }) => {
                metrics::reaped();
                info!(service.name = %service, instance.id = %id, "deregistered {service}/{id}: {reason}");
            }
            // It changed meanwhile, or somebody else removed it.
            Ok(_) => {}
            Err(error) => warn!(
                service.name = %service, instance.id = %id, %error,
                "{service}/{id} should be deregistered ({reason}) and is not yet: {error}"
            ),
        }
        reply.is_ok()
    }

    /// Puts a command into the log.
    async fn propose(&self, command: Command) -> Result<Reply, Error> {
        let name = ActorName::try_from(ACTOR).expect("a short word is a name");
        let actor = Actor { name, via: self.me.clone() };
        // Applied twice, it changes nothing more.
        let request = Request { id: None, at: UnixMillis::default(), actor, command };
        let outcome = self.consensus.propose(request, Instant::now() + WRITE_DEADLINE).await?;
        Ok(outcome.reply)
    }
}

/// Transitions as the log takes them.
type Entry = Arc<[StatusChange]>;
