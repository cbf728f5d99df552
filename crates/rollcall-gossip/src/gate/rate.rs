//! Token buckets: a bound on how often something happens, that allows bursts.

use tokio::time::Instant;

/// A bound on how often something happens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    pub(super) burst: u32,
}

/// What is left of a [`Rate`] at present.
#[derive(Debug)]
pub(super) struct Tokens {
    left: f64,
    at: Instant,
}

impl Tokens {
    pub(super) fn full(rate: Rate, now: Instant) -> Self {
        Self { left: f64::from(rate.burst), at: now }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * rate.per_second;
        self.left = (self.left + gained).min(f64::from(rate.burst));
        self.at = now;
        let is_there = self.left >= 1.0;
        if is_there {
            self.left -= 1.0;
        }
        is_there
    }
}
