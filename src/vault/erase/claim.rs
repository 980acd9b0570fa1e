//! Taking one file away from everybody, and being sure that it is the right one.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{Advice, IFlags, OFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::VaultError;
use super::super::beneath::{self, Folder, Folders};
use super::super::overwrite::{STAMP_BYTES, Stamp, writes_in_place};
use super::super::storage_kind::Storage;
use super::{CHECKING, ERASING, NAME_PREFIX, SealedIdentity, Step, Watch};
use crate::domain::{Fingerprint, StorePath};
use crate::seal::Prefix;
use crate::sys::{self, LeaseVerdict};

/// One file that is to go.
#[derive(Clone, Copy)]
pub(in crate::vault) struct Target<'t> {
    pub(in crate::vault) path: &'t StorePath,
    pub(in crate::vault) token: Uuid,
    pub(in crate::vault) identity: Identity<'t>,
}

/// By what it is known.
#[derive(Clone, Copy)]
pub(in crate::vault) enum Identity<'t> {
    /// A sealed copy; or whatever lies there.
    Sealed(Option<&'t SealedIdentity>),
    /// A plaintext original, by its inode, length and time.
    Original(&'t Fingerprint),
}

/// A file under its `.erasing` name, open and checked.
pub(super) struct Claim {
    pub(super) file: File,
    pub(super) inode: u64,
    pub(super) len_bytes: u64,
    pub(super) folder: Arc<Folder>,
}

/// How far a file has come, which decides by what it may be known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// As it was written.
    Whole,
    /// Perhaps half random.
    Condemned,
}

impl Target<'_> {
    pub(super) fn checking_name(&self) -> Vec<u8> {
        format!("{NAME_PREFIX}{}{CHECKING}", self.token).into_bytes()
    }

    pub(super) fn erasing_name(&self) -> Vec<u8> {
        format!("{NAME_PREFIX}{}{ERASING}", self.token).into_bytes()
    }

    /// What the first bytes are once it is overwritten.
    pub(super) fn stamp(&self) -> Stamp {
        let mut digest = Sha256::new();
        digest.update(STAMP_DOMAIN);
        digest.update(self.token.as_bytes());
        digest.finalize().into()
    }

    /// True if `file` is the one that is meant.
    fn is(&self, file: &File, seen: &Stat, stage: Stage) -> io::Result<bool> {
        let len_bytes = u64::try_from(seen.st_size).unwrap_or(0);
        match self.identity {
            Identity::Original(expected) => Ok(match stage {
                Stage::Whole => beneath::fingerprint(seen).has_same_content(expected),
                Stage::Condemned => {
                    (seen.st_ino, len_bytes) == (expected.inode, expected.size_bytes)
                }
            }),
            Identity::Sealed(None) => Ok(true),
            Identity::Sealed(Some(expected)) => {
                let SealedIdentity { recording, data_key, kind, sealed_bytes } = *expected;
                let prefix = Prefix { recording, data_key, kind }.to_bytes();
                let mut start = prefix;
                let has_length = len_bytes == sealed_bytes;
                let is_read = read_start(file, &mut start)?;
                let is_whole = start == prefix;
                let is_stamped = start[..STAMP_BYTES] == self.stamp();
                Ok(has_length && is_read && (is_whole || (stage == Stage::Condemned && is_stamped)))
            }
        }
    }

    /// True if `file`, found under the `.erasing` name, was overwritten in the first step. Where
    /// nothing is written in place that may have ended early, for want of room.
    pub(super) fn is_overwritten(
        &self,
        file: &File,
        seen: &Stat,
        storage: &Storage,
    ) -> io::Result<bool> {
        let mut start = [0; STAMP_BYTES];
        let len = start.len().min(usize::try_from(seen.st_size).unwrap_or(STAMP_BYTES));
        let is_stamped =
            read_start(file, &mut start[..len])? && start[..len] == self.stamp()[..len];
        Ok(is_stamped || (!writes_in_place(storage) && self.is(file, seen, Stage::Condemned)?))
    }

    /// True if a file of this identity lies under its own name: it never began, or came back.
    pub(super) fn lies_where_it_was(&self, folder: &Folder) -> Result<bool, VaultError> {
        let at = VaultError::io("looking for it under its own name");
        let Some(seen) = beneath::stat(folder.as_fd(), self.path.expose_name()).map_err(at)? else {
            return Ok(false);
        };
        match self.identity {
            Identity::Original(expected) => Ok(seen.st_ino == expected.inode),
            Identity::Sealed(None) => Ok(true),
            Identity::Sealed(Some(_)) if !beneath::is_regular(&seen) => Ok(false),
            Identity::Sealed(Some(_)) => {
                let name = plain_name(self.path.expose_name())?;
                let file = beneath::open(folder.as_fd(), &name, OFlags::RDONLY).map_err(at)?;
                self.is(&file, &seen, Stage::Whole).map_err(at)
            }
        }
    }
}

/// Finds the file under whichever name it has, checks it and gives it its last name; `None` if
/// there is none. The new name is the caller's to make durable.
pub(super) fn claim(
    folders: &mut Folders<'_>,
    target: &Target<'_>,
    watch: Watch<'_>,
) -> Result<Option<Claim>, VaultError> {
    let at = VaultError::io("checking what is to be erased");
    watch(Step::Check).map_err(at)?;
    let folder = match folders.of(target.path).map_err(at) {
        Err(VaultError::Missing) => return Ok(None),
        opened => opened?,
    };
    let (checking, erasing) = (target.checking_name(), target.erasing_name());
    if let Some(file) = open(&folder, &erasing)? {
        let seen = check(&file)?;
        if !target.is(&file, &seen, Stage::Condemned).map_err(at)? {
            return Err(VaultError::Changed);
        }
        return Ok(Some(Claim::new(file, &seen, folder)));
    }
    let file = if let Some(file) = open(&folder, &checking)? {
        file // a crash came before the second look, which is taken now
    } else {
        let Some(file) = open(&folder, target.path.expose_name())? else { return Ok(None) };
        let seen = check(&file)?;
        if !target.is(&file, &seen, Stage::Whole).map_err(at)? {
            return Err(VaultError::Changed);
        }
        watch(Step::Rename).map_err(at)?;
        beneath::rename(folder.as_fd(), target.path.expose_name(), &checking)
            .map_err(VaultError::io("taking its name away"))?;
        file
    };
    // Until the rename anybody could open it or put another file in its place; now nobody can.
    let confirmed = watch(Step::Confirm)
        .map_err(at)
        .map_err(Unsure::Failed)
        .and_then(|()| confirm(&file, &folder, &checking, target));
    let seen = match confirmed {
        Ok(seen) => seen,
        Err(Unsure::Failed(error)) => return Err(error),
        Err(Unsure::Refused(error)) => {
            give_back(&folder, &checking, target)?;
            return Err(error);
        }
    };
    watch(Step::Condemn).map_err(at)?;
    beneath::rename(folder.as_fd(), &checking, &erasing)
        .map_err(VaultError::io("giving it its last name"))?;
    Ok(Some(Claim::new(file, &seen, folder)))
}

impl Claim {
    fn new(file: File, seen: &Stat, folder: Arc<Folder>) -> Self {
        let len_bytes = u64::try_from(seen.st_size).unwrap_or(0);
        Self { file, inode: seen.st_ino, len_bytes, folder }
    }
}

/// Whatever lies under `name` gets the name back that it had.
fn give_back(folder: &Folder, name: &[u8], target: &Target<'_>) -> Result<(), VaultError> {
    let at = VaultError::io("giving its name back");
    match beneath::stat(folder.as_fd(), name).map_err(at)? {
        Some(now) => beneath::put_back(folder, name, target.path, now.st_ino).map_err(at),
        None => Ok(()),
    }
}

/// Why the second look was not good.
enum Unsure {
    /// It is not to be erased now: its name goes back.
    Refused(VaultError),
    /// Nobody can say: the next call looks again.
    Failed(VaultError),
}

/// The last word before the point of no return: still that file, and open nowhere else.
fn confirm(file: &File, folder: &Folder, name: &[u8], target: &Target<'_>) -> Result<Stat, Unsure> {
    let at = VaultError::io("checking it under its new name");
    let failed = |error| Unsure::Failed(at(error));
    let seen = check(file).map_err(|error| match error {
        VaultError::Io { .. } => Unsure::Failed(error),
        refused => Unsure::Refused(refused),
    })?;
    let named = beneath::stat(folder.as_fd(), name).map_err(failed)?;
    let is_same = |named: Stat| (named.st_dev, named.st_ino) == (seen.st_dev, seen.st_ino);
    if !named.is_some_and(is_same) || !target.is(file, &seen, Stage::Whole).map_err(failed)? {
        return Err(Unsure::Refused(VaultError::Changed));
    }
    Ok(seen)
}

/// Opens `name` for reading and writing; `None` if there is nothing.
fn open(folder: &Folder, name: &[u8]) -> Result<Option<File>, VaultError> {
    let name = plain_name(name)?;
    match beneath::open(folder.as_fd(), &name, OFlags::RDWR) {
        Ok(file) => {
            rustix::fs::fadvise(&file, 0, None, Advice::Random).ok(); // its start is read, no more
            Ok(Some(file))
        }
        Err(source) => match Errno::from_io_error(&source) {
            Some(Errno::NOENT) => Ok(None),
            // A folder cannot be opened for writing; a link is not followed.
            Some(Errno::ISDIR | Errno::LOOP) => Err(VaultError::NotPlain),
            Some(Errno::PERM) => Err(VaultError::Protected),
            _ => Err(VaultError::io("opening what is to be erased")(source)),
        },
    }
}

/// A plain file with one name, no protection and no other opener.
fn check(file: &File) -> Result<Stat, VaultError> {
    let at = VaultError::io("looking at what is to be erased");
    let seen = rustix::fs::fstat(file).map_err(|errno| at(errno.into()))?;
    if !beneath::is_regular(&seen) {
        return Err(VaultError::NotPlain);
    }
    if seen.st_nlink != 1 {
        return Err(VaultError::HardLinked { links: seen.st_nlink as u64 });
    }
    let flags = rustix::fs::ioctl_getflags(file).unwrap_or(IFlags::empty());
    if flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND) {
        return Err(VaultError::Protected);
    }
    match sys::try_write_lease(file).map_err(at)? {
        LeaseVerdict::Busy => Err(VaultError::Busy),
        LeaseVerdict::Granted | LeaseVerdict::Refused => Ok(seen),
    }
}

/// False if the file is shorter.
fn read_start(file: &File, start: &mut [u8]) -> io::Result<bool> {
    match file.read_exact_at(start, 0) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn plain_name(name: &[u8]) -> Result<StorePath, VaultError> {
    StorePath::new(name).ok_or(VaultError::NotPlain)
}

const STAMP_DOMAIN: &[u8] = b"recseal-erasing-1";
