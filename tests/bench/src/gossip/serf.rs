//! Serf agents, and what they say in their logs.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::{State, States};
use crate::cluster::rollcall::name;
use crate::process::{Process, Spec};

/// 32 bytes in base64. Any key will do; what counts is that Serf encrypts as we do.
const KEY: &str = "cm9sbGNhbGwtYmVuY2gtZ29zc2lwLWtleS0zMmJ5dGU=";
/// Serf adds up its counters in windows of this length, and tells only those that are over.
const COUNTER_WINDOW: Duration = Duration::from_secs(10);
/// Windows that are averaged: one exchange of whole states falls into three.
const COUNTER_WINDOWS: usize = 3;
/// Longest wait for the counters after they were asked for.
const COUNTERS_DEADLINE: Duration = Duration::from_secs(3);
const COUNTERS_POLL: Duration = Duration::from_millis(20);

/// Member k gossips on `ports[k]` and finds the group through member k + 1, now and when it is started again.
pub(super) fn specs(program: &Path, folder: &Path, nodes: usize, ports: &[u16]) -> Vec<Spec> {
    let spec = |index: usize| Spec {
        program: program.to_owned(),
        arguments: vec![
            "agent".to_owned(),
            format!("-node={}", name(index)),
            format!("-bind=127.0.0.1:{}", ports[index]),
            format!("-rpc-addr=127.0.0.1:{}", ports[nodes + index]),
            format!("-retry-join=127.0.0.1:{}", ports[(index + 1) % nodes]),
            "-retry-interval=1s".to_owned(),
            format!("-encrypt={KEY}"),
        ],
        log: folder.join(format!("{}.log", name(index))),
    };
    (0..nodes).map(spec).collect()
}

/// The log of one agent, read as it grows.
pub(super) struct Log {
    path: PathBuf,
    /// Bytes that were read.
    read: u64,
    states: States,
}

impl Log {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: 0, states: States::new() }
    }

    /// What comes next is of a new process, which knows nobody.
    pub(super) fn begin_anew(&mut self) {
        self.read = self.path.metadata().map_or(0, |metadata| metadata.len());
        self.states.clear();
    }

    /// What the agent says about all members.
    pub(super) fn states(&mut self) -> Result<States> {
        let text = self.text_from(self.read)?;
        // A line that is being written is read the next time.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        self.read += whole.len() as u64;
        self.states.extend(whole.lines().filter_map(parse_event));
        Ok(self.states.clone())
    }

    /// Asks the agent for its counters; bytes per second that it has sent lately. `None` when it does not tell in time.
    pub(super) async fn sent_bytes_per_second(&self, process: &Process) -> Result<Option<f64>> {
        let before = self.path.metadata()?.len();
        process.signal(Signal::USR1)?;
        let deadline = Instant::now() + COUNTERS_DEADLINE;
        let mut known = None;
        loop {
            let sent = parse_counters(&self.text_from(before)?);
            // The counters are there when they do not grow any more.
            if sent.is_some() && sent == known {
                return Ok(sent);
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            known = sent;
            sleep(COUNTERS_POLL).await;
        }
    }

    fn text_from(&self, start: u64) -> Result<String> {
        let mut file = File::open(&self.path).with_context(|| format!("cannot open {}", self.path.display()))?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// `… serf: EventMemberFailed: n3 127.0.0.1`.
fn parse_event(line: &str) -> Option<(String, State)> {
    let (event, rest) = line.split_once("serf: EventMember")?.1.split_once(": ")?;
    let state = match event {
        "Join" => State::Alive,
        "Failed" => State::Dead,
        "Leave" | "Reap" => State::Other,
        _ => return None,
    };
    Some((rest.split(' ').next()?.to_owned(), state))
}

/// The mean of the last windows. `[2026-11-21 07:13:10 +0000 UTC][C] 'serf-agent.memberlist.udp.sent': Count: 11 … Sum: 1195.000 …`
fn parse_counters(text: &str) -> Option<f64> {
    let mut windows: Vec<(&str, f64)> = Vec::new();
    for line in
        text.lines().filter(|line| line.contains(".memberlist.udp.sent'") || line.contains(".memberlist.tcp.sent'"))
    {
        let window = line.split(']').next()?;
        let sum: f64 = line.split_once("Sum: ")?.1.split(' ').next()?.parse().ok()?;
        match windows.last_mut() {
            Some((last, total)) if *last == window => *total += sum,
            _ => windows.push((window, sum)),
        }
    }
    let lately = &windows[windows.len().checked_sub(COUNTER_WINDOWS)?..];
    let bytes: f64 = lately.iter().map(|(_, sum)| sum).sum();
    Some(bytes / (COUNTER_WINDOW.as_secs_f64() * COUNTER_WINDOWS as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_read_from_the_log() {
        let line = "    2026/11/21 07:12:36 [INFO] serf: EventMemberFailed: n3 127.0.0.1";
        assert_eq!(parse_event(line), Some(("n3".to_owned(), State::Dead)));
        assert_eq!(parse_event("    2026/11/21 07:12:37 [INFO] agent: Received event: member-join"), None);
    }

    #[test]
    fn the_counters_of_the_last_three_windows_are_averaged() {
        let text: String = [(1, "udp", 9000), (2, "udp", 300), (3, "tcp", 400), (3, "udp", 100), (4, "udp", 700)]
            .map(|(window, way, sum)| {
                format!(
                    "[00:0{window}0][C] 'serf-agent.memberlist.{way}.sent': Count: 2 Sum: {sum}.000 LastUpdated: x\n"
                )
            })
            .concat();
        assert_eq!(parse_counters(&text), Some(50.0));
        assert_eq!(parse_counters(&text[text.len() - 100..]), None, "too few windows");
    }
}
