//! DNS beside dnsmasq, NSD and the least that a server can do: queries a second and CPU for each, by dnsperf.
//!
//! All servers live at once and take turns (A B C D D C B A …), each on the first core, dnsperf on the second with 100 queries
//! outstanding. The servers answer the same question with five addresses; the trivial responder turns the query around with one
//! address, without reading it. Ours is a whole node, and answers from live data: who may be selected is decided while it runs.
//!
//! Limits: one client socket, so one socket of ours answers; with 100 outstanding dnsperf's own core is a bound too, so compare
//! the CPU as well.

mod servers;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use self::servers::{Server, System};
use crate::machine::{self, CpuSample, NOISY_CORES};

pub(crate) use self::servers::respond;
pub(crate) use self::table::render;

/// Queries that dnsperf keeps outstanding.
const OUTSTANDING: u32 = 100;
/// The name that everybody answers for.
const NAME: &str = "orders.service.rollcall";
/// Seconds of load before the first round.
const WARM_UP_S: u64 = 1;

/// What to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Our binary.
    pub(crate) rollcall: PathBuf,
    /// Rounds of each system.
    pub(crate) rounds: usize,
    /// Length of a round.
    pub(crate) length: Duration,
    /// Holds a temporary folder.
    pub(crate) folder: PathBuf,
    /// How long to wait for other processes to be quiet, before each round.
    pub(crate) patience: Duration,
}

impl Plan {
    /// What is done, in one line of the report.
    pub(crate) fn shape(&self) -> String {
        format!(
            "{} rounds of each system, {} s each, order A B C D D C B A; dnsperf with {OUTSTANDING} outstanding on one core, the \
             server on another; figures are medians [min–max]; CPU is user + system of the server",
            self.rounds,
            self.length.as_secs()
        )
    }
}

/// One round.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    system: System,
    per_second: f64,
    lost: f64,
    cpu_us: f64,
    noisy: bool,
}

/// Measures all systems. Rounds and remarks are filled as they come, so that a failure leaves those before it.
pub(crate) async fn run(plan: &Plan, rounds: &mut Vec<Round>, remarks: &mut Vec<String>) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("rollcall-bench-dns-").tempdir_in(&plan.folder)?;
    let queries = folder.path().join("queries");
    std::fs::write(&queries, format!("{NAME} A\n"))?;
    let mut servers = Vec::new();
    for system in System::ALL {
        servers.push(Server::start(system, &plan.rollcall, folder.path()).await?);
    }
    let pids: Vec<u32> = servers.iter().map(Server::pid).collect();
    for server in &servers {
        dnsperf(server, &queries, Duration::from_secs(WARM_UP_S)).await?;
    }
    for round in 0..plan.rounds {
        let mut turn: Vec<&Server> = servers.iter().collect();
        if round % 2 == 1 {
            turn.reverse();
        }
        for server in turn {
            remarks.extend(
                machine::wait_until_quiet(&pids, plan.patience).await?.map(|why| format!("{}: {why}", server.system)),
            );
            rounds.push(measure(server, &queries, plan.length).await?);
        }
    }
    Ok(())
}

async fn measure(server: &Server, queries: &Path, length: Duration) -> Result<Round> {
    let before = CpuSample::take(&[server.pid()])?;
    let said = dnsperf(server, queries, length).await?;
    let used = CpuSample::take(&[server.pid()])?.since(&before);
    let figures = Figures::read(&said).with_context(|| format!("dnsperf said:\n{said}"))?;
    ensure!(figures.completed > 0.0, "{} answered nothing", server.system);
    Ok(Round {
        system: server.system,
        per_second: figures.per_second,
        lost: figures.lost,
        cpu_us: used.servers_us / figures.completed,
        // dnsperf has ended, so its time is not foreign; what is foreign is others.
        noisy: used.foreign > NOISY_CORES,
    })
}

async fn dnsperf(server: &Server, queries: &Path, length: Duration) -> Result<String> {
    let output = Command::new("taskset")
        .args(["-c", servers::CLIENT_CORE, "dnsperf", "-s", "127.0.0.1", "-c", "1", "-p", &server.port().to_string()])
        .args(["-q", &OUTSTANDING.to_string(), "-l", &length.as_secs().to_string(), "-d"])
        .arg(queries)
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot start dnsperf: apt-get install dnsperf")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "dnsperf failed: {}{said}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

/// What dnsperf reports.
struct Figures {
    completed: f64,
    lost: f64,
    per_second: f64,
}

impl Figures {
    fn read(said: &str) -> Option<Self> {
        let value = |label: &str| {
            let line = said.lines().find_map(|line| line.trim().strip_prefix(label))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Self {
            completed: value("Queries completed:")?,
            lost: value("Queries lost:")?,
            per_second: value("Queries per second:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_dnsperf_is_read() {
        let said = "Statistics:\n\n  Queries sent:         100\n  Queries completed:    98 (98.00%)\n  Queries lost:         2 \
                    (2.00%)\n\n  Queries per second:   49.123456\n";
        let figures = Figures::read(said).unwrap();
        assert_eq!((figures.completed, figures.lost, figures.per_second), (98.0, 2.0, 49.123_456));
        assert!(Figures::read("nothing").is_none());
    }
}
