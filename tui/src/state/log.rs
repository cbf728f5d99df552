//! What happened, newest last, as far as it is kept.

use std::collections::VecDeque;

use rollcall_api::Timestamp;

use crate::verdict::Tone;

/// Events that are kept; older ones are in the history of the cluster.
const LENGTH: usize = 1_000;

/// One event as a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Noted {
    /// Counts all that were noted, from 0.
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
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: VecDeque<Noted>,
    noted: u64,
    /// While the list is held still: what was noted before is shown.
    held_at: Option<u64>,
}

impl Log {
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
