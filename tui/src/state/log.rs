//! What happened, newest last, as far as it is kept.

use std::collections::VecDeque;

use rollcall_api::Timestamp;

use crate::verdict::Tone;

/// Events that are kept; older ones are in the history of the cluster.
const LENGTH: usize = 1_000;

/// Serial of the first event that comes; those before it are of the past.
const FIRST: u64 = LENGTH as u64;

/// One event as a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Noted {
    /// Counts all that were noted.
    pub(crate) serial: u64,
    pub(crate) at: Timestamp,
    pub(crate) tone: Tone,
    /// What happened, in a word.
    pub(crate) word: String,
    /// To what, and why.
    pub(crate) text: String,
    /// The instance it was about, by service and id.
    pub(crate) about: Option<(String, String)>,
}

/// The last events.
#[derive(Debug)]
pub(crate) struct Log {
    lines: VecDeque<Noted>,
    /// Serial of the next.
    noted: u64,
    /// While the list is held still: what was noted before is shown.
    held_at: Option<u64>,
    /// The revision of the first change that was noted as it happened.
    first: Option<u64>,
    /// The last revision of the past that was put before it; `None` while the past was not asked for.
    past: Option<u64>,
}

impl Default for Log {
    fn default() -> Self {
        Self { lines: VecDeque::new(), noted: FIRST, held_at: None, first: None, past: None }
    }
}

impl Log {
    /// Whether a change that is told now is to be noted: history may have told it already.
    pub(crate) fn is_new(&mut self, revision: u64) -> bool {
        let is_new = self.past.is_none_or(|past| revision > past);
        self.first.get_or_insert(revision);
        is_new
    }

    /// Whether what happened before is known.
    pub(crate) fn knows_past(&self) -> bool {
        self.past.is_some()
    }

    /// Puts what happened before the first event, newest first, before all others: each with its revision, and told as a line.
    pub(crate) fn begin_with(&mut self, past: impl IntoIterator<Item = (u64, Noted)>) {
        if self.past.is_some() {
            return;
        }
        self.past = Some(0);
        for (revision, noted) in past {
            let is_before = self.first.is_none_or(|first| revision < first);
            let front = self.lines.front().map_or(self.noted, |noted| noted.serial);
            if !is_before || self.lines.len() >= LENGTH || front == 0 {
                continue;
            }
            self.past = self.past.max(Some(revision));
            self.lines.push_front(Noted { serial: front - 1, ..noted });
        }
    }

    pub(crate) fn note(
        &mut self,
        at: Timestamp,
        tone: Tone,
        word: impl Into<String>,
        text: impl Into<String>,
        about: Option<(String, String)>,
    ) {
        if self.lines.len() == LENGTH {
            self.lines.pop_front();
        }
        let noted = Noted { serial: self.noted, at, tone, word: word.into(), text: text.into(), about };
        self.lines.push_back(noted);
        self.noted += 1;
    }

    /// Newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Noted> {
        self.lines.iter().rev()
    }

    /// Newest first, of those that are shown.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Noted> {
        let end = self.held_at.unwrap_or(u64::MAX);
        self.newest().filter(move |noted| noted.serial < end)
    }

    pub(crate) fn get(&self, serial: u64) -> Option<&Noted> {
        let first = self.lines.front()?.serial;
        self.lines.get(usize::try_from(serial.checked_sub(first)?).ok()?)
    }

    pub(crate) fn toggle_pause(&mut self) {
        self.held_at = if self.held_at.is_some() { None } else { Some(self.noted) };
    }

    /// How many came since the list is held still; `None` while it is not.
    pub(crate) fn held_back(&self) -> Option<u64> {
        self.held_at.map(|at| self.noted - at)
    }
}
