//! From chitchat's state to the detector, and from the detector to the readers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollcall_health::detector::{self, Action, Evidence, Heard, State};
use rollcall_types::NodeName;
use tokio::time::Instant;

use super::{Known, OUTRANKED_SHOWN, SETTLE, Shell};
use crate::clock::unix_at;
use crate::membership::{EVIDENCE_KEY, LEFT_KEY, META_KEY, Meta};
use crate::metrics;
use crate::scan::{Newest, Scan, fingerprint, scan};
use crate::values::{Change, Update, Values, is_public};
use crate::view::{Member, MembershipView};

impl Shell {
    /// Reads chitchat's state if it changed. Heartbeats always do; they are read with the next tick.
    pub(super) async fn look(&mut self) {
        self.scanned = Instant::now();
        let Some(life) = &self.life else { return };
        let fingerprint = fingerprint(&*life.chitchat.lock().await);
        if fingerprint != self.fingerprint {
            self.observe().await;
        }
    }

    /// Brings what chitchat knows to the detector, the readers and the wire.
    pub(super) async fn observe(&mut self) {
        self.scanned = Instant::now();
        let Some(life) = &self.life else { return };
        let values = self.shared.values.load();
        let known = |name: &NodeName| self.known.get(name).and_then(|known| known.progress);
        let chitchat = life.chitchat.lock().await;
        self.fingerprint = fingerprint(&chitchat);
        let Scan { lives, newest } = scan(&chitchat, known, &values);
        drop(chitchat);
        for (name, heard) in &lives {
            let Heard { generation, heartbeat } = *heard;
            let actions = self.detector.heartbeat(name, generation, heartbeat, self.shared.clock.now());
            self.perform(actions);
        }
        if let Some(rival) = self.rival {
            let is_remembered = lives.iter().any(|(name, heard)| *name == self.me && heard.generation == rival);
            self.rival = is_remembered.then_some(rival);
        }
        self.follow(newest, &values);
    }

    /// Takes in the newest life of each member, and lets go of what gossip forgot.
    pub(super) fn follow(&mut self, newest: BTreeMap<NodeName, Newest>, values: &Values) {
        let mut next: Option<Values> = None;
        let mut told = Vec::new();
        // A new life of chitchat knows nobody and learns anew; what the last one knew is not forgotten for that.
        let is_settled = self.life_began.elapsed() >= SETTLE;
        let lost = if is_settled { self.let_go(&newest) } else { Vec::new() };
        for name in lost {
            if let Some(gone) = next.get_or_insert_with(|| values.clone()).0.remove(&name) {
                told.push((name, gone.generation, gone.vanish()));
            }
        }
        let mut has_moved = false;
        for (name, Newest { address, progress, news }) in newest {
            let since = self.started;
            let known = self.known.entry(name.clone()).or_insert_with(|| {
                has_moved = true;
                Known { address, progress: None, was_member: false, meta: None, since, rtt: None }
            });
            if !is_settled && known.progress.is_some_and(|before| progress.is_behind(before)) {
                continue;
            }
            has_moved |= known.address != address;
            known.address = address;
            known.progress = Some(progress);
            let Some((all, changes)) = news else { continue };
            known.meta = match all.get(META_KEY) {
                Some(text) => Meta::decode(text).map(Arc::new),
                None => None,
            };
            next.get_or_insert_with(|| values.clone()).0.insert(name.clone(), all);
            self.heed_changes(&name, &changes);
            told.push((name, progress.generation, changes));
        }
        if let Some(next) = next {
            self.shared.values.store(Arc::new(next));
        }
        // After the values are there: who is told that it missed some reads them.
        for (name, generation, changes) in told {
            self.publish_updates(&name, generation, changes);
        }
        if has_moved {
            let names = self.known.iter().map(|(name, known)| (known.address, name.clone()));
            self.wire.set_names(names.collect());
        }
    }

    /// Forgets those that gossip knows no longer, but for members of the caller's: they stay what they are, dead most likely,
    /// without their values. Answers whose values are gone.
    fn let_go(&mut self, newest: &BTreeMap<NodeName, Newest>) -> Vec<NodeName> {
        let members = self.chosen.members.load_full();
        let (mut lost, mut forgotten) = (Vec::new(), Vec::new());
        for (name, known) in &mut self.known {
            let is_member = members.contains(name);
            known.was_member |= is_member;
            if newest.contains_key(name) {
                continue;
            }
            if known.progress.take().is_some() {
                lost.push(name.clone());
            }
            if !is_member {
                forgotten.push((name.clone(), known.was_member));
            }
        }
        for (name, was_member) in forgotten {
            self.known.remove(&name);
            let actions = if was_member { self.detector.remove(&name) } else { self.detector.forget(&name) };
            self.perform(actions);
        }
        lost
    }

    fn heed_changes(&mut self, name: &NodeName, changes: &[Change]) {
        let is_own = *name == self.me;
        for change in changes.iter().filter(|change| !is_public(&change.key) && !is_own) {
            let now = self.shared.clock.now();
            let actions = match (&*change.key, &change.value) {
                (EVIDENCE_KEY, Some(text)) => match Evidence::decode(text) {
                    Ok(evidence) => self.detector.evidence(name, &evidence, now),
                    Err(_) => skip(),
                },
                (EVIDENCE_KEY, None) => self.detector.evidence(name, &Evidence::default(), now),
                (LEFT_KEY, Some(_)) => self.detector.left(name, now),
                (META_KEY, Some(text)) if Meta::decode(text).is_none() => skip(),
                (META_KEY | LEFT_KEY, _) => Vec::new(),
                _ => skip(),
            };
            self.perform(actions);
        }
    }

    fn publish_updates(&self, member: &NodeName, generation: u64, changes: Vec<Change>) {
        for Change { key, version, value } in changes {
            if is_public(&key) {
                // Fails when nobody listens.
                let _ = self.shared.updates.send(Update { member: member.clone(), generation, key, version, value });
            }
        }
    }

    /// Gives readers a new view, and then tells what changed: who hears of a change finds it in the view.
    pub(super) fn show(&mut self) {
        self.store_view();
        for event in std::mem::take(&mut self.untold) {
            self.note(event);
        }
    }

    fn store_view(&mut self) {
        let standing = self.detector.standing();
        let mut members = BTreeMap::new();
        for health in self.detector.members() {
            let known = self.known.get_mut(&health.name);
            let (address, meta, since) = match known {
                Some(known) => {
                    if let Some(rtt) = health.rtt.filter(|rtt| known.rtt.replace(*rtt) != Some(*rtt)) {
                        metrics::rtt(rtt);
                    }
                    if known.since.0 != health.since {
                        known.since = (health.since, unix_at(health.since, self.shared.clock));
                    }
                    (Some(known.address), known.meta.clone(), known.since.1)
                }
                None => (None, None, unix_at(health.since, self.shared.clock)),
            };
            members.insert(health.name.clone(), Member { address, meta, since, health });
        }
        members.insert(self.me.clone(), self.own_row(standing.lateness));
        for state in [State::Alive, State::Suspect, State::Dead, State::Left] {
            metrics::members(state, members.values().filter(|member| member.health.state == state).count());
        }
        metrics::false_deaths(self.detector.false_deaths());
        metrics::isolated(standing.isolated_since.is_some());
        // This node may have taken a newer generation since.
        let is_outranked =
            |(newest, told): &(u64, Instant)| *newest > self.generation && told.elapsed() < OUTRANKED_SHOWN;
        let outranked = self.outranked.filter(is_outranked);
        self.shared.view.store(Arc::new(MembershipView {
            this: self.me.clone(),
            generation: self.generation,
            taken_at: self.shared.clock.now(),
            members,
            standing,
            link_faults: self.detector.link_faults(),
            outranked_by: outranked.map(|(generation, _)| generation),
            sealing_key: self.wire.seal.keyring().sealing_key(),
        }));
    }

    /// What gossip has under this node's name may be of another process, so nothing here is from there.
    fn own_row(&self, lateness: detector::Lateness) -> Member {
        let health = detector::Member {
            name: self.me.clone(),
            generation: self.generation,
            heartbeat: 0,
            state: State::Alive,
            since: self.started.0,
            cause: detector::Cause::Discovered,
            witnesses: Vec::new(),
            was_heard: true,
            silence: Duration::ZERO,
            patience: self.patience,
            rtt: None,
            lateness,
            flaps: 0,
            rival: self.rival,
            is_unheard: false,
        };
        let meta = Some(self.chosen.meta.load_full());
        Member { address: Some(self.wire.seal.sender().address), meta, since: self.started.1, health }
    }
}

/// A value of this crate's own that makes no sense to it.
fn skip() -> Vec<Action> {
    metrics::value_skipped();
    Vec::new()
}
