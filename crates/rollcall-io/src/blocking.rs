//! Work that blocks a thread.

use tokio::task::JoinHandle;

/// Runs `work` on a thread that may block.
#[cfg(not(rollcall_simulation))]
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

/// Runs `work` on the one thread that there is, as a task: time stands still meanwhile.
#[cfg(rollcall_simulation)]
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(async move { work() })
}
