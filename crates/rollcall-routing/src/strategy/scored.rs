//! The best by rank; near-ties at random by share.
//!
//! Callers that see the same scores would all send to the same instance until the scores change. So everyone whose rank is
//! within the tie band of the best takes part in a draw. Band and draw are made again for each further pick.

use super::{Row, draw};
use crate::random::Random;

/// Brings `n` rows to the front.
pub(crate) fn pick(rows: &mut [Row], n: usize, tie_band: f64, rng: &mut Random) {
    for i in 0..n.min(rows.len()) {
        let best = rows[i..].iter().map(|row| row.key).fold(0.0, f64::max);
        let floor = floor(best, tie_band);
        let drawn = i + draw::one(&rows[i..], rng, |row| row.key >= floor);
        rows.swap(i, drawn);
    }
}

/// Differences of rank below this are rounding.
const ROUNDING: f64 = 1e-9;

/// The lowest rank that is near `best`.
pub(crate) fn floor(best: f64, tie_band: f64) -> f64 {
    best - tie_band - ROUNDING
}
