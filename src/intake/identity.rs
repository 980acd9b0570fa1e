//! The id file at a store's root.
//!
//! A recording belongs to a store and not to a path, so the tree carries its own name. The file
//! is written under another name, synced and renamed: if the power goes, there is either no id
//! file (the next start makes one) or a whole one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::domain::StoreId;

use super::{IntakeError, StoreLost};

/// Name of the id file.
pub const ID_FILE: &str = ".recseal-store";

/// The id of the tree at `root`; makes one unless the tree should have had `known_as`.
pub(super) fn ensure(
    root: BorrowedFd<'_>,
    known_as: Option<StoreId>,
) -> Result<StoreId, IntakeError> {
    let found = match (read(root)?, known_as) {
        (Some(found), _) => found,
        (None, Some(store)) => {
            return Err(IntakeError::Lost { store, lost: StoreLost::Unmarked });
        }
        (None, None) => {
            make(root, StoreId::new()).map_err(|source| IntakeError::Identity { source })?;
            // Another process may have been faster: what lies there counts.
            read(root)?.ok_or(IntakeError::IdentityDamaged)?
        }
    };
    match known_as {
        Some(store) if store != found => {
            Err(IntakeError::Lost { store, lost: StoreLost::Remarked { found } })
        }
        _ => Ok(found),
    }
}

/// Reads the id file; `None` if there is none.
pub(super) fn read(root: BorrowedFd<'_>) -> Result<Option<StoreId>, IntakeError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(root, ID_FILE, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(IntakeError::Identity { source: error.into() }),
    };
    let mut text = String::new();
    file.take(ID_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|source| IntakeError::Identity { source })?;
    text.trim().parse().map(Some).map_err(|_| IntakeError::IdentityDamaged)
}

fn make(root: BorrowedFd<'_>, id: StoreId) -> io::Result<()> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    let mut file = File::from(rustix::fs::openat(root, ID_FILE_PART, flags, mode)?);
    writeln!(file, "{id}")?;
    file.sync_all()?;
    match rustix::fs::renameat_with(root, ID_FILE_PART, root, ID_FILE, RenameFlags::NOREPLACE) {
        Ok(()) | Err(Errno::EXIST) => {}
        // Network file systems know no NOREPLACE. We looked a moment ago.
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::renameat(root, ID_FILE_PART, root, ID_FILE)?;
        }
        Err(error) => return Err(error.into()),
    }
    File::from(rustix::io::dup(root)?).sync_all()
}

const ID_FILE_PART: &str = ".recseal-store.part";

/// A UUID in text is 36 bytes; more than this is not one.
const ID_BYTES_MAX: u64 = 64;
