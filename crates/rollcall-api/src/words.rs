//! What the contract means in words for people: states, ages, causes and forecasts, as every program of ours says them.
//!
//! Here so that the command line and the dashboard use one vocabulary. Text that came from outside goes through
//! [`printable`] or [`one_line`] before it is shown: names and ids are opaque, and could otherwise move a cursor.

use std::borrow::Cow;

use crate::{
    Forecast, ForecastChange, ForecastSignal, Instance, LifecycleState, MemberChangeKind, Outlook, RaftRole, State,
    Timestamp, Trend, cause_phrase,
};

/// The cause of a state in which nobody sees anything else: who they are says more.
const OBSERVED: &str = "observed";

/// Text that is safe to show: control characters (but not line ends) are written as escapes.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| (c.is_control() && c != '\n') || is_reordering(c);
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

/// [`printable`] text that is one line, of at most `chars` characters before it is made safe, and `…` when it was longer.
pub fn one_line(text: &str, chars: usize) -> Cow<'_, str> {
    let (kept, is_cut) = match text.char_indices().nth(chars) {
        Some((end, _)) => (&text[..end], true),
        None => (text, false),
    };
    if !is_cut && !kept.contains('\n') {
        return printable(kept);
    }
    let mut line = printable(kept).replace('\n', "\\u{a}");
    line.extend(is_cut.then_some('…'));
    Cow::Owned(line)
}

/// Bidirectional marks and overrides, which make a line read differently from what it says.
const fn is_reordering(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How long ago, in the two largest units: `4m12s`, `3h5m`, `12d3h`. What is yet to come is `0s`.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    span(now.millis().saturating_sub(since.millis()) / 1_000)
}

/// So many seconds, in the two largest units.
pub fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(units.len() - 1);
    let (size, unit) = units[first];
    let mut text = format!("{}{unit}", seconds / size);
    if let Some((smaller, unit)) = units.get(first + 1).filter(|(smaller, _)| seconds % size >= *smaller) {
        text.push_str(&format!("{}{unit}", seconds % size / smaller));
    }
    text
}

/// The word for a trend.
pub const fn trend_word(trend: Trend) -> &'static str {
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
pub fn outlook(instance: &Instance) -> Option<String> {
    let forecast = instance.forecast.as_ref().filter(|_| instance.state != State::Critical)?;
    Some(predicted(forecast))
}

fn predicted(forecast: &Forecast) -> String {
    let numbers = [
        forecast.signal.and_then(signal_word),
        forecast.confidence.map(|confidence| format!("confidence {confidence:.2}")),
    ];
    let numbers: Vec<String> = numbers.into_iter().flatten().collect();
    let numbers = if numbers.is_empty() { String::new() } else { format!(" ({})", numbers.join(", ")) };
    format!("predicted to fail {}{numbers}", when(forecast))
}

/// What is expected, in one word; nothing is `recovered`.
pub const fn outlook_word(outlook: Option<Outlook>) -> &'static str {
    match outlook {
        Some(Outlook::PredictedFailure) => "predicted",
        Some(Outlook::Degrading) => "degrading",
        Some(Outlook::Unknown) => "unknown",
        None => "recovered",
    }
}

/// What is expected now, after the name of whom it is about: `predicted to fail in 21s to 34s (latency, confidence 0.83)`.
pub fn expected(change: &ForecastChange) -> String {
    let signal = change.signal.and_then(signal_word);
    match (change.outlook, &change.forecast) {
        (None, _) if change.member.is_some() => format!("fine again: {}", signal.unwrap_or_default()),
        (None, _) => "not expected to fail any more".to_owned(),
        (Some(_), Some(forecast)) if change.member.is_some() => node_outlook(forecast),
        (Some(Outlook::PredictedFailure), Some(forecast)) => predicted(forecast),
        (Some(_), _) => format!("getting worse{}", signal.map(|it| format!(": {it}")).unwrap_or_default()),
    }
}

/// When it is predicted, in words, from the best guess or the interval if there is one.
pub fn when(forecast: &Forecast) -> String {
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

/// What is expected of a node, in words: `disk full in about 40m (3.1 GB, fails at 268 MB, confidence 0.71)`.
pub fn node_outlook(forecast: &Forecast) -> String {
    let failure = match forecast.signal {
        Some(ForecastSignal::DiskFree) => "disk full",
        Some(ForecastSignal::Memory) => "memory full",
        Some(ForecastSignal::Fsync) => "log too slow for the disk",
        Some(ForecastSignal::ApplyLag) => "too far behind the log",
        Some(ForecastSignal::Lateness) => "too late for its own schedule",
        _ => "predicted to fail",
    };
    let numbers = [
        forecast.now.map(|now| amount(now, forecast.signal)),
        forecast.threshold.map(|threshold| format!("fails at {}", amount(threshold, forecast.signal))),
        forecast.confidence.map(|confidence| format!("confidence {confidence:.2}")),
    ];
    let numbers: Vec<_> = numbers.into_iter().flatten().collect();
    // An alarm stands for a while after its trend has ended.
    let when = if forecast.likely_ms.is_some() { when(forecast) } else { "if it goes on".to_owned() };
    if numbers.is_empty() { format!("{failure} {when}") } else { format!("{failure} {when} ({})", numbers.join(", ")) }
}

fn amount(value: f64, signal: Option<ForecastSignal>) -> String {
    match signal {
        Some(ForecastSignal::DiskFree) if value >= 1e9 => format!("{:.1} GB", value / 1e9),
        Some(ForecastSignal::DiskFree) => format!("{:.0} MB", value / 1e6),
        Some(ForecastSignal::Memory | ForecastSignal::Cpu | ForecastSignal::InFlight | ForecastSignal::ErrorRate) => {
            format!("{:.0} %", 100.0 * value)
        }
        _ => format!("{value:.0} ms"),
    }
}

/// The word for a signal whose trend predicts a failure: that of the API.
pub fn signal_word(signal: ForecastSignal) -> Option<String> {
    let word = serde_json::to_value(signal).ok()?.as_str()?.replace('_', " ");
    Some(word).filter(|_| signal != ForecastSignal::Unknown)
}

/// `within 30s`, of milliseconds.
pub fn within(time_ms: u64) -> String {
    format!("within {}", span(time_ms / 1_000))
}

/// Why the instance is in its state: what an operator decided, or what the observers see and how many they are.
pub fn why(instance: &Instance) -> String {
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

/// What an operator decided, when that was anything.
pub fn lifecycle_line(instance: &Instance) -> Option<String> {
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

/// `http=10.0.0.7:8080` of the default endpoint.
pub fn address(instance: &Instance) -> Option<String> {
    instance.endpoints.first().map(|endpoint| format!("{}={}", endpoint.name, authority(&endpoint.host, endpoint.port)))
}

/// `host:port`, with brackets around an IPv6 address.
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The time of day, UTC, to the millisecond.
pub fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    // YYYY-MM-DDTHH:MM:SS.mmmZ
    text.get(11..23).unwrap_or(&text).to_owned()
}

/// The word for a role.
pub const fn role_word(role: RaftRole) -> &'static str {
    match role {
        RaftRole::Leader => "leader",
        RaftRole::Follower => "follower",
        RaftRole::Learner => "learner",
        RaftRole::Candidate => "candidate",
        RaftRole::Unknown => "none",
    }
}

/// The word for what changed among the members.
pub const fn member_change_word(kind: MemberChangeKind) -> &'static str {
    match kind {
        MemberChangeKind::State => "state",
        MemberChangeKind::Forgotten => "forgotten",
        MemberChangeKind::Stalled => "stalled",
        MemberChangeKind::Isolated => "isolated",
        MemberChangeKind::Reconnected => "reconnected",
        MemberChangeKind::LinkFault => "link fault",
        MemberChangeKind::LinkRepaired => "link mended",
        MemberChangeKind::Accused => "accused",
        MemberChangeKind::NameShared => "name shared",
        MemberChangeKind::Unknown => "unknown",
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

    #[test]
    fn what_a_node_expects_of_itself_is_said_with_its_numbers() {
        let said = |forecast: serde_json::Value| node_outlook(&serde_json::from_value(forecast).unwrap());
        let disk = json!({
            "outlook": "predicted_failure", "signal": "disk_free", "now": 3.1e9, "threshold": 268_435_456.0,
            "likely_ms": 2_400_000, "confidence": 0.71
        });
        assert_eq!(said(disk), "disk full in about 40m (3.1 GB, fails at 268 MB, confidence 0.71)");
        let memory = json!({ "signal": "memory", "now": 0.825, "threshold": 0.95, "earliest_ms": 60_000, "likely_ms": 90_000,
            "latest_ms": 120_000 });
        assert_eq!(said(memory), "memory full in 1m to 2m (82 %, fails at 95 %)");
        assert_eq!(said(json!({ "signal": "fsync", "now": 90.4 })), "log too slow for the disk if it goes on (90 ms)");
        assert_eq!(said(json!({ "signal": "of_a_later_build" })), "predicted to fail if it goes on");
    }

    #[test]
    fn a_change_of_what_is_expected_is_said_after_the_name_of_whom_it_is_about() {
        let said = |change: serde_json::Value| expected(&serde_json::from_value(change).unwrap());
        let instance = |outlook: serde_json::Value| {
            json!({ "service": "web", "id": "web-1", "signal": "error_rate", "outlook": outlook,
                "forecast": { "likely_ms": 24_200, "signal": "error_rate", "confidence": 0.7 } })
        };
        assert_eq!(
            said(instance(json!("predicted_failure"))),
            "predicted to fail in about 24s (error rate, confidence 0.70)"
        );
        assert_eq!(said(instance(json!("degrading"))), "getting worse: error rate");
        assert_eq!(said(instance(json!(null))), "not expected to fail any more");
        let node = json!({ "member": "n1", "signal": "fsync", "outlook": "degrading", "forecast": { "signal": "fsync", "now": 90.4 } });
        assert_eq!(said(node), "log too slow for the disk if it goes on (90 ms)");
        assert_eq!(said(json!({ "member": "n1", "signal": "disk_free" })), "fine again: disk free");
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
    fn escapes_and_direction_overrides_are_shown_not_obeyed() {
        assert_eq!(printable("web/1:#ü"), "web/1:#ü");
        assert_eq!(printable("a\u{1b}[2J"), "a\\u{1b}[2J");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(printable("a\u{200f}b\u{61c}"), "a\\u{200f}b\\u{61c}");
    }

    #[test]
    fn a_line_stays_a_line_and_ends() {
        assert_eq!(one_line("web-1", 10), "web-1");
        assert_eq!(one_line("a\nb", 10), "a\\u{a}b");
        assert_eq!(one_line(&"x".repeat(10_000), 4), "xxxx…");
    }
}
