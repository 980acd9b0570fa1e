//! Opening, renaming and syncing below a folder that was opened once.
//!
//! A path is only ever walked from an open root, in one system call that refuses symbolic links
//! and `..`; whoever swaps a folder for a link gets an error and not another file. What is opened
//! is then used by its descriptor.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::domain::{Fingerprint, StorePath};

use super::observe;
use super::storage_kind::Storage;

/// Opens `path` below `root`, following no link on the way.
pub(super) fn open(root: BorrowedFd<'_>, path: &StorePath, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mode = if flags.contains(OFlags::CREATE) { MODE_FILE } else { Mode::empty() };
    Ok(File::from(rustix::fs::openat2(root, path.expose_path(), flags, mode, resolve)?))
}

/// Opens a folder; `None` is the root itself, opened anew.
pub(super) fn open_folder(root: BorrowedFd<'_>, path: Option<&StorePath>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    match path {
        Some(path) => open(root, path, flags).map(OwnedFd::from),
        None => Ok(rustix::fs::openat(root, c".", flags | OFlags::CLOEXEC, Mode::empty())?),
    }
}

/// Opens a folder and makes what is missing of it, mode 0700. Each new name is durable on return,
/// because a file synced in a folder that is not durable is lost with it.
pub(super) fn make_folder(root: BorrowedFd<'_>, path: Option<&StorePath>) -> io::Result<OwnedFd> {
    match open_folder(root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let Some(path) = path else { return Err(io::ErrorKind::NotFound.into()) };
    let parent = make_folder(root, path.folder().as_ref())?;
    match rustix::fs::mkdirat(&parent, path.expose_name(), MODE_FOLDER) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    rustix::fs::fsync(&parent)?;
    open_folder(root, Some(path))
}

/// What `name` in `folder` is now, without following it; `None` if nothing.
pub(super) fn stat(folder: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Renames within `folder` and never replaces. Where the file system cannot refuse by itself (NFS,
/// old FUSE) it is asked first.
pub(super) fn rename(folder: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> io::Result<()> {
    match rustix::fs::renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        done => return Ok(done?),
    }
    if stat(folder, to)?.is_some() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    Ok(rustix::fs::renameat(folder, from, folder, to)?)
}

/// Takes `name` out of `folder`; one that is gone already is fine.
pub(super) fn unlink(folder: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Gives the file `inode` its own name back, or one beside it if that was taken meanwhile: it is
/// then found as a new file. Durable on return.
pub(super) fn put_back(
    folder: &Folder,
    from: &[u8],
    path: &StorePath,
    inode: u64,
) -> io::Result<()> {
    let own = path.expose_name();
    match rename(folder.as_fd(), from, own) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            rename(folder.as_fd(), from, &name_beside(own, inode))?;
        }
        done => done?,
    }
    folder.sync()
}

/// `call.wav` becomes `call.kept-INODE.wav`; a name that would grow too long is cut at its front.
pub(super) fn name_beside(name: &[u8], inode: u64) -> Vec<u8> {
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let kept = [format!(".kept-{inode}").as_bytes(), extension].concat();
    let room = NAME_BYTES_MAX.saturating_sub(kept.len()).min(stem.len());
    [&stem[stem.len() - room..], &kept].concat()
}

/// Which content `stat` is of.
pub(super) fn fingerprint(stat: &Stat) -> Fingerprint {
    let nanos = |secs: i64, nanos: i64| secs.saturating_mul(1_000_000_000).saturating_add(nanos);
    Fingerprint {
        device: stat.st_dev,
        inode: stat.st_ino,
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns: nanos(stat.st_mtime, stat.st_mtime_nsec as i64),
        changed_ns: nanos(stat.st_ctime, stat.st_ctime_nsec as i64),
    }
}

/// True if `stat` is a plain file.
pub(super) fn is_regular(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile
}

/// The folders of one batch, each opened once and synced once.
pub(super) struct Folders<'r> {
    root: BorrowedFd<'r>,
    known: HashMap<Option<StorePath>, Arc<Folder>>,
}

/// One of them.
pub(super) struct Folder {
    fd: OwnedFd,
    storage: OnceLock<Storage>,
}

impl<'r> Folders<'r> {
    pub(super) fn new(root: BorrowedFd<'r>) -> Self {
        Self { root, known: HashMap::new() }
    }

    /// The root itself.
    pub(super) fn root(&mut self) -> io::Result<Arc<Folder>> {
        self.open(None)
    }

    /// The folder of `path`, which has to exist.
    pub(super) fn of(&mut self, path: &StorePath) -> io::Result<Arc<Folder>> {
        self.open(path.folder())
    }

    fn open(&mut self, folder: Option<StorePath>) -> io::Result<Arc<Folder>> {
        if let Some(known) = self.known.get(&folder) {
            return Ok(Arc::clone(known));
        }
        let fd = open_folder(self.root, folder.as_ref())?;
        let opened = Arc::new(Folder { fd, storage: OnceLock::new() });
        self.known.insert(folder, Arc::clone(&opened));
        Ok(opened)
    }
}

impl Folder {
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// What its mount can promise; found out on first use.
    pub(super) fn storage(&self) -> io::Result<Storage> {
        if let Some(storage) = self.storage.get() {
            return Ok(*storage);
        }
        let storage = observe::storage_of(self.fd.as_fd())?;
        Ok(*self.storage.get_or_init(|| storage))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const NAME_BYTES_MAX: usize = 255;
const MODE_FILE: Mode = Mode::from_raw_mode(0o600);
const MODE_FOLDER: Mode = Mode::from_raw_mode(0o700);
