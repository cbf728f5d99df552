//! What others say: what they see, which heartbeats they hear, what they expect and what they make of each check.

use rollcall_gossip::Update;
use rollcall_health::forecast::Outlook;
use rollcall_health::{ChunkId, HealthView};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

use super::Task;
use crate::clock::wall_clock;
use crate::health::checks::Vouchers;
use crate::health::doubt::Doubt;
use crate::health::duties::Duty;
use crate::health::forecasts::told;
use crate::health::prober::Probe;
use crate::health::slots::{is_watched, tenancy_of};
use crate::health::tracked::Moment;

impl<P: Probe> Task<P> {
    /// Takes in what all observers see now.
    pub(super) fn follow_sightings(&mut self, updates: &mut broadcast::Receiver<Update>) {
        let moment = self.moment();
        let before = std::mem::replace(&mut self.sightings, self.digests.view());
        self.hear_all(updates);
        let changed = self.sightings.changed_since(&before);
        changed.iter().for_each(|chunk| self.stale.chunk(*chunk));
        // Before somebody is asked to look who begins with what is known.
        self.refresh();
        changed.into_iter().for_each(|chunk| self.doubt(chunk, &before, moment));
    }

    /// Looks again at what other lookers doubt, or see recovering, of what this node looks at.
    pub(super) fn doubt(&mut self, chunk: ChunkId, before: &HealthView, moment: Moment) {
        let duty = self.duties.duty(chunk);
        if duty == Duty::Idle {
            return;
        }
        for slot in chunk.slots() {
            let Some(instance) = self.slots.tenant(slot).filter(|instance| is_watched(instance)) else { continue };
            let place = (slot, tenancy_of(instance));
            let doubt = Doubt::of(&self.me, self.duties.watch(chunk), place, before, &self.sightings);
            let predicted = told(&self.inbox, slot, place.1, &self.sightings);
            self.schedule.hasten(slot, predicted.is_some_and(|it| it.forecast.outlook() == Outlook::FailurePredicted));
            if doubt.is_news() || duty == Duty::Confirm {
                let registered = self.registered(slot, instance);
                self.schedule.doubt(slot, &registered, duty, doubt, moment);
            }
        }
    }

    /// Takes in a change of a value, and all that wait behind it.
    pub(super) fn hear(&mut self, update: Update, updates: &mut broadcast::Receiver<Update>) {
        self.take_in(&update);
        self.hear_all(updates);
    }

    /// Takes in all changes of values that are there. A digest was published after the page of the same moment, so whoever looks at
    /// digests does this first.
    fn hear_all(&mut self, updates: &mut broadcast::Receiver<Update>) {
        loop {
            match updates.try_recv() {
                Ok(update) => self.take_in(&update),
                Err(TryRecvError::Lagged(_)) => self.hear_anew(),
                // The receiver is told so when it waits again.
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn take_in(&mut self, update: &Update) {
        let wall = wall_clock();
        if let Some(chunk) = self.inbox.receive(update, wall) {
            self.expect_anew(chunk);
        }
        if let Some(chunk) = self.seen_checks.receive(update, wall) {
            self.stale.chunk(chunk);
        }
        let before = self.words.of_key(update);
        if let Some(chunk) = self.words.receive(update, wall) {
            let after = self.words.of(chunk, &update.member).map(|(page, _)| page.clone());
            if update.member != self.me {
                let pages = (&before.unwrap_or_default(), &after.unwrap_or_default());
                self.leases.give_way_by_check(chunk, &update.member, pages);
            }
            self.look_at_leases(chunk);
        }
    }

    pub(super) fn hear_anew(&mut self) {
        for chunk in self.seen_checks.begin_anew(&self.gossip, wall_clock()) {
            self.stale.chunk(chunk);
        }
        for chunk in self.words.begin_anew(&self.gossip, wall_clock()) {
            self.look_at_leases(chunk);
        }
        for chunk in self.inbox.begin_anew(&self.gossip, wall_clock()) {
            self.expect_anew(chunk);
        }
    }

    /// Something else is expected of the instances of a chunk.
    fn expect_anew(&mut self, chunk: ChunkId) {
        self.stale.chunk(chunk);
        let sightings = self.sightings.clone();
        let moment = self.moment();
        self.doubt(chunk, &sightings, moment);
    }

    /// Takes in whose heartbeats are heard where.
    pub(super) fn follow_vouchers(&mut self, updates: &mut broadcast::Receiver<Update>) {
        let before = std::mem::replace(&mut self.vouchers, self.gossip.leases().view());
        self.hear_all(updates);
        for chunk in self.vouchers.changed_since(&before) {
            self.leases.give_way(chunk, &before, &self.vouchers);
            self.look_at_leases(chunk);
        }
    }

    /// Looks at who hears the instances of a chunk, and what they hear.
    fn look_at_leases(&mut self, chunk: ChunkId) {
        let at = self.moment().at;
        let vouchers = Vouchers { view: &self.vouchers, words: &self.words };
        let reports = self.schedule.look_at_leases(chunk, vouchers, at);
        reports.into_iter().for_each(|report| self.say(report));
    }
}
