//! When a process should stop: a signal, or the end of its parent.

use std::io::Read as _;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::failure::Failure;

/// Why a process was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Ctrl-C on its terminal.
    Interrupt,
    /// `kill` of its pid, or a supervisor such as systemd.
    Terminate,
    /// Standard input ended: whoever started it is gone or has let go.
    InputClosed,
}

impl Stop {
    /// The reason as a log line says it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::InputClosed => "the end of standard input",
        }
    }
}

/// Installs the signal handlers now and returns a future that ends when the process should stop.
///
/// With `with_stdin` it also ends when standard input closes. That is how the children of `rollcall dev` stop even when
/// their parent is killed with SIGKILL: the kernel closes the parent's end of the pipe. (Linux could also send a signal
/// on the parent's death, but asking for it needs `unsafe` and races with a parent that is already gone.)
///
/// # Errors
/// When the signal handlers or the watching thread cannot be set up.
pub(crate) fn stop_requested(with_stdin: bool) -> Result<impl Future<Output = Stop>, Failure> {
    let refused = |error: std::io::Error| Failure::failed("cannot listen for stop signals").because(&error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let closed = if with_stdin { Some(stdin_closed().map_err(refused)?) } else { None };
    Ok(async move {
        let input_closed = async {
            match closed {
                // An error means that the watching thread is gone, which only happens after it has read the end.
                Some(closed) => drop(closed.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => Stop::Interrupt,
            _ = terminate.recv() => Stop::Terminate,
            () = input_closed => Stop::InputClosed,
        }
    })
}

/// Reads standard input to its end on a thread of its own. (`tokio::io::stdin` would keep the runtime from ending: its
/// blocking read cannot be cancelled.)
fn stdin_closed() -> std::io::Result<oneshot::Receiver<()>> {
    let (tx, rx) = oneshot::channel();
    thread::Builder::new().name("stdin-watch".to_owned()).spawn(move || {
        let mut buffer = [0_u8; 64];
        let mut input = std::io::stdin().lock();
        while matches!(input.read(&mut buffer), Ok(count) if count > 0) {}
        // Nobody may be listening any more; then there is nothing to tell.
        let _ = tx.send(());
    })?;
    Ok(rx)
}
