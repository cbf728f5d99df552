//! Numbers in requests, kept as they came until a rule is at hand.
//!
//! Decoding straight into `u16` would answer `70000`, `-1`, `1.5` and `"80"` with four different sentences about Rust
//! types, and stop at the first. A [`Number`] accepts any JSON value; the conversion of the request judges it.

use rollcall_types::Invalid;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// A number of a request, not judged yet. `null` and a missing field are the same: absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Number(Value);

impl Number {
    /// Whether nothing was given.
    pub fn is_absent(&self) -> bool {
        self.0.is_null()
    }

    /// Judges the number by `rule`, a conversion that refuses `u64::MAX` as every rule of this API does.
    ///
    /// # Errors
    /// What is wrong, as in "must be a port, 1 to 65535; got -1".
    pub(crate) fn judge<T>(&self, rule: impl Fn(u64) -> Result<T, Invalid>) -> Result<T, String> {
        // The refusal of u64::MAX lends its words to what is not even a whole number.
        rule(self.0.as_u64().unwrap_or(u64::MAX)).map_err(|refused| must(&refused.rule, &self.0))
    }

    /// Judges a number with a fraction by `rule`, which refuses NaN.
    ///
    /// # Errors
    /// What is wrong, as in "must be a number from 0 to 1; got -1".
    pub(crate) fn judge_real<T>(&self, rule: impl Fn(f64) -> Result<T, Invalid>) -> Result<T, String> {
        rule(self.0.as_f64().unwrap_or(f64::NAN)).map_err(|refused| must(&refused.rule, &self.0))
    }

    /// `true` or `false`, where a number may be.
    pub(crate) fn flag(is_wanted: bool) -> Self {
        Self(Value::Bool(is_wanted))
    }

    /// The value, when it is `true` or `false` instead of a number.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        self.0.as_bool()
    }

    /// Judges the number as a decimal from 0 to `max` and returns millionths.
    ///
    /// # Errors
    /// What is wrong, as in "must be a number from 0 to 1 with at most 6 decimals; got -1".
    pub(crate) fn judge_micros(&self, max: u64) -> Result<u64, String> {
        self.0
            .as_number()
            .and_then(micros)
            .filter(|micros| *micros <= max * MICROS)
            .ok_or_else(|| must(&format!("be a number from 0 to {max} with at most 6 decimals"), &self.0))
    }
}

impl<N: Into<serde_json::Number>> From<N> for Number {
    fn from(number: N) -> Self {
        Self(Value::Number(number.into()))
    }
}

impl From<Micros> for Number {
    fn from(micros: Micros) -> Self {
        Self(serde_json::to_value(micros).unwrap_or_default())
    }
}

/// Largest accepted cost, in units: with six decimals it still fits the 53 bits that every JSON reader keeps exact.
pub const COST_MAX: u64 = 1_000_000_000;

const MICROS: u64 = 1_000_000;

/// A number in millionths, written as the decimal that people use: 2500 is `0.0025`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Micros(pub u64);

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(MICROS) {
            serializer.serialize_u64(self.0 / MICROS)
        } else {
            serializer.serialize_f64(self.0 as f64 / MICROS as f64)
        }
    }
}

/// Millionths from the decimal digits of `number`; multiplying a float would round 0.29 to 289999.
fn micros(number: &serde_json::Number) -> Option<u64> {
    let text = match number.as_u64() {
        Some(whole) => whole.to_string(),
        None => number.as_f64()?.to_string(),
    };
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    if decimals.len() > 6 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(MICROS)?;
    whole.checked_add(format!("{decimals:0<6}").parse().ok()?)
}

/// "must {rule}; got {value}", with the value in JSON and cut when it is long.
pub(crate) fn must(rule: &str, value: &Value) -> String {
    match value {
        Value::Null => format!("must be given, and must {rule}"),
        Value::String(text) => Invalid::new(rule.to_owned(), text).to_string(),
        other => format!("must {rule}; got {}", Invalid::new("", other).got),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cost(json: Value) -> Result<u64, String> {
        Number(json).judge_micros(COST_MAX)
    }

    #[test]
    fn costs_are_decimal_and_exact() {
        for (json, micros) in [
            (json!(0), 0),
            (json!(0.29), 290_000),
            (json!(0.000001), 1),
            (json!(12.5), 12_500_000),
            (json!(1_000_000_000), 1_000_000_000_000_000),
            (json!(999_999_999.999999), 999_999_999_999_999),
        ] {
            assert_eq!(cost(json.clone()), Ok(micros), "{json}");
            let written = serde_json::to_value(Micros(micros)).unwrap();
            assert_eq!(written.as_f64(), json.as_f64(), "{json} is written back");
        }
    }

    #[test]
    fn costs_below_zero_too_fine_or_too_large_are_refused() {
        for json in [json!(-1), json!(-0.5), json!(0.0000001), json!(1_000_000_001), json!(1e30), json!("1"), json!([])]
        {
            let refused = cost(json.clone()).unwrap_err();
            assert!(
                refused.starts_with("must be a number from 0 to 1000000000 with at most 6 decimals; got "),
                "{refused}"
            );
        }
    }
}
