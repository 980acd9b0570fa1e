//! How [`Storage`] is found out: `statfs`, `/proc` and `/sys`, read only.
//!
//! ```text
//! fstatfs ─▶ file system   statx mount id ─▶ mountinfo ─▶ source ─▶ /sys/dev/block/M:N ─▶ slaves …
//! ```
//!
//! btrfs has device numbers that belong to no device, so the way to the disk is always the mount's
//! source. Everything here is a thin reader; what the signals mean is `storage_kind`'s affair.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};

use super::storage_kind::{
    self, BlockSignals, FileSystem, Media, Storage, StorageReport, classify_media, is_thin, promise,
};

/// What the mount that holds `folder` can promise. A dozen small reads: ask once per batch.
///
/// # Errors
///
/// Only if the file system cannot be named at all. What else is missing makes the answer worse.
pub(super) fn storage_of(folder: BorrowedFd<'_>) -> io::Result<Storage> {
    let magic = rustix::fs::fstatfs(folder)?.f_type as u64 & 0xFFFF_FFFF;
    let file_system = FileSystem::from_magic(magic);
    let mount = Mount::of(folder).unwrap_or_default();
    let stack = match file_system {
        FileSystem::Memory(_) | FileSystem::Remote(_) | FileSystem::Overlay => Vec::new(),
        FileSystem::Ext
        | FileSystem::Xfs
        | FileSystem::Btrfs
        | FileSystem::Elsewhere(_)
        | FileSystem::Unknown(_) => device_stack(&mount.source),
    };
    let media = match file_system {
        FileSystem::Memory(_) => Media::Memory,
        FileSystem::Remote(_) => Media::Network,
        FileSystem::Ext
        | FileSystem::Xfs
        | FileSystem::Btrfs
        | FileSystem::Overlay
        | FileSystem::Elsewhere(_)
        | FileSystem::Unknown(_) => classify_media(&stack, is_virtual_machine()),
    };
    let may_journal_data =
        file_system == FileSystem::Ext && stack.first().is_none_or(may_journal_data);
    let is_no_cow = mount.options.split(',').any(|option| option == "nodatacow");
    Ok(Storage { file_system, media, may_journal_data, is_no_cow, is_thin: is_thin(&stack) })
}

/// The promise of `folder`, in words for people.
///
/// # Errors
///
/// What the system says if the folder cannot be asked.
pub fn storage_report(folder: BorrowedFd<'_>) -> io::Result<StorageReport> {
    let storage = storage_of(folder)?;
    Ok(StorageReport {
        file_system: storage.file_system.name(),
        media: storage.media.as_str(),
        promise: promise(&storage, inode_flags(folder)),
    })
}

/// Inode flags of an open file or folder, where the file system has such.
pub(super) fn inode_flags(file: impl AsFd) -> Option<u32> {
    rustix::fs::ioctl_getflags(file).ok().map(|flags| flags.bits())
}

/// The ext4 driver lists the options in force here; mountinfo leaves out what `tune2fs` set.
fn may_journal_data(device: &BlockSignals) -> bool {
    let options = Path::new("/proc/fs/ext4").join(&device.name).join("options");
    read_small(&options).is_none_or(|text| text.lines().any(|line| line == "data=journal"))
}

/// The device file `source` and all below it, topmost first; empty if there is none to see.
fn device_stack(source: &str) -> Vec<BlockSignals> {
    let mut stack = Vec::new();
    let Some(top) = block_folder(source) else { return stack };
    let mut waiting = vec![top];
    while let Some(folder) = waiting.pop() {
        if stack.len() == STACK_MAX {
            break;
        }
        let slaves = fs::read_dir(folder.join("slaves")).into_iter().flatten().flatten();
        waiting.extend(slaves.filter_map(|slave| fs::canonicalize(slave.path()).ok()));
        stack.push(block_signals(&folder));
    }
    stack
}

fn block_signals(folder: &Path) -> BlockSignals {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let queue = ["queue/rotational", "../queue/rotational"]; // a partition has its disk's queue
    let rotational = queue.iter().find_map(|file| read_small(&folder.join(file)));
    BlockSignals {
        name: name.unwrap_or_default(),
        rotational: rotational.map(|text| text.trim() == "1"),
        dm_uuid: read_small(&folder.join("dm/uuid"))
            .map(|text| text.trim().to_owned())
            .unwrap_or_default(),
        is_virtio: folder.to_string_lossy().contains("/virtio"),
        is_copied_below: is_copied_below(folder),
    }
}

/// What a loop device lies on can be seen, unlike what is below other virtual disks. A file that
/// is gone or of another mount namespace tells nothing.
fn is_copied_below(folder: &Path) -> bool {
    let files = ["loop/backing_file", "../loop/backing_file"];
    let Some(image) = files.iter().find_map(|file| read_small(&folder.join(file))) else {
        return false;
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let image = rustix::fs::open(image.trim_end_matches('\n'), flags, Mode::empty());
    let Ok(image) = image else { return false };
    let Ok(seen) = rustix::fs::fstatfs(&image) else { return false };
    match FileSystem::from_magic(seen.f_type as u64 & 0xFFFF_FFFF) {
        FileSystem::Btrfs => !storage_kind::is_no_cow(inode_flags(&image)),
        FileSystem::Elsewhere(_) => true,
        FileSystem::Ext
        | FileSystem::Xfs
        | FileSystem::Memory(_)
        | FileSystem::Overlay // the image was copied up before it was attached
        | FileSystem::Remote(_)
        | FileSystem::Unknown(_) => false,
    }
}

/// `/sys` folder of the device file `source`. The partition's own, so that its name is the one
/// that the file system knows.
fn block_folder(source: &str) -> Option<PathBuf> {
    let device = rustix::fs::stat(source).ok()?.st_rdev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()
}

/// What mountinfo says of one mount.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mount {
    /// Where its content comes from: a device file, as a rule.
    source: String,
    /// Options of the file system.
    options: String,
}

impl Mount {
    fn of(folder: BorrowedFd<'_>) -> Option<Self> {
        let flags = AtFlags::EMPTY_PATH;
        let id = rustix::fs::statx(folder, c"", flags, StatxFlags::MNT_ID).ok()?.stx_mnt_id;
        Self::find(&read_small(Path::new("/proc/self/mountinfo"))?, id)
    }

    /// Mount number `id`: `36 35 98:0 /root /point opts [tags…] - type source options`.
    fn find(mountinfo: &str, id: u64) -> Option<Self> {
        let line = mountinfo
            .lines()
            .find(|line| line.split(' ').next().and_then(|first| first.parse().ok()) == Some(id))?;
        let mut words = line.split_once(" - ")?.1.split(' ').skip(1);
        let source = words.next()?.replace("\\040", " ").replace("\\134", "\\");
        Some(Self { source, options: words.next()?.to_owned() })
    }
}

/// Asked once: with a hundred cores the answer is long, and it does not change.
fn is_virtual_machine() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        read_small(Path::new("/proc/cpuinfo")).is_some_and(|text| {
            text.lines()
                .filter(|line| line.starts_with("flags"))
                .any(|line| line.split_whitespace().any(|flag| flag == "hypervisor"))
        })
    })
}

/// The text of a small kernel file; what is longer than a mebibyte is cut.
fn read_small(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(SMALL_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

const STACK_MAX: usize = 64;
const SMALL_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_source_is_the_one_of_the_id() {
        let text = "22 1 0:21 / /proc rw - proc proc rw\n\
                    36 35 0:44 /@ /srv/calls rw shared:1 - btrfs /dev/my\\040disk rw,nodatacow\n";
        let found = Mount::find(text, 36).unwrap();
        assert_eq!((&*found.source, &*found.options), ("/dev/my disk", "rw,nodatacow"));
        // Planted fault: `starts_with("3")` found mount 36.
        assert_eq!(Mount::find(text, 3), None);
        assert_eq!(Mount::find("36", 36), None);
    }

    #[test]
    fn kernel_file_systems_are_told_apart() {
        let proc = fs::File::open("/proc").unwrap();
        let report = storage_report(proc.as_fd()).unwrap();
        assert!(report.file_system.starts_with("unknown-"), "{report:?}");
        assert_eq!(report.promise, crate::domain::Overwrite::NotGuaranteedUnknownFs);
    }
}
