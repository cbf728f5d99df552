//! A key as Consul shows it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rollcall_catalog::KvEntry;
use rollcall_types::KvKey;
use serde::{Serialize, Serializer};

/// A key with its value, or without where the value is not told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::consul) struct Entry<'c> {
    lock_index: u64,
    key: &'c str,
    flags: u64,
    #[serde(serialize_with = "in_base64")]
    value: &'c [u8],
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    create_index: u64,
    modify_index: u64,
}

/// What an entry takes as JSON besides what is in it: names of fields, and the comma behind it.
const FIELDS_BYTES: usize =
    r#"{"LockIndex":,"Key":,"Flags":,"Value":null,"Session":"","CreateIndex":,"ModifyIndex":},"#.len();

/// What a text takes as JSON, quotes and all.
pub(super) fn quoted_size(text: &str) -> usize {
    let of_byte = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => r"\u0000".len(),
        _ => 1,
    };
    2 + text.bytes().map(of_byte).sum::<usize>()
}

impl<'c> Entry<'c> {
    /// What it takes as JSON at most.
    pub(in crate::consul) fn size(&self) -> usize {
        let numbers = [self.lock_index, self.flags, self.create_index, self.modify_index];
        let digits: u32 = numbers.into_iter().map(|number| number.checked_ilog10().unwrap_or_default() + 1).sum();
        let texts = quoted_size(self.key) + self.session.as_ref().map_or(0, String::len);
        FIELDS_BYTES + texts + digits as usize + self.value.len().div_ceil(3) * 4
    }

    pub(in crate::consul) fn of(key: &'c KvKey, entry: &'c KvEntry) -> Self {
        Self {
            lock_index: entry.lock_index,
            key,
            flags: entry.flags,
            value: &entry.value,
            session: entry.session.map(|holder| holder.to_string()),
            create_index: entry.created.get(),
            modify_index: entry.modified.get(),
        }
    }
}

/// An empty value is `null`, as Go writes an empty slice that was never made.
pub(in crate::consul) fn in_base64<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_empty() {
        serializer.serialize_none()
    } else {
        serializer.serialize_str(&BASE64_STANDARD.encode(value))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rollcall_types::{Revision, SessionId};

    use super::*;

    #[test]
    fn an_entry_is_as_consul_shows_it() {
        let key = KvKey::try_from("a/ç\u{1}\\").unwrap();
        let mut entry = KvEntry {
            value: Bytes::from_static(b"one"),
            flags: 7,
            created: Revision::new(3),
            modified: Revision::new(4),
            lock_index: 2,
            session: Some(SessionId::new(1)),
        };
        let shown = serde_json::to_string(&Entry::of(&key, &entry)).unwrap();
        let expected = r#"{"LockIndex":2,"Key":"a/ç\u0001\\","Flags":7,"Value":"b25l","Session":"00000000-0000-0000-0000-000000000001","CreateIndex":3,"ModifyIndex":4}"#;
        assert_eq!(shown, expected);
        assert!(shown.len() <= Entry::of(&key, &entry).size());
        (entry.value, entry.session) = (Bytes::new(), None);
        let shown = serde_json::to_string(&Entry::of(&key, &entry)).unwrap();
        assert_eq!(
            shown,
            r#"{"LockIndex":2,"Key":"a/ç\u0001\\","Flags":7,"Value":null,"CreateIndex":3,"ModifyIndex":4}"#
        );
    }
}
