//! What the network does to datagrams.

use std::collections::BTreeSet;

use crate::dice::Dice;

/// Least delay of a datagram, and the mean of what comes on top, in microseconds.
const DELAY_MIN: u64 = 300;
const DELAY_MORE: f64 = 300.0;

/// Links and their faults.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// Probability that a datagram is lost, 0.0..=1.0.
    pub(crate) loss: f64,
    /// Mean of what a datagram takes longer than usual, in microseconds.
    pub(crate) delay: u64,
    /// Cut links, `(from, to)`.
    pub(crate) cut: BTreeSet<(usize, usize)>,
}

impl Network {
    /// Microseconds until a datagram arrives; `None` when it does not.
    pub(crate) fn carry(&self, from: usize, to: usize, dice: &mut Dice) -> Option<u64> {
        if self.cut.contains(&(from, to)) || dice.chance(self.loss) {
            return None;
        }
        let late = if self.delay == 0 { 0 } else { dice.exponential(self.delay as f64) as u64 };
        Some(DELAY_MIN + dice.exponential(DELAY_MORE) as u64 + late)
    }

    /// Cuts every link between `part` and the rest of `0..nodes`.
    pub(crate) fn split(&mut self, part: &[usize], nodes: usize) {
        for &inside in part {
            for outside in (0..nodes).filter(|node| !part.contains(node)) {
                self.cut.insert((inside, outside));
                self.cut.insert((outside, inside));
            }
        }
    }
}
