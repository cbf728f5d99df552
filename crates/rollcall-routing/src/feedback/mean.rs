//! Means of latency and success that forget by halves.
//!
//! ```text
//! each report:  keep = 2^(−Δt / 30 s),   samples ← keep · samples + weight,   mean ← mean + weight / samples · (value − mean)
//! ```
//! The same as an EWMA whose step follows the time and not the number of reports, and that begins as a plain mean.

use std::time::Duration;

use rollcall_types::UnixMillis;

use super::bounded::Usage;
use crate::candidate::Performance;

/// Time after which a report counts for a half.
pub const HALF_LIFE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Mean {
    /// In milliseconds.
    latency: f64,
    success: f64,
    samples: f64,
    at: UnixMillis,
}

impl Mean {
    /// One report at that time.
    pub(super) fn of_one(at: UnixMillis) -> Self {
        Self { samples: 1.0, at, ..Self::default() }
    }

    /// `weight` in [0, 1].
    pub(super) fn add(&mut self, latency: f64, ok: bool, weight: f64, now: UnixMillis) {
        self.samples = self.samples(now) + weight;
        self.at = self.at.max(now);
        if self.samples > 0.0 {
            let step = weight / self.samples;
            self.latency += step * (latency - self.latency);
            self.success += step * (f64::from(u8::from(ok)) - self.success);
        }
    }

    /// How many reports it rests on at `now`.
    pub(super) fn samples(&self, now: UnixMillis) -> f64 {
        let elapsed = now.get().saturating_sub(self.at.get()) as f64;
        self.samples * (-elapsed / HALF_LIFE.as_millis() as f64).exp2()
    }

    /// Share of reports that said no.
    pub(super) fn failures(&self) -> f64 {
        1.0 - self.success
    }

    /// When the latest report came.
    pub(super) fn at(&self) -> UnixMillis {
        self.at
    }

    /// What is known, resting on at most `samples_max` reports.
    pub(super) fn performance(&self, samples_max: f64) -> Option<Performance> {
        (self.samples > 0.0).then(|| Performance {
            latency: Duration::from_secs_f64(self.latency.max(0.0) / 1e3),
            success: self.success.clamp(0.0, 1.0),
            samples: self.samples.min(samples_max),
            at: self.at,
        })
    }

    /// How much it is used, to be compared with others at any time: since all forget at the same pace, their order does not
    /// change while they wait. The logarithm of the samples that it would take at time 0.
    pub(super) fn usage(&self) -> Usage {
        let usage = self.samples.max(f64::MIN_POSITIVE).log2() + self.at.get() as f64 / HALF_LIFE.as_millis() as f64;
        // Bits of numbers from 0 on are in the order of the numbers.
        usage.max(0.0).to_bits()
    }
}
