//! Rest for a task that follows the event ring while nobody listens to it.
//!
//! On a node that nobody watches, a follower that looked at each write would cost the runtime a turn per write on every node,
//! on the way of the very answer that the writer waits for. So it rests. Who begins to listen calls it, and says which
//! revision it had seen before: it looks at the catalogue afterwards, so whatever came later is for the follower to tell.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rollcall_types::Revision;
use tokio::sync::Notify;

/// Between one follower and those who may listen to it. A follower begins at rest.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    state: Mutex<State>,
    called: Notify,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Resting,
    /// To follow what comes after this revision.
    Called(Revision),
    Following,
}

impl Rest {
    /// Calls the follower, if it rests. For somebody who listens already, has `seen` this revision before, and looks at the
    /// catalogue after this.
    pub(crate) fn call(&self, seen: Revision) {
        let mut state = self.lock();
        // Who calls second looks later than the first did, and so has no need of anything before it.
        if let State::Resting = *state {
            *state = State::Called(seen);
            self.called.notify_one();
        }
    }

    /// Waits to be called: the revision after which to follow. Loses nothing when dropped.
    pub(crate) async fn called(&self) -> Revision {
        loop {
            {
                let mut state = self.lock();
                if let State::Called(seen) = *state {
                    *state = State::Following;
                    return seen;
                }
            }
            self.called.notified().await;
        }
    }

    /// Lets the follower rest, if `nobody_listens`; whether it does.
    pub(crate) fn begins_if(&self, nobody_listens: impl FnOnce() -> bool) -> bool {
        let mut state = self.lock();
        // Asked under the lock: who began to listen before is seen here, and who does so after calls.
        let rests = nobody_listens();
        if rests {
            *state = State::Resting;
        }
        rests
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn called(rest: &Rest) -> Option<u64> {
        rest.called().now_or_never().map(Revision::get)
    }

    #[test]
    fn a_follower_goes_on_after_what_the_first_who_called_had_seen() {
        let rest = Rest::default();
        assert_eq!(called(&rest), None, "nobody listens yet");
        rest.call(Revision::new(7));
        rest.call(Revision::new(9));
        assert_eq!(called(&rest), Some(7));
        rest.call(Revision::new(11));
        assert_eq!(called(&rest), None, "it follows already");
    }

    #[test]
    fn a_follower_rests_only_while_nobody_listens() {
        let rest = Rest::default();
        rest.call(Revision::new(1));
        assert_eq!(called(&rest), Some(1));
        assert!(!rest.begins_if(|| false));
        rest.call(Revision::new(2));
        assert_eq!(called(&rest), None);
        assert!(rest.begins_if(|| true));
        rest.call(Revision::new(3));
        assert_eq!(called(&rest), Some(3));
    }

    #[tokio::test]
    async fn a_follower_that_waits_is_woken() {
        let rest = std::sync::Arc::new(Rest::default());
        let waits = tokio::spawn({
            let rest = rest.clone();
            async move { rest.called().await }
        });
        tokio::task::yield_now().await;
        rest.call(Revision::new(5));
        assert_eq!(waits.await.unwrap(), Revision::new(5));
    }
}
