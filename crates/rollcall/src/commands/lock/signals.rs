//! Signals that are passed on to the command.

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::failure::Failure;

/// What a shell adds to the number of the signal that ended a command.
pub(super) const SIGNAL_BASE: i32 = 128;

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Came(pub(super) Signal);

impl Came {
    /// What a process that ended by it exits with, as shells have it.
    pub(super) fn exit_code(self) -> u8 {
        u8::try_from(SIGNAL_BASE + self.0.as_raw()).unwrap_or(u8::MAX)
    }

    /// Whether a terminal sends it to everything that runs in front.
    pub(super) fn is_of_terminal(self) -> bool {
        matches!(self.0, Signal::INT | Signal::QUIT)
    }
}

/// The signals that people and supervisors send.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Stream,
    quit: Stream,
    terminate: Stream,
    hangup: Stream,
    user_1: Stream,
    user_2: Stream,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::failed("cannot listen for signals").because(&error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            user_1: listen(SignalKind::user_defined1())?,
            user_2: listen(SignalKind::user_defined2())?,
        })
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> Came {
        Came(tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.quit.recv() => Signal::QUIT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hangup.recv() => Signal::HUP,
            _ = self.user_1.recv() => Signal::USR1,
            _ = self.user_2.recv() => Signal::USR2,
        })
    }
}
