//! Fewest requests in flight: of all, or of two that were drawn.

use super::Row;
use crate::random::Random;

/// What one more request costs at an instance: requests in flight with this one, for its weight. Infinite for no weight.
pub(crate) fn connections(in_flight: f64, weight: f64) -> f64 {
    (in_flight + 1.0) / weight
}

/// The same in time: how long the requests in flight will take with this one, for its weight (Finagle's peak EWMA).
pub(crate) fn waiting(latency: f64, in_flight: f64, weight: f64) -> f64 {
    latency * connections(in_flight, weight)
}

/// Brings the `n` rows with the lowest key to the front. Equals are drawn.
pub(crate) fn lowest(rows: &mut [Row], n: usize, rng: &mut Random) {
    for i in 0..n.min(rows.len()) {
        let (mut best, mut equals) = (i, 1);
        for j in i + 1..rows.len() {
            if rows[j].key < rows[best].key {
                (best, equals) = (j, 1);
            } else if rows[j].key == rows[best].key {
                equals += 1;
                // The k-th of equals takes the place with probability 1/k, so each has the same chance.
                if rng.below(equals) == 0 {
                    best = j;
                }
            }
        }
        rows.swap(i, best);
    }
}

/// Brings `n` rows to the front, each the better of two that were drawn.
pub(crate) fn of_two(rows: &mut [Row], n: usize, rng: &mut Random, cost: impl Fn(&Row) -> f64) {
    for i in 0..n.min(rows.len()) {
        let left = rows.len() - i;
        let one = rng.below(left);
        // A second one, different from the first when there is another.
        let other = if left > 1 { (one + 1 + rng.below(left - 1)) % left } else { one };
        let better = if cost(&rows[i + other]) < cost(&rows[i + one]) { other } else { one };
        rows.swap(i, i + better);
    }
}
