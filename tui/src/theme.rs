//! How things look: a symbol for each state, a colour that repeats what symbol and word already say.
//!
//! Cyan, yellow and light red differ in brightness as well as in hue, so they stay apart for those who see no red or no
//! green. With `NO_COLOR` only bold, dim and reversed text are used.

use ratatui::style::{Color, Modifier, Style};
use rollcall_api::{MemberState, State as HealthState};

use crate::verdict::Tone;

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// Only ASCII characters.
    pub is_ascii: bool,
    /// Whether there is colour.
    pub has_color: bool,
}

impl Look {
    /// The style of a tone.
    pub(crate) fn style(self, tone: Tone) -> Style {
        let style = match tone {
            Tone::Plain | Tone::Good => Style::new(),
            Tone::Warn | Tone::Bad => Style::new().add_modifier(Modifier::BOLD),
            Tone::Dim => Style::new().add_modifier(Modifier::DIM),
        };
        let color = match tone {
            Tone::Good => Color::Cyan,
            Tone::Warn => Color::Yellow,
            Tone::Bad => Color::LightRed,
            Tone::Plain | Tone::Dim => return style,
        };
        if self.has_color { style.fg(color) } else { style }
    }

    /// The row under the cursor.
    pub(crate) fn cursor() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The symbol before a word of this tone.
    pub(crate) const fn symbol(self, tone: Tone) -> &'static str {
        match (tone, self.is_ascii) {
            (Tone::Good, false) => "✓",
            (Tone::Good, true) => "+",
            (Tone::Warn, _) => "!",
            (Tone::Bad, false) => "✗",
            (Tone::Bad, true) => "x",
            (Tone::Plain | Tone::Dim, false) => "·",
            (Tone::Plain | Tone::Dim, true) => ".",
        }
    }

    /// `unicode`, or what stands for it.
    pub(crate) const fn pick(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.is_ascii { ascii } else { unicode }
    }

    /// Eight heights of a bar, lowest first.
    pub(crate) const fn bars(self) -> [char; 8] {
        if self.is_ascii {
            ['_', '.', '-', '-', '=', '=', '+', '#']
        } else {
            ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
        }
    }
}

/// The tone of a state.
pub(crate) const fn health_tone(state: HealthState) -> Tone {
    match state {
        HealthState::Passing => Tone::Good,
        HealthState::Warning => Tone::Warn,
        HealthState::Critical => Tone::Bad,
        HealthState::Starting | HealthState::Unknown => Tone::Dim,
    }
}

/// The tone of a member's state.
pub(crate) const fn member_tone(state: MemberState) -> Tone {
    match state {
        MemberState::Alive => Tone::Good,
        MemberState::Suspect => Tone::Warn,
        MemberState::Dead => Tone::Bad,
        MemberState::Left | MemberState::Unknown => Tone::Dim,
    }
}
