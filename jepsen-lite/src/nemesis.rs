//! Faults: which there are, and a schedule of them from the seed.
//!
//! A fault begins, stays for a while, and ends. Where several nemeses were asked for, the next one may strike while one stays, if
//! neither undoes what the other did; else there is a quiet time between the two. Which fault comes next, whom it hits and how
//! long it stays follow from the seed and the number of the fault. Every begin, end and skip is an event of the history: a fault
//! that was asked for and could never be made leaves the run without its point, and the verdict says so.

mod fault;
mod partition;
mod weather;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::cluster::{Attached, Cluster, Command, Unchanged};
use crate::dice::Dice;
use crate::history::{Event, FaultPhase, Recorder};

use fault::{Begun, Ending};
pub(crate) use partition::Shape;
pub(crate) use weather::Weather;

/// Shortest and longest stay of a fault, milliseconds. Longer than an election, so that both sides settle.
const STAY_MS: (u64, u64) = (500, 4_000);
/// Shortest quiet time, milliseconds; the workload knows the longest.
const QUIET_MIN_MS: u64 = 500;
/// How many of a hundred faults the next one joins, if it can.
const JOINED_PERCENT: u64 = 50;
/// Longest wait for a node that was asked to stop, or started again, or joins.
const PATIENCE: Duration = Duration::from_secs(20);
/// Looks at the stop flag at least this often.
const TICK: Duration = Duration::from_millis(50);
/// Streams of chance are numbered from here: one for the order of each round of all nemeses, and one for each fault. The other
/// parts of a run have lower numbers.
const FIRST_ROUND: u64 = 1_000_000;
const FIRST_FAULT: u64 = 2_000_000;

/// Whom a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    One,
    Leader,
    Minority,
    Majority,
    All,
}

/// What a fault takes hold of while it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Processes,
    Links,
    Packets,
    Disks,
    Clocks,
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
    /// Packets between nodes are late, doubled, overtaken, lost or damaged.
    Weather(Weather),
    /// Disks are full.
    FullDisk(Who),
    /// Disks take a few writes a second only.
    SlowDisk(Who),
    /// Clocks jump, by up to ten minutes to either side, and back.
    Clock(Who),
    /// Leadership is handed to another node.
    TransferLeader,
    /// One is killed, a write that was torn is left at the end of its log, and it is started later.
    TornTail,
    /// One is removed from the cluster, and a new one without data joins in its place.
    Replace,
    /// A new node joins, an old one leaves; later another new one joins in its place, and the first new one leaves.
    GrowShrink,
    /// A follower is away until it can come back by a snapshot only.
    Snapshot,
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
        ("isolate", &[Self::Partition(Shape::One), Self::Partition(Shape::Leader)]),
        ("one-way", &[Self::Partition(Shape::DeafLeader), Self::Partition(Shape::MuteLeader)]),
        ("flaky", &[Self::Partition(Shape::Flaky)]),
        ("planes", &[Self::Partition(Shape::GossipHalves), Self::Partition(Shape::PeerLeader)]),
        (
            "latency",
            &[
                Self::Weather(Weather::Latency),
                Self::Weather(Weather::LatencyLeader),
                Self::Weather(Weather::LatencyOneWay),
            ],
        ),
        ("duplication", &[Self::Weather(Weather::Duplication)]),
        ("reorder", &[Self::Weather(Weather::Reorder)]),
        ("damage", &[Self::Weather(Weather::Damage)]),
        ("bad-links", &[Self::Weather(Weather::Mixed)]),
        ("full-disk", &[Self::FullDisk(Who::One), Self::FullDisk(Who::Leader), Self::FullDisk(Who::Minority)]),
        ("slow-disk", &[Self::SlowDisk(Who::One), Self::SlowDisk(Who::Leader), Self::SlowDisk(Who::Majority)]),
        ("clock", &[Self::Clock(Who::One), Self::Clock(Who::Leader), Self::Clock(Who::Majority)]),
        ("transfer", &[Self::TransferLeader]),
        ("torn-tail", &[Self::TornTail]),
        ("replace", &[Self::Replace]),
        ("grow-shrink", &[Self::GrowShrink]),
        ("snapshot", &[Self::Snapshot]),
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

    /// What must be done to nodes for it, where they run elsewhere; `None`: it cannot be made there.
    pub(crate) const fn command(self) -> Option<Command> {
        match self {
            Self::Kill(_) => Some(Command::Kill),
            Self::Pause(_) => Some(Command::Pause),
            Self::Restart | Self::RollingRestart => Some(Command::Stop),
            Self::Partition(Shape::One | Shape::Leader) => Some(Command::Isolate),
            _ => None,
        }
    }

    /// Whether the cluster itself does it, wherever it runs.
    pub(crate) const fn is_asked_for(self) -> bool {
        matches!(self, Self::TransferLeader)
    }

    /// Whether nodes need disks of their own for it.
    pub(crate) const fn needs_disks(self) -> bool {
        matches!(self, Self::PowerCut(_) | Self::FullDisk(_) | Self::SlowDisk(_))
    }

    /// Whether the harness must carry the packets between nodes for it.
    pub(crate) const fn needs_fabric(self) -> bool {
        matches!(self, Self::Weather(_))
    }

    /// Whether there must be room for one node more.
    pub(crate) const fn needs_spare(self) -> bool {
        matches!(self, Self::GrowShrink)
    }

    /// What it takes hold of; `None`: it is made alone. Without a packet filter nodes cut links themselves, and must run for it.
    const fn holds(self, has_packet_filter: bool) -> Option<&'static [Hold]> {
        match self {
            Self::Partition(_) if !has_packet_filter => Some(&[Hold::Links, Hold::Processes]),
            Self::Kill(_) | Self::Pause(_) | Self::TornTail => Some(&[Hold::Processes]),
            Self::PowerCut(_) | Self::FullDisk(_) => Some(&[Hold::Processes, Hold::Disks]),
            Self::SlowDisk(_) => Some(&[Hold::Disks]),
            Self::Partition(_) => Some(&[Hold::Links]),
            Self::Weather(_) => Some(&[Hold::Packets]),
            Self::Clock(_) => Some(&[Hold::Clocks]),
            // It asks the leader, who must answer and be heard.
            Self::TransferLeader => Some(&[Hold::Processes, Hold::Links]),
            // These wait until nodes serve, and so for the end of any other.
            Self::Restart
            | Self::RollingRestart
            | Self::Replace
            | Self::GrowShrink
            | Self::Snapshot
            | Self::FlipBit => None,
        }
    }

    /// Whether both can be there at once, each to be undone without the other.
    fn goes_with(self, other: Self, has_packet_filter: bool) -> bool {
        let both = self.holds(has_packet_filter).zip(other.holds(has_packet_filter));
        both.is_some_and(|(own, others)| own.iter().all(|hold| !others.contains(hold)))
    }

    /// Whether it changes who is a member.
    pub(crate) const fn changes_members(self) -> bool {
        matches!(self, Self::Replace | Self::GrowShrink | Self::FlipBit)
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
            Self::SlowDisk(Who::One) => "slow disk one",
            Self::SlowDisk(Who::Leader) => "slow disk leader",
            Self::SlowDisk(Who::Minority) => "slow disk minority",
            Self::SlowDisk(Who::Majority) => "slow disk majority",
            Self::SlowDisk(Who::All) => "slow disk all",
            Self::Clock(Who::One) => "clock one",
            Self::Clock(Who::Leader) => "clock leader",
            Self::Clock(Who::Minority) => "clock minority",
            Self::Clock(Who::Majority) => "clock majority",
            Self::Clock(Who::All) => "clock all",
            Self::Restart => "restart",
            Self::RollingRestart => "rolling restart",
            Self::Partition(shape) => shape.describe(),
            Self::Weather(weather) => weather.describe(),
            Self::TransferLeader => "transfer leader",
            Self::TornTail => "torn tail",
            Self::Replace => "replace",
            Self::GrowShrink => "grow and shrink",
            Self::Snapshot => "snapshot for one that was away",
            Self::FlipBit => "flip bit",
        }
    }
}

/// Whether all faults of these nemeses can be made of nodes that run elsewhere.
///
/// # Errors
/// The first nemesis that cannot, and why.
pub(crate) fn check_attached(nemeses: &[String], attached: &Attached) -> Result<()> {
    for name in nemeses {
        for kind in Kind::of_name(name)?.iter().filter(|kind| !kind.is_asked_for()) {
            let Some(command) = kind.command() else {
                bail!("nemesis '{name}' needs nodes that the harness runs itself ({})", kind.describe());
            };
            attached.check(command).with_context(|| format!("nemesis '{name}' cannot be made with this file"))?;
        }
    }
    Ok(())
}

/// Whether a fault of this description cuts links between nodes.
pub(crate) fn cuts_links(description: &str) -> bool {
    is_any(description, |kind| matches!(kind, Kind::Partition(_)))
}

/// Whether in a fault of this description some packets between nodes do not arrive.
pub(crate) fn loses_packets(description: &str) -> bool {
    is_any(description, |kind| matches!(kind, Kind::Weather(weather) if weather.loses_packets()))
}

/// Whether a fault of this description takes the leader away as a whole, and nobody else.
pub(crate) fn takes_leader(description: &str) -> bool {
    let takes = |kind| matches!(kind, Kind::Kill(Who::Leader) | Kind::PowerCut(Who::Leader) | Kind::Pause(Who::Leader));
    is_any(description, takes)
}

/// Whether a node that a fault of this description hits may not answer meanwhile.
pub(crate) fn hits_processes(description: &str) -> bool {
    let spares = |kind| {
        matches!(
            kind,
            Kind::Partition(_) | Kind::Weather(_) | Kind::SlowDisk(_) | Kind::Clock(_) | Kind::TransferLeader
        )
    };
    !is_any(description, spares)
}

fn is_any(description: &str, is_meant: impl Fn(Kind) -> bool) -> bool {
    let mut kinds = Kind::names().flat_map(|(_, kinds)| kinds);
    kinds.any(|kind| kind.describe() == description && is_meant(*kind))
}

/// What the schedule says of one fault.
///
/// It follows from the seed and the fault's number alone, so that a seed means the same faults whatever became of those before:
/// each has chance of its own, and what one draws changes nothing for the next.
#[derive(Debug)]
struct Turn {
    kind: Kind,
    /// Before it, milliseconds.
    quiet: u64,
    /// How long it stays, milliseconds.
    stay: u64,
    /// The next one strikes while this one stays, if both can be there at once.
    is_joined: bool,
    /// What else about it is left to chance.
    dice: Dice,
}

impl Turn {
    /// That of the fault of this number, from 0 on. Every nemesis has its turn before one comes again.
    fn of(seed: u64, names: &[String], quiet_max_ms: u64, number: u64) -> Result<Self> {
        let count = names.len().max(1) as u64;
        let order = Dice::of_part(seed, FIRST_ROUND + number / count).shuffled(names.len());
        let name = order.get(usize::try_from(number % count)?).and_then(|&place| names.get(place));
        let kinds = Kind::of_name(name.context("no nemesis was asked for")?)?;
        let mut dice = Dice::of_part(seed, FIRST_FAULT + number);
        let quiet = dice.between(QUIET_MIN_MS, quiet_max_ms);
        let stay = dice.between(STAY_MS.0, STAY_MS.1);
        let kind = *dice.pick(kinds).context("a nemesis without faults")?;
        let is_joined = dice.chance(JOINED_PERCENT);
        Ok(Self { kind, quiet, stay, is_joined, dice })
    }
}

/// Makes faults until `stop` is set.
pub(crate) struct Nemesis {
    /// Names, as they were asked for; each step draws one of them first.
    pub(crate) names: Vec<String>,
    pub(crate) seed: u64,
    pub(crate) quiet_max_ms: u64,
    pub(crate) has_packet_filter: bool,
    pub(crate) cluster: Arc<Mutex<Cluster>>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Nemesis {
    /// Runs to the end of the load. The cluster may be left broken: [`heal`] and [`make_whole`] are for afterwards.
    ///
    /// # Errors
    /// When the harness cannot undo a fault.
    pub(crate) async fn run(self) -> Result<()> {
        if self.names.is_empty() {
            return Ok(());
        }
        let mut number = 0;
        loop {
            let turn = self.turn(number)?;
            if !self.wait(turn.quiet).await {
                return Ok(());
            }
            number += self.make(number, turn).await?;
        }
    }

    fn turn(&self, number: u64) -> Result<Turn> {
        Turn::of(self.seed, &self.names, self.quiet_max_ms, number)
    }

    /// Makes a fault, lets it stay, perhaps makes the next one meanwhile, and undoes it; returns how many it were.
    async fn make(&self, id: u64, turn: Turn) -> Result<u64> {
        let (kind, stay, is_joined) = (turn.kind, turn.stay, turn.is_joined);
        let Some(begun) = self.begin(id, turn).await else { return Ok(1) };
        let mut made = 1;
        if begun.stays {
            let goes_on = self.wait(stay / 2).await;
            let next = self.turn(id + made)?;
            if goes_on && is_joined && kind.goes_with(next.kind, self.has_packet_filter) {
                let (kind, stay) = (next.kind, next.stay);
                if let Some(other) = self.begin(id + made, next).await {
                    if other.stays {
                        self.wait(stay).await;
                    }
                    self.end(id + made, kind, other).await?;
                }
                made += 1;
            }
            self.wait(stay / 2).await;
        }
        self.end(id, kind, begun).await?;
        Ok(made)
    }

    /// Makes a fault; `None` when that cannot be done now.
    async fn begin(&self, id: u64, mut turn: Turn) -> Option<Begun> {
        let (at, before) = (self.recorder.now(), self.down().await);
        let begun = fault::begin(turn.kind, &mut turn.dice, &self.cluster).await;
        let (phase, note, hit) = match &begun {
            Ok(fault) => (FaultPhase::Begun, fault.note.clone(), fault.hit.clone()),
            Err(error) => {
                let down = self.down().await.into_iter().filter(|node| !before.contains(node));
                (FaultPhase::Skipped, format!("{error:#}"), down.collect())
            }
        };
        let fault = turn.kind.describe().to_owned();
        self.recorder.write(&Event::Fault { at, id, fault, phase, note, hit, unheard_ms: None });
        begun.ok()
    }

    /// Nodes that do not run now: a fault that could not be made may have ended some of them.
    async fn down(&self) -> Vec<String> {
        let mut cluster = self.cluster.lock().await;
        let nodes = cluster.nodes.iter_mut();
        nodes.filter_map(|node| (!node.is_running() || node.is_paused()).then(|| node.name().to_owned())).collect()
    }

    async fn end(&self, id: u64, kind: Kind, begun: Begun) -> Result<()> {
        let Ending { note, has_missed, unheard_ms } = begun.end(&self.cluster).await?;
        let (at, phase) = (self.recorder.now(), if has_missed { FaultPhase::Missed } else { FaultPhase::Ended });
        let fault = kind.describe().to_owned();
        self.recorder.write(&Event::Fault { at, id, fault, phase, note, hit: Vec::new(), unheard_ms });
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

/// Ends every fault that may be there: processes run, links work, disks are fast and have room, clocks are right. The members may
/// still be others than there were: [`make_whole`] comes next.
///
/// # Errors
/// When the harness cannot do that.
pub(crate) async fn heal(cluster: &mut Cluster) -> Result<()> {
    cluster.clear_weather()?;
    cluster.hasten_disks()?;
    cluster.empty_disks()?;
    cluster.mend_clocks()?;
    if !cluster.do_nodes_cut_links() {
        cluster.mend().await?;
    }
    for node in &mut cluster.nodes {
        if node.is_paused() {
            node.resume()?;
        }
        if node.has_reason_to_end() {
            node.forget();
            node.may_end(false);
        }
    }
    cluster.start_all()
}

/// Makes the nodes members that there should be, after [`heal`]. A cluster that has just been healed may need a while, so it is
/// asked again until `patience` is over. Returns what it does not do even then.
///
/// # Errors
/// When the harness cannot do its part.
pub(crate) async fn make_whole(cluster: &mut Cluster, patience: Duration) -> Result<Option<anyhow::Error>> {
    let start = tokio::time::Instant::now();
    while !cluster.is_whole() {
        match try_to_make_whole(cluster).await {
            Ok(()) => break,
            Err(Unchanged::Harness(error)) => return Err(error),
            Err(Unchanged::Cluster(error)) if start.elapsed() > patience => return Ok(Some(error)),
            Err(Unchanged::Cluster(_)) => sleep(TICK).await,
        }
    }
    Ok(None)
}

async fn try_to_make_whole(cluster: &mut Cluster) -> Result<(), Unchanged> {
    if cluster.do_nodes_cut_links() {
        // Nodes that were told not to hear others must be told so by themselves, when they answer.
        cluster.mend().await.map_err(Unchanged::Cluster)?;
    }
    cluster.restore_members(PATIENCE).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(seed: u64, numbers: impl Iterator<Item = u64>) -> Vec<(Kind, u64, u64, u64)> {
        let names = ["kill", "latency", "partition"].map(str::to_owned);
        let turn = |number| Turn::of(seed, &names, 2_500, number).unwrap();
        numbers.map(turn).map(|mut turn| (turn.kind, turn.quiet, turn.stay, turn.dice.roll())).collect()
    }

    #[test]
    fn a_fault_follows_from_the_seed_and_its_number_whatever_became_of_others() {
        let all = turns(7, 0..30);
        let mut backwards = turns(7, (0..30).rev());
        backwards.reverse();
        assert_eq!(all, backwards);
        assert_ne!(all, turns(8, 0..30));
        assert_ne!(all[0].3, all[1].3, "each has chance of its own");
    }

    #[test]
    fn every_nemesis_has_its_turn_before_one_comes_again() {
        let name_of = |kind: Kind| Kind::names().find(|(_, kinds)| kinds.contains(&kind)).map(|(name, _)| name);
        for round in turns(3, 0..30).chunks(3) {
            let mut names: Vec<_> = round.iter().filter_map(|(kind, ..)| name_of(*kind)).collect();
            names.sort_unstable();
            assert_eq!(names, ["kill", "latency", "partition"]);
        }
    }

    #[test]
    fn faults_are_there_together_when_neither_undoes_the_other() {
        let (kill, cut) = (Kind::Kill(Who::One), Kind::Partition(Shape::Halves));
        let together = |one: Kind, other: Kind| one.goes_with(other, true) && other.goes_with(one, true);
        assert!(together(kill, cut) && together(Kind::TransferLeader, Kind::Clock(Who::All)));
        assert!(!kill.goes_with(cut, false), "one that is down cannot cut its links itself");
        assert!(!together(kill, Kind::TransferLeader), "the leader may be the one that is killed");
        assert!(!together(kill, Kind::Pause(Who::Leader)), "one that is paused cannot be stopped");
        assert!(!together(Kind::PowerCut(Who::One), Kind::SlowDisk(Who::One)), "the disk is another one then");
        assert!(!together(cut, Kind::Replace), "it waits for a quorum");
    }

    #[test]
    fn without_a_nemesis_there_is_no_turn() {
        assert!(Turn::of(7, &[], 2_500, 0).is_err());
    }
}
