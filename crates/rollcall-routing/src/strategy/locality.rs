//! Near instances first; farther ones take what the near ones have no capacity for.

use super::{Row, draw};
use crate::factor::Distance;
use crate::random::Random;

/// How much of its requests a level can take beyond its healthy part: up to 29 % of it may fail before anything spills over
/// (1 / 1.4, as Envoy's overprovisioning factor).
pub const OVERPROVISION: f64 = 1.4;
/// Room below which an instance counts as losing capacity: from 80 % load on.
pub const ROOM_NEEDED: f64 = 0.2;
/// Levels of distance: host and zone of the caller, its region, elsewhere.
pub(crate) const LEVELS: usize = 3;

/// The level of a distance. Where nobody says where things are, all are on one level. A round trip counts as the step it is like.
pub(crate) fn level(distance: Distance) -> usize {
    match distance.value() {
        near if near >= 0.75 => 0,
        middle if middle >= 0.4 => 1,
        _ => 2,
    }
}

/// The part of its capacity that an instance can give: health, forecast and slow start, and room.
pub(crate) fn capacity(multiplier: f64, room: f64) -> f64 {
    multiplier * (room / ROOM_NEEDED).min(1.0)
}

/// How many of the requests each level gets, from the capacity that its instances have (`healthy`) of that for which they
/// are registered (`registered`).
///
/// ```text
/// health of a level = min(1, 1.4 · healthy / registered)      each level takes its health of what the nearer ones left;
///                                                             what is left at the end is shared out in the same proportion
/// ```
pub(crate) fn split(healthy: [f64; LEVELS], registered: [f64; LEVELS]) -> [f64; LEVELS] {
    let health = |level: usize| match registered[level] {
        all if all > 0.0 => (OVERPROVISION * healthy[level] / all).min(1.0),
        _ => 0.0,
    };
    let sum: f64 = (0..LEVELS).map(health).sum::<f64>().min(1.0);
    let mut left = 1.0;
    std::array::from_fn(|level| {
        let part = if sum > 0.0 { (health(level) / sum).min(left) } else { 0.0 };
        left -= part;
        part
    })
}

/// Brings `n` rows to the front. The key of a row is its level, its share its capacity; `registered` is the weight of all instances
/// of each level, healthy or not.
pub(crate) fn pick(rows: &mut [Row], n: usize, registered: [f64; LEVELS], rng: &mut Random) {
    for i in 0..n.min(rows.len()) {
        let left = &rows[i..];
        let level = draw_level(split(healthy(left), registered), rng.unit());
        // A level that has nobody left, by rounding or since all were picked: whoever is nearest.
        let nearest = left.iter().map(|row| row.level()).min().unwrap_or(0);
        let level = if left.iter().any(|row| row.level() == level) { level } else { nearest };
        let drawn = i + draw::one(left, rng, |row| row.level() == level);
        rows.swap(i, drawn);
    }
}

/// The capacity of each level.
pub(crate) fn healthy(rows: &[Row]) -> [f64; LEVELS] {
    rows.iter().fold([0.0; LEVELS], |mut sums, row| {
        sums[row.level()] += row.share;
        sums
    })
}

fn draw_level(parts: [f64; LEVELS], mut point: f64) -> usize {
    let drawn = parts.iter().position(|part| {
        point -= part;
        point < 0.0
    });
    drawn.unwrap_or(LEVELS - 1)
}
