//! A sealed file while it is written.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    FallocateFlags, Gid, Mode, Timespec, Timestamps, Uid, fallocate, fchmod, fchown, futimens,
};
use rustix::io::Errno;

use crate::domain::xattr::ExtendedAttributes;
use crate::domain::{FileAttributes, StorePath};
use crate::seal::WriteAt;
use crate::sys;

use super::faulty::Tripwire;
use super::{VaultError, beneath, xattr};

/// A sealed file under the name `NAME.part`, until [`super::Vault::publish`] gives it its own.
///
/// Dropped before that, it takes its file along; after a crash [`super::Vault::sweep_drafts`]
/// does. It never holds anything but ciphertext.
pub struct Draft {
    path: StorePath,
    file: File,
    folder: OwnedFd,
    keeps_owner: bool,
    written_bytes: AtomicU64,
    is_renamed: bool,
    tripwire: Option<Tripwire>,
}

impl Draft {
    pub(super) fn new(path: StorePath, file: File, folder: OwnedFd, keeps_owner: bool) -> Self {
        let written_bytes = AtomicU64::new(0);
        Self { path, file, folder, keeps_owner, written_bytes, is_renamed: false, tripwire: None }
    }

    /// Where it will lie.
    pub fn path(&self) -> &StorePath {
        &self.path
    }

    /// Gives the file the times of the original, and beside originals its mode and owner too, so
    /// that `ls -l` and the recorder's own retention still mean something. In the own tree files
    /// stay 0600 and ours: whoever could read the recording's folder shall not read the vault.
    /// Call it after the last write. False if the owner could not be kept (not root).
    ///
    /// # Errors
    ///
    /// [`VaultError::Io`]; the draft is as good as before.
    pub fn keep_attributes(&self, attributes: &FileAttributes) -> Result<bool, VaultError> {
        let at = |errno: Errno| VaultError::io("keeping attributes")(errno.into());
        let mut is_owner_kept = true;
        if self.keeps_owner {
            let owner = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
            match fchown(&self.file, Some(owner.0), Some(owner.1)) {
                Ok(()) => {}
                Err(Errno::PERM | Errno::INVAL | Errno::NOTSUP) => is_owner_kept = false,
                Err(error) => return Err(at(error)),
            }
            fchmod(&self.file, Mode::from_raw_mode(attributes.mode & 0o777)).map_err(at)?;
        }
        let last_access = timespec(attributes.accessed_ns);
        let last_modification = timespec(attributes.modified_ns);
        futimens(&self.file, &Timestamps { last_access, last_modification }).map_err(at)?;
        Ok(is_owner_kept)
    }

    /// Gives the file the extended attributes of the original: all of them beside originals, only
    /// `user.*` in the own tree. Call it after [`Self::keep_attributes`], because a change of mode
    /// or owner changes some of them. Returns how many could not be set; a file system without
    /// extended attributes has none to miss.
    pub fn keep_xattrs(&self, attributes: &ExtendedAttributes) -> usize {
        xattr::set(&self.file, attributes, self.keeps_owner)
    }

    /// From now on each write asks `tripwire` first.
    pub(super) fn guard(&mut self, tripwire: Tripwire) {
        self.tripwire = Some(tripwire);
    }

    /// Asks for the room of a long file at once, where the file system can: a full disk is then
    /// found before the work and not in the middle of it. For a short one it costs more than that.
    pub(super) fn reserve(&self, expected_bytes: u64) -> Result<(), VaultError> {
        if expected_bytes < RESERVE_FROM_BYTES {
            return Ok(());
        }
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, expected_bytes) {
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(error) => Err(VaultError::io("reserving room")(error.into())),
        }
    }

    pub(super) fn kick(&self) {
        sys::kick_writeback(&self.file, 0, 0).ok(); // the sync reports what is wrong
    }

    /// Makes the bytes durable, then takes the final name; the folder is the caller's to sync.
    /// From here on dropping the draft leaves the file.
    pub(super) fn publish(&mut self) -> Result<(), VaultError> {
        self.file.sync_data().map_err(VaultError::io("syncing a sealed file"))?;
        beneath::rename(self.folder.as_fd(), &draft_name(&self.path), self.path.expose_name())
            .map_err(VaultError::io("naming a sealed file"))?;
        self.is_renamed = true;
        Ok(())
    }

    pub(super) fn sync_folder(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.folder)?)
    }
}

impl WriteAt for Draft {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        if let Some(tripwire) = &self.tripwire {
            tripwire.step()?;
        }
        FileExt::write_all_at(&self.file, buf, offset)
    }

    /// Starts write-back every 8 MiB: the best single trick for the sync at the end.
    fn written(&self, _offset: u64, len: u64) {
        let before = self.written_bytes.fetch_add(len, Ordering::Relaxed);
        if before / KICK_BYTES != before.saturating_add(len) / KICK_BYTES {
            self.kick();
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_renamed {
            // What stays after all is ciphertext under a name that the next sweep knows.
            beneath::unlink(self.folder.as_fd(), &draft_name(&self.path)).ok();
        }
    }
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").field("written_bytes", &self.written_bytes).finish_non_exhaustive()
    }
}

/// The last component while the file is written.
pub(super) fn draft_name(path: &StorePath) -> Vec<u8> {
    [path.expose_name(), DRAFT_SUFFIX].concat()
}

fn timespec(nanos: i64) -> Timespec {
    Timespec { tv_sec: nanos.div_euclid(1_000_000_000), tv_nsec: nanos.rem_euclid(1_000_000_000) }
}

pub(super) const DRAFT_SUFFIX: &[u8] = b".part";
const KICK_BYTES: u64 = 8 << 20;
const RESERVE_FROM_BYTES: u64 = 8 << 20;
