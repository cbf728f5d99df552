//! Which challenges are answered: each once, and no challenger more often than it needs.
//!
//! A challenge needs no session, so a recorded one could be thrown at its target again and again. Its counter is under the
//! seal and only grows within a process; one that is not above the highest that came from its challenger is old. It is
//! refused before it costs anything, so a replay takes nothing from the budget of those who ask now.
//!
//! Limits: only who holds the key, or once challenged this very process, gets a place here. When all are taken, the
//! challenger whose last new challenge is the oldest gives way; what was recorded of it may then be answered once more.

use std::collections::BTreeMap;

use rollcall_types::NodeName;
use tokio::time::Instant;

use super::rate::{Rate, Tokens};
use crate::metrics::Rejection;
use crate::seal::Sender;

/// Challengers that are remembered: twice the members that the detector follows, so those and their former lives.
const CHALLENGERS_MAX: usize = 2_048;
/// Answers to one process. It repeats a challenge every 200 ms at most.
const CHALLENGER_RATE: Rate = Rate { per_second: 10.0, burst: 10 };
/// Answers to all together.
const RATE: Rate = super::PROOF_RATE;

#[derive(Debug)]
struct Challenger {
    /// Counter of its newest challenge.
    highest: u64,
    /// When that came.
    at: Instant,
    tokens: Tokens,
}

#[derive(Debug)]
pub(super) struct Answers {
    challengers: BTreeMap<(NodeName, u64), Challenger>,
    tokens: Tokens,
}

impl Answers {
    pub(super) fn new(now: Instant) -> Self {
        Self { challengers: BTreeMap::new(), tokens: Tokens::full(RATE, now) }
    }

    /// Whether the challenge of `challenger` with this counter is to be answered.
    pub(super) fn admit(&mut self, challenger: &Sender, counter: u64, now: Instant) -> Result<(), Rejection> {
        let process = (challenger.name.clone(), challenger.generation);
        match self.challengers.get(&process) {
            Some(known) if counter <= known.highest => return Err(Rejection::Replayed),
            Some(_) => {}
            None => self.make_room(),
        }
        let fresh = || Challenger { highest: 0, at: now, tokens: Tokens::full(CHALLENGER_RATE, now) };
        let known = self.challengers.entry(process).or_insert_with(fresh);
        (known.highest, known.at) = (counter, now);
        match known.tokens.take(CHALLENGER_RATE, now) && self.tokens.take(RATE, now) {
            true => Ok(()),
            false => Err(Rejection::Rate),
        }
    }

    fn make_room(&mut self) {
        if self.challengers.len() < CHALLENGERS_MAX {
            return;
        }
        let quietest = self.challengers.iter().min_by_key(|(_, challenger)| challenger.at);
        if let Some(process) = quietest.map(|(process, _)| process.clone()) {
            self.challengers.remove(&process);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::gate::tests::process;

    #[test]
    fn a_challenge_is_answered_once() {
        let now = Instant::now();
        let (mut answers, challenger) = (Answers::new(now), process("a", 5, 1));
        assert_eq!(answers.admit(&challenger, 7, now), Ok(()));
        assert_eq!(answers.admit(&challenger, 7, now), Err(Rejection::Replayed));
        assert_eq!(answers.admit(&challenger, 6, now), Err(Rejection::Replayed));
        assert_eq!(answers.admit(&challenger, 8, now), Ok(()), "the same nonce, asked again");
        assert_eq!(answers.admit(&process("a", 6, 1), 1, now), Ok(()), "its next life counts from the start");
    }

    #[test]
    fn a_challenge_replayed_fast_keeps_nobody_else_from_an_answer() {
        let now = Instant::now();
        let mut answers = Answers::new(now);
        let recorded = process("a", 5, 1);
        let answered = (0..100_000).filter(|_| answers.admit(&recorded, 7, now).is_ok()).count();
        assert_eq!(answered, 1);
        for n in 0..500 {
            assert_eq!(answers.admit(&process(&format!("n{n}"), 1, 1), 1, now), Ok(()), "n{n}");
        }
        assert_eq!(answers.admit(&recorded, 8, now), Ok(()), "nor from one to the author of the recorded one");
    }

    #[test]
    fn one_challenger_cannot_use_up_the_answers_of_all() {
        let now = Instant::now();
        let mut answers = Answers::new(now);
        let eager = process("a", 5, 1);
        let answered = (1..10_000).filter(|counter| answers.admit(&eager, *counter, now).is_ok()).count();
        assert_eq!(answered, CHALLENGER_RATE.burst as usize);
        assert_eq!(answers.admit(&process("b", 5, 2), 1, now), Ok(()));
    }

    #[test]
    fn when_all_places_are_taken_the_one_that_asked_longest_ago_gives_way() {
        let mut now = Instant::now();
        let mut answers = Answers::new(now);
        for n in 0..=CHALLENGERS_MAX {
            now += Duration::from_millis(10);
            answers.admit(&process(&format!("n{n}"), 5, 1), 7, now).unwrap();
            // A replay does not make a challenger look alive.
            assert_eq!(answers.admit(&process("n0", 5, 1), 7, now).is_ok(), n == CHALLENGERS_MAX);
        }
        assert_eq!(answers.challengers.len(), CHALLENGERS_MAX);
    }
}
