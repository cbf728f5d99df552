//! What a crash may leave at the end of the log, and what it may not.
//!
//! A write that was under way when the power went can leave its last record cut, zero, or zero in some 512-byte sectors
//! (ext4 extends a file before the data is there; sectors of one write reach the disk in any order). Such a tail was
//! never acknowledged, so it is cut off. Anything else, such as a flipped byte or a record that is damaged while good ones
//! follow it, means that the disk lost what was acknowledged, and the node must not start with it.
//!
//! The rule for a bad record in the newest file, after etcd's WAL (`wal/repair.go`, `isTornEntry`):
//! - a good record starts anywhere after it: damage;
//! - it runs past the end of the file: cut;
//! - a sector of it (the part of a 512-byte block that lies in it) is all zero: cut;
//! - its checksum and all that follows is zero: cut;
//! - otherwise: damage.
//!
//! A crash while one file follows another can leave both torn: the newest without a good record, and the one before it with
//! a torn tail. So newest files without a good record are removed, and the first one with any is judged by the same rule.
//!
//! Limits: a flipped length of the very last record looks like a cut one. Of records written at once, a disk may keep a
//! later one and lose a sector of an earlier one; that cannot be told from damage, and is refused.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::error::Error;
use crate::identity::sync_dir;

/// What disks write at once.
const SECTOR: usize = 512;
/// Bytes of a record's checksum: a CRC-32 in 8 bytes, big endian, over all before it.
const CHECKSUM: usize = 8;
/// Bytes that are zero at the start of every record: all but the last of its type, which is below 256.
const ZERO_PREFIX: usize = 3;

/// The files of the log, oldest first.
fn chunks(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut chunks = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            chunks.push(path);
        }
    }
    // Names carry the offset with leading zeros.
    chunks.sort();
    Ok(chunks)
}

/// Checks the newest file, and cuts off what a crash left at its end.
pub(super) fn check_tail(dir: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { what: format!("cannot check the log in {}", dir.display()), source };
    let mut older = chunks(dir).map_err(failed)?;
    while let Some(path) = older.pop() {
        let bytes = fs::read(&path).map_err(failed)?;
        match judge(&bytes) {
            Verdict::Torn { offset: 0 } => {}
            Verdict::Good if bytes.is_empty() => {}
            Verdict::Good => return Ok(()),
            Verdict::Torn { offset } => {
                warn!(
                    error = "torn record",
                    "cut {} bytes of an unfinished write off {} at byte {offset}",
                    bytes.len() - offset,
                    path.display()
                );
                return cut(&path, offset).map_err(failed);
            }
            Verdict::Damaged { offset, problem } => return Err(damage(path, offset, problem)),
        }
        if older.is_empty() {
            // The first file of all was being made: raft-log makes it anew.
            return Ok(());
        }
        warn!(error = "torn file", "remove {}, in which no write was finished", path.display());
        fs::remove_file(&path).and_then(|()| sync_dir(dir)).map_err(failed)?;
    }
    Ok(())
}

/// The first damage in any file, after raft-log refused to open.
pub(super) fn find_damage(dir: &Path) -> Option<Error> {
    for path in chunks(dir).ok()? {
        let bytes = fs::read(&path).ok()?;
        match judge(&bytes) {
            Verdict::Good => {}
            Verdict::Torn { offset } => {
                return Some(damage(path, offset, "a record is cut or zero, in a file that was finished"));
            }
            Verdict::Damaged { offset, problem } => return Some(damage(path, offset, problem)),
        }
    }
    None
}

fn damage(path: PathBuf, offset: usize, problem: &str) -> Error {
    Error::CorruptLog { path, offset: offset as u64, problem: problem.to_owned() }
}

fn cut(path: &Path, offset: usize) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_len(offset as u64)?;
    file.sync_all()?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Torn { offset: usize },
    Damaged { offset: usize, problem: &'static str },
}

fn judge(bytes: &[u8]) -> Verdict {
    let mut offset = 0;
    while offset < bytes.len() {
        match parse(&bytes[offset..]) {
            Parsed::Good { len } => offset += len,
            Parsed::Cut | Parsed::Bad { .. } if good_record_follows(bytes, offset) => {
                return Verdict::Damaged { offset, problem: "a record is cut or changed, yet good ones follow it" };
            }
            Parsed::Cut => return Verdict::Torn { offset },
            Parsed::Bad { len } if has_zero_sector(bytes, offset..offset + len) => return Verdict::Torn { offset },
            Parsed::Bad { len } if is_zero(&bytes[offset + len.saturating_sub(CHECKSUM)..]) => {
                return Verdict::Torn { offset };
            }
            Parsed::Bad { .. } => return Verdict::Damaged { offset, problem: "checksum mismatch" },
        }
    }
    Verdict::Good
}

/// How many bytes are good, and whether the rest is what a crash leaves and damage is not.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn good_prefix(bytes: &[u8]) -> (usize, bool) {
    match judge(bytes) {
        Verdict::Good => (bytes.len(), false),
        Verdict::Torn { offset } => (offset, true),
        Verdict::Damaged { offset, .. } => (offset, false),
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Whether some sector's part of `record` is all zero. A part with nothing but the bytes that are zero in every record says
/// nothing.
fn has_zero_sector(bytes: &[u8], record: Range<usize>) -> bool {
    let mut start = record.start;
    let first_end = (start / SECTOR + 1) * SECTOR;
    if first_end - start <= ZERO_PREFIX {
        start = first_end;
    }
    while start < record.end {
        let end = bytes.len().min((start / SECTOR + 1) * SECTOR);
        // The part of the sector after the record's end, too, if the record ends in it: it was written later or not at all.
        if is_zero(&bytes[start..end]) {
            return true;
        }
        start = end;
    }
    false
}

/// Whether a good record starts anywhere after `offset`. A random match needs a valid shape and 32 right bits.
fn good_record_follows(bytes: &[u8], offset: usize) -> bool {
    (offset + 1..bytes.len()).any(|start| matches!(parse(&bytes[start..]), Parsed::Good { .. }))
}

enum Parsed {
    /// A record of this length with the right checksum.
    Good { len: usize },
    /// The shape of a record of this length, or of something that is none, with a wrong checksum.
    Bad { len: usize },
    /// Runs past the end.
    Cut,
}

/// Reads the shape of one record: a big-endian type, its fields, a checksum (raft-log 0.4.6, `RaftLogAction`,
/// `RaftLogState`).
fn parse(bytes: &[u8]) -> Parsed {
    let mut cursor = Cursor { bytes, at: 0 };
    let shape = match cursor.u32() {
        // A vote, a commit, a purge: one value.
        Some(0 | 2 | 4) => cursor.value(),
        // An entry: log id and payload.
        Some(1) => cursor.value().and_then(|()| cursor.value()),
        // A truncation: a value or none.
        Some(3) => cursor.option(),
        // A checkpoint: version, then vote, last, committed, purged, user data, each or none.
        Some(5) => cursor.skip(1).and_then(|()| (0..5).try_for_each(|_| cursor.option())),
        Some(_) => return Parsed::Bad { len: bytes.len().min(CHECKSUM) },
        None => None,
    };
    let body = cursor.at;
    if shape.and_then(|()| cursor.skip(CHECKSUM)).is_none() {
        return Parsed::Cut;
    }
    let expected = u64::from(crc32fast::hash(&bytes[..body])).to_be_bytes();
    if bytes[body..body + CHECKSUM] == expected {
        Parsed::Good { len: cursor.at }
    } else {
        Parsed::Bad { len: cursor.at }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn skip(&mut self, len: usize) -> Option<()> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len())?;
        self.at = end;
        Some(())
    }

    fn u32(&mut self) -> Option<u32> {
        let start = self.at;
        self.skip(4)?;
        self.bytes[start..self.at].try_into().ok().map(u32::from_be_bytes)
    }

    fn value(&mut self) -> Option<()> {
        let len = self.u32()?;
        self.skip(len as usize)
    }

    fn option(&mut self) -> Option<()> {
        let tag = *self.bytes.get(self.at)?;
        self.skip(1)?;
        if tag == 0 { Some(()) } else { self.value() }
    }
}
