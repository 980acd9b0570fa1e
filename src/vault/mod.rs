//! Sealed copies on disk, and the end of plaintext originals.
//!
//! ```text
//! begin ─▶ NAME.part ─writes─▶ sync ─▶ rename NAME ─▶ sync folder ─▶ open_uncached, compare ─▶ proof
//!                                                                                            │
//! call.wav ─▶ ….checking ─check─▶ ….removing ─▶ overwrite, verify ─▶ unlink ─▶ sync folder ◀───┘
//!
//! NAME ─▶ ….checking ─check─▶ ….erasing ─▶ overwrite, verify ─▶ evidence ┊ unlink ─▶ wipe journal
//! ```
//!
//! A name without `.part` is a whole sealed file, always: it gets the name after its bytes are
//! durable. If the power goes before the rename, the original is the good copy and the `.part` is
//! swept away; after it both are. `original` says the same for each step of a removal.
//!
//! Start reading at [`Vault`], then [`original::remove_many`] and [`erase`]. What an overwrite is worth is
//! decided in [`storage_kind`], and nowhere else.
//!
//! # Invariants
//!
//! - Only ciphertext is ever written here, and random bytes.
//! - Nothing is replaced: a name that exists is an error.
//! - No path is in an error: it may hold a phone number. The caller knows whose it was.

mod backups;
mod beneath;
mod draft;
pub mod erase;
pub mod faulty;
mod local;
mod observe;
pub mod original;
mod overwrite;
pub mod pace;
pub mod storage_kind;
mod xattr;

pub use backups::BackupFolder;
pub use draft::Draft;
pub use erase::{CopyEvidence, Doomed, Overwritten, SealedIdentity};
pub use local::{Layout, LocalVault};
pub use observe::storage_report;
pub use overwrite::OverwriteError;
pub use pace::{FullSpeed, Pace, Throttle};
pub use xattr::read_xattrs;

use std::io;
use std::sync::Mutex;

use uuid::Uuid;

use crate::domain::{DestructionEvidence, JournalFate, SealedKind, StorePath};
use crate::seal::ReadAt;

/// An open sealed file.
pub type SealedMedia = Box<dyn ReadAt + Send + Sync>;

/// A place for sealed files. All calls block.
///
/// Whoever implements it promises: a path that [`Self::open`] finds is a whole file that was
/// published; what [`Self::publish`] said yes to survives a power cut; a repeated call is harmless.
pub trait Vault: Send + Sync {
    /// Begins a sealed file of about `expected_bytes`.
    ///
    /// # Errors
    ///
    /// [`VaultError::NoSpace`] if that would eat into the reserve, [`VaultError::Exists`] if the
    /// same path is being written. Nothing is left behind.
    fn begin(&self, path: &StorePath, expected_bytes: u64) -> Result<Draft, VaultError>;

    /// Makes drafts durable under their names; one result for each, in order. One sync for each
    /// file and one for each folder, so hand over what was sealed together.
    ///
    /// A draft that failed is gone, unless its name was taken already and only the folder's sync
    /// failed: destroy the path before a new attempt.
    fn publish(&self, drafts: Vec<Draft>) -> Vec<Result<(), VaultError>>;

    /// Opens a published file.
    ///
    /// # Errors
    ///
    /// [`VaultError::Missing`], or [`VaultError::NotPlain`] where a link lies in the way.
    fn open(&self, path: &StorePath) -> Result<SealedMedia, VaultError>;

    /// The same after dropping what the page cache holds of it: for the read-back that proves.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    fn open_uncached(&self, path: &StorePath) -> Result<SealedMedia, VaultError>;

    /// Overwrites a published file in place, verifies that, unlinks it and syncs its folder. A
    /// missing one is fine and counts zero bytes, [`crate::domain::Overwrite::Skipped`]. What a
    /// crashed attempt left as a draft of it goes, too: beside originals nothing else sweeps it.
    ///
    /// # Errors
    ///
    /// The file is still there, perhaps half random; call again.
    fn destroy(&self, path: &StorePath) -> Result<DestructionEvidence, VaultError>;

    /// The first step of an erasure: takes the name of each copy away, overwrites it in place and
    /// verifies that; one result for each, in order. Record the evidence before
    /// [`Self::unlink_many`].
    ///
    /// Safe to repeat: a copy is found under its own name or under its opaque one, and is then
    /// overwritten from the start. Each costs a write, a read and a flush, and each folder one
    /// sync, so hand over what belongs together. Up to four files are worked on at once.
    ///
    /// # Errors
    ///
    /// [`VaultError::Changed`] and the like if it is not the file that was meant: then it is
    /// untouched and has its own name. [`VaultError::Busy`] if somebody has it open, which
    /// includes a reader of this daemon. After [`VaultError::Stopped`] and failed calls it may be
    /// half random under its opaque name; call again.
    fn overwrite_many(
        &self,
        doomed: &[Doomed],
        pace: &dyn Pace,
    ) -> Vec<Result<Overwritten, VaultError>>;

    /// The second step: unlinks what was overwritten, and drafts of it, syncs each folder and
    /// wipes the journal of each file system once, as far as that can be had; one result for each,
    /// in order. Safe to repeat; a copy that is gone is fine.
    ///
    /// # Errors
    ///
    /// [`VaultError::Exists`] if the copy still lies under its own name, [`VaultError::Changed`]
    /// if what lies under the opaque one was not overwritten: it is left alone.
    fn unlink_many(&self, doomed: &[Doomed]) -> Vec<Result<JournalFate, VaultError>>;

    /// True if something was published under `path`.
    ///
    /// # Errors
    ///
    /// If the answer could not be had.
    fn exists(&self, path: &StorePath) -> Result<bool, VaultError>;

    /// Shows each published file and its length to `visit`, in no order.
    ///
    /// # Errors
    ///
    /// If a folder could not be read; then what was shown is not everything.
    fn list(&self, visit: &mut dyn FnMut(StorePath, u64)) -> Result<(), VaultError>;

    /// Removes what crashed attempts left and says how many files that was. Call it before the
    /// first [`Self::begin`]: a draft that is being written looks the same.
    ///
    /// # Errors
    ///
    /// If a folder could not be read or a file not removed.
    fn sweep_drafts(&self) -> Result<u64, VaultError>;
}

/// What a vault could not do.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file system is full, up to the reserve.
    #[error("{available_bytes} bytes free beyond the reserve, {needed_bytes} needed")]
    NoSpace {
        /// Length that was announced.
        needed_bytes: u64,
        /// What may be used.
        available_bytes: u64,
    },
    /// The name is taken.
    #[error("a sealed file of that name exists")]
    Exists,
    /// Nothing of that name.
    #[error("no sealed file of that name")]
    Missing,
    /// Not a plain file reached without links.
    #[error("not a plain file in a plain folder")]
    NotPlain,
    /// It has other names, so its bytes would live on under them.
    #[error("the sealed file has {links} names")]
    HardLinked {
        /// How many.
        links: u64,
    },
    /// Another file than the one that was meant, or changed since.
    #[error("not the file that the catalog knows")]
    Changed,
    /// Immutable or append-only: somebody wants it kept.
    #[error("the file is immutable or append-only")]
    Protected,
    /// Somebody has it open.
    #[error("the file is open elsewhere")]
    Busy,
    /// A pause or a shutdown came first; nothing is lost.
    #[error("stopped before the end")]
    Stopped,
    /// The overwrite did not end well.
    #[error("overwriting a file")]
    Overwrite(#[source] OverwriteError),
    /// A system call failed.
    #[error("vault: {step}")]
    Io {
        /// Where.
        step: &'static str,
        /// How.
        source: io::Error,
    },
}

impl VaultError {
    /// Worth the same try again later; everything else needs a person or a new plan.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoSpace { .. } | Self::Busy | Self::Stopped => true,
            Self::Overwrite(OverwriteError::Io { source, .. }) | Self::Io { source, .. } => {
                is_transient_io(source)
            }
            Self::Overwrite(OverwriteError::Stopped) => true,
            Self::Overwrite(OverwriteError::Differs { .. })
            | Self::Changed
            | Self::Protected
            | Self::Exists
            | Self::Missing
            | Self::NotPlain
            | Self::HardLinked { .. } => false,
        }
    }

    pub(crate) fn io(step: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        use rustix::io::Errno;
        move |source| match Errno::from_io_error(&source) {
            Some(Errno::NOENT) => Self::Missing,
            Some(Errno::EXIST) => Self::Exists,
            Some(Errno::LOOP | Errno::XDEV | Errno::NOTDIR | Errno::NXIO) => Self::NotPlain,
            _ => Self::Io { step, source },
        }
    }
}

impl From<OverwriteError> for VaultError {
    fn from(error: OverwriteError) -> Self {
        match error {
            OverwriteError::Stopped => Self::Stopped,
            OverwriteError::Io { .. } | OverwriteError::Differs { .. } => Self::Overwrite(error),
        }
    }
}

/// Where a sealed file lies in the own tree: `0199/a3f/UUID.media`.
///
/// The folders are the upper bits of the id, which are its time: what is sealed together lies
/// together (a folder takes 17 minutes), so a batch syncs one folder and not one per file.
pub fn own_path(file: Uuid, kind: SealedKind) -> StorePath {
    let hex = file.simple().to_string();
    let path = format!("{}/{}/{file}.{}", &hex[..4], &hex[4..7], kind.as_str());
    StorePath::new(path).expect("hexadecimal digits are a sound path")
}

/// Where a sealed file lies beside its original; `None` if that path would be too long.
pub fn beside_path(original: &StorePath) -> Option<StorePath> {
    StorePath::new([original.expose_bytes(), BESIDE_SUFFIX].concat())
}

fn is_transient_io(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::Interrupted
            | K::QuotaExceeded
            | K::ResourceBusy
            | K::StaleNetworkFileHandle
            | K::StorageFull
            | K::TimedOut
            | K::WouldBlock
    )
}

/// The same error for the next one it concerns.
fn same_error(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// Does `work` to each item, in order of results, on a few threads: a flush waits for the disk
/// and not for us, and the disk takes several at once. Beyond four little is gained.
fn in_parallel<T: Send, W, R: Send>(
    items: Vec<T>,
    worker: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, T) -> R + Sync,
) -> Vec<R> {
    let width = items.len().min(WORKERS);
    if width < 2 {
        let mut worker = worker();
        return items.into_iter().map(|item| work(&mut worker, item)).collect();
    }
    let results: Mutex<Vec<Option<R>>> = Mutex::new(items.iter().map(|_| None).collect());
    let queue = Mutex::new(items.into_iter().enumerate());
    let next = || queue.lock().expect("no panic while the queue is held").next();
    std::thread::scope(|scope| {
        for _ in 0..width {
            scope.spawn(|| {
                let mut worker = worker();
                while let Some((index, item)) = next() {
                    let result = work(&mut worker, item);
                    results.lock().expect("no panic while results are held")[index] = Some(result);
                }
            });
        }
    });
    let results = results.into_inner().expect("the threads have ended");
    results.into_iter().map(|result| result.expect("each item was worked on")).collect()
}

const BESIDE_SUFFIX: &[u8] = b".sealed";
const WORKERS: usize = 4;
