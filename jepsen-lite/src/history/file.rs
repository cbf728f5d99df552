//! Writing and reading the file.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::event::{Event, FORMAT, RunInfo};
use super::read::History;

/// Writes a history while it happens. Shared by all clients.
///
/// A line is in the operating system's hands before the next event of the same client can happen, so a harness that is
/// killed leaves everything but what was under way. A full disk ends recording and is reported by [`Recorder::check`].
#[derive(Debug)]
pub(crate) struct Recorder {
    start: Instant,
    next_op: AtomicU64,
    file: Mutex<Sink>,
}

#[derive(Debug)]
struct Sink {
    writer: BufWriter<File>,
    /// The first error; nothing is written after it, so that the file has no hole.
    failed: Option<std::io::Error>,
}

impl Recorder {
    /// Makes the file with its first line.
    pub(crate) fn create(path: &Path, run: RunInfo) -> Result<Self> {
        let file = File::create_new(path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self::to(file, run))
    }

    fn to(file: File, run: RunInfo) -> Self {
        let recorder = Self {
            start: Instant::now(),
            next_op: AtomicU64::new(1),
            file: Mutex::new(Sink { writer: BufWriter::new(file), failed: None }),
        };
        recorder.write(&Event::Run(RunInfo { format: FORMAT, ..run }));
        recorder
    }

    /// Nanoseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The number of a new operation.
    pub(crate) fn next_op(&self) -> u64 {
        self.next_op.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes a line.
    pub(crate) fn write(&self, event: &Event) {
        let line = serde_json::to_string(event);
        let mut sink = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if sink.failed.is_some() {
            return;
        }
        let line = line.map_err(std::io::Error::from);
        let written = line.and_then(|line| {
            writeln!(sink.writer, "{line}")?;
            sink.writer.flush()
        });
        sink.failed = written.err();
    }

    /// Says whether everything was written so far.
    ///
    /// # Errors
    /// Why not, if not: nothing is written from then on.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.file.lock().unwrap_or_else(PoisonError::into_inner).failed {
            Some(error) => bail!("the history could not be written: {error}"),
            None => Ok(()),
        }
    }
}

/// Reads a history. A last line that breaks off is left out: the run was killed while it wrote it.
///
/// # Errors
/// When the file cannot be read, is of another format, or a line before the last is none of a history.
pub(crate) fn read_file(path: &Path) -> Result<History> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut events = Vec::new();
    let mut broken: Option<(usize, serde_json::Error)> = None;
    // By bytes: the last line may break off within a character.
    for (index, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        if let Some((number, error)) = broken {
            return Err(error).with_context(|| format!("{}, line {number}", path.display()));
        }
        match serde_json::from_slice(&line) {
            Ok(event) => events.push(event),
            Err(error) => broken = Some((index + 1, error)),
        }
    }
    match events.first() {
        Some(Event::Run(run)) if run.format == FORMAT => History::of(events),
        Some(Event::Run(run)) => bail!("{} has format {}, this build reads {FORMAT}", path.display(), run.format),
        _ => bail!("{} is no history: its first line does not say how the run was made", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_on_a_full_disk_says_so_and_goes_on_saying_it() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let recorder = Recorder::to(full, RunInfo::default());
        for _ in 0..2 {
            let why = recorder.check().unwrap_err().to_string();
            assert!(why.contains("No space left"), "{why}");
            recorder.write(&Event::End { at: 0 });
        }
    }
}
