//! Counts peers that are turned away; says so at most once a minute for each reason, whatever knocks at the port.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::metrics::{self, Rejection};

const LOG_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Rejections {
    logged: Mutex<[Option<Instant>; Rejection::ALL.len()]>,
}

impl Rejections {
    pub(crate) fn note(&self, rejection: Rejection, peer: SocketAddr, detail: &dyn std::fmt::Display) {
        metrics::peer_rejected(rejection);
        if self.is_due(rejection, Instant::now()) {
            warn!(
                error = %detail,
                "peer {peer} is turned away, {}: {detail}; more of the kind are only counted for a minute",
                rejection.as_str()
            );
        }
    }

    fn is_due(&self, rejection: Rejection, now: Instant) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let last = &mut logged[rejection as usize];
        let due = last.is_none_or(|at| now.duration_since(at) >= LOG_EVERY);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_logged_once_a_minute() {
        let rejections = Rejections::default();
        let start = Instant::now();
        assert!(rejections.is_due(Rejection::Garbage, start));
        assert!(!rejections.is_due(Rejection::Garbage, start + Duration::from_secs(59)));
        assert!(rejections.is_due(Rejection::Secret, start + Duration::from_secs(59)));
        assert!(rejections.is_due(Rejection::Garbage, start + Duration::from_secs(60)));
    }
}
