//! What is known of one member.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollcall_types::{MonoTime, NodeName};

use super::damping::Damping;
use super::evidence::{Heard, Lateness};
use super::rivals::Rivals;
use super::verdict::{Cause, State};

/// A question of life or death: a ping and ping-reqs with one nonce.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    pub(super) nonce: u64,
    /// Observed.
    pub(super) sent_at: MonoTime,
}

/// A direct ping whose answer measures the round trip.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ping {
    pub(super) nonce: u64,
    /// By the shell's clock: a round trip is real time.
    pub(super) sent_at: MonoTime,
}

/// All stamps but `since` are in observed time.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) life: Heard,
    pub(super) state: State,
    pub(super) since: MonoTime,
    pub(super) cause: Cause,
    /// When its heartbeat last advanced or it answered.
    pub(super) progress_at: MonoTime,
    /// Whether that ever happened: gossip also tells of members that died before we came.
    pub(super) has_progressed: bool,
    pub(super) damping: Damping,
    pub(super) probe: Option<Probe>,
    /// Our own suspicion.
    pub(super) suspected: Option<Heard>,
    /// The suspicions of others, refuted ones among them until their origins take them back.
    pub(super) witnesses: BTreeMap<NodeName, Heard>,
    pub(super) lateness: Lateness,
    /// Whom it says it does not hear.
    pub(super) unheard_by_it: BTreeSet<NodeName>,
    pub(super) rivals: Rivals,
    pub(super) ping: Option<Ping>,
    pub(super) rtt: Option<Duration>,
    /// When something last came straight from it.
    pub(super) heard_at: MonoTime,
    /// Pings since then.
    pub(super) unanswered: u32,
    pub(super) is_unheard: bool,
    /// When to ping it next though it was heard, for the round-trip time.
    pub(super) ping_at: MonoTime,
    /// Of its name, for the choice of monitors.
    pub(super) hash: u64,
}

impl Record {
    /// A member of which gossip spoke for the first time.
    pub(super) fn discovered(life: Heard, hash: u64, since: MonoTime, observed: MonoTime) -> Self {
        Self {
            life,
            state: State::Alive,
            since,
            cause: Cause::Discovered,
            progress_at: observed,
            has_progressed: false,
            damping: Damping::new(observed),
            probe: None,
            suspected: None,
            witnesses: BTreeMap::new(),
            lateness: Lateness::OnTime,
            unheard_by_it: BTreeSet::new(),
            rivals: Rivals::new(observed),
            ping: None,
            rtt: None,
            heard_at: observed,
            unanswered: 0,
            is_unheard: false,
            ping_at: observed,
            hash,
        }
    }

    pub(super) fn silence(&self, observed: MonoTime) -> Duration {
        observed.since(self.progress_at)
    }

    /// Neither dead nor gone.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Alive | State::Suspect)
    }

    /// Takes back what was measured of its silence: it was not the member that failed.
    pub(super) fn pardon(&mut self, observed: MonoTime) {
        if self.is_live() {
            self.progress_at = observed;
            self.suspected = None;
        }
        self.probe = None;
        self.heard_at = observed;
        self.unanswered = 0;
    }
}
