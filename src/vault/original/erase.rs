//! Erasing plaintext originals: those of recordings that never were sealed, and what else was
//! found of a recording in plaintext.
//!
//! There is no proof of another good copy, because none shall be left. What takes its place is an
//! [`ErasureOrder`]: only the flow that passed the point of no return can make one. The steps, the
//! names and the looks are those of [`super::super::erase`], the identity is that of a removal:
//! inode, length and time. There is no policy that leaves the overwrite out.

use std::os::fd::BorrowedFd;

use uuid::Uuid;

use super::super::VaultError;
use super::super::erase::{
    Identity, Overwritten, Target, overwrite_batch, unlink_batch, unwatched,
};
use super::super::pace::Pace;
use crate::domain::{Fingerprint, JournalFate, RecordingId, StorePath};

/// The word that a recording is to be erased for good: its transaction has passed every hold.
#[must_use]
#[derive(Debug)]
pub struct ErasureOrder {
    recording: RecordingId,
}

impl ErasureOrder {
    /// For the flow of erasures alone, after the transaction that made `recording` `Erasing`.
    #[allow(dead_code, reason = "the flow of erasures makes it")]
    pub(crate) fn after_no_return(recording: RecordingId) -> Self {
        Self { recording }
    }

    /// Whose.
    pub fn recording(&self) -> RecordingId {
        self.recording
    }
}

/// One original that is to go.
#[derive(Debug)]
pub struct DoomedOriginal {
    /// Where it lies in its store.
    pub path: StorePath,
    /// The name it gets, `.recseal-TOKEN.erasing`: drawn once for each, and recorded before the
    /// first call.
    pub token: Uuid,
    /// The content that was found.
    pub expected: Fingerprint,
    /// The word.
    pub order: ErasureOrder,
}

/// The first step for originals below `root`, the open folder of their store: as
/// [`super::super::Vault::overwrite_many`], errors included.
pub fn overwrite_originals(
    root: BorrowedFd<'_>,
    doomed: &[DoomedOriginal],
    pace: &dyn Pace,
) -> Vec<Result<Overwritten, VaultError>> {
    let targets: Vec<_> = doomed.iter().map(DoomedOriginal::target).collect();
    overwrite_batch(root, &targets, pace, &unwatched)
}

/// The second step: as [`super::super::Vault::unlink_many`], errors included.
pub fn unlink_originals(
    root: BorrowedFd<'_>,
    doomed: &[DoomedOriginal],
) -> Vec<Result<JournalFate, VaultError>> {
    let targets: Vec<_> = doomed.iter().map(DoomedOriginal::target).collect();
    unlink_batch(root, &targets, &unwatched)
}

impl DoomedOriginal {
    fn target(&self) -> Target<'_> {
        let identity = Identity::Original(&self.expected);
        Target { path: &self.path, token: self.token, identity }
    }
}

#[cfg(test)]
mod tests;
