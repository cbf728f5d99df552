//! Waiting for the nodes, with a line that says for whom.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

use rollcall_api::paths;
use tokio::time::{Instant, interval};

use crate::dev::child::{Children, Ended};
use crate::dev::plan::{NodePlan, Plan};
use crate::failure::Failure;
use crate::terminal::{Paint, print};

/// Longest time for a cluster to come up. An election takes a second; the rest is for slow disks and big logs.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at the nodes.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Longest wait for one answer.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// Lines of a log to show when its node did not come up.
const LOG_LINES: usize = 5;

/// Waits until every node answers 200 at `/readyz`.
///
/// # Errors
/// When a node ends, or not all are ready in time: names them and shows the end of their logs.
pub(crate) async fn wait(plan: &Plan, nodes: &mut Children<usize>, paint: Paint) -> Result<(), Failure> {
    let started = Instant::now();
    let http = client()?;
    let mut progress = Progress { paint, on_terminal: io::stdout().is_terminal(), shown: String::new() };
    let mut ticks = interval(LOOK_INTERVAL);
    let mut ready = vec![false; plan.nodes.len()];
    while ready.contains(&false) {
        tokio::select! {
            ended = nodes.next_end() => return Err(ended_early(plan, &ended)),
            _ = ticks.tick() => {}
        }
        for (node, ready) in plan.nodes.iter().zip(&mut ready).filter(|(_, ready)| !**ready) {
            *ready = answers(&http, &format!("{}{}", node.url(), paths::READYZ)).await;
        }
        progress.show(&plan.nodes, &ready)?;
        if started.elapsed() > READY_TIMEOUT {
            return Err(not_ready(plan, &ready));
        }
    }
    progress.finish(started.elapsed())
}

/// A client that looks at one address at a time.
///
/// # Errors
/// When the HTTP client cannot be made.
pub(crate) fn client() -> Result<reqwest::Client, Failure> {
    let built = reqwest::Client::builder().timeout(LOOK_TIMEOUT).no_proxy().build();
    built.map_err(|error| Failure::failed("cannot make an HTTP client").because(&error))
}

/// Whether `url` answers with success.
pub(crate) async fn answers(http: &reqwest::Client, url: &str) -> bool {
    http.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}

fn ended_early(plan: &Plan, ended: &Ended<usize>) -> Failure {
    let node = &plan.nodes[ended.which];
    let failure = Failure::failed(format!("{} ended before it was ready: {}", node.name, ended.reason()));
    with_log(failure, node)
}

fn not_ready(plan: &Plan, ready: &[bool]) -> Failure {
    let late: Vec<&NodePlan> =
        plan.nodes.iter().zip(ready).filter(|(_, ready)| !**ready).map(|(node, _)| node).collect();
    let names: Vec<&str> = late.iter().map(|node| node.name.as_str()).collect();
    let what = format!("{} did not become ready within {} s", names.join(", "), READY_TIMEOUT.as_secs());
    late.first().map_or_else(|| Failure::failed(what.clone()), |node| with_log(Failure::failed(what.clone()), node))
}

fn with_log(failure: Failure, node: &NodePlan) -> Failure {
    let path = node.log_file();
    let failure = tail(&path).into_iter().fold(failure, Failure::cause);
    failure.hint(format!("read {}; `rollcall dev --clean` begins anew", path.display()))
}

fn tail(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

/// The line that says who is ready: rewritten in place on a terminal, printed on change elsewhere.
struct Progress {
    paint: Paint,
    on_terminal: bool,
    shown: String,
}

impl Progress {
    fn show(&mut self, nodes: &[NodePlan], ready: &[bool]) -> Result<(), Failure> {
        let states = nodes.iter().zip(ready).map(|(node, ready)| {
            let state = if *ready { self.paint.good("ready") } else { self.paint.dim("starting") };
            format!("{} {state}", node.name)
        });
        let line = states.collect::<Vec<_>>().join(", ");
        if line == self.shown {
            return Ok(());
        }
        // `\r` and "erase to the end of the line" (ECMA-48 §8.3.41).
        print(&if self.on_terminal { format!("\r{line}\u{1b}[K") } else { format!("{line}\n") })?;
        self.shown = line;
        Ok(())
    }

    fn finish(&self, took: Duration) -> Result<(), Failure> {
        let end = if self.on_terminal { "\n" } else { "" };
        print(&format!("{end}ready after {:.1} s\n", took.as_secs_f64()))
    }
}
