//! The language of `check-*` stories: one instance at one observer.
//!
//! ```text
//! check http 10s capability=cart     a check; also `tcp 1s`, `heartbeats 30s` (its TTL), `alias`; failures=3 successes=2
//! lease | startup 30s | expected 100ms        before the first event: it has a lease, is new, should answer in time
//! http ok 20ms | http strained | http refused | timeout | status | protocol | resolve | forbidden | put-off
//!                                    time goes on to when the probe is due, and it is answered so; `× 3`: three times
//! http challenged                    another observer asks for a probe now
//! heartbeats passing | alias critical | lease critical score=0.4 | lease critical silent
//! load cpu=0.8 memory=0.5 in_flight=3 capacity=4 p95=200ms error_rate=0.1
//! hasten | wait 10s | stall 60s | show | score
//! ```
//! Jitter is drawn in the middle, so a probe comes exactly when its interval says.

use std::fmt::Write as _;
use std::time::Duration;

use rollcall_health::check::{Answer, Cause, Failure, InstanceRecord, Load, Outcome, Report, Transition};
use rollcall_health::{Flap, RUN_TICK, Reading, RunClock};
use rollcall_types::{CheckId, CheckKind, CheckSpec, Millis, MonoTime, Status, Text};

use crate::words::{read_span, read_status, status_word};

/// The middle of all draws.
const MIDDLE: u64 = 1 << 63;

struct Story {
    now: MonoTime,
    clock: RunClock,
    checks: Vec<CheckSpec>,
    has_lease: bool,
    startup: Duration,
    expected: Option<Duration>,
    record: Option<InstanceRecord>,
    told: String,
}

/// What the commands answer.
pub(crate) fn tell(commands: &mut dyn Iterator<Item = &str>) -> String {
    let now = MonoTime::default();
    let mut story = Story {
        now,
        clock: RunClock::new(now),
        checks: Vec::new(),
        has_lease: false,
        startup: Duration::ZERO,
        expected: None,
        record: None,
        told: String::new(),
    };
    commands.for_each(|line| story.step(line));
    story.told
}

impl Story {
    fn step(&mut self, line: &str) {
        if let Some((command, times)) = line.split_once('×') {
            (0..times.trim().parse().unwrap()).for_each(|_| self.step(command.trim()));
            return;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["check", kind, ref options @ ..] => self.checks.push(check(kind, options)),
            ["lease"] => self.has_lease = true,
            ["startup", span] => self.startup = read_span(span),
            ["expected", span] => self.expected = Some(read_span(span)),
            ["wait", span] => self.wait(read_span(span)),
            ["stall", span] => {
                self.now = self.now.plus(read_span(span));
                self.tick();
            }
            ["lease", status, ref options @ ..] => {
                let score = options.iter().find_map(|it| it.strip_prefix("score=")).map(|score| score.parse().unwrap());
                let why = if options.contains(&"silent") { Cause::HeartbeatMissed } else { Cause::Reported };
                let now = self.now;
                let change = self.record().lease(read_status(status), why, score, now);
                self.note(change);
            }
            ["load", ref parts @ ..] => {
                let now = self.now;
                self.record().load(read_load(parts), Duration::from_secs(60), now);
            }
            ["hasten"] => self.record().hasten(true),
            ["show"] => self.show(),
            ["score"] => self.score(),
            [check, "challenged"] => {
                let now = self.now;
                self.record().challenge(now);
                let due = self.due(check);
                self.say(&format!("{check} is due at {:.1}s", elapsed(due)));
            }
            ["heartbeats", report] => {
                let at = self.read();
                let change = self.record().heartbeat(&id("heartbeats"), read_report(report), at);
                self.note(change);
            }
            ["alias", status] => {
                let now = self.now;
                let change = self.record().follow(&id("alias"), read_status(status), now);
                self.note(change);
            }
            [check, answer, ref latency @ ..] => {
                let latency = latency.first().map_or(Duration::ZERO, |span| read_span(span));
                self.probe(check, Outcome { answer: read_answer(answer), latency });
            }
            _ => panic!("not understood: {line}"),
        }
    }

    fn record(&mut self) -> &mut InstanceRecord {
        let Self { record, checks, has_lease, expected, startup, now, .. } = self;
        record.get_or_insert_with(|| InstanceRecord::new(&*checks, *has_lease, *expected, *startup, *now, || MIDDLE))
    }

    fn read(&mut self) -> Reading {
        self.clock.read(self.now)
    }

    fn tick(&mut self) {
        let at = self.clock.tick(self.now);
        let change = self.record().tick(at);
        self.note(change);
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now.plus(span);
        while self.now < end {
            self.now = self.now.plus(RUN_TICK).min(end);
            self.tick();
        }
    }

    fn due(&mut self, check: &str) -> MonoTime {
        let checks = self.record().checks();
        let found = checks.filter(|(found, ..)| found.as_str() == check).find_map(|(.., record)| record.due());
        found.expect("a check that is probed")
    }

    fn probe(&mut self, check: &str, outcome: Outcome) {
        let due = self.due(check);
        let span = due.since(self.now) + outcome.latency;
        self.wait(span);
        let now = self.now;
        let change = self.record().observe(&id(check), outcome, now, MIDDLE);
        self.note(change);
    }

    fn note(&mut self, change: Option<Transition>) {
        if let Some(Transition { from, to, cause, .. }) = change {
            self.say(&format!("{} → {}: {}", status_word(from), status_word(to), cause.phrase()));
        }
    }

    fn show(&mut self) {
        let now = self.now;
        let record = self.record();
        let state = record.state().clone();
        let by = state.check.map_or(String::new(), |check| format!(" ({check})"));
        let mut line = format!(
            "{} since {:.1}s{by}: {}; {:?}, score {:.2}",
            status_word(state.status),
            elapsed(state.since),
            state.cause.phrase(),
            record.flap(now),
            record.score(now).value,
        );
        let failed: Vec<&str> = record.failed_capabilities().map(|name| name.as_str()).collect();
        if !failed.is_empty() {
            write!(line, "; without {}", failed.join(", ")).unwrap();
        }
        if record.flap(now) == Flap::Calm {
            line = line.replace(" Calm,", "");
        }
        for (name, _, check) in record.checks() {
            write!(line, "\n     {name}: {}, {}", status_word(check.verdict().status), check.verdict().cause).unwrap();
            if let Some(due) = check.due() {
                write!(line, ", due at {:.1}s", elapsed(due)).unwrap();
            }
        }
        self.say(&line);
    }

    fn score(&mut self) {
        let now = self.now;
        let score = self.record().score(now);
        let mut line = format!("score {:.3}:", score.value);
        for term in score.terms {
            let value = term.value.map_or("missing".to_owned(), |value| format!("{value:.2}"));
            write!(line, " {} {value},", term.signal.as_str()).unwrap();
        }
        self.say(line.trim_end_matches(','));
    }

    fn say(&mut self, text: &str) {
        writeln!(self.told, "{:.1}s {text}", elapsed(self.now)).unwrap();
    }
}

fn elapsed(time: MonoTime) -> f64 {
    time.since(MonoTime::default()).as_secs_f64()
}

fn id(text: &str) -> CheckId {
    text.parse().unwrap()
}

/// The check that a story names by its type.
fn check(kind: &str, options: &[&str]) -> CheckSpec {
    let address = ("localhost".try_into().unwrap(), 80_u64.try_into().unwrap());
    let mut spec = CheckSpec {
        id: id(kind),
        name: Text::default(),
        notes: Text::default(),
        capability: None,
        kind: CheckKind::Tcp { host: address.0, port: address.1 },
        interval: Millis::new(10_000),
        timeout: Millis::new(1_000),
        failures_before_critical: 3,
        successes_before_passing: 2,
    };
    match kind {
        "alias" => spec.kind = CheckKind::Alias { service: "other".parse().unwrap(), instance: None },
        "http" => spec.kind = CheckKind::Http { url: "http://localhost/".parse().unwrap() },
        _ => {}
    }
    for option in options {
        match option.split_once('=') {
            None if kind == "heartbeats" => {
                spec.kind = CheckKind::Ttl { ttl: read_millis(option), initial: Status::Passing }
            }
            None => spec.interval = read_millis(option),
            Some(("failures", count)) => spec.failures_before_critical = count.parse().unwrap(),
            Some(("successes", count)) => spec.successes_before_passing = count.parse().unwrap(),
            Some(("capability", name)) => spec.capability = Some(name.parse().unwrap()),
            Some(("id", name)) => spec.id = id(name),
            Some(other) => panic!("no such option: {other:?}"),
        }
    }
    spec
}

fn read_millis(text: &str) -> Millis {
    Millis::try_from(read_span(text).as_millis() as u64).unwrap()
}

fn read_answer(text: &str) -> Answer {
    Answer::Failed(match text {
        "ok" => return Answer::Passed,
        "put-off" => return Answer::PutOff,
        "strained" => return Answer::Strained,
        "refused" => Failure::Refused,
        "timeout" => Failure::Timeout,
        "status" => Failure::Status,
        "protocol" => Failure::Protocol,
        "resolve" => Failure::Resolve,
        "forbidden" => Failure::Forbidden,
        other => panic!("no such answer: {other}"),
    })
}

fn read_report(text: &str) -> Report {
    match text {
        "passing" => Report::Passing,
        "warning" => Report::Warning,
        "critical" => Report::Critical,
        other => panic!("no such report: {other}"),
    }
}

fn read_load(parts: &[&str]) -> Load {
    let mut load = Load::default();
    for part in parts {
        match part.split_once('=').expect("NAME=VALUE") {
            ("cpu", value) => load.cpu = Some(value.parse().unwrap()),
            ("memory", value) => load.memory = Some(value.parse().unwrap()),
            ("in_flight", value) => load.in_flight = Some(value.parse().unwrap()),
            ("capacity", value) => load.capacity = Some(value.parse().unwrap()),
            ("p95", value) => load.p95 = Some(read_span(value)),
            ("error_rate", value) => load.error_rate = Some(value.parse().unwrap()),
            other => panic!("no such load: {other:?}"),
        }
    }
    load
}
