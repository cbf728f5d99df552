//! One screen as text, for scripts and documents.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use tokio::time::{Instant, interval, sleep_until};

use crate::connection::{Connection, Target};
use crate::draw::draw;
use crate::message::Message;
use crate::run::{Error, now};
use crate::state::{State, View};
use crate::theme::Look;
use crate::update::update;

/// Time between two looks whether everything is there.
const LOOK: Duration = Duration::from_millis(50);

/// What to draw.
#[derive(Debug, Clone)]
pub struct Once {
    /// The view.
    pub view: View,
    /// Columns and rows.
    pub size: (u16, u16),
    /// Longest wait for the cluster.
    pub patience: Duration,
}

/// Connects, waits until what the view shows is there, and returns the screen.
///
/// # Errors
/// When no node answers in time, or an address cannot be used.
pub async fn once(target: &Target, look: Look, wanted: Once) -> Result<String, Error> {
    let mut connection = Connection::open(target)?;
    let mut state = State::new(look, wanted.size, now());
    state.open(wanted.view);
    let deadline = Instant::now() + wanted.patience;
    let mut looks = interval(LOOK);
    while !state.is_complete() {
        let message = tokio::select! {
            message = connection.next() => message.ok_or(Error::Ended)?,
            _ = looks.tick() => Message::Tick(now()),
            () = sleep_until(deadline) => match state.trouble() {
                Some(trouble) if !state.link.is_connected => return Err(Error::Unreachable(trouble.to_owned())),
                _ if !state.link.is_connected => return Err(Error::Unreachable("not in time".to_owned())),
                // What is there is better than nothing.
                _ => break,
            },
        };
        for request in update(&mut state, message) {
            connection.ask(request);
        }
    }
    Ok(picture(&state))
}

/// The screen as text, without blanks at the ends of lines.
pub fn picture(state: &State) -> String {
    let (width, height) = state.size;
    // Nothing that a screen in memory does can fail.
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(frame) = terminal.draw(|frame| draw(state, frame));
    let mut text = String::new();
    for line in frame.buffer.content.chunks(usize::from(width.max(1))) {
        let line: String = line.iter().map(|cell| cell.symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
