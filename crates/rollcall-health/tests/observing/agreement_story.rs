//! The language of `agreement-*` stories: one instance and all its observers.
//!
//! ```text
//! nodes n1=a n2=b n3                who is fit to look, and their zones
//! instances 30000                   how many there are; from them follows how many probers each has
//! look                              tells who looks
//! prober1 sees critical score=0.2 trend=degrading ttf=90s flap=flapping   prober1, prober2, confirmer: by rank; or a name
//! prober1 sees nothing              it has withdrawn what it saw
//! prober1 dies | returns
//! unchecked | agree
//! ```

use std::fmt::Write as _;

use rollcall_health::agreement::agree;
use rollcall_health::assignment::{Candidate, Roster, Watch, probers_for};
use rollcall_health::{
    ChunkId, Flap, Freshness, HealthView, Observation, Observer, Publication, Publisher, ScoreStep, Status,
    TimeToFailure, Trend,
};
use rollcall_types::{MonoTime, NodeName};

use crate::words::{read_place, read_span, read_status, status_word};

#[derive(Default)]
struct Story {
    watch: Watch,
    fit: Vec<Candidate>,
    instances: usize,
    view: HealthView,
    version: u64,
    told: String,
}

/// What the commands answer.
pub(crate) fn tell(commands: &mut dyn Iterator<Item = &str>) -> String {
    let mut story = Story::default();
    commands.for_each(|line| story.step(line));
    story.told
}

impl Story {
    fn step(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["nodes", ref nodes @ ..] => {
                self.fit = nodes.iter().map(|node| read_candidate(node)).collect();
                self.assign();
            }
            ["instances", count] => {
                self.instances = count.parse().unwrap();
                self.assign();
            }
            ["look"] => {
                let names = |names: &[NodeName]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
                let (probers, lookers) = (self.watch.probers(), self.watch.lookers());
                let line = format!("probing: {}; confirming: {}", names(probers), names(&lookers[probers.len()..]));
                self.say(&line);
            }
            ["unchecked"] => self.agree(false),
            ["agree"] => self.agree(true),
            [who, "dies"] => self.mark(who, Freshness::Stale),
            [who, "returns"] => self.mark(who, Freshness::Fresh),
            [who, "sees", "nothing"] => self.publish(who, None),
            [who, "sees", status, ref options @ ..] => {
                self.publish(who, Some(read_observation(status, options)));
            }
            _ => panic!("not understood: {line}"),
        }
    }

    fn assign(&mut self) {
        let mut roster = Roster::new();
        roster.update(&"me".parse().unwrap(), &self.fit, MonoTime::default());
        self.watch = roster.watch(ChunkId::new(0).unwrap(), probers_for(self.instances));
    }

    fn observer(&self, who: &str) -> Observer {
        let lookers = self.watch.lookers();
        let name = match who {
            "prober1" => lookers[0].clone(),
            "prober2" => lookers[1].clone(),
            "confirmer" => lookers[2].clone(),
            other => other.parse().unwrap(),
        };
        Observer { name, generation: 1 }
    }

    fn mark(&mut self, who: &str, freshness: Freshness) {
        let observer = self.observer(who);
        self.view.mark_observer(&observer, freshness).unwrap();
    }

    fn publish(&mut self, who: &str, seen: Option<Observation>) {
        let (slot, tenancy) = read_place("3@7");
        let mut publisher = Publisher::new();
        if let Some(seen) = seen {
            publisher.observe(slot, tenancy, seen, std::time::Duration::from_secs(30), MonoTime::default());
        }
        let text = match publisher.tick(MonoTime::default()).pop() {
            Some(Publication::Put { digest, .. }) => Some(digest.encode()),
            Some(Publication::Delete { .. }) | None => None,
        };
        self.version += 1;
        let observer = self.observer(who);
        self.view.mark_observer(&observer, Freshness::Fresh).unwrap();
        self.view.receive(observer, slot.chunk(), self.version, text.as_deref(), MonoTime::default()).unwrap();
    }

    fn agree(&mut self, is_checked: bool) {
        let (slot, tenancy) = read_place("3@7");
        let agreed = agree(is_checked.then_some(&self.watch), self.view.sightings(slot, tenancy));
        let mut line = format!("{}: {}", status_word(agreed.status), agreed.cause.phrase());
        write!(line, "; {} of {} see it failing", agreed.failing, agreed.looking).unwrap();
        if let Some(score) = agreed.score {
            write!(line, ", score {:.2}", score.score()).unwrap();
        }
        if agreed.trend != Trend::Unknown {
            write!(line, ", {:?}", agreed.trend).unwrap();
        }
        if agreed.time_to_failure != TimeToFailure::NotPredicted {
            write!(line, ", {:?}", agreed.time_to_failure).unwrap();
        }
        if agreed.flap != Flap::Calm {
            write!(line, ", {:?}", agreed.flap).unwrap();
        }
        self.say(&line);
    }

    fn say(&mut self, text: &str) {
        writeln!(self.told, "{text}").unwrap();
    }
}

fn read_candidate(text: &str) -> Candidate {
    let (name, zone) = text.split_once('=').map_or((text, None), |(name, zone)| (name, Some(zone)));
    Candidate { name: name.parse().unwrap(), zone: zone.map(|zone| zone.parse().unwrap()) }
}

fn read_observation(status: &str, options: &[&str]) -> Observation {
    let status = read_status(status);
    let score = if status == Status::Critical { ScoreStep::WORST } else { ScoreStep::BEST };
    let mut observation = Observation { score, ..Observation::of(status) };
    for option in options {
        match option.split_once('=').expect("NAME=VALUE") {
            ("score", score) => observation.score = ScoreStep::nearest(score.parse().unwrap()),
            ("trend", "degrading") => observation.trend = Trend::Degrading,
            ("ttf", span) => observation.time_to_failure = TimeToFailure::within(read_span(span)),
            ("flap", "flapping") => observation.flap = Flap::Flapping,
            other => panic!("no such option: {other:?}"),
        }
    }
    observation
}
