//! How long until all members know that one died, and what knowing costs at rest: Rollcall beside Serf.
//!
//! Groups of real processes on loopback with default timers, both encrypted. One member after another is killed with
//! SIGKILL, and every other is asked again and again until it says so: Rollcall by `GET /v1/cluster/members`, Serf by its log,
//! which it writes in the same step in which it changes the member's state (its command line would cost a process per
//! look). Then the member is started again and the next round begins once everyone sees everyone alive.
//!
//! CPU, traffic and memory are of a window without faults and without questions. CPU and memory are of the whole process,
//! so ours pays for Raft and HTTP too; traffic is what each system counts as sent by its own gossip.
//!
//! Limits: one machine, so no loss and no delay; with fewer than 100 kills p99 is the worst.

mod ours;
mod serf;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::cluster::{free_ports, local, tail};
use crate::machine::{self, CpuSample};
use crate::process::{Process, Spec};

pub(crate) use self::table::{quantile, render};

/// Pause between two sweeps over all members: the resolution of the times.
const POLL: Duration = Duration::from_millis(20);
/// Longest wait for all members to see all alive, and for all to see one dead.
const DEADLINE: Duration = Duration::from_secs(90);
/// Time between everyone seeing everyone and the next kill, so that no round sees the end of the one before.
const CALM: Duration = Duration::from_secs(3);
/// Added to it once more in each round: detectors look in periods of a second or a part of it, and every kill at the same
/// moment of the period would measure that moment.
const PHASE_STEP: Duration = Duration::from_millis(170);
/// The window without faults. Serf exchanges whole states every 30 s, and counts in windows of 10 s.
const STEADY: Duration = Duration::from_secs(45);

/// What to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Our binary; `None` when we are not measured.
    pub(crate) rollcall: Option<PathBuf>,
    /// Serf's; `None` when it is not measured.
    pub(crate) serf: Option<PathBuf>,
    /// Members of a group, one group of each system after the other.
    pub(crate) sizes: Vec<usize>,
    /// Kills in each of our groups.
    pub(crate) kills: usize,
    /// Kills in each of Serf's.
    pub(crate) serf_kills: usize,
    /// Holds one temporary folder per group.
    pub(crate) folder: PathBuf,
    /// How long to wait for other processes to be quiet, before each window and each kill.
    pub(crate) patience: Duration,
}

impl Plan {
    /// What is done, in one line of the report.
    pub(crate) fn shape(&self) -> String {
        format!(
            "one group of each system and size, order A B B A; {} s at rest, then {} kills in each of ours and {} in each of \
             Serf's; default timers, both encrypted; CPU and RSS of the whole process",
            STEADY.as_secs(),
            self.kills,
            self.serf_kills
        )
    }
}

/// A system under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    Rollcall,
    Serf,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rollcall => "Rollcall",
            Self::Serf => "Serf",
        })
    }
}

/// What a member says about another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    Dead,
    /// Suspected, left, unheard of.
    Other,
}

/// By name, what a member says about all.
type States = BTreeMap<String, State>;

/// What was measured in one group.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    system: System,
    nodes: usize,
    /// From the kill to the first and to the last member that says so, in milliseconds; one value per kill.
    first_ms: Vec<f64>,
    all_ms: Vec<f64>,
    /// Deaths of members that ran, as some member saw them.
    false_deaths: usize,
    /// Share of one core per member, in percent.
    cpu_percent: f64,
    /// Sent by one member, on average.
    bytes_per_second: Option<f64>,
    /// Of the largest member, in MB (10^6 bytes).
    rss_mb: f64,
}

/// Measures every group. Figures and remarks are filled as they come, so that a failure leaves those before it.
pub(crate) async fn run(plan: &Plan, figures: &mut Vec<Figures>, remarks: &mut Vec<String>) -> Result<()> {
    for (round, nodes) in plan.sizes.iter().enumerate() {
        let mut systems = vec![System::Rollcall, System::Serf];
        if round % 2 == 1 {
            systems.reverse();
        }
        for system in systems {
            let (program, kills) = match system {
                System::Rollcall => (&plan.rollcall, plan.kills),
                System::Serf => (&plan.serf, plan.serf_kills),
            };
            let Some(program) = program else { continue };
            let mut group = Group::start(system, program, *nodes, plan).await?;
            let measured = group.measure(kills, plan.patience, remarks).await;
            figures.push(measured.with_context(|| format!("{system}, {nodes} nodes{}", group.log_tails()))?);
        }
    }
    Ok(())
}

/// Members of one system. Dropping it kills its processes and removes its data.
struct Group {
    system: System,
    members: Vec<Member>,
    // Behind the members, so that it is removed after they are gone.
    _folder: TempDir,
}

struct Member {
    name: String,
    spec: Spec,
    process: Option<Process>,
    eyes: Eyes,
}

/// How to learn what a member says.
enum Eyes {
    Rollcall(ours::Api),
    Serf(serf::Log),
}

impl Group {
    /// Starts the members and waits until everyone sees everyone.
    async fn start(system: System, program: &Path, nodes: usize, plan: &Plan) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rollcall-bench-").tempdir_in(&plan.folder)?;
        let ports = free_ports(3 * nodes)?;
        let specs = match system {
            System::Rollcall => crate::cluster::rollcall::specs(program, folder.path(), nodes, &ports)?,
            System::Serf => serf::specs(program, folder.path(), nodes, &ports),
        };
        let members = specs.into_iter().enumerate().map(|(index, spec)| Member {
            name: crate::cluster::rollcall::name(index),
            process: None,
            eyes: match system {
                System::Rollcall => Eyes::Rollcall(ours::Api::new(local(ports[index]))),
                System::Serf => Eyes::Serf(serf::Log::new(spec.log.clone())),
            },
            spec,
        });
        let mut group = Self { system, members: members.collect(), _folder: folder };
        crate::progress(&format!("{system}, {nodes} nodes"));
        for index in 0..nodes {
            group.spawn(index)?;
        }
        group.wait_all_alive().await.with_context(|| format!("{system}, {nodes} nodes{}", group.log_tails()))?;
        Ok(group)
    }

    async fn measure(&mut self, kills: usize, patience: Duration, remarks: &mut Vec<String>) -> Result<Figures> {
        let title = format!("{}, {} nodes", self.system, self.members.len());
        sleep(CALM).await;
        let mut figures = self.measure_steady(patience, &title, remarks).await?;
        let mut noisy = 0;
        for round in 0..kills {
            noisy += usize::from(machine::wait_until_quiet(&self.pids(), patience).await?.is_some());
            sleep(CALM + PHASE_STEP * u32::try_from(round)?).await;
            let victim = round % self.members.len();
            let seen = self.kill(victim, &mut figures.false_deaths).await?;
            let millis = |time: Option<&Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
            figures.first_ms.push(millis(seen.iter().min()));
            figures.all_ms.push(millis(seen.iter().max()));
            crate::progress(&format!("  {title}: all know after {:.0} ms", millis(seen.iter().max())));
            self.spawn(victim)?;
            self.wait_all_alive().await?;
        }
        if noisy > 0 {
            remarks.push(format!("{title}: {noisy} of {kills} kills while other processes were busy"));
        }
        Ok(figures)
    }

    /// The window without faults and without questions.
    async fn measure_steady(&mut self, patience: Duration, title: &str, remarks: &mut Vec<String>) -> Result<Figures> {
        let pids = self.pids();
        let gate = machine::wait_until_quiet(&pids, patience).await?;
        remarks.extend(gate.map(|remark| format!("{title}, at rest: {remark}")));
        let sent_before = self.sent().await?;
        let before = CpuSample::take(&pids)?;
        sleep(STEADY).await;
        let used = CpuSample::take(&pids)?.since(&before);
        if used.foreign > machine::NOISY_CORES {
            remarks.push(format!("{title}, at rest: other processes used {:.2} cores", used.foreign));
        }
        let sent = self.sent().await?;
        let nodes = self.members.len() as f64;
        let bytes_per_second = match self.system {
            System::Rollcall => sent.zip(sent_before).map(|(now, then)| (now - then) / STEADY.as_secs_f64() / nodes),
            System::Serf => sent.map(|per_second| per_second / nodes),
        };
        let mut figures = Figures {
            system: self.system,
            nodes: self.members.len(),
            first_ms: Vec::new(),
            all_ms: Vec::new(),
            false_deaths: 0,
            cpu_percent: used.servers_us / (STEADY.as_secs_f64() * 1e6) / nodes * 100.0,
            bytes_per_second,
            rss_mb: machine::largest_resident(&pids)? as f64 / 1e6,
        };
        for index in 0..self.members.len() {
            let dead = self.members[index].look().await?.values().filter(|state| **state == State::Dead).count();
            figures.false_deaths += dead;
        }
        Ok(figures)
    }

    /// What all members have sent: bytes so far (ours) or bytes per second lately (Serf). `None` when one does not tell.
    async fn sent(&mut self) -> Result<Option<f64>> {
        let mut sum = Some(0.0);
        for member in &mut self.members {
            let sent = match (&mut member.eyes, &member.process) {
                (Eyes::Rollcall(api), _) => api.sent_bytes().await?,
                (Eyes::Serf(log), Some(process)) => log.sent_bytes_per_second(process).await?,
                (Eyes::Serf(_), None) => None,
            };
            sum = sum.zip(sent).map(|(sum, sent)| sum + sent);
        }
        Ok(sum)
    }

    /// Kills a member; after how long each other one knew.
    async fn kill(&mut self, victim: usize, false_deaths: &mut usize) -> Result<Vec<Duration>> {
        let name = self.members[victim].name.clone();
        let struck = Instant::now();
        self.members[victim].process.as_ref().context("the member runs")?.signal(Signal::KILL)?;
        self.members[victim].process = None;
        let mut seen: Vec<Option<Duration>> = vec![None; self.members.len()];
        let mut accused = BTreeSet::new();
        loop {
            for (index, member) in self.members.iter_mut().enumerate().filter(|(index, _)| *index != victim) {
                let states = member.look().await?;
                if states.get(&name) == Some(&State::Dead) {
                    seen[index].get_or_insert_with(|| struck.elapsed());
                }
                let wrong = states.iter().filter(|(other, state)| **state == State::Dead && **other != name);
                accused.extend(wrong.map(|(other, _)| (index, other.clone())));
            }
            if seen.iter().flatten().count() + 1 == seen.len() {
                *false_deaths += accused.len();
                return Ok(seen.into_iter().flatten().collect());
            }
            ensure!(struck.elapsed() < DEADLINE, "not everyone saw that {name} died within {DEADLINE:?}: {seen:?}");
            sleep(POLL).await;
        }
    }

    async fn wait_all_alive(&mut self) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let mut missing = Vec::new();
            for index in 0..self.members.len() {
                // Until it has started, a member does not answer.
                let states = self.members[index].look().await.unwrap_or_default();
                let is_alive = |member: &&Member| states.get(&member.name) == Some(&State::Alive);
                let alive = self.members.iter().filter(is_alive).count();
                if alive < self.members.len() {
                    missing.push(format!("{} sees {alive}", self.members[index].name));
                }
            }
            if missing.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not everyone saw everyone within {DEADLINE:?}: {}", missing.join(", "));
            sleep(POLL).await;
        }
    }

    fn spawn(&mut self, index: usize) -> Result<()> {
        let member = &mut self.members[index];
        if let Eyes::Serf(log) = &mut member.eyes {
            log.begin_anew();
        }
        member.process = Some(Process::spawn(&member.spec)?);
        Ok(())
    }

    fn pids(&self) -> Vec<u32> {
        self.members.iter().filter_map(|member| Some(member.process.as_ref()?.pid())).collect()
    }

    fn log_tails(&self) -> String {
        self.members.iter().map(|member| tail(&member.spec.log)).collect()
    }
}

impl Member {
    async fn look(&mut self) -> Result<States> {
        match &mut self.eyes {
            Eyes::Rollcall(api) => api.states().await,
            Eyes::Serf(log) => log.states(),
        }
    }
}
