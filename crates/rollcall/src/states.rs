//! States of instances as people read them: in a cell of a table, in a line.

use std::time::{SystemTime, UNIX_EPOCH};

use rollcall_api::words::within;
pub(crate) use rollcall_api::words::{age, lifecycle_line, outlook, trend_word, why};
use rollcall_api::{Instance, LifecycleState, Overlay, State, StateCounts, Timestamp, Trend};

use crate::duration::millis;
pub(crate) use crate::narrative::health_tone as tone;
use crate::table::Cell;
use crate::terminal::Tone;

/// The time here. Ages are counted by it, so they are wrong by as much as this clock differs from the cluster's.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

/// Whether an operator took the instance out.
pub(crate) fn is_taken_out(instance: &Instance) -> bool {
    !matches!(instance.lifecycle, LifecycleState::Active)
}

/// The state, with what changes how the instance is used.
pub(crate) fn state_cell(instance: &Instance) -> Cell {
    let mut words = vec![instance.state.as_str()];
    words.extend(instance.overlays.iter().filter(|overlay| **overlay != Overlay::Unknown).map(|it| it.as_str()));
    // A node that sends no overlays.
    match instance.lifecycle {
        LifecycleState::Draining { .. } if !words.contains(&"draining") => words.push("draining"),
        LifecycleState::Quarantined { .. } if !words.contains(&"quarantined") => words.push("quarantined"),
        _ => {}
    }
    let tone = if is_taken_out(instance) { Tone::Warn } else { tone(instance.state) };
    Cell::toned(tone, words.join(","))
}

/// How many are in each state, worst first: `1 critical, 11 passing`.
pub(crate) fn states_cell(states: &StateCounts) -> Cell {
    let counts = [
        (states.critical, State::Critical),
        (states.warning, State::Warning),
        (states.unknown, State::Unknown),
        (states.starting, State::Starting),
        (states.passing, State::Passing),
    ];
    let present: Vec<_> = counts.into_iter().filter(|(count, _)| *count > 0).collect();
    let Some((_, worst)) = present.first() else { return None::<&str>.into() };
    let words: Vec<_> = present.iter().map(|(count, state)| format!("{count} {}", state.as_str())).collect();
    Cell::toned(tone(*worst), words.join(", "))
}

/// The score to two decimals.
pub(crate) fn score_cell(score: Option<f64>) -> Cell {
    score.map(|score| format!("{score:.2}")).into()
}

/// The trend, and how soon a failure is predicted.
pub(crate) fn trend_cell(instance: &Instance) -> Cell {
    let word = trend_word(instance.trend);
    match &instance.forecast {
        Some(forecast) => {
            let when = forecast.time_to_failure_ms.map_or_else(|| "later".to_owned(), within);
            Cell::toned(Tone::Warn, format!("{word}, {when}"))
        }
        None if instance.trend == Trend::Unknown => None::<&str>.into(),
        None => word.into(),
    }
}

/// How many see what.
pub(crate) fn seen_line(looking: Option<u16>, failing: Option<u16>) -> Option<String> {
    let (looking, failing) = (looking.filter(|looking| *looking > 0)?, failing.unwrap_or(0));
    let nodes = if looking == 1 { "node" } else { "nodes" };
    Some(match failing {
        0 => format!("by {looking} {nodes}, none of them sees it failing"),
        1 => format!("by {looking} {nodes}, 1 of them sees it failing"),
        failing => format!("by {looking} {nodes}, {failing} of them see it failing"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_worst_first_and_only_those_there_are() {
        let states = StateCounts { passing: 11, critical: 1, ..StateCounts::default() };
        assert_eq!(states_cell(&states), Cell::toned(Tone::Bad, "1 critical, 11 passing"));
        assert_eq!(states_cell(&StateCounts::default()), Cell::toned(Tone::Dim, "-"));
    }
}
