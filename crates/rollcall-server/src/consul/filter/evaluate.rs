//! Whether an item satisfies an expression.

use serde_json::Value;

use super::parse::{Expression, Selector, Test};

/// Objects whose keys are their owners': that one is missing there is no mistake.
const FREE: [&str; 6] = ["Meta", "NodeMeta", "ServiceMeta", "TaggedAddresses", "ServiceTaggedAddresses", "Services"];

/// Fields that Consul leaves out of its answers when they are empty, or that only answers of others have: they are known, and empty.
const OMITTED: [&str; 9] = [
    "Kind",
    "SocketPath",
    "TaggedAddresses",
    "Namespace",
    "Partition",
    "PeerName",
    "ServiceKind",
    "ServiceSocketPath",
    "ServiceTaggedAddresses",
];
/// What they hold.
static EMPTY: Value = Value::String(String::new());

/// Whether `item` satisfies the expression; else the selector that leads to no field of such an item.
pub(super) fn holds<'e>(expression: &'e Expression, item: &Value) -> Result<bool, &'e Selector> {
    match expression {
        // All of them, so that a wrong selector is told whatever the others come to.
        Expression::All(all) => all.iter().try_fold(true, |held, it| Ok(holds(it, item)? && held)),
        Expression::Any(all) => all.iter().try_fold(false, |held, it| Ok(holds(it, item)? || held)),
        Expression::Not(inner) => Ok(!holds(inner, item)?),
        Expression::Holds(selector, test, is_positive) => {
            holds_at(&selector.0, item, false, &|value| passes(value, test) == *is_positive).map_err(|Nowhere| selector)
        }
    }
}

/// A selector leads to no field.
struct Nowhere;

/// Whether what `keys` lead to from `value` satisfies `wanted`; of a list, whether something in it does. With `is_free`, `value`
/// has the keys that its owner chose.
fn holds_at(keys: &[String], value: &Value, is_free: bool, wanted: &impl Fn(&Value) -> bool) -> Result<bool, Nowhere> {
    let Some((key, rest)) = keys.split_first() else { return Ok(wanted(value)) };
    if let Value::Array(items) = value {
        // All of them, as above.
        return items.iter().try_fold(false, |held, item| Ok(holds_at(keys, item, is_free, wanted)? || held));
    }
    let is_next_free = FREE.contains(&key.as_str());
    match value.get(key) {
        Some(inner) => holds_at(rest, inner, is_next_free, wanted),
        None if is_free => Ok(wanted(&Value::Null)),
        None if value.is_object() && OMITTED.contains(&key.as_str()) => holds_at(rest, &EMPTY, is_next_free, wanted),
        None => Err(Nowhere),
    }
}

fn passes(value: &Value, test: &Test) -> bool {
    match test {
        Test::Equals(text) => is(value, text),
        Test::Contains(text) => match value {
            Value::Array(items) => items.iter().any(|item| is(item, text)),
            Value::Object(entries) => entries.contains_key(text),
            Value::String(whole) => whole.contains(text.as_str()),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        },
        Test::IsEmpty => match value {
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Null => true,
            Value::Bool(_) | Value::Number(_) => false,
        },
        Test::Matches(pattern) => match value {
            Value::String(text) => pattern.is_match(text),
            _ => false,
        },
    }
}

/// Whether a value is what `text` says.
fn is(value: &Value, text: &str) -> bool {
    match value {
        Value::String(own) => own == text,
        Value::Bool(own) => match text {
            "true" | "True" | "TRUE" | "t" | "T" | "1" => *own,
            "false" | "False" | "FALSE" | "f" | "F" | "0" => !*own,
            _ => false,
        },
        Value::Number(own) => match (own.as_i64(), text.parse::<i64>()) {
            (Some(own), Ok(text)) => own == text,
            _ => own.as_f64().zip(text.parse::<f64>().ok()).is_some_and(|(own, text)| own == text),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}
