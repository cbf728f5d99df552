//! The loop between keyboard, connection and screen.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use rollcall_api::Timestamp;
use rollcall_api::client::ClientError;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::connection::{Connection, Target};
use crate::message::{Message, Request};
use crate::screen::Screen;
use crate::state::{State, View};
use crate::theme::Look;
use crate::update::update;

/// Least time between two frames: ten in a second.
const FRAME: Duration = Duration::from_millis(100);
/// Time between two ticks of the clock, by which ages grow.
const TICK: Duration = Duration::from_secs(1);
/// Messages that are taken before the next look at keyboard and screen.
const BATCH_MAX: usize = 256;

/// Why the dashboard could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The terminal refuses, or is gone.
    #[error("the terminal cannot be used")]
    Terminal(#[source] io::Error),
    /// An address or the actor cannot be used.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No node answered in time.
    #[error("no node answered: {0}")]
    Unreachable(String),
    /// The connection ended without a word.
    #[error("the connection ended")]
    Ended,
}

/// The time here. Ages are counted by it, so they are wrong by as much as this clock differs from the cluster's.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Shows the dashboard until the person quits or a signal ends it.
///
/// # Errors
/// When the terminal cannot be used or is lost, or an address cannot be used.
pub async fn run(target: &Target, look: Look, view: View) -> Result<(), Error> {
    let mut connection = Connection::open(target)?;
    let mut signals = Vec::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()] {
        signals.push(signal(kind).map_err(Error::Terminal)?);
    }
    let [terminate, interrupt, hangup, quit] = &mut signals[..] else { return Err(Error::Ended) };
    let mut screen = Screen::open().map_err(Error::Terminal)?;
    let mut state = State::new(look, screen.size().map_err(Error::Terminal)?, now());
    state.open(view);
    let mut input = EventStream::new();
    let mut clock = interval(TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut drawn_at, mut is_dirty) = (None::<Instant>, true);
    loop {
        let due = drawn_at.map_or_else(Instant::now, |at| at + FRAME);
        let message = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = quit.recv() => return Ok(()),
            () = sleep_until(due), if is_dirty => {
                screen.draw(&state).map_err(Error::Terminal)?;
                (drawn_at, is_dirty) = (Some(Instant::now()), false);
                continue;
            }
            event = input.next() => match event {
                Some(Ok(event)) => from_terminal(event),
                Some(Err(error)) => return Err(Error::Terminal(error)),
                None => return Err(Error::Terminal(io::ErrorKind::UnexpectedEof.into())),
            },
            message = connection.next() => Some(message.ok_or(Error::Ended)?),
            _ = clock.tick() => Some(Message::Tick(now())),
        };
        is_dirty = true;
        let mut next = message;
        for _ in 0..BATCH_MAX {
            let Some(message) = next else { break };
            for request in update(&mut state, message) {
                if request == Request::Quit {
                    return Ok(());
                }
                connection.ask(request);
            }
            next = connection.next_now();
        }
    }
}

fn from_terminal(event: Event) -> Option<Message> {
    match event {
        Event::Key(key) => Some(Message::Key(key)),
        Event::Mouse(mouse) => Some(Message::Mouse(mouse)),
        Event::Resize(width, height) => Some(Message::Resize(width, height)),
        Event::FocusGained | Event::FocusLost | Event::Paste(_) => None,
    }
}
