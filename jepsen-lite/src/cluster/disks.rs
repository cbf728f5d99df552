//! A disk of its own for each node, so that its power can be cut, its room taken, and its speed.
//!
//! A disk is an ext4 file system in an image file, mounted by the loop device. What a node wrote and did not sync lies in the
//! kernel's memory above the image, what it synced lies in the image. So a copy of the image is what a power cut leaves: the
//! node is killed, the image is copied as it is, and the copy takes its place. Needs root, `mkfs.ext4`, `mount` and `umount`.
//!
//! A slow disk is the loop device under a limit of the block layer (cgroup v1, `blkio.throttle`): writes wait there, and a sync
//! waits for them. The limit is set on the root group, to which the kernel's journal thread belongs, and on the group of this
//! process, in which nodes are. Cgroup v2 cannot limit the root group, so a machine that has only that skips the fault.
//!
//! Rejected: device mapper and FUSE, which test machines often lack, and the shutdown call of ext4, which needs unsafe code.
//!
//! Limits: a disk that reorders synced writes, or lies about them, is not shown. What the kernel wrote back by itself survives.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{major, minor};

use super::command::run;
use super::fabric::timed;

/// Where disks are mounted, each as pid and number.
const MOUNTS: &str = "/run/jepsen-lite";
/// The file that takes all room.
const FILLER: &str = "filler";
/// The file by which the speed of a disk is measured.
const PROBE: &str = "probe";
/// Writes by which it is, unless a few take long enough to tell.
const PROBES: usize = 10;
const LONG_ENOUGH: Duration = Duration::from_millis(500);
/// Where cgroup v1 has its controller of block devices, and its limit in each group.
const BLKIO: &str = "/sys/fs/cgroup/blkio";
const LIMIT: &str = "blkio.throttle.write_iops_device";
/// Room on a disk; the image is sparse.
const BYTES: u64 = 1 << 30;

/// The disks of a run. Dropping it unmounts them; the images stay.
#[derive(Debug)]
pub(crate) struct Disks {
    folder: PathBuf,
    nodes: usize,
}

impl Disks {
    /// Makes and mounts them; the images lie in `folder`.
    ///
    /// # Errors
    /// When a right or a program is missing.
    pub(crate) fn create(nodes: usize, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let disks = Self { folder: folder.to_owned(), nodes };
        for index in 0..nodes {
            let (image, mount) = (disks.image(index), disks.mount_point(index));
            let file = std::fs::File::create_new(&image).with_context(|| format!("cannot make {}", image.display()))?;
            file.set_len(BYTES).with_context(|| format!("no room for {}", image.display()))?;
            std::fs::create_dir_all(&mount).with_context(|| format!("cannot make {}", mount.display()))?;
            run("mkfs.ext4", &["-q", "-F", &image.to_string_lossy()], "")?;
            disks.mount(index)?;
        }
        Ok(disks)
    }

    /// Where a node keeps its data.
    pub(crate) fn data_dir(&self, index: usize) -> PathBuf {
        self.mount_point(index).join("node")
    }

    /// Loses what was not synced. The node must have been killed just before.
    pub(crate) fn cut_power(&self, index: usize) -> Result<()> {
        let image = self.image(index);
        let copy = image.with_extension("copy");
        run("cp", &["--sparse=always", &image.to_string_lossy(), &copy.to_string_lossy()], "")?;
        run("umount", &[&self.mount_point(index).to_string_lossy()], "")?;
        std::fs::rename(&copy, &image).with_context(|| format!("cannot replace {}", image.display()))?;
        self.mount(index)
    }

    /// Leaves no room at all. The blocks that a file system keeps for root are taken too, as nodes here run as root.
    pub(crate) fn fill(&self, index: usize) -> Result<()> {
        let mount = self.mount_point(index);
        let filler = mount.join(FILLER);
        let room = rustix::fs::statvfs(&mount).with_context(|| format!("cannot look at {}", mount.display()))?;
        let file = std::fs::File::create(&filler).with_context(|| format!("cannot make {}", filler.display()))?;
        let mut left = room.f_bfree * room.f_frsize;
        let (mut taken, mut step) = (0, left);
        // The last blocks go to the file system's own tables, so what fits is found by trying.
        while left > 0 && step >= room.f_frsize {
            step = step.min(left);
            match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), taken, step) {
                Ok(()) => (taken, left) = (taken + step, left - step),
                Err(rustix::io::Errno::NOSPC) => step /= 2,
                Err(error) => return Err(error).with_context(|| format!("cannot fill {}", mount.display())),
            }
        }
        Ok(())
    }

    /// Gives the room back.
    pub(crate) fn empty(&self, index: usize) -> Result<()> {
        let filler = self.mount_point(index).join(FILLER);
        match std::fs::remove_file(&filler) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", filler.display()))
            }
            _ => Ok(()),
        }
    }

    /// Lets the disk take so many writes a second only.
    pub(crate) fn slow(&self, index: usize, writes_per_second: u64) -> Result<()> {
        limit(&self.mount_point(index), writes_per_second)
    }

    /// Makes the disk as fast as it is.
    pub(crate) fn hasten(&self, index: usize) -> Result<()> {
        // Without the controller there is no limit to remove.
        if groups().is_empty() { Ok(()) } else { limit(&self.mount_point(index), NO_LIMIT) }
    }

    /// How long a small write takes until it is on the disk: the longest of a few, as the first after a quiet time wait for
    /// no limit.
    pub(crate) fn synced_write(&self, index: usize) -> Result<Duration> {
        let path = self.mount_point(index).join(PROBE);
        let open = || std::fs::OpenOptions::new().create(true).append(true).open(&path);
        let mut file = open().with_context(|| format!("cannot open {}", path.display()))?;
        let (mut longest, mut all) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..PROBES {
            let took = timed(|| file.write_all(b"probe").and_then(|()| file.sync_data()));
            let took = took.context("cannot write to a disk")?;
            (longest, all) = (longest.max(took), all + took);
            if all > LONG_ENOUGH {
                break;
            }
        }
        Ok(longest)
    }

    /// The kernel writes by itself as late as it can, so that much is lost.
    fn mount(&self, index: usize) -> Result<()> {
        let (image, mount) = (self.image(index), self.mount_point(index));
        run("mount", &["-o", "loop,commit=300", &image.to_string_lossy(), &mount.to_string_lossy()], "")
    }

    fn image(&self, index: usize) -> PathBuf {
        self.folder.join(format!("n{}.img", index + 1))
    }

    fn mount_point(&self, index: usize) -> PathBuf {
        Path::new(MOUNTS).join(format!("{}-n{}", std::process::id(), index + 1))
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        (0..self.nodes).for_each(|index| take_down(&self.mount_point(index)));
    }
}

/// Unmounts what harnesses left that do not run any more.
pub(crate) fn sweep() {
    for entry in std::fs::read_dir(MOUNTS).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.split('-').next()).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            take_down(&entry.path());
        }
    }
}

/// No limit, as the kernel has it.
const NO_LIMIT: u64 = 0;

/// Limits the writes a second of the device under `mount`; [`NO_LIMIT`] takes the limit away.
fn limit(mount: &Path, writes_per_second: u64) -> Result<()> {
    let device = rustix::fs::stat(mount).with_context(|| format!("cannot look at {}", mount.display()))?.st_dev;
    let line = format!("{}:{} {writes_per_second}\n", major(device), minor(device));
    let groups = groups();
    if groups.is_empty() {
        bail!("{BLKIO}/{LIMIT} is missing: the kernel has no blkio controller of cgroup v1");
    }
    for group in groups {
        std::fs::write(&group, &line)
            .with_context(|| format!("cannot write '{}' to {}", line.trim(), group.display()))?;
    }
    Ok(())
}

/// The files with the limits that matter: those of the root group, and of the group that this process and its nodes are in.
fn groups() -> Vec<PathBuf> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.split_once(":blkio:/")).map(|(_, group)| group.to_owned());
    let mut files = vec![Path::new(BLKIO).join(LIMIT), Path::new(BLKIO).join(own.unwrap_or_default()).join(LIMIT)];
    files.dedup();
    files.retain(|file| file.is_file());
    files
}

/// What cannot be undone now is left to the next sweep.
fn take_down(mount: &Path) {
    // The device may soon be somebody else's.
    let _ = limit(mount, NO_LIMIT);
    // Lazily, as a node that was just killed may hold it for a moment.
    let _ = run("umount", &["-l", &mount.to_string_lossy()], "");
    let _ = std::fs::remove_dir(mount);
}
