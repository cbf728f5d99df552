//! When a word that another node overrules is said anew.
//!
//! A node that takes a heartbeat while it sees a worse word of another node knows that its own is later. The other node gives way
//! to news alone, so this one falls silent for a while and says its word again. Neighbours that gossip slowly, on a busy machine,
//! may see nothing of a short silence: each time that the other word still stands, the next silence is twice as long, up to a bound.
//! In between the word is said for much longer than that, or the other would give way to it when it is not said any more, and for a
//! moment nobody would vouch.
//!
//! A word of a node whose evidence does not count at this moment, as of one that was just heard of for the first time, overrules
//! nothing yet. For [`UNCOUNTED`] it is waited for what becomes of it: by then whoever lives was heard.
//!
//! This ends: the other node gives way, or says something later, to which this one does; at the latest with the time to live.

use std::time::Duration;

use rollcall_health::Freshness;
use rollcall_types::MonoTime;

use super::AT_ONCE;

/// The first silence: some rounds of gossip.
const PAUSE: Duration = Duration::from_millis(600);
/// The longest one.
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// How much longer than the silence before it a word is said at least, and for how long in any case.
const SAID: (u32, Duration) = (4, Duration::from_secs(5));

/// How long a word that does not count is waited for.
const UNCOUNTED: Duration = Duration::from_secs(10);

/// What this node is about with a word, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    due: MonoTime,
    step: Step,
    /// The next silence, or this one.
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// When it is due, it is looked whether another node has not given way.
    Watched,
    /// It is not said until it is due.
    Silent,
}

/// What stands against a word: the worse one of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Against {
    Nothing,
    /// One that does not count, and may in the next moment.
    Uncounted,
    /// One that counts, and so overrules it.
    Counted,
}

impl From<Freshness> for Against {
    /// What the worse word of a node amounts to whose evidence is this fresh.
    fn from(freshness: Freshness) -> Self {
        match freshness {
            Freshness::Fresh => Self::Counted,
            Freshness::Stale => Self::Uncounted,
        }
    }
}

/// What to do with a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Its turn is not over.
    Stay,
    /// It is said, and stays said for this turn: were it taken back with the next heartbeat, nobody might hear it.
    Say(Turn),
    /// It is not said for this turn.
    Hush(Turn),
    /// It counts.
    Done,
}

impl Turn {
    /// A word that is news has just been said: others have [`AT_ONCE`] to give way. Any other has been said long enough.
    pub(super) fn watched(is_news: bool, now: MonoTime) -> Self {
        let due = if is_news { now.plus(AT_ONCE) } else { now };
        Self { due, step: Step::Watched, pause: PAUSE }
    }

    /// A word that is not said from now on.
    pub(super) fn silent(now: MonoTime) -> Self {
        Self { due: now.plus(PAUSE), step: Step::Silent, pause: PAUSE }
    }

    /// What follows. Silence ends as soon as nothing that counts stands against the word: who was waited for may be gone, and
    /// somebody has to vouch.
    pub(super) fn next(self, against: impl Fn() -> Against, now: MonoTime) -> Next {
        let Self { due, step, pause } = self;
        match step {
            Step::Watched if now < due => Next::Stay,
            Step::Watched => match against() {
                Against::Uncounted if now.since(due) < UNCOUNTED => Next::Stay,
                Against::Nothing | Against::Uncounted => Next::Done,
                Against::Counted => Next::Hush(Self { due: now.plus(pause), step: Step::Silent, pause }),
            },
            Step::Silent if now < due && against() == Against::Counted => Next::Stay,
            Step::Silent => {
                let due = now.plus(SAID.1.max(pause * SAID.0));
                Next::Say(Self { due, step: Step::Watched, pause: (pause * 2).min(PAUSE_MAX) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a word is said and not said by turns while another stands against it, from the heartbeat on, milliseconds.
    fn turns(mut turn: Turn, count: usize) -> Vec<i128> {
        let mut now = MonoTime::default();
        let mut told = Vec::new();
        while told.len() < count {
            let due = turn.due;
            let lasts = i128::try_from(due.since(now).as_millis()).unwrap();
            told.push(if turn.step == Step::Silent { -lasts } else { lasts });
            if due > now {
                assert_eq!(turn.next(|| Against::Counted, now), Next::Stay);
            }
            now = due;
            turn = match turn.next(|| Against::Counted, now) {
                Next::Say(turn) | Next::Hush(turn) => turn,
                Next::Stay | Next::Done => panic!("its turn is over, and it is overruled"),
            };
        }
        told
    }

    #[test]
    fn a_silence_that_nobody_noticed_is_followed_by_longer_ones() {
        let now = MonoTime::default();
        let first = [1_000, -600, 5_000, -1_200, 5_000, -2_400, 9_600, -3_000, 12_000, -3_000, 12_000];
        assert_eq!(turns(Turn::watched(true, now), first.len()), first);
        assert_eq!(turns(Turn::watched(false, now), 3), [0, -600, 5_000]);
        assert_eq!(turns(Turn::silent(now), 3), [-600, 5_000, -1_200]);
    }

    #[test]
    fn a_word_against_which_nothing_stands_any_more_is_said_and_left_alone() {
        let now = MonoTime::default();
        let Next::Say(said) = Turn::silent(now).next(|| Against::Nothing, now) else {
            panic!("nothing stands against it")
        };
        assert_eq!(said.next(|| Against::Nothing, now), Next::Stay);
        assert_eq!(said.next(|| Against::Nothing, said.due), Next::Done);
    }

    #[test]
    fn what_does_not_count_yet_neither_hushes_a_word_nor_lets_it_be_forgotten() {
        let now = MonoTime::default();
        let watched = Turn::watched(true, now);
        let later = watched.due.plus(Duration::from_secs(5));
        assert_eq!(watched.next(|| Against::Uncounted, later), Next::Stay, "it may count in the next moment");
        assert_eq!(watched.next(|| Against::Uncounted, watched.due.plus(UNCOUNTED)), Next::Done, "its node is dead");
        assert!(matches!(watched.next(|| Against::Counted, later), Next::Hush(_)));
        assert!(matches!(Turn::silent(now).next(|| Against::Uncounted, now), Next::Say(_)), "somebody has to vouch");
    }
}
