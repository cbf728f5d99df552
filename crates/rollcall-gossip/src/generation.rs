//! The generation of a node: a number that every start, and every restart of its gossip, raises.
//!
//! Others tell a restarted process from its former self by it, so the same number twice would let two lives of a node be
//! taken for one, and what the first life said would never be corrected. It is the wall clock in milliseconds, which makes a
//! node that lost its disk newer than its former self, or one more than the last one on disk, whichever is larger, which
//! makes a clock that was set back harmless. It is on disk before the first message that carries it leaves.
//!
//! Finer than milliseconds it need not be, and every digest of gossip names the generation of every member: nanoseconds are
//! three random bytes more for each, which do not compress.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::Error;

const FILE: &str = "gossip.json";
const FORMAT: u32 = 1;
/// Newest generation that is believed when it comes from a file; no clock gets there. More is damage.
const GENERATION_MAX: u64 = i64::MAX as u64;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: u32,
    /// Decimal in a string: JSON numbers end at 2^53 for many readers.
    generation: String,
}

/// Where the generation is kept.
#[derive(Debug)]
pub(crate) struct GenerationFile {
    path: PathBuf,
}

impl GenerationFile {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join(FILE) }
    }

    /// Takes a generation above the last one and above `floor`, and makes it durable. Blocks on the disk.
    pub(crate) fn take(&self, floor: u64) -> Result<u64, Error> {
        let last = self.last()?.max(floor);
        let generation = unix_millis().max(last.saturating_add(1));
        let kept = Kept { format: FORMAT, generation: generation.to_string() };
        let text = serde_json::to_vec(&kept).expect("text and numbers have a JSON form");
        write_durably(&self.path, &text).map_err(Error::io(format!("cannot write {}", self.path.display())))?;
        Ok(generation)
    }

    fn last(&self) -> Result<u64, Error> {
        let refuse = |problem: String| Error::Generation { path: self.path.display().to_string(), problem };
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(Error::io(format!("cannot read {}", self.path.display()))(error)),
        };
        let kept: Kept = serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
        if kept.format != FORMAT {
            return Err(refuse(format!("it has format {}, this program reads {FORMAT}", kept.format)));
        }
        match kept.generation.parse() {
            Ok(generation) if generation <= GENERATION_MAX => Ok(generation),
            _ => Err(refuse(format!("'{}' is no generation", kept.generation))),
        }
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(GENERATION_MAX).min(GENERATION_MAX)
}

/// Writes a file so that after a crash either the old or the new content is there.
fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let tmp = path.with_extension("tmp");
    let mut file = File::create(&tmp)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&tmp, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, generation: &str) {
        fs::write(folder.join(FILE), format!(r#"{{"format":1,"generation":"{generation}"}}"#)).unwrap();
    }

    #[test]
    fn every_start_is_newer_than_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let file = GenerationFile::new(folder.path());
        let first = file.take(0).unwrap();
        let second = GenerationFile::new(folder.path()).take(0).unwrap();
        assert!(second > first);
        assert!(file.take(second + 10).unwrap() > second + 10, "and than what others remember");
    }

    #[test]
    fn a_clock_that_was_set_back_takes_one_more_than_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let future = 9_000_000_000_000;
        write(folder.path(), &future.to_string());
        assert_eq!(GenerationFile::new(folder.path()).take(0).unwrap(), future + 1);
    }

    #[test]
    fn without_a_file_the_clock_makes_a_node_newer_than_its_former_self() {
        let folder = tempfile::tempdir().unwrap();
        let before = unix_millis();
        assert!(GenerationFile::new(folder.path()).take(0).unwrap() >= before);
    }

    #[test]
    fn a_damaged_file_is_refused_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let file = GenerationFile::new(folder.path());
        for text in ["", "{", r#"{"format":2,"generation":"1"}"#, r#"{"format":1,"generation":"x"}"#] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let refused = file.take(0).unwrap_err().to_string();
            assert!(refused.contains("gossip.json") && refused.contains("move the file away"), "{refused}");
        }
        write(folder.path(), &u64::MAX.to_string());
        assert!(file.take(0).unwrap_err().to_string().contains("is no generation"));
    }
}
