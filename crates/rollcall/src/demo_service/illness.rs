//! An illness to show: a service gets slower until its check times out, stays so for a while, and is well again.
//!
//! ```text
//! delay
//! 1500 ms                          ┌────────┐
//! 1000 ms (timeout of the check)  ╱│        │
//!                              ╱   │        │
//!   20 ms ────────────────╱        │        └───────────
//!         0 s            15 s     90 s     120 s
//! ```
//! The climb is even, so that a person can check the prediction with a ruler. A service that is ill by itself falls ill again
//! after [`PERIOD`]: sooner would be flapping, and its state would be held.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Delay of a service that is well: so much that a busy machine, which adds milliseconds, makes no trend of its own.
const WELL: Duration = Duration::from_millis(20);
/// Delay at the end of the climb: the timeout of the checks in the demo catalogue.
const CLIMBED: Duration = Duration::from_millis(1_000);
/// Delay while it fails, beyond that timeout.
const FAILING: Duration = Duration::from_millis(1_500);
/// From the beginning to the climb: long enough to be seen passing.
const CLIMB_FROM: Duration = Duration::from_secs(15);
/// From the beginning to the failure.
const FAIL_FROM: Duration = Duration::from_secs(90);
/// From the beginning to the recovery.
const WELL_FROM: Duration = Duration::from_secs(120);
/// From one beginning to the next.
const PERIOD: Duration = Duration::from_secs(15 * 60);

/// What makes a service slow.
#[derive(Debug)]
pub(super) struct Illness {
    comes_again: bool,
    began: Mutex<Option<Instant>>,
}

impl Illness {
    /// One that begins `now` and comes again, or none until [`Self::begin`].
    pub(super) fn new(comes_again: bool, now: Instant) -> Self {
        Self { comes_again, began: Mutex::new(comes_again.then_some(now)) }
    }

    /// Begins `now`, also when it is under way.
    pub(super) fn begin(&self, now: Instant) {
        *self.began.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// How long an answer takes that is asked for `now`.
    pub(super) fn delay(&self, now: Instant) -> Duration {
        let began = *self.began.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(elapsed) = began.map(|began| now.saturating_duration_since(began)) else { return WELL };
        let rounds = if self.comes_again { elapsed.as_secs() / PERIOD.as_secs() } else { 0 };
        delay_at(elapsed.saturating_sub(Duration::from_secs(rounds * PERIOD.as_secs())))
    }
}

/// The delay this long after the beginning.
fn delay_at(elapsed: Duration) -> Duration {
    match elapsed {
        at if at < CLIMB_FROM => WELL,
        at if at < FAIL_FROM => {
            let share = (at - CLIMB_FROM).as_secs_f64() / (FAIL_FROM - CLIMB_FROM).as_secs_f64();
            WELL + (CLIMBED - WELL).mul_f64(share)
        }
        at if at < WELL_FROM => FAILING,
        _ => WELL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_climbs_fails_recovers_and_comes_again() {
        let start = Instant::now();
        let illness = Illness::new(true, start);
        let period = PERIOD.as_secs();
        for (at, delay_ms) in [(0, 20), (14, 20), (15, 20), (40, 346), (65, 673), (90, 1_500), (119, 1_500), (120, 20)]
        {
            for at in [at, at + period, at + 7 * period] {
                let delay = illness.delay(start + Duration::from_secs(at));
                assert_eq!(delay.as_millis(), delay_ms, "at {at} s");
            }
        }
    }

    #[test]
    fn who_is_well_falls_ill_once_when_told_to() {
        let start = Instant::now();
        let illness = Illness::new(false, start);
        assert_eq!(illness.delay(start), WELL);
        illness.begin(start);
        assert_eq!(illness.delay(start + FAIL_FROM), FAILING);
        assert_eq!(illness.delay(start + PERIOD + FAIL_FROM), WELL);
    }
}
