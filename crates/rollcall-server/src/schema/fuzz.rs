//! A schema that a service supplies, a zero byte, and a document to check.

use super::*;

/// Most references in a schema of this target. Those of more multiply, which the deadline is for, and a fuzzer takes for a hang.
const FOLLOWED_MAX: usize = 1;

/// A schema is refused or checks documents, the same way each time.
pub(crate) fn config_schema(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0).map(serde_json::from_slice::<Value>);
    let (Some(Ok(schema)), Some(Ok(document))) = (parts.next(), parts.next()) else { return };
    if references(&schema) > FOLLOWED_MAX {
        return;
    }
    if let Ok(violations) = find_violations(&schema, &document) {
        assert!(violations.len() <= VIOLATIONS_MAX);
        assert_eq!(find_violations(&schema, &document), Ok(violations));
    }
}
