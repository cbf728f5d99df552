//! Validated strings: names people choose, and opaque keys they bring.
//!
//! All of them share one representation (`EcoString`: 16 bytes, up to 15 of text in place, more in one shared allocation;
//! cheap to clone) and one way to be made (`TryFrom<&str>`, `FromStr`, `Deserialize`), so that a rule is stated once, in
//! the macro call that defines the type. Most of what a catalogue holds is shorter than 16 bytes: zones, tags, addresses.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::str::FromStr;

use ecow::EcoString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Invalid;

/// Defines a validated string type with its rule, its length bounds in bytes and its per-character predicate.
macro_rules! validated_string {
    ($(#[$doc:meta])* $name:ident, $min:literal..=$max:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(EcoString);

        impl $name {
            /// Longest accepted value, in bytes.
            pub const MAX_BYTES: usize = $max;
            /// The rule that every value obeys, worded to follow "must".
            pub const RULE: &'static str = $rule;

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Invalid;

            fn try_from(text: &str) -> Result<Self, Invalid> {
                if ($min..=$max).contains(&text.len()) && is_made_of(text, $valid) {
                    Ok(Self(EcoString::from(text)))
                } else {
                    Err(Invalid::new($rule, text))
                }
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::try_from(text)
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_text(deserializer)
            }
        }
    };
}

/// Reads a string that `T` checks, without copying it first.
pub(crate) fn deserialize_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: for<'a> TryFrom<&'a str, Error = Invalid>,
    D: Deserializer<'de>,
{
    struct Visitor<T>(PhantomData<T>);

    impl<T: for<'a> TryFrom<&'a str, Error = Invalid>> de::Visitor<'_> for Visitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            T::try_from(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Visitor(PhantomData))
}

/// Whether all characters are valid. Nearly all text is ASCII, and a start reads millions of names: then bytes are characters.
fn is_made_of(text: &str, valid: impl Fn(char) -> bool) -> bool {
    if text.is_ascii() { text.bytes().all(|byte| valid(char::from(byte))) } else { text.chars().all(valid) }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

fn is_dotted_word(c: char) -> bool {
    is_word(c) || matches!(c, '.' | ':' | '/')
}

fn is_printable(c: char) -> bool {
    !c.is_control()
}

validated_string!(
    /// Name of a service, as callers ask for it. Case is kept but does not distinguish: see [`ServiceKey`].
    ServiceName, 1..=63, "be 1 to 63 letters, digits, '-' or '_'", is_word
);
validated_string!(
    /// Id of an instance within its service: opaque, chosen by whoever registers it.
    InstanceId, 1..=128, "be 1 to 128 bytes of UTF-8 without control characters", is_printable
);
validated_string!(
    /// Something a service can do, and another can require: `translate`, `image.resize`.
    CapabilityName, 1..=63, "be 1 to 63 letters, digits, '-', '_', '.', ':' or '/'", is_dotted_word
);
validated_string!(
    /// A word attached to an instance or a service, to select by.
    Tag, 1..=255, "be 1 to 255 bytes of UTF-8 without control characters", is_printable
);
validated_string!(
    /// A zone, a region, or the name of an endpoint.
    Label, 1..=63, "be 1 to 63 letters, digits, '-', '_', '.', ':' or '/'", is_dotted_word
);
validated_string!(
    /// Name of a node of the cluster; unique among its members.
    NodeName, 1..=63, "be 1 to 63 letters, digits, '-' or '_'", is_word
);
validated_string!(
    /// Application protocol of an endpoint: `http`, `grpc`, `h2c`, `tcp`.
    Protocol, 1..=32, "be 1 to 32 letters, digits, '.', '+' or '-'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-')
);
validated_string!(
    /// Id of a check within its instance: opaque, chosen by whoever registers it. Long enough to hold an [`InstanceId`] and a
    /// few words, as some callers make it of.
    CheckId, 1..=200, "be 1 to 200 bytes of UTF-8 without control characters", is_printable
);
validated_string!(
    /// Version of a service or of an instance, as its owner writes it (semantic versions sort best).
    Version, 1..=64, "be 1 to 64 printable ASCII characters without spaces", |c| c.is_ascii_graphic()
);
validated_string!(
    /// Key of a metadata entry.
    MetadataKey, 1..=128, "be 1 to 128 bytes of UTF-8 without control characters", is_printable
);
validated_string!(
    /// Value of a metadata entry; may be empty.
    MetadataValue, 0..=4096, "be at most 4096 bytes of UTF-8", |_| true
);
validated_string!(
    /// Free text for people: a description, an owner, a link.
    Text, 0..=4096, "be at most 4096 bytes of UTF-8", |_| true
);
impl Default for Text {
    /// The empty text.
    fn default() -> Self {
        Self(EcoString::new())
    }
}

validated_string!(
    /// A JSON document as text: a configuration, a schema. Whether it is JSON is checked where it enters.
    JsonText, 1..=262_144, "be JSON of at most 262144 bytes", |_| true
);
validated_string!(
    /// Key in the key-value space: opaque UTF-8; `/` has no meaning to the store itself.
    KvKey, 1..=512, "be 1 to 512 bytes of UTF-8", |_| true
);
validated_string!(
    /// Who asked for a change, as history shows it: a name the client gave, or its address.
    ActorName, 1..=128, "be 1 to 128 bytes of UTF-8 without control characters", is_printable
);

/// A service name folded to lower case: the key under which a service is stored.
///
/// Two names that differ only in case are one key, so a cluster cannot hold both `Billing` and `billing`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ServiceKey(EcoString);

impl ServiceKey {
    /// The folded text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&ServiceName> for ServiceKey {
    fn from(name: &ServiceName) -> Self {
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            Self(name.0.chars().map(|c| c.to_ascii_lowercase()).collect())
        } else {
            Self(name.0.clone())
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Borrow<str> for ServiceKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_names_take_what_real_catalogues_hold() {
        for name in ["data_analyst_agent", "web", "A1-b_2", &"x".repeat(63)] {
            assert!(ServiceName::try_from(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn service_names_refuse_what_breaks_the_rule_and_name_it() {
        for name in ["", "a b", "a.b", "naïve", "a/b", &"x".repeat(64)] {
            let refused = ServiceName::try_from(name).expect_err(name);
            assert!(refused.to_string().starts_with("must be 1 to 63 letters"), "{refused}");
        }
    }

    #[test]
    fn instance_ids_are_opaque() {
        for id in ["10.0.0.7:8080", "a/b#c", "zwölf", " "] {
            assert!(InstanceId::try_from(id).is_ok(), "{id}");
        }
        assert!(InstanceId::try_from("a\nb").is_err());
        assert!(InstanceId::try_from(&*"é".repeat(65)).is_err(), "the bound is in bytes");
    }

    #[test]
    fn names_that_differ_in_case_share_a_key() {
        let (upper, lower) = (ServiceName::try_from("Billing"), ServiceName::try_from("billing"));
        assert_eq!(ServiceKey::from(&upper.unwrap()), ServiceKey::from(&lower.unwrap()));
    }

    #[test]
    fn decoding_validates_again() {
        assert!(serde_json::from_str::<ServiceName>("\"a b\"").is_err());
    }

    #[test]
    fn a_long_refused_value_is_cut_in_the_message() {
        let refused = ServiceName::try_from(&*"y".repeat(10_000)).unwrap_err();
        assert!(refused.to_string().len() < 200);
    }
}
