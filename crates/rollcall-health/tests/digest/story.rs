//! The language of the stories: one command a line.
//!
//! ```text
//! n1 see 3@7 passing score=63 trend=degrading ttf=90s flap=flapping for=30s   slot 3, given at revision 7
//! n1 withdraw 3@7
//! n1 tick                    publishes; what it publishes is delivered to the reader
//! n1 hold-back | n1 deliver  publications wait in between, and arrive last first
//! n1 alive | n1 dead | n1 forget      what the reader is told of the observer
//! n1 restart                 a new generation that keeps what it has seen
//! n1 send h/0 TEXT           a value as it stands, whatever it is
//! wait 200ms
//! read 3@7
//! repeat 5 COMMAND | COMMAND only ticks that publish are told
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use rollcall_health::{
    ChunkId, DigestKind, Flap, Freshness, HealthView, Observation, Observer, Publication, Publisher, ScoreStep, Slot,
    Status, Tenancy, TimeToFailure, Trend,
};
use rollcall_types::{MonoTime, Revision};

/// Three check intervals of the default 10 s.
const VALID_FOR: Duration = Duration::from_secs(30);

/// A story under way.
#[derive(Default)]
pub(crate) struct Story {
    elapsed: Duration,
    observers: BTreeMap<String, Node>,
    view: HealthView,
    told: String,
}

#[derive(Default)]
struct Node {
    generation: u64,
    version: u64,
    publisher: Publisher,
    is_held_back: bool,
    under_way: Vec<UnderWay>,
}

/// A value on its way to the reader.
struct UnderWay {
    generation: u64,
    version: u64,
    chunk: ChunkId,
    text: Option<String>,
}

impl Node {
    fn send(&mut self, chunk: ChunkId, text: Option<String>) {
        self.version += 1;
        self.under_way.push(UnderWay { generation: self.generation, version: self.version, chunk, text });
    }
}

impl Story {
    /// What the commands of `script` answer.
    pub(crate) fn tell(script: &str) -> String {
        let mut story = Self::default();
        for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            story.step(line, true);
        }
        story.told
    }

    fn step(&mut self, line: &str, is_alone: bool) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["repeat", count, ..] => {
                let body = line.splitn(3, ' ').nth(2).expect("repeat what?");
                for _ in 0..count.parse().unwrap() {
                    body.split('|').for_each(|command| self.step(command.trim(), false));
                }
            }
            ["wait", span] => self.elapsed += read_span(span),
            ["read", place] => self.read(place),
            [name, "see", place, status, ref options @ ..] => {
                let (slot, tenancy) = read_place(place);
                let (observation, valid_for) = read_observation(status, options);
                let now = self.now();
                self.node(name).publisher.observe(slot, tenancy, observation, valid_for, now);
            }
            [name, "withdraw", place] => {
                let ((slot, tenancy), now) = (read_place(place), self.now());
                self.node(name).publisher.withdraw(slot, tenancy, now);
            }
            [name, "tick"] => self.tick(name, is_alone),
            [name, "hold-back"] => self.node(name).is_held_back = true,
            [name, "deliver"] => {
                self.node(name).is_held_back = false;
                self.deliver(name);
            }
            [name, "alive"] => self.mark(name, Freshness::Fresh),
            [name, "dead"] => self.mark(name, Freshness::Stale),
            [name, "forget"] => self.view.remove_observer(&name.parse().unwrap()),
            [name, "restart"] => {
                let node = self.node(name);
                node.generation += 1;
                node.version = 0;
                node.publisher.restart();
            }
            [name, "send", key, text] => {
                self.node(name).send(ChunkId::from_key(DigestKind::Health, key).expect("a key"), Some(text.to_owned()));
                self.deliver(name);
            }
            _ => panic!("not understood: {line}"),
        }
    }

    fn now(&self) -> MonoTime {
        MonoTime::new(self.elapsed)
    }

    fn node(&mut self, name: &str) -> &mut Node {
        self.observers.entry(name.to_owned()).or_default()
    }

    fn mark(&mut self, name: &str, freshness: Freshness) {
        let observer = Observer { name: name.parse().unwrap(), generation: self.node(name).generation };
        self.view.mark_observer(&observer, freshness).unwrap();
    }

    fn tick(&mut self, name: &str, is_alone: bool) {
        let now = self.now();
        let node = self.node(name);
        let publications = node.publisher.tick(now);
        let mut lines = Vec::new();
        for publication in publications {
            match publication {
                Publication::Put { chunk, digest } => {
                    let text = digest.encode();
                    lines.push(format!(
                        "put {}: {} instances, {} bytes",
                        chunk.key(DigestKind::Health),
                        digest.len(),
                        text.len()
                    ));
                    node.send(chunk, Some(text));
                }
                Publication::Delete { chunk } => {
                    lines.push(format!("delete {}", chunk.key(DigestKind::Health)));
                    node.send(chunk, None);
                }
            }
        }
        if !node.is_held_back {
            self.deliver(name);
        }
        if lines.is_empty() && is_alone {
            lines.push("publishes nothing".to_owned());
        }
        for line in lines {
            self.say(&format!("{name} {line}"));
        }
    }

    fn deliver(&mut self, name: &str) {
        let now = self.now();
        let under_way = std::mem::take(&mut self.node(name).under_way);
        for UnderWay { generation, version, chunk, text } in under_way.into_iter().rev() {
            let observer = Observer { name: name.parse().unwrap(), generation };
            if let Err(refused) = self.view.receive(observer, chunk, version, text.as_deref(), now) {
                self.say(&format!("{name} is refused: {}", refused.reason()));
            }
        }
    }

    fn read(&mut self, place: &str) {
        let (slot, tenancy) = read_place(place);
        let mut line = format!("read {place}:");
        for sighting in self.view.sightings(slot, tenancy) {
            write!(line, " {} {}", sighting.observer, describe(sighting.observation)).unwrap();
            if sighting.freshness == Freshness::Stale {
                write!(line, " (said {:?})", sighting.said).unwrap();
            }
            line.push(';');
        }
        let line = line.trim_end_matches(';').to_owned();
        self.say(if line.ends_with(':') { format!("{line} nothing") } else { line }.as_str());
    }

    fn say(&mut self, text: &str) {
        writeln!(self.told, "{:.1}s {text}", self.elapsed.as_secs_f64()).unwrap();
    }
}

fn describe(observation: Observation) -> String {
    let mut text = format!("{:?} {:.2}", observation.status, observation.score.score());
    if observation.trend != Trend::Unknown {
        write!(text, " {:?}", observation.trend).unwrap();
    }
    if observation.time_to_failure != TimeToFailure::NotPredicted {
        write!(text, " {:?}", observation.time_to_failure).unwrap();
    }
    if observation.flap != Flap::Calm {
        write!(text, " {:?}", observation.flap).unwrap();
    }
    text
}

fn read_place(text: &str) -> (Slot, Tenancy) {
    let (slot, revision) = text.split_once('@').expect("SLOT@REVISION");
    (Slot::new(slot.parse().unwrap()).unwrap(), Tenancy::began_at(Revision::new(revision.parse().unwrap())))
}

fn read_observation(status: &str, options: &[&str]) -> (Observation, Duration) {
    let mut valid_for = VALID_FOR;
    let mut observation = Observation::of(match status {
        "unknown" => Status::Unknown,
        "starting" => Status::Starting,
        "passing" => Status::Passing,
        "warning" => Status::Warning,
        "critical" => Status::Critical,
        other => panic!("no such status: {other}"),
    });
    for option in options {
        match option.split_once('=').expect("NAME=VALUE") {
            ("score", steps) => observation.score = ScoreStep::nearest(steps.parse::<f64>().unwrap() / 63.0),
            ("trend", "improving") => observation.trend = Trend::Improving,
            ("trend", "stable") => observation.trend = Trend::Stable,
            ("trend", "degrading") => observation.trend = Trend::Degrading,
            ("ttf", span) => observation.time_to_failure = TimeToFailure::within(read_span(span)),
            ("flap", "changed") => observation.flap = Flap::Changed,
            ("flap", "flapping") => observation.flap = Flap::Flapping,
            ("for", span) => valid_for = read_span(span),
            (name, value) => panic!("no such option: {name}={value}"),
        }
    }
    (observation, valid_for)
}

fn read_span(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(millis.parse().unwrap()),
        None => Duration::from_secs(text.strip_suffix('s').expect("10s or 200ms").parse().unwrap()),
    }
}
