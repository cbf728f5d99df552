//! Durations as people type them: `250ms`, `60s`, `5m`, `1h`.

use std::time::Duration;

/// Reads a whole number with a unit.
///
/// # Errors
/// In words, when the unit is missing or unknown, or the value does not fit.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let rule = || format!("must be a whole number with a unit, such as 250ms, 60s, 5m or 1h; got {text:?}");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| rule())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(rule()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(rule)
}

/// The duration in whole milliseconds, as the HTTP API takes it. Longer than 584 million years is capped.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, expected_ms) in [("0ms", 0), ("250ms", 250), ("60s", 60_000), ("5m", 300_000), ("1h", 3_600_000)] {
            assert_eq!(parse_duration(text).map(millis), Ok(expected_ms), "{text}");
        }
        for text in ["", "10", "s", "-1s", "1.5s", "1 s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
