//! What a cluster goes through, and the figures that come of it.

use std::collections::BTreeSet;
use std::time::Duration;

use rollcall_health::detector::{Event, State};

use super::report::{Report, Row};
use crate::dice::Dice;
use crate::world::{Seen, World};

/// Time for everybody to know everybody.
const WARM_UP: Duration = Duration::from_secs(8);
/// When a crash is not seen after this, it is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(20);

/// How much to measure.
#[derive(Debug, Clone)]
pub struct Size {
    /// Sizes of the clusters.
    pub nodes: Vec<usize>,
    /// Losses, 0.0..=1.0.
    pub losses: Vec<f64>,
    /// Node-hours per size and loss in which nothing happens and nobody may be declared.
    pub calm_node_hours: f64,
    /// Crashes per size and loss.
    pub crashes: usize,
    /// Runs of each other fault, per size.
    pub runs: usize,
    /// Virtual time of one run with stalls.
    pub stall_run: Duration,
}

impl Size {
    /// What the goals ask for: 20 node-hours per size and loss.
    pub fn full() -> Self {
        Self {
            nodes: vec![3, 5, 10, 50, 100],
            losses: vec![0.0, 0.1, 0.3],
            calm_node_hours: 20.0,
            crashes: 200,
            runs: 5,
            stall_run: Duration::from_secs(120),
        }
    }

    /// A small part of it, for a debug build.
    pub fn quick() -> Self {
        Self {
            nodes: vec![3, 5, 10],
            losses: vec![0.0, 0.3],
            calm_node_hours: 0.2,
            crashes: 10,
            runs: 1,
            stall_run: Duration::from_secs(60),
        }
    }
}

/// Measures everything, calling `progress` with the name of what comes next.
pub fn measure(size: &Size, mut progress: impl FnMut(&str)) -> Report {
    let mut report = Report::default();
    for &nodes in &size.nodes {
        for &loss in &size.losses {
            progress(&format!("{nodes} nodes, {:.0} % loss: calm, crashes", loss * 100.0));
            crashes(&mut report, nodes, loss, size.crashes);
            calm(&mut report, nodes, loss, size.calm_node_hours);
        }
        for span in [3, 8, 30] {
            progress(&format!("{nodes} nodes: stalls of {span} s"));
            stalls(&mut report, nodes, Duration::from_secs(span), size);
        }
        progress(&format!("{nodes} nodes: flapping, splits, links"));
        flapping(&mut report, nodes, size.runs);
        if nodes > 3 {
            minority_crash(&mut report, nodes, size.runs);
        }
        let parts: BTreeSet<usize> = [nodes / 3, nodes / 2].into();
        for (part, span) in parts.into_iter().flat_map(|part| [(part, 10), (part, 40)]) {
            split(&mut report, nodes, part, Duration::from_secs(span), size.runs);
        }
        for &loss in &size.losses {
            one_way(&mut report, nodes, loss, size.runs * 2);
        }
    }
    report
}

/// A warm cluster under this loss.
fn warm(nodes: usize, loss: f64, seed: u64) -> World {
    let mut world = World::new(nodes, seed);
    world.run(WARM_UP);
    world.set_loss(loss);
    world.run(Duration::from_secs(2));
    world.take_seen();
    world
}

fn under(loss: f64) -> String {
    if loss == 0.0 { "calm".to_owned() } else { format!("loss {:.0} %", loss * 100.0) }
}

/// G1: crashes one after another, a quarter of the members at most in one cluster.
fn crashes(report: &mut Report, nodes: usize, loss: f64, count: usize) {
    let each = ((nodes - 1) / 4).clamp(1, 10);
    let (mut all, mut last) = (Vec::new(), Vec::new());
    let mut seed = 0;
    while last.len() < count {
        seed += 1;
        let mut world = warm(nodes, loss, seed);
        let mut dice = Dice::new(!seed);
        let victims = dice.choose((0..nodes).collect(), each);
        let mut living: BTreeSet<usize> = (0..nodes).collect();
        for victim in victims {
            world.run(Duration::from_micros(dice.below(1_000_000)));
            living.remove(&victim);
            let seconds = crash(&mut world, victim, &living);
            last.push(seconds.iter().copied().fold(0.0, f64::max));
            all.extend(seconds);
            world.run(Duration::from_secs(3));
        }
    }
    let sample = format!("{} crashes", last.len());
    let mut row = |what: &str, figure: f64, at_most: Option<f64>| {
        let (what, condition, sample) = (what.to_owned(), under(loss), sample.clone());
        report.rows.push(Row { goal: "G1", what, nodes, condition, figure, unit: "s", at_most, sample });
    };
    row("crash → the last to see it, p50", quantile(&mut last, 0.5), Some(1.8));
    row("crash → the last to see it, p99", quantile(&mut last, 0.99), Some(2.5));
    row("crash → each that sees it, p50", quantile(&mut all, 0.5), None);
}

/// Seconds until each of the living held `victim` for dead.
fn crash(world: &mut World, victim: usize, living: &BTreeSet<usize>) -> Vec<f64> {
    let start = world.now();
    world.take_seen();
    world.crash(victim);
    let mut seconds = Vec::new();
    let mut waiting = living.clone();
    while !waiting.is_empty() && world.now() - start < PATIENCE.as_micros() as u64 {
        world.run(STEP);
        for seen in world.take_seen() {
            if seen.change() == Some((victim, State::Dead)) && waiting.remove(&seen.observer) {
                seconds.push((seen.at - start) as f64 / 1e6);
            }
        }
    }
    seconds.extend(waiting.iter().map(|_| f64::INFINITY));
    seconds
}

/// G2: nothing happens but loss.
fn calm(report: &mut Report, nodes: usize, loss: f64, node_hours: f64) {
    let seconds = (node_hours * 3600.0 / nodes as f64).ceil() as u64;
    let mut world = warm(nodes, loss, 7);
    let sent = world.sent();
    let (mut deaths, mut suspicions, mut faults) = (0, 0, 0);
    for _ in 0..seconds {
        world.run(Duration::from_secs(1));
        for seen in world.take_seen() {
            match seen.event {
                Event::Changed { to: State::Dead, .. } => deaths += 1,
                Event::Changed { to: State::Suspect, .. } => suspicions += 1,
                Event::LinkFault(_) => faults += 1,
                _ => {}
            }
        }
    }
    let sent = (world.sent() - sent) as f64 / seconds as f64 / nodes as f64;
    let sample = format!("{node_hours} node-hours, {sent:.0} datagrams/s per node");
    let mut row = |what: &str, figure: u32, at_most: Option<f64>| {
        let (what, condition, sample) = (what.to_owned(), under(loss), sample.clone());
        report.rows.push(Row { goal: "G2", what, nodes, condition, figure: figure.into(), unit: "", at_most, sample });
    };
    row("healthy members declared dead", deaths, Some(0.0));
    row("healthy members suspected", suspicions, None);
    row("sound links reported", faults, None);
}

/// G4: an eighth of the members, one to four, stall again and again and are awake for 0.2 to 6 s between.
fn stalls(report: &mut Report, nodes: usize, span: Duration, size: &Size) {
    let stalled: BTreeSet<usize> = (0..(nodes / 8).clamp(1, 4)).collect();
    let (mut by_stalled, mut among_healthy, mut of_stalled) = (0, 0, 0);
    for run in 0..size.runs {
        let mut world = warm(nodes, 0.0, 100 + run as u64);
        let mut dice = Dice::new(run as u64);
        let mut next: Vec<u64> = stalled.iter().map(|_| world.now() + dice.below(span.as_micros() as u64)).collect();
        let end = world.now() + size.stall_run.max(span * 4).as_micros() as u64;
        while world.now() < end {
            world.run(STEP);
            for &node in &stalled {
                if world.now() >= next[node] {
                    world.stall(node, span);
                    next[node] = world.now() + span.as_micros() as u64 + 200_000 + dice.below(5_800_000);
                }
            }
            for seen in world.take_seen() {
                let Some((member, State::Dead)) = seen.change() else { continue };
                match (stalled.contains(&seen.observer), stalled.contains(&member)) {
                    (_, true) => of_stalled += 1,
                    (true, false) => by_stalled += 1,
                    (false, false) => among_healthy += 1,
                }
            }
        }
    }
    let condition = format!("{} stall {} s, awake 0.2–6 s", stalled.len(), span.as_secs());
    let sample = format!("{} runs of {} s", size.runs, size.stall_run.max(span * 4).as_secs());
    let mut row = |what: &str, figure: u32, at_most: Option<f64>| {
        let (what, condition, sample) = (what.to_owned(), condition.clone(), sample.clone());
        report.rows.push(Row { goal: "G4", what, nodes, condition, figure: figure.into(), unit: "", at_most, sample });
    };
    row("healthy declared dead by a stalled one", by_stalled, Some(0.0));
    row("healthy declared dead by a healthy one", among_healthy, Some(0.0));
    row("stalled declared dead", of_stalled, None);
}

/// G5: one member stalls 2 s every 2.2 s for 2 min.
fn flapping(report: &mut Report, nodes: usize, runs: usize) {
    let (mut worst_flips, mut worst_changes, mut by_it) = (0, 0, 0);
    for run in 0..runs {
        let mut world = warm(nodes, 0.0, 200 + run as u64);
        let (mut flips, mut changes) = (vec![0_u32; nodes], vec![0_u32; nodes]);
        let mut was_dead = vec![false; nodes];
        for _ in 0..55 {
            world.stall(0, Duration::from_secs(2));
            world.run(Duration::from_millis(2200));
            for seen in world.take_seen() {
                let Some((member, state)) = seen.change() else { continue };
                by_it += u32::from(seen.observer == 0 && state == State::Dead);
                if member == 0 {
                    changes[seen.observer] += 1;
                    let is_dead = state == State::Dead;
                    flips[seen.observer] += u32::from(is_dead != was_dead[seen.observer]);
                    was_dead[seen.observer] = is_dead;
                }
            }
        }
        worst_flips = worst_flips.max(flips.iter().copied().max().unwrap_or(0));
        worst_changes = worst_changes.max(changes.iter().copied().max().unwrap_or(0));
    }
    let mut row = |what: &str, figure: u32, at_most: Option<f64>| {
        let (what, condition) = (what.to_owned(), "1 stalls 2 s every 2.2 s for 2 min".to_owned());
        let sample = format!("{runs} runs, the worst observer");
        report.rows.push(Row { goal: "G5", what, nodes, condition, figure: figure.into(), unit: "", at_most, sample });
    };
    row("flips between dead and alive", worst_flips, Some(5.0));
    row("changes of state, suspicions among them", worst_changes, None);
    row("healthy declared dead by the flapping one", by_it, Some(0.0));
}

/// As many as a minority has die at once: nobody is isolated, and all are declared.
fn minority_crash(report: &mut Report, nodes: usize, runs: usize) {
    let dying = (nodes - 1) / 2;
    let mut seconds = Vec::new();
    for run in 0..runs {
        let mut world = warm(nodes, 0.0, 300 + run as u64);
        let living: BTreeSet<usize> = (dying..nodes).collect();
        let start = world.now();
        (0..dying).for_each(|node| world.crash(node));
        while world.now() - start < PATIENCE.as_micros() as u64
            && !(0..dying).all(|node| world.agreed(&living, node, State::Dead))
        {
            world.run(STEP);
        }
        seconds.push((world.now() - start) as f64 / 1e6);
    }
    let condition = format!("{dying} crash at once");
    let sample = format!("{runs} runs, the worst");
    let (what, figure) = ("crash of many → all see all".to_owned(), seconds.into_iter().fold(0.0, f64::max));
    report.rows.push(Row { goal: "G1", what, nodes, condition, figure, unit: "s", at_most: Some(5.0), sample });
}

/// G6: `part` members are cut off from the others for `span`.
fn split(report: &mut Report, nodes: usize, part: usize, span: Duration, runs: usize) {
    let (mut worst, mut by_cut_off, mut after) = (0.0_f64, 0, 0);
    let everybody: BTreeSet<usize> = (0..nodes).collect();
    for run in 0..runs {
        let mut world = warm(nodes, 0.0, 400 + run as u64);
        let inside = Dice::new(run as u64).choose((0..nodes).collect(), part);
        world.split(&inside);
        world.run(span);
        by_cut_off += world.take_seen().iter().filter(|seen| is_death(seen) && inside.contains(&seen.observer)).count();
        world.mend();
        let start = world.now();
        while world.now() - start < PATIENCE.as_micros() as u64
            && !everybody.iter().all(|node| world.agreed(&everybody, *node, State::Alive))
        {
            world.run(STEP);
        }
        worst = worst.max((world.now() - start) as f64 / 1e6);
        world.run(Duration::from_secs(10));
        after += world.take_seen().iter().filter(|seen| is_death(seen)).count();
    }
    let mut row = |what: &str, figure: f64, unit: &'static str, at_most: Option<f64>| {
        let condition = format!("{part} cut off for {} s", span.as_secs());
        let (what, sample) = (what.to_owned(), format!("{runs} runs, the worst"));
        report.rows.push(Row { goal: "G6", what, nodes, condition, figure, unit, at_most, sample });
    };
    row("mended → all see all alive", worst, "s", Some(1.5));
    row("declared dead after mending", after as f64, "", Some(0.0));
    if part * 2 < nodes {
        row("declared dead by the smaller part", by_cut_off as f64, "", Some(0.0));
    }
}

fn is_death(seen: &Seen) -> bool {
    matches!(seen.change(), Some((_, State::Dead)))
}

/// G7: what one member sends to one other is lost.
fn one_way(report: &mut Report, nodes: usize, loss: f64, runs: usize) {
    let (mut worst, mut deaths) = (0.0_f64, 0);
    for run in 0..runs {
        let mut world = warm(nodes, loss, 500 + run as u64);
        let pair = Dice::new(run as u64).choose((0..nodes).collect(), 2);
        let (from, to) = (pair[0], pair[1]);
        let start = world.now();
        world.cut(from, to);
        world.run(Duration::from_secs(20));
        let mut reported = f64::INFINITY;
        for seen in world.take_seen() {
            match &seen.event {
                Event::Changed { to: State::Dead, .. } => deaths += 1,
                Event::LinkFault(fault) if seen.observer == to && *fault.from == format!("n{from}") => {
                    reported = reported.min((seen.at - start) as f64 / 1e6);
                }
                _ => {}
            }
        }
        worst = worst.max(reported);
    }
    let condition = format!("one link in one direction cut, {}", under(loss));
    let sample = format!("{runs} runs, the worst");
    let what = "cut → reported as a link fault".to_owned();
    report.rows.push(Row {
        goal: "G7",
        what,
        nodes,
        condition: condition.clone(),
        figure: worst,
        unit: "s",
        at_most: Some(5.0),
        sample: sample.clone(),
    });
    let what = "members declared dead".to_owned();
    report.rows.push(Row {
        goal: "G7",
        what,
        nodes,
        condition,
        figure: f64::from(deaths),
        unit: "",
        at_most: Some(0.0),
        sample,
    });
}

/// The nearest-rank quantile.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
