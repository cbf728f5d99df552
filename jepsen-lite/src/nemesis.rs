//! Faults: which there are, and a schedule of them from the seed.
//!
//! A fault begins, stays for a while, and ends; between two there is a quiet time. Which fault comes next, whom it hits and how
//! long it stays follow from the seed. Every begin, end and skip is an event of the history: a fault that was asked for and
//! could never be made leaves the run without its point, and the verdict says so.

mod fault;
mod partition;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::history::{Event, FaultPhase, Recorder};

pub(crate) use partition::Shape;

/// Shortest and longest stay of a fault, milliseconds. Longer than an election, so that both sides settle.
const STAY_MS: (u64, u64) = (500, 4_000);
/// Shortest and longest quiet time, milliseconds.
const QUIET_MS: (u64, u64) = (500, 2_500);
/// Looks at the stop flag at least this often.
const TICK: Duration = Duration::from_millis(50);

/// Whom a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    One,
    Leader,
    Minority,
    Majority,
    All,
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `kill -9`, and a start later.
    Kill(Who),
    /// Power is cut, what was not synced is lost, and a start later.
    PowerCut(Who),
    /// SIGSTOP, and SIGCONT later.
    Pause(Who),
    /// SIGTERM, and a start as soon as it ended.
    Restart,
    /// The same for every node, one after the other.
    RollingRestart,
    /// Links between nodes are cut.
    Partition(Shape),
    /// Disks are full.
    FullDisk(Who),
    /// Clocks jump, by up to ten minutes to either side, and back.
    Clock(Who),
    /// Leadership is handed to another node.
    TransferLeader,
    /// One is killed, a write that was torn is left at the end of its log, and it is started later.
    TornTail,
    /// One is removed from the cluster, and a new one without data joins in its place.
    Replace,
    /// One is killed, a bit of its log is flipped, and it is started: it must not serve from there. Then it is replaced.
    FlipBit,
}

impl Kind {
    const NAMED: &'static [(&'static str, &'static [Self])] = &[
        ("kill", &[Self::Kill(Who::One), Self::Kill(Who::Leader), Self::Kill(Who::Minority)]),
        ("kill-majority", &[Self::Kill(Who::Majority)]),
        ("kill-all", &[Self::Kill(Who::All)]),
        ("power", &[Self::PowerCut(Who::One), Self::PowerCut(Who::Leader), Self::PowerCut(Who::Minority)]),
        ("power-all", &[Self::PowerCut(Who::All)]),
        ("pause", &[Self::Pause(Who::One), Self::Pause(Who::Leader), Self::Pause(Who::Minority)]),
        ("pause-all", &[Self::Pause(Who::All)]),
        ("restart", &[Self::Restart]),
        ("rolling-restart", &[Self::RollingRestart]),
        (
            "partition",
            &[
                Self::Partition(Shape::One),
                Self::Partition(Shape::Leader),
                Self::Partition(Shape::Halves),
                Self::Partition(Shape::Ring),
                Self::Partition(Shape::Bridge),
            ],
        ),
        ("one-way", &[Self::Partition(Shape::DeafLeader), Self::Partition(Shape::MuteLeader)]),
        ("flaky", &[Self::Partition(Shape::Flaky)]),
        ("planes", &[Self::Partition(Shape::GossipHalves), Self::Partition(Shape::PeerLeader)]),
        ("full-disk", &[Self::FullDisk(Who::One), Self::FullDisk(Who::Leader), Self::FullDisk(Who::Minority)]),
        ("clock", &[Self::Clock(Who::One), Self::Clock(Who::Leader), Self::Clock(Who::Majority)]),
        ("transfer", &[Self::TransferLeader]),
        ("torn-tail", &[Self::TornTail]),
        ("replace", &[Self::Replace]),
        ("flip-bit", &[Self::FlipBit]),
    ];

    /// The names of all nemeses, each with the kinds of faults it makes.
    pub(crate) fn names() -> impl Iterator<Item = (&'static str, &'static [Self])> {
        Self::NAMED.iter().copied()
    }

    /// The kinds that a nemesis makes.
    pub(crate) fn of_name(name: &str) -> Result<&'static [Self]> {
        match Self::NAMED.iter().find(|(known, _)| *known == name) {
            Some((_, kinds)) => Ok(kinds),
            None => bail!("there is no nemesis '{name}'; `jepsen-lite list` shows them"),
        }
    }

    /// Whether nodes need disks of their own for it.
    pub(crate) const fn needs_disks(self) -> bool {
        matches!(self, Self::PowerCut(_) | Self::FullDisk(_))
    }

    /// Whether nodes need clocks of their own for it.
    pub(crate) const fn needs_clocks(self) -> bool {
        matches!(self, Self::Clock(_))
    }

    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Kill(Who::One) => "kill one",
            Self::Kill(Who::Leader) => "kill leader",
            Self::Kill(Who::Minority) => "kill minority",
            Self::Kill(Who::Majority) => "kill majority",
            Self::Kill(Who::All) => "kill all",
            Self::PowerCut(Who::One) => "power cut one",
            Self::PowerCut(Who::Leader) => "power cut leader",
            Self::PowerCut(Who::Minority) => "power cut minority",
            Self::PowerCut(Who::Majority) => "power cut majority",
            Self::PowerCut(Who::All) => "power cut all",
            Self::Pause(Who::One) => "pause one",
            Self::Pause(Who::Leader) => "pause leader",
            Self::Pause(Who::Minority) => "pause minority",
            Self::Pause(Who::Majority) => "pause majority",
            Self::Pause(Who::All) => "pause all",
            Self::FullDisk(Who::One) => "full disk one",
            Self::FullDisk(Who::Leader) => "full disk leader",
            Self::FullDisk(Who::Minority) => "full disk minority",
            Self::FullDisk(Who::Majority) => "full disk majority",
            Self::FullDisk(Who::All) => "full disk all",
            Self::Clock(Who::One) => "clock one",
            Self::Clock(Who::Leader) => "clock leader",
            Self::Clock(Who::Minority) => "clock minority",
            Self::Clock(Who::Majority) => "clock majority",
            Self::Clock(Who::All) => "clock all",
            Self::Restart => "restart",
            Self::RollingRestart => "rolling restart",
            Self::Partition(shape) => shape.describe(),
            Self::TransferLeader => "transfer leader",
            Self::TornTail => "torn tail",
            Self::Replace => "replace",
            Self::FlipBit => "flip bit",
        }
    }
}

/// Whether a fault of this description keeps nodes from hearing each other.
pub(crate) fn cuts_nodes(description: &str) -> bool {
    let mut kinds = Kind::names().flat_map(|(_, kinds)| kinds);
    kinds.any(|kind| matches!(kind, Kind::Partition(_)) && kind.describe() == description)
}

/// Makes faults until `stop` is set.
pub(crate) struct Nemesis {
    /// Names, as they were asked for; each step draws one of them first.
    pub(crate) names: Vec<String>,
    pub(crate) seed: u64,
    pub(crate) cluster: Arc<Mutex<Cluster>>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Nemesis {
    /// Runs to the end of the load. The cluster may be left broken: [`heal`] is for afterwards.
    ///
    /// # Errors
    /// When the harness cannot undo a fault.
    pub(crate) async fn run(self) -> Result<()> {
        let mut dice = Dice::of_part(self.seed, 1);
        let mut id = 0;
        let mut turns: Vec<usize> = Vec::new();
        while !self.names.is_empty() && self.wait(dice.between(QUIET_MS.0, QUIET_MS.1)).await {
            // Every nemesis has its turn before one comes again.
            if turns.is_empty() {
                turns = dice.shuffled(self.names.len());
            }
            let Some(name) = turns.pop().and_then(|turn| self.names.get(turn)) else { break };
            let Some(&kind) = dice.pick(Kind::of_name(name)?) else { break };
            let stay = dice.between(STAY_MS.0, STAY_MS.1);
            let at = self.recorder.now();
            let begun = fault::begin(kind, &mut dice, &self.cluster).await;
            let (phase, note) = match &begun {
                Ok(fault) => (FaultPhase::Begun, fault.note.clone()),
                Err(error) => (FaultPhase::Skipped, format!("{error:#}")),
            };
            let fault = kind.describe().to_owned();
            self.recorder.write(&Event::Fault { at, id, fault: fault.clone(), phase, note });
            if let Ok(begun) = begun {
                if begun.stays {
                    self.wait(stay).await;
                }
                begun.end(&self.cluster).await?;
                let (at, note) = (self.recorder.now(), String::new());
                self.recorder.write(&Event::Fault { at, id, fault, phase: FaultPhase::Ended, note });
            }
            id += 1;
        }
        Ok(())
    }

    /// Waits; `false` when the run is over.
    async fn wait(&self, millis: u64) -> bool {
        let until = tokio::time::Instant::now() + Duration::from_millis(millis);
        while tokio::time::Instant::now() < until {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            sleep(TICK).await;
        }
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Ends every fault that may be there: processes run, links work, disks have room, clocks are right.
///
/// # Errors
/// When the harness cannot do that.
pub(crate) async fn heal(cluster: &mut Cluster) -> Result<()> {
    cluster.empty_disks()?;
    cluster.mend_clocks()?;
    for node in &mut cluster.nodes {
        if node.is_paused() {
            node.resume()?;
        }
        if node.has_reason_to_end() {
            node.may_end(false);
            node.forget();
        }
    }
    cluster.start_all()?;
    Ok(())
}
