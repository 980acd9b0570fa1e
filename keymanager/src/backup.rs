//! Backups: keys and catalog together, in one file that opens without the host it came from.
//!
//! ```text
//! head, clear      "RSBACKUP" │ version (1) │ ways (1) │ table bytes (2) │ backup id (16)
//!                  │ made at (8) │ table: one entry for each way to the backup key
//!                  │ SHA-256 of all before (32)
//! FLOE header      74 bytes; key: the backup key; associated data: SHA-256 of the head
//! FLOE chunks      65,536 bytes each, the last one shorter or as long
//!   inside         length (8) manifest │ length (8) keys │ length (8) catalog
//! ```
//!
//! Each way (a passphrase, k of n shares, a public key) wraps the same random backup key, so any
//! one of them opens everything. The bytes are given in `src/manual/keys.md`. Start reading at
//! [`SealedBackup`] for making one and at [`OpenedBackup`] for opening it.
//!
//! # Invariants
//!
//! - Both directions stream: memory is a few chunks, however large the catalog is.
//! - Nothing is handed out of a chunk that did not verify, and [`OpenedBackup::copy_catalog`]
//!   succeeds only if the file ended where its maker ended it: what is cut, reordered, extended
//!   or changed by one bit does not open.
//! - This module knows no catalog: to it that is bytes of a known length and digest.

mod contents;
mod opened;
mod recipient;
mod sealed;
mod ways;

use std::io;

use crate::floe::OpenError;
use crate::shares::ShareError;

pub use contents::{BackedUpKeys, CatalogFacts, Manifest, ManifestVersion};
pub use opened::OpenedBackup;
pub use recipient::{BackupPrivateKey, BackupPublicKey};
pub use sealed::SealedBackup;
pub use ways::{BackupOpener, BackupPassphrase, BackupWay, ShareSecret, WayKind};

/// Why a backup was not made or does not open. Never repeats a secret or a path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It does not begin as a backup does.
    #[error("this is not a backup")]
    NotABackup,
    /// A version that this program does not know.
    #[error("the backup was made by a later version of this program")]
    LaterVersion,
    /// The clear part at the front was changed.
    #[error("the head of the backup is damaged")]
    HeadDamaged,
    /// It was made for other ways than the one that is to open it.
    #[error("the backup does not open by {}; it opens by {}", asked.as_str(), WayKind::list(has))]
    NoSuchWay {
        /// What was to open it.
        asked: WayKind,
        /// What does.
        has: Vec<WayKind>,
    },
    /// Too short to resist guessing, or too long to be meant.
    #[error("a passphrase needs {min_bytes} to {max_bytes} bytes")]
    PassphraseLength {
        /// Shortest.
        min_bytes: usize,
        /// Longest.
        max_bytes: usize,
    },
    /// The passphrase is another one.
    #[error("the passphrase does not open the backup")]
    WrongPassphrase,
    /// The shares do not make up a secret.
    #[error("the shares do not open the backup")]
    Shares(#[from] ShareError),
    /// The shares are whole, but were made for something else.
    #[error("the shares belong to something else than this backup")]
    OtherShares,
    /// The private key belongs to another public key.
    #[error("the backup was made for another public key than this private key's")]
    WrongRecipient,
    /// Not the text of a key for backups.
    #[error("this is not the text of a {what}, or a character of it was changed")]
    KeyText {
        /// What it should have been.
        what: &'static str,
    },
    /// None, or too many.
    #[error("a backup needs 1 to {max} ways to open it")]
    Ways {
        /// The limit.
        max: usize,
    },
    /// What lies inside was changed, cut or moved, or something was added.
    #[error("the backup is damaged")]
    Damaged(#[source] OpenError),
    /// It opens, but contradicts itself.
    #[error("the backup contradicts itself: {rule}")]
    Contradiction {
        /// What every backup keeps.
        rule: &'static str,
    },
    /// The keys in it do not work.
    #[error("the keys in the backup are not whole")]
    Keys(#[source] crate::error::KeyError),
    /// The file or the catalog could not be read.
    #[error("reading the backup")]
    Read(#[source] io::Error),
    /// What was opened could not be written.
    #[error("writing what the backup holds")]
    Write(#[source] io::Error),
}

impl BackupError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotABackup => "name a file that `recseal backup create` or the daemon wrote",
            Self::LaterVersion => "use the version of recseal that made it, or a later one",
            Self::HeadDamaged | Self::Damaged(_) | Self::Contradiction { .. } | Self::Keys(_) => {
                "take another copy of this backup, or another backup"
            }
            Self::NoSuchWay { .. } => "open it by one of those",
            Self::PassphraseLength { .. } => "take several words",
            Self::WrongPassphrase => "check for a typing error; each backup has its own passphrase",
            Self::Shares(error) => error.hint(),
            Self::OtherShares => "take the shares that were written together with this backup",
            Self::WrongRecipient => "take the private key of the public key it was made for",
            Self::KeyText { .. } => "take the file that `recseal backup keygen` wrote, unchanged",
            Self::Ways { .. } => "give a passphrase, shares or the public key of a recipient",
            Self::Read(_) => "check the disk and try again",
            Self::Write(_) => "make room and try again",
        }
    }
}

/// Chunk text that one chunk holds.
const TEXT_BYTES: usize = crate::floe::CHUNK_BYTES - crate::floe::CHUNK_OVERHEAD_BYTES;
/// Longest manifest taken.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Longest keys taken: as long as the store itself may be.
const KEYS_BYTES_MAX: u64 = 16 << 20;
/// The length in front of each part.
const LENGTH_BYTES: u64 = 8;

#[cfg(test)]
mod tests;
