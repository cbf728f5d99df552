//! One instance that a node looks at: its record, and its lease.

use std::sync::Arc;
use std::time::Duration;

use rollcall_catalog::Instance;
use rollcall_health::check::{Cause, InstanceRecord, Outcome, STARTUP_MAX};
use rollcall_health::lease::{LeaseState, LeaseWatch};
use rollcall_health::{HealthView, Publisher, Reading, Slot, Status};
use rollcall_types::MonoTime;

use super::health::tenancy_of;
use crate::dice::Dice;

/// How long an observation holds after a node has looked away, and how long a doubt takes to become a verdict, as in the shell.
const LAST_WORD: Duration = Duration::from_secs(30);
const CALM: Duration = Duration::from_secs(10);

/// What a node has to do about instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// To look all the time.
    Probe,
    /// To look when another looker sees a failure.
    Confirm,
    /// Nothing.
    Idle,
}

/// What is known of an instance when a node begins to look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    pub(crate) known: Status,
    pub(crate) is_new: bool,
    pub(crate) age: Duration,
}

/// One instance that a node looks at.
#[derive(Debug)]
pub(crate) struct Tracked {
    pub(crate) instance: Arc<Instance>,
    pub(crate) duty: Duty,
    record: InstanceRecord,
    lease: Option<LeaseWatch>,
    is_doubted: bool,
    doubted_at: MonoTime,
}

impl Tracked {
    pub(crate) fn new(instance: &Arc<Instance>, duty: Duty, begun: Begun, at: Reading, dice: &mut Dice) -> Self {
        let (spec, now) = (&instance.spec, at.now);
        let may_be_starting = duty == Duty::Probe && begun.is_new;
        let startup_left = if may_be_starting { STARTUP_MAX.saturating_sub(begun.age) } else { Duration::ZERO };
        // Whoever confirms is asked because others see it expired, and has no time of grace to give.
        let known = if duty == Duty::Confirm { Status::Critical } else { begun.known };
        let mut record =
            InstanceRecord::new(&spec.checks, spec.lease.is_some(), None, startup_left, now, || dice.roll());
        if duty == Duty::Confirm {
            record.challenge(now);
        }
        Self {
            lease: spec.lease.map(|lease| LeaseWatch::new(lease.ttl.duration(), known, at)),
            instance: instance.clone(),
            duty,
            record,
            is_doubted: duty == Duty::Confirm,
            doubted_at: now,
        }
    }

    /// Takes another record of the same tenant, if it asks for the same; `false` when it does not.
    pub(crate) fn adopt(&mut self, instance: &Arc<Instance>, duty: Duty) -> bool {
        let (before, after) = (&self.instance.spec, &instance.spec);
        let is_same = tenancy_of(&self.instance) == tenancy_of(instance)
            && self.duty == duty
            && (Arc::ptr_eq(before, after) || (before.checks == after.checks && before.lease == after.lease));
        if is_same && !Arc::ptr_eq(&self.instance, instance) {
            self.instance = instance.clone();
        }
        is_same
    }

    /// Whether another looker sees it failing now.
    pub(crate) fn heed(&mut self, is_doubted: bool, now: MonoTime) {
        if is_doubted && !self.is_doubted {
            self.doubted_at = now;
        }
        self.is_doubted = is_doubted;
    }

    pub(crate) fn look_at_lease(&mut self, slot: Slot, vouchers: &HealthView, at: Reading) {
        let Some(lease) = &mut self.lease else { return };
        let vouching = vouchers.sightings(slot, tenancy_of(&self.instance));
        lease.observe(vouching, |name| vouchers.fresh_generation(name), at);
        let why = if lease.state() == LeaseState::Held { Cause::Reported } else { Cause::HeartbeatMissed };
        self.record.lease(lease.status(), why, lease.score(), at.now);
    }

    /// Runs the checks that are due, which end at once.
    pub(crate) fn probe(&mut self, outcome: Outcome, now: MonoTime, dice: &mut Dice) {
        while let Some(check) = self.record.due().filter(|(due, _)| *due <= now).map(|(_, check)| check.clone()) {
            self.record.observe(&check, outcome, now, dice.roll());
        }
    }

    /// Whether a confirmer may look away.
    pub(crate) fn is_calm(&self, now: MonoTime) -> bool {
        let has_seen = matches!(self.record.state().status, Status::Passing | Status::Warning);
        self.duty == Duty::Confirm && has_seen && !self.is_doubted && now.since(self.doubted_at) >= CALM
    }

    /// Says what it amounts to now, if there is a verdict.
    pub(crate) fn say(&self, slot: Slot, seen: &mut Publisher, now: MonoTime) {
        self.say_for(self.record.valid_for(), slot, seen, now);
    }

    /// The same for the last time, until others have looked; nothing of what rests on probes.
    pub(crate) fn say_last(&self, slot: Slot, seen: &mut Publisher, now: MonoTime) {
        if self.instance.spec.checks.is_empty() {
            self.say_for(LAST_WORD, slot, seen, now);
        }
    }

    fn say_for(&self, valid_for: Duration, slot: Slot, seen: &mut Publisher, now: MonoTime) {
        let state = self.record.state();
        if state.status != Status::Unknown || state.cause != Cause::NotSeen {
            seen.observe(slot, tenancy_of(&self.instance), self.record.observation(now), valid_for, now);
        }
    }
}
