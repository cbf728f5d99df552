//! Contenders for a few locks: they lock, write what the lock protects, renew, unlock, or fall silent while they hold.
//!
//! Sessions hang on nothing but their renewals and leave no lock delay, so that a lock passes on as early as it ever may.

use std::time::{Duration, Instant};

use super::{Generator, Step};
use crate::client::Insistence;
use crate::dice::Dice;
use crate::history::{Answer, Call, OpId, Outcome};

/// Longest silence of a session, milliseconds: the shortest that there is.
pub(crate) const TTL_MS: u64 = 10_000;
/// Longest time until a lock whose holder fell silent is free: a new leader measures the TTL anew.
pub(crate) const LATE: Duration = Duration::from_millis(2 * TTL_MS + 5_000);
/// The keys that are locked.
pub(crate) const KEYS: [&str; 4] = ["locks/a", "locks/b", "locks/c", "locks/d"];
/// One in so many steps of a holder is its last: its lock is lost for a TTL, so few of them are enough.
const FALLS_SILENT: usize = 300;
/// Between two renewals of a session.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// The key that a lock protects.
pub(crate) fn guarded_by(lock: &str) -> String {
    format!("{lock}-guarded")
}

/// Whether a key belongs to this workload.
pub(crate) fn is_ours(key: &str) -> bool {
    key.starts_with("locks/")
}

struct Session {
    id: String,
    renewed: Instant,
}

struct Held {
    key: String,
    fence: u64,
}

/// One contender.
#[derive(Default)]
pub(super) struct Locks {
    session: Option<Session>,
    held: Option<Held>,
}

impl Locks {
    /// Goes on as somebody else; what the session holds is lost to it.
    fn fall_silent(&mut self) {
        *self = Self::default();
    }
}

impl Generator for Locks {
    fn next(&mut self, dice: &mut Dice) -> Step {
        let once = |call| Step { call, insistence: Insistence::default() };
        if self.held.is_some() && dice.below(FALLS_SILENT) == 0 {
            self.fall_silent();
        }
        let Some(session) = &mut self.session else { return once(Call::Open) };
        let id = session.id.clone();
        if session.renewed.elapsed() >= RENEW_EVERY {
            session.renewed = Instant::now();
            return once(Call::Renew { session: id });
        }
        once(match &self.held {
            Some(held) if dice.chance(10) => Call::Release { key: held.key.clone(), session: id },
            Some(held) => Call::Guarded { key: held.key.clone(), session: id, fence: held.fence },
            None => {
                let key = dice.pick(&KEYS).copied().unwrap_or(KEYS[0]).to_owned();
                Call::Acquire { key, session: id }
            }
        })
    }

    fn observe(&mut self, _: OpId, call: &Call, outcome: &Outcome) {
        match (call, outcome) {
            (Call::Open, Outcome::Ok(Answer::Opened { session })) => {
                self.session = Some(Session { id: session.clone(), renewed: Instant::now() });
            }
            (Call::Acquire { key, .. }, Outcome::Ok(Answer::Acquired { fence, .. })) => {
                self.held = Some(Held { key: key.clone(), fence: *fence });
            }
            (Call::Release { .. }, Outcome::Ok(_)) => self.held = None,
            // It may hold a lock of which it does not know, or not know whether it holds it.
            (Call::Acquire { .. } | Call::Release { .. }, Outcome::Info { .. }) => self.fall_silent(),
            // Nobody took the request; or the session is gone, and the next renewal says so.
            (Call::Acquire { .. }, Outcome::Fail { why, .. }) if why.contains("invalid session") => self.fall_silent(),
            (Call::Renew { .. } | Call::Guarded { .. }, Outcome::Fail { why, .. }) if is_lost(why) => {
                self.fall_silent()
            }
            _ => {}
        }
    }
}

/// Whether a refusal says that the session, or the lock, is lost, and not only that nobody leads.
fn is_lost(why: &str) -> bool {
    why.contains("not found") || why.contains("session check") || why.contains("doesn't exist")
}
