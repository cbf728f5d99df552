//! What ends sessions that hold keys, and lets keys be locked again.
//!
//! ```text
//! catalogue: sessions and their last renewals, keys with a lock delay ┐
//! quorum, members, health of instances ──────────────────────────────┴→ Steward → CloseSession, EndLockDelays → log
//! ```
//! Only the leader does this. It measures from the moment at which it saw a renewal, on a clock that no operator sets, and says in
//! the log which renewal that was: an end that did not know of a later renewal is refused there. A new leader, and one that
//! could not reach a quorum, begins to measure anew, since nobody could have renewed meanwhile. So a session may last up to
//! twice its time to live, and never ends early.

mod clocks;

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use rollcall_catalog::{Actor, Catalog, Command, LockSession, Reply, Request};
use rollcall_gossip::{Handle as Gossip, MembershipView};
use rollcall_health::Status;
use rollcall_health::detector::State;
use rollcall_raft::{Consensus, RaftStatus};
use rollcall_types::{ActorName, MonoTime, NodeName, SessionCheck, Text, UnixMillis};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use self::clocks::Clocks;
use crate::health::{HealthReader, HealthSnapshot};
use crate::leading::while_leading;

/// Between two looks at all sessions.
const LOOK: Duration = Duration::from_millis(250);
/// Longest wait for a quorum.
const DEADLINE: Duration = Duration::from_secs(2);
/// Sessions whose end is on its way to the log at once: the log takes many in one write.
const CLOSED_AT_ONCE: usize = 256;
/// Lock delays that end with one entry of the log; the rest wait for the next look.
const DELAYS_AT_ONCE: usize = 1_000;
/// So long after it started a leader waits to hear of a member before it takes it for dead: longer than the detector needs for any.
const HEARING: Duration = Duration::from_secs(30);
/// Who the log says did it.
const ACTOR: &str = "rollcall";

const SESSIONS: &str = "rollcall_lock_sessions";
const ENDED: &str = "rollcall_lock_sessions_ended_total";

/// Describes the metrics.
pub(crate) fn describe() {
    describe_gauge!(SESSIONS, "Open sessions that may hold keys, as the leader counts them");
    describe_counter!(ENDED, "Sessions that the leader ended, by cause");
}

/// The leader's part in locks; idle on all other nodes.
pub(crate) struct Steward {
    pub(crate) me: NodeName,
    pub(crate) consensus: Consensus,
    pub(crate) gossip: Gossip,
    pub(crate) health: HealthReader,
}

impl Steward {
    /// Runs until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while_leading(&self.consensus, &stop, || self.lead()).await;
    }

    async fn lead(&self) {
        let mut clocks = Clocks::default();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let catalog = self.consensus.catalog();
            gauge!(SESSIONS).set(catalog.lock_sessions().len() as f64);
            if catalog.lock_sessions().is_empty() && catalog.lock_delays().is_empty() {
                continue;
            }
            // A leader without a quorum hears of no renewals, and one that was asleep has not heard of them yet.
            if self.consensus.read_barrier(Instant::now() + DEADLINE).await.is_err() {
                clocks = Clocks::default();
                continue;
            }
            self.look(&mut clocks).await;
        }
    }

    async fn look(&self, clocks: &mut Clocks) {
        let catalog = self.consensus.catalog();
        let now = self.gossip.now();
        clocks.follow(catalog.lock_sessions(), catalog.lock_delays(), now);
        let (members, health, status) = (self.gossip.view(), self.health.load(), self.consensus.status());
        let nodes = Nodes { status: &status, view: &members };
        let over = catalog.lock_sessions().values().filter_map(|session| {
            let expired = clocks.is_expired(session, now).then(|| Cause::expired(session));
            Some((session, expired.or_else(|| cause(session, &catalog, &nodes, &health))?))
        });
        stream::iter(over).for_each_concurrent(CLOSED_AT_ONCE, |(session, cause)| self.close(session, cause)).await;
        let ended: Vec<_> = clocks.delays_over(catalog.lock_delays(), now).take(DELAYS_AT_ONCE).collect();
        if !ended.is_empty() {
            self.propose(Command::EndLockDelays { ended: ended.into() }).await;
        }
    }

    async fn close(&self, session: &LockSession, cause: Cause) {
        let reason = Text::try_from(cause.text.as_str()).ok();
        let command = Command::CloseSession { id: session.id, renewed: Some(session.renewed), reason };
        if let Some(Reply::Removed { existed: true }) = self.propose(command).await {
            counter!(ENDED, "cause" => cause.word).increment(1);
            info!(session.id = %session.id, "session {} ended: {}", session.id, cause.text);
        }
    }

    /// What the log answered; `None` when it took nothing, and the next look tries again.
    async fn propose(&self, command: Command) -> Option<Reply> {
        let name = ActorName::try_from(ACTOR).expect("a short word is a name");
        let actor = Actor { name, via: self.me.clone() };
        let request = Request { id: None, at: UnixMillis::default(), actor, command };
        match self.consensus.propose(request, Instant::now() + DEADLINE).await {
            Ok(outcome) => Some(outcome.reply),
            Err(error) => {
                debug!(%error, "the end of a session is not in the log yet: {error}");
                None
            }
        }
    }
}

/// The nodes of the cluster, by both truths: who belongs to it, and who is heard.
struct Nodes<'v> {
    status: &'v RaftStatus,
    view: &'v MembershipView,
}

impl Nodes<'_> {
    /// In a word what became of a node that is there no more.
    fn lost(&self, name: &NodeName) -> Option<&'static str> {
        let mut members = self.status.voters.values().chain(self.status.learners.values());
        let is_member = members.any(|member| member.name == *name);
        match self.view.state(name) {
            Some(State::Dead) => Some("dead"),
            Some(State::Left) => Some("gone"),
            Some(State::Alive | State::Suspect) => None,
            None if !is_member => Some("no member of the cluster"),
            // Whom a node never heard it does not miss; a session that hangs on it does.
            None => (self.view.taken_at.since(MonoTime::default()) > HEARING).then_some("not heard of"),
        }
    }
}

/// Why a session ends.
struct Cause {
    /// For metrics.
    word: &'static str,
    /// For people.
    text: String,
}

impl Cause {
    fn expired(session: &LockSession) -> Self {
        let ttl = session.spec.ttl.unwrap_or_default();
        Self { word: "expired", text: format!("it was not renewed for {ttl}") }
    }
}

/// What the session hangs on and is not there any more.
fn cause(session: &LockSession, catalog: &Catalog, nodes: &Nodes<'_>, health: &HealthSnapshot) -> Option<Cause> {
    session.spec.checks.iter().find_map(|check| match check {
        SessionCheck::Node => {
            let node = &session.spec.node;
            let lost = nodes.lost(node)?;
            Some(Cause { word: "node", text: format!("node {node} is {lost}") })
        }
        SessionCheck::Instance { service, id, check } => {
            let Some(instance) = catalog.instance(service, id) else {
                return Some(Cause { word: "deregistered", text: format!("{service}/{id} is deregistered") });
            };
            let Some(found) = instance.spec.checks.iter().find(|found| found.id == *check) else {
                let text = format!("check {check} of {service}/{id} is deregistered");
                return Some(Cause { word: "deregistered", text });
            };
            let is_critical = health.of(catalog, instance).of_check(instance, found) == Status::Critical;
            is_critical.then(|| Cause { word: "check", text: format!("check {check} of {service}/{id} is critical") })
        }
    })
}
