//! `rollcall snapshot`: the whole catalogue as one file.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use futures_util::StreamExt as _;
use rollcall_server::snapshot::{SnapshotInfo, inspect};
use serde_json::{Value, json};
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt as _;

use crate::failure::Failure;
use crate::server::{Output, ServerArgs, Session, explain};
use crate::terminal::{print, remark, shell_word};

/// What the files of a node's snapshot folder end in.
const EXTENSION: &str = "snap";

/// Subcommands of `rollcall snapshot`.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Save the catalogue, as a node holds it now, to a file
    Save(SaveArgs),
    /// Check a snapshot from end to end and say what it holds
    Inspect(InspectArgs),
    /// Check a snapshot and a new data folder, and say how to start a cluster from them
    Restore(RestoreArgs),
}

/// Arguments of `rollcall snapshot save`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall snapshot save backup.snap
  rollcall snapshot save /backup/$(date +%F).snap --server http://10.0.0.1:7400")]
pub(crate) struct SaveArgs {
    /// The file to make; an existing one is only replaced with --force
    file: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `rollcall snapshot inspect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Equal catalogues have equal digests, whatever node they were saved from.

Examples:
  rollcall snapshot inspect backup.snap
  rollcall snapshot inspect rollcall-dev/node-1     the newest in a data folder
  rollcall snapshot inspect backup.snap --output json | jq -r .digest")]
pub(crate) struct InspectArgs {
    /// A snapshot file, or the data folder of a node
    path: PathBuf,
    /// How to write the answer
    #[arg(
        long,
        short,
        value_enum,
        env = "ROLLCALL_OUTPUT",
        hide_env_values = true,
        default_value_t,
        value_name = "FORMAT"
    )]
    output: Output,
}

/// Arguments of `rollcall snapshot restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
A snapshot begins a new cluster: of one node first, which others then join.
Nothing is started or written here.

Examples:
  rollcall snapshot restore backup.snap --data-dir /new
  rollcall node --restore backup.snap --bootstrap-expect 1 --data-dir /new")]
pub(crate) struct RestoreArgs {
    /// A snapshot file, or the data folder of a node
    path: PathBuf,
    /// Data folder of the new node; it must be empty or not there
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,
}

/// Saves, inspects or restores.
///
/// # Errors
/// When a file cannot be used, is damaged, or what the cluster refuses.
pub(crate) async fn run(command: SnapshotCommand) -> Result<(), Failure> {
    match command {
        SnapshotCommand::Save(args) => save(args).await,
        SnapshotCommand::Inspect(args) => {
            let (file, info) = check(&args.path)?;
            report(&file, &info, args.output)
        }
        SnapshotCommand::Restore(args) => restore(&args),
    }
}

async fn save(args: SaveArgs) -> Result<(), Failure> {
    if args.file.exists() && !args.force {
        return Err(Failure::usage(format!("{} exists already", args.file.display())).hint("--force replaces it"));
    }
    let session = args.server.connect()?;
    let partial = with_suffix(&args.file, ".partial");
    let saved = match download(&session, &partial).await {
        Ok(()) => finish(&partial, &args.file),
        Err(failure) => Err(failure),
    };
    let info = match saved {
        Ok(info) => info,
        Err(failure) => {
            // The first failure is the one to tell; what is left says by its name that it is not whole.
            let _ = fs::remove_file(&partial);
            return Err(failure);
        }
    };
    report(&args.file, &info, args.server.output)
}

/// Writes the image of the catalogue to `partial` and syncs it.
async fn download(session: &Session, partial: &Path) -> Result<(), Failure> {
    let refused = |error: io::Error| Failure::failed(format!("cannot write {}", partial.display())).because(&error);
    let (total, stream) = session.client.snapshot().await.map_err(|error| explain(&error))?;
    let (mut stream, mut progress) = (pin!(stream), Progress::of(total));
    let mut options = OpenOptions::new();
    // The catalogue holds configuration and keys: for its owner only.
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(partial).await.map_err(refused)?;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| explain(&error))?;
        file.write_all(&chunk).await.map_err(refused)?;
        progress.add(chunk.len());
    }
    file.sync_all().await.map_err(refused)
}

/// Between two words about a download.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// What is told of a download while it goes on, in one line of a terminal that it takes back in the end.
struct Progress {
    has_terminal: bool,
    total: Option<u64>,
    saved: u64,
    begun: Instant,
    /// How often it was told.
    told: u32,
}

impl Progress {
    fn of(total: Option<u64>) -> Self {
        Self { has_terminal: io::stderr().is_terminal(), total, saved: 0, begun: Instant::now(), told: 0 }
    }

    fn add(&mut self, bytes: usize) {
        self.saved += bytes as u64;
        if self.has_terminal && self.begun.elapsed() >= PROGRESS_EVERY * (self.told + 1) {
            self.told += 1;
            remark(&format!("\r{}", progress(self.saved, self.total)));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.told > 0 {
            remark("\r\u{1b}[K");
        }
    }
}

/// How far a download is.
fn progress(saved: u64, total: Option<u64>) -> String {
    let mib = |bytes: u64| bytes >> 20;
    match total {
        Some(total) => format!("saved {} of {} MiB", mib(saved), mib(total)),
        None => format!("saved {} MiB", mib(saved)),
    }
}

/// Checks what came, and only then gives it its name.
fn finish(partial: &Path, file: &Path) -> Result<SnapshotInfo, Failure> {
    let info = inspect(partial).map_err(|error| Failure::failed("what the node sent is not whole").because(&error))?;
    let refused = |error: io::Error| Failure::failed(format!("cannot write {}", file.display())).because(&error);
    fs::rename(partial, file).map_err(refused)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(refused)?;
    Ok(info)
}

fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    let (file, info) = check(&args.path)?;
    let folder = args.data_dir.display();
    match fs::read_dir(&args.data_dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => {
            return Err(Failure::usage(format!("{folder} is not empty"))
                .hint("a restored cluster is a new one: give it a new --data-dir, and move the old data away"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::usage(format!("cannot read {folder}")).because(&error)),
    }
    report(&file, &info, Output::Table)?;
    let (file, folder) = (quoted(&file), quoted(&args.data_dir));
    print(&format!(
        "\nThe snapshot is whole and the folder is free. Start the first node of the new cluster from them:\n  \
         rollcall node --restore {file} --bootstrap-expect 1 --data-dir {folder}\n\
         then let others join it, each with an empty data folder of its own:\n  \
         rollcall join 127.0.0.1:7401 --name node-2 --http 127.0.0.1:7410 --peer 127.0.0.1:7411 --data-dir FOLDER\n"
    ))
}

fn quoted(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}

/// The file itself, or the newest whole snapshot of a data folder, with what it holds.
fn check(path: &Path) -> Result<(PathBuf, SnapshotInfo), Failure> {
    let unusable = |file: &Path, error: &dyn std::error::Error| {
        Failure::failed(format!("{} cannot be used", file.display())).because(error)
    };
    if !path.is_dir() {
        let info = inspect(path).map_err(|error| unusable(path, &error))?;
        return Ok((path.to_owned(), info));
    }
    let mut files = snapshots_in(path).map_err(|error| unusable(path, &error))?;
    // Names carry index and term with leading zeros, so the newest is the last.
    files.sort_by(|left, right| left.file_name().cmp(&right.file_name()));
    let mut damage = None;
    for file in files.into_iter().rev() {
        match inspect(&file) {
            Ok(info) => return Ok((file, info)),
            Err(error) => damage = damage.or(Some(unusable(&file, &error))),
        }
    }
    Err(damage.unwrap_or_else(|| {
        Failure::failed(format!("{} holds no snapshot", path.display()))
            .hint("a young log is not snapshotted yet; `rollcall snapshot save` takes one from a running node")
    }))
}

/// Snapshot files in the folder and in the folders within it.
fn snapshots_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    for folder in folders {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) && path.is_file() {
                files.push(path);
            }
        }
    }
    Ok(files)
}

fn report(file: &Path, info: &SnapshotInfo, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => {
            let json: Value = json!({
                "file": file.display().to_string(),
                "cluster_id": info.cluster_id.to_string(),
                "revision": info.index,
                "term": info.term,
                "records": info.records,
                "bytes": info.bytes,
                "digest": info.digest.to_string(),
            });
            print(&format!("{json:#}\n"))
        }
        Output::Table => print(&format!(
            "file      {}\ncluster   {}\nrevision  {}\nterm      {}\nrecords   {}\nbytes     {}\ndigest    sha256:{}\n",
            file.display(),
            info.cluster_id,
            info.index,
            info.term,
            info.records,
            info.bytes,
            info.digest,
        )),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Paint;

    #[test]
    fn snapshots_are_found_in_a_data_folder_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("snapshots");
        fs::create_dir(&inner).unwrap();
        for name in ["0001.snap", "0002.snap", "0003.tmp"] {
            fs::write(inner.join(name), "").unwrap();
        }
        fs::write(folder.path().join("identity"), "").unwrap();
        let mut found = snapshots_in(folder.path()).unwrap();
        found.sort();
        assert_eq!(found, [inner.join("0001.snap"), inner.join("0002.snap")]);
    }

    #[test]
    fn a_download_tells_how_far_it_is() {
        assert_eq!(progress(5 << 20, Some(360 << 20)), "saved 5 of 360 MiB");
        assert_eq!(progress(5 << 20, None), "saved 5 MiB");
    }

    #[test]
    fn a_folder_without_snapshots_is_told_from_a_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let text = check(folder.path()).unwrap_err().render(Paint::plain());
        assert!(text.contains("holds no snapshot"), "{text}");
        fs::write(folder.path().join("1.snap"), "not one").unwrap();
        let text = check(folder.path()).unwrap_err().render(Paint::plain());
        assert!(text.contains("1.snap"), "{text}");
    }
}
