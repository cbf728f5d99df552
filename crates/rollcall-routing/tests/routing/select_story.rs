//! The language of `select-*` stories: instances, a policy, questions and their answers.
//!
//! ```text
//! instance web-1 passing weight=2 zone=a region=eu host=10.0.0.1 health=0.9 load=20/100 latency=50ms@0.99 expected=50ms
//!          tag=api capability=translate version=1.4.2 cost=100 warming=5s fails-in=330s draining quarantine=60s ejected=30s
//! policy strategy=scored slow_start=10s fail_open=0.5 band=0.1 weights=3,1,0,0,0 subset=5
//! ask n=2 zone=a region=eu host=10.0.0.1 tag=api version=^1.4 prefer=fast exclude=web-1 key=abc only_passing
//! explain zone=a        the same question, for every instance
//! wait 5s
//! ```

use std::fmt::Write as _;
use std::time::Duration;

use rollcall_routing::{
    Answer, Caller, Candidate, Forecast, Line, LoadReport, Moment, Performance, Policy, Query, Random, Refusal,
    Scratch, ServiceIndex, Traits, VersionReq, Weights, explain, resolve, version_req,
};
use rollcall_types::{
    CapabilityName, Host, InstanceId, Label, Lifecycle, Millis, Status, Tag, Text, UnixMillis, Version,
};

use crate::fixture::{NOW, label, passing, weight};

struct Story {
    now: UnixMillis,
    turn: u64,
    rng: Random,
    policy: Policy,
    candidates: Vec<Candidate>,
    told: String,
}

/// What the commands answer.
pub(crate) fn tell(script: &str) -> String {
    let mut story = Story {
        now: NOW,
        turn: 0,
        rng: Random::new(1),
        policy: Policy::default(),
        candidates: Vec::new(),
        told: String::new(),
    };
    for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "instance" => {
                let candidate = story.candidate(rest);
                story.candidates.retain(|held| held.instance != candidate.instance);
                story.candidates.push(candidate);
            }
            "policy" => story.policy = policy(rest),
            "wait" => story.now = UnixMillis::new(story.now.get() + millis(rest)),
            "ask" | "explain" => story.question(line, rest),
            _ => panic!("no command: {line}"),
        }
    }
    story.told
}

/// What a question is made of, so that a query can borrow it.
#[derive(Default)]
struct Words {
    n: Option<usize>,
    zone: Option<Label>,
    region: Option<Label>,
    host: Option<Host>,
    in_zone: Option<Label>,
    context: Option<Label>,
    tags: Vec<Tag>,
    capabilities: Vec<CapabilityName>,
    version: Option<VersionReq>,
    prefer: Vec<Tag>,
    exclude: Vec<InstanceId>,
    key: Option<String>,
    only_passing: bool,
}

impl Words {
    fn of(text: &str) -> Self {
        let mut words = Self::default();
        for word in text.split_whitespace() {
            let (field, value) = word.split_once('=').unwrap_or((word, ""));
            match field {
                "n" => words.n = Some(value.parse().unwrap()),
                "zone" => words.zone = Some(label(value)),
                "region" => words.region = Some(label(value)),
                "host" => words.host = Some(Host::try_from(value).unwrap()),
                "in_zone" => words.in_zone = Some(label(value)),
                "context" => words.context = Some(label(value)),
                "tag" => words.tags.push(Tag::try_from(value).unwrap()),
                "capability" => words.capabilities.push(CapabilityName::try_from(value).unwrap()),
                "version" => words.version = Some(version_req(value).unwrap()),
                "prefer" => words.prefer.push(Tag::try_from(value).unwrap()),
                "exclude" => words.exclude.push(InstanceId::try_from(value).unwrap()),
                "key" => words.key = Some(value.to_owned()),
                "only_passing" => words.only_passing = true,
                _ => panic!("no field: {word}"),
            }
        }
        words
    }

    fn query(&self) -> Query<'_> {
        Query {
            caller: Caller {
                id: None,
                host: self.host.as_ref(),
                zone: self.zone.as_ref(),
                region: self.region.as_ref(),
                context: self.context.as_ref(),
            },
            n: self.n.unwrap_or(1),
            require: Traits { tags: &self.tags, capabilities: &self.capabilities, version: self.version.as_ref() },
            prefer: Traits { tags: &self.prefer, ..Traits::default() },
            zone: self.in_zone.as_ref(),
            exclude: &self.exclude,
            only_passing: self.only_passing,
            hash_key: self.key.as_ref().map(|key| key.as_bytes()),
            ..Query::default()
        }
    }
}

impl Story {
    fn question(&mut self, line: &str, text: &str) {
        let index = ServiceIndex::build(self.candidates.clone(), self.policy);
        let words = Words::of(text);
        let query = words.query();
        let moment = Moment { now: self.now, turn: self.turn, tally: None };
        writeln!(self.told, "{line}").unwrap();
        if line.starts_with("explain") {
            let explained = explain(&index, &query, moment, None).unwrap();
            explained.lines.iter().for_each(|line| self.tell_line(&index, line));
            return;
        }
        match resolve(&index, &query, moment, &mut self.rng, &mut Scratch::default()) {
            Ok(answer) => self.tell_answer(&index, &answer),
            Err(refused) => self.tell_refusal(&refused),
        }
        self.turn += 1;
    }

    fn tell_answer(&mut self, index: &ServiceIndex, answer: &Answer) {
        for pick in &answer.picks {
            let reasons: Vec<&str> = pick.reasons.iter().map(|reason| reason.code()).collect();
            let id = &index.candidates()[pick.position].instance;
            writeln!(self.told, "  {id} {:.3} {}", pick.score.value(), reasons.join(" ")).unwrap();
        }
    }

    fn tell_refusal(&mut self, refusal: &Refusal) {
        writeln!(self.told, "  {refusal}").unwrap();
        if let Refusal::NoneFits(census) | Refusal::NoneHealthy(census) = refusal {
            for (reason, count) in &census.reasons {
                writeln!(self.told, "  {count} of {}: {}", census.instances, reason.phrase()).unwrap();
            }
        }
    }

    fn tell_line(&mut self, index: &ServiceIndex, line: &Line) {
        let id = &index.candidates()[line.position].instance;
        let word = if line.is_in { "in" } else { "out" };
        let reasons: Vec<&str> = line.reasons.iter().map(|reason| reason.code()).collect();
        let (score, share) = (line.score.value(), line.share * 100.0);
        writeln!(self.told, "  {id} {word}, score {score:.3}, share {share:.0} %: {}", reasons.join(" ")).unwrap();
        for term in &line.terms {
            let product = term.product();
            writeln!(
                self.told,
                "    {:14} {:.2} × {:.2} = {product:.3}  {}",
                term.factor, term.weight, term.value, term.signal
            )
            .unwrap();
        }
        let score = line.score;
        writeln!(
            self.told,
            "    sum {:.3} × health {:.2} = rank {:.3}; × forecast {:.2} × ramp {:.2}",
            score.sum,
            score.health,
            score.rank(),
            score.forecast,
            score.ramp
        )
        .unwrap();
        if line.gap > 0.0 {
            writeln!(self.told, "    {:.3} short of the best; loses most by {}", line.gap, line.weakest).unwrap();
        }
    }

    fn candidate(&self, text: &str) -> Candidate {
        let mut words = text.split_whitespace();
        let mut candidate = passing(words.next().unwrap());
        let later = |span: &str| UnixMillis::new(self.now.get() + millis(span));
        let reason = || Text::try_from("").unwrap();
        let (mut tags, mut capabilities) = (Vec::new(), Vec::new());
        for word in words {
            let (field, value) = word.split_once('=').unwrap_or((word, ""));
            match field {
                "passing" => candidate.status = Status::Passing,
                "warning" => candidate.status = Status::Warning,
                "critical" => candidate.status = Status::Critical,
                "unknown" => candidate.status = Status::Unknown,
                "starting" => candidate.status = Status::Starting,
                "weight" => candidate.weight = weight(value.parse().unwrap()),
                "zone" => candidate.zone = Some(label(value)),
                "region" => candidate.region = Some(label(value)),
                "host" => candidate.host = Host::try_from(value).ok(),
                "health" => candidate.health = value.parse().ok(),
                "load" => {
                    let (in_flight, most) = value.split_once('/').unwrap();
                    candidate.load = Some(LoadReport { in_flight: in_flight.parse().ok(), used: None, at: self.now });
                    candidate.max_concurrent = most.parse().ok();
                }
                "latency" => candidate.performance = Some(performance(value, self.now)),
                "context" => {
                    let (context, rest) = value.split_once(':').unwrap();
                    candidate.contexts.push((label(context), performance(rest, self.now)));
                }
                "expected" => candidate.expected_response = Some(Duration::from_millis(millis(value))),
                "tag" => tags.push(Tag::try_from(value).unwrap()),
                "capability" => capabilities.push(CapabilityName::try_from(value).unwrap()),
                "version" => candidate.version = Version::try_from(value).ok(),
                "cost" => candidate.cost_micros = value.parse().ok(),
                "warming" => candidate.warming_since = Some(UnixMillis::new(self.now.get() - millis(value))),
                "fails-in" => {
                    let time_to_failure = Some(Duration::from_millis(millis(value)));
                    candidate.forecast = Forecast { is_degrading: true, time_to_failure, confidence: 1.0 };
                }
                "draining" => candidate.lifecycle = Lifecycle::Draining { deadline: None, reason: reason() },
                "quarantine" => {
                    candidate.lifecycle = Lifecycle::Quarantined { until: later(value), reason: reason() };
                }
                "ejected" => candidate.ejected_until = Some(later(value)),
                _ => panic!("no field: {word}"),
            }
        }
        candidate.tags = tags.into();
        candidate.capabilities = capabilities.into();
        candidate
    }
}

fn policy(text: &str) -> Policy {
    let mut policy = Policy::default();
    for word in text.split_whitespace() {
        let (field, value) = word.split_once('=').unwrap();
        let ratio = || value.parse::<f64>().unwrap().try_into().unwrap();
        match field {
            "strategy" => policy.strategy = value.parse().unwrap(),
            "slow_start" => policy.slow_start = Millis::try_from(millis(value)).unwrap(),
            "fail_open" => policy.fail_open = Some(ratio()),
            "band" => policy.tie_band = ratio(),
            "subset" => policy.subset = value.parse().ok(),
            "weights" => {
                let raw: Vec<f64> = value.split(',').map(|weight| weight.parse().unwrap()).collect();
                policy.weights = Weights::new(raw.try_into().unwrap()).unwrap();
            }
            _ => panic!("no field: {word}"),
        }
    }
    policy
}

/// `50ms@0.99`: mean latency and share of successes, of 95 requests (19 parts of 20 of full strength).
fn performance(text: &str, at: UnixMillis) -> Performance {
    let (latency, success) = text.split_once('@').unwrap();
    let latency = Duration::from_millis(millis(latency));
    Performance { latency, success: success.parse().unwrap(), samples: 95.0, at }
}

fn millis(text: &str) -> u64 {
    match text.strip_suffix("ms") {
        Some(millis) => millis.parse().unwrap(),
        None => text.strip_suffix('s').unwrap().parse::<u64>().unwrap() * 1_000,
    }
}
