//! Writing for people and for pipes: colour only where it helps, and no control characters from data.
//!
//! Ids and metadata are opaque UTF-8 chosen by whoever registers, so everything that is shown passes through
//! [`printable`]; otherwise an instance id could move the cursor of the operator's terminal.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write as _};

use clap::ValueEnum;
pub(crate) use rollcall_api::words::printable;

use crate::failure::{Failure, output_failure};

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set or TERM is `dumb`.
    #[default]
    Auto,
    /// Always, even into a file.
    Always,
    /// Never.
    Never,
}

impl ColorWhen {
    /// The decision for standard output.
    pub(crate) fn stdout(self) -> Paint {
        self.decide(io::stdout().is_terminal(), &Environment::read())
    }

    /// The decision for standard error.
    pub(crate) fn stderr(self) -> Paint {
        self.decide(io::stderr().is_terminal(), &Environment::read())
    }

    fn decide(self, is_terminal: bool, environment: &Environment) -> Paint {
        Paint {
            enabled: match self {
                Self::Always => true,
                Self::Never => false,
                Self::Auto => is_terminal && !environment.no_color && !environment.is_dumb,
            },
        }
    }
}

/// What the environment says about colour (<https://no-color.org>).
struct Environment {
    no_color: bool,
    is_dumb: bool,
}

impl Environment {
    fn read() -> Self {
        Self {
            no_color: env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
            is_dumb: env::var_os("TERM").is_some_and(|term| term == "dumb"),
        }
    }
}

/// The meaning of a piece of text; colour only repeats what the words already say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    /// Nothing to point out.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Look at it.
    Warn,
    /// Act on it.
    Bad,
    /// Secondary.
    Dim,
    /// A heading or a name.
    Strong,
}

/// Puts tones on text, or leaves it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    enabled: bool,
}

impl Paint {
    /// Whether text is coloured.
    pub(crate) const fn is_enabled(self) -> bool {
        self.enabled
    }

    /// No colour at all.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self { enabled: false }
    }

    /// The text in its tone.
    pub(crate) fn tone(self, tone: Tone, text: impl Display) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Dim => "2",
            Tone::Strong => "1",
            Tone::Plain => return text.to_string(),
        };
        if self.enabled { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }

    /// As it should be.
    pub(crate) fn good(self, text: impl Display) -> String {
        self.tone(Tone::Good, text)
    }

    /// Look at it.
    pub(crate) fn warn(self, text: impl Display) -> String {
        self.tone(Tone::Warn, text)
    }

    /// Act on it.
    pub(crate) fn bad(self, text: impl Display) -> String {
        self.tone(Tone::Bad, text)
    }

    /// Secondary.
    pub(crate) fn dim(self, text: impl Display) -> String {
        self.tone(Tone::Dim, text)
    }

    /// A heading or a name.
    pub(crate) fn strong(self, text: impl Display) -> String {
        self.tone(Tone::Strong, text)
    }
}

/// The word as a person can copy it into a POSIX shell.
pub(crate) fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Writes to standard output and flushes.
///
/// # Errors
/// [`crate::failure::Exit::Quiet`] when the reader went away.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// Writes raw bytes to standard output and flushes.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| output_failure(&error))
}

/// Writes a remark to standard error. A remark that cannot be written is dropped: there is nobody to tell.
pub(crate) fn remark(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_needs_a_terminal_and_no_objection() {
        let quiet = Environment { no_color: false, is_dumb: false };
        let no_color = Environment { no_color: true, is_dumb: false };
        let dumb = Environment { no_color: false, is_dumb: true };
        assert!(ColorWhen::Auto.decide(true, &quiet).enabled);
        assert!(!ColorWhen::Auto.decide(false, &quiet).enabled);
        assert!(!ColorWhen::Auto.decide(true, &no_color).enabled);
        assert!(!ColorWhen::Auto.decide(true, &dumb).enabled);
        assert!(ColorWhen::Always.decide(false, &no_color).enabled, "a flag outranks the environment");
        assert!(!ColorWhen::Never.decide(true, &quiet).enabled);
    }

    #[test]
    fn plain_paint_adds_nothing() {
        assert_eq!(Paint::plain().bad("critical"), "critical");
        assert_eq!(Paint { enabled: true }.bad("critical"), "\u{1b}[31mcritical\u{1b}[0m");
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("/a/b-1_2.c:d,e"), "/a/b-1_2.c:d,e");
    }
}
