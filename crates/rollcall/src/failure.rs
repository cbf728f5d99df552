//! What a command says when it cannot do what was asked, and the exit code that scripts see.
//!
//! A failure answers three questions in this order: what went wrong, why (the causes, outermost first), and what to do
//! about it. It is printed once, by `main`, to stderr.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;
use std::process::ExitCode;

use crate::terminal::{Paint, printable};

/// The exit codes of every command. They are a contract: scripts branch on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The reader of our output went away (`rollcall services | head -1`): nothing is wrong.
    Quiet = 0,
    /// Refused, not found, or failed at run time.
    Failed = 1,
    /// The command line, a configuration or an input file is wrong.
    Usage = 2,
    /// No node could be reached, or the cluster cannot answer now (no leader, shutting down, too busy).
    Unavailable = 3,
    /// Asked for a verdict: something is warning, starting or unknown. The answer was given.
    Warning = 4,
    /// Asked for a verdict: something is critical. The answer was given.
    Critical = 5,
    /// `rollcall lock`: somebody else holds the lock. The command was not run. 124 is what `timeout` says, and rarely what a
    /// command does.
    LockHeld = 124,
    /// `rollcall lock`: the lock was lost while the command ran, which was stopped.
    LockLost = 125,
    /// `rollcall lock`: the command cannot be started; as shells have it.
    NotStarted = 126,
    /// `rollcall lock`: there is no such command; as shells have it.
    NotFound = 127,
}

/// A command that did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// What a command that was run for the person exited with.
    passed_on: Option<u8>,
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// Refused, not found, or failed.
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    /// The person's input is wrong.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Nobody there to answer.
    pub(crate) fn unavailable(what: impl Into<String>) -> Self {
        Self::new(Exit::Unavailable, what)
    }

    /// An answer that was given and is told by the exit code too: nothing is printed for it.
    pub(crate) fn verdict(exit: Exit) -> Self {
        Self::new(exit, "the verdict is in the answer")
    }

    /// A command that was run for the person ended with this code: it said itself what there was to say.
    pub(crate) fn passed_on(code: u8) -> Self {
        Self { passed_on: Some(code), ..Self::new(Exit::Quiet, "the command told why") }
    }

    /// A failure of another class.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, passed_on: None, what: what.into(), causes: Vec::new(), hint: None }
    }

    /// Adds an error and its chain of sources as causes.
    pub(crate) fn because(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            // Some crates repeat the source in the message of the outer error: say it once.
            if !self.causes.last().is_some_and(|outer| outer.ends_with(&text)) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Adds one cause in words.
    pub(crate) fn cause(mut self, text: impl Into<String>) -> Self {
        self.causes.push(text.into());
        self
    }

    /// Says what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The class of the failure.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Whether everything was said already.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.exit, Exit::Quiet | Exit::Warning | Exit::Critical)
    }

    /// The process exit code.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.passed_on.unwrap_or(self.exit as u8))
    }

    /// The message as `main` prints it, ending in a newline.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let mut text = format!("{} {}\n", paint.bad("error:"), printable(&self.what));
        for cause in &self.causes {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  cause: {}", printable(cause));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "  try:   {}", printable(hint));
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// A failed write to stdout.
pub(crate) fn output_failure(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::new(Exit::Quiet, "the reader of the output is gone")
    } else {
        Failure::failed("cannot write the output").because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let io = io::Error::new(io::ErrorKind::PermissionDenied, "permission denied");
        let failure = Failure::failed("cannot write /secret").because(&io).hint("choose another --out");
        assert_eq!(
            failure.render(Paint::plain()),
            "error: cannot write /secret\n  cause: permission denied\n  try:   choose another --out\n"
        );
    }

    #[test]
    fn a_gone_reader_is_not_an_error() {
        assert_eq!(output_failure(&io::Error::from(io::ErrorKind::BrokenPipe)).exit(), Exit::Quiet);
        assert_eq!(output_failure(&io::Error::from(io::ErrorKind::StorageFull)).exit(), Exit::Failed);
    }

    #[test]
    fn control_characters_from_elsewhere_do_not_reach_the_terminal() {
        let text = Failure::failed("no instance \"a\u{1b}[2Jb\"").render(Paint::plain());
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
