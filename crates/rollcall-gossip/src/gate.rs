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
//!   ◄── challenge ───    16 random bytes, and the newest generation known under the sender's name
//!   ──── answer ────►    the same bytes: the session begins; all counters up to the answer's count as seen
//!   ── next message ─►   accepted, once for each counter
//! ```
//! It costs one exchange for each pair of processes, before which a message is lost that gossip repeats anyway. Challenges
//! and answers need no session: to answer commits to nothing, and a challenge goes to the address that the sender vouches
//! for under its seal, at most every 200 ms, so that replays cannot make members flood anyone.
//!
//! What a replay can still do: a message that its sender sent to *another* member, and that did not reach this one, can be
//! delivered here once, while the session lasts. It carries nothing that its sender had not reached then: chitchat's
//! versions and heartbeats only grow and are spread to all, and a detector's answer names the ping it answers.
//!
//! **One process for each name.** A session with a newer generation replaces the older one; the older process is refused
//! from then on. The challenge tells it so, and whether the newer one seems gone; a process that finds its own former life,
//! or a life whose machine was lost, in its way takes a newer generation and comes back ([`crate::shell`]). Without this a
//! node that lost its disk and whose clock was set back would be refused for ever.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rollcall_types::NodeName;
use tokio::time::Instant;

use crate::metrics::Rejection;
use crate::replay::Window;
use crate::seal::Sender;

/// Sessions at once: twice the members that the detector follows. When full, the one silent for the longest gives way.
const SESSIONS_MAX: usize = 2_048;
/// A session that is silent for so long may give way to a new one, when all places are taken.
const IDLE: Duration = Duration::from_secs(60);
/// Challenges that wait for their answers.
const PENDING_MAX: usize = 1_024;
/// Time in which a challenge can be answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two challenges of one process.
const CHALLENGE_INTERVAL: Duration = Duration::from_millis(200);
/// A newer process that is silent for so long no longer stands in the way of one with its name.
const GONE: Duration = Duration::from_secs(10);
/// Messages of one member. A healthy one sends at most about 100 a second to one peer.
const SESSION_RATE: Rate = Rate { per_second: 500, burst: 1_000 };
/// Challenges and answers that are sent, all together.
const PROOF_RATE: Rate = Rate { per_second: 500, burst: 1_000 };

pub(crate) const NONCE_BYTES: usize = 16;
type Nonce = [u8; NONCE_BYTES];

/// "Prove that you live."
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) nonce: Nonce,
    /// The newest generation known under the name of the challenged process; 0 when there is none but its own.
    pub(crate) newest: u64,
    /// Whether that newest process seems to be gone: it is silent, or had the very address of the challenged one.
    pub(crate) is_gone: bool,
}

impl Challenge {
    const BYTES: usize = NONCE_BYTES + 8 + 1;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..NONCE_BYTES].copy_from_slice(&self.nonce);
        bytes[NONCE_BYTES..NONCE_BYTES + 8].copy_from_slice(&self.newest.to_le_bytes());
        bytes[NONCE_BYTES + 8] = u8::from(self.is_gone);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let (nonce, rest) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let (newest, rest) = rest.split_first_chunk::<8>()?;
        let is_gone = match rest {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        Some(Self { nonce: *nonce, newest: u64::from_le_bytes(*newest), is_gone })
    }
}

/// What to do with an authentic message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is new, and from a process that proved to live.
    Accept,
    Refuse(Rejection),
    /// Refuse it, and send this to the address of its sender.
    Challenge(Rejection, Challenge),
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
    asked: Instant,
}

/// Who is in, and who was asked to prove itself.
#[derive(Debug)]
pub(crate) struct Gate {
    sessions: BTreeMap<NodeName, Session>,
    pending: BTreeMap<(NodeName, u64), Pending>,
    challenges: Tokens,
    answers: Tokens,
}

impl Gate {
    pub(crate) fn new(now: Instant) -> Self {
        let tokens = || Tokens::full(PROOF_RATE, now);
        Self { sessions: BTreeMap::new(), pending: BTreeMap::new(), challenges: tokens(), answers: tokens() }
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
            Some(challenge) => Verdict::Challenge(rejection, challenge),
            None => Verdict::Refuse(rejection),
        }
    }

    fn challenge(&mut self, sender: &Sender, now: Instant, draw: impl FnOnce() -> Option<Nonce>) -> Option<Challenge> {
        let asked = (sender.name.clone(), sender.generation);
        if self.pending.get(&asked).is_some_and(|pending| now < pending.asked + CHALLENGE_INTERVAL) {
            return None;
        }
        self.pending.retain(|_, pending| now < pending.asked + ANSWER_TIMEOUT);
        let is_known = self.pending.contains_key(&asked);
        if (!is_known && self.pending.len() >= PENDING_MAX) || !self.challenges.take(PROOF_RATE, now) {
            return None;
        }
        let newer = self.sessions.get(&sender.name).filter(|session| session.generation > sender.generation);
        let challenge = Challenge {
            nonce: draw()?,
            newest: newer.map_or(0, |session| session.generation),
            is_gone: newer.is_some_and(|newer| newer.address == sender.address || now >= newer.heard + GONE),
        };
        self.pending.insert(asked, Pending { nonce: challenge.nonce, asked: now });
        Some(challenge)
    }

    /// Whether a challenge may be answered now.
    pub(crate) fn may_answer(&mut self, now: Instant) -> bool {
        self.answers.take(PROOF_RATE, now)
    }

    /// An answer came. `Ok` when a session begins with it.
    pub(crate) fn prove(&mut self, sender: &Sender, counter: u64, nonce: &[u8], now: Instant) -> Result<(), Rejection> {
        let asked = (sender.name.clone(), sender.generation);
        match self.pending.get(&asked) {
            Some(pending) if pending.nonce == nonce && now < pending.asked + ANSWER_TIMEOUT => {}
            _ => return Err(Rejection::Replayed),
        }
        self.pending.remove(&asked);
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

/// A bound on how often something happens.
#[derive(Debug, Clone, Copy)]
struct Rate {
    per_second: u32,
    burst: u32,
}

/// What is left of a [`Rate`] at present.
#[derive(Debug)]
struct Tokens {
    left: f64,
    at: Instant,
}

impl Tokens {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { left: f64::from(rate.burst), at: now }
    }

    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(rate.per_second);
        self.left = (self.left + gained).min(f64::from(rate.burst));
        self.at = now;
        let is_there = self.left >= 1.0;
        if is_there {
            self.left -= 1.0;
        }
        is_there
    }
}

#[cfg(test)]
mod tests;
