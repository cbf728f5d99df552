//! JSON Merge Patch (RFC 7396): the body of `PATCH` on an instance.

use serde_json::Value;

use crate::Registration;
use crate::decode::{self, DecodeError};

/// The registration with `patch` applied. `null` removes a field, an object merges, anything else replaces: a list is
/// replaced as a whole. What a registration defaults is written out in `target`, so removing it restores the default.
///
/// The result has the shape of a registration; its values are judged by [`Registration::into_spec`].
///
/// # Errors
/// [`DecodeError::Fields`] when the patched document is not a registration: an unknown field, another type.
pub fn merge_patch(target: &Registration, patch: &Value) -> Result<Registration, DecodeError> {
    let mut document = serde_json::to_value(target).map_err(|error| DecodeError::NotJson(error.to_string()))?;
    merge(&mut document, patch);
    decode::from_value(document)
}

/// `MergePatch(target, patch)` of RFC 7396 §2, in place. Recursion is as deep as the patch; JSON that was parsed by
/// `serde_json` is at most 128 deep.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(members) = target else { return };
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::RegistrationEndpoint;

    /// RFC 7396 appendix A, all fifteen.
    #[test]
    fn the_examples_of_the_rfc_hold() {
        for (original, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut target = original.clone();
            merge(&mut target, &patch);
            assert_eq!(target, result, "{original} patched with {patch}");
        }
    }

    fn web() -> Registration {
        Registration {
            endpoints: vec![RegistrationEndpoint::new("http", "10.0.0.7", 8080)],
            tags: vec!["api".into()],
            metadata: [("team".into(), "core".into()), ("rack".into(), "7".into())].into(),
            weight: 5u64.into(),
            ..Registration::default()
        }
    }

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        let patched =
            merge_patch(&web(), &json!({"zone": "b", "weight": null, "metadata": {"rack": null, "row": "3"}}));
        let expected = Registration {
            zone: Some("b".into()),
            weight: Default::default(),
            metadata: [("team".into(), "core".into()), ("row".into(), "3".into())].into(),
            ..web()
        };
        assert_eq!(patched, Ok(expected));
    }

    #[test]
    fn a_patch_that_leaves_no_registration_is_refused_by_field() {
        for (patch, field, rule) in [
            (json!({"prot": 1}), "prot", "is not known here"),
            (json!({"tags": "api"}), "tags", "must be a list; got string \"api\""),
            (json!(7), ".", "must be an object; got integer 7"),
        ] {
            let Err(DecodeError::Fields(errors)) = merge_patch(&web(), &patch) else { panic!("{patch} was accepted") };
            assert_eq!(errors[0].field, field, "{patch}");
            assert!(errors[0].rule.starts_with(rule), "{patch}: {}", errors[0].rule);
        }
    }
}
