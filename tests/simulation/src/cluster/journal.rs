//! The journal: whoever leads writes to the log what all observers agree on.
//!
//! What is written at once in the shell is written here; what has to stand for a while there (`unknown`, and a `warning` of observers
//! that differ) is not written at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall_catalog::{Actor, Command, Instance, Request, StatusChange};
use rollcall_health::agreement::Cause;
use rollcall_health::journal::Journal;
use rollcall_health::{Slot, Status};
use rollcall_types::{ActorName, CheckStatuses, UnixMillis};

use super::health::{instances, is_watched, tenancy_of};
use super::writes::Ask;
use super::{Cluster, Planted};
use crate::world::mono;

/// Who the log says did it.
const ACTOR: &str = "rollcall";

/// Between two looks at what is news.
const LOOK: u64 = 200_000;

/// The journal of whoever leads.
#[derive(Debug, Default)]
pub(super) struct Scribe {
    term: u64,
    looked_at: u64,
    journal: Journal,
    known: BTreeMap<Slot, Arc<Instance>>,
}

impl Scribe {
    /// The entry under way is in the log, or is not.
    pub(super) fn ended(&mut self, term: u64, is_written: bool) {
        match is_written {
            _ if term != self.term => {}
            true => self.journal.written(),
            false => self.journal.failed(),
        }
    }
}

impl Cluster {
    /// The leader writes what is news.
    pub(super) fn keep_journal(&mut self, leader: usize) {
        let now = self.now();
        if self.options.planted == Some(Planted::NoJournal) || now < self.scribe.looked_at + LOOK {
            return;
        }
        self.scribe.looked_at = now;
        self.note_statuses(leader);
        let Scribe { journal, known, .. } = &mut self.scribe;
        let Some(transitions) = journal.next_entry(mono(now)) else { return };
        let change = |it: &rollcall_health::journal::Transition| {
            let instance = known.get(&it.slot).filter(|instance| tenancy_of(instance) == it.tenancy)?;
            let (service, id, created) = (instance.service.clone(), instance.id.clone(), instance.created);
            Some(StatusChange { service, id, created, to: it.to, cause: it.cause, checks: it.checks })
        };
        let transitions: Arc<[StatusChange]> = transitions.iter().filter_map(change).collect();
        let Ok(name) = ActorName::try_from(ACTOR) else { return };
        let actor = Actor { name, via: self.nodes[leader].name.clone() };
        let command = Command::RecordStatuses { transitions };
        let request = Arc::new(Request { id: None, at: UnixMillis::default(), actor, command });
        self.propose(leader, leader, Ask { asker: None, request });
    }

    /// Takes in what all observers agree on, as the leader sees it.
    fn note_statuses(&mut self, leader: usize) {
        let (node, scribe) = (&self.nodes[leader], &mut self.scribe);
        let watched = instances(&node.catalog).filter(|instance| is_watched(instance));
        let present: BTreeMap<Slot, Arc<Instance>> =
            watched.filter_map(|it| Some((Slot::new(it.slot)?, it.clone()))).collect();
        if scribe.term != self.log.term {
            let written = present.iter().map(|(slot, it)| {
                let journaled = node.catalog.journaled(it);
                (*slot, tenancy_of(it), journaled.status, journaled.checks)
            });
            (scribe.term, scribe.journal) = (self.log.term, Journal::resume(written));
        }
        for slot in scribe.known.keys().filter(|slot| !present.contains_key(slot)) {
            scribe.journal.forget(*slot);
        }
        for (slot, instance) in &present {
            let agreed = node.health.agreed(instance);
            let is_news = match agreed.status {
                Status::Unknown => false,
                Status::Warning => agreed.cause == Cause::Observed,
                _ => true,
            };
            if is_news {
                let none = CheckStatuses::default();
                scribe.journal.note(*slot, tenancy_of(instance), agreed.status, agreed.cause, none);
            }
        }
        scribe.known = present;
    }
}
