//! A clock of its own for each node, so that it can be set.
//!
//! libfaketime stands between a node and the wall clock, and reads from a file by how much it is off. The monotonic clock
//! stays real: that is what an administrator, or a bad time server, can do to a machine. Needs Debian's package `libfaketime`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Where distributions put it.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
];

/// The clocks of a run: a file for each.
#[derive(Debug)]
pub(crate) struct Clocks {
    folder: PathBuf,
    library: &'static str,
}

impl Clocks {
    /// Makes clocks that are right.
    ///
    /// # Errors
    /// When the library is missing, or the folder cannot be written.
    pub(crate) fn create(nodes: usize, folder: &Path) -> Result<Self> {
        let Some(library) = LIBRARIES.into_iter().find(|path| Path::new(path).is_file()) else {
            bail!("clocks can be set with libfaketime only, which is not here (apt-get install libfaketime)");
        };
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let clocks = Self { folder: folder.to_owned(), library };
        (0..nodes).try_for_each(|index| clocks.set(index, 0))?;
        Ok(clocks)
    }

    /// Sets a clock off by so many seconds. The node sees it at once.
    pub(crate) fn set(&self, index: usize, seconds: i64) -> Result<()> {
        let (file, fresh) = (self.file(index), self.file(index).with_extension("new"));
        // Replaced as a whole, since a node may be reading it.
        std::fs::write(&fresh, format!("{seconds:+}\n"))
            .with_context(|| format!("cannot write {}", fresh.display()))?;
        std::fs::rename(&fresh, &file).with_context(|| format!("cannot replace {}", file.display()))
    }

    /// What must be in a node's process for it to read its own clock.
    pub(crate) fn library(&self) -> &'static str {
        self.library
    }

    /// What a node's environment must have.
    pub(crate) fn environment(&self, index: usize) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", self.file(index).display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            // File times are the kernel's.
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }

    fn file(&self, index: usize) -> PathBuf {
        self.folder.join(format!("n{}", index + 1))
    }
}
