//! Who is let in: an authentic message is accepted only from a process that proved to *this* process that it lives now, and
//! only once.
//!
//! A seal says that a member made the message, not when. Recorded messages of former lives are authentic for as long as the
//! key is used, and a receiver that has just started remembers none of them. Clocks cannot tell old from new either: a
//! machine whose clock is hours off must still be able to gossip. So the receiver asks:
//!
//! ```text
//! sender            receiver that has no session with this (name, generation)
//!   ── any message ──►   not accepted
//!   ◄── challenge ───    16 random bytes, whom they challenge, and the newest generation known under its name
//!   ──── answer ────►    the same bytes: the session begins; all counters up to the answer's count as seen
//!   ── next message ─►   accepted, once for each counter
//! ```
//! It costs one exchange for each pair of processes, before which a message is lost that gossip repeats anyway. Until the
//! answer is there the same bytes are sent again, so that the way there and back may take longer than it takes the sender to
//! say something else.
//!
//! Challenges and answers need no session: to answer commits to nothing, and a challenge goes to the address that the sender
//! vouches for under its seal, at most every 200 ms, so that replays cannot make members flood anyone. A challenge is heeded
//! only by the very process that it names, and once: what one node was told says nothing to another, or to its next life.
//!
//! What a replay can still do: a message that its sender sent to *another* member, and that did not reach this one, can be
//! delivered here once, while the session lasts. It carries nothing that its sender had not reached then: chitchat's
//! versions and heartbeats only grow and are spread to all, and a detector's answer names the ping it answers.
//!
//! Counters must not go back. A virtual machine that is set back to an earlier snapshot of its *memory* counts again from
//! where it was, and is refused as replayed until it has caught up, which takes about as long as it was set back; starting
//! the process anew ends that at once. A machine set back to an earlier *disk* only is a start like any other.
//!
//! **One process for each name.** A session with a newer generation replaces the older one; the older process is refused
//! from then on. The challenge tells it so, and whether the newer one seems gone; a process that finds its own former life,
//! or a life whose machine was lost, in its way takes a newer generation and comes back ([`crate::shell`]). Without this a
//! node that lost its disk and whose clock was set back would be refused for ever.

mod answers;
mod challenge;
mod mutes;
mod rate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rollcall_types::NodeName;
use tokio::time::Instant;

use self::answers::Answers;
pub(crate) use self::challenge::{Challenge, NONCE_BYTES, Nonce};
use self::mutes::Mutes;
use self::rate::{Rate, Tokens};
use crate::metrics::Rejection;
use crate::replay::Window;
use crate::seal::Sender;

/// Sessions at once: twice the members that the detector follows. When full, the one silent for the longest gives way.
const SESSIONS_MAX: usize = 2_048;
/// A session that is silent for so long may give way to a new one, when all places are taken.
const IDLE: Duration = Duration::from_secs(60);
/// Challenges that wait for their answers.
const PENDING_MAX: usize = 1_024;
/// Time in which a nonce can be answered, from when it was first sent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two challenges of one process.
const CHALLENGE_INTERVAL: Duration = Duration::from_millis(200);
/// A newer process that is silent for so long no longer stands in the way of one with its name.
const GONE: Duration = Duration::from_secs(10);
/// Messages of one member. A healthy one sends at most about 100 a second to one peer.
const SESSION_RATE: Rate = Rate { per_second: 500.0, burst: 1_000 };
/// Challenges and answers that are sent, all together.
const PROOF_RATE: Rate = Rate { per_second: 500.0, burst: 1_000 };

/// What to do with an authentic message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is new, and from a process that proved to live.
    Accept,
    Refuse(Rejection),
    /// Refuse it, and send `challenge` to the address of its sender.
    Challenge {
        rejection: Rejection,
        challenge: Challenge,
        /// The sender has been challenged for long and does not answer, which an operator should hear now.
        is_mute: bool,
    },
}

#[derive(Debug)]
struct Session {
    generation: u64,
    address: SocketAddr,
    window: Window,
    heard: Instant,
    tokens: Tokens,
}

#[derive(Debug)]
struct Pending {
    nonce: Nonce,
    /// When it was drawn, which is when it was first sent.
    drawn: Instant,
    sent: Instant,
}

/// Who is in, and who was asked to prove itself.
#[derive(Debug)]
pub(crate) struct Gate {
    sessions: BTreeMap<NodeName, Session>,
    pending: BTreeMap<(NodeName, u64), Pending>,
    challenges: Tokens,
    mutes: Mutes,
    answers: Answers,
}

impl Gate {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            sessions: BTreeMap::new(),
            pending: BTreeMap::new(),
            challenges: Tokens::full(PROOF_RATE, now),
            mutes: Mutes::new(now),
            answers: Answers::new(now),
        }
    }

    /// Judges an authentic message other than a challenge or an answer. `draw` makes the random bytes of a challenge.
    pub(crate) fn admit(
        &mut self,
        sender: &Sender,
        counter: u64,
        now: Instant,
        draw: impl FnOnce() -> Option<Nonce>,
    ) -> Verdict {
        let rejection = match self.sessions.get_mut(&sender.name) {
            Some(session) if session.generation == sender.generation => {
                if !session.window.accept(counter) {
                    return Verdict::Refuse(Rejection::Replayed);
                }
                session.heard = now;
                return match session.tokens.take(SESSION_RATE, now) {
                    true => Verdict::Accept,
                    false => Verdict::Refuse(Rejection::Rate),
                };
            }
            Some(session) if session.generation > sender.generation => Rejection::OldIncarnation,
            _ => Rejection::Unproven,
        };
        match self.challenge(sender, now, draw) {
            Some(challenge) => Verdict::Challenge { rejection, challenge, is_mute: self.mutes.asked(sender, now) },
            None => Verdict::Refuse(rejection),
        }
    }

    fn challenge(&mut self, sender: &Sender, now: Instant, draw: impl FnOnce() -> Option<Nonce>) -> Option<Challenge> {
        let asked = (sender.name.clone(), sender.generation);
        if self.pending.get(&asked).is_some_and(|pending| now < pending.sent + CHALLENGE_INTERVAL) {
            return None;
        }
        self.pending.retain(|_, pending| now < pending.drawn + ANSWER_TIMEOUT);
        let drawn = self.pending.get(&asked).map(|pending| (pending.nonce, pending.drawn));
        if (drawn.is_none() && self.pending.len() >= PENDING_MAX) || !self.challenges.take(PROOF_RATE, now) {
            return None;
        }
        let (nonce, drawn) = match drawn {
            Some(drawn) => drawn,
            None => (draw()?, now),
        };
        self.pending.insert(asked, Pending { nonce, drawn, sent: now });
        let newer = self.sessions.get(&sender.name).filter(|session| session.generation > sender.generation);
        Some(Challenge {
            nonce,
            name: sender.name.clone(),
            generation: sender.generation,
            newest: newer.map_or(0, |session| session.generation),
            is_gone: newer.is_some_and(|newer| newer.address == sender.address || now >= newer.heard + GONE),
        })
    }

    /// Whether the challenge of `challenger` that came under `counter` is to be answered: once, and not too often.
    pub(crate) fn admit_challenge(&mut self, challenger: &Sender, counter: u64, now: Instant) -> Result<(), Rejection> {
        self.answers.admit(challenger, counter, now)
    }

    /// An answer came. `Ok` when a session begins with it.
    pub(crate) fn prove(&mut self, sender: &Sender, counter: u64, nonce: &[u8], now: Instant) -> Result<(), Rejection> {
        let asked = (sender.name.clone(), sender.generation);
        match self.pending.get(&asked) {
            Some(pending) if pending.nonce == nonce && now < pending.drawn + ANSWER_TIMEOUT => {}
            _ => return Err(Rejection::Replayed),
        }
        self.pending.remove(&asked);
        self.mutes.answered(sender);
        match self.sessions.get(&sender.name) {
            Some(session) if session.generation > sender.generation => return Err(Rejection::OldIncarnation),
            None => self.make_room(now)?,
            Some(_) => {}
        }
        let session = Session {
            generation: sender.generation,
            address: sender.address,
            window: Window::after(counter),
            heard: now,
            tokens: Tokens::full(SESSION_RATE, now),
        };
        self.sessions.insert(sender.name.clone(), session);
        Ok(())
    }

    fn make_room(&mut self, now: Instant) -> Result<(), Rejection> {
        if self.sessions.len() < SESSIONS_MAX {
            return Ok(());
        }
        let quietest = self.sessions.iter().min_by_key(|(_, session)| session.heard);
        let (name, _) = quietest.filter(|(_, session)| now >= session.heard + IDLE).ok_or(Rejection::Full)?;
        let name = name.clone();
        self.sessions.remove(&name);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
