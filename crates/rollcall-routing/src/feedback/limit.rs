//! How fast one reporter may report: a token bucket.

use std::time::Duration;

use rollcall_types::UnixMillis;

use super::bounded::Bounded;
use super::{ReporterId, TooFast};

/// Reports of one reporter that are counted in a second, in the long run.
pub const REPORTS_PER_SECOND: u32 = 1_000;
/// Reports that are counted at once after a silence.
pub const REPORTS_BURST: u32 = 2_000;
/// Most reporters that are told apart; beyond, the one that was silent longest gets a fresh start.
pub const REPORTERS_MAX: usize = 10_000;

/// What a reporter has used up, in reports; flows off at [`REPORTS_PER_SECOND`].
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    used: f64,
    at: UnixMillis,
}

#[derive(Debug, Clone)]
pub(super) struct Limiter(Bounded<ReporterId, Bucket>);

impl Default for Limiter {
    fn default() -> Self {
        Self(Bounded::new(REPORTERS_MAX))
    }
}

impl Limiter {
    pub(super) fn take(&mut self, reporter: ReporterId, reports: u32, now: UnixMillis) -> Result<(), TooFast> {
        let mut taken = Ok(());
        self.0.update(reporter, |bucket| {
            taken = bucket.take(reports, now);
            bucket.at.get()
        });
        taken
    }
}

impl Bucket {
    /// All of them or none.
    fn take(&mut self, reports: u32, now: UnixMillis) -> Result<(), TooFast> {
        let rate = f64::from(REPORTS_PER_SECOND);
        let elapsed = now.get().saturating_sub(self.at.get()) as f64 / 1e3;
        self.used = (self.used - elapsed * rate).max(0.0);
        self.at = self.at.max(now);
        let over = self.used + f64::from(reports) - f64::from(REPORTS_BURST);
        if over > 0.0 {
            return Err(TooFast { retry_after: Duration::from_secs_f64(over / rate) });
        }
        self.used += f64::from(reports);
        Ok(())
    }
}
