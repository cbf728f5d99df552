//! Bytes to requests. Errors name the field and the rule, never a Rust type.
//!
//! serde reports a wrong JSON type or an unknown field as a sentence; [`serde_path_to_error`] adds where. The sentence is
//! reworded here, by its fixed beginnings (serde's `de::Error` default methods), and passed on as it is when it has none
//! of them. Depth is limited to 128 by `serde_json`.

use std::fmt;
use std::marker::PhantomData;

use percent_encoding::percent_decode_str;
use rollcall_types::JsonText;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::error::Category;

use crate::{Code, FieldError, Problem};

/// A body or a query that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON at all.
    #[error("the body is not valid JSON: {0}")]
    NotJson(String),
    /// JSON of another shape, or values that break rules.
    #[error("{} of the body must be mended; the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Fields(Vec<FieldError>),
    /// A query string with unknown parameters or wrong values.
    #[error("the query cannot be read: {0}")]
    Query(FieldError),
}

impl From<Vec<FieldError>> for DecodeError {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::Fields(errors)
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::NotJson(_) => Problem::new(Code::InvalidBody, error.to_string()),
            DecodeError::Fields(errors) => Problem::fields(errors),
            DecodeError::Query(error) => {
                let detail = error.to_string();
                Problem { errors: vec![error], ..Problem::new(Code::InvalidParameter, detail) }
            }
        }
    }
}

/// Reads a JSON body that must be an object.
///
/// # Errors
/// [`DecodeError::NotJson`], or [`DecodeError::Fields`] with the first field whose type is wrong or that is unknown.
pub fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    // Keeping track of the path costs more than reading a short body, so only a body that is wrong is read with it.
    if let Ok(Object(value)) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let Object(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        translate(&path, &error.into_inner())
    })?;
    json.end().map_err(|error| translate(".", &error))?;
    Ok(value)
}

/// Reads a request from JSON that is already parsed.
///
/// # Errors
/// [`DecodeError::Fields`] with the first field whose type is wrong or that is unknown.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, DecodeError> {
    let decoded = serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        translate(&path, &error.into_inner())
    });
    decoded.map(|Object(value)| value)
}

/// A value that is read from a JSON object only. serde's derived structs take an array of their fields as well, in an
/// order that is nobody's contract.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, fields: A) -> Result<Object<T>, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(fields)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// An optional field that is an object when it is there.
pub(crate) fn optional_object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<Object<T>>::deserialize(deserializer).map(|object| object.map(|Object(value)| value))
}

/// A list of objects; `null` is the same as left out.
pub(crate) fn objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let objects = Option::<Vec<Object<T>>>::deserialize(deserializer)?;
    Ok(objects.unwrap_or_default().into_iter().map(|Object(value)| value).collect())
}

/// Reads the query part of a URL (`a=1&b=2`, percent-encoded).
///
/// # Errors
/// [`DecodeError::Query`] with the parameter and the rule.
pub fn from_query<T: DeserializeOwned>(query: &str) -> Result<T, DecodeError> {
    for pair in query.split('&') {
        if percent_decode_str(pair).decode_utf8().is_err() {
            let name = pair.split_once('=').map_or(pair, |(name, _)| name);
            return Err(DecodeError::Query(FieldError::new(name, "must be percent-encoded UTF-8")));
        }
    }
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let path = error.path().to_string();
        DecodeError::Query(reword(&path, &error.into_inner().to_string()))
    })
}

/// Reads any JSON document and keeps its text as it was written.
///
/// # Errors
/// [`DecodeError::NotJson`] when it is not JSON or nested deeper than 128, [`DecodeError::Fields`] when it is too long.
pub fn document(body: &[u8]) -> Result<JsonText, DecodeError> {
    serde_json::from_slice::<Value>(body).map_err(|error| DecodeError::NotJson(error.to_string()))?;
    let text = std::str::from_utf8(body).map_err(|error| DecodeError::NotJson(error.to_string()))?;
    let kept = JsonText::try_from(text.trim_matches([' ', '\t', '\r', '\n']));
    kept.map_err(|_| {
        let rule = format!("must {}; got {} bytes", JsonText::RULE, text.len());
        DecodeError::Fields(vec![FieldError::new(".", rule)])
    })
}

fn translate(path: &str, error: &serde_json::Error) -> DecodeError {
    let sentence = error.to_string();
    // `1e999` is JSON, but no number that a program can hold: the field's fault, not the syntax's.
    if error.classify() == Category::Data || sentence.starts_with("number out of range") {
        let place = sentence.rfind(" at line ").unwrap_or(sentence.len());
        DecodeError::Fields(vec![reword(path, &sentence[..place])])
    } else {
        DecodeError::NotJson(sentence)
    }
}

/// serde's sentence about the thing at `path` in the words of this API.
fn reword(path: &str, sentence: &str) -> FieldError {
    if let Some((name, known)) = named(sentence, "unknown field `") {
        let known = known.trim_start_matches(", ").replace('`', "\"");
        return FieldError::new(member(path, name), format!("is not known here; {known}"));
    }
    if let Some((name, _)) = named(sentence, "missing field `") {
        return FieldError::new(member(path, name), "must be given");
    }
    if let Some((name, _)) = named(sentence, "duplicate field `") {
        return FieldError::new(member(path, name), "must be given only once");
    }
    let rule = match sentence.strip_prefix("invalid type: ").or(sentence.strip_prefix("invalid value: ")) {
        Some(mismatch) => match mismatch.rsplit_once(", expected ") {
            Some((got, expected)) => format!("must be {}; got {}", plain(expected), excerpt(&got.replace('`', ""))),
            None => format!("must be valid: {mismatch}"),
        },
        None if sentence.starts_with("number out of range") => "must be a number of 64 bits".to_owned(),
        None => format!("must be valid: {}", excerpt(sentence)),
    };
    FieldError::new(path, rule)
}

/// `name` and what follows in a sentence like "missing field `name` …".
fn named<'s>(sentence: &'s str, beginning: &str) -> Option<(&'s str, &'s str)> {
    sentence.strip_prefix(beginning)?.split_once('`')
}

/// Path of a member; serde_path_to_error includes an unknown key in some containers and not in others.
fn member(path: &str, name: &str) -> String {
    if path == name || path.ends_with(&format!(".{name}")) {
        path.to_owned()
    } else if matches!(path, "." | "" | "?") {
        name.to_owned()
    } else {
        format!("{}.{name}", path.trim_end_matches(".?"))
    }
}

fn plain(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "a map" => "an object",
        other => other,
    }
}

fn excerpt(text: &str) -> String {
    const KEPT: usize = 120;
    match text.char_indices().nth(KEPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
