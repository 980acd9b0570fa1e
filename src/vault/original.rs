//! Overwriting and removing plaintext originals. Never the wrong file, never without a proof.
//!
//! ```text
//!   step             name in the folder            if the power goes here, the good copy is
//!   check            call.wav                      the original, and the proved sealed copy
//!   rename           call.wav or ….checking        both, as before
//!   check again      .recseal-ID-INODE.checking    both, or the original if it was written to
//!   rename           ….checking or ….removing      both
//!   sync folder      .recseal-ID-INODE.removing    both
//!   overwrite        .recseal-ID-INODE.removing    the sealed copy
//!   read back        .recseal-ID-INODE.removing    the sealed copy
//!   unlink           that or none                  the sealed copy
//!   sync folder      none                          the sealed copy
//! ```
//!
//! The first new name takes the file away from everybody who would find it by its path; only then
//! is it looked at for the last time. A file that a recorder wrote to in between, or a crash there,
//! gets its own name back: nothing was proved of what it holds. The second new name says that this
//! look was good, and after a crash it tells a file that may be half random from one that the
//! recorder wrote. It is made durable before the first byte is overwritten. The inode is in both
//! because the sidecars of a recording go under the same id.
//!
//! Recordings that never were sealed and shall not be kept go another way: [`overwrite_originals`].
//!
//! # Invariants
//!
//! - A [`VerifiedSeal`] is used up for each original. [`resume_many`] needs none, because only the
//!   holder of a proof gave the file that name; it still checks that it is the same inode.
//! - What was checked is the descriptor, and the descriptor is what is overwritten.
//! - A file with a second name, an opener, another content or a protection flag is left alone.
//! - Only a file whose second look was good has ever had a `.removing` name.

mod erase;
mod error;

pub use erase::{DoomedOriginal, ErasureOrder, overwrite_originals, unlink_originals};
pub use error::{RemoveError, Step};

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{IFlags, OFlags, Stat};

use crate::domain::{DestructionEvidence, Fingerprint, Overwrite, RecordingId, StorePath};
use crate::seal::VerifiedSeal;
use crate::sys::{self, LeaseVerdict};

use super::beneath::{self, Folder, Folders, fingerprint};
use super::in_parallel;
use super::overwrite::Overwriter;

/// One original whose sealed copy was proved equal.
#[derive(Debug)]
pub struct Removal {
    /// Where it lies in its store.
    pub path: StorePath,
    /// The content that was sealed.
    pub expected: Fingerprint,
    /// The proof; used up.
    pub proof: VerifiedSeal,
}

/// One removal that a crash may have interrupted.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// Where the original lay.
    pub path: StorePath,
    /// The content that was sealed. Only the inode still counts: size and time may be ours now.
    pub expected: Fingerprint,
    /// Whose original.
    pub recording: RecordingId,
}

/// How originals are removed.
#[derive(Clone, Copy, Debug)]
pub struct RemovePolicy {
    /// Overwrite and verify before unlinking. Off is for disks where it is known to be vain.
    pub overwrite: bool,
}

/// What a look at an [`Unfinished`] removal led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// It had begun, and now it is done.
    Finished(DestructionEvidence),
    /// It had not begun: the original lies where it was. Prove the seal again and remove it.
    Untouched,
    /// Neither name leads to that inode any more; the folder is synced.
    NothingLeft,
}

/// Removes one original; see [`remove_many`].
///
/// # Errors
///
/// [`RemoveError`].
pub fn remove(
    root: BorrowedFd<'_>,
    removal: Removal,
    policy: RemovePolicy,
) -> Result<DestructionEvidence, RemoveError> {
    remove_many(root, vec![removal], policy).pop().expect("one removal has one result")
}

/// Overwrites and removes originals below `root`, the open folder of their store; one result for
/// each, in order. Costs per file a write, a read and a flush, and per folder two syncs, so hand
/// over what belongs together: 64 at a time is a good batch.
///
/// A lease tells whether somebody has the file open, and that includes the caller: drop the handle
/// that it was sealed and proved from. Where the kernel gives none (a file of
/// another user and no `CAP_LEASE`, NFS, FUSE) size and time before and after the rename have to
/// do.
pub fn remove_many(
    root: BorrowedFd<'_>,
    removals: Vec<Removal>,
    policy: RemovePolicy,
) -> Vec<Result<DestructionEvidence, RemoveError>> {
    in_batches(removals, |batch| remove_watched(root, batch, policy, &|_| Ok(())))
}

/// Finishes what a crash interrupted; one result for each, in order. Safe to repeat.
pub fn resume_many(
    root: BorrowedFd<'_>,
    unfinished: Vec<Unfinished>,
    policy: RemovePolicy,
) -> Vec<Result<Resumed, RemoveError>> {
    in_batches(unfinished, |batch| resume_batch(root, &batch, policy))
}

/// The names in one folder that removals gave, for `doctor` and for recordings that the catalog lost.
///
/// # Errors
///
/// If the folder cannot be listed.
pub fn leftover_removals(
    root: BorrowedFd<'_>,
    folder: Option<&StorePath>,
) -> io::Result<Vec<(StorePath, RecordingId)>> {
    let fd = beneath::open_folder(root, folder)?;
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(&fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if let Some(recording) = recording_being_removed(name) {
            found.extend(StorePath::join(folder, name).map(|path| (path, recording)));
        }
    }
    Ok(found)
}

/// The name that the file `inode`, an original of `recording`, has while it is removed.
pub fn removing_name(recording: RecordingId, inode: u64) -> Vec<u8> {
    format!("{NAME_PREFIX}{recording}-{inode}{REMOVING}").into_bytes()
}

/// The name that it has while it is looked at for the last time.
fn checking_name(recording: RecordingId, inode: u64) -> Vec<u8> {
    format!("{NAME_PREFIX}{recording}-{inode}{CHECKING}").into_bytes()
}

/// Whose original has this name, if it is one that a removal gives.
pub fn recording_being_removed(name: &[u8]) -> Option<RecordingId> {
    let name = std::str::from_utf8(name).ok()?;
    let name = name.strip_prefix(NAME_PREFIX)?;
    let name = name.strip_suffix(REMOVING).or_else(|| name.strip_suffix(CHECKING))?;
    let (id, inode) = name.rsplit_once('-')?;
    inode.parse::<u64>().ok()?;
    id.parse().ok()
}

/// Called before each step; what it returns as an error is that step's failure.
type Watch<'a> = &'a (dyn Fn(Step) -> io::Result<()> + Sync);

/// A file under its `.removing` name, open and checked.
struct Claim {
    recording: RecordingId,
    file: File,
    inode: u64,
    folder: Arc<Folder>,
}

enum Reclaimed {
    Claim(Claim),
    Nothing(Resumed),
}

fn in_batches<T, R>(items: Vec<T>, mut work: impl FnMut(Vec<T>) -> Vec<R>) -> Vec<R> {
    let mut results = Vec::with_capacity(items.len());
    let mut items = items.into_iter();
    loop {
        let batch: Vec<T> = items.by_ref().take(BATCH_MAX).collect();
        if batch.is_empty() {
            return results;
        }
        results.extend(work(batch));
    }
}

fn resume_batch(
    root: BorrowedFd<'_>,
    unfinished: &[Unfinished],
    policy: RemovePolicy,
) -> Vec<Result<Resumed, RemoveError>> {
    let mut folders = Folders::new(root);
    let mut results: Vec<Option<Result<Resumed, RemoveError>>> = Vec::new();
    let mut claims = Vec::new();
    for item in unfinished {
        match reclaim(&mut folders, item, policy) {
            Ok(Reclaimed::Claim(claim)) => {
                claims.push(Ok(claim));
                results.push(None);
            }
            Ok(Reclaimed::Nothing(resumed)) => results.push(Some(Ok(resumed))),
            Err(error) => results.push(Some(Err(error))),
        }
    }
    let mut finished = finish(claims, policy, &|_| Ok(())).into_iter();
    let take = |known: Option<_>| {
        known.unwrap_or_else(|| {
            finished.next().expect("each claim has one result").map(Resumed::Finished)
        })
    };
    results.into_iter().map(take).collect()
}

fn remove_watched(
    root: BorrowedFd<'_>,
    removals: Vec<Removal>,
    policy: RemovePolicy,
    watch: Watch<'_>,
) -> Vec<Result<DestructionEvidence, RemoveError>> {
    let mut folders = Folders::new(root);
    let claims: Vec<_> = removals
        .into_iter()
        .map(|removal| claim(root, &mut folders, removal, policy, watch))
        .collect();
    finish(claims, policy, watch)
}

/// Checks the original and takes its name away.
fn claim(
    root: BorrowedFd<'_>,
    folders: &mut Folders<'_>,
    removal: Removal,
    policy: RemovePolicy,
    watch: Watch<'_>,
) -> Result<Claim, RemoveError> {
    let Removal { path, expected, proof } = removal;
    let recording = proof.recording();
    let io_at = |step| move |source| RemoveError::Io { recording, step, source };
    watch(Step::Check).map_err(io_at(Step::Check))?;
    if proof.plain_bytes() != expected.size_bytes {
        return Err(RemoveError::Changed { recording });
    }
    let file = open_checked(root, &path, recording, policy)?;
    let seen = check(&file, recording)?;
    if !fingerprint(&seen).has_same_content(&expected) {
        return Err(RemoveError::Changed { recording });
    }
    let folder = folders.of(&path).map_err(io_at(Step::Check))?;
    let checking = checking_name(recording, expected.inode);
    watch(Step::Rename).map_err(io_at(Step::Rename))?;
    beneath::rename(folder.as_fd(), path.expose_name(), &checking).map_err(io_at(Step::Rename))?;
    watch(Step::Confirm).map_err(io_at(Step::Confirm))?;
    // Until the rename anybody could open it or put another file in its place; now nobody can.
    if let Err(error) = check_renamed(&file, &folder, &checking, &expected, recording) {
        beneath::put_back(&folder, &checking, &path, expected.inode)
            .map_err(io_at(Step::Confirm))?;
        return Err(error);
    }
    let removing = removing_name(recording, expected.inode);
    if let Err(error) = beneath::rename(folder.as_fd(), &checking, &removing) {
        beneath::put_back(&folder, &checking, &path, expected.inode)
            .map_err(io_at(Step::Confirm))?;
        return Err(io_at(Step::Confirm)(error));
    }
    Ok(Claim { recording, file, inode: expected.inode, folder })
}

/// The last word before the point of no return: still that file, unwritten, and open nowhere else.
fn check_renamed(
    file: &File,
    folder: &Folder,
    name: &[u8],
    expected: &Fingerprint,
    recording: RecordingId,
) -> Result<(), RemoveError> {
    let io_at = |source| RemoveError::Io { recording, step: Step::Rename, source };
    let opened = check(file, recording)?;
    let named = beneath::stat(folder.as_fd(), name).map_err(io_at)?;
    let is_same = |now: &Stat| fingerprint(now).has_same_content(expected);
    if named.as_ref().is_some_and(is_same) && is_same(&opened) {
        Ok(())
    } else {
        Err(RemoveError::Changed { recording })
    }
}

/// Finds out how far an interrupted removal came.
fn reclaim(
    folders: &mut Folders<'_>,
    item: &Unfinished,
    policy: RemovePolicy,
) -> Result<Reclaimed, RemoveError> {
    let recording = item.recording;
    let io_at = |step| move |source| RemoveError::Io { recording, step, source };
    let folder = match folders.of(&item.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Reclaimed::Nothing(Resumed::NothingLeft));
        }
        opened => opened.map_err(io_at(Step::Check))?,
    };
    put_back_unchecked(&folder, item).map_err(io_at(Step::Confirm))?;
    let name = removing_name(recording, item.expected.inode);
    let is_begun = beneath::stat(folder.as_fd(), &name).map_err(io_at(Step::Check))?.is_some();
    if is_begun {
        let name = StorePath::new(name).expect("the name is a plain word");
        let file = open_checked(folder.as_fd(), &name, recording, policy)?;
        let inode = check(&file, recording)?.st_ino;
        if inode != item.expected.inode {
            return Err(RemoveError::Changed { recording });
        }
        return Ok(Reclaimed::Claim(Claim { recording, file, inode, folder }));
    }
    let original = beneath::stat(folder.as_fd(), item.path.expose_name());
    if original.map_err(io_at(Step::Check))?.is_some_and(|now| now.st_ino == item.expected.inode) {
        return Ok(Reclaimed::Nothing(Resumed::Untouched));
    }
    folder.sync().map_err(io_at(Step::SyncUnlink))?;
    Ok(Reclaimed::Nothing(Resumed::NothingLeft))
}

/// A crash came between the two names: nothing was proved of what the file holds now.
fn put_back_unchecked(folder: &Folder, item: &Unfinished) -> io::Result<()> {
    let inode = item.expected.inode;
    let checking = checking_name(item.recording, inode);
    match beneath::stat(folder.as_fd(), &checking)? {
        Some(found) if found.st_ino == inode => {
            beneath::put_back(folder, &checking, &item.path, inode)
        }
        _ => Ok(()),
    }
}

fn open_checked(
    root: BorrowedFd<'_>,
    path: &StorePath,
    recording: RecordingId,
    policy: RemovePolicy,
) -> Result<File, RemoveError> {
    let flags = if policy.overwrite { OFlags::RDWR } else { OFlags::RDONLY };
    beneath::open(root, path, flags).map_err(|source| {
        use rustix::io::Errno;
        match Errno::from_io_error(&source) {
            Some(Errno::NOENT) => RemoveError::Missing { recording },
            // A link, a folder, a socket or a device: not what was sealed.
            Some(Errno::LOOP | Errno::XDEV | Errno::NOTDIR | Errno::ISDIR | Errno::NXIO) => {
                RemoveError::Changed { recording }
            }
            Some(Errno::PERM) => RemoveError::Protected { recording },
            _ => RemoveError::Io { recording, step: Step::Check, source },
        }
    })
}

/// A plain file with one name, no protection and no other opener.
fn check(file: &File, recording: RecordingId) -> Result<Stat, RemoveError> {
    let io_at = |source| RemoveError::Io { recording, step: Step::Check, source };
    let seen = rustix::fs::fstat(file).map_err(|error| io_at(error.into()))?;
    if !beneath::is_regular(&seen) {
        return Err(RemoveError::Changed { recording });
    }
    if seen.st_nlink != 1 {
        return Err(RemoveError::HardLinked { recording, links: seen.st_nlink as u64 });
    }
    let flags = rustix::fs::ioctl_getflags(file).unwrap_or(IFlags::empty());
    if flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND) {
        return Err(RemoveError::Protected { recording });
    }
    match sys::try_write_lease(file).map_err(io_at)? {
        LeaseVerdict::Busy => Err(RemoveError::Busy { recording }),
        LeaseVerdict::Granted | LeaseVerdict::Refused => Ok(seen),
    }
}

/// Everything after the rename: new names durable, then files destroyed, then that durable.
fn finish(
    claims: Vec<Result<Claim, RemoveError>>,
    policy: RemovePolicy,
    watch: Watch<'_>,
) -> Vec<Result<DestructionEvidence, RemoveError>> {
    let claims = sync_folders(claims, |claim| (claim, Step::SyncRename), watch);
    let destroyed = in_parallel(claims, Overwriter::new, |overwriter, claim| {
        let claim = claim?;
        let evidence = destroy(overwriter, &claim, policy, watch)?;
        Ok((claim, evidence))
    });
    sync_folders(destroyed, |(claim, _)| (claim, Step::SyncUnlink), watch)
        .into_iter()
        .map(|done| done.map(|(_, evidence)| evidence))
        .collect()
}

fn destroy(
    overwriter: &mut Overwriter,
    claim: &Claim,
    policy: RemovePolicy,
    watch: Watch<'_>,
) -> Result<DestructionEvidence, RemoveError> {
    let recording = claim.recording;
    let io_at = |step| move |source| RemoveError::Io { recording, step, source };
    watch(Step::Overwrite).map_err(io_at(Step::Overwrite))?;
    let storage = claim.folder.storage().map_err(io_at(Step::Overwrite))?;
    let (overwrite, overwritten_bytes) = if policy.overwrite {
        overwriter
            .run(&claim.file, &storage)
            .map_err(|source| RemoveError::Overwrite { recording, source })?
    } else {
        (Overwrite::Skipped, 0)
    };
    watch(Step::Unlink).map_err(io_at(Step::Unlink))?;
    let name = removing_name(recording, claim.inode);
    let now = beneath::stat(claim.folder.as_fd(), &name).map_err(io_at(Step::Unlink))?;
    if now.is_some_and(|now| now.st_ino != claim.inode) {
        return Err(RemoveError::Changed { recording });
    }
    beneath::unlink(claim.folder.as_fd(), &name).map_err(io_at(Step::Unlink))?;
    Ok(DestructionEvidence {
        overwrite,
        file_system: storage.file_system.name(),
        media: storage.media.as_str().to_owned(),
        overwritten_bytes,
    })
}

/// Syncs each folder of `items` once; where that fails, its items fail.
fn sync_folders<T>(
    items: Vec<Result<T, RemoveError>>,
    of: impl Fn(&T) -> (&Claim, Step),
    watch: Watch<'_>,
) -> Vec<Result<T, RemoveError>> {
    let mut synced: Vec<(Arc<Folder>, Result<(), io::Error>)> = Vec::new();
    let mut checked = Vec::with_capacity(items.len());
    for item in items {
        checked.push(item.and_then(|item| {
            let (claim, step) = of(&item);
            let known = synced.iter().position(|(folder, _)| Arc::ptr_eq(folder, &claim.folder));
            let known = known.unwrap_or_else(|| {
                let done = watch(step).and_then(|()| claim.folder.sync());
                synced.push((Arc::clone(&claim.folder), done));
                synced.len() - 1
            });
            match &synced[known].1 {
                Ok(()) => Ok(item),
                Err(error) => {
                    let source = super::same_error(error);
                    Err(RemoveError::Io { recording: claim.recording, step, source })
                }
            }
        }));
    }
    checked
}

const NAME_PREFIX: &str = ".recseal-";
const CHECKING: &str = ".checking";
const REMOVING: &str = ".removing";
/// Files open at once; a service may have no more than 1,024 by default.
const BATCH_MAX: usize = 256;

#[cfg(test)]
mod tests;
