//! The same instance for the same key, and none with much more than its part of the requests in flight.

use super::Row;
use crate::hash::hash_pair;
use crate::random::unit;

/// How much more than the mean of requests in flight, for its weight, an instance may have before keys overflow to others.
pub const LOAD_BOUND: f64 = 1.25;

/// The weight of an instance for a key: the greatest owns it. `−w / ln u` of a hash `u` in (0, 1) gives each instance a part of
/// the keys in proportion to `w`, and an instance that joins takes keys from all others and moves no other. When all weigh the
/// same (`is_even`), `u` has the same order and spares the logarithm.
pub(crate) fn weight(instance: u64, key: u64, weight: f64, is_even: bool) -> f64 {
    // Not 0, whose logarithm is infinite.
    let unit = unit(hash_pair(instance, key)).max(f64::MIN_POSITIVE);
    if is_even { unit } else { -weight / unit.ln() }
}

/// Brings `n` rows to the front: the owner of the key, then those that would own it without it. Who has no room under the
/// bound comes after all that have. `load` is the requests in flight of a row and its weight.
///
/// The bound of an instance is `⌈1.25 · (total + 1) · its weight / all weights⌉`, so somebody always has room.
pub(crate) fn pick(rows: &mut [Row], n: usize, load: impl Fn(&Row) -> (f64, f64)) {
    let (total, weights) = rows.iter().map(&load).fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
    let bound = LOAD_BOUND * (total + 1.0) / weights;
    let has_room = |row: &Row| {
        let (in_flight, weight) = load(row);
        in_flight < (bound * weight).ceil()
    };
    let (mut place, mut end) = (0, rows.len());
    while place < n.min(end) {
        let best = greatest(rows, place, end);
        if has_room(&rows[best]) {
            rows.swap(place, best);
            place += 1;
        } else {
            end -= 1;
            rows.swap(end, best);
        }
    }
    // Those without room, when more were asked for.
    while place < n.min(rows.len()) {
        let best = greatest(rows, place, rows.len());
        rows.swap(place, best);
        place += 1;
    }
}

/// Where the row with the greatest key is, from `start` to before `end`.
fn greatest(rows: &[Row], start: usize, end: usize) -> usize {
    (start..end).max_by(|a, b| rows[*a].key.total_cmp(&rows[*b].key)).unwrap_or(start)
}
