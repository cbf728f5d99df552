//! Why a probe failed, in a class for the verdict and a sentence for people.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

use rollcall_health::check::{Answer, Failure};

/// A probe without a good answer.
#[derive(Debug)]
pub(crate) struct Failed {
    /// What it means for the verdict.
    pub(super) answer: Answer,
    /// What happened, for people.
    pub(crate) what: String,
    /// What may be tried instead, if there is time.
    pub(super) retry: Retry,
}

/// What else can be tried after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// Nothing: this is the target's answer.
    No,
    /// No connection came about, so another address of the name may do.
    OtherAddress,
    /// A connection that was kept turned out to be closed; a new one tells more.
    NewConnection,
}

impl Failed {
    pub(super) fn new(failure: Failure, what: impl Into<String>) -> Self {
        Self { answer: Answer::Failed(failure), what: what.into(), retry: Retry::No }
    }

    /// Nothing was asked: too many wait already.
    pub(super) fn put_off(what: impl Into<String>) -> Self {
        Self { answer: Answer::PutOff, what: what.into(), retry: Retry::No }
    }

    /// Whether it failed in this way.
    pub(super) fn is(&self, failure: Failure) -> bool {
        self.answer == Answer::Failed(failure)
    }

    /// The timeout passed during `stage`.
    pub(super) fn timeout(stage: &str) -> Self {
        Self::new(Failure::Timeout, format!("no answer within the timeout: {stage}"))
    }

    /// A connection did not come about, or broke.
    pub(super) fn io(during: &str, error: &(dyn Error + 'static)) -> Self {
        let failure = if is_lost(error) { Failure::Refused } else { Failure::Protocol };
        Self::new(failure, format!("{during}: {}", chain(error)))
    }

    pub(super) fn or(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }
}

/// Whether an I/O error lies at the bottom of `error` that is the network's, not one of contents.
fn is_lost(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput);
        }
        next = error.source();
    }
    false
}

/// `error` and what caused it, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let part = error.to_string();
        if !text.contains(&part) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {part}");
        }
        next = error.source();
    }
    text
}
