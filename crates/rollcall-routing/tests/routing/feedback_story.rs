//! The language of `feedback-*` stories: reports of requests to instances of one service of `instances`.
//!
//! ```text
//! instances 20                               i-00 to i-19 are registered
//! report alice i-03 ok 50ms [checkout] ×5    or `failed`; so many times
//! wait 30s | show i-03 | review | ejected | tell 3
//! ```

use std::fmt::Write as _;
use std::time::Duration;

use rollcall_routing::Performance;
use rollcall_routing::feedback::{Ejections, FeedbackTable, Report, ReporterId};
use rollcall_types::{InstanceId, ServiceKey, UnixMillis};

use crate::fixture::{NOW, label, passing};

struct Story {
    now: UnixMillis,
    service: ServiceKey,
    instances: Vec<InstanceId>,
    feedback: FeedbackTable,
    ejections: Ejections,
    told: String,
}

/// What the commands answer.
pub(crate) fn tell(script: &str) -> String {
    let mut story = Story {
        now: NOW,
        service: passing("x").service,
        instances: Vec::new(),
        feedback: FeedbackTable::default(),
        ejections: Ejections::default(),
        told: String::new(),
    };
    for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (command, times) = line.split_once('×').unwrap_or((line, "1"));
        for _ in 0..times.trim().parse().unwrap() {
            story.step(&command.split_whitespace().collect::<Vec<_>>());
        }
    }
    story.told
}

impl Story {
    fn step(&mut self, words: &[&str]) {
        match words {
            ["instances", n] => {
                self.instances = (0..n.parse().unwrap()).map(|i: u32| id(&format!("i-{i:02}"))).collect();
            }
            ["wait", span] => self.now = UnixMillis::new(self.now.get() + seconds(span) * 1_000),
            ["report", who, instance, how, latency] => self.report(who, instance, how, latency, None),
            ["report", who, instance, how, latency, context] => self.report(who, instance, how, latency, Some(context)),
            ["show", instance] => self.show(&id(instance)),
            ["tell", max] => {
                for entry in self.feedback.entries(|_, _| true).into_iter().take(max.parse().unwrap()) {
                    let overall = entry.said.performance.map(|performance| (String::new(), performance));
                    let contexts = entry.said.contexts.into_iter().map(|(label, it)| (format!(" {label}"), it));
                    for (context, performance) in overall.into_iter().chain(contexts) {
                        self.say(&format!("tells of {}{context}: {}", entry.instance, words_of(&performance)));
                    }
                }
            }
            ["review"] => {
                let ejected = self.ejections.review(&self.service, &self.instances, &mut self.feedback, self.now);
                let names: Vec<&str> = ejected.iter().map(|id| id.as_str()).collect();
                self.say(&format!(
                    "review: ejects {}",
                    if names.is_empty() { "nobody".into() } else { names.join(", ") }
                ));
            }
            ["ejected"] => {
                let until = |id: &InstanceId| self.ejections.until(&self.service, id, self.now);
                let held = self.instances.iter().filter_map(|id| Some((id, until(id)?)));
                let names: Vec<String> =
                    held.map(|(id, until)| format!("{id} for {} s", (until.get() - self.now.get()) / 1_000)).collect();
                self.say(&format!("ejected: {}", if names.is_empty() { "nobody".into() } else { names.join(", ") }));
            }
            _ => panic!("no command: {words:?}"),
        }
    }

    fn report(&mut self, who: &str, instance: &str, how: &str, latency: &str, context: Option<&str>) {
        let reporter = ReporterId(who.bytes().fold(0, |id, byte| id * 256 + u64::from(byte)));
        let report = Report {
            service: self.service.clone(),
            instance: id(instance),
            context: context.map(label),
            ok: how == "ok",
            latency: Duration::from_millis(latency.strip_suffix("ms").unwrap().parse().unwrap()),
        };
        if let Err(refused) = self.feedback.record(reporter, &report, self.now) {
            self.say(&format!("{who}: {refused}"));
        }
    }

    fn show(&mut self, instance: &InstanceId) {
        let overall = self.feedback.performance(&self.service, instance);
        let told = overall.map_or_else(|| "nothing".to_owned(), |performance| words_of(&performance));
        self.say(&format!("{instance}: {told}"));
        for (context, performance) in self.feedback.contexts(&self.service, instance) {
            self.say(&format!("{instance} {context}: {}", words_of(&performance)));
        }
    }

    fn say(&mut self, text: &str) {
        writeln!(self.told, "{}s {text}", (self.now.get() - NOW.get()) / 1_000).unwrap();
    }
}

fn words_of(performance: &Performance) -> String {
    let latency = performance.latency.as_secs_f64() * 1e3;
    format!("{latency:.0} ms, {:.0} % ok, {:.1} samples", performance.success * 100.0, performance.samples)
}

fn id(text: &str) -> InstanceId {
    InstanceId::try_from(text).unwrap()
}

fn seconds(text: &str) -> u64 {
    text.strip_suffix('s').unwrap().parse().unwrap()
}
