//! The hands that look into a store: what lies there, and is it finished.
//!
//! ```text
//! bell or timer ─▶ Store::list / walk ─▶ Sightings ─▶ finish::decide ─▶ Store::lease ─▶ the sealer
//!                        ▲ Store::check: is this still the same tree?
//! ```
//!
//! A store is known by an id file at its root, not by its path, and is opened once: every later
//! step starts from that open folder and resolves beneath it. What the file system shows is the
//! truth; events only say when to look.
//!
//! # Invariants
//!
//! - No symlink is followed, no mount is crossed, nothing but regular files is opened.
//! - A root that is missing, replaced or unmarked stops the work ([`StoreLost`]): "nothing there"
//!   is only ever said about a folder that was read to its end in the right tree.
//! - Memory is bounded by the batch and not by the folder; one folder is open at a time.
//! - Apart from the id file, nothing is written, moved or removed here.

pub mod finish;
mod identity;
mod leftovers;
pub mod naming;
pub mod profile;
mod scan;
pub mod sidecar;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::domain::{StoreId, StorePath};
use crate::sys;

pub use identity::ID_FILE;
pub use scan::{Listing, Oddities, Walked};

use profile::Profile;

/// One watched tree, opened.
pub struct Store {
    id: StoreId,
    root: OwnedFd,
    root_path: PathBuf,
    device: u64,
    inode: u64,
    profile: &'static Profile,
    settings: StoreSettings,
    mode: WatchMode,
    excluded: Vec<StorePath>,
}

/// What an admin may set for one store. [`Default`] is right for most.
#[derive(Clone, Copy, Debug)]
pub struct StoreSettings {
    /// How long a file must lie unchanged; `None` takes the profile's.
    pub settle: Option<Duration>,
    /// Events, polls, or whichever the file system can do.
    pub poll: PollChoice,
    /// The least settle time where only polling works.
    pub poll_settle: Duration,
    /// How long an empty file waits to be filled or replaced.
    pub empty_wait: Duration,
    /// How long media that was never finalized waits for its recorder.
    pub unfinished_wait: Duration,
    /// How long a sidecar waits for its recording.
    pub pair_within: Duration,
    /// How long a recorder's "still open" marker is believed.
    pub marker_wait: Duration,
    /// How long a file may keep changing before a person hears of it.
    pub alarm_after: Duration,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            settle: None,
            poll: PollChoice::Auto,
            poll_settle: MINUTE,
            empty_wait: DAY,
            unfinished_wait: 10 * MINUTE,
            pair_within: 10 * MINUTE,
            marker_wait: DAY,
            alarm_after: DAY,
        }
    }
}

/// `poll` in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PollChoice {
    /// Poll where events do not tell everything.
    #[default]
    Auto,
    /// Poll anyway.
    Always,
    /// Trust events anyway.
    Never,
}

/// How news of a store arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// By events, with the reconcile scan as the truth.
    Events,
    /// By looking again and again.
    Poll {
        /// Shown in status: the kind of file system, or `configured`.
        why: &'static str,
    },
}

/// Whether a process of this host may still write a file. Says nothing about other hosts, nor on
/// overlay file systems about shared mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Nobody has it open for writing.
    Free,
    /// Somebody has: not finished.
    Busy,
    /// Another user's file and no `CAP_LEASE`: lying still must do, and status says so.
    NoRight,
    /// The file system has no leases: lying still must do.
    Unsupported,
}

/// Why the tree at a store's path is not the store any more. Nothing may be concluded from what
/// is or is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreLost {
    /// Nothing at the path, or not a folder.
    #[error("its folder is missing")]
    Missing,
    /// Another folder at the path: renamed away and made anew, mounted over, or unmounted.
    #[error("another folder stands in its place")]
    Replaced,
    /// The right folder, or one like it, without the id file: most often a missing mount.
    #[error("its id file is gone; is a mount missing?")]
    Unmarked,
    /// The id file names another store.
    #[error("its id file names store {found}")]
    Remarked {
        /// The id it names.
        found: StoreId,
    },
}

/// What can go wrong while looking into a store. Names no path.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The root cannot be opened.
    #[error("opening the folder of a store")]
    Root {
        /// Why.
        source: io::Error,
    },
    /// The id file cannot be read or made.
    #[error("reading or making the id file {ID_FILE} of a store")]
    Identity {
        /// Why.
        source: io::Error,
    },
    /// The id file holds no id.
    #[error("the id file {ID_FILE} of a store does not hold a UUID")]
    IdentityDamaged,
    /// The tree is not the store any more.
    #[error("store {store} is lost: {lost}")]
    Lost {
        /// Which.
        store: StoreId,
        /// How.
        lost: StoreLost,
    },
    /// A folder cannot be opened or read to its end.
    #[error("listing a folder of store {store}")]
    Folder {
        /// Which store.
        store: StoreId,
        /// Why.
        source: io::Error,
    },
}

impl IntakeError {
    /// Worth the same try again later without a person's help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::Folder { .. } => true,
            Self::Root { .. } | Self::Identity { .. } | Self::IdentityDamaged => false,
        }
    }
}

impl Store {
    /// Opens the tree at `root` and gives it an id file if it has none.
    ///
    /// `known_as` is the id this path had before: with it a missing id file is a missing mount
    /// and not a new store. What lies at or below `excluded` (the daemon's own folders) is not
    /// part of the store.
    ///
    /// # Errors
    ///
    /// [`IntakeError`]; an id file may then have been made, nothing else.
    pub fn open(
        root: &Path,
        profile: &'static Profile,
        settings: StoreSettings,
        excluded: &[&Path],
        known_as: Option<StoreId>,
    ) -> Result<Self, IntakeError> {
        let unopened = |source: io::Error| IntakeError::Root { source };
        let root_path = root.canonicalize().map_err(unopened)?;
        let root = open_root(&root_path).map_err(unopened)?;
        let stat = rustix::fs::fstat(&root).map_err(|error| unopened(error.into()))?;
        let mode = watch_mode(&root, settings.poll).map_err(unopened)?;
        let id = identity::ensure(root.as_fd(), known_as)?;
        let excluded = excluded.iter().filter_map(|path| relative(&root_path, path)).collect();
        let (device, inode) = (stat.st_dev, stat.st_ino);
        Ok(Self { id, root, root_path, device, inode, profile, settings, mode, excluded })
    }

    /// The open root: every later step resolves beneath it.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The device that holds it.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Who it is.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// Where it is, without symlinks. Folder names may tell about people.
    pub fn expose_root(&self) -> &Path {
        &self.root_path
    }

    /// Its recorder's habits.
    pub fn profile(&self) -> &'static Profile {
        self.profile
    }

    /// What was set for it.
    pub fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// How news of it arrives.
    pub fn mode(&self) -> WatchMode {
        self.mode
    }

    /// Makes sure that the path still leads to the tree that was opened. A few microseconds; do
    /// it before believing that something is gone, and once more after.
    ///
    /// # Errors
    ///
    /// How it was lost. When the tree returns, [`Store::open`] it again with `known_as`.
    pub fn check(&self) -> Result<(), StoreLost> {
        let now_there = open_root(&self.root_path).map_err(|_| StoreLost::Missing)?;
        let stat = rustix::fs::fstat(&now_there).map_err(|_| StoreLost::Missing)?;
        if (stat.st_dev, stat.st_ino) != (self.device, self.inode) {
            return Err(StoreLost::Replaced);
        }
        match identity::read(now_there.as_fd()) {
            Ok(Some(found)) if found == self.id => Ok(()),
            Ok(Some(found)) => Err(StoreLost::Remarked { found }),
            Ok(None) | Err(_) => Err(StoreLost::Unmarked),
        }
    }

    /// Opens a regular file for reading, without waiting and without following anything.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is not a regular file or not part of the store; otherwise what the
    /// system says, `ELOOP` for a symlink and `EXDEV` for a mount on the way.
    pub fn open_file(&self, path: &StorePath) -> io::Result<File> {
        if self.is_excluded(path) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(self.open_beneath(path.expose_bytes(), flags)?);
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(file)
    }

    /// Whether a process of this host has `file`, opened by [`Store::open_file`], open for
    /// writing. About 5 µs.
    pub fn lease(&self, file: &File) -> Lease {
        match sys::try_read_lease(file) {
            Ok(sys::LeaseVerdict::Granted) => Lease::Free,
            Ok(sys::LeaseVerdict::Busy) => Lease::Busy,
            Ok(sys::LeaseVerdict::Refused) => Lease::NoRight,
            Err(_) => Lease::Unsupported,
        }
    }

    /// True if something lies at `path`. For the markers of [`finish::decide`].
    ///
    /// # Errors
    ///
    /// Anything but "no such file": then nothing is known.
    pub fn exists(&self, path: &StorePath) -> io::Result<bool> {
        match self.open_beneath(path.expose_bytes(), OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_excluded(&self, path: &StorePath) -> bool {
        self.excluded.iter().any(|folder| path.expose_path().starts_with(folder.expose_path()))
    }

    fn open_beneath(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        let open = || {
            rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
        };
        Ok(rustix::io::retry_on_intr(open)?)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("id", &self.id)
            .field("profile", &self.profile.name)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// True for the errors that mean "there is nothing by that name (any more)".
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// `path` relative to the store, if it lies in it and exists.
fn relative(root: &Path, path: &Path) -> Option<StorePath> {
    use std::os::unix::ffi::OsStrExt;
    let path = path.canonicalize().ok()?;
    StorePath::new(path.strip_prefix(root).ok()?.as_os_str().as_bytes())
}

fn watch_mode(root: &OwnedFd, choice: PollChoice) -> io::Result<WatchMode> {
    match choice {
        PollChoice::Never => return Ok(WatchMode::Events),
        PollChoice::Always => return Ok(WatchMode::Poll { why: "configured" }),
        PollChoice::Auto => {}
    }
    // The numbers are 32 bits wide; the field's width and sign differ between machines.
    let magic = rustix::fs::fstatfs(root)?.f_type as u32;
    let known = EVENTLESS.iter().find(|(number, _)| *number == magic);
    Ok(known.map_or(WatchMode::Events, |(_, why)| WatchMode::Poll { why }))
}

/// File systems on which somebody else can write without an event here (linux/magic.h).
const EVENTLESS: &[(u32, &str)] = &[
    (0x0000_6969, "nfs"),
    (0x0000_517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x794c_7630, "overlay"),
    (0x00c3_6400, "ceph"),
    (0x5346_414f, "afs"),
    (0x0bd0_0bd0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x0116_1970, "gfs2"),
    (0x7461_636f, "ocfs2"),
    (0x786f_4256, "vboxsf"),
];

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests;
