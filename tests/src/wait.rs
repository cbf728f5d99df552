//! Waiting for a condition instead of for a time.

use std::time::{Duration, Instant};

/// How long a test waits for something that must happen. It tells "never" from "slow", so it is far above any real time.
pub const DEADLINE: Duration = Duration::from_secs(50);
/// Pause between two looks at a condition: short against what is waited for, long against the cost of looking.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What a condition says: the value that was waited for, or how things are instead.
pub type Waited<T> = Result<T, String>;

/// Polls `condition` until it holds and returns its value.
///
/// # Panics
/// When `deadline` passes first, with `what` and what the condition saw last.
pub async fn wait_until<T>(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> Waited<T>) -> T {
    let start = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > deadline => {
                panic!("waited {} s for: {what}\nlast seen: {seen}", deadline.as_secs())
            }
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

/// Whether the statistical tests should take their time (`ROLLCALL_LONG=1`).
pub fn is_long() -> bool {
    std::env::var_os("ROLLCALL_LONG").is_some_and(|value| value == "1")
}

/// Tells the reader of the test output something: a figure, or why a part cannot run here.
#[expect(clippy::print_stderr, reason = "the output of a test is where its reader looks")]
pub fn note(text: impl std::fmt::Display) {
    eprintln!("{text}");
}
