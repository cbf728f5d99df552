//! What this node probes, when, and what it concludes: without sockets and without a clock.
//!
//! ```text
//! duties, catalogue → assign / release ┐                        ┌→ Order → prober ┐
//! doubts of others  → challenge        ├→ records, one queue ───┤                 └→ ended ┐
//! leases            → vouched          ┘   of what is due       └→ Report → gossip ◄───────┘
//! ```
//! Everything that will be due, of whatever kind, is one entry for each instance in one queue, so a tick costs what is due
//! and not what there is. At most [`UNDER_WAY_MAX`] probes run at once or wait for their turn at the prober; what is due beyond
//! that waits in the queue, in the order in which it was due, and evidence that grows too old meanwhile is withdrawn by itself.
//!
//! **Confirming.** Of instances that this node only confirms it has no record until another looker doubts, and drops it when
//! nobody doubts any more.
//!
//! Limits: some 700 bytes for each instance that is probed, and 600 for each of its series ([`super::trends`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rollcall_catalog::Instance;
use rollcall_health::check::{Answer, Load};
use rollcall_health::lease::LeaseWatch;
use rollcall_health::{ChunkId, Reading, ScoreStep, Slot, Status};
use rollcall_types::{CheckId, CheckKind, CheckSpec, MonoTime};

use super::checks::Vouchers;
use super::doubt::Doubt;
use super::duties::Duty;
use super::slots::tenancy_of;
use super::tracked::{Moment, Registered, Report, Run, Tracked};
use super::trends::Forecasting;

/// Most probes that run, or wait for their turn at the prober: some 2 KiB each. Many more than may wait for one host
/// ([`crate::probe`]), so that one that hangs does not keep others from their turn.
pub(crate) const UNDER_WAY_MAX: usize = 16_384;
/// Most bytes that are kept of what checks said, beyond a short beginning of each.
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// A probe to run.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) slot: Slot,
    pub(crate) ticket: u64,
    pub(crate) check: CheckId,
    pub(crate) instance: Arc<Instance>,
}

impl Order {
    /// What to run.
    pub(crate) fn spec(&self) -> Option<&CheckSpec> {
        self.instance.spec.checks.iter().find(|check| check.id == self.check)
    }
}

/// A metrics page to read.
#[derive(Debug, Clone)]
pub(crate) struct Scrape {
    pub(crate) slot: Slot,
    pub(crate) ticket: u64,
    pub(crate) url: String,
    pub(crate) timeout: Duration,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Probes to run; each is to be followed by [`Schedule::ended`].
    pub(crate) orders: Vec<Order>,
    /// Metrics pages to read, at most one for each order; each is to be followed by [`Schedule::scraped`].
    pub(crate) scrapes: Vec<Scrape>,
    /// What to say.
    pub(crate) reports: Vec<Report>,
}

/// All instances that this node looks at.
///
/// Invariants:
/// - `queue` holds each slot of `tracked` with something to do once, at its `queued_at`, and no others.
/// - `aliases` holds the slots of `tracked` with a check by alias; `output_bytes` is the sum of theirs.
pub(crate) struct Schedule {
    tracked: BTreeMap<Slot, Tracked>,
    queue: BTreeSet<(MonoTime, Slot)>,
    /// Slots by when there is a lease to look at, or something to say again.
    upkeep: BTreeSet<(MonoTime, Slot)>,
    aliases: BTreeSet<Slot>,
    under_way: usize,
    tickets: u64,
    output_bytes: usize,
    forecasting: Forecasting,
    /// 64 random bits.
    draw: fn() -> u64,
}

impl Schedule {
    /// A schedule of nothing. `draw` gives 64 random bits.
    pub(crate) fn new(forecasting: Forecasting, draw: fn() -> u64) -> Self {
        Self {
            tracked: BTreeMap::new(),
            queue: BTreeSet::new(),
            upkeep: BTreeSet::new(),
            aliases: BTreeSet::new(),
            under_way: 0,
            tickets: 0,
            output_bytes: 0,
            forecasting,
            draw,
        }
    }

    /// Looks at the instance that has `slot` now, with this duty. What was found out about the same registration is kept.
    pub(crate) fn assign(&mut self, slot: Slot, registered: &Registered, duty: Duty, moment: Moment) {
        if let Some(tracked) = self.tracked.get_mut(&slot)
            && tracked.adopt(&registered.instance, duty)
        {
            tracked.record_mut().expect(registered.expected);
            return;
        }
        let registered = self.with_known_checks(slot, registered);
        self.release(slot);
        let mut tracked = Tracked::new(&registered, duty, moment, self.draw);
        self.tickets += 1;
        tracked.ticket = self.tickets;
        if tracked.instance().spec.checks.iter().any(|check| matches!(check.kind, CheckKind::Alias { .. })) {
            self.aliases.insert(slot);
        }
        self.tracked.insert(slot, tracked);
        self.queue(slot);
    }

    /// The same with what is known here of the checks that an instance keeps while others come or go.
    fn with_known_checks(&self, slot: Slot, registered: &Registered) -> Registered {
        let (instance, mut registered) = (&registered.instance, registered.clone());
        let same = self.tracked.get(&slot).filter(|it| tenancy_of(it.instance()) == tenancy_of(instance));
        if let Some(tracked) = same.filter(|it| it.instance().spec.checks != instance.spec.checks) {
            registered.checks = tracked.checks_for(&instance.spec);
        }
        registered
    }

    /// What to say of the instance of a slot before [`Self::release`], when others are to look at it.
    pub(crate) fn last_word(&mut self, slot: Slot, now: MonoTime) -> Option<Report> {
        self.tracked.get_mut(&slot)?.last_word(slot, now)
    }

    /// Looks away from a slot. What was said stands until it runs out.
    pub(crate) fn release(&mut self, slot: Slot) {
        if let Some(tracked) = self.tracked.remove(&slot) {
            tracked.queued_at.map(|at| self.queue.remove(&(at, slot)));
            tracked.upkept_at.map(|at| self.upkeep.remove(&(at, slot)));
            self.aliases.remove(&slot);
            self.output_bytes -= tracked.output_bytes();
            self.forecasting.release(tracked.trends());
        }
    }

    /// What is due now.
    pub(crate) fn due(&mut self, vouchers: Vouchers<'_>, at: Reading) -> Due {
        let mut due = Due { reports: self.keep_up(vouchers, at), ..Due::default() };
        while let Some(&(when, slot)) = self.queue.first().filter(|(when, _)| *when <= at.now) {
            let room = UNDER_WAY_MAX - self.under_way;
            if room == 0 {
                break;
            }
            let Some(tracked) = self.tracked.get_mut(&slot) else {
                self.queue.remove(&(when, slot));
                continue;
            };
            let begun = tracked.begin(room, at.now);
            self.under_way += begun.len();
            let ticket = tracked.ticket;
            let scrape = begun.iter().find_map(|check| tracked.begin_scrape(check));
            due.scrapes.extend(scrape.map(|(url, timeout)| Scrape { slot, ticket, url, timeout }));
            let instance = tracked.instance();
            due.orders.extend(begun.into_iter().map(|check| Order { slot, ticket, check, instance: instance.clone() }));
            self.queue(slot);
        }
        due
    }

    /// Looks at leases whose time is over, and says again what would run out. Needs no room for probes: targets that hang must not
    /// keep others in service, or take them out.
    fn keep_up(&mut self, vouchers: Vouchers<'_>, at: Reading) -> Vec<Report> {
        let mut reports = Vec::new();
        while let Some(&(when, slot)) = self.upkeep.first().filter(|(when, _)| *when <= at.now) {
            let Some(tracked) = self.tracked.get_mut(&slot) else {
                self.upkeep.remove(&(when, slot));
                continue;
            };
            if tracked.is_lease_due(at.now) {
                tracked.look_at_lease(slot, vouchers, at);
            }
            reports.extend(self.say(slot, at.now));
            self.queue(slot);
        }
        reports
    }

    /// When [`Self::due`] has something to do; `None` while nothing is to be done, or nothing can be before a probe has ended.
    pub(crate) fn next_due(&self) -> Option<MonoTime> {
        let probe = self.queue.first().filter(|_| self.under_way < UNDER_WAY_MAX);
        probe.into_iter().chain(self.upkeep.first()).map(|(when, _)| *when).min()
    }

    /// A probe ended. Returns what to say.
    pub(crate) fn ended(&mut self, order: &Order, run: Run, now: MonoTime) -> Option<Report> {
        self.under_way -= 1;
        let slot = order.slot;
        let tracked = self.tracked.get_mut(&slot).filter(|tracked| tracked.ticket == order.ticket)?;
        let (before, has_room) = (tracked.output_bytes(), self.output_bytes < OUTPUT_BYTES_MAX);
        let outcome = run.outcome;
        if outcome.answer == Answer::PutOff {
            // Nothing was seen: what was said before is not said again, and runs out.
            tracked.put_off(&order.check, outcome, now, (self.draw)());
            self.queue(slot);
            return None;
        }
        tracked.end(&order.check, run, has_room, now, (self.draw)());
        let news = tracked.follow_trends(&order.check, outcome, &mut self.forecasting, now);
        self.output_bytes = self.output_bytes - before + tracked.output_bytes();
        self.say(slot, now).map(|report| Report { news, ..report })
    }

    /// What to say of the instance of a slot now. A confirmer whose doubt is over takes back what it said, and looks away.
    fn say(&mut self, slot: Slot, now: MonoTime) -> Option<Report> {
        let tracked = self.tracked.get_mut(&slot)?;
        if tracked.duty() == Duty::Confirm && tracked.is_calm(now) {
            let withdrawal = tracked.withdrawal(slot);
            self.release(slot);
            return Some(withdrawal);
        }
        let report = tracked.report(slot, now);
        self.queue(slot);
        report
    }

    /// A metrics page was read; `load` is what it said. It is told with the next outcome.
    pub(crate) fn scraped(&mut self, scrape: &Scrape, load: Option<Load>, now: MonoTime) {
        let tracked = self.tracked.get_mut(&scrape.slot).filter(|tracked| tracked.ticket == scrape.ticket);
        if let Some(tracked) = tracked {
            tracked.end_scrape(load, &mut self.forecasting, now);
        }
    }

    /// Takes in what other lookers newly show of an instance that this node probes or confirms.
    pub(crate) fn doubt(&mut self, slot: Slot, registered: &Registered, duty: Duty, doubt: Doubt, moment: Moment) {
        let is_tracked = self.tracked.contains_key(&slot);
        if !is_tracked && duty == Duty::Confirm && (doubt.stands || doubt.is_failing) {
            self.assign(slot, registered, duty, moment);
        }
        let Some(tracked) = self.tracked.get_mut(&slot) else { return };
        if tracked.heed(doubt, !is_tracked, moment.at.now) {
            self.queue(slot);
        }
    }

    /// Probes an instance twice as often as defined while its failure is predicted.
    pub(crate) fn hasten(&mut self, slot: Slot, is_hastened: bool) {
        if let Some(tracked) = self.tracked.get_mut(&slot) {
            tracked.record_mut().hasten(is_hastened);
        }
    }

    /// Looks at who vouches for the leases of a chunk. Returns what to say.
    pub(crate) fn look_at_leases(&mut self, chunk: ChunkId, vouchers: Vouchers<'_>, at: Reading) -> Vec<Report> {
        let mut reports = Vec::new();
        for slot in chunk.slots() {
            let Some(tracked) = self.tracked.get_mut(&slot).filter(|tracked| tracked.lease().is_some()) else {
                continue;
            };
            let score = |tracked: &Tracked| tracked.lease().and_then(LeaseWatch::score).map(ScoreStep::nearest);
            let says = |tracked: &Tracked| (tracked.record().state().status, tracked.checks(), score(tracked));
            let before = says(tracked);
            tracked.look_at_lease(slot, vouchers, at);
            if says(tracked) != before {
                reports.extend(tracked.report(slot, at.now));
            }
            self.queue(slot);
        }
        reports
    }

    /// Lets all checks by alias follow what they name; `status_of` says what that is worth. Returns what to say.
    pub(crate) fn follow_aliases(
        &mut self,
        mut status_of: impl FnMut(&CheckKind) -> Status,
        now: MonoTime,
    ) -> Vec<Report> {
        let mut reports = Vec::new();
        for slot in &self.aliases {
            let Some(tracked) = self.tracked.get_mut(slot) else { continue };
            let instance = tracked.instance().clone();
            for check in &instance.spec.checks {
                if let CheckKind::Alias { .. } = check.kind {
                    let (status, before) = (status_of(&check.kind), tracked.checks());
                    let has_turned = tracked.record_mut().follow(&check.id, status, now).is_some();
                    if has_turned || tracked.checks() != before {
                        reports.extend(tracked.report(*slot, now));
                    }
                }
            }
        }
        reports
    }

    /// The expected response time of an instance's service changed.
    pub(crate) fn expect(&mut self, slot: Slot, expected: Option<Duration>) {
        if let Some(tracked) = self.tracked.get_mut(&slot) {
            tracked.record_mut().expect(expected);
        }
    }

    /// What is known of the instance of a slot, if this node looks at it.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Tracked> {
        self.tracked.get(&slot)
    }

    /// Of the series of all instances: the bytes that they take, and the samples that began none for want of room.
    pub(crate) fn series(&self) -> (usize, u64) {
        (self.forecasting.bytes(), self.forecasting.without_room())
    }

    /// Instances that this node looks at.
    pub(crate) fn len(&self) -> usize {
        self.tracked.len()
    }

    /// Probes that run.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    /// How long the oldest probe that is due has waited.
    pub(crate) fn behind(&self, now: MonoTime) -> Duration {
        self.queue.first().map_or(Duration::ZERO, |(when, _)| now.since(*when))
    }

    /// Puts a slot where it belongs in both queues.
    fn queue(&mut self, slot: Slot) {
        let Some(tracked) = self.tracked.get_mut(&slot) else { return };
        let (probe_at, upkeep_at) = (tracked.probe_at(), tracked.upkeep_at());
        put(&mut self.queue, slot, &mut tracked.queued_at, probe_at);
        put(&mut self.upkeep, slot, &mut tracked.upkept_at, upkeep_at);
    }
}

/// Moves a slot in a queue from `present` to another time, or out of it.
fn put(queue: &mut BTreeSet<(MonoTime, Slot)>, slot: Slot, present: &mut Option<MonoTime>, at: Option<MonoTime>) {
    let before = std::mem::replace(present, at);
    if before != at {
        before.map(|at| queue.remove(&(at, slot)));
        at.map(|at| queue.insert((at, slot)));
    }
}

#[cfg(test)]
mod tests;
