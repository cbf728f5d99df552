//! Waiting for nodes that may not be run all the time.
//!
//! On a machine with too much to do a node is not run for a while, again and again. It counts such stalls, judges by a clock that
//! stops meanwhile, and lets nothing expire for a second after each, for ten seconds in a row at most: what waited in its sockets is
//! read first. So whoever waits for something to expire must not count that time either.

use std::time::Duration;

use tokio::time::Instant;

/// For so long after a stall nothing expires on a node.
const SETTLE: Duration = Duration::from_secs(1);
/// Most time that is waited in all, as a multiple of what is waited for nodes that run.
const LONGEST: u32 = 4;

/// How long to wait, given how often each node says that it was stalled.
#[derive(Debug)]
pub(super) struct Patience {
    until: Instant,
    longest: Instant,
    looked_at: Instant,
    /// What each said last.
    stalls: Vec<Option<u64>>,
}

impl Patience {
    /// Waits for `span` from `now` on, if nobody is stalled.
    pub(super) fn new(span: Duration, now: Instant) -> Self {
        Self { until: now + span, longest: now + span * LONGEST, looked_at: now, stalls: Vec::new() }
    }

    /// Takes in how often each node was stalled since its start; `None` of one that does not say. The time since the last look
    /// does not count when that is more than it was then.
    pub(super) fn observe(&mut self, stalls: Vec<Option<u64>>, now: Instant) {
        let is_more = |(before, after): (&Option<u64>, &Option<u64>)| before.zip(*after).is_some_and(|(b, a)| a > b);
        if self.stalls.iter().zip(&stalls).any(is_more) {
            self.until = (self.until + (now - self.looked_at) + SETTLE).min(self.longest);
        }
        (self.stalls, self.looked_at) = (stalls, now);
    }

    /// Whether it is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now > self.until
    }

    /// Whether it would have lasted longer if that were not enough in any case: when it is over it says nothing.
    pub(super) fn is_starved(&self) -> bool {
        self.until == self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(10);
    const LOOK: Duration = Duration::from_millis(500);

    /// How long it lasts when a node counts so many stalls at each look, and whether it says nothing then.
    fn lasts(stalls: impl Fn(u64) -> Option<u64>) -> (Duration, bool) {
        let start = Instant::now();
        let mut patience = Patience::new(SPAN, start);
        let mut now = start;
        for look in 0.. {
            patience.observe(vec![Some(7), stalls(look)], now);
            if patience.is_over(now) {
                break;
            }
            now += LOOK;
        }
        (now - start, patience.is_starved())
    }

    #[test]
    fn where_all_nodes_run_it_lasts_as_long_as_was_said() {
        assert_eq!(lasts(|_| Some(140)), (SPAN + LOOK, false));
        assert_eq!(lasts(|_| None), (SPAN + LOOK, false));
    }

    #[test]
    fn time_in_which_a_node_was_stalled_does_not_count_nor_that_in_which_it_settles() {
        assert_eq!(lasts(|look| Some(u64::from(look >= 5))), (SPAN + LOOK + SETTLE + LOOK, false));
        assert!(!lasts(|look| Some(look / 10)).1);
    }

    #[test]
    fn who_is_stalled_all_the_time_is_not_waited_for_for_ever() {
        assert_eq!(lasts(Some), (SPAN * LONGEST + LOOK, true));
    }
}
