//! A file system of our own: image file, loop device, mount. Undone in reverse when dropped, and
//! only what this value made: other tests have loop devices, too.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::marker::Marker;
use super::{root, run, tools};

/// One mounted file system on a loop device.
pub struct LoopFs {
    kind: &'static str,
    parent: Option<PathBuf>,
    image: PathBuf,
    mount_point: PathBuf,
    device: Option<String>,
    is_mounted: bool,
    _folder: tempfile::TempDir,
}

impl LoopFs {
    /// Makes `kind` (`ext4`, `xfs` or `btrfs`) in a sparse image and mounts it with `options`,
    /// as in `mount -o`; empty for the defaults.
    ///
    /// # Errors
    ///
    /// Why this host cannot do it, for `or_skip!`. Nothing is left behind.
    pub fn make(kind: &'static str, options: &str, mkfs_options: &[&str]) -> Result<Self, String> {
        Self::make_in(None, IMAGE_BYTES, kind, options, mkfs_options)
    }

    /// The same with an image of `bytes`, kept below `parent`. On a parent that clones files
    /// (xfs, btrfs) [`Self::power_cut`] is one instant; elsewhere it takes as long as copying.
    pub fn make_in(
        parent: Option<&Path>,
        bytes: u64,
        kind: &'static str,
        options: &str,
        mkfs_options: &[&str],
    ) -> Result<Self, String> {
        root()?;
        tools(&["losetup", "mount", "umount", &format!("mkfs.{kind}")])?;
        let fs = Self::at_rest(kind, parent)?;
        let image = std::fs::File::create(&fs.image).map_err(|error| error.to_string())?;
        image.set_len(bytes).map_err(|error| error.to_string())?;
        let quiet: &[&str] = if kind == "ext4" { &["-q", "-F"] } else { &["-q", "-f"] };
        let mut mkfs = Command::new(format!("mkfs.{kind}"));
        run(mkfs.args(quiet).args(mkfs_options).arg(&fs.image))?;
        fs.mounted(options)
    }

    /// What a power cut at this moment would have left: a copy of the device as it is, mounted
    /// on its own. Needs a file system that allows two mounts of one identity (ext4, xfs).
    pub fn power_cut(&self) -> Result<Self, String> {
        let copy = Self::at_rest(self.kind, self.parent.as_deref())?;
        let copied = |how| run(Command::new("cp").arg(how).arg(&self.image).arg(&copy.image));
        copied("--reflink=always").or_else(|_| copied("--sparse=always"))?;
        copy.mounted(if self.kind == "xfs" { "nouuid" } else { "" })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// Its loop device.
    pub fn device(&self) -> &Path {
        Path::new(self.device.as_deref().expect("a mounted file system has a device"))
    }

    /// How often `marker` occurs on the raw device, freed blocks and journal included.
    pub fn count_on_device(&self, marker: &Marker) -> u64 {
        run(Command::new("sync").arg("-f").arg(&self.mount_point)).expect("the file system syncs");
        run(Command::new("sync").arg(&self.image)).expect("the image syncs");
        marker.count_in_file(&self.image)
    }

    /// The same once it is unmounted: what whoever finds the disk can find on it.
    pub fn count_at_rest(&mut self, marker: &Marker) -> u64 {
        if std::mem::take(&mut self.is_mounted) {
            run(Command::new("umount").arg(&self.mount_point)).expect("nobody uses it any more");
        }
        run(Command::new("sync").arg(&self.image)).expect("the image syncs");
        marker.count_in_file(&self.image)
    }

    fn at_rest(kind: &'static str, parent: Option<&Path>) -> Result<Self, String> {
        let folder = match parent {
            Some(parent) => tempfile::tempdir_in(parent),
            None => tempfile::tempdir(),
        };
        let folder = folder.map_err(|error| error.to_string())?;
        let mount_point = folder.path().join("mnt");
        std::fs::create_dir(&mount_point).map_err(|error| error.to_string())?;
        let image = folder.path().join("image");
        let parent = parent.map(Path::to_owned);
        let (device, is_mounted) = (None, false);
        Ok(Self { kind, parent, image, mount_point, device, is_mounted, _folder: folder })
    }

    fn mounted(mut self, options: &str) -> Result<Self, String> {
        let mut attach = Command::new("losetup");
        // With direct I/O the image is not cached a second time, and O_DIRECT means it.
        attach.args(["--find", "--show", "--direct-io=on"]).arg(&self.image);
        self.device = Some(run(&mut attach)?);
        let options = if options.is_empty() { "defaults" } else { options };
        let mut mount = Command::new("mount");
        run(mount
            .args(["-t", self.kind, "-o", options])
            .arg(self.device())
            .arg(&self.mount_point))?;
        self.is_mounted = true;
        Ok(self)
    }
}

impl Drop for LoopFs {
    fn drop(&mut self) {
        let mut failures = Vec::new();
        if self.is_mounted {
            failures.extend(run(Command::new("umount").arg(&self.mount_point)).err());
        }
        if let Some(device) = &self.device {
            failures.extend(run(Command::new("losetup").arg("--detach").arg(device)).err());
        }
        if !failures.is_empty() {
            eprintln!("left behind: {failures:?}");
        }
    }
}

/// Sparse. XFS refuses less than 300 MB.
const IMAGE_BYTES: u64 = 384 << 20;
