//! Draws: evenly, or by share.

use super::Row;
use crate::random::Random;

/// Brings `n` rows to the front, drawn evenly.
pub(crate) fn evenly(rows: &mut [Row], n: usize, rng: &mut Random) {
    for i in 0..n.min(rows.len()) {
        let drawn = i + rng.below(rows.len() - i);
        rows.swap(i, drawn);
    }
}

/// Brings `n` rows to the front, drawn by share.
pub(crate) fn by_share(rows: &mut [Row], n: usize, rng: &mut Random) {
    for i in 0..n.min(rows.len()) {
        let drawn = i + one(&rows[i..], rng, |_| true);
        rows.swap(i, drawn);
    }
}

/// Draws one of the rows that `takes_part` by share; evenly among them when their shares are all 0. At least one takes part.
pub(crate) fn one(rows: &[Row], rng: &mut Random, takes_part: impl Fn(&Row) -> bool) -> usize {
    let total: f64 = rows.iter().filter(|row| takes_part(row)).map(|row| row.share).sum();
    let part = |row: &Row| if total > 0.0 { row.share } else { 1.0 };
    let total = if total > 0.0 { total } else { rows.iter().filter(|row| takes_part(row)).count() as f64 };
    let mut point = rng.unit() * total;
    let mut last = 0;
    for (i, row) in rows.iter().enumerate().filter(|(_, row)| takes_part(row) && part(row) > 0.0) {
        last = i;
        point -= part(row);
        if point < 0.0 {
            break;
        }
    }
    // Rounding may leave a little over: that belongs to the last.
    last
}
