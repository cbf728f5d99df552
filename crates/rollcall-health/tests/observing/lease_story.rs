//! The language of `lease-*` stories: one instance with a lease, the nodes that hear it, and a prober that watches.
//!
//! ```text
//! ttl 60s                   the lease in the catalogue; `removed`: it has none any more
//! taken-over critical       another prober begins to watch; the log has this status of the instance
//! n1 heartbeat passing score=0.4    arrives at n1 and is vouched for
//! n1 dies | n1 restarts     all it vouched for is void; a restarted node is alive again
//! n1 left                   its values are gone and it is no member
//! wait 10s                  every node and the prober tick; changes of the lease are told
//! n1 stalls 30s             n1 does not run meanwhile, the others do
//! show
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use rollcall_health::lease::{Grant, LeaseState, LeaseTable, LeaseWatch, TTL_DEFAULT};
use rollcall_health::{
    ChunkId, Freshness, HealthView, Observation, Observer, Publication, Publisher, RUN_TICK, RunClock, ScoreStep,
    Status,
};
use rollcall_types::{MonoTime, NodeName};

use crate::words::{read_place, read_span, read_status, status_word};

/// What a table vouches for stands until the table withdraws it.
const UNTIL_WITHDRAWN: Duration = Duration::MAX;

struct Story {
    now: MonoTime,
    granted: Option<Grant>,
    nodes: BTreeMap<NodeName, Node>,
    view: HealthView,
    clock: RunClock,
    watch: Option<LeaseWatch>,
    told: String,
}

struct Node {
    generation: u64,
    is_alive: bool,
    version: u64,
    clock: RunClock,
    table: LeaseTable,
    publisher: Publisher,
    stalled_until: MonoTime,
}

/// What the commands answer.
pub(crate) fn tell(commands: &mut dyn Iterator<Item = &str>) -> String {
    let now = MonoTime::default();
    let mut story = Story {
        now,
        granted: None,
        nodes: BTreeMap::new(),
        view: HealthView::new(),
        clock: RunClock::new(now),
        watch: None,
        told: String::new(),
    };
    story.grant(TTL_DEFAULT.duration());
    commands.for_each(|line| story.step(line));
    story.told
}

impl Story {
    fn step(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["ttl", span] => self.grant(read_span(span)),
            ["taken-over", known] => {
                let ttl = self.granted.expect("a lease").ttl;
                self.watch = Some(LeaseWatch::new(ttl, read_status(known), self.clock.read(self.now)));
                self.look();
                self.show();
            }
            ["removed"] => self.granted = None,
            ["wait", span] => self.wait(read_span(span)),
            ["show"] => self.show(),
            [name, "heartbeat", status, ref score @ ..] => self.heartbeat(name, status, score.first().copied()),
            [name, "dies"] => {
                self.node(name).is_alive = false;
                self.mark(name, Freshness::Stale);
            }
            [name, "left"] => {
                self.nodes.remove(name);
                self.view.remove_observer(&name.parse().unwrap());
            }
            [name, "restarts"] => {
                let (generation, now) = (self.node(name).generation + 1, self.now);
                self.nodes.insert(name.parse().unwrap(), Node::new(generation, now));
                self.mark(name, Freshness::Fresh);
            }
            [name, "stalls", span] => {
                let until = self.now.plus(read_span(span));
                self.node(name).stalled_until = until;
                self.wait(read_span(span));
            }
            _ => panic!("not understood: {line}"),
        }
    }

    fn grant(&mut self, ttl: Duration) {
        self.granted = Some(Grant { tenancy: read_place("3@7").1, ttl });
        self.watch = Some(LeaseWatch::new(ttl, Status::Unknown, self.clock.read(self.now)));
    }

    fn node(&mut self, name: &str) -> &mut Node {
        let now = self.now;
        self.nodes.entry(name.parse().unwrap()).or_insert_with(|| Node::new(1, now))
    }

    fn mark(&mut self, name: &str, freshness: Freshness) {
        let observer = Observer { name: name.parse().unwrap(), generation: self.node(name).generation };
        self.view.mark_observer(&observer, freshness).unwrap();
    }

    fn heartbeat(&mut self, name: &str, status: &str, score: Option<&str>) {
        let ((slot, tenancy), granted, now) = (read_place("3@7"), self.granted, self.now);
        let score = score.map_or(1.0, |score| score.strip_prefix("score=").unwrap().parse().unwrap());
        let node = self.node(name);
        let at = node.clock.read(now);
        let answer = match node.table.renew(slot, granted, at, 0) {
            Ok(renewal) => {
                let said = Observation { score: ScoreStep::nearest(score), ..Observation::of(read_status(status)) };
                node.publisher.observe(slot, tenancy, said, UNTIL_WITHDRAWN, now);
                let news = if renewal.is_new { ", new here" } else { "" };
                format!("next heartbeat in {:.1}s{news}", renewal.next_heartbeat.as_secs_f64())
            }
            Err(error) => {
                node.publisher.withdraw(slot, tenancy, now);
                error.to_string()
            }
        };
        self.say(&format!("{name}: {answer}"));
        self.publish(name);
        self.mark(name, Freshness::Fresh);
        self.look();
    }

    fn publish(&mut self, name: &str) {
        let now = self.now;
        let node = self.node(name);
        for publication in node.publisher.tick(now) {
            let (chunk, text): (ChunkId, _) = match publication {
                Publication::Put { chunk, digest } => (chunk, Some(digest.encode())),
                Publication::Delete { chunk } => (chunk, None),
            };
            let node = self.node(name);
            node.version += 1;
            let (generation, version) = (node.generation, node.version);
            let observer = Observer { name: name.parse().unwrap(), generation };
            self.view.receive(observer, chunk, version, text.as_deref(), now).unwrap();
        }
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now.plus(span);
        while self.now < end {
            self.now = self.now.plus(RUN_TICK).min(end);
            let running: Vec<NodeName> = self
                .nodes
                .iter()
                .filter(|(_, node)| node.is_alive && node.stalled_until < self.now)
                .map(|(name, _)| name.clone())
                .collect();
            for name in running {
                let now = self.now;
                let node = self.node(&name);
                let at = node.clock.tick(now);
                let lost = node.table.tick(at);
                lost.iter().for_each(|lost| node.publisher.withdraw(lost.slot, lost.tenancy, now));
                for _ in lost {
                    self.say(&format!("{name}: silent for longer than its TTL"));
                }
                self.publish(&name);
            }
            self.clock.tick(self.now);
            self.look();
        }
    }

    fn look(&mut self) {
        let at = self.clock.read(self.now);
        let Self { watch: Some(watch), view, nodes, .. } = self else { return };
        let (slot, tenancy) = read_place("3@7");
        let living = |name: &NodeName| nodes.get(name).filter(|node| node.is_alive).map(|node| node.generation);
        let before = watch.state();
        let after = watch.observe(view.sightings(slot, tenancy), living, at);
        if after != before {
            self.say(&format!("lease {} → {}", before.as_str(), after.as_str()));
        }
    }

    fn show(&mut self) {
        let watch = self.watch.as_ref().unwrap();
        let score = watch.score().map_or("no score".to_owned(), |score| format!("score {score:.2}"));
        let line = format!("{}, {}, {score}", watch.state().as_str(), status_word(watch.status()));
        assert_eq!(watch.state() == LeaseState::Held, watch.score().is_some());
        self.say(&line);
    }

    fn say(&mut self, text: &str) {
        let elapsed = self.now.since(MonoTime::default()).as_secs_f64();
        writeln!(self.told, "{elapsed:.1}s {text}").unwrap();
    }
}

impl Node {
    fn new(generation: u64, now: MonoTime) -> Self {
        Self {
            generation,
            is_alive: true,
            version: 0,
            clock: RunClock::new(now),
            table: LeaseTable::new(),
            publisher: Publisher::new(),
            stalled_until: MonoTime::default(),
        }
    }
}
