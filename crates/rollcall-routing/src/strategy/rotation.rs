//! One after the other, from a turn that the caller counts.

use super::Row;

/// Steps of weight: health, forecast and slow start are told apart to 1/64.
const STEPS: f64 = 64.0;
/// The golden ratio's smaller part: multiples of it, modulo 1, are as evenly spread as can be (Knuth, TAOCP 3, §6.4).
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// Brings the `n` rows from number `turn` on to the front, each once.
pub(crate) fn in_turn(rows: &mut [Row], turn: u64) {
    if !rows.is_empty() {
        rows.rotate_left((turn % rows.len() as u64) as usize);
    }
}

/// Brings `n` rows to the front, each as often as its key says, which is its weight in [`steps`]; evenly spread.
///
/// With `W` the sum of all steps, without a divisor that all have in common, turn `t` lands on step `t · s mod W`, for an `s`
/// near `W` times the golden ratio that has no divisor in common with `W`. So in `W` turns every step comes once, and an instance
/// comes exactly as often as its weight says, without any state but the turn.
pub(crate) fn by_weight(rows: &mut [Row], n: usize, turn: u64) {
    for i in 0..n.min(rows.len()) {
        let drawn = i + at(&rows[i..], turn.wrapping_add(i as u64));
        rows.swap(i, drawn);
    }
}

/// The row on whose steps a turn lands.
fn at(rows: &[Row], turn: u64) -> usize {
    let held = |row: &Row| row.key as u64;
    let (mut total, mut common) = (0, 0);
    for row in rows {
        total += held(row);
        // Most weights are multiples of what is common so far: one division finds that out.
        if common != 1 {
            common = divisor(common, held(row));
        }
    }
    if total == 0 {
        return (turn % rows.len() as u64) as usize;
    }
    let parts = total / common;
    let point = (u128::from(turn % parts) * u128::from(stride(parts)) % u128::from(parts)) as u64 * common;
    let mut below = 0;
    let landed = rows.iter().position(|row| {
        below += held(row);
        point < below
    });
    landed.unwrap_or(rows.len() - 1)
}

/// A weight in whole steps: at least one, unless it is 0.
pub(crate) fn steps(weight: f64) -> f64 {
    if weight > 0.0 { ((weight * STEPS + 0.5) as u64).max(1) as f64 } else { 0.0 }
}

/// A step width without a divisor in common with `total`.
fn stride(total: u64) -> u64 {
    let mut stride = ((total as f64 * GOLDEN) as u64).max(1);
    while divisor(total, stride) != 1 {
        stride += 1;
    }
    stride
}

/// The greatest common divisor (Euclid); that of 0 and a number is the number.
fn divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
