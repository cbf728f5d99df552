//! The keys, in one table: it says what a key does, and it is the help.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::state::View;

/// What a key can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Quit,
    Help,
    Back,
    Open,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Tab(usize),
    NextTab,
    Filter,
    Explain,
    Graph,
    Sort,
    Pause,
    Drain,
    Undrain,
    Quarantine,
    Deregister,
    Transfer,
}

impl Command {
    /// Whether it moves the cursor by more than a row.
    pub(crate) const fn is_far_step(self) -> bool {
        matches!(self, Self::PageUp | Self::PageDown | Self::First | Self::Last)
    }
}

/// Where a key means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Everywhere,
    /// Whatever has a list of many.
    Filtered,
    /// A service or an instance is under the cursor or open.
    Explained,
    Services,
    /// An instance is under the cursor or open.
    Instances,
    Cluster,
    Events,
}

/// One line of the table.
pub(crate) struct Binding {
    pub(crate) keys: &'static [KeyCode],
    /// The keys as the help names them.
    pub(crate) label: &'static str,
    pub(crate) scope: Scope,
    pub(crate) command: Command,
    pub(crate) help: &'static str,
    /// One word for the bar at the bottom; empty for what everybody tries anyway.
    pub(crate) bar: &'static str,
}

const fn bind(
    keys: &'static [KeyCode],
    label: &'static str,
    scope: Scope,
    command: Command,
    help: &'static str,
    bar: &'static str,
) -> Binding {
    Binding { keys, label, scope, command, help, bar }
}

/// Every key.
pub(crate) const BINDINGS: &[Binding] = &[
    bind(&[KeyCode::Char('1')], "1", Scope::Everywhere, Command::Tab(0), "overview: is all well?", ""),
    bind(&[KeyCode::Char('2')], "2", Scope::Everywhere, Command::Tab(1), "services", ""),
    bind(&[KeyCode::Char('3')], "3", Scope::Everywhere, Command::Tab(2), "cluster: members and Raft", ""),
    bind(&[KeyCode::Char('4')], "4", Scope::Everywhere, Command::Tab(3), "events", ""),
    bind(&[KeyCode::Tab], "Tab", Scope::Everywhere, Command::NextTab, "next view", ""),
    bind(
        &[KeyCode::Up, KeyCode::Char('k')],
        "↑ k",
        Scope::Everywhere,
        Command::Up,
        "row above; wheel of the mouse",
        "",
    ),
    bind(&[KeyCode::Down, KeyCode::Char('j')], "↓ j", Scope::Everywhere, Command::Down, "row below", ""),
    bind(&[KeyCode::PageUp], "PgUp", Scope::Everywhere, Command::PageUp, "ten rows up", ""),
    bind(&[KeyCode::PageDown], "PgDn", Scope::Everywhere, Command::PageDown, "ten rows down", ""),
    bind(&[KeyCode::Home], "Home", Scope::Everywhere, Command::First, "first row", ""),
    bind(&[KeyCode::End, KeyCode::Char('G')], "End G", Scope::Everywhere, Command::Last, "last row", ""),
    bind(
        &[KeyCode::Enter, KeyCode::Right, KeyCode::Char('l')],
        "Enter →",
        Scope::Everywhere,
        Command::Open,
        "open; or a second click",
        "open",
    ),
    bind(
        &[KeyCode::Esc, KeyCode::Left, KeyCode::Backspace, KeyCode::Char('h')],
        "Esc ←",
        Scope::Everywhere,
        Command::Back,
        "back; ends a filter first",
        "back",
    ),
    bind(&[KeyCode::Char('/')], "/", Scope::Filtered, Command::Filter, "show only what contains a text", "filter"),
    bind(
        &[KeyCode::Char('e')],
        "e",
        Scope::Explained,
        Command::Explain,
        "why instances get traffic, or do not",
        "explain",
    ),
    bind(&[KeyCode::Char('s')], "s", Scope::Services, Command::Sort, "sort by trouble, name, size or score", "sort"),
    bind(
        &[KeyCode::Char('p'), KeyCode::Char(' ')],
        "p",
        Scope::Events,
        Command::Pause,
        "hold the list still, or go on",
        "pause",
    ),
    bind(&[KeyCode::Char('d')], "d", Scope::Instances, Command::Drain, "drain the instance", "drain"),
    bind(&[KeyCode::Char('u')], "u", Scope::Instances, Command::Undrain, "end its drain or quarantine", "undo"),
    bind(&[KeyCode::Char('x')], "x", Scope::Instances, Command::Quarantine, "quarantine it for an hour", "quarantine"),
    bind(&[KeyCode::Char('D')], "D", Scope::Instances, Command::Deregister, "deregister it", "remove"),
    bind(
        &[KeyCode::Char('t')],
        "t",
        Scope::Cluster,
        Command::Transfer,
        "make the node under the cursor the leader",
        "transfer leadership",
    ),
    bind(&[KeyCode::Char('g')], "g", Scope::Everywhere, Command::Graph, "graph: which services need which", "graph"),
    bind(&[KeyCode::Char('?'), KeyCode::F(1)], "?", Scope::Everywhere, Command::Help, "this help", "help"),
    bind(&[KeyCode::Char('q')], "q", Scope::Everywhere, Command::Quit, "quit; so does Ctrl-C", "quit"),
];

impl Scope {
    /// Whether a key of this scope means something in `view`.
    pub(crate) fn covers(self, view: &View) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Filtered => !matches!(view, View::Overview | View::Instance(..) | View::Cluster),
            Self::Explained => {
                matches!(view, View::Overview | View::Services | View::Service(_) | View::Instance(..) | View::Graph)
            }
            Self::Services => matches!(view, View::Services),
            Self::Instances => {
                matches!(view, View::Service(_) | View::Instance(..) | View::Overview | View::Explain(_))
            }
            Self::Cluster => matches!(view, View::Cluster),
            Self::Events => matches!(view, View::Events),
        }
    }
}

/// What `key` means in `view`.
pub(crate) fn command(key: KeyEvent, view: &View) -> Option<Command> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(key.code, KeyCode::Char('c')).then_some(Command::Quit);
    }
    if key.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    let binding = BINDINGS.iter().find(|binding| binding.keys.contains(&key.code) && binding.scope.covers(view));
    binding.map(|binding| binding.command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_view() {
        let views = [
            View::Overview,
            View::Services,
            View::Service(String::new()),
            View::Instance(String::new(), String::new()),
            View::Explain(String::new()),
            View::Graph,
            View::Cluster,
            View::Events,
        ];
        for view in views {
            let mut keys: Vec<KeyCode> = Vec::new();
            for binding in BINDINGS.iter().filter(|binding| binding.scope.covers(&view)) {
                for key in binding.keys {
                    assert!(!keys.contains(key), "{key:?} in {view:?}");
                    keys.push(*key);
                }
            }
        }
    }

    #[test]
    fn letters_with_control_or_alt_are_no_commands_but_for_the_interrupt() {
        let press = |code, modifiers| command(KeyEvent::new(code, modifiers), &View::Service("web".into()));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Command::Quit));
        assert_eq!(press(KeyCode::Char('d'), KeyModifiers::CONTROL), None);
        assert_eq!(press(KeyCode::Char('d'), KeyModifiers::ALT), None);
        assert_eq!(press(KeyCode::Char('D'), KeyModifiers::SHIFT), Some(Command::Deregister));
    }
}
