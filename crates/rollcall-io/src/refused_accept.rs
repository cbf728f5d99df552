//! What to do when the system gives no connection: it is out of file descriptors, or of memory.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

/// Until the next attempt: the connection waits in the backlog meanwhile, and trying at once would turn in a circle.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two lines in the log for one listener.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Failed calls of `accept` on one listener: each is followed by a pause, and one in a minute by a line in the log.
#[derive(Debug)]
pub struct RefusedAccepts {
    what: &'static str,
    logged: Option<Instant>,
}

impl RefusedAccepts {
    /// For the listener of `what`, as in "cannot accept a `what`".
    pub const fn new(what: &'static str) -> Self {
        Self { what, logged: None }
    }

    /// Says why and waits until the next attempt is due, 0.1 s.
    pub async fn pause_after(&mut self, error: &io::Error) {
        if self.is_due(Instant::now()) {
            warn!(error = %error, "cannot accept a {}: {error}; it is tried again, and not said again for a minute", self.what);
        }
        sleep(PAUSE).await;
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.logged.is_none_or(|at| now.duration_since(at) >= LOG_EVERY);
        if due {
            self.logged = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_gets_no_connections_says_so_once_a_minute() {
        let mut refused = RefusedAccepts::new("test connection");
        let start = Instant::now();
        let due: Vec<u64> = (0..130).filter(|second| refused.is_due(start + Duration::from_secs(*second))).collect();
        assert_eq!(due, [0, 60, 120]);
    }
}
