//! The newest file of a log, as a crash may have left it.

use raft_log::RaftLogRecord;
use raft_log::codeq::Decode as _;

use super::record::LogTypes;
use super::repair;

/// The first byte says whether the file is read as it is, or as records `[length u16 LE][bytes]` that get the right checksum each.
/// What is good is what raft-log reads, and a tail that is cut off leaves what is good.
pub(crate) fn log_file(bytes: &[u8]) {
    let Some((how, file)) = bytes.split_first() else { return };
    let sealed;
    let file = if how & 1 == 0 {
        file
    } else {
        sealed = seal(file);
        &sealed
    };
    let (good, is_torn) = repair::good_prefix(file);
    if is_torn {
        assert_eq!(repair::good_prefix(&file[..good]), (good, false), "what is left of a torn file is good");
    }
    let mut rest = file;
    while let Ok(record) = RaftLogRecord::<LogTypes>::decode(&mut rest) {
        drop(record);
        let read = file.len() - rest.len();
        assert!(read <= good, "raft-log reads a record that ends at {read}, and only {good} bytes count as good");
    }
}

fn seal(mut parts: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    while let Some((len, rest)) = parts.split_first_chunk::<2>() {
        let (record, rest) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*len))));
        file.extend_from_slice(record);
        file.extend_from_slice(&u64::from(crc32fast::hash(record)).to_be_bytes());
        parts = rest;
    }
    file
}
