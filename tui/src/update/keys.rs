//! Keys and the mouse.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use rollcall_api::{LifecycleState, RaftRole};

use crate::keys::{Command, command};
use crate::layout;
use crate::message::{Action, Request};
use crate::state::{Place, Prompt, Row, State, View};
use crate::verdict::Tone;

/// Rows that a page key moves by.
const PAGE: isize = 10;
/// Longest filter.
const FILTER_MAX: usize = 64;

/// A key was pressed.
pub(super) fn press(state: &mut State, key: KeyEvent) -> Option<Request> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
        return Some(Request::Quit);
    }
    match state.prompt.take() {
        Some(Prompt::Help) => None,
        Some(Prompt::Filter) => {
            type_filter(state, key);
            None
        }
        Some(Prompt::Confirm(action)) => match key.code {
            KeyCode::Char('y' | 'Y') if !state.link.is_connected => {
                state.say(Tone::Bad, format!("no connection: {action} was not asked for"));
                None
            }
            KeyCode::Char('y' | 'Y') => {
                state.say(Tone::Plain, format!("asked to {action} …"));
                Some(Request::Act(action))
            }
            _ => {
                state.say(Tone::Dim, format!("did not {action}"));
                None
            }
        },
        None => command(key, &state.place.view).and_then(|command| obey(state, command)),
    }
}

fn type_filter(state: &mut State, key: KeyEvent) {
    state.prompt = Some(Prompt::Filter);
    let filter = &mut state.place.filter;
    match key.code {
        KeyCode::Char(letter) if filter.chars().count() < FILTER_MAX => filter.push(letter),
        KeyCode::Backspace => drop(filter.pop()),
        KeyCode::Esc => {
            filter.clear();
            state.prompt = None;
        }
        KeyCode::Enter | KeyCode::Up | KeyCode::Down => state.prompt = None,
        _ => {}
    }
    state.place.index = 0;
}

fn obey(state: &mut State, command: Command) -> Option<Request> {
    match command {
        Command::Quit => return Some(Request::Quit),
        Command::Help => state.prompt = Some(Prompt::Help),
        Command::Back => back(state),
        Command::Open => open_current(state),
        Command::Up => step(state, -1),
        Command::Down => step(state, 1),
        Command::PageUp => step(state, -PAGE),
        Command::PageDown => step(state, PAGE),
        Command::First => step(state, isize::MIN),
        Command::Last => step(state, isize::MAX),
        Command::Tab(index) => switch(state, index),
        Command::NextTab => switch(state, (state.place.view.tab() + 1) % layout::TABS.len()),
        Command::Filter => state.prompt = Some(Prompt::Filter),
        Command::Explain => explain(state),
        Command::Graph => state.open(View::Graph),
        Command::Sort => {
            state.sort = state.sort.next();
            state.say(Tone::Plain, format!("services {}", state.sort.word()));
        }
        Command::Pause => state.log.toggle_pause(),
        Command::Drain => ask(state, |service, id, _| Action::Drain(service, id)),
        Command::Quarantine => ask(state, |service, id, _| Action::Quarantine(service, id)),
        Command::Deregister => ask(state, |service, id, _| Action::Deregister(service, id)),
        Command::Undrain => ask(state, |service, id, lifecycle| match lifecycle {
            Some(LifecycleState::Quarantined { .. }) => Action::Release(service, id),
            _ => Action::Undrain(service, id),
        }),
        Command::Transfer => transfer(state),
    }
    None
}

/// Asks whether an action is meant, for the instance that is meant now: it stays that one, however the rows move.
fn ask(state: &mut State, action: impl Fn(String, String, Option<&LifecycleState>) -> Action) {
    let Some((service, id)) = state.target() else {
        return state.say(Tone::Dim, "no instance is under the cursor");
    };
    let lifecycle = state.catalog.seen(&service, &id).map(|seen| seen.instance.lifecycle.clone());
    state.prompt = Some(Prompt::Confirm(action(service, id, lifecycle.as_ref())));
}

fn transfer(state: &mut State) {
    let Some(Row::Node(name)) = state.current() else {
        return state.say(Tone::Dim, "no node is under the cursor");
    };
    let role = state.nodes.member(&name).map(|member| member.role);
    match role {
        Some(RaftRole::Leader) => state.say(Tone::Dim, "it leads already"),
        Some(RaftRole::Follower | RaftRole::Candidate) => {
            state.prompt = Some(Prompt::Confirm(Action::TransferLeader(name)));
        }
        _ => state.say(Tone::Dim, "it has no vote, so it cannot lead"),
    }
}

fn switch(state: &mut State, index: usize) {
    let tabs = layout::tabs();
    let Some((_, view)) = tabs.into_iter().nth(index) else { return };
    if view != state.place.view {
        state.back.clear();
        state.place = Place::new(view);
        state.want_view();
    }
}

fn back(state: &mut State) {
    if !state.place.filter.is_empty() {
        return state.place.filter.clear();
    }
    state.place = match (state.back.pop(), &state.place.view) {
        (Some(place), _) => place,
        (None, View::Instance(service, _)) => Place::new(View::Service(service.clone())),
        (None, View::Explain(service)) => Place::new(View::Service(service.clone())),
        (None, View::Service(_) | View::Graph) => Place::new(View::Services),
        (None, _) => Place::new(View::Overview),
    };
    state.want_view();
}

fn open_current(state: &mut State) {
    let view = match state.current() {
        Some(Row::Service(name)) => View::Service(state.catalog.spelled(name)),
        Some(Row::Instance(service, id)) => View::Instance(service, id),
        Some(Row::Event(serial)) => match state.log.get(serial).and_then(|noted| noted.about.clone()) {
            Some((service, id)) if state.catalog.seen(&service, &id).is_some() => View::Instance(service, id),
            _ => return,
        },
        Some(Row::Node(_)) | None => return,
    };
    if matches!(view, View::Instance(..)) {
        state.latencies.clear();
        state.detail = None;
    }
    state.open(view);
}

/// Opens the explanation of the service that is meant now, at the instance that is.
fn explain(state: &mut State) {
    let instance = state.target();
    let service = match (&instance, state.current(), &state.place.view) {
        (Some((service, _)), ..) | (None, _, View::Service(service)) => service.clone(),
        (None, Some(Row::Service(service)), _) => service,
        _ => return state.say(Tone::Dim, "no service is under the cursor"),
    };
    state.open(View::Explain(state.catalog.spelled(service)));
    state.place.cursor = instance.map(|(service, id)| Row::Instance(service, id));
}

fn step(state: &mut State, by: isize) {
    let rows = state.rows();
    let Some(at) = state.cursor_in(&rows) else { return };
    let index = at.saturating_add_signed(by).min(rows.len() - 1);
    put_cursor(state, &rows, index);
}

fn put_cursor(state: &mut State, rows: &[Row], index: usize) {
    state.place.index = index;
    state.place.cursor = rows.get(index).cloned();
}

/// The mouse was used: a click chooses, a click on what is chosen opens.
pub(super) fn mouse(state: &mut State, mouse: MouseEvent) {
    match mouse.kind {
        MouseEventKind::ScrollUp => step(state, -3),
        MouseEventKind::ScrollDown => step(state, 3),
        MouseEventKind::Down(MouseButton::Left) => click(state, mouse.column, mouse.row),
        MouseEventKind::Down(MouseButton::Right) => back(state),
        _ => {}
    }
}

fn click(state: &mut State, column: u16, line: u16) {
    if state.prompt == Some(Prompt::Help) {
        state.prompt = None;
        return;
    }
    if layout::is_tiny(state.size) {
        return;
    }
    let tabs = layout::tabs();
    if let Some(index) = tabs.iter().position(|(area, _)| area.contains((column, line).into())) {
        return switch(state, index);
    }
    let rows = state.rows();
    let Some(index) = layout::row_at(state, &rows, column, line) else { return };
    let was = state.place.cursor.clone();
    put_cursor(state, &rows, index);
    if was.is_some() && was == state.place.cursor {
        open_current(state);
    }
}
