//! Durations as Go writes and reads them.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

/// Units from long to short, in nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("h", 3_600_000_000_000),
    ("ms", 1_000_000),
    ("m", 60_000_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ns", 1),
    ("s", 1_000_000_000),
];

/// What is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("time: invalid duration {0:?}")]
pub(crate) struct InvalidDuration(String);

/// Reads what Go's `time.ParseDuration` reads: `30s`, `120000ms`, `15.0s`, `1m0s`, `1h2m3.5s`, `0`. Less than nothing is nothing.
///
/// # Errors
/// When it is no duration, or lasts for longer than Go can count (292 years).
pub(crate) fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration(text.chars().take(64).collect());
    let (rest, is_negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text.strip_prefix('+').unwrap_or(text), false),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let nanos = nanos(rest).ok_or_else(invalid)?;
    Ok(if is_negative { Duration::ZERO } else { Duration::from_nanos(nanos) })
}

/// The same, and bare whole numbers, which are nanoseconds: so a `time.Duration` of Go comes as JSON.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_or_nanos(text: &str) -> Result<Duration, InvalidDuration> {
    text.parse::<i64>().map_or_else(|_| parse(text), |nanos| Ok(Duration::from_nanos(nanos.try_into().unwrap_or(0))))
}

/// Nanoseconds in `1h2m3.5s`; `None` when it is empty, not such a text, or too long.
fn nanos(mut rest: &str) -> Option<u64> {
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, after) = rest.split_at(digits);
        let fraction = after.strip_prefix('.').map_or("", |after| {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            &after[..digits]
        });
        let after = if after.starts_with('.') { &after[1 + fraction.len()..] } else { after };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, unit_nanos) = UNITS.into_iter().find(|(unit, _)| after.starts_with(unit))?;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(unit_nanos)?)?.checked_add(part(fraction, unit_nanos))?;
        rest = &after[unit.len()..];
    }
    (total <= i64::MAX as u64).then_some(total)
}

/// `0.fraction` of a unit, cut to whole nanoseconds.
fn part(fraction: &str, unit_nanos: u64) -> u64 {
    let mut scale = unit_nanos;
    let digits = fraction.bytes().map(|digit| u64::from(digit - b'0'));
    let mut total = 0;
    // No unit has more than thirteen digits; what comes after them is less than a nanosecond.
    for digit in digits.take(13) {
        total += digit * scale / 10;
        scale /= 10;
    }
    total
}

/// Writes a duration as Go does: `10s`, `1m0s`, `1h0m0s`, `1.5s`, `100ms`.
pub(crate) struct Go(pub(crate) Duration);

impl fmt::Display for Go {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX);
        if nanos == 0 {
            return f.write_str("0s");
        }
        for (limit, unit, unit_nanos) in [(1_000, "ns", 1), (1_000_000, "µs", 1_000), (1_000_000_000, "ms", 1_000_000)]
        {
            if nanos < limit {
                return decimal(f, nanos, unit_nanos, unit);
            }
        }
        let minutes = nanos / 60_000_000_000;
        if minutes >= 60 {
            write!(f, "{}h", minutes / 60)?;
        }
        if minutes > 0 {
            write!(f, "{}m", minutes % 60)?;
        }
        decimal(f, nanos % 60_000_000_000, 1_000_000_000, "s")
    }
}

/// `nanos` in a unit, with as many decimals as are needed.
fn decimal(f: &mut fmt::Formatter<'_>, nanos: u64, unit_nanos: u64, unit: &str) -> fmt::Result {
    write!(f, "{}", nanos / unit_nanos)?;
    let rest = nanos % unit_nanos;
    if rest > 0 {
        let mut decimals = String::new();
        write!(decimals, "{rest:0width$}", width = unit_nanos.ilog10() as usize)?;
        write!(f, ".{}", decimals.trim_end_matches('0'))?;
    }
    f.write_str(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send_is_read() {
        for (text, millis) in [
            ("30s", 30_000),
            ("120000ms", 120_000),
            ("15.0s", 15_000),
            ("0.001s", 1),
            ("100.0s", 100_000),
            ("1m0s", 60_000),
            ("2.98s", 2_980),
            ("1ms", 1),
            ("1h2m3.5s", 3_723_500),
            (".5s", 500),
            ("5.s", 5_000),
            ("0", 0),
            ("-3s", 0),
            ("+1s", 1_000),
            ("1000us", 1),
            ("1000µs", 1),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_or_nanos("15000000000"), Ok(Duration::from_secs(15)));
        assert_eq!(parse_or_nanos("15s"), Ok(Duration::from_secs(15)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "10", "s", ".s", "1.5", "1d", "1s2", "--1s", "s1", "99999999999999h", "1 s", "1e3s", "٣s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for (millis, text) in [
            (0, "0s"),
            (1, "1ms"),
            (10_000, "10s"),
            (60_000, "1m0s"),
            (3_600_000, "1h0m0s"),
            (1_500, "1.5s"),
            (90_250, "1m30.25s"),
        ] {
            assert_eq!(Go(Duration::from_millis(millis)).to_string(), text);
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)));
        }
        assert_eq!(Go(Duration::from_nanos(1_500)).to_string(), "1.5µs");
    }
}
