//! The deadlines of request heads, with one timer for each connection.
//!
//! hyper asks for a sleep when it begins to wait for a head and drops it when the head is there. Registered with the runtime each
//! time, that costs more than finding a short answer. Here the deadline of a head is a number beside the connection, whose one
//! timer looks at it when it fires, finds that it is still far away, and is set anew: once in nine seconds, not with every request.
//!
//! Limits: one deadline at a time, which is all that hyper's HTTP/1 server asks for. Another one gets a sleep of the runtime.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use tokio::time::Instant;

/// No head is waited for.
const NONE: u64 = u64::MAX;
/// The deadline has passed.
const PASSED: u64 = 0;

/// What hyper asks for deadlines, and the connection for when to look at them. Clones share the deadline.
#[derive(Debug, Clone)]
pub(super) struct HeadTimer {
    began: Instant,
    /// Nanoseconds since `began`, [`NONE`] or [`PASSED`].
    deadline: Arc<AtomicU64>,
    /// No deadline is nearer than this when it is set.
    patience: Duration,
}

impl HeadTimer {
    /// For a connection that begins now, whose heads have `patience`.
    pub(super) fn new(patience: Duration) -> Self {
        Self { began: Instant::now(), deadline: Arc::new(AtomicU64::new(NONE)), patience }
    }

    /// Looks whether the deadline has passed; then the connection must be polled, which ends it. Says when to look again.
    pub(super) fn look(&self, now: Instant) -> Instant {
        match self.deadline.load(Ordering::Relaxed) {
            NONE | PASSED => now + self.patience,
            nanos => {
                let deadline = self.began + Duration::from_nanos(nanos);
                if deadline > now {
                    return deadline;
                }
                self.deadline.store(PASSED, Ordering::Relaxed);
                now + self.patience
            }
        }
    }

    fn nanos(&self, deadline: std::time::Instant) -> u64 {
        let since = deadline.saturating_duration_since(self.began.into_std());
        u64::try_from(since.as_nanos()).unwrap_or(NONE - 1).clamp(PASSED + 1, NONE - 1)
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        let free = self.deadline.compare_exchange(NONE, self.nanos(deadline), Ordering::Relaxed, Ordering::Relaxed);
        match free {
            Ok(_) => Box::pin(HeadSleep(self.deadline.clone())),
            Err(_) => TokioTimer::new().sleep_until(deadline),
        }
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: std::time::Instant) {
        match sleep.as_mut().downcast_mut_pin::<HeadSleep>() {
            Some(sleep) => sleep.0.store(self.nanos(deadline), Ordering::Relaxed),
            None => TokioTimer::new().reset(sleep, deadline),
        }
    }
}

/// The wait for a head. It is over when the timer of its connection has seen its deadline pass.
struct HeadSleep(Arc<AtomicU64>);

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.load(Ordering::Relaxed) == PASSED { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Sleep for HeadSleep {}

impl Drop for HeadSleep {
    fn drop(&mut self) {
        self.0.store(NONE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(9);

    fn is_over(sleep: &mut Pin<Box<dyn Sleep>>) -> bool {
        sleep.now_or_never().is_some()
    }

    #[tokio::test]
    async fn a_deadline_passes_when_the_connection_looks_and_not_before() {
        let timer = HeadTimer::new(PATIENCE);
        let now = Instant::now();
        let mut sleep = timer.sleep_until((now + PATIENCE).into_std());
        let next = timer.look(now);
        assert_eq!(next, now + PATIENCE);
        assert!(!is_over(&mut sleep));
        timer.look(next);
        assert!(is_over(&mut sleep));
        timer.reset(&mut sleep, (now + 2 * PATIENCE).into_std());
        assert!(!is_over(&mut sleep), "it waits for another head");
        assert_eq!(timer.look(next), now + 2 * PATIENCE);
    }

    #[tokio::test]
    async fn a_head_that_begins_at_any_time_between_two_looks_is_looked_at_when_its_deadline_passes() {
        for millis in [1, 4_500, 8_999] {
            let timer = HeadTimer::new(PATIENCE);
            let start = Instant::now();
            let next = timer.look(start);
            let deadline = start + Duration::from_millis(millis) + PATIENCE;
            let mut sleep = timer.sleep_until(deadline.into_std());
            let next = timer.look(next);
            assert_eq!(next, deadline);
            assert!(!is_over(&mut sleep));
            timer.look(next);
            assert!(is_over(&mut sleep), "{millis}");
        }
    }

    #[tokio::test]
    async fn a_second_deadline_beside_the_first_is_one_of_the_runtime() {
        let timer = HeadTimer::new(PATIENCE);
        let now = timer.now();
        let mut first = timer.sleep_until(now + PATIENCE);
        let mut second = timer.sleep_until(now);
        second.as_mut().await;
        assert!(!is_over(&mut first));
        drop(first);
        second = timer.sleep_until(now + PATIENCE);
        assert!(second.is::<HeadSleep>(), "the place is free again");
    }
}
