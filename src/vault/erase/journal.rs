//! What a journal still holds of a batch, and getting rid of it.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::domain::JournalFate;
use crate::sys::{self, JournalWipe};

use super::super::storage_kind::{FileSystem, Storage};

/// Wipes the journal of the file system that `folder` is on, once for a whole batch. Best effort:
/// it takes `CAP_SYS_ADMIN`, and the answer says what was possible.
///
/// Every change to the file system waits meanwhile, a recorder's too: milliseconds where the
/// device zeroes by itself, else as long as writing the journal once.
pub(super) fn wipe(folder: BorrowedFd<'_>, storage: &Storage) -> JournalFate {
    match storage.file_system {
        FileSystem::Ext => {}
        // Nothing asks XFS to forget its log.
        FileSystem::Xfs | FileSystem::Overlay | FileSystem::Remote(_) | FileSystem::Unknown(_) => {
            return JournalFate::NotFlushed;
        }
        FileSystem::Btrfs | FileSystem::Memory(_) | FileSystem::Elsewhere(_) => {
            return JournalFate::NotApplicable;
        }
    }
    let Err(refusal) = sys::checkpoint_journal(folder, JournalWipe::Zero) else {
        return JournalFate::FlushedZeroed;
    };
    if Errno::from_io_error(&refusal) == Some(Errno::NODEV) {
        return JournalFate::NotApplicable; // an ext2, or an ext4 made without one
    }
    match sys::checkpoint_journal(folder, JournalWipe::Discard) {
        Ok(()) => JournalFate::FlushedDiscarded,
        Err(_) => unflushed(storage),
    }
}

/// What a journal that was not wiped may hold.
pub(super) fn unflushed(storage: &Storage) -> JournalFate {
    match storage.file_system {
        FileSystem::Ext if storage.may_journal_data => JournalFate::CopyPossible,
        FileSystem::Ext
        | FileSystem::Xfs
        | FileSystem::Overlay
        | FileSystem::Remote(_)
        | FileSystem::Unknown(_) => JournalFate::NotFlushed,
        FileSystem::Btrfs | FileSystem::Memory(_) | FileSystem::Elsewhere(_) => {
            JournalFate::NotApplicable
        }
    }
}
