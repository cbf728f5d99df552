//! File systems of a test's own, that can be made to fail. They need the right to mount.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rollcall_tests::note;
use tempfile::TempDir;

/// Size of a [`BlockDisk`]; memory is used only for what was written.
const BLOCK_DISK_BYTES: u64 = 256 << 20;

/// A file system of a few megabytes, in memory.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts one, or says why it cannot.
    pub(crate) fn mount(megabytes: u32) -> Result<Self, String> {
        let folder = TempDir::with_prefix("rollcall-disk-").expect("a temporary folder");
        let options = format!("size={megabytes}m");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "rollcall-test"]).arg(folder.path()))?;
        Ok(Self(folder))
    }

    pub(crate) fn grow(&self, megabytes: u32) {
        let options = format!("remount,size={megabytes}m");
        run(Command::new("mount").args(["-o", &options]).arg(self.path())).expect("a mounted disk can grow");
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.path());
    }
}

/// ext4, with its journal, on a block device of its own that can be told to fail (zram: a disk in compressed memory).
///
/// Nothing between the node and the device pretends: the kernel's block layer fails the writes, its page cache loses them, and
/// ext4 turns read-only by its own means. Needs Linux with zram and ext4, and root.
pub(crate) struct BlockDisk {
    /// Of `/dev/zramN`.
    number: u32,
    folder: TempDir,
}

impl BlockDisk {
    /// Makes a device with an empty file system and mounts it, or says why it cannot.
    pub(crate) fn mount() -> Result<Self, String> {
        let added = fs::read_to_string("/sys/class/zram-control/hot_add").map_err(|error| format!("zram: {error}"))?;
        let number = added.trim().parse().map_err(|_| format!("zram: no number in {added:?}"))?;
        let folder = TempDir::with_prefix("rollcall-disk-").expect("a temporary folder");
        // From here on dropping it removes the device.
        let disk = Self { number, folder };
        disk.set("disksize", &BLOCK_DISK_BYTES.to_string())?;
        run(Command::new("mkfs.ext4").arg("-q").arg(disk.device()))?;
        disk.mount_again()?;
        Ok(disk)
    }

    /// From now on every write that reaches the device fails with `EIO`, as on a disk that is dying. Reads go on.
    pub(crate) fn fail_writes(&self) {
        self.set("mem_limit", "4K").expect("the device is ours");
    }

    /// The file system turns read-only under whoever uses it, as ext4 does when it finds itself damaged.
    pub(crate) fn turn_read_only(&self) {
        let trigger = format!("/sys/fs/ext4/zram{}/trigger_fs_error", self.number);
        fs::write(trigger, "the test says so").expect("the file system is ours");
    }

    /// The device is well again and the file system is mounted anew, as by a reboot: what only the page cache held is gone.
    pub(crate) fn mend(&self) {
        self.set("mem_limit", "0").expect("the device is ours");
        unmount(self.path());
        self.mount_again().expect("what was mounted can be mounted again");
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn device(&self) -> PathBuf {
        PathBuf::from(format!("/dev/zram{}", self.number))
    }

    fn mount_again(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "errors=remount-ro"]).arg(self.device()).arg(self.path()))
    }

    fn set(&self, attribute: &str, value: &str) -> Result<(), String> {
        let path = format!("/sys/block/zram{}/{attribute}", self.number);
        fs::write(&path, value).map_err(|error| format!("{path}: {error}"))
    }
}

impl Drop for BlockDisk {
    fn drop(&mut self) {
        unmount(self.path());
        let removed = self.set("reset", "1").and_then(|()| {
            fs::write("/sys/class/zram-control/hot_remove", self.number.to_string()).map_err(|error| error.to_string())
        });
        if let Err(error) = removed {
            note(format_args!("cannot remove {}: {error}", self.device().display()));
        }
    }
}

fn unmount(path: &Path) {
    if let Err(error) = run(Command::new("umount").arg(path)) {
        note(format_args!("cannot unmount {}: {error}", path.display()));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
