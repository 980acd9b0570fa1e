//! Erasing in two steps: overwritten and verified, and later unlinked.
//!
//! ```text
//!   step           name in the folder          if the power goes here, a repeated call
//!   check          call.wav.sealed             begins
//!   rename         that or ….checking          begins, or checks again
//!   check again    .recseal-TOKEN.checking     checks again, or gives the name back
//!   rename         ….checking or ….erasing     checks again, or overwrites
//!   sync folder    .recseal-TOKEN.erasing      overwrites, after a rename that may be repeated
//!   overwrite      .recseal-TOKEN.erasing      overwrites from the start
//!   read back      .recseal-TOKEN.erasing      overwrites from the start
//!   — the caller records the evidence: CopyEvidence —
//!   unlink         that or none                unlinks
//!   sync folder    none                        syncs
//!   wipe journal   none                        wipes
//!   — the caller records what became of the journal: JournalFate —
//! ```
//!
//! Two steps, because evidence that is lost with a crash cannot be had again: once the file is
//! gone nobody can say where its bytes lay. Many at once, because one sync of a folder and one wipe
//! of a journal serve a whole batch.
//!
//! The first new name takes the file away from everybody who would find it by its path; only then
//! is it looked at for the last time. A file that is not the one that was meant gets its own name
//! back. The second new name says that this look was good. A half random file still shows whose
//! it is: its first sector holds either the prefix that it always had or the stamp that the pass
//! puts there, a digest of the token, and nothing else is ever overwritten or unlinked.
//!
//! Sealed copies come here by [`super::Vault::overwrite_many`], originals that never were sealed
//! by [`super::original::overwrite_originals`]. Start reading at `overwrite_batch`.
//!
//! # Invariants
//!
//! - What was checked is the descriptor, and the descriptor is what is overwritten.
//! - A file with a second name, an opener, another identity or a protection flag is left alone.
//! - Nothing is unlinked that was not overwritten, nor while a file of the same identity lies
//!   under its own name.
//! - In the journal and on disk the token is all that is left of the name.

mod batch;
mod claim;
mod journal;

use uuid::Uuid;

use crate::domain::{
    DataKeyId, DestructionEvidence, JournalFate, RecordingId, SealedKind, StorePath,
};

use super::overwrite::Outcome;
use super::storage_kind::Storage;

pub(super) use batch::{overwrite_batch, unlink_batch};
pub(super) use claim::{Identity, Target};

/// One sealed copy that is to go.
#[derive(Clone, Debug)]
pub struct Doomed {
    /// Where it lies in its vault.
    pub path: StorePath,
    /// The name it gets, `.recseal-TOKEN.erasing`: drawn once for each copy, and recorded before
    /// the first call, so that a repeated one finds the file.
    pub token: Uuid,
    /// What the catalog knows of it. Without that any plain file of this path is meant: for what
    /// an abandoned attempt left, never for a recording's copy.
    pub expected: Option<SealedIdentity>,
}

/// By what a sealed copy is known: its prefix and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedIdentity {
    /// Whose.
    pub recording: RecordingId,
    /// Sealed with this key.
    pub data_key: DataKeyId,
    /// Media, peaks or sidecar.
    pub kind: SealedKind,
    /// Length of the sealed file.
    pub sealed_bytes: u64,
}

/// What became of one file in the first step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overwritten {
    /// It lies under its opaque name, overwritten and read back.
    Done(CopyEvidence),
    /// Neither name leads to a file.
    Missing,
}

/// What was seen of one file while it was overwritten, for its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyEvidence {
    /// How far the overwrite may be trusted, and where the file lay.
    pub destruction: DestructionEvidence,
    /// Of its content: [`JournalFate::FlushedZeroed`] and the like where the file system puts
    /// content into the journal and that was wiped, [`JournalFate::NotFlushed`] where it never
    /// does. What became of its name is known after the second step.
    pub journal: JournalFate,
    /// Bytes that had a place before have another one now: the old place was not overwritten.
    pub moved: bool,
    /// SHA-256 over where the bytes lay (runs of offset, place, length; big-endian u64);
    /// `None` where the file system does not tell.
    pub extents_before: Option<[u8; 32]>,
    /// The same after the overwrite.
    pub extents_after: Option<[u8; 32]>,
    /// Inode number.
    pub inode: u64,
    /// Which of all inodes that had this number; `None` where the file system does not count.
    pub generation: Option<u32>,
    /// Length of the file. Fewer bytes are overwritten where it has holes.
    pub file_bytes: u64,
}

impl CopyEvidence {
    fn new(outcome: Outcome, storage: &Storage, journal: JournalFate, file: &claim::Claim) -> Self {
        Self {
            destruction: DestructionEvidence {
                overwrite: outcome.overwrite,
                file_system: storage.file_system.name(),
                media: storage.media.as_str().to_owned(),
                overwritten_bytes: outcome.overwritten_bytes,
            },
            journal,
            moved: outcome.moved,
            extents_before: outcome.extents_before,
            extents_after: outcome.extents_after,
            inode: file.inode,
            generation: crate::sys::generation(&file.file),
            file_bytes: outcome.file_bytes,
        }
    }
}

/// The steps of an erasure, in order. A test fails each of them, and dies at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Check,
    Rename,
    Confirm,
    Condemn,
    SyncRename,
    Overwrite,
    WipeContent,
    Verify,
    Unlink,
    SyncUnlink,
    WipeNames,
}

/// Called before each step; what it returns as an error is that step's failure.
pub(super) type Watch<'a> = &'a (dyn Fn(Step) -> std::io::Result<()> + Sync);

pub(super) fn unwatched(_: Step) -> std::io::Result<()> {
    Ok(())
}

/// True for the names that files have between the first step and the second.
pub(super) fn is_opaque_name(name: &[u8]) -> bool {
    name.starts_with(NAME_PREFIX.as_bytes())
        && [CHECKING, ERASING].iter().any(|suffix| name.ends_with(suffix.as_bytes()))
}

const NAME_PREFIX: &str = ".recseal-";
const CHECKING: &str = ".checking";
const ERASING: &str = ".erasing";

#[cfg(test)]
mod tests;
