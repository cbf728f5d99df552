//! How often each instance would be picked first, by the rules of its strategy.

use crate::policy::Strategy;
use crate::stage::Stage;
use crate::strategy::locality::{LEVELS, healthy, split};
use crate::strategy::{Row, hashed};

/// The part of each row, in their order; together 1 unless there is none.
pub(super) fn shares(stage: &Stage<'_, '_>, rows: &[Row]) -> Vec<f64> {
    match stage.strategy {
        Strategy::Scored => {
            let floor = stage.floor(rows.iter().map(|row| row.key).fold(0.0, f64::max));
            in_proportion(rows, |row| row.key >= floor)
        }
        Strategy::HealthBased => in_proportion(rows, |_| true),
        Strategy::RoundRobin | Strategy::Random => even(rows, |_| true),
        Strategy::WeightedRoundRobin => {
            let steps: Vec<f64> = rows.iter().map(|row| row.key).collect();
            if steps.iter().any(|steps| *steps > 0.0) { normal(steps) } else { even(rows, |_| true) }
        }
        Strategy::LeastConnections => {
            let lowest = rows.iter().map(|row| row.key).fold(f64::INFINITY, f64::min);
            even(rows, |row| row.key == lowest)
        }
        Strategy::P2cEwma => better_of_two(stage, rows),
        Strategy::ConsistentHash => {
            let mut order = rows.to_vec();
            hashed::pick(&mut order, 1, |row| stage.hash_load(row));
            even(rows, |row| order.first().is_some_and(|owner| owner.position == row.position))
        }
        Strategy::Locality => by_level(stage, rows),
    }
}

/// In proportion to the shares of those that take part; evenly when these are all 0.
fn in_proportion(rows: &[Row], takes_part: impl Fn(&Row) -> bool) -> Vec<f64> {
    let parts: Vec<f64> = rows.iter().map(|row| if takes_part(row) { row.share } else { 0.0 }).collect();
    if parts.iter().any(|part| *part > 0.0) { normal(parts) } else { even(rows, takes_part) }
}

fn even(rows: &[Row], takes_part: impl Fn(&Row) -> bool) -> Vec<f64> {
    normal(rows.iter().map(|row| f64::from(u8::from(takes_part(row)))).collect())
}

/// Parts that add up to 1; the same when all are 0.
fn normal(parts: Vec<f64>) -> Vec<f64> {
    let total: f64 = parts.iter().sum();
    if total > 0.0 { parts.into_iter().map(|part| part / total).collect() } else { parts }
}

/// Of `k` instances, one wins against everyone who costs more, and half of the draws against its equals.
fn better_of_two(stage: &Stage<'_, '_>, rows: &[Row]) -> Vec<f64> {
    if rows.len() < 2 {
        return even(rows, |_| true);
    }
    let costs: Vec<f64> = rows.iter().map(|row| stage.waiting(row)).collect();
    let mut sorted = costs.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let pairs = (rows.len() * (rows.len() - 1)) as f64 / 2.0;
    let wins = costs.iter().map(|cost| {
        let (below, up_to) =
            (sorted.partition_point(|other| other < cost), sorted.partition_point(|other| other <= cost));
        (sorted.len() - up_to) as f64 + (up_to - below - 1) as f64 / 2.0
    });
    wins.map(|wins| wins / pairs).collect()
}

fn by_level(stage: &Stage<'_, '_>, rows: &[Row]) -> Vec<f64> {
    let capacity = healthy(rows);
    let parts = split(capacity, stage.registered);
    if capacity.iter().all(|capacity| *capacity <= 0.0) {
        let nearest = rows.iter().map(|row| row.level()).min().unwrap_or(LEVELS);
        return even(rows, |row| row.level() == nearest);
    }
    let part = |row: &Row| match capacity[row.level()] {
        all if all > 0.0 => parts[row.level()] * row.share / all,
        _ => 0.0,
    };
    rows.iter().map(part).collect()
}
