//! The language of `journal-*` stories: the leader.
//!
//! ```text
//! resume 3@7 critical              what the log has when this node becomes leader
//! note 3@7 passing                 what the observers agree on; `checks=pc-`: check 0 passes, 1 is critical, of 2 nothing is said
//! all 0..10000 critical            the same for a range of slots
//! removed 3@7
//! wait 20ms                        writes what is due, and the log takes it; `hold`: its answer waits for `written` | `failed`
//! service 60s-ago,30s-ago,never    since when each instance of a service is critical
//! nodes 2 of 3                     alive
//! reap 0 after=10s agreed=2        decides about the first instance of the service, with so many votes of the living nodes;
//!                                  `now=passing`, `flapping`
//! ```

use std::fmt::Write as _;
use std::time::Duration;

use rollcall_health::agreement::Cause;
use rollcall_health::journal::{Case, Census, Decision, ENTRY_GAP_MIN, Journal, Transition, Votes, decide};
use rollcall_health::{Flap, Status, Tenancy};
use rollcall_types::{CheckStatuses, Millis, MonoTime, Revision, UnixMillis};

use crate::words::{read_place, read_span, read_status, slot, status_word};

/// When the reaping stories take place.
const TODAY: u64 = 1_800_000_000_000;

struct Story {
    now: MonoTime,
    journal: Journal,
    is_held: bool,
    entries: usize,
    critical_since: Vec<Option<UnixMillis>>,
    nodes: Census,
    told: String,
}

/// What the commands answer.
pub(crate) fn tell(commands: &mut dyn Iterator<Item = &str>) -> String {
    let mut story = Story {
        now: MonoTime::new(Duration::from_secs(1)),
        journal: Journal::default(),
        is_held: false,
        entries: 0,
        critical_since: Vec::new(),
        nodes: Census { failed: 0, total: 3 },
        told: String::new(),
    };
    commands.for_each(|line| story.step(line));
    story.told
}

impl Story {
    fn step(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["resume", place, status, ref checks @ ..] => {
                let (slot, tenancy) = read_place(place);
                self.journal = Journal::resume([(slot, tenancy, read_status(status), read_checks(checks))]);
            }
            ["note", place, status, ref checks @ ..] => {
                let (slot, tenancy) = read_place(place);
                self.journal.note(slot, tenancy, read_status(status), Cause::Observed, read_checks(checks));
            }
            ["all", range, status] => {
                let (from, to) = range.split_once("..").unwrap();
                for raw in from.parse().unwrap()..to.parse().unwrap() {
                    let tenancy = Tenancy::began_at(Revision::new(7));
                    let checks = CheckStatuses::default();
                    self.journal.note(slot(raw), tenancy, read_status(status), Cause::Confirmed, checks);
                }
            }
            ["removed", place] => self.journal.forget(read_place(place).0),
            ["hold"] => self.is_held = true,
            ["written"] => {
                self.journal.written();
                self.is_held = false;
            }
            ["failed"] => {
                self.journal.failed();
                self.is_held = false;
            }
            ["wait", span] => self.wait(read_span(span)),
            ["waiting"] => {
                let line = format!("{} wait, {} entries so far", self.journal.waiting(), self.entries);
                self.say(&line);
            }
            ["service", spans] => {
                let since = |span: &str| {
                    let span = read_span(span.strip_suffix("-ago")?);
                    Some(UnixMillis::new(TODAY - span.as_millis() as u64))
                };
                self.critical_since = spans.split(',').map(since).collect();
            }
            ["nodes", alive, "of", total] => {
                let (alive, total): (usize, usize) = (alive.parse().unwrap(), total.parse().unwrap());
                self.nodes = Census { failed: total - alive, total };
            }
            ["reap", index, ref options @ ..] => self.reap(index.parse().unwrap(), options),
            _ => panic!("not understood: {line}"),
        }
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now.plus(span);
        loop {
            if let Some(entry) = self.journal.next_entry(self.now).map(describe) {
                self.entries += 1;
                self.say(&format!("entry {}: {entry}", self.entries));
                if !self.is_held {
                    self.journal.written();
                }
            }
            if self.now >= end {
                return;
            }
            self.now = self.now.plus(ENTRY_GAP_MIN / 10).min(end);
        }
    }

    fn reap(&mut self, index: usize, options: &[&str]) {
        let critical_since = self.critical_since[index];
        let mut case = Case { status: Status::Critical, flap: Flap::Calm, critical_since, deregister_after: None };
        let mut votes = None;
        for option in options {
            match option.split_once('=') {
                Some(("after", span)) => {
                    case.deregister_after = Some(Millis::try_from(read_span(span).as_millis() as u64).unwrap());
                }
                Some(("now", status)) => case.status = read_status(status),
                Some(("agreed", agreeing)) => {
                    let live = self.nodes.total - self.nodes.failed;
                    votes = Some(Votes { agreeing: agreeing.parse().unwrap(), live });
                }
                None if *option == "flapping" => case.flap = Flap::Flapping,
                _ => panic!("no such option: {option}"),
            }
        }
        let around = critical_since.unwrap_or_default();
        let service = Census::at_once(self.critical_since.iter().copied(), around);
        let decision = decide(case, service, self.nodes, votes, UnixMillis::new(TODAY));
        let line = match decision {
            Decision::Wait { until } => format!("wait for {}", Millis::try_from(until.get() - TODAY).unwrap()),
            Decision::Protected(protection) => format!("protected: {protection}"),
            Decision::Unconfirmed(votes) => format!("unconfirmed: {} of {} agree", votes.agreeing, votes.live),
            other => other.as_str().to_owned(),
        };
        self.told.push_str(&format!("{}: {line}\n", options.join(" ")));
    }

    fn say(&mut self, text: &str) {
        let elapsed = self.now.since(MonoTime::new(Duration::from_secs(1))).as_secs_f64();
        writeln!(self.told, "{elapsed:.2}s {text}").unwrap();
    }
}

fn describe(entry: &[Transition]) -> String {
    let one = |it: &Transition| {
        let (slot, from, to) = (it.slot.get(), status_word(it.from), status_word(it.to));
        format!("{slot} {from} → {to}{}", checks(it.checks))
    };
    match entry {
        few if few.len() <= 4 => few.iter().map(one).collect::<Vec<_>>().join(", "),
        [first, .., last] => format!("{} transitions, {} … {}", entry.len(), one(first), one(last)),
        _ => String::new(),
    }
}

const LETTERS: [char; 4] = ['-', 'p', 'w', 'c'];

fn read_checks(words: &[&str]) -> CheckStatuses {
    let Some(letters) = words.first().map(|word| word.strip_prefix("checks=").expect("checks=pc")) else {
        return CheckStatuses::default();
    };
    let code = |letter| LETTERS.iter().position(|it| *it == letter).expect("one of -pwc") as u32;
    let bits = letters.chars().enumerate().fold(0, |bits, (place, letter)| bits | code(letter) << (2 * place));
    CheckStatuses::from_parts(1, bits)
}

fn checks(checks: CheckStatuses) -> String {
    let (_, bits) = checks.to_parts();
    let letters: String = (0..16).map(|place| LETTERS[(bits >> (2 * place)) as usize & 3]).collect();
    match letters.trim_end_matches('-') {
        "" => String::new(),
        letters => format!(" [{letters}]"),
    }
}
