//! Random choices that a seed repeats: SplitMix64 (Steele, Lea, Flood 2014). Not for secrets.

use crate::hash::mix;

/// A stream of random numbers; the caller seeds it and keeps it, one for each thread.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed. Any seed is as good as any other.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number in [0, 1), one of 2⁵³.
    pub fn unit(&mut self) -> f64 {
        unit(self.bits())
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias is below `bound` / 2⁶⁴ (Lemire 2019, without its rejection).
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }
}

/// The upper 53 bits as a number in [0, 1).
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_numbers_and_no_number_leaves_its_range() {
        let (mut one, mut other) = (Random::new(7), Random::new(7));
        for bound in 1..1_000 {
            let drawn = one.below(bound);
            assert!(drawn < bound);
            assert_eq!(drawn, other.below(bound));
            let part = one.unit();
            assert!((0.0..1.0).contains(&part));
            assert_eq!(part, other.unit());
        }
        assert_eq!(one.below(0), 0);
    }
}
