//! The clocks of the process.

use std::time::Duration;

use mad_turmoil::time::SimClocksGuard;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;

/// Makes the clocks of the C library those of the simulation, until the guard goes.
pub(crate) fn take() -> anyhow::Result<SimClocksGuard> {
    let clocks = SimClocksGuard::init();
    // The recorder of metrics compares the processor's counter with the system's clock, once, and waits for it to move. In the
    // simulation it does not while anybody waits, so it is moved here, from another thread. What was measured is of no use, and
    // of no consequence.
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(async {
        let measured = tokio::task::spawn_blocking(quanta::Clock::new);
        while !measured.is_finished() {
            tokio::time::advance(Duration::from_millis(10)).await;
        }
    });
    Ok(clocks)
}

/// Time as it passes outside, which the C library does not tell in this program.
pub(crate) fn real() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
