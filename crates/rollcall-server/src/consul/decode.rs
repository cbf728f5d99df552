//! JSON bodies as clients of Consul send them.
//!
//! Their keys come in any case and with underscores (`ServiceID`, `serviceid`, `service_id`); `null` stands for nothing of
//! whatever type; there may be a newline behind; the content type says nothing. [`from_json`] reads such a body into a type
//! whose fields are written as Consul writes them (`#[serde(rename_all = "PascalCase", default)]`, `ServiceID` by `rename`).
//! Keys of *maps* (metadata, headers) are free, and stay as they are. Unknown keys are passed over, as Consul does.
//!
//! The keys are matched where a struct is read, by the names that serde gives of its fields: so nothing has to say which
//! object is a struct. `#[serde(flatten)]` reads a map instead, and so must not be used in such types.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use super::failure::Failure;

/// Reads a body.
///
/// # Errors
/// 400, naming the field and the rule that it broke.
pub(crate) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("Request decode failed: the body is not JSON: {error}")))?;
    from_value(value)
}

/// Reads a part of a body.
///
/// # Errors
/// As [`from_json`].
pub(crate) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_path_to_error::deserialize(Lenient(value)).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!("{path}: ") };
        Failure::bad_request(format!("Request decode failed: {place}{}", error.inner()))
    })
}

/// Whether two keys are one, for Consul.
fn is_same(one: &str, other: &str) -> bool {
    let folded = |key: &'_ str| {
        key.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase()).collect::<Vec<_>>()
    };
    one == other || folded(one) == folded(other)
}

/// A value that is read leniently.
struct Lenient(Value);

type Error = serde_json::Error;

/// `null` is the empty value of whatever is asked for.
macro_rules! or_empty {
    ($($method:ident => $visit:ident($empty:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.0 {
                Value::Null => visitor.$visit($empty),
                value => value.$method(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = Error;

    or_empty! {
        deserialize_bool => visit_bool(false);
        deserialize_i8 => visit_i64(0);
        deserialize_i16 => visit_i64(0);
        deserialize_i32 => visit_i64(0);
        deserialize_i64 => visit_i64(0);
        deserialize_u8 => visit_u64(0);
        deserialize_u16 => visit_u64(0);
        deserialize_u32 => visit_u64(0);
        deserialize_u64 => visit_u64(0);
        deserialize_f32 => visit_f64(0.0);
        deserialize_f64 => visit_f64(0.0);
        deserialize_str => visit_str("");
        deserialize_string => visit_str("");
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Lenient))),
            Value::Object(entries) => visitor.visit_map(MapDeserializer::new(entries.into_iter().map(free))),
            value => value.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            value => visitor.visit_some(Lenient(value)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => Lenient(Value::Array(Vec::new())).deserialize_any(visitor),
            value => Lenient(value).deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => Lenient(Value::Object(Map::new())).deserialize_any(visitor),
            value => Lenient(value).deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let entries = match self.0 {
            Value::Null => Map::new(),
            Value::Object(entries) => entries,
            value => return value.deserialize_any(visitor),
        };
        // Of a key that comes in two spellings, the one that is spelt as it should be, else the last.
        let mut known: Vec<(&'static str, Lenient)> = Vec::new();
        for (key, value) in entries {
            let Some(field) = fields.iter().find(|field| is_same(field, &key)) else { continue };
            match known.iter_mut().find(|(taken, _)| taken == field) {
                Some((_, taken)) if key == *field => *taken = Lenient(value),
                Some(_) => {}
                None => known.push((field, Lenient(value))),
            }
        }
        visitor.visit_map(MapDeserializer::new(known.into_iter()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// An entry of a map, whose key is as it is.
fn free((key, value): (String, Value)) -> (String, Lenient) {
    (key, Lenient(value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Service {
        #[serde(rename = "ID")]
        id: String,
        name: String,
        port: u16,
        tags: Vec<String>,
        meta: BTreeMap<String, String>,
        check: Option<Check>,
        checks: Vec<Check>,
        enable_tag_override: bool,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Check {
        #[serde(rename = "TTL")]
        ttl: String,
        #[serde(rename = "ServiceID")]
        service_id: String,
    }

    fn read(body: &str) -> Result<Service, Failure> {
        from_json(body.as_bytes())
    }

    #[test]
    fn keys_of_structs_come_in_any_spelling_and_those_of_maps_stay() {
        let expected = Service {
            id: "web-1".to_owned(),
            name: "web".to_owned(),
            port: 80,
            meta: BTreeMap::from([("My_Key".to_owned(), "v".to_owned())]),
            checks: vec![Check { ttl: "10s".to_owned(), service_id: "x".to_owned() }],
            enable_tag_override: true,
            ..Service::default()
        };
        for body in [
            r#"{"ID":"web-1","Name":"web","Port":80,"Meta":{"My_Key":"v"},"Checks":[{"TTL":"10s","ServiceID":"x"}],"EnableTagOverride":true}"#,
            r#"{"id":"web-1","name":"web","port":80,"meta":{"My_Key":"v"},"checks":[{"ttl":"10s","service_id":"x"}],"enable_tag_override":true}"#,
            r#"{"Id":"web-1","NAME":"web","port":80,"Meta":{"My_Key":"v"},"checks":[{"Ttl":"10s","serviceid":"x"}],"enabletagoverride":true,"More":1}"#,
        ] {
            assert_eq!(read(body).unwrap(), expected, "{body}");
        }
    }

    #[test]
    fn null_is_nothing_and_a_newline_behind_is_fine() {
        let body = b"{\"Name\":null,\"Port\":null,\"Tags\":null,\"Meta\":null,\"Check\":null,\"Checks\":null,\"EnableTagOverride\":null}\n";
        assert_eq!(from_json::<Service>(body).unwrap(), Service::default());
        assert_eq!(read("null").unwrap(), Service::default());
    }

    #[test]
    fn what_cannot_be_read_names_the_field() {
        let failure = read(r#"{"Checks":[{"TTL":5}]}"#).unwrap_err();
        assert_eq!(failure.status, 400);
        assert!(failure.text.contains("Checks[0].TTL") && failure.text.contains("string"), "{}", failure.text);
        assert!(read("{").unwrap_err().text.contains("not JSON"));
        assert!(read("[]").is_err() || read("[]").unwrap() == Service::default());
        let deep = "[".repeat(100_000);
        assert_eq!(read(&deep).unwrap_err().status, 400);
    }

    #[test]
    fn of_two_spellings_the_right_one_counts() {
        assert_eq!(read(r#"{"id":"a","ID":"b"}"#).unwrap().id, "b");
        assert_eq!(read(r#"{"ID":"b","id":"a"}"#).unwrap().id, "b");
    }
}
