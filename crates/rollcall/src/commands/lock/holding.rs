//! The session that holds a lock, kept alive.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use rollcall_api::client::{Client, ClientError};
use rollcall_api::{Code, SESSION_NAME_BYTES_MAX, SessionRequest};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::duration::millis;
use crate::terminal::{printable, remark};

/// Longest pause after a renewal that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Longest name that is made of a command, in characters.
const DEFAULT_NAME_MAX: usize = 100;

/// Why a lock is lost.
#[derive(Debug)]
pub(super) enum Lost {
    /// The session ended.
    Ended,
    /// No renewal succeeded for its time to live.
    Silent { ttl: Duration, why: Option<String> },
    /// Somebody released or removed the key.
    Taken,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("the cluster ended the session"),
            Self::Silent { ttl, why } => {
                write!(f, "no renewal succeeded for {ttl:?}")?;
                why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
            }
            Self::Taken => f.write_str("somebody released or removed the key"),
        }
    }
}

/// An open session.
#[derive(Debug)]
pub(super) struct Holding {
    client: Client,
    session: String,
    name: String,
    ttl: Duration,
    renew_after: Duration,
    /// When the latest renewal that succeeded was sent.
    sent: Instant,
}

impl Holding {
    /// Opens a session.
    ///
    /// # Errors
    /// When the cluster refuses it or does not answer.
    pub(super) async fn open(
        client: Client,
        name: &str,
        ttl: Duration,
        lock_delay: Duration,
    ) -> Result<Self, ClientError> {
        let request = SessionRequest {
            name: Some(name.to_owned()),
            ttl_ms: millis(ttl).into(),
            lock_delay_ms: millis(lock_delay).into(),
            ..SessionRequest::default()
        };
        let sent = Instant::now();
        let opened = client.open_session(&request).await?;
        let renew_after = Duration::from_millis(opened.renew_after_ms.unwrap_or(millis(ttl / 3)));
        Ok(Self { client, session: opened.id, name: name.to_owned(), ttl, renew_after, sent })
    }

    /// The client, the id of the session, and its name.
    pub(super) fn parts(&self) -> (Client, String, String) {
        (self.client.clone(), self.session.clone(), self.name.clone())
    }

    /// Renews the session until it is lost; with `has_lock`, also until it holds nothing any more. May be dropped and begun
    /// again at any time.
    pub(super) async fn keep(&mut self, has_lock: bool) -> Lost {
        let mut next = self.sent + self.renew_after;
        let mut why = None;
        loop {
            let end = self.sent + self.ttl;
            sleep_until(next.min(end)).await;
            let sent = Instant::now();
            match timeout_at(end, self.client.renew_session(&self.session)).await {
                _ if Instant::now() >= end => return Lost::Silent { ttl: self.ttl, why },
                Ok(Ok(session)) if has_lock && session.keys_held == 0 => return Lost::Taken,
                Ok(Ok(_)) => {
                    self.sent = sent;
                    next = sent + self.renew_after;
                }
                Ok(Err(error)) if is_gone(&error) => return Lost::Ended,
                Ok(Err(error)) => {
                    next = Instant::now() + jittered(RETRY_PAUSE);
                    why = Some(error.to_string());
                }
                Err(_) => return Lost::Silent { ttl: self.ttl, why },
            }
        }
    }

    /// Releases the key.
    ///
    /// # Errors
    /// When it was lost meanwhile. That nobody answers is none: the lock ends with the session.
    pub(super) async fn release(&self, key: &str) -> Result<(), Lost> {
        match self.client.release_key(key, self.name.clone(), &self.session).await {
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) => Err(Lost::Ended),
            Err(error) if code(&error) == Some(Code::LockNotHeld) => Err(Lost::Taken),
            Err(error) => {
                let (key, error) = (printable(key).into_owned(), error.to_string());
                let ttl = self.ttl;
                remark(&format!("{key} is not released before its session ends, in {ttl:?}: {}\n", printable(&error)));
                Ok(())
            }
        }
    }

    /// Closes the session. One that cannot be closed ends by itself.
    pub(super) async fn close(&self) {
        if let Err(error) = self.client.close_session(&self.session).await {
            let (session, error) = (&self.session, error.to_string());
            remark(&format!("session {session} was not closed and ends in {:?}: {}\n", self.ttl, printable(&error)));
        }
    }
}

fn code(error: &ClientError) -> Option<Code> {
    error.problem().map(|problem| problem.code)
}

fn is_gone(error: &ClientError) -> bool {
    code(error) == Some(Code::SessionNotFound)
}

/// What others see of a holder that gave itself no name: its command.
pub(super) fn default_name(command: &[OsString]) -> String {
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    let mut name: String = words.join(" ").chars().take(DEFAULT_NAME_MAX).collect();
    while name.len() > SESSION_NAME_BYTES_MAX {
        name.pop();
    }
    name
}

/// Between half of `pause` and all of it, so that those who wait do not come together.
pub(super) fn jittered(pause: Duration) -> Duration {
    let share = getrandom::u32().unwrap_or(u32::MAX);
    pause / 2 + (pause / 2).mul_f64(f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_without_a_name_is_known_by_its_command() {
        assert_eq!(default_name(&["make".into(), "deploy".into()]), "make deploy");
        assert!(default_name(&["🦀".repeat(500).into()]).len() <= SESSION_NAME_BYTES_MAX);
    }
}
