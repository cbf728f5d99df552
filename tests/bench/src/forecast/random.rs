//! Random numbers that a seed repeats: SplitMix64 (Steele, Lea & Flood 2014), and the noise that latencies have.

use std::f64::consts::TAU;

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// Streams of different seeds have nothing to do with each other.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Evenly from `low` to below `high`.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Evenly from `low` to below `high`.
    pub(crate) fn count(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low) as u64) as usize
    }

    /// Mean 0, deviation 1 (Box & Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.between(0.0, 1.0)).ln()).sqrt();
        radius * (TAU * self.between(0.0, 1.0)).cos()
    }

    /// Student's t with two degrees of freedom: no variance at all.
    pub(crate) fn student(&mut self) -> f64 {
        let (a, b) = (self.normal(), self.normal());
        self.normal() / ((a * a + b * b) / 2.0).sqrt()
    }

    /// A stationary autoregressive series of first order with this deviation.
    pub(crate) fn autoregressive(&mut self, len: usize, memory: f64, deviation: f64) -> Vec<f64> {
        let mut value = deviation * self.normal();
        let shock = deviation * (1.0 - memory * memory).sqrt();
        let step = |_| {
            let now = value;
            value = memory * value + shock * self.normal();
            now
        };
        (0..len).map(step).collect()
    }
}
