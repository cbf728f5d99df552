//! States of instances as people read them: in a cell of a table, in a line.

use std::time::{SystemTime, UNIX_EPOCH};

use rollcall_api::{
    Forecast, ForecastSignal, Instance, LifecycleState, Overlay, State, StateCounts, Timestamp, Trend, cause_phrase,
};

use crate::duration::millis;
pub(crate) use crate::narrative::health_tone as tone;
use crate::table::Cell;
use crate::terminal::Tone;

/// The cause of a state in which nobody sees anything else: who they are says more.
const OBSERVED: &str = "observed";

/// The time here. Ages are counted by it, so they are wrong by as much as this clock differs from the cluster's.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

/// How long ago, in the two largest units: `4m12s`, `3h5m`, `12d3h`. What is yet to come is `0s`.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    span(now.millis().saturating_sub(since.millis()) / 1_000)
}

fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(units.len() - 1);
    let (size, unit) = units[first];
    let mut text = format!("{}{unit}", seconds / size);
    if let Some((smaller, unit)) = units.get(first + 1).filter(|(smaller, _)| seconds % size >= *smaller) {
        text.push_str(&format!("{}{unit}", seconds % size / smaller));
    }
    text
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

/// The word for a trend.
pub(crate) const fn trend_word(trend: Trend) -> &'static str {
    match trend {
        Trend::Improving => "improving",
        Trend::Stable => "stable",
        Trend::Degrading => "degrading",
        Trend::Unknown => "unknown",
    }
}

/// The failure that is predicted, in words: `predicted to fail in 21s to 34s (latency, confidence 0.83)`.
///
/// Nothing of one that fails already.
pub(crate) fn outlook(instance: &Instance) -> Option<String> {
    let forecast = instance.forecast.as_ref().filter(|_| instance.state != State::Critical)?;
    let numbers = [
        forecast.signal.and_then(signal_word),
        forecast.confidence.map(|confidence| format!("confidence {confidence:.2}")),
    ];
    let numbers: Vec<String> = numbers.into_iter().flatten().collect();
    let numbers = if numbers.is_empty() { String::new() } else { format!(" ({})", numbers.join(", ")) };
    Some(format!("predicted to fail {}{numbers}", when(forecast)))
}

fn when(forecast: &Forecast) -> String {
    let seconds = |time_ms: u64| span(time_ms / 1_000);
    match (forecast.likely_ms, forecast.earliest_ms, forecast.latest_ms, forecast.time_to_failure_ms) {
        (_, Some(earliest), Some(latest), _) if seconds(earliest) != seconds(latest) => {
            format!("in {} to {}", seconds(earliest), seconds(latest))
        }
        (Some(likely), ..) => format!("in about {}", seconds(likely)),
        (.., Some(class)) => within(class),
        (.., None) => "in more than 10m".to_owned(),
    }
}

/// The word for a signal whose trend predicts a failure: that of the API.
fn signal_word(signal: ForecastSignal) -> Option<String> {
    let word = serde_json::to_value(signal).ok()?.as_str()?.replace('_', " ");
    Some(word).filter(|_| signal != ForecastSignal::Unknown)
}

fn within(time_ms: u64) -> String {
    format!("within {}", span(time_ms / 1_000))
}

/// Why the instance is in its state: what an operator decided, or what the observers see and how many they are.
pub(crate) fn why(instance: &Instance) -> String {
    if let Some(decided) = lifecycle_line(instance) {
        return decided;
    }
    let phrase = cause_phrase(&instance.cause);
    match (instance.failing, instance.looking) {
        (_, Some(1)) if instance.cause == OBSERVED => "seen so by 1 node".to_owned(),
        (_, Some(looking)) if instance.cause == OBSERVED && looking > 0 => format!("seen so by {looking} nodes"),
        (_, None | Some(0)) => phrase.to_owned(),
        (None | Some(0), Some(looking)) => format!("{phrase} ({looking})"),
        (Some(failing), Some(looking)) => format!("{phrase} ({failing} of {looking})"),
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

/// What an operator decided, when that was anything.
pub(crate) fn lifecycle_line(instance: &Instance) -> Option<String> {
    let because = |reason: &str| if reason.is_empty() { String::new() } else { format!(": {reason}") };
    match &instance.lifecycle {
        LifecycleState::Active => None,
        LifecycleState::Draining { deadline, deadline_passed, reason } => {
            let until = deadline.map(|deadline| match deadline_passed {
                true => format!(" (should be done since {deadline})"),
                false => format!(" (should be done by {deadline})"),
            });
            Some(format!("draining{}{}", because(reason), until.unwrap_or_default()))
        }
        LifecycleState::Quarantined { until, reason } => {
            Some(format!("quarantined{} (until {until})", because(reason)))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_age_is_told_in_its_two_largest_units() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (252, "4m12s"), (3_600, "1h"), (11_100, "3h5m"), (1_047_600, "12d3h")]
        {
            let (since, now) = (Timestamp::from_millis(5_000), Timestamp::from_millis(5_000 + seconds * 1_000));
            assert_eq!(age(since, now), text);
        }
        assert_eq!(age(Timestamp::from_millis(9), Timestamp::from_millis(5)), "0s");
    }

    #[track_caller]
    fn check_outlook(forecast: serde_json::Value, expected: &str) {
        let forecast: Forecast = serde_json::from_value(forecast).unwrap();
        assert_eq!(when(&forecast), expected);
    }

    #[test]
    fn a_failure_is_told_as_exactly_as_it_is_known() {
        check_outlook(json!({}), "in more than 10m");
        check_outlook(json!({ "time_to_failure_ms": 30_000 }), "within 30s");
        check_outlook(json!({ "time_to_failure_ms": 30_000, "likely_ms": 24_200 }), "in about 24s");
        let likely = |earliest: u64| json!({ "likely_ms": 24_200, "earliest_ms": earliest, "latest_ms": 31_000 });
        check_outlook(likely(21_000), "in 21s to 31s");
        check_outlook(likely(31_400), "in about 24s");
    }

    #[test]
    fn counts_are_told_worst_first_and_only_those_there_are() {
        let states = StateCounts { passing: 11, critical: 1, ..StateCounts::default() };
        assert_eq!(states_cell(&states), Cell::toned(Tone::Bad, "1 critical, 11 passing"));
        assert_eq!(states_cell(&StateCounts::default()), Cell::toned(Tone::Dim, "-"));
    }
}
