//! What this node says of one instance by its heartbeats, and why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollcall_catalog::Instance;
use rollcall_health::check::{Cause, CheckRecord, InstanceRecord, Signal};
use rollcall_health::{Flap, Observation, Reading, ScoreStep, Status};
use rollcall_types::{CheckId, CheckStatuses, InstanceSpec, MonoTime, NodeName};

use super::{AT_ONCE, Heartbeat};
use crate::health::tracked::{is_heard_as_one, ttl_checks};

/// What this node says of an instance, and why.
pub(super) struct Said {
    /// What its digest says.
    pub(super) observation: Observation,
    /// When it was last heard.
    pub(super) heard_at: MonoTime,
    /// What it said last of all of it.
    whole: Status,
    /// What others were seen to vouch for then, until this node has looked at what they say.
    seen: Box<[(NodeName, Status)]>,
    /// Kept when the instance says more than that it is there.
    record: Option<Box<Record>>,
}

struct Record {
    spec: Arc<InstanceSpec>,
    /// Its load; it has no checks.
    load: InstanceRecord,
    /// What was heard of its checks, by their place in the registration.
    words: BTreeMap<usize, Word>,
}

/// What was heard of one check.
struct Word {
    check: CheckRecord,
    heard_at: MonoTime,
    /// It is not said for a moment, to be said anew.
    is_hushed: bool,
    /// It is not heard here any more, but by another node.
    is_elsewhere: bool,
}

impl Word {
    /// The same, and said: it may have another place now than that under which it was to be said again.
    fn spoken(self) -> Self {
        Self { is_hushed: false, ..self }
    }
}

impl Said {
    /// What is said after a heartbeat; `before` is what was said of the same instance.
    pub(super) fn by(
        before: Option<Self>,
        instance: &Instance,
        heartbeat: &Heartbeat,
        ttl: Duration,
        at: Reading,
    ) -> Self {
        let (spec, whole) = (&instance.spec, heartbeat.status.status());
        let is_plain = heartbeat.load.is_none() && ttl_checks(spec).next().is_none();
        let known = before.and_then(|said| said.record);
        let record = (!is_plain || known.is_some()).then(|| {
            let mut record = Record::of(known, spec, at);
            record.take(heartbeat, ttl, at);
            record
        });
        let mut said =
            Self { observation: Observation::of(whole), heard_at: at.now, whole, seen: Box::default(), record };
        said.settle(at.now);
        said
    }

    /// When it was heard, this node saw what these others vouch for.
    pub(super) fn saw(&mut self, others: Box<[(NodeName, Status)]>) {
        self.seen = others;
    }

    /// This node has looked at what others say: what changes from here on is later than what it heard.
    pub(super) fn has_looked(&mut self) {
        self.seen = Box::default();
    }

    /// Whether this node saw another one say this when it heard the instance, so that what it heard is the later word.
    pub(super) fn has_seen(&self, other: &NodeName, said: Status) -> bool {
        is_among(&self.seen, other, said)
    }

    /// Brings what its digest says up to date; whether that is something else.
    pub(super) fn settle(&mut self, now: MonoTime) -> bool {
        let observation = match &self.record {
            Some(record) => record.observation(self.whole, now),
            None => Observation::of(self.whole),
        };
        std::mem::replace(&mut self.observation, observation) != observation
    }

    /// What is said of each check, where heartbeats have more to say than one thing.
    pub(super) fn words(&self) -> CheckStatuses {
        let record = self.record.as_ref().filter(|record| !is_heard_as_one(&record.spec));
        record.map_or_else(CheckStatuses::default, |record| record.told())
    }

    /// The registration by which it is heard, where there is more to say than that it is there.
    pub(super) fn spec(&self) -> Option<&Arc<InstanceSpec>> {
        self.record.as_ref().map(|record| &record.spec)
    }

    /// What was heard last of the check at a place, said or not.
    pub(super) fn heard(&self, place: usize) -> Option<Status> {
        let word = self.record.as_ref()?.words.get(&place)?;
        Some(word.check.verdict().status)
    }

    /// Whether what another node now says of all of it is a later word than this one.
    pub(super) fn gives_way_to(&self, other: Status, now: MonoTime) -> bool {
        is_later((other, now), (self.observation.status, self.heard_at))
    }

    /// Takes back what was said against all of it, when another node now says something better; whether there was anything.
    pub(super) fn relent(&mut self, other: Status, now: MonoTime) -> bool {
        let relents = other < self.whole && now.since(self.heard_at) > AT_ONCE;
        if relents {
            self.whole = Status::Passing;
        }
        relents
    }

    /// Forgets the words of checks of which another node now says something later; their places.
    pub(super) fn give_way_by_check(
        &mut self,
        other: &NodeName,
        (before, after): (CheckStatuses, CheckStatuses),
        now: MonoTime,
    ) -> Vec<usize> {
        if before == after {
            return Vec::new();
        }
        let seen = std::mem::take(&mut self.seen);
        let Some(record) = &mut self.record else { return Vec::new() };
        let (before, after) = (before.about(&record.spec.checks), after.about(&record.spec.checks));
        let is_overtaken = |(place, word): &(&usize, &Word)| {
            let news =
                after.get(**place).filter(|said| before.get(**place) != Some(*said) && !is_among(&seen, other, *said));
            news.is_some_and(|said| is_later((said, now), (word.check.verdict().status, word.heard_at)))
        };
        let overtaken: Vec<_> = record.words.iter().filter(is_overtaken).map(|(place, _)| *place).collect();
        record.words.retain(|place, _| !overtaken.contains(place));
        overtaken
    }

    /// Does not say a word for a moment, or says it again.
    pub(super) fn hush(&mut self, place: usize, is_hushed: bool) {
        if let Some(word) = self.record.as_mut().and_then(|record| record.words.get_mut(&place)) {
            word.is_hushed = is_hushed;
        }
    }

    /// Lets time pass. Silence for longer than the time to live of a check is critical, unless another node hears it: `others` says
    /// what those say.
    pub(super) fn tick(&mut self, at: Reading, others: impl FnOnce(&InstanceSpec) -> CheckStatuses) {
        let Some(record) = &mut self.record else { return };
        let Record { spec, words, .. } = &mut **record;
        for word in words.values_mut() {
            word.check.tick(at);
        }
        let is_missed = |word: &Word| word.check.verdict().cause == Cause::HeartbeatMissed;
        if words.values().any(is_missed) && !is_heard_as_one(spec) {
            let others = others(spec);
            for (place, word) in words {
                let is_heard = others.get(*place).is_some_and(|said| said != Status::Critical);
                word.is_elsewhere = is_missed(word) && is_heard;
            }
        }
    }
}

fn is_among(seen: &[(NodeName, Status)], other: &NodeName, said: Status) -> bool {
    seen.iter().any(|(name, seen)| name == other && *seen == said)
}

/// Whether what another node says, which is heard now, is a later word than an own one.
fn is_later((other, now): (Status, MonoTime), (own, heard_at): (Status, MonoTime)) -> bool {
    other != own && (now.since(heard_at) > AT_ONCE || own < other)
}

impl Record {
    /// A record for this registration; what `known` has of checks that are the same in it is kept.
    fn of(known: Option<Box<Self>>, spec: &Arc<InstanceSpec>, at: Reading) -> Box<Self> {
        let Some(mut known) = known else {
            let load = InstanceRecord::new([], true, None, Duration::ZERO, at.now, rand::random::<u64>);
            return Box::new(Self { spec: spec.clone(), load, words: BTreeMap::new() });
        };
        if !Arc::ptr_eq(&known.spec, spec) && known.spec.checks != spec.checks {
            let place_of = |check| spec.checks.iter().position(|it| it == check);
            let words = std::mem::take(&mut known.words).into_iter();
            known.words =
                words.filter_map(|(place, word)| Some((place_of(&known.spec.checks[place])?, word.spoken()))).collect();
        }
        known.spec = spec.clone();
        known
    }

    fn take(&mut self, heartbeat: &Heartbeat, ttl: Duration, at: Reading) {
        let named = |id: &CheckId| match &heartbeat.checks {
            Some(checks) => checks.iter().rev().find(|(named, _)| named == id).map(|(_, report)| *report),
            None => Some(heartbeat.status),
        };
        for (place, check) in ttl_checks(&self.spec) {
            let Some(report) = named(&check.id) else { continue };
            let word = self.words.entry(place).or_insert_with(|| Word {
                check: CheckRecord::new(check, Duration::ZERO, at.now, rand::random()),
                heard_at: at.now,
                is_hushed: false,
                is_elsewhere: false,
            });
            word.check.heartbeat(report, at);
            (word.heard_at, word.is_elsewhere) = (at.now, false);
        }
        if let Some(load) = heartbeat.load {
            self.load.load(load, ttl, at.now);
        }
    }

    fn told(&self) -> CheckStatuses {
        CheckStatuses::of(&self.spec.checks, |place, _| {
            let word = self.words.get(&place).filter(|word| !word.is_hushed && !word.is_elsewhere);
            word.map(|word| word.check.verdict().status)
        })
    }

    /// What the digest is to say: the worst of what was heard. A check that was not heard is for those to judge who look at the
    /// instance, since another node may have heard it. The score is the worst of what it says of its load; whoever probes it
    /// weighs that against the rest.
    fn observation(&self, whole: Status, now: MonoTime) -> Observation {
        let told = self.told();
        let status = (0..self.spec.checks.len()).filter_map(|place| told.get(place)).fold(whole, Status::max);
        let load = self.load.score(now).terms.into_iter().filter(|term| term.signal != Signal::Connectivity);
        let worst = load.filter_map(|term| term.value).min_by(f64::total_cmp);
        let flap = self.words.values().map(|word| word.check.flap(now)).max().unwrap_or(Flap::Calm);
        Observation { flap, score: worst.map_or(ScoreStep::BEST, ScoreStep::nearest), ..Observation::of(status) }
    }
}

#[cfg(test)]
mod tests;
