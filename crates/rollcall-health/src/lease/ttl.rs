//! What a prober makes of a check by heartbeats of an instance that has several.

use std::time::Duration;

use super::HEARSAY;
use crate::Status;
use crate::run_clock::{Reading, RunTime};

/// What those say of a check who hear its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// This.
    Told(Status),
    /// Nothing of any check: there was no room to, or it comes in a moment. The instance is this, and each check may be.
    Whole(Status),
    /// Nothing, but of other checks.
    Omitted,
    /// Nobody hears the instance.
    Silence,
}

/// What a prober makes of one check by heartbeats.
///
/// It begins as the registration says, or as it was known before, and that holds for its time to live. So does what was last told
/// when the node dies that told it, from then on: what is heard all the time is told once. After that and [`HEARSAY`], silence is
/// critical. Time in which this process did not run does not count.
///
/// That an instance is worse than passing by [`Word::Whole`] may be for another check. It is shown like what is told of this one, and
/// forgotten when others are told: those words say nothing of the checks that they leave out.
#[derive(Debug, Clone)]
pub struct TtlWatch {
    ttl: Duration,
    status: Status,
    /// What it may be.
    guess: Option<Status>,
    until: RunTime,
    is_heard: bool,
}

impl TtlWatch {
    /// Begins to watch a check that counts as `status` until it is told.
    pub fn new(ttl: Duration, status: Status, at: Reading) -> Self {
        Self { ttl, status, guess: None, until: at.run.plus(ttl).plus(HEARSAY), is_heard: false }
    }

    /// Takes in what is said now.
    pub fn observe(&mut self, word: Word, at: Reading) {
        let was_heard = std::mem::replace(&mut self.is_heard, matches!(word, Word::Told(_) | Word::Whole(_)));
        match word {
            // An instance passes when all of its checks do.
            Word::Told(status) | Word::Whole(status @ Status::Passing) => (self.status, self.guess) = (status, None),
            Word::Whole(status) => self.guess = Some(status),
            Word::Omitted => self.guess = None,
            Word::Silence => {}
        }
        if was_heard && !self.is_heard {
            self.until = at.run.plus(self.ttl).plus(HEARSAY);
        } else if !self.is_heard && at.run > self.until && !at.is_settling {
            self.expire();
        }
    }

    /// Nobody hears the instance any more, and it has no time left.
    pub fn expire(&mut self) {
        (self.status, self.guess) = (Status::Critical, None);
    }

    /// What it amounts to.
    pub fn status(&self) -> Status {
        self.guess.unwrap_or(self.status)
    }

    /// The least time until it becomes critical by itself; `None` when it does not.
    pub fn left(&self, at: Reading) -> Option<Duration> {
        let is_waiting = !self.is_heard && self.status() != Status::Critical;
        is_waiting.then(|| self.until.since(at.run))
    }
}

#[cfg(test)]
mod tests {
    use rollcall_types::MonoTime;

    use super::*;
    use crate::{RUN_TICK, RunClock};

    const TTL: Duration = Duration::from_secs(10);

    struct World {
        clock: RunClock,
        now: MonoTime,
    }

    impl World {
        fn new() -> Self {
            Self { clock: RunClock::new(MonoTime::default()), now: MonoTime::default() }
        }

        /// So many seconds later, in which this process ran.
        fn after(&mut self, seconds: u32) -> Reading {
            for _ in 0..seconds * 5 {
                self.now = self.now.plus(RUN_TICK);
                self.clock.tick(self.now);
            }
            self.clock.read(self.now)
        }
    }

    #[test]
    fn what_nobody_tells_holds_for_its_time_to_live_and_is_then_critical() {
        for begins in [Status::Passing, Status::Warning] {
            let mut world = World::new();
            let mut watch = TtlWatch::new(TTL, begins, world.after(1));
            let now = world.after(10);
            watch.observe(Word::Silence, now);
            let left = Some(Duration::from_secs(1));
            assert_eq!((watch.status(), watch.left(now)), (begins, left), "what was told in time is heard later");
            let now = world.after(2);
            watch.observe(Word::Silence, now);
            assert_eq!((watch.status(), watch.left(now)), (Status::Critical, None));
        }
        let now = World::new().after(1);
        let begins = TtlWatch::new(TTL, Status::Critical, now);
        assert_eq!((begins.status(), begins.left(now)), (Status::Critical, None));
    }

    #[test]
    fn the_last_word_of_a_node_that_died_holds_for_a_time_to_live_however_long_ago_it_came() {
        let mut world = World::new();
        let now = world.after(1);
        let mut watch = TtlWatch::new(TTL, Status::Critical, now);
        watch.observe(Word::Told(Status::Passing), now);
        assert_eq!((watch.status(), watch.left(now)), (Status::Passing, None));
        // Heartbeats went on for an hour, and nothing was told of that.
        let now = world.after(3_600);
        watch.observe(Word::Silence, now);
        assert_eq!((watch.status(), watch.left(now)), (Status::Passing, Some(TTL + HEARSAY)));
        watch.observe(Word::Silence, world.after(10));
        assert_eq!(watch.status(), Status::Passing);
        watch.observe(Word::Told(Status::Warning), world.after(1));
        watch.observe(Word::Silence, world.after(60));
        assert_eq!(watch.status(), Status::Warning, "it found another node");
        watch.observe(Word::Silence, world.after(11));
        assert_eq!(watch.status(), Status::Warning);
        watch.observe(Word::Silence, world.after(1));
        assert_eq!(watch.status(), Status::Critical);
    }

    #[test]
    fn what_a_check_may_be_while_nothing_is_told_is_forgotten_when_something_is() {
        let mut world = World::new();
        let now = world.after(1);
        let mut watch = TtlWatch::new(TTL, Status::Passing, now);
        watch.observe(Word::Whole(Status::Critical), now);
        assert_eq!((watch.status(), watch.left(now)), (Status::Critical, None));
        // Another check of the instance is told, and was the critical one. Of this one nobody ever heard.
        let now = world.after(60);
        watch.observe(Word::Omitted, now);
        assert_eq!((watch.status(), watch.left(now)), (Status::Passing, Some(TTL + HEARSAY)), "it was heard until now");
        watch.observe(Word::Omitted, world.after(12));
        assert_eq!(watch.status(), Status::Critical, "and not again");
    }

    #[test]
    fn what_a_check_was_held_for_by_its_instance_outlasts_the_node_that_had_no_room_to_tell_it() {
        let mut world = World::new();
        let now = world.after(1);
        let mut watch = TtlWatch::new(TTL, Status::Critical, now);
        watch.observe(Word::Whole(Status::Passing), now);
        let now = world.after(60);
        // It moves to a node that tells of another check, or to none.
        for word in [Word::Omitted, Word::Silence] {
            let mut watch = watch.clone();
            watch.observe(word, now);
            assert_eq!((watch.status(), watch.left(now)), (Status::Passing, Some(TTL + HEARSAY)));
        }
        watch.observe(Word::Silence, now);
        watch.observe(Word::Silence, world.after(12));
        assert_eq!(watch.status(), Status::Critical);
    }
}
