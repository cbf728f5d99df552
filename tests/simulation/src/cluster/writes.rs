//! Writes: from a client through a node and the leader into the log, to all nodes, and the answer back.

use std::sync::Arc;

use rollcall_catalog::Request;
use rollcall_types::{KvKey, Revision};

use super::client::{Pending, SHARED};
use super::node::{Waiting, import};
use super::schedule::SECOND;
use super::{Cluster, LEAD, Next, Planted, WRITES_AFTER_HEAL};
use crate::world::mono;

/// How long a client waits for an answer before it asks another node.
const PATIENCE: u64 = 800_000;
/// Least time in which a leader has an entry on the disks of a majority.
const SYNC: u64 = 1_500;
/// A request may come twice, the second time so much later.
const LATE_MAX: u64 = 5 * SECOND;

/// A write on its way.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// Which client, and which of its writes; `None`: the journal.
    pub(super) asker: Option<(usize, u64)>,
    pub(super) request: Arc<Request>,
}

impl Cluster {
    /// A client wants something, or asks again for what was not answered.
    pub(super) fn act(&mut self, client: usize) {
        let now = self.now();
        let is_quiet = now > self.schedule.heal_at + WRITES_AFTER_HEAL;
        if self.clients[client].pending.is_none() && !is_quiet {
            let shared = self.shared();
            let action = self.clients[client].choose(&self.owned, shared, &mut self.dice);
            if let Err(invalid) = self.clients[client].begin(action, &self.owned, now) {
                return self.violate("what clients ask for is valid", invalid.to_string());
            }
        }
        let wait = match &mut self.clients[client].pending {
            Some(pending) => {
                pending.tries += 1;
                PATIENCE
            }
            None => SECOND,
        };
        self.send_pending(client);
        self.queue.push(now + wait, Next::Act { client });
    }

    /// Sends the pending write of a client to some node, and now and then to another one, much later.
    fn send_pending(&mut self, client: usize) {
        let number = self.clients[client].number;
        let Some(Pending { request, tries, .. }) = &self.clients[client].pending else { return };
        let tries = *tries;
        let ask = Ask { asker: Some((client, number)), request: request.clone() };
        if self.dice.chance(0.2) {
            let (to, late) = (self.any_node(), self.dice.below(LATE_MAX));
            self.queue.push(self.now() + late, Next::Ask { to, ask: ask.clone() });
        }
        // Who gets no answer goes to the next node.
        let to = (number + tries) as usize % self.nodes.len();
        if let Some(at) = self.arrives() {
            self.queue.push(at, Next::Ask { to, ask });
        }
    }

    /// The shared key as some node shows it.
    fn shared(&mut self) -> Option<(bytes::Bytes, Revision)> {
        let node = self.any_node();
        let key: KvKey = SHARED.parse().ok()?;
        self.nodes[node].catalog.kv(&key).map(|entry| (entry.value.clone(), entry.modified))
    }

    pub(super) fn any_node(&mut self) -> usize {
        self.dice.below(self.nodes.len() as u64) as usize
    }

    /// When something between a client and a node arrives; `None`: it does not.
    pub(super) fn arrives(&mut self) -> Option<u64> {
        let delay = 300 + self.dice.exponential(500.0) as u64;
        (!self.dice.chance(self.loss)).then_some(self.now() + delay)
    }

    /// A write arrives at a node, which passes it on to the leader. Without one the client asks again.
    pub(super) fn ask(&mut self, to: usize, ask: Ask) {
        match self.log.leader {
            Some(leader) if leader == to => self.propose(to, to, ask),
            Some(leader) if self.is_linked(to, leader) => {
                if let Some(delay) = self.world.carry(to, leader) {
                    self.queue.push(self.now() + delay, Next::Forward { to: leader, via: to, ask });
                }
            }
            _ => {}
        }
    }

    /// A write arrives at who should lead.
    pub(super) fn propose(&mut self, leader: usize, via: usize, ask: Ask) {
        if self.log.leader == Some(leader) {
            let at = self.now() + SYNC + self.dice.below(SYNC);
            self.queue.push(at, Next::Commit { leader, term: self.log.term, via, ask });
        }
    }

    /// A majority has a write on disk, if it can still be reached.
    pub(super) fn commit(&mut self, leader: usize, term: u64, via: usize, ask: Ask) {
        let is_decided = (self.log.leader, self.log.term) == (Some(leader), term) && self.reaches_majority(leader);
        if ask.asker.is_none() {
            self.scribe.ended(term, is_decided);
        }
        if !is_decided {
            return;
        }
        let mut request = Request { at: self.wall(leader), ..(*ask.request).clone() };
        if self.options.planted == Some(Planted::RepeatedRetry) {
            request.id = None;
        }
        let Some((client, number)) = ask.asker else {
            self.decide(leader, request);
            return;
        };
        let outcome = if self.options.planted == Some(Planted::LostWrite) && number % 10 == 7 {
            self.log.truth.clone().apply(Revision::new(self.log.end() + 1), &request).outcome
        } else {
            self.decide(leader, request)
        };
        let waiting = Waiting { revision: self.log.end(), client, number, outcome };
        if via == leader {
            self.committed(via, waiting);
        } else if let Some(delay) = self.world.carry(leader, via).filter(|_| self.is_linked(leader, via)) {
            self.queue.push(self.now() + delay, Next::Committed { to: via, waiting });
        }
    }

    /// An entry is decided on.
    fn decide(&mut self, leader: usize, request: Request) -> rollcall_catalog::Outcome {
        let revision = self.log.append(self.options.planted.map_or(request.clone(), |it| it.change(&request)));
        let outcome = self.log.at(revision).1.outcome.clone();
        self.trace.add(self.world.now(), &[6, revision, outcome.revision.get()], || {
            format!("{revision}: {request} through n{leader}: {:?}", outcome.reply)
        });
        if let Some(wrong) = self.reference.apply(revision, &request, &outcome) {
            self.violate("a write is answered as it should be, once", wrong);
        }
        for node in 0..self.nodes.len() {
            if node == leader || (self.world.is_running(node) && self.is_linked(leader, node)) {
                self.nodes[node].disk.stored = revision;
            }
        }
        self.apply_up_to(leader, revision);
        outcome
    }

    /// A node hears what a write came to. It answers when it has applied it, so that its caller sees its own write there.
    pub(super) fn committed(&mut self, to: usize, waiting: Waiting) {
        if self.nodes[to].revision() < waiting.revision {
            return self.nodes[to].waiting.push(waiting);
        }
        if let Some(at) = self.arrives() {
            self.queue.push(at, Next::Reply { waiting });
        }
    }

    /// A client hears what its write came to.
    pub(super) fn reply(&mut self, Waiting { client, number, outcome, .. }: Waiting) {
        let asking = &mut self.clients[client];
        // Of two answers to one write the first counts.
        let Some(pending) = asking.pending.take_if(|_| asking.number == number) else { return };
        let is_right = asking.end(&pending.action, &mut self.owned, &outcome.reply);
        self.figures.writes += 1;
        let numbers = [7, client as u64, number, outcome.revision.get()];
        self.trace.add(self.world.now(), &numbers, || format!("client-{client} hears of its write {number}"));
        if !is_right {
            let what = format!("client-{client} asked for {:?} and heard {outcome:?}", pending.action);
            self.violate("what was acknowledged stays, and what was asked twice happens once", what);
        }
    }

    /// Whoever leads tells the others how far the log is; without a leader one is chosen after a while.
    pub(super) fn lead(&mut self) {
        let now = self.now();
        self.queue.push(now + LEAD, Next::Lead);
        match self.log.leader {
            Some(leader) if self.reaches_majority(leader) => self.send_appends(leader),
            Some(leader) => {
                self.trace.add(now, &[8, leader as u64], || format!("n{leader} leads no longer"));
                self.log.leader = None;
                self.log.elect_at = now + 300_000 + self.dice.below(1_200_000);
            }
            None if now >= self.log.elect_at => self.elect(),
            None => {}
        }
    }

    fn elect(&mut self) {
        if self.options.planted == Some(Planted::NoLeader) && self.now() > self.schedule.heal_at / 2 {
            return;
        }
        let has_all = |node: &usize| self.nodes[*node].disk.stored == self.log.end();
        let electable = (0..self.nodes.len()).filter(has_all).filter(|node| self.reaches_majority(*node));
        if let Some(leader) = self.dice.choose(electable.collect(), 1).first() {
            self.log.leader = Some(*leader);
            self.log.term += 1;
            self.trace.add(self.world.now(), &[9, *leader as u64], || format!("n{leader} leads"));
        }
    }

    fn send_appends(&mut self, leader: usize) {
        let commit = self.log.end();
        for to in (0..self.nodes.len()).filter(|to| *to != leader) {
            if self.nodes[to].revision() < commit
                && self.is_linked(leader, to)
                && let Some(delay) = self.world.carry(leader, to)
            {
                self.queue.push(self.now() + delay, Next::Append { from: leader, to, commit });
            }
        }
        self.apply_up_to(leader, commit);
        self.keep_journal(leader);
    }

    /// A follower hears of what was decided; one that is far behind gets the leader's snapshot first.
    pub(super) fn append(&mut self, from: usize, to: usize, commit: u64) {
        if self.nodes[to].disk.stored < self.nodes[from].disk.revision {
            let (snapshot, revision) = (self.nodes[from].disk.snapshot.clone(), self.nodes[from].disk.revision);
            match import(&snapshot) {
                Ok(catalog) => self.nodes[to].catalog = catalog,
                Err(error) => return self.violate("a snapshot is read back", format!("n{to}: {error}")),
            }
            let disk = &mut self.nodes[to].disk;
            (disk.snapshot, disk.revision, disk.stored) = (snapshot, revision, revision);
            self.trace.add(self.world.now(), &[10, to as u64, revision], || {
                format!("n{to} gets the snapshot of revision {revision} from n{from}")
            });
            self.judge_catalog(to);
        }
        self.apply_up_to(to, commit);
    }

    fn apply_up_to(&mut self, node: usize, commit: u64) {
        let before = self.nodes[node].revision();
        if before >= commit {
            return;
        }
        for revision in before + 1..=commit {
            let request = self.log.at(revision).0.clone();
            let skips = self.options.planted == Some(Planted::SkippedEntry) && node == 1 && revision % 20 == 0;
            if skips {
                self.nodes[node].catalog.advance(Revision::new(revision));
            } else {
                let applied = self.nodes[node].catalog.apply(Revision::new(revision), &request);
                self.judge_applied(node, revision, &applied);
            }
        }
        let disk = &mut self.nodes[node].disk;
        disk.stored = disk.stored.max(commit);
        self.trace.add(self.world.now(), &[11, node as u64, commit], || format!("n{node} has applied {commit}"));
        self.write_snapshot(node);
        let at = mono(self.world.now());
        let applied = &mut self.nodes[node];
        applied.health.follow(&applied.catalog, at);
        for waiting in std::mem::take(&mut self.nodes[node].waiting) {
            self.committed(node, waiting);
        }
    }

    /// Writes a snapshot when there is enough to write.
    fn write_snapshot(&mut self, node: usize) {
        let revision = self.nodes[node].revision();
        let disk = &self.nodes[node].disk;
        if revision < disk.revision + disk.every {
            return;
        }
        let mut records: Vec<_> = self.nodes[node].catalog.export().collect();
        if self.options.planted == Some(Planted::TornSnapshot) {
            records.remove(records.len() / 2);
        }
        self.figures.snapshots += 1;
        match import(&records) {
            Ok(again) if again == self.nodes[node].catalog => {}
            Ok(_) => self.violate("a snapshot is read back", format!("n{node}: another catalogue at {revision}")),
            Err(error) => self.violate("a snapshot is read back", format!("n{node}: {error}")),
        }
        let disk = &mut self.nodes[node].disk;
        (disk.snapshot, disk.revision) = (records.into(), revision);
        self.judge_catalog(node);
    }

    /// Whether two nodes reach each other in both directions.
    pub(super) fn is_linked(&self, one: usize, other: usize) -> bool {
        !self.world.is_cut(one, other) && !self.world.is_cut(other, one)
    }

    fn reaches_majority(&self, node: usize) -> bool {
        let is_reached = |other: &usize| self.world.is_running(*other) && self.is_linked(node, *other);
        let reached = (0..self.nodes.len()).filter(is_reached).count();
        self.world.is_running(node) && reached > self.nodes.len() / 2
    }
}
