//! Making one fault, and undoing it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::{Kind, PATIENCE, Weather, Who, weather};
use crate::cluster::{Cluster, Cuts, Unchanged};
use crate::dice::Dice;

const POLL: Duration = Duration::from_millis(50);
/// A node of which a write failed has ended by then.
const ENDS_WITHIN: Duration = Duration::from_secs(3);
/// Most bytes of room that a torn write leaves without data.
const TORN_BYTES_MAX: u64 = 5_000;
/// Most seconds by which a clock is set off: more than every lease and timer has.
const CLOCK_OFF_MAX_S: u64 = 600;
/// Fewest and most writes a second that a slow disk takes. Each sync of a log is some four of them.
const SLOW_WRITES: (u64, u64) = (20, 60);
/// Most bytes of a record's beginning that a torn write leaves: less than any record has.
const BEGINNING_BYTES_MAX: u64 = 12;

/// A fault that was made.
pub(super) struct Begun {
    kind: Kind,
    targets: Vec<usize>,
    /// What it is.
    pub(super) note: String,
    /// The nodes that it hits; none of what it does to links.
    pub(super) hit: Vec<String>,
    /// It is there until it is undone; else it was over with its making.
    pub(super) stays: bool,
}

/// How a fault ended.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// What it did, where that can be counted.
    pub(super) note: String,
    /// It was there, and nothing came in its way.
    pub(super) has_missed: bool,
    /// Where it lost packets: longest time in which nothing of a node, or nothing for one, arrived, milliseconds.
    pub(super) unheard_ms: Option<u64>,
}

/// Makes a fault.
///
/// # Errors
/// When it cannot be made now; then what was changed is undone by the heal at the end.
pub(super) async fn begin(kind: Kind, dice: &mut Dice, cluster: &Mutex<Cluster>) -> Result<Begun> {
    let mut guard = cluster.lock().await;
    let cluster = &mut *guard;
    if kind.changes_members() {
        // The last change may have been left half done.
        cluster.restore_members(PATIENCE).await?;
    }
    let targets = targets(kind, dice, cluster).await?;
    if targets.is_empty() && !matches!(kind, Kind::Partition(_) | Kind::Weather(_)) {
        bail!("there is no such node now");
    }
    let names: Vec<String> = targets.iter().map(|&index| cluster.nodes[index].name().to_owned()).collect();
    let mut begun = Begun { kind, note: names.join(" "), hit: names, targets, stays: true };
    match kind {
        Kind::Kill(_) => begun.targets.iter().try_for_each(|&index| cluster.nodes[index].kill())?,
        Kind::PowerCut(_) => cluster.cut_power(&begun.targets)?,
        Kind::Pause(_) => begun.targets.iter().try_for_each(|&index| cluster.nodes[index].pause())?,
        Kind::FullDisk(_) => {
            begun.targets.iter().for_each(|&index| cluster.nodes[index].may_end(true));
            if let Err(error) = cluster.fill_disks(&begun.targets) {
                cluster.empty_disks()?;
                restart_what_ends(cluster, &begun.targets).await?;
                return Err(error);
            }
        }
        Kind::SlowDisk(_) => {
            let writes = dice.between(SLOW_WRITES.0, SLOW_WRITES.1);
            begun.note = format!(
                "{} to {writes} writes a second; {}",
                begun.note,
                tokio::task::block_in_place(|| slow(cluster, &begun.targets, writes))?
            );
        }
        Kind::Clock(_) => {
            let seconds = i64::try_from(dice.between(1, CLOCK_OFF_MAX_S))? * if dice.chance(50) { 1 } else { -1 };
            begun.note = format!("{} by {seconds:+} s", begun.note);
            cluster.set_clocks(&begun.targets, seconds)?;
        }
        Kind::Restart | Kind::RollingRestart => {
            begun.stays = false;
            for &index in &begun.targets {
                restart(cluster, index).await?;
            }
        }
        Kind::Partition(shape) => {
            if shape.needs_packet_filter() && !cluster.has_packet_filter() {
                bail!("this needs --network namespaces");
            }
            let leader = cluster.leader().await.context("no leader to cut off")?;
            let cuts = shape.cuts(cluster.len(), leader, dice);
            begun.note = format!("led by {}; {}", cluster.nodes[leader].name(), describe(cluster, &cuts));
            if let Err(error) = cluster.cut(&cuts).await {
                cluster.mend().await?;
                return Err(error);
            }
        }
        Kind::Weather(kind) => begun.note = set_weather(cluster, kind, dice).await?,
        Kind::TransferLeader => {
            begun.stays = false;
            cluster.transfer_leader(*begun.targets.first().context("nobody to hand over to")?).await?;
        }
        Kind::Replace => {
            begun.stays = false;
            let victim = *begun.targets.first().context("no node")?;
            cluster.replace(victim, PATIENCE).await?;
            begun.note = format!("{} by {}", begun.note, cluster.nodes[victim].member());
        }
        Kind::GrowShrink => {
            let leaver = *begun.targets.first().context("no node")?;
            match cluster.swap_in_spare(leaver, PATIENCE).await {
                Ok(note) => begun.note = note,
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    bail!("{error:#}; {}", restore_members(cluster).await?);
                }
            }
        }
        Kind::Snapshot => {
            begun.stays = false;
            let victim = *begun.targets.first().context("no node")?;
            let how = cluster.return_by_snapshot(victim, PATIENCE).await?;
            begun.note = format!("{}: {how}", begun.note);
        }
        Kind::FlipBit => {
            begun.stays = false;
            let victim = *begun.targets.first().context("no node")?;
            begun.note = flip_and_restart(cluster, victim, dice).await?;
        }
        Kind::TornTail => {
            let victim = *begun.targets.first().context("no node")?;
            cluster.nodes[victim].kill()?;
            begun.note = format!("{}: {}", begun.note, tear(cluster.nodes[victim].data_dir()?, dice)?);
        }
    }
    Ok(begun)
}

impl Begun {
    /// Undoes it, and says what it did where that can be counted.
    pub(super) async fn end(self, cluster: &Mutex<Cluster>) -> Result<Ending> {
        let mut guard = cluster.lock().await;
        let cluster = &mut *guard;
        let mut ending = Ending::default();
        match self.kind {
            Kind::Kill(_) | Kind::PowerCut(_) | Kind::TornTail => {
                self.targets.iter().try_for_each(|&index| cluster.nodes[index].start())?;
            }
            Kind::Pause(_) => self.targets.iter().try_for_each(|&index| cluster.nodes[index].resume())?,
            Kind::Partition(_) => {
                let dropped = cluster.dropped()?;
                cluster.mend().await?;
                ending.note = dropped.map_or_else(String::new, |count| format!("{count} packets dropped"));
                ending.has_missed = dropped == Some(0);
            }
            Kind::Weather(weather) => {
                let counts = cluster.clear_weather()?;
                ending.note = weather::describe_counts(&counts);
                ending.has_missed = !weather.has_struck(&counts);
                ending.unheard_ms = weather.loses_packets().then_some(counts.unheard_us / 1_000);
            }
            Kind::SlowDisk(_) => cluster.hasten_disks()?,
            Kind::GrowShrink => ending.note = restore_members(cluster).await?,
            Kind::FullDisk(_) => {
                cluster.empty_disks()?;
                restart_what_ends(cluster, &self.targets).await?;
            }
            Kind::Clock(_) => cluster.mend_clocks()?,
            Kind::Restart
            | Kind::RollingRestart
            | Kind::TransferLeader
            | Kind::Replace
            | Kind::Snapshot
            | Kind::FlipBit => {}
        }
        Ok(ending)
    }
}

/// Undoes a change of members as far as the cluster does it now, and says how far that was: the next change, or the heal, goes on.
async fn restore_members(cluster: &mut Cluster) -> Result<String> {
    match cluster.restore_members(PATIENCE).await {
        Err(Unchanged::Cluster(error)) => Ok(format!("not undone yet: {error:#}")),
        done => Ok(done?),
    }
}

/// Sets the weather between nodes, and says what it is and how long a round trip from the leader to another node takes in it.
async fn set_weather(cluster: &Cluster, kind: Weather, dice: &mut Dice) -> Result<String> {
    let leader = cluster.leader().await.context("there is no leader now")?;
    let links = kind.links(cluster.len(), leader, dice);
    let other = (leader + 1) % cluster.len();
    let before = cluster.round_trip((leader, other)).await;
    cluster.set_weather(&links)?;
    let now = cluster.round_trip((leader, other)).await;
    // Packets of the harness itself are none of the nodes'.
    cluster.count_packets_anew();
    let [leader, other] = [leader, other].map(|index| cluster.nodes[index].name());
    Ok(format!("led by {leader}; {}; round trip to {other} {before}, now {now}", weather::describe(&links)))
}

/// Slows disks down, and says what that does to a synced write. Takes as long as a few of them.
fn slow(cluster: &Cluster, targets: &[usize], writes: u64) -> Result<String> {
    let first = *targets.first().context("no node")?;
    let before = cluster.synced_write(first)?;
    cluster.slow_disks(targets, writes)?;
    let now = cluster.synced_write(first)?;
    if now < before * 2 {
        cluster.hasten_disks()?;
        bail!("the limit has no effect: a synced write took {before:?} and takes {now:?}");
    }
    Ok(format!("a synced write took {} ms and takes {} ms", before.as_millis(), now.as_millis()))
}

/// A node whose disk was full may end, saying why, also a moment after there is room again, if a write had failed before: then
/// somebody starts it again.
async fn restart_what_ends(cluster: &mut Cluster, indexes: &[usize]) -> Result<()> {
    let start = Instant::now();
    for &index in indexes {
        let node = &mut cluster.nodes[index];
        while node.look_ended().is_none() && start.elapsed() < ENDS_WITHIN {
            sleep(POLL).await;
        }
        if node.look_ended().is_some() {
            node.forget();
            node.start()?;
        }
        node.may_end(false);
    }
    Ok(())
}

/// Who does not hear whom.
fn describe(cluster: &Cluster, cuts: &Cuts) -> String {
    let name = |index: usize| cluster.nodes[index].name();
    let line = |to: usize| {
        let unheard: Vec<&str> = cuts.unheard_at(to).into_iter().map(name).collect();
        (!unheard.is_empty()).then(|| format!("{} does not hear {}", name(to), unheard.join(" ")))
    };
    (0..cuts.nodes()).filter_map(line).collect::<Vec<_>>().join(", ")
}

async fn targets(kind: Kind, dice: &mut Dice, cluster: &Cluster) -> Result<Vec<usize>> {
    let nodes = cluster.len();
    let mut order = dice.shuffled(nodes);
    // Whoever is away since a fault that could not be undone yet.
    order.retain(|&index| cluster.nodes[index].is_started() && !cluster.is_vacant(&cluster.nodes[index]));
    let first = |count: usize| -> Vec<usize> { order.iter().copied().take(count).collect() };
    let minority = nodes.saturating_sub(1) / 2;
    let leader = async || cluster.leader().await.context("there is no leader now");
    Ok(match kind {
        Kind::Kill(who)
        | Kind::PowerCut(who)
        | Kind::Pause(who)
        | Kind::FullDisk(who)
        | Kind::SlowDisk(who)
        | Kind::Clock(who) => match who {
            Who::One => first(1),
            Who::Leader => vec![leader().await?],
            Who::Minority => first(minority.max(1)),
            Who::Majority => first(nodes - minority),
            Who::All => order,
        },
        Kind::Restart | Kind::TornTail | Kind::Replace | Kind::GrowShrink | Kind::FlipBit => first(1),
        Kind::RollingRestart => order,
        Kind::Partition(_) | Kind::Weather(_) => Vec::new(),
        Kind::TransferLeader | Kind::Snapshot => {
            let leader = leader().await?;
            order.into_iter().filter(|&index| index != leader).take(1).collect()
        }
    })
}

/// Stops a node in order, and starts it again. One that does not stop, or does not serve again, is in trouble: nothing else is
/// broken meanwhile.
async fn restart(cluster: &mut Cluster, index: usize) -> Result<()> {
    cluster.nodes[index].terminate()?;
    let start = Instant::now();
    while cluster.nodes[index].look_ended().is_none() {
        if start.elapsed() > PATIENCE {
            cluster.nodes[index].complain(format!("did not stop within {} s of SIGTERM", PATIENCE.as_secs()));
            cluster.nodes[index].kill()?;
            break;
        }
        sleep(POLL).await;
    }
    cluster.nodes[index].forget();
    cluster.nodes[index].start()?;
    let start = Instant::now();
    while !cluster.is_ready(index).await {
        if start.elapsed() > PATIENCE {
            cluster.nodes[index].complain(format!("did not serve within {} s of its restart", PATIENCE.as_secs()));
            break;
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// Leaves a torn write at the end of a stopped node's log: what a power cut makes of a record that was under way, and so was
/// never acknowledged. That is its beginning, or the room for it without the data. Taking away bytes instead could take
/// what was acknowledged, and other bytes would be damage: a node may refuse both.
fn tear(data_dir: &Path, dice: &mut Dice) -> Result<String> {
    let path = newest_log_file(data_dir)?;
    let (bytes, kind) = if dice.chance(50) {
        (vec![0; usize::try_from(dice.between(1, TORN_BYTES_MAX))?], "zero")
    } else {
        let written = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let count = usize::try_from(dice.between(1, BEGINNING_BYTES_MAX))?;
        (written.into_iter().take(count).collect(), "first")
    };
    let mut file: File = OpenOptions::new().append(true).open(&path).with_context(|| path.display().to_string())?;
    file.write_all(&bytes).with_context(|| format!("cannot append to {}", path.display()))?;
    Ok(format!("{} {kind} bytes of a write at the end of {}", bytes.len(), path.display()))
}

/// Flips a bit in a stopped node's log and starts it. It may serve, if it does not need what was hit, and the checkers judge
/// what it says; or it refuses, and is replaced by a new node.
async fn flip_and_restart(cluster: &mut Cluster, victim: usize, dice: &mut Dice) -> Result<String> {
    cluster.nodes[victim].kill()?;
    let path = newest_log_file(cluster.nodes[victim].data_dir()?)?;
    let mut bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    // Not near the end, where damage may look like a write that was torn, which was never acknowledged.
    let (place, bit) = (dice.below(bytes.len() / 4 * 3), dice.below(8));
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 1 << bit;
    }
    std::fs::write(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    let note = format!("{} at byte {place} of {}", cluster.nodes[victim].name(), path.display());
    cluster.nodes[victim].may_end(true);
    cluster.nodes[victim].start()?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if cluster.nodes[victim].look_ended().is_some() {
            cluster.nodes[victim].forget();
            cluster.replace(victim, PATIENCE).await?;
            return Ok(format!("{note}: it refused to start, and was replaced by {}", cluster.nodes[victim].member()));
        }
        if cluster.is_ready(victim).await {
            cluster.nodes[victim].may_end(false);
            return Ok(format!("{note}: it serves"));
        }
        sleep(POLL).await;
    }
    bail!("{note}: it neither serves nor ends")
}

/// The file of the log that was written last.
fn newest_log_file(data_dir: &Path) -> Result<PathBuf> {
    let log = data_dir.join("log");
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for entry in std::fs::read_dir(&log).with_context(|| format!("cannot list {}", log.display()))? {
        let entry = entry.context("cannot list the log")?;
        if entry.path().extension().is_none_or(|extension| extension != "wal") {
            continue;
        }
        let modified = entry.metadata().and_then(|metadata| metadata.modified()).context("a file without a time")?;
        if newest.as_ref().is_none_or(|(other, _)| *other < modified) {
            newest = Some((modified, entry.path()));
        }
    }
    newest.map(|(_, path)| path).with_context(|| format!("no file in {}", log.display()))
}
