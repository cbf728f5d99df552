//! What the network does to datagrams.

use std::collections::BTreeSet;

use super::dice::Dice;

/// Least delay of a datagram, and the mean of what comes on top, in microseconds.
const DELAY_MIN: u64 = 300;
const DELAY_MORE: f64 = 300.0;

/// Links and their faults.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// Probability that a datagram is lost, 0.0..=1.0.
    pub(super) loss: f64,
    /// Cut links, `(from, to)`.
    pub(super) cut: BTreeSet<(usize, usize)>,
}

impl Network {
    /// Microseconds until a datagram arrives; `None` when it does not.
    pub(super) fn carry(&self, from: usize, to: usize, dice: &mut Dice) -> Option<u64> {
        if self.cut.contains(&(from, to)) || dice.chance(self.loss) {
            return None;
        }
        Some(DELAY_MIN + dice.exponential(DELAY_MORE) as u64)
    }

    /// Cuts every link between `part` and the rest of `0..nodes`.
    pub(super) fn split(&mut self, part: &[usize], nodes: usize) {
        for &inside in part {
            for outside in (0..nodes).filter(|node| !part.contains(node)) {
                self.cut.insert((inside, outside));
                self.cut.insert((outside, inside));
            }
        }
    }
}
